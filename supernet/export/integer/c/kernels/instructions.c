/* C leaves it to the compiler what >> does to negative numbers: one that does not round down ends here. */
typedef char right_shifts_round_down[((int64_t)-5 >> 1) == -3 ? 1 : -1];

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t bytes_of(enum type type, size_t count)
{
    return type == I32 ? 4 * count : type == I16 ? 2 * count : count;
}

/* `count` numbers that are in the range of a type. */
static void store(enum type type, const int32_t *from, size_t count, unsigned char *to)
{
    size_t i;
    void *at = to;
    switch (type) {
    case U8:
        for (i = 0; i < count; i++) ((uint8_t *)at)[i] = (uint8_t)from[i];
        break;
    case I8:
        for (i = 0; i < count; i++) ((int8_t *)at)[i] = (int8_t)from[i];
        break;
    case I16:
        for (i = 0; i < count; i++) ((int16_t *)at)[i] = (int16_t)from[i];
        break;
    case I32:
        for (i = 0; i < count; i++) ((int32_t *)at)[i] = from[i];
        break;
    }
}
