/* Each channel times its gate. */
static void run_product(const struct channelwise *one, unsigned char *buffer)
{
    const size_t pixels = one->out.size * one->out.size;
    size_t channel, pixel, lane;
    for (channel = 0; channel < one->out.channels; channel += LANES) {
        int32_t gate[LANES];
        struct lanes how;
        take_lanes(&one->how, channel, smaller(LANES, one->out.channels - channel), &how);
        load_lanes(&one->gate, buffer, 0, channel, gate);
        for (pixel = 0; pixel < pixels; pixel++) {
            int32_t x[LANES];
            load_lanes(&one->in, buffer, pixel, channel, x);
            for (lane = 0; lane < LANES; lane++) x[lane] *= gate[lane];
            rescale_lanes(&how, x);
            store_lanes(&one->out, buffer, pixel, channel, x);
        }
    }
}
