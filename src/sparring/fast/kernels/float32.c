/* A convolution of maps with many channels and both of its gradients in float32, on vectors of 16 (AVX-512).
 *
 * As in convolution.c, a row of a product is one pixel of one image, so neither patches nor paddings are made. A block of sums
 * stays in registers: 13 images, of which batches of 64, 128 or 256 waste the fewest, by 32 channels, or 8 channels by 32.
 */
#include "common.h"

#define NUMBER float
#define NAME(what) sparring_##what##32

static inline __m512 load16(const float *from) { return _mm512_loadu_ps(from); }
static inline void store16(float *to, __m512 x) { _mm512_storeu_ps(to, x); }

#include "norm.h"

enum { IMAGES = 13, LANES = 16, HEIGHT = 8 };

static inline float *floats(long count) { return lines(count, sizeof(float)); }
static inline __m512i load(const float *from) { return _mm512_loadu_si512(from); }

/* Weights [O][T][C] as panels [n][t][k][32]: depth C and columns O, or depth O and columns C. */
static void pack_weights(float *to, const float *weight, long outputs, long taps, long inputs, int by_outputs, int threads) {
    long columns = by_outputs ? inputs : outputs, depth = by_outputs ? outputs : inputs;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (long n = 0; n < columns / SIDE; n++)
        for (long t = 0; t < taps; t++) {
            float *panel = to + (n * taps + t) * depth * SIDE;
            if (by_outputs)
                for (long o = 0; o < outputs; o++) memcpy(panel + o * SIDE, weight + (o * taps + t) * inputs + n * SIDE, 4 * SIDE);
            else
                for (long k = 0; k < depth; k += LANES)
                    for (long half = 0; half < SIDE; half += LANES) {
                        __m512i rows[16];
                        for (long i = 0; i < 16; i++) rows[i] = load(weight + ((n * SIDE + half + i) * taps + t) * inputs + k);
                        transpose(rows);
                        for (long i = 0; i < 16; i++) _mm512_store_si512(panel + (k + i) * SIDE + half, rows[i]);
                    }
        }
}

/* Maps [B][P][K] as [i][p][k][13]: a pixel of 13 images, zeros beyond the last. */
static void pack_maps(float *to, const float *maps, long batch, long pixels, long depth, int threads) {
    long blocks = ceil_div(batch, IMAGES);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (long i = 0; i < blocks; i++)
        for (long p = 0; p < pixels; p++)
            for (long k = 0; k < depth; k += LANES) {
                __m512i rows[16];
                for (long b = 0; b < 16; b++) {
                    int there = b < IMAGES && i * IMAGES + b < batch;
                    rows[b] = there ? load(maps + ((i * IMAGES + b) * pixels + p) * depth + k) : _mm512_setzero_si512();
                }
                transpose(rows);
                float *at = to + ((i * pixels + p) * depth + k) * IMAGES;
                for (long j = 0; j < 16; j++) _mm512_mask_storeu_epi32(at + j * IMAGES, (1 << IMAGES) - 1, rows[j]);
            }
}

/* See sparring_gather in convolution.c; everything is float32. */
int sparring_gather32(const float *source, const float *weight, const float *bias, float *target, long batch, long pixels, long depth,
                      long targets, long columns, long taps, int by_outputs, const int32_t *begin, const Pair *pairs, int threads) {
    long images = ceil_div(batch, IMAGES), ns = columns / SIDE, panel = taps * depth * SIDE;
    float *left = floats(images * pixels * depth * IMAGES), *right = floats(ns * panel);
    if (!left || !right) {
        free(left);
        free(right);
        return 1;
    }
    if (by_outputs)
        pack_weights(right, weight, depth, taps, columns, 1, threads);
    else
        pack_weights(right, weight, columns, taps, depth, 0, threads);
    pack_maps(left, source, batch, pixels, depth, threads);
    long group = least(ns, RESIDENT / (panel * 4) + 1), groups = ceil_div(ns, group);
    long spans = groups * images >= 8 * threads ? 1 : least(targets, ceil_div(8 * threads, groups * images));
    long span = ceil_div(targets, spans);
#pragma omp parallel for collapse(3) num_threads(threads) schedule(static)
    for (long g = 0; g < groups; g++)
        for (long i = 0; i < images; i++)
            for (long s = 0; s < spans; s++)
                for (long q = s * span; q < least(targets, (s + 1) * span); q++)
                    for (long n = g * group; n < least(ns, (g + 1) * group); n++) {
                        __m512 low[IMAGES], high[IMAGES];
                        __m512 first = bias ? _mm512_loadu_ps(bias + n * SIDE) : _mm512_setzero_ps();
                        __m512 second = bias ? _mm512_loadu_ps(bias + n * SIDE + LANES) : _mm512_setzero_ps();
#pragma GCC unroll 13
                        for (int r = 0; r < IMAGES; r++) low[r] = first, high[r] = second;
                        for (const Pair *pair = pairs + begin[q]; pair < pairs + begin[q + 1]; pair++) {
                            const float *a = left + (i * pixels + pair->pixel) * depth * IMAGES;
                            const float *b = right + n * panel + pair->partner * depth * SIDE;
                            for (long k = 0; k < depth; k++, a += IMAGES, b += SIDE) {
                                __m512 b0 = _mm512_load_ps(b), b1 = _mm512_load_ps(b + LANES);
#pragma GCC unroll 13
                                for (int r = 0; r < IMAGES; r++) {
                                    __m512 x = _mm512_set1_ps(a[r]);
                                    low[r] = _mm512_fmadd_ps(x, b0, low[r]);
                                    high[r] = _mm512_fmadd_ps(x, b1, high[r]);
                                }
                            }
                        }
#pragma GCC unroll 13
                        for (int r = 0; r < IMAGES; r++)
                            if (i * IMAGES + r < batch) {
                                float *at = target + ((i * IMAGES + r) * targets + q) * columns + n * SIDE;
                                _mm512_storeu_ps(at, low[r]);
                                _mm512_storeu_ps(at + LANES, high[r]);
                            }
                    }
    free(left);
    free(right);
    return 0;
}

