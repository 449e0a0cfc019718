/* Weighted sums over a square of kernel by kernel pixels, whose middle is at the pixel; outside of the map is 0.
   `scratch`: places in the buffer. `chunk`: pixels whose inputs are gathered at once. `fast`: kernels for AVX2 do
   (1), and those for VNNI as well (2). */
struct convolution {
    struct map in;
    struct map out;
    struct rescale how;
    size_t kernel;
    size_t stride;
    size_t weights;
    unsigned bits;
    size_t scratch[4];
    size_t chunk;
    int fast;
};

/* The part of a kernel's side that is on the map, where its middle is at `middle`. */
static void taps_on_map(const struct convolution *conv, size_t middle, size_t *first, size_t *end)
{
    const size_t edge = conv->kernel / 2;
    *first = middle < edge ? edge - middle : 0;
    *end = smaller(conv->kernel, conv->in.size + edge - middle);
}
