static void run_requantize(const struct channelwise *one, unsigned char *buffer)
{
    const size_t pixels = one->out.size * one->out.size;
    size_t channel, pixel;
    for (channel = 0; channel < one->out.channels; channel += LANES) {
        struct lanes how;
        take_lanes(&one->how, channel, smaller(LANES, one->out.channels - channel), &how);
        for (pixel = 0; pixel < pixels; pixel++) {
            int32_t x[LANES];
            load_lanes(&one->in, buffer, pixel, channel, x);
            rescale_lanes(&how, x);
            store_lanes(&one->out, buffer, pixel, channel, x);
        }
    }
}
