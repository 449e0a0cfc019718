#ifdef NETWORK_VNNI
/* 16 numbers of 32 bits in a vector, of which those of a bit in `wanted` are written. */
VNNI_INLINE __mmask16 first_of_sixteen(size_t width)
{
    return (__mmask16)((1u << smaller(16, width)) - 1);
}

VNNI_INLINE void store_sixteen(enum type type, __m512i numbers, __mmask16 wanted, unsigned char *to)
{
    if (type == I32) _mm512_mask_storeu_epi32(to, wanted, numbers);
    else if (type == I16) _mm256_mask_storeu_epi16(to, wanted, _mm512_cvtepi32_epi16(numbers));
    else _mm_mask_storeu_epi8(to, wanted, _mm512_cvtepi32_epi8(numbers));
}
#endif
