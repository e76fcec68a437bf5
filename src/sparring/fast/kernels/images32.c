/* A convolution of images with few channels and both of its gradients in float32, on vectors of 16 (AVX-512). See images.c. */
#include "images.h"

enum { LANES = 16, PIXELS = 7, TAPS = 13 };

/* Where each number of a patch lies behind its first, in a frame of so many columns. */
static void offsets_of(long *offsets, const Shape *g, long wide) {
    for (long t = 0; t < patch_of(g); t++) offsets[t] = t / (g->kernel * g->channels) * wide * g->channels + t % (g->kernel * g->channels);
}

static long wide_of(const Shape *g) { return g->width + 2 * g->padding + g->stride; }
static long frame_of(const Shape *g) { return wide_of(g) * (g->height + 2 * g->padding + g->stride) * g->channels; }

/* An image into the middle of a frame of zeros, or back. */
static void copy_rows(float *frame, float *image, const Shape *g, int back) {
    for (long y = 0; y < g->height; y++) {
        float *inner = frame + ((y + g->padding) * wide_of(g) + g->padding) * g->channels, *row = image + y * g->width * g->channels;
        memcpy(back ? row : inner, back ? inner : row, g->width * g->channels * sizeof(float));
    }
}

/* images -> maps, with a bias [O]; maps have at least 7 columns */
int sparring_image_convolution32(const float *images, const float *weight, const float *bias, float *maps, const Shape *g, int threads) {
    long patch = patch_of(g), C = g->channels, frame_size = round_up(frame_of(g), LANES), wide = wide_of(g);
    float *right = lines(patch * g->outputs, sizeof(float)), *frames = lines(threads * frame_size, sizeof(float));
    long *offsets = lines(patch, sizeof(long));
    if (!right || !frames || !offsets) {
        free(right);
        free(frames);
        free(offsets);
        return 1;
    }
    memset(frames, 0, threads * frame_size * sizeof(float));
    offsets_of(offsets, g, wide);
    for (long o = 0; o < g->outputs; o++) /* panels [n][t][32] */
        for (long t = 0; t < patch; t++) right[(o / SIDE * patch + t) * SIDE + o % SIDE] = weight[o * patch + t];
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long b = 0; b < g->batch; b++) {
        float *frame = frames + omp_get_thread_num() * frame_size;
        copy_rows(frame, (float *)images + b * g->height * g->width * C, g, 0);
        for (long i = 0; i < g->rows; i++)
            for (long next = 0; next < g->columns; next += PIXELS)
                for (long n = 0; n < g->outputs; n += SIDE) {
                    long j = least(next, g->columns - PIXELS), step = g->stride * C;
                    const float *from = frame + (i * g->stride * wide + j * g->stride) * C, *panel = right + n * patch;
                    __m512 low[PIXELS], high[PIXELS];
                    __m512 first = bias ? _mm512_loadu_ps(bias + n) : _mm512_setzero_ps();
                    __m512 second = bias ? _mm512_loadu_ps(bias + n + LANES) : _mm512_setzero_ps();
#pragma GCC unroll 7
                    for (int r = 0; r < PIXELS; r++) low[r] = first, high[r] = second;
                    for (long t = 0; t < patch; t++, panel += SIDE) {
                        const float *x = from + offsets[t];
                        __m512 w0 = _mm512_load_ps(panel), w1 = _mm512_load_ps(panel + LANES);
#pragma GCC unroll 7
                        for (int r = 0; r < PIXELS; r++) {
                            __m512 pixel = _mm512_set1_ps(x[r * step]);
                            low[r] = _mm512_fmadd_ps(pixel, w0, low[r]);
                            high[r] = _mm512_fmadd_ps(pixel, w1, high[r]);
                        }
                    }
                    float *to = maps + ((b * g->rows + i) * g->columns + j) * g->outputs + n;
#pragma GCC unroll 7
                    for (int r = 0; r < PIXELS; r++) {
                        _mm512_storeu_ps(to + r * g->outputs, low[r]);
                        _mm512_storeu_ps(to + r * g->outputs + LANES, high[r]);
                    }
                }
    }
    free(right);
    free(frames);
    free(offsets);
    return 0;
}

