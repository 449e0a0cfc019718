#ifndef NETWORK_VNNI
#define TRY_int16(kernel, conv, arguments) (void)0
#else
#define TRY_int16(kernel, conv, arguments)                                            \
    do {                                                                              \
        if ((conv)->fast > 1 && HAS_VNNI) {                                           \
            kernel##_vnni arguments;                                                  \
            return;                                                                   \
        }                                                                             \
    } while (0)

/* What `lanes` says, for vectors of 16 numbers: what has a shift below 32 is moved up by what it lacks first, and of
   a product and offset of 64 bits the upper half is moved down by what is over 32. That no number leaves its bits is
   proven where this is used. `wanted`: a bit for each lane that is a channel. */
struct sixteen {
    __m512i up;
    __m512i multiplier;
    __m512i offset_even;
    __m512i offset_odd;
    __m512i down;
    __m512i low;
    __m512i high;
    __mmask16 wanted;
};

VNNI_INLINE __m512i upper_half(__m512i numbers)
{
    return _mm512_srli_epi64(numbers, 32);
}

VNNI_INLINE __m512i offsets_of(__m512i shift, __m512i bias, unsigned fraction)
{
    const __m512i one = _mm512_set1_epi64(1);
    const __m512i unit = _mm512_sub_epi64(shift, _mm512_set1_epi64(fraction));
    const __m512i constant = _mm512_sllv_epi64(_mm512_mul_epi32(bias, _mm512_set1_epi32(1)), unit);
    return _mm512_add_epi64(constant, _mm512_sllv_epi64(one, _mm512_sub_epi64(shift, one)));
}

/* As `take_lanes`. */
VNNI_INLINE struct sixteen take_sixteen(const struct rescale *how, size_t channel, size_t width)
{
    const __mmask16 wanted = first_of_sixteen(width);
    const __mmask16 read = how->count == 1 ? 1 : wanted;
    const size_t first = how->first + (how->count == 1 ? 0 : channel);
    __m512i shift = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(read, shifts + first));
    __m512i multiplier = _mm512_maskz_loadu_epi32(read, multipliers + first);
    __m512i bias = _mm512_maskz_loadu_epi32(read, biases + first);
    struct sixteen to;
    if (how->count == 1) {
        shift = _mm512_broadcastd_epi32(_mm512_castsi512_si128(shift));
        multiplier = _mm512_broadcastd_epi32(_mm512_castsi512_si128(multiplier));
        bias = _mm512_broadcastd_epi32(_mm512_castsi512_si128(bias));
    }
    to.multiplier = multiplier;
    to.up = _mm512_subs_epu16(_mm512_set1_epi32(32), shift);
    to.down = _mm512_subs_epu16(shift, _mm512_set1_epi32(32));
    shift = _mm512_max_epi32(shift, _mm512_set1_epi32(32));
    to.offset_even = offsets_of(_mm512_maskz_mov_epi32(0x5555, shift), bias, how->fraction);
    to.offset_odd = offsets_of(upper_half(shift), upper_half(bias), how->fraction);
    to.low = _mm512_set1_epi32(how->low);
    to.high = _mm512_set1_epi32(how->high);
    to.wanted = wanted;
    return to;
}

/* What is the same in all lanes is not kept. */
enum { BYTES_OF_SIXTEEN = 5 * 4 * LANES };

VNNI_INLINE void keep_sixteen(struct sixteen how, unsigned char *to)
{
    _mm512_storeu_si512(to, how.multiplier);
    _mm512_storeu_si512(to + 4 * LANES, how.offset_even);
    _mm512_storeu_si512(to + 8 * LANES, how.offset_odd);
    _mm512_storeu_si512(to + 12 * LANES, how.down);
    _mm512_storeu_si512(to + 16 * LANES, how.up);
}

VNNI_INLINE struct sixteen kept_sixteen(const unsigned char *from, const struct rescale *how, size_t width)
{
    struct sixteen to;
    to.multiplier = _mm512_loadu_si512(from);
    to.offset_even = _mm512_loadu_si512(from + 4 * LANES);
    to.offset_odd = _mm512_loadu_si512(from + 8 * LANES);
    to.down = _mm512_loadu_si512(from + 12 * LANES);
    to.up = _mm512_loadu_si512(from + 16 * LANES);
    to.low = _mm512_set1_epi32(how->low);
    to.high = _mm512_set1_epi32(how->high);
    to.wanted = first_of_sixteen(width);
    return to;
}

VNNI_INLINE __m512i rescale_sixteen(const struct sixteen *how, __m512i sums)
{
    const __m512i x = _mm512_sllv_epi32(sums, how->up);
    const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, how->multiplier), how->offset_even);
    const __m512i odd_product = _mm512_mul_epi32(upper_half(x), upper_half(how->multiplier));
    const __m512i odd = _mm512_add_epi64(odd_product, how->offset_odd);
    const __m512i high = _mm512_srav_epi32(_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB), how->down);
    return _mm512_min_epi32(_mm512_max_epi32(high, how->low), how->high);
}

VNNI_INLINE void put_sixteen(const struct sixteen *how, __m512i sums, enum type type, unsigned char *to)
{
    store_sixteen(type, rescale_sixteen(how, sums), how->wanted, to);
}
#endif
