/* What the convolutions of images with few channels share, in either type of numbers. */
#ifndef SPARRING_IMAGES_H
#define SPARRING_IMAGES_H

#include "common.h"

typedef struct {
    long batch, channels, height, width, kernel, stride, padding, rows, columns, outputs;
} Shape;

/* Gradients by the weights are summed in so many shares of the batch, whatever the number of threads. */
enum { SHARES = 16 };

static inline long patch_of(const Shape *g) { return g->kernel * g->kernel * g->channels; }

/* The first so many of 16 or 32 lanes. */
static inline __mmask16 first16(long count) { return count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1); }
static inline __mmask32 first32(long count) { return count >= 32 ? 0xffffffffu : (1u << count) - 1; }

#endif
