/* Sums of the square at a pixel; how many of its pixels are on the map. */
static size_t sum_square(const struct channelwise *one, const unsigned char *buffer, size_t pixel, size_t channel,
                         int32_t *sums)
{
    const size_t size = one->in.size, stride = one->stride;
    const size_t y = pixel / one->out.size * stride, x = pixel % one->out.size * stride;
    const size_t bottom = smaller(y + stride, size), right = smaller(x + stride, size);
    size_t row, column, lane;
    memset(sums, 0, LANES * sizeof *sums);
    for (row = y; row < bottom; row++)
        for (column = x; column < right; column++) {
            int32_t codes[LANES];
            load_lanes(&one->in, buffer, row * size + column, channel, codes);
            for (lane = 0; lane < LANES; lane++) sums[lane] += codes[lane];
        }
    return (bottom - y) * (right - x);
}

/* Means over squares; how they are rescaled depends on how many pixels they have. */
static void run_average(const struct channelwise *one, unsigned char *buffer)
{
    const size_t pixels = one->out.size * one->out.size;
    size_t channel, pixel;
    for (pixel = 0; pixel < pixels; pixel++)
        for (channel = 0; channel < one->out.channels; channel += LANES) {
            struct rescale of_count = one->how;
            int32_t sums[LANES];
            struct lanes how;
            of_count.first += sum_square(one, buffer, pixel, channel, sums) - 1;
            of_count.count = 1;
            take_lanes(&of_count, 0, 1, &how);
            rescale_lanes(&how, sums);
            store_lanes(&one->out, buffer, pixel, channel, sums);
        }
}
