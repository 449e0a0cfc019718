#ifdef NETWORK_VNNI
/* 32 channels are worked on at once, and four taps of each; further taps than there are have weights of 0. */
enum { WIDE = 2 * LANES };

VNNI_INLINE __mmask32 first_of_wide(size_t width)
{
    return width < WIDE ? (__mmask32)(((uint32_t)1 << width) - 1) : 0xFFFFFFFF;
}

/* Four numbers of each channel side by side. Vectors of 8 channels: 4 * i to 4 * i + 3, and 16 more. */
VNNI_INLINE void side_by_side(__m256i a, __m256i b, __m256i c, __m256i d, __m256i to[4])
{
    const __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
    const __m256i low_2 = _mm256_unpacklo_epi8(c, d), high_2 = _mm256_unpackhi_epi8(c, d);
    to[0] = _mm256_unpacklo_epi16(low, low_2);
    to[1] = _mm256_unpackhi_epi16(low, low_2);
    to[2] = _mm256_unpacklo_epi16(high, high_2);
    to[3] = _mm256_unpackhi_epi16(high, high_2);
}

VNNI_INLINE __m256i weights_of_tap(const struct convolution *conv, const int16_t *taps, size_t tap, size_t channel)
{
    const __mmask32 some = tap < conv->kernel * conv->kernel ? first_of_wide(conv->in.channels - channel) : 0;
    return _mm512_cvtepi16_epi8(_mm512_maskz_loadu_epi16(some, taps + tap * conv->in.channels + channel));
}

/* Of 32 channels from `channel` on. */
VNNI static void quads_of_taps(const struct convolution *conv, const int16_t *taps, size_t channel, unsigned char *to)
{
    const size_t count = conv->kernel * conv->kernel;
    size_t tap, i;
    for (tap = 0; tap < count; tap += 4) {
        __m256i x[4];
        side_by_side(weights_of_tap(conv, taps, tap, channel), weights_of_tap(conv, taps, tap + 1, channel),
                     weights_of_tap(conv, taps, tap + 2, channel), weights_of_tap(conv, taps, tap + 3, channel), x);
        for (i = 0; i < 4; i++, to += sizeof x[i]) put(to, x[i]);
    }
}

/* Where in the buffer the inputs of all taps lie; `zeros` stand in for those off the map and for further ones. */
VNNI_INLINE void places_of_taps(const struct convolution *conv, size_t kernel, size_t y, size_t x, size_t *places)
{
    const size_t size = conv->in.size, channels = conv->in.channels, zeros = conv->scratch[3];
    const size_t top = y - kernel / 2, left = x - kernel / 2;
    size_t row, column, tap;
    for (row = 0; row < kernel; row++) {
        const size_t place = conv->in.at + ((top + row) * size + left) * channels;
        for (column = 0; column < kernel; column++)
            places[row * kernel + column] =
                top + row < size && left + column < size ? place + column * channels : zeros;
    }
    for (tap = kernel * kernel; tap % 4; tap++) places[tap] = zeros;
}

/* The same, where `places` has those of the pixel to the left. */
VNNI_INLINE void next_places(const struct convolution *conv, size_t kernel, size_t y, size_t x, size_t *places)
{
    const size_t size = conv->in.size, stride = conv->stride, edge = kernel / 2;
    size_t tap;
    if (y >= edge && y + edge < size && x >= edge + stride && x + edge < size)
        for (tap = 0; tap < kernel * kernel; tap++) places[tap] += stride * conv->in.channels;
    else places_of_taps(conv, kernel, y, x, places);
}

VNNI_INLINE __m256i codes_at(const unsigned char *at, __mmask32 wanted, int is_signed)
{
    const __m256i codes = _mm256_maskz_loadu_epi8(wanted, at);
    return is_signed ? _mm256_xor_si256(codes, _mm256_set1_epi8(-128)) : codes;
}