/* Maps [B][P][C] as [c][b][p]: 32 images of 32 channels, zeros beyond the last image. */
static void pack_slices(float *to, const float *maps, long batch, long pixels, long channels, int threads) {
    long blocks = ceil_div(batch, SIDE), slices = channels / SIDE;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (long b = 0; b < blocks; b++)
        for (long p = 0; p < pixels; p++)
            for (long i = 0; i < SIDE; i++)
                for (long c = 0; c < slices; c++) {
                    float *at = to + (((c * blocks + b) * pixels + p) * SIDE + i) * SIDE;
                    if (b * SIDE + i < batch)
                        memcpy(at, maps + ((b * SIDE + i) * pixels + p) * channels + c * SIDE, 4 * SIDE);
                    else
                        memset(at, 0, 4 * SIDE);
                }
}

/* See sparring_weight_gradient in convolution.c; everything is float32. */
int sparring_weight_gradient32(const float *images, const float *slopes, float *weight, long batch, long pixels, long inputs, long targets,
                               long outputs, long taps, long chunks, const int32_t *begin, const Pair *pairs, int threads) {
    long blocks = ceil_div(batch, SIDE), cs = inputs / SIDE, os = outputs / SIDE, square = SIDE * SIDE;
    float *x = floats(blocks * pixels * cs * square), *y = floats(blocks * targets * os * square), *sums = floats(os * cs * taps * square);
    if (!x || !y || !sums) {
        free(x);
        free(y);
        free(sums);
        return 1;
    }
    pack_slices(x, images, batch, pixels, inputs, threads);
    pack_slices(y, slopes, batch, targets, outputs, threads);
    long spans = cs * os >= 4 * threads ? 1 : least(taps, ceil_div(4 * threads, cs * os)), span = ceil_div(taps, spans);
#pragma omp parallel for collapse(3) num_threads(threads) schedule(static)
    for (long c = 0; c < cs; c++)
        for (long o = 0; o < os; o++)
            for (long s = 0; s < spans; s++) {
                float *mine = sums + (o * cs + c) * taps * square;
                long first = s * span, last = least(taps, (s + 1) * span);
                for (long b = 0; b < blocks; b++)
                    for (long h = 0; h < chunks; h++)
                        for (long t = first; t < last; t++)
                            for (long top = 0; top < SIDE; top += HEIGHT) {
                                __m512 low[HEIGHT], high[HEIGHT];
                                float *sum = mine + t * square + top * SIDE;
#pragma GCC unroll 8
                                for (int r = 0; r < HEIGHT; r++) {
                                    low[r] = b || h ? _mm512_load_ps(sum + r * SIDE) : _mm512_setzero_ps();
                                    high[r] = b || h ? _mm512_load_ps(sum + r * SIDE + LANES) : _mm512_setzero_ps();
                                }
                                const int32_t *range = begin + h * taps + t;
                                for (const Pair *pair = pairs + range[0]; pair < pairs + range[1]; pair++) {
                                    const float *from = x + ((c * blocks + b) * pixels + pair->pixel) * square;
                                    const float *by = y + ((o * blocks + b) * targets + pair->partner) * square + top;
                                    for (long i = 0; i < SIDE; i++, from += SIDE, by += SIDE) {
                                        __m512 x0 = _mm512_load_ps(from), x1 = _mm512_load_ps(from + LANES);
#pragma GCC unroll 8
                                        for (int r = 0; r < HEIGHT; r++) {
                                            __m512 slope = _mm512_set1_ps(by[r]);
                                            low[r] = _mm512_fmadd_ps(slope, x0, low[r]);
                                            high[r] = _mm512_fmadd_ps(slope, x1, high[r]);
                                        }
                                    }
                                }
#pragma GCC unroll 8
                                for (int r = 0; r < HEIGHT; r++) {
                                    _mm512_store_ps(sum + r * SIDE, low[r]);
                                    _mm512_store_ps(sum + r * SIDE + LANES, high[r]);
                                }
                            }
                for (long t = first; t < last; t++)
                    for (long i = 0; i < SIDE; i++)
                        memcpy(weight + ((o * SIDE + i) * taps + t) * inputs + c * SIDE, mine + t * square + i * SIDE, 4 * SIDE);
            }
    free(x);
    free(y);
    free(sums);
    return 0;
}
