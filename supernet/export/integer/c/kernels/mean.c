/* Sums over the whole map. */
static void run_mean(const struct channelwise *one, unsigned char *buffer)
{
    const size_t pixels = one->in.size * one->in.size;
    size_t channel, pixel, lane;
    for (channel = 0; channel < one->out.channels; channel += LANES) {
        int32_t sums[LANES] = {0};
        struct lanes how;
        for (pixel = 0; pixel < pixels; pixel++) {
            int32_t x[LANES];
            load_lanes(&one->in, buffer, pixel, channel, x);
            for (lane = 0; lane < LANES; lane++) sums[lane] += x[lane];
        }
        take_lanes(&one->how, channel, smaller(LANES, one->out.channels - channel), &how);
        rescale_lanes(&how, sums);
        store_lanes(&one->out, buffer, 0, channel, sums);
    }
}
