static void widen_ROW(enum type type, const unsigned char *from, size_t count, ROW_t *to)
{
    size_t i;
    const void *at = from;
    switch (type) {
    case U8:
        for (i = 0; i < count; i++) to[i] = ((const uint8_t *)at)[i];
        break;
    case I8:
        for (i = 0; i < count; i++) to[i] = ((const int8_t *)at)[i];
        break;
    case I16:
        for (i = 0; i < count; i++) to[i] = ((const int16_t *)at)[i];
        break;
    case I32:
        for (i = 0; i < count; i++) to[i] = (ROW_t)((const int32_t *)at)[i];
        break;
    }
}
