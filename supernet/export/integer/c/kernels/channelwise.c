/* What rescales a map, channel by channel; `gate` is a map of one pixel, for products. `stride`: side of a square. */
struct channelwise {
    struct map in;
    struct map gate;
    struct map out;
    struct rescale how;
    size_t stride;
};

/* Up to 16 channels of a pixel, and zeros after them. */
static void load_lanes(const struct map *map, const unsigned char *buffer, size_t pixel, size_t channel, int32_t *to)
{
    memset(to, 0, LANES * sizeof *to);
    load(map->type, buffer + map->at + bytes_of(map->type, pixel * map->channels + channel),
         smaller(LANES, map->channels - channel), to);
}

static void store_lanes(const struct map *map, unsigned char *buffer, size_t pixel, size_t channel,
                        const int32_t *from)
{
    store(map->type, from, smaller(LANES, map->channels - channel),
          buffer + map->at + bytes_of(map->type, pixel * map->channels + channel));
}
