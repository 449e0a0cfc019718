/* Each code is stored plus half of its range, so that it is not negative, and its bits in parts of 8, 4, 2 or 1, the
   widest first and lowest. A byte of a part of 4 bits belongs to two codes: byte i of n to codes i and n + i; of 2
   bits to four, of 1 bit to eight. */
static void unpack_part(const uint8_t *from, size_t bytes, unsigned width, unsigned done, int16_t *to)
{
    const int mask = (1 << width) - 1;
    unsigned used;
    size_t i;
    for (used = 0; used < 8; used += width) {
        for (i = 0; i < bytes; i++)
            to[i] = (int16_t)(to[i] + (((from[i] >> used) & mask) << done));
        to += bytes;
    }
}

/* `count` codes of `bits` bits, where eight divides `count`. */
static void unpack(const uint8_t *from, size_t count, unsigned bits, int16_t *to)
{
    unsigned width, done = 0;
    size_t i;
    for (i = 0; i < count; i++)
        to[i] = (int16_t) - (1 << (bits - 1));
    for (width = 8; width > 0; width /= 2)
        if (bits & width) {
            unpack_part(from, count / 8 * width, width, done, to);
            from += count / 8 * width;
            done += width;
        }
}
