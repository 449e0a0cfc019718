/* A network in integers alone; network.c has it, and main.c is a command that runs it.

   cc -std=c99 -O3 -o network network.c main.c

   An image is NETWORK_CHANNELS maps of NETWORK_SIDE rows of NETWORK_SIDE codes, one map after the other, as the
   manifest says that images become its input; codes beyond NETWORK_CODE_LOW and NETWORK_CODE_HIGH are cut off.
   What a code stands for, in real numbers: code * @INPUT_SCALE@
   And a logit: logit * @OUTPUT_SCALE@ */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdint.h>

#define NETWORK_CHANNELS @CHANNELS@
#define NETWORK_SIDE @SIDE@
#define NETWORK_CLASSES @CLASSES@
#define NETWORK_CODE_LOW @LOW@
#define NETWORK_CODE_HIGH @HIGH@

/* Bytes of all constants (weights, multipliers, shifts, biases, tables), and of what a run writes to. */
#define NETWORK_WEIGHTS_BYTES @WEIGHTS_BYTES@
#define NETWORK_BUFFER_BYTES @BUFFER_BYTES@

typedef @CODE@ network_code;

/* All that a run writes to beside the logits. What is in it before is of no matter. */
typedef union {
    unsigned char bytes[NETWORK_BUFFER_BYTES];
    int8_t of_int8[NETWORK_BUFFER_BYTES];
    int16_t of_int16[NETWORK_BUFFER_BYTES / 2];
    int32_t of_int32[NETWORK_BUFFER_BYTES / 4];
    int64_t of_int64[NETWORK_BUFFER_BYTES / 8];
} network_buffer;

/* Logits (NETWORK_CLASSES) of one image. Runs with buffers of their own may go on at once. */
void network_run(const network_code *image, int32_t *logits, network_buffer *buffer);

#endif
