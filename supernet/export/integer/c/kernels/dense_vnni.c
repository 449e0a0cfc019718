#ifdef NETWORK_VNNI
/* Weights of a panel as bytes: of four inputs for each lane, and zeros in lanes and for inputs that are none. */
VNNI static size_t quads_of_panel(const struct convolution *conv, size_t width, const int16_t *panel, int8_t *to)
{
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    const size_t lanes = lanes_of(width), pairs = inputs_of(conv) / 2;
    const __mmask16 some = lanes == LANES ? 0xFFFF : 0xFF;
    size_t pair;
    for (pair = 0; pair < pairs; pair += 2, to += 4 * LANES) {
        const __m512i a = _mm512_maskz_loadu_epi32(some, panel + pair * 2 * lanes);
        const __m512i b = _mm512_maskz_loadu_epi32(pair + 1 < pairs ? some : 0, panel + (pair + 1) * 2 * lanes);
        _mm512_storeu_si512(to, _mm512_shuffle_epi8(_mm512_packs_epi16(a, b), order));
    }
    return (pairs + 1) / 2;
}

VNNI_INLINE __m512i four_inputs(const unsigned char *row)
{
    int32_t four;
    memcpy(&four, row, sizeof four);
    return _mm512_set1_epi32(four);
}

/* What sums begin with: codes of I8 are read as 128 more than they are. */
VNNI_INLINE __m512i start_of_sums(enum type type, const int8_t *weight, size_t quads)
{
    const __m512i half = _mm512_set1_epi8(-128);
    __m512i sums = _mm512_setzero_si512();
    size_t quad;
    if (type != I8) return sums;
    for (quad = 0; quad < quads; quad++)
        sums = _mm512_dpbusd_epi32(sums, half, _mm512_loadu_si512(weight + quad * 4 * LANES));
    return _mm512_sub_epi32(_mm512_setzero_si512(), sums);
}

VNNI_INLINE void dense_quads(const struct piece *piece, const unsigned char *rows, size_t row_bytes,
                             const int8_t *weight, size_t quads, enum type type)
{
    const struct sixteen how = take_sixteen(&piece->conv->how, piece->channel, piece->width);
    const __m512i start = start_of_sums(piece->conv->in.type, weight, quads);
    const size_t step = bytes_of(type, piece->conv->out.channels), last = piece->count - 1;
    size_t first, quad;
    for (first = 0; first <= last; first += 4) {
        const unsigned char *row_0 = rows + first * row_bytes, *row_1 = rows + smaller(first + 1, last) * row_bytes;
        const unsigned char *row_2 = rows + smaller(first + 2, last) * row_bytes;
        const unsigned char *row_3 = rows + smaller(first + 3, last) * row_bytes;
        __m512i a = start, b = start, c = start, d = start;
        for (quad = 0; quad < quads; quad++) {
            const __m512i w = _mm512_loadu_si512(weight + quad * 4 * LANES);
            a = _mm512_dpbusd_epi32(a, four_inputs(row_0 + 4 * quad), w);
            b = _mm512_dpbusd_epi32(b, four_inputs(row_1 + 4 * quad), w);
            c = _mm512_dpbusd_epi32(c, four_inputs(row_2 + 4 * quad), w);
            d = _mm512_dpbusd_epi32(d, four_inputs(row_3 + 4 * quad), w);
        }
        put_sixteen(&how, a, type, piece->to + first * step);
        put_sixteen(&how, b, type, piece->to + smaller(first + 1, last) * step);
        put_sixteen(&how, c, type, piece->to + smaller(first + 2, last) * step);
        put_sixteen(&how, d, type, piece->to + smaller(first + 3, last) * step);
    }
}

VNNI_INLINE void copy_flipped(const unsigned char *from, size_t count, __m512i flips, unsigned char *to)
{
    size_t i;
    for (i = 0; i < count; i += 64) {
        const __mmask64 some = count - i < 64 ? ((__mmask64)1 << (count - i)) - 1 : ~(__mmask64)0;
        _mm512_mask_storeu_epi8(to + i, some, _mm512_xor_si512(_mm512_maskz_loadu_epi8(some, from + i), flips));
    }
}

/* The inputs of `count` pixels from `first` on, as bytes, row after row of `row_bytes`; what is off the map is 0, and
   of I8 all is 128 more. */
VNNI static void gather_bytes(const struct convolution *conv, const unsigned char *in, size_t first, size_t count,
                              size_t row_bytes, unsigned char *rows)
{
    const size_t channels = conv->in.channels, kernel = conv->kernel, edge = kernel / 2;
    const int flip = conv->in.type == I8 ? -128 : 0;
    const __m512i flips = _mm512_set1_epi8((char)flip);
    size_t pixel, row;
    if (kernel == 1 && conv->stride == 1 && row_bytes == channels) {
        copy_flipped(in + first * channels, count * channels, flips, rows);
        return;
    }
    memset(rows, flip, count * row_bytes);
    for (pixel = first; pixel < first + count; pixel++, rows += row_bytes) {
        const size_t y = pixel / conv->out.size * conv->stride, x = pixel % conv->out.size * conv->stride;
        size_t top, bottom, left, right;
        taps_on_map(conv, y, &top, &bottom);
        taps_on_map(conv, x, &left, &right);
        for (row = top; row < bottom; row++)
            copy_flipped(in + ((y + row - edge) * conv->in.size + x + left - edge) * channels,
                         (right - left) * channels, flips, rows + (row * kernel + left) * channels);
    }
}

/* As `dense_int16`, to the bit; for inputs of 8 bits. */
VNNI static void dense_vnni(const struct convolution *conv, unsigned char *buffer)
{
    const size_t row_bytes = (inputs_of(conv) + 3) / 4 * 4, pixels = conv->out.size * conv->out.size;
    const size_t channels = conv->out.channels;
    const int as_they_lie = conv->kernel == 1 && conv->stride == 1 && row_bytes == conv->in.channels
                            && conv->in.type == U8;
    const size_t chunk = as_they_lie ? pixels : conv->chunk;
    unsigned char *gathered = buffer + conv->scratch[0];
    int16_t *panel = (int16_t *)(void *)(buffer + conv->scratch[1]);
    int8_t *weight = (int8_t *)(void *)(buffer + conv->scratch[2]);
    size_t first, channel;
    for (first = 0; first < pixels; first += chunk) {
        struct piece piece = {conv, smaller(chunk, pixels - first), 0, 0, panel, NULL, NULL};
        const unsigned char *rows = as_they_lie ? buffer + conv->in.at : gathered;
        if (!as_they_lie) gather_bytes(conv, buffer + conv->in.at, first, piece.count, row_bytes, gathered);
        for (channel = 0; channel < channels; channel += LANES) {
            size_t quads;
            piece.channel = channel;
            piece.width = smaller(LANES, channels - channel);
            piece.to = buffer + conv->out.at + bytes_of(conv->out.type, first * channels + channel);
            take_panel(conv, channel, piece.width, panel);
            quads = quads_of_panel(conv, piece.width, panel, weight);
            if (conv->out.type == U8 || conv->out.type == I8)
                dense_quads(&piece, rows, row_bytes, weight, quads, U8);
            else dense_quads(&piece, rows, row_bytes, weight, quads, conv->out.type);
        }
    }
}
#endif
