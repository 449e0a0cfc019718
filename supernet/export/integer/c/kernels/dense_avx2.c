#ifdef NETWORK_AVX2
AVX2_INLINE __m256i two_inputs(const int16_t *row)
{
    int32_t both;
    memcpy(&both, row, sizeof both);
    return _mm256_set1_epi32(both);
}

/* Sums of four pixels, and of 8 lanes or twice 8. */
AVX2_INLINE void sums_of_four(const int16_t *const rows[4], size_t inputs, const int16_t *panel, int halves,
                              __m256i sums[4][2])
{
    __m256i s00 = _mm256_setzero_si256(), s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00, s31 = s00;
    size_t input;
    for (input = 0; input < inputs; input += 2, panel += 16 * halves) {
        const __m256i w0 = eight(panel), w1 = halves > 1 ? eight(panel + 16) : w0;
        const __m256i x0 = two_inputs(rows[0] + input), x1 = two_inputs(rows[1] + input);
        const __m256i x2 = two_inputs(rows[2] + input), x3 = two_inputs(rows[3] + input);
        s00 = _mm256_add_epi32(s00, _mm256_madd_epi16(x0, w0));
        s10 = _mm256_add_epi32(s10, _mm256_madd_epi16(x1, w0));
        s20 = _mm256_add_epi32(s20, _mm256_madd_epi16(x2, w0));
        s30 = _mm256_add_epi32(s30, _mm256_madd_epi16(x3, w0));
        if (halves > 1) {
            s01 = _mm256_add_epi32(s01, _mm256_madd_epi16(x0, w1));
            s11 = _mm256_add_epi32(s11, _mm256_madd_epi16(x1, w1));
            s21 = _mm256_add_epi32(s21, _mm256_madd_epi16(x2, w1));
            s31 = _mm256_add_epi32(s31, _mm256_madd_epi16(x3, w1));
        }
    }
    sums[0][0] = s00;
    sums[0][1] = s01;
    sums[1][0] = s10;
    sums[1][1] = s11;
    sums[2][0] = s20;
    sums[2][1] = s21;
    sums[3][0] = s30;
    sums[3][1] = s31;
}

AVX2_INLINE void dense_pixels(const struct piece *piece, const int16_t *rows, const struct fast_lanes *how,
                              enum type type, size_t width)
{
    const size_t inputs = inputs_of(piece->conv), step = bytes_of(type, piece->conv->out.channels);
    size_t first, i;
    for (first = 0; first < piece->count; first += 4) {
        const int16_t *four[4];
        __m256i sums[4][2];
        for (i = 0; i < 4; i++) four[i] = rows + smaller(first + i, piece->count - 1) * inputs;
        sums_of_four(four, inputs, piece->panel, width > 8 ? 2 : 1, sums);
        for (i = 0; i < smaller(4, piece->count - first); i++)
            put_sums(how, sums[i][0], sums[i][1], type, width, piece->to + (first + i) * step);
    }
}

/* As `dense_piece_int16`, to the bit. */
AVX2 static void dense_piece_avx2(const struct piece *piece, const int16_t *rows)
{
    const enum type type = piece->conv->out.type;
    const size_t width = piece->width;
    struct fast_lanes how;
    take_fast_lanes(&piece->conv->how, piece->channel, width, &how);
    if (type == U8 && width == 16) dense_pixels(piece, rows, &how, U8, 16);
    else if (type == U8 && width == 8) dense_pixels(piece, rows, &how, U8, 8);
    else if (type == I8 && width == 16) dense_pixels(piece, rows, &how, I8, 16);
    else if (type == I8 && width == 8) dense_pixels(piece, rows, &how, I8, 8);
    else if (width > 8) dense_pixels(piece, rows, &how, type, width);
    else dense_pixels(piece, rows, &how, type, width);
}
#endif
