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

static void take_fast_lanes(const struct lanes *from, struct fast_lanes *to)
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
    to->low = from->low;
    to->high = from->high;
}

AVX2_INLINE __m256i eight(const void *at)
{
    return _mm256_loadu_si256((const __m256i *)at);
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
    _mm256_storeu_si256((__m256i *)(void *)all, a);
    _mm256_storeu_si256((__m256i *)(void *)(all + 8), b);
    store(type, all, width, to);
}
#endif
