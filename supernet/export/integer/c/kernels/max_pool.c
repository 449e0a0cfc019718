/* The greatest of 3 by 3 pixels around each second one. */
static void greatest(const struct channelwise *one, const unsigned char *buffer, size_t pixel, size_t channel,
                     int32_t *found)
{
    const size_t size = one->in.size, y = pixel / one->out.size * 2, x = pixel % one->out.size * 2;
    size_t row, column, lane;
    load_lanes(&one->in, buffer, y * size + x, channel, found);
    for (row = y ? y - 1 : 0; row < smaller(y + 2, size); row++)
        for (column = x ? x - 1 : 0; column < smaller(x + 2, size); column++) {
            int32_t codes[LANES];
            load_lanes(&one->in, buffer, row * size + column, channel, codes);
            for (lane = 0; lane < LANES; lane++) found[lane] = codes[lane] > found[lane] ? codes[lane] : found[lane];
        }
}

static void run_max_pool(const struct channelwise *one, unsigned char *buffer)
{
    const size_t pixels = one->out.size * one->out.size;
    size_t channel, pixel;
    for (pixel = 0; pixel < pixels; pixel++)
        for (channel = 0; channel < one->out.channels; channel += LANES) {
            int32_t found[LANES];
            greatest(one, buffer, pixel, channel, found);
            store_lanes(&one->out, buffer, pixel, channel, found);
        }
}
