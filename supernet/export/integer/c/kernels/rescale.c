/* cut off((x * multiplier + offset) >> shift), with arrays from entry `first` on: one for each channel, or one for
   all where `count` is 1. */
struct rescale {
    size_t first;
    size_t count;
    unsigned fraction;
    int32_t low;
    int32_t high;
};

/* Some channels are worked on side by side. */
enum { LANES = 16 };

struct lanes {
    int32_t multiplier[LANES];
    int64_t offset[LANES];
    unsigned shift[LANES];
    int32_t low;
    int32_t high;
};

/* Of `width` channels from `channel` on; further lanes repeat the last of them. */
static void take_lanes(const struct rescale *how, size_t channel, size_t width, struct lanes *to)
{
    size_t lane;
    for (lane = 0; lane < LANES; lane++) {
        const size_t place = how->count == 1 ? 0 : channel + smaller(lane, width - 1);
        const unsigned shift = shifts[how->first + place];
        const int64_t unit = (int64_t)1 << (shift - how->fraction);
        to->multiplier[lane] = multipliers[how->first + place];
        to->offset[lane] = biases[how->first + place] * unit + ((int64_t)1 << (shift - 1));
        to->shift[lane] = shift;
    }
    to->low = how->low;
    to->high = how->high;
}

static void rescale_lanes(const struct lanes *how, int32_t *x)
{
    size_t lane;
    for (lane = 0; lane < LANES; lane++) {
        int64_t wide = ((int64_t)x[lane] * how->multiplier[lane] + how->offset[lane]) >> how->shift[lane];
        wide = wide < how->low ? how->low : wide;
        x[lane] = (int32_t)(wide > how->high ? how->high : wide);
    }
}
