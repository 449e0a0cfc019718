/* The sums of up to 16 channels of one pixel. */
static void depthwise_pixel_ROW(const struct convolution *conv, const unsigned char *in, size_t pixel,
                                const int16_t *taps, size_t width, int32_t *sums)
{
    const size_t channels = conv->in.channels, kernel = conv->kernel, edge = kernel / 2;
    const size_t y = pixel / conv->out.size * conv->stride, x = pixel % conv->out.size * conv->stride;
    size_t top, bottom, left, right, row, column, lane;
    taps_on_map(conv, y, &top, &bottom);
    taps_on_map(conv, x, &left, &right);
    memset(sums, 0, LANES * sizeof *sums);
    for (row = top; row < bottom; row++)
        for (column = left; column < right; column++) {
            const size_t from = ((y + row - edge) * conv->in.size + x + column - edge) * channels;
            const int16_t *tap = taps + (row * kernel + column) * channels;
            ROW_t codes[LANES];
            widen_ROW(conv->in.type, in + bytes_of(conv->in.type, from), width, codes);
            for (lane = 0; lane < width; lane++) sums[lane] += (int32_t)codes[lane] * tap[lane];
        }
}

static void depthwise_all_ROW(const struct convolution *conv, unsigned char *buffer, const int16_t *taps)
{
    const size_t channels = conv->out.channels, pixels = conv->out.size * conv->out.size;
    size_t channel, pixel;
    for (channel = 0; channel < channels; channel += LANES) {
        const size_t width = smaller(LANES, channels - channel);
        const unsigned char *in = buffer + conv->in.at + bytes_of(conv->in.type, channel);
        unsigned char *out = buffer + conv->out.at + bytes_of(conv->out.type, channel);
        struct lanes how;
        take_lanes(&conv->how, channel, width, &how);
        for (pixel = 0; pixel < pixels; pixel++) {
            int32_t sums[LANES];
            depthwise_pixel_ROW(conv, in, pixel, taps + channel, width, sums);
            rescale_lanes(&how, sums);
            store(conv->out.type, sums, width, out + bytes_of(conv->out.type, pixel * channels));
        }
    }
}

/* Each channel by itself; its weights lie tap after tap, the channels of each side by side. */
static void depthwise_ROW(const struct convolution *conv, unsigned char *buffer)
{
    int16_t *taps = (int16_t *)(void *)(buffer + conv->scratch[0]);
    const size_t count = conv->kernel * conv->kernel * conv->in.channels;
    unpack(weights + conv->weights, (count + 7) / 8 * 8, conv->bits, taps);
    TRY_ROW(depthwise, conv, (conv, buffer, taps));
    RUN_ROW(depthwise_all, conv, (conv, buffer, taps));
}
