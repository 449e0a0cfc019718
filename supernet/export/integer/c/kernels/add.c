/* cut off((a * multiplier_a + b * multiplier_b + offset) >> shift), number by number. */
struct add {
    struct map a;
    struct map b;
    struct map out;
    int32_t multiplier_a;
    int32_t multiplier_b;
    int64_t offset;
    unsigned shift;
    int32_t low;
    int32_t high;
};

static void add_block(const struct add *add, const int32_t *a, const int32_t *b, size_t count, int32_t *to)
{
    size_t i;
    for (i = 0; i < count; i++) {
        int64_t wide = (int64_t)a[i] * add->multiplier_a + (int64_t)b[i] * add->multiplier_b + add->offset;
        wide >>= add->shift;
        wide = wide < add->low ? add->low : wide;
        to[i] = (int32_t)(wide > add->high ? add->high : wide);
    }
}

#ifdef NETWORK_VNNI
/* Of the even ones of 16 numbers. */
VNNI_INLINE __m512i add_eight(const struct add *add, __m512i a, __m512i b)
{
    const __m512i by_a = _mm512_mul_epi32(a, _mm512_set1_epi64(add->multiplier_a));
    const __m512i by_b = _mm512_mul_epi32(b, _mm512_set1_epi64(add->multiplier_b));
    const __m512i wide = _mm512_add_epi64(_mm512_add_epi64(by_a, by_b), _mm512_set1_epi64(add->offset));
    const __m512i moved = _mm512_srav_epi64(wide, _mm512_set1_epi64(add->shift));
    return _mm512_min_epi64(_mm512_max_epi64(moved, _mm512_set1_epi64(add->low)), _mm512_set1_epi64(add->high));
}

VNNI static void add_vnni(const struct add *add, unsigned char *buffer)
{
    const size_t values = add->out.channels * add->out.size * add->out.size;
    size_t first;
    for (first = 0; first < values; first += 16) {
        const __mmask16 wanted = first_of_sixteen(values - first);
        const __m512i a = load_sixteen(add->a.type, buffer + add->a.at + bytes_of(add->a.type, first), wanted);
        const __m512i b = load_sixteen(add->b.type, buffer + add->b.at + bytes_of(add->b.type, first), wanted);
        const __m512i even = add_eight(add, a, b);
        const __m512i odd = add_eight(add, _mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
        const __m512i sums = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
        store_sixteen(add->out.type, sums, wanted, buffer + add->out.at + bytes_of(add->out.type, first));
    }
}
#endif

static void run_add(const struct add *add, unsigned char *buffer)
{
    enum { BLOCK = 64 };
    const size_t values = add->out.channels * add->out.size * add->out.size;
    size_t first;
#ifdef NETWORK_VNNI
    if (HAS_VNNI) {
        add_vnni(add, buffer);
        return;
    }
#endif
    for (first = 0; first < values; first += BLOCK) {
        const size_t count = smaller(BLOCK, values - first);
        int32_t a[BLOCK], b[BLOCK], sums[BLOCK];
        load(add->a.type, buffer + add->a.at + bytes_of(add->a.type, first), count, a);
        load(add->b.type, buffer + add->b.at + bytes_of(add->b.type, first), count, b);
        add_block(add, a, b, count, sums);
        store(add->out.type, sums, count, buffer + add->out.at + bytes_of(add->out.type, first));
    }
}
