/* The inputs of `count` pixels from `first` on, row after row. */
static void gather_ROW(const struct convolution *conv, const unsigned char *in, size_t first, size_t count,
                       ROW_t *rows)
{
    const size_t channels = conv->in.channels, kernel = conv->kernel, edge = kernel / 2, inputs = inputs_of(conv);
    size_t pixel, row;
    if (kernel == 1 && conv->stride == 1 && inputs == channels) {
        widen_ROW(conv->in.type, in + bytes_of(conv->in.type, first * channels), count * channels, rows);
        return;
    }
    memset(rows, 0, count * inputs * sizeof *rows);
    for (pixel = first; pixel < first + count; pixel++, rows += inputs) {
        const size_t y = pixel / conv->out.size * conv->stride, x = pixel % conv->out.size * conv->stride;
        size_t top, bottom, left, right;
        taps_on_map(conv, y, &top, &bottom);
        taps_on_map(conv, x, &left, &right);
        for (row = top; row < bottom; row++) {
            const size_t from = ((y + row - edge) * conv->in.size + x + left - edge) * channels;
            widen_ROW(conv->in.type, in + bytes_of(conv->in.type, from), (right - left) * channels,
                      rows + (row * kernel + left) * channels);
        }
    }
}

/* A sum of products as compilers know it. */
static int32_t dot_ROW(const ROW_t *row, const int16_t *weight, size_t inputs)
{
    int32_t sum = 0;
    size_t input;
    for (input = 0; input < inputs; input++) sum += (int32_t)row[input] * weight[input];
    return sum;
}

static void dense_piece_ROW(const struct piece *piece, const ROW_t *rows)
{
    const struct convolution *conv = piece->conv;
    const size_t inputs = inputs_of(conv), step = bytes_of(conv->out.type, conv->out.channels);
    struct lanes how;
    size_t pixel, lane;
    take_lanes(&conv->how, piece->channel, piece->width, &how);
    turn_panel(piece->panel, inputs, piece->width, piece->turned);
    for (pixel = 0; pixel < piece->count; pixel++) {
        int32_t sums[LANES] = {0};
        for (lane = 0; lane < piece->width; lane++)
            sums[lane] = dot_ROW(rows + pixel * inputs, piece->turned + lane * inputs, inputs);
        rescale_lanes(&how, sums);
        store(conv->out.type, sums, piece->width, piece->to + pixel * step);
    }
}

static void dense_ROW(const struct convolution *conv, unsigned char *buffer)
{
    ROW_t *rows = (ROW_t *)(void *)(buffer + conv->scratch[0]);
    int16_t *panel = (int16_t *)(void *)(buffer + conv->scratch[1]);
    int16_t *turned = (int16_t *)(void *)(buffer + conv->scratch[2]);
    const size_t pixels = conv->out.size * conv->out.size, channels = conv->out.channels;
    size_t first, channel;
    TRY_ROW(dense, conv, (conv, buffer));
    for (first = 0; first < pixels; first += conv->chunk) {
        const size_t count = smaller(conv->chunk, pixels - first);
        struct piece piece = {conv, count, 0, 0, panel, turned, NULL};
        gather_ROW(conv, buffer + conv->in.at, first, count, rows);
        for (channel = 0; channel < channels; channel += LANES) {
            piece.channel = channel;
            piece.width = smaller(LANES, channels - channel);
            piece.to = buffer + conv->out.at + bytes_of(conv->out.type, first * channels + channel);
            take_panel(conv, channel, piece.width, panel);
            RUN_ROW(dense_piece, conv, (&piece, rows));
        }
    }
}
