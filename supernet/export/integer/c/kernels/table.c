/* Number by number: the entry of a table that begins with what belongs to the input's lowest. */
struct table {
    struct map in;
    struct map out;
    int32_t low;
    const void *entries;
};

static void look_up(const struct table *table, const int32_t *x, size_t count, int32_t *y)
{
    size_t i;
    switch (table->out.type) {
    case U8:
        for (i = 0; i < count; i++) y[i] = ((const uint8_t *)table->entries)[x[i] - table->low];
        break;
    case I8:
        for (i = 0; i < count; i++) y[i] = ((const int8_t *)table->entries)[x[i] - table->low];
        break;
    case I16:
        for (i = 0; i < count; i++) y[i] = ((const int16_t *)table->entries)[x[i] - table->low];
        break;
    case I32:
        for (i = 0; i < count; i++) y[i] = ((const int32_t *)table->entries)[x[i] - table->low];
        break;
    }
}

static void run_table(const struct table *table, unsigned char *buffer)
{
    enum { BLOCK = 64 };
    const size_t values = table->in.channels * table->in.size * table->in.size;
    size_t first;
    for (first = 0; first < values; first += BLOCK) {
        const size_t count = smaller(BLOCK, values - first);
        int32_t x[BLOCK], y[BLOCK];
        load(table->in.type, buffer + table->in.at + bytes_of(table->in.type, first), count, x);
        look_up(table, x, count, y);
        store(table->out.type, y, count, buffer + table->out.at + bytes_of(table->out.type, first));
    }
}