VNNI_INLINE __m512i joined(__m256i a, __m256i b, __m256i c, __m256i d, int half)
{
    const __m256i first = half ? _mm256_permute2x128_si256(a, b, 0x31) : _mm256_permute2x128_si256(a, b, 0x20);
    const __m256i second = half ? _mm256_permute2x128_si256(c, d, 0x31) : _mm256_permute2x128_si256(c, d, 0x20);
    return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

/* Sums of 32 channels, from `in` on at each place. Codes of I8 are read as 128 more than they are, which is taken
   off again. */
VNNI_INLINE void sums_of_quads(const unsigned char *in, const size_t *places, size_t count,
                               const unsigned char *weight, __mmask32 wanted, int is_signed, __m512i sums[2])
{
    const __m256i half = _mm256_set1_epi8(-128);
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a, more_a = a, more_b = a, more_c = a, more_d = a;
    size_t tap;
    for (tap = 0; tap < count; tap += 4, weight += 4 * WIDE) {
        __m256i x[4];
        side_by_side(codes_at(in + places[tap], wanted, is_signed), codes_at(in + places[tap + 1], wanted, is_signed),
                     codes_at(in + places[tap + 2], wanted, is_signed),
                     codes_at(in + places[tap + 3], wanted, is_signed), x);
        a = _mm256_dpbusd_epi32(a, x[0], eight(weight));
        b = _mm256_dpbusd_epi32(b, x[1], eight(weight + 1 * WIDE));
        c = _mm256_dpbusd_epi32(c, x[2], eight(weight + 2 * WIDE));
        d = _mm256_dpbusd_epi32(d, x[3], eight(weight + 3 * WIDE));
        if (is_signed) {
            more_a = _mm256_dpbusd_epi32(more_a, half, eight(weight));
            more_b = _mm256_dpbusd_epi32(more_b, half, eight(weight + 1 * WIDE));
            more_c = _mm256_dpbusd_epi32(more_c, half, eight(weight + 2 * WIDE));
            more_d = _mm256_dpbusd_epi32(more_d, half, eight(weight + 3 * WIDE));
        }
    }
    a = _mm256_sub_epi32(a, more_a);
    b = _mm256_sub_epi32(b, more_b);
    c = _mm256_sub_epi32(c, more_c);
    d = _mm256_sub_epi32(d, more_d);
    sums[0] = joined(a, b, c, d, 0);
    sums[1] = joined(a, b, c, d, 1);
}

/* Of 32 channels from `channel` on: their sums at a pixel, rescaled and stored. */
VNNI_INLINE void depthwise_wide(const struct convolution *conv, size_t taps, unsigned char *buffer,
                                const size_t *places, size_t channel, unsigned char *to)
{
    const size_t width = conv->out.channels - channel;
    const unsigned char *weight = buffer + conv->scratch[1] + channel * taps;
    const unsigned char *how = buffer + conv->scratch[2] + channel / LANES * BYTES_OF_SIXTEEN;
    const enum type type = conv->out.type;
    struct sixteen kept = kept_sixteen(how, &conv->how, width);
    __m512i sums[2];
    if (conv->in.type == I8) sums_of_quads(buffer + channel, places, taps, weight, first_of_wide(width), 1, sums);
    else sums_of_quads(buffer + channel, places, taps, weight, first_of_wide(width), 0, sums);
    put_sixteen(&kept, sums[0], type, to + bytes_of(type, channel));
    if (width <= LANES) return;
    kept = kept_sixteen(how + BYTES_OF_SIXTEEN, &conv->how, width - LANES);
    put_sixteen(&kept, sums[1], type, to + bytes_of(type, channel + LANES));
}

VNNI_INLINE void depthwise_pixels(const struct convolution *conv, size_t kernel, unsigned char *buffer)
{
    const size_t channels = conv->out.channels, size = conv->out.size, taps = (kernel * kernel + 3) / 4 * 4;
    unsigned char *to = buffer + conv->out.at;
    size_t places[MOST_TAPS];
    size_t y, x, channel;
    for (y = 0; y < size; y++)
        for (x = 0; x < size; x++, to += bytes_of(conv->out.type, channels)) {
            next_places(conv, kernel, y * conv->stride, x * conv->stride, places);
            for (channel = 0; channel < channels; channel += WIDE)
                depthwise_wide(conv, taps, buffer, places, channel, to);
        }
}

/* As `depthwise_int16`, to the bit; for inputs of 8 bits and 16 channels or more. */
VNNI static void depthwise_vnni(const struct convolution *conv, unsigned char *buffer, const int16_t *taps)
{
    const size_t channels = conv->out.channels, count = (conv->kernel * conv->kernel + 3) / 4 * 4;
    unsigned char *how = buffer + conv->scratch[2];
    size_t channel;
    for (channel = 0; channel < channels; channel += WIDE)
        quads_of_taps(conv, taps, channel, buffer + conv->scratch[1] + channel * count);
    for (channel = 0; channel < channels; channel += LANES, how += BYTES_OF_SIXTEEN)
        keep_sixteen(take_sixteen(&conv->how, channel, channels - channel), how);
    memset(buffer + conv->scratch[3], 0, channels);
    if (conv->kernel == 3) depthwise_pixels(conv, 3, buffer);
    else if (conv->kernel == 5) depthwise_pixels(conv, 5, buffer);
    else depthwise_pixels(conv, conv->kernel, buffer);
}
#endif
