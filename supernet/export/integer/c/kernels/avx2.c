#ifndef NETWORK_AVX2
#define RUN_int16(kernel, conv, arguments) kernel##_int16 arguments
#else
#define RUN_int16(kernel, conv, arguments)                                            \
    do {                                                                              \
        if ((conv)->fast && HAS_AVX2) kernel##_avx2 arguments;                        \
        else kernel##_int16 arguments;                                                \
    } while (0)

/* What `lanes` says for vectors of 8 numbers of 32 bits, whose products of 64 bits are taken of the even ones and of
   the odd ones. A product that is first moved up by 32 - shift (if that is not negative) has the result in its upper
   half, moved up by shift - 32 (if that is not). That no result leaves 32 bits is proven where this is used. */
struct fast_lanes {
    int32_t multiplier[LANES];
    int32_t down[LANES];
    int64_t offset[LANES];
    int64_t up[LANES];
    int32_t low;
    int32_t high;
};

AVX2_INLINE __m256i eight(const void *at)
{
    return _mm256_loadu_si256((const __m256i *)at);
}

AVX2_INLINE void put(void *at, __m256i numbers)
{
    _mm256_storeu_si256((__m256i *)at, numbers);
}

/* Of four channels: shifts and biases as numbers of 64 bits. */
AVX2_INLINE void take_four(__m256i shift, __m256i bias, unsigned fraction, int64_t *offset, int64_t *up)
{
    const __m256i one = _mm256_set1_epi64x(1), most = _mm256_sub_epi64(_mm256_set1_epi64x(32), shift);
    const __m256i constant = _mm256_sllv_epi64(bias, _mm256_sub_epi64(shift, _mm256_set1_epi64x(fraction)));
    put(offset, _mm256_add_epi64(constant, _mm256_sllv_epi64(one, _mm256_sub_epi64(shift, one))));
    put(up, _mm256_and_si256(most, _mm256_cmpgt_epi64(most, _mm256_setzero_si256())));
}

static void spread_lanes(const struct lanes *from, struct fast_lanes *to)
{
    size_t lane;
    for (lane = 0; lane < LANES; lane++) {
        const size_t place = (lane & 8) + lane % 2 * 4 + lane % 8 / 2;
        const unsigned shift = from->shift[lane];
        to->multiplier[lane] = from->multiplier[lane];
        to->down[lane] = shift < 32 ? 0 : (int32_t)(shift - 32);
        to->offset[place] = from->offset[lane];
        to->up[place] = shift < 32 ? (int64_t)(32 - shift) : 0;
    }
}

/* As `take_lanes`. */
AVX2 static void take_fast_lanes(const struct rescale *how, size_t channel, size_t width, struct fast_lanes *to)
{
    const __m256i one = _mm256_set1_epi32(1), even = _mm256_set1_epi64x(0xFFFFFFFF);
    const size_t first = how->first + channel;
    size_t half;
    to->low = how->low;
    to->high = how->high;
    if (how->count == 1 || width < LANES) {
        struct lanes lanes;
        take_lanes(how, channel, width, &lanes);
        spread_lanes(&lanes, to);
        return;
    }
    for (half = 0; half < LANES; half += 8) {
        const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(shifts + first + half));
        const __m256i shift = _mm256_cvtepu8_epi32(bytes), bias = eight(biases + first + half);
        put(to->multiplier + half, eight(multipliers + first + half));
        put(to->down + half, _mm256_max_epi32(_mm256_sub_epi32(shift, _mm256_set1_epi32(32)), _mm256_setzero_si256()));
        take_four(_mm256_and_si256(shift, even), _mm256_mul_epi32(bias, one), how->fraction, to->offset + half,
                  to->up + half);
        take_four(_mm256_srli_epi64(shift, 32), _mm256_mul_epi32(_mm256_srli_epi64(bias, 32), one), how->fraction,
                  to->offset + half + 4, to->up + half + 4);
    }
}

AVX2_INLINE __m256i rescale_eight(const struct fast_lanes *how, size_t first, __m256i x)
{
    const __m256i multiplier = eight(how->multiplier + first);
    __m256i even = _mm256_mul_epi32(x, multiplier), high;
    __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(multiplier, 32));
    even = _mm256_sllv_epi64(_mm256_add_epi64(even, eight(how->offset + first)), eight(how->up + first));
    odd = _mm256_sllv_epi64(_mm256_add_epi64(odd, eight(how->offset + first + 4)), eight(how->up + first + 4));
    high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    high = _mm256_srav_epi32(high, eight(how->down + first));
    high = _mm256_max_epi32(high, _mm256_set1_epi32(how->low));
    return _mm256_min_epi32(high, _mm256_set1_epi32(how->high));
}

/* Rescaled sums of `width` channels, the first 8 in `a` and the next in `b`; the type and whether the width is 8, 16
   or another are known where this is put in place. */
AVX2_INLINE void put_sums(const struct fast_lanes *how, __m256i a, __m256i b, enum type type, size_t width,
                          unsigned char *to)
{
    int32_t all[LANES];
    a = rescale_eight(how, 0, a);
    b = width > 8 ? rescale_eight(how, 8, b) : a;
    if ((type == U8 || type == I8) && width % 8 == 0) {
        const __m256i narrow = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
        const __m128i low = _mm256_castsi256_si128(narrow), high = _mm256_extracti128_si256(narrow, 1);
        const __m128i codes = type == U8 ? _mm_packus_epi16(low, high) : _mm_packs_epi16(low, high);
        if (width == 8) _mm_storel_epi64((__m128i *)(void *)to, codes);
        else _mm_storeu_si128((__m128i *)(void *)to, codes);
        return;
    }
    put(all, a);
    put(all + 8, b);
    store(type, all, width, to);
}
#endif
