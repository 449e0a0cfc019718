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

static void run_add(const struct add *add, unsigned char *buffer)
{
    enum { BLOCK = 64 };
    const size_t values = add->out.channels * add->out.size * add->out.size;
    size_t first;
    for (first = 0; first < values; first += BLOCK) {
        const size_t count = smaller(BLOCK, values - first);
        int32_t a[BLOCK], b[BLOCK], sums[BLOCK];
        load(add->a.type, buffer + add->a.at + bytes_of(add->a.type, first), count, a);
        load(add->b.type, buffer + add->b.at + bytes_of(add->b.type, first), count, b);
        add_block(add, a, b, count, sums);
        store(add->out.type, sums, count, buffer + add->out.at + bytes_of(add->out.type, first));
    }
}
