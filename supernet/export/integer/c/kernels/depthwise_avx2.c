#ifdef NETWORK_AVX2
/* Two taps side by side in a row of the kernel: where their inputs lie, and the number of their weights. */
struct pair {
    const unsigned char *a;
    const unsigned char *b;
    size_t weights;
};

/* Blocks of 16 channels; the last one overlaps the one before where it has to. */
static size_t block_start(size_t channels, size_t block)
{
    return smaller(block * LANES, channels - LANES);
}

/* For each block and pair, weights of the one and the other tap in turn, channel after channel. */
AVX2 static void pair_weights(const int16_t *taps, size_t channels, size_t kernel, int16_t *to)
{
    const size_t blocks = (channels + LANES - 1) / LANES;
    size_t block, row, column, i;
    for (block = 0; block < blocks; block++)
        for (row = 0; row < kernel; row++)
            for (column = 0; column < kernel; column += 2) {
                const int16_t *a = taps + (row * kernel + column) * channels + block_start(channels, block);
                for (i = 0; i < LANES; i++, to += 2) {
                    to[0] = a[i];
                    to[1] = column + 1 < kernel ? a[channels + i] : 0;
                }
            }
}

/* The pairs of which a tap at least is on the map; `zeros` stand in for another that is not. */
static size_t pairs_at(const struct convolution *conv, const unsigned char *in, size_t pixel,
                       const unsigned char *zeros, struct pair *pairs)
{
    const size_t channels = conv->in.channels, kernel = conv->kernel, edge = kernel / 2;
    const size_t y = pixel / conv->out.size * conv->stride, x = pixel % conv->out.size * conv->stride;
    size_t top, bottom, left, right, row, column, count = 0;
    taps_on_map(conv, y, &top, &bottom);
    taps_on_map(conv, x, &left, &right);
    for (row = top; row < bottom; row++)
        for (column = left / 2 * 2; column < right; column += 2, count++) {
            const unsigned char *line = in + (y + row - edge) * conv->in.size * channels;
            pairs[count].a = column < left ? zeros : line + (x + column - edge) * channels;
            pairs[count].b = column + 1 < right ? line + (x + column + 1 - edge) * channels : zeros;
            pairs[count].weights = row * ((kernel + 1) / 2) + column / 2;
        }
    return count;
}

/* Sums of 16 channels. */
AVX2_INLINE void sums_of_pairs(const struct pair *pairs, size_t count, size_t channel, const int16_t *taps,
                               int is_signed, __m256i *first, __m256i *second)
{
    __m256i a = _mm256_setzero_si256(), b = a;
    size_t i;
    for (i = 0; i < count; i++) {
        const __m128i one = _mm_loadu_si128((const __m128i *)(const void *)(pairs[i].a + channel));
        const __m128i other = _mm_loadu_si128((const __m128i *)(const void *)(pairs[i].b + channel));
        const __m128i low = _mm_unpacklo_epi8(one, other), high = _mm_unpackhi_epi8(one, other);
        const int16_t *weight = taps + pairs[i].weights * 2 * LANES;
        const __m256i x = is_signed ? _mm256_cvtepi8_epi16(low) : _mm256_cvtepu8_epi16(low);
        const __m256i y = is_signed ? _mm256_cvtepi8_epi16(high) : _mm256_cvtepu8_epi16(high);
        a = _mm256_add_epi32(a, _mm256_madd_epi16(x, eight(weight)));
        b = _mm256_add_epi32(b, _mm256_madd_epi16(y, eight(weight + LANES)));
    }
    *first = a;
    *second = b;
}

typedef char bytes_of_fast_lanes[sizeof(struct fast_lanes) == 392 ? 1 : -1];

/* As `depthwise_all_int16`, to the bit; for inputs of 8 bits and 16 channels or more. */
AVX2 static void depthwise_all_avx2(const struct convolution *conv, unsigned char *buffer, const int16_t *taps)
{
    const size_t channels = conv->out.channels, pixels = conv->out.size * conv->out.size, kernel = conv->kernel;
    const size_t taps_of_block = kernel * ((kernel + 1) / 2) * 2 * LANES;
    int16_t *weights_of_pairs = (int16_t *)(void *)(buffer + conv->scratch[1]);
    struct fast_lanes *how = (struct fast_lanes *)(void *)(buffer + conv->scratch[2]);
    unsigned char *zeros = buffer + conv->scratch[3], *to = buffer + conv->out.at;
    size_t pixel, block;
    pair_weights(taps, channels, kernel, weights_of_pairs);
    for (block = 0; block * LANES < channels; block++)
        take_fast_lanes(&conv->how, block_start(channels, block), LANES, how + block);
    memset(zeros, 0, channels);
    for (pixel = 0; pixel < pixels; pixel++, to += bytes_of(conv->out.type, channels)) {
        struct pair pairs[MOST_PAIRS];
        const size_t count = pairs_at(conv, buffer + conv->in.at, pixel, zeros, pairs);
        for (block = 0; block * LANES < channels; block++) {
            const size_t channel = block_start(channels, block);
            const int16_t *weight = weights_of_pairs + block * taps_of_block;
            __m256i a, b;
            if (conv->in.type == I8) sums_of_pairs(pairs, count, channel, weight, 1, &a, &b);
            else sums_of_pairs(pairs, count, channel, weight, 0, &a, &b);
            put_sums(how + block, a, b, conv->out.type, LANES, to + bytes_of(conv->out.type, channel));
        }
    }
}
#endif
