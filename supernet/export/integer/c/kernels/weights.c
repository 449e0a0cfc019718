/* Codes are stored plus half of their range, so that they are not negative, and their bits in parts of 8, 4, 2 or 1,
   the widest first and lowest. A byte of a part of 4 bits belongs to two codes: byte i of n to codes i and n + i; of
   2 bits to four, of 1 bit to eight. */
INLINE void first_part(const uint8_t *restrict from, size_t bytes, unsigned used, int mask, int half,
                       int16_t *restrict to)
{
    size_t i;
    for (i = 0; i < bytes; i++) to[i] = (int16_t)(((from[i] >> used) & mask) - half);
}

INLINE void further_part(const uint8_t *restrict from, size_t bytes, unsigned used, int mask, unsigned done,
                         int16_t *restrict to)
{
    size_t i;
    for (i = 0; i < bytes; i++) to[i] = (int16_t)(to[i] + (((from[i] >> used) & mask) << done));
}

static void unpack_any(const uint8_t *from, size_t count, unsigned bits, int16_t *to)
{
    unsigned width, used, done = 0;
    for (width = 8; width > 0; width /= 2) {
        const size_t bytes = count / 8 * width;
        const int mask = (1 << width) - 1;
        if (!(bits & width)) continue;
        for (used = 0; used < 8; used += width) {
            int16_t *plane = to + used / width * bytes;
            if (done == 0) first_part(from, bytes, used, mask, 1 << (bits - 1), plane);
            else further_part(from, bytes, used, mask, done, plane);
        }
        from += bytes;
        done += width;
    }
}

/* `count` codes of `bits` bits, where eight divides `count`: as `unpack_any`, with numbers that compilers know. */
INLINE void unpack_usual(const uint8_t *from, size_t count, unsigned bits, int16_t *to)
{
    const size_t half = count / 2, fourth = count / 4;
    if (bits == 8) first_part(from, count, 0, 255, 128, to);
    if (bits == 4) {
        first_part(from, half, 0, 15, 8, to);
        first_part(from, half, 4, 15, 8, to + half);
    }
    if (bits == 6) {
        first_part(from, half, 0, 15, 32, to);
        first_part(from, half, 4, 15, 32, to + half);
        further_part(from + half, fourth, 0, 3, 4, to);
        further_part(from + half, fourth, 2, 3, 4, to + fourth);
        further_part(from + half, fourth, 4, 3, 4, to + 2 * fourth);
        further_part(from + half, fourth, 6, 3, 4, to + 3 * fourth);
    }
}

#ifdef NETWORK_AVX2
AVX2 static void unpack_avx2(const uint8_t *from, size_t count, unsigned bits, int16_t *to)
{
    unpack_usual(from, count, bits, to);
}
#endif

static void unpack(const uint8_t *from, size_t count, unsigned bits, int16_t *to)
{
    if (bits != 4 && bits != 6 && bits != 8) {
        unpack_any(from, count, bits, to);
        return;
    }
#ifdef NETWORK_AVX2
    if (HAS_AVX2) {
        unpack_avx2(from, count, bits, to);
        return;
    }
#endif
    unpack_usual(from, count, bits, to);
}
