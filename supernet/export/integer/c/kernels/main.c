/* A command that runs the network.

   network [FILE]       codes of images from the file or the standard input, one image after the other; their logits
                        (int32, in this machine's byte order) go to the standard output
   network --sizes      bytes of the constants and of the buffer, as JSON
   network --time N     microseconds of processor time for an image, over N of them */
#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VALUES = NETWORK_CHANNELS * NETWORK_SIDE * NETWORK_SIDE };

static network_buffer buffer;
static network_code image[VALUES];
static int32_t logits[NETWORK_CLASSES];

static int failed(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    return EXIT_FAILURE;
}

static int run_all(FILE *from, const char *name)
{
    size_t got;
    while ((got = fread(image, 1, sizeof image, from)) == sizeof image) {
        network_run(image, logits, &buffer);
        if (fwrite(logits, sizeof logits, 1, stdout) != 1) return failed("standard output", "can not be written");
    }
    if (ferror(from)) return failed(name, "can not be read");
    if (got > 0) return failed(name, "ends within an image");
    return fflush(stdout) == 0 ? EXIT_SUCCESS : failed("standard output", "can not be written");
}

static int run_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    int status;
    if (file == NULL) return failed(name, "can not be opened");
    status = run_all(file, name);
    fclose(file);
    return status;
}

static int measure(const char *text)
{
    char *end;
    const long count = strtol(text, &end, 10);
    clock_t start;
    long i;
    if (*end != '\0' || count < 1) return failed(text, "is no number of images");
    for (i = 0; i < VALUES; i++)
        image[i] = (network_code)(NETWORK_CODE_LOW + i * 37 % ((int64_t)NETWORK_CODE_HIGH - NETWORK_CODE_LOW + 1));
    network_run(image, logits, &buffer);
    start = clock();
    for (i = 0; i < count; i++) network_run(image, logits, &buffer);
    printf("%.3f\n", (double)(clock() - start) / CLOCKS_PER_SEC * 1e6 / (double)count);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 1) return run_all(stdin, "standard input");
    if (argc == 2 && strcmp(argv[1], "--sizes") == 0) {
        printf("{\"weights_bytes\": %ld, \"buffer_bytes\": %ld}\n", (long)NETWORK_WEIGHTS_BYTES,
               (long)sizeof buffer);
        return EXIT_SUCCESS;
    }
    if (argc == 3 && strcmp(argv[1], "--time") == 0) return measure(argv[2]);
    if (argc == 2 && argv[1][0] != '-') return run_file(argv[1]);
    return failed("usage", "network [FILE], network --sizes, or network --time N");
}
