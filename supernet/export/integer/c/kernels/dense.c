/* Channels are worked on in panels of 16; the last one has what is left, and 8 lanes where that is enough. Weights
   of a panel lie by pairs of inputs: two for each lane. An odd input has a partner of weight 0. */
static size_t inputs_of(const struct convolution *conv)
{
    const size_t inputs = conv->kernel * conv->kernel * conv->in.channels;
    return inputs + inputs % 2;
}

static size_t lanes_of(size_t width)
{
    return width > LANES / 2 ? LANES : LANES / 2;
}

/* Rows of `width` lanes, packed, become rows of 8 or 16, with zeros. */
static void take_panel(const struct convolution *conv, size_t channel, size_t width, int16_t *panel)
{
    const size_t inputs = inputs_of(conv), lanes = lanes_of(width);
    const uint8_t *from = weights + conv->weights + inputs * channel / 8 * conv->bits;
    const size_t codes = (inputs * width + 7) / 8 * 8;
    int16_t *tight = panel + inputs * lanes + LANES - codes;
    size_t row;
    if (width == lanes) {
        unpack(from, codes, conv->bits, panel);
        return;
    }
    unpack(from, codes, conv->bits, tight);
    for (row = 0; row < inputs / 2; row++) {
        int16_t *to = panel + 2 * row * lanes;
        memmove(to, tight + 2 * row * width, 2 * width * sizeof *to);
        memset(to + 2 * width, 0, 2 * (lanes - width) * sizeof *to);
    }
}

/* The weights of each lane by themselves. */
static void turn_panel(const int16_t *panel, size_t inputs, size_t width, int16_t *turned)
{
    const size_t lanes = lanes_of(width);
    size_t input, lane;
    for (lane = 0; lane < width; lane++)
        for (input = 0; input < inputs; input++)
            turned[lane * inputs + input] = panel[(input / 2 * lanes + lane) * 2 + input % 2];
}

/* What is computed at once: `count` pixels of `width` channels from `channel` on, into `to`. */
struct piece {
    const struct convolution *conv;
    size_t count;
    size_t channel;
    size_t width;
    const int16_t *panel;
    int16_t *turned;
    unsigned char *to;
};
