enum type { U8, I8, I16, I32 };

/* A map in the buffer, from byte `at` on: pixel after pixel, the channels of each side by side. */
struct map {
    size_t at;
    size_t channels;
    size_t size;
    enum type type;
};

/* `count` numbers of a type. */
static void load(enum type type, const unsigned char *from, size_t count, int32_t *to)
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
        for (i = 0; i < count; i++) to[i] = ((const int32_t *)at)[i];
        break;
    }
}

/* From channel after channel to pixel after pixel; what is out of range is cut off. */
static void take_image(const network_code *image, const struct map *to, unsigned char *buffer)
{
    const size_t pixels = to->size * to->size;
    const int low = NETWORK_CODE_LOW, high = NETWORK_CODE_HIGH;
    network_code *codes = (network_code *)(void *)(buffer + to->at);
    size_t channel, pixel;
    for (channel = 0; channel < to->channels; channel++)
        for (pixel = 0; pixel < pixels; pixel++) {
            const int code = image[channel * pixels + pixel];
            codes[pixel * to->channels + channel] = (network_code)(code < low ? low : code > high ? high : code);
        }
}