/* maps -> images, with a bias [C]: the gradient by the images, and the transposed convolution */
int sparring_image_gradient32(float *maps, const float *weight, const float *bias, float *images, const Shape *g, int threads) {
    long patch = patch_of(g), C = g->channels, frame_size = round_up(frame_of(g), LANES), wide = wide_of(g), depth = round_up(patch, SIDE);
    float *right = lines(depth * g->outputs, sizeof(float)), *frames = lines(threads * frame_size, sizeof(float));
    long *offsets = lines(patch, sizeof(long));
    if (!right || !frames || !offsets) {
        free(right);
        free(frames);
        free(offsets);
        return 1;
    }
    offsets_of(offsets, g, wide);
    memset(right, 0, depth * g->outputs * sizeof(float));
    for (long o = 0; o < g->outputs; o++) /* panels [n][o][32] */
        for (long t = 0; t < patch; t++) right[(t / SIDE * g->outputs + o) * SIDE + t % SIDE] = weight[o * patch + t];
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long b = 0; b < g->batch; b++) {
        float *frame = frames + omp_get_thread_num() * frame_size;
        for (long x = 0; x < frame_of(g); x += C)
            for (long c = 0; c < C; c++) frame[x + c] = bias ? bias[c] : 0.0f;
        for (long i = 0; i < g->rows; i++)
            for (long j = 0; j < g->columns; j += PIXELS)
                for (long n = 0; n < depth; n += SIDE) {
                    float sums[PIXELS][SIDE] __attribute__((aligned(64)));
                    long many = least(PIXELS, g->columns - j), step = g->outputs;
                    const float *from = maps + ((b * g->rows + i) * g->columns + j) * g->outputs, *panel = right + n * g->outputs;
                    __m512 low[PIXELS], high[PIXELS];
#pragma GCC unroll 7
                    for (int r = 0; r < PIXELS; r++) low[r] = high[r] = _mm512_setzero_ps();
                    if (many == PIXELS)
                        for (long o = 0; o < g->outputs; o++, panel += SIDE) {
                            __m512 w0 = _mm512_load_ps(panel), w1 = _mm512_load_ps(panel + LANES);
#pragma GCC unroll 7
                            for (int r = 0; r < PIXELS; r++) {
                                __m512 slope = _mm512_set1_ps(from[r * step + o]);
                                low[r] = _mm512_fmadd_ps(slope, w0, low[r]);
                                high[r] = _mm512_fmadd_ps(slope, w1, high[r]);
                            }
                        }
                    else
                        for (long o = 0; o < g->outputs; o++, panel += SIDE)
                            for (int r = 0; r < many; r++) {
                                __m512 slope = _mm512_set1_ps(from[r * step + o]);
                                low[r] = _mm512_fmadd_ps(slope, _mm512_load_ps(panel), low[r]);
                                high[r] = _mm512_fmadd_ps(slope, _mm512_load_ps(panel + LANES), high[r]);
                            }
                    for (int r = 0; r < PIXELS; r++) {
                        _mm512_store_ps(sums[r], low[r]);
                        _mm512_store_ps(sums[r] + LANES, high[r]);
                    }
                    for (int r = 0; r < many; r++) {
                        float *to = frame + (i * g->stride * wide + (j + r) * g->stride) * C;
                        for (long t = n; t < least(patch, n + SIDE); t++) to[offsets[t]] += sums[r][t - n];
                    }
                }
        copy_rows(frame, images + b * g->height * g->width * C, g, 1);
    }
    free(right);
    free(frames);
    free(offsets);
    return 0;
}

/* The gradient by the weights, [O][k][k][C] */
int sparring_image_weight_gradient32(float *images, const float *maps, float *weight, const Shape *g, int threads) {
    long patch = patch_of(g), C = g->channels, frame_size = round_up(frame_of(g), LANES), wide = wide_of(g);
    long blocks = ceil_div(patch, TAPS), sums_size = blocks * TAPS * g->outputs, share = ceil_div(g->batch, SHARES);
    float *sums = lines(SHARES * sums_size, sizeof(float)), *frames = lines(threads * frame_size, sizeof(float));
    long *offsets = lines(blocks * TAPS, sizeof(long));
    if (!sums || !frames || !offsets) {
        free(sums);
        free(frames);
        free(offsets);
        return 1;
    }
    memset(sums, 0, SHARES * sums_size * sizeof(float));
    memset(frames, 0, threads * frame_size * sizeof(float));
    memset(offsets, 0, blocks * TAPS * sizeof(long)); /* beyond the patch its first number is multiplied, and not read */
    offsets_of(offsets, g, wide);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long part = 0; part < SHARES; part++)
        for (long b = part * share; b < least(g->batch, (part + 1) * share); b++) {
            float *frame = frames + omp_get_thread_num() * frame_size;
            copy_rows(frame, images + b * g->height * g->width * C, g, 0);
            for (long t = 0; t < blocks * TAPS; t += TAPS)
                for (long n = 0; n < g->outputs; n += SIDE) {
                    float *sum = sums + part * sums_size + (n / SIDE * blocks * TAPS + t) * SIDE; /* [n][t][32] */
                    __m512 low[TAPS], high[TAPS];
#pragma GCC unroll 13
                    for (int r = 0; r < TAPS; r++) low[r] = _mm512_load_ps(sum + r * SIDE), high[r] = _mm512_load_ps(sum + r * SIDE + LANES);
                    for (long i = 0; i < g->rows; i++)
                        for (long j = 0; j < g->columns; j++) {
                            const float *slopes = maps + ((b * g->rows + i) * g->columns + j) * g->outputs + n;
                            const float *x = frame + (i * g->stride * wide + j * g->stride) * C;
                            __m512 s0 = _mm512_loadu_ps(slopes), s1 = _mm512_loadu_ps(slopes + LANES);
#pragma GCC unroll 13
                            for (int r = 0; r < TAPS; r++) {
                                __m512 pixel = _mm512_set1_ps(x[offsets[t + r]]);
                                low[r] = _mm512_fmadd_ps(pixel, s0, low[r]);
                                high[r] = _mm512_fmadd_ps(pixel, s1, high[r]);
                            }
                        }
#pragma GCC unroll 13
                    for (int r = 0; r < TAPS; r++) _mm512_store_ps(sum + r * SIDE, low[r]), _mm512_store_ps(sum + r * SIDE + LANES, high[r]);
                }
        }
    for (long o = 0; o < g->outputs; o++)
        for (long t = 0; t < patch; t++) {
            float sum = 0;
            for (long part = 0; part < SHARES; part++) sum += sums[part * sums_size + (o / SIDE * blocks * TAPS + t) * SIDE + o % SIDE];
            weight[o * patch + t] = sum;
        }
    free(sums);
    free(frames);
    free(offsets);
    return 0;
}
