#ifdef NETWORK_VNNI
/* 16 numbers of 32 bits in a vector, of which those of a bit in `wanted` are read and written. */
VNNI_INLINE __mmask16 first_of_sixteen(size_t width)
{
    return (__mmask16)((1u << smaller(16, width)) - 1);
}

VNNI_INLINE __m512i load_sixteen(enum type type, const unsigned char *from, __mmask16 wanted)
{
    switch (type) {
    case U8: return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(wanted, from));
    case I8: return _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(wanted, from));
    case I16: return _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(wanted, from));
    default: return _mm512_maskz_loadu_epi32(wanted, from);
    }
}

VNNI_INLINE void store_sixteen(enum type type, __m512i numbers, __mmask16 wanted, unsigned char *to)
{
    if (type == I32) _mm512_mask_storeu_epi32(to, wanted, numbers);
    else if (type == I16) _mm256_mask_storeu_epi16(to, wanted, _mm512_cvtepi32_epi16(numbers));
    else _mm_mask_storeu_epi8(to, wanted, _mm512_cvtepi32_epi8(numbers));
}
#endif
