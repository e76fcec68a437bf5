/* A convolution of maps with many channels and both of its gradients.
 *
 * No patch is copied and no zero of a padding multiplied: the rows of a product are one pixel of 32 images, and what a pixel of
 * the output sums over is a list of pixels and weights, made once for a geometry. All maps have their channels last.
 */
#include <sys/syscall.h>
#include <unistd.h>

#include "tiles.h"

/* Ask Linux for the tile registers, where there are any; 0 when this process may use them. */
int sparring_allow(void) {
#ifdef __AMX_TILE__
    const long request = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return (int)syscall(SYS_arch_prctl, request, tile_data);
#else
    return 0;
#endif
}

/* Weights [O][T][C] as right sides, blocks [n][t][k]: depth C and columns O. */
static void pack_by_inputs(bf16 *to, const float *weight, long outputs, long taps, long inputs, int threads) {
    long blocks = outputs / SIDE, depth = inputs / SIDE;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (long n = 0; n < blocks; n++)
        for (long t = 0; t < taps; t++)
            for (long k = 0; k < depth; k++)
                for (long half = 0; half < 2; half++) {
                    __m512i rows[16];
                    for (long i = 0; i < 16; i++)
                        rows[i] = load_as_bf16(weight + ((n * SIDE + half * 16 + i) * taps + t) * inputs + k * SIDE);
                    transpose(rows);
                    bf16 *at = to + ((n * taps + t) * depth + k) * BLOCK + half * HALF;
                    for (long i = 0; i < 16; i++) store(at + i * SIDE, rows[i]);
                }
}

/* Weights [O][T][C] as right sides, blocks [n][t][k]: depth O and columns C. */
static void pack_by_outputs(bf16 *to, const float *weight, long outputs, long taps, long inputs, int threads) {
    long blocks = inputs / SIDE, depth = outputs / SIDE;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (long n = 0; n < blocks; n++)
        for (long t = 0; t < taps; t++)
            for (long k = 0; k < depth; k++)
                for (long i = 0; i < 16; i++) {
                    const float *from = weight + ((k * SIDE + 2 * i) * taps + t) * inputs + n * SIDE;
                    __m512i a = load_as_bf16(from), b = load_as_bf16(from + taps * inputs);
                    bf16 *at = to + ((n * taps + t) * depth + k) * BLOCK + i * SIDE;
                    store(at, pair_low(a, b));
                    store(at + HALF, pair_high(a, b));
                }
}

/* Maps [B][P][C] as left sides, blocks [i][p][k]: pixel p of 32 images, zeros beyond the last. */
static void pack_maps(bf16 *to, const bf16 *maps, long batch, long pixels, long channels, int threads) {
    long blocks = ceil_div(batch, SIDE), depth = channels / SIDE;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (long i = 0; i < blocks; i++)
        for (long p = 0; p < pixels; p++)
            for (long b = 0; b < SIDE; b++) {
                bf16 *at = to + (i * pixels + p) * depth * BLOCK + b * SIDE;
                const bf16 *from = maps + ((i * SIDE + b) * pixels + p) * channels;
                for (long k = 0; k < depth; k++)
                    store(at + k * BLOCK, i * SIDE + b < batch ? load(from + k * SIDE) : _mm512_setzero_si512());
            }
}

/* Sum what the pixels of a map give to those of another, each pair of them by weights of its own.
 *
 *   source    [B][P][K]
 *   weight    [O][T][C], with K = C and N = O; by_outputs: K = O and N = C
 *   bias      [N] or NULL
 *   target    [B][Q][N]: pixel q is the sum over the pairs from begin[q] to begin[q + 1] of source[pixel] times weight[partner]
 *
 * K and N are multiples of 32. Returns 0, or 1 without memory.
 */
int sparring_gather(const bf16 *source, const float *weight, const float *bias, bf16 *target, long batch, long pixels, long depth,
                    long targets, long columns, long taps, int by_outputs, const int32_t *begin, const Pair *pairs, int threads) {
    long images = ceil_div(batch, SIDE), ks = depth / SIDE, ns = columns / SIDE, panel = taps * ks * BLOCK;
    bf16 *left = lines(images * pixels * ks * BLOCK, sizeof(bf16)), *right = lines(ns * panel, sizeof(bf16));
    if (!left || !right) {
        free(left);
        free(right);
        return 1;
    }
    if (by_outputs)
        pack_by_outputs(right, weight, depth, taps, columns, threads);
    else
        pack_by_inputs(right, weight, columns, taps, depth, threads);
    pack_maps(left, source, batch, pixels, depth, threads);
    /* Panels of weights that stay in the cache are a group; where there is little to share out, pixels are shared out, too. */
    long group = least(ns, RESIDENT / (panel * (long)sizeof(bf16)) + 1), groups = ceil_div(ns, group);
    long spans = groups * images >= 4 * threads ? 1 : least(targets, ceil_div(4 * threads, groups * images));
    long span = ceil_div(targets, spans);
#pragma omp parallel num_threads(threads)
    {
        float sums[SIDE * SIDE] __attribute__((aligned(64)));
        begin_tiles();
#pragma omp for collapse(3) schedule(static)
        for (long g = 0; g < groups; g++)
            for (long i = 0; i < images; i++)
                for (long s = 0; s < spans; s++)
                    for (long q = s * span; q < least(targets, (s + 1) * span); q++)
                        for (long n = g * group; n < least(ns, (g + 1) * group); n++) {
                            zero_sums();
                            for (const Pair *pair = pairs + begin[q]; pair < pairs + begin[q + 1]; pair++) {
                                const bf16 *a = left + (i * pixels + pair->pixel) * ks * BLOCK;
                                const bf16 *b = right + n * panel + pair->partner * ks * BLOCK;
                                for (long k = 0; k < ks; k++)
                                    add_product(a + k * BLOCK, 64, b + k * BLOCK, b + k * BLOCK + HALF);
                            }
                            store_sums(sums, 4 * SIDE);
                            for (long b = 0; b < least(SIDE, batch - i * SIDE); b++)
                                write_row(target + ((i * SIDE + b) * targets + q) * columns + n * SIDE, sums + b * SIDE,
                                          bias ? bias + n * SIDE : NULL);
                        }
        end_tiles();
    }
    free(left);
    free(right);
    return 0;
}

/* Maps [B][P][C] as right sides, blocks [c][b][p]: depth 32 images, columns 32 channels. */
static void pack_images(bf16 *to, const bf16 *maps, long batch, long pixels, long channels) {
    long blocks = ceil_div(batch, SIDE), slices = channels / SIDE;
    const __m512i none = _mm512_setzero_si512();
#pragma omp for collapse(2) schedule(static) nowait
    for (long b = 0; b < blocks; b++)
        for (long p = 0; p < pixels; p++)
            for (long c = 0; c < slices; c++)
                for (long i = 0; i < 16; i++) {
                    long image = b * SIDE + 2 * i;
                    const bf16 *from = maps + (image * pixels + p) * channels + c * SIDE;
                    __m512i u = image < batch ? load(from) : none;
                    __m512i v = image + 1 < batch ? load(from + pixels * channels) : none;
                    bf16 *at = to + ((c * blocks + b) * pixels + p) * BLOCK + i * SIDE;
                    store(at, pair_low(u, v));
                    store(at + HALF, pair_high(u, v));
                }
}

/* Maps [B][Q][O] as left sides, blocks [o][b][q]: rows 32 channels, depth 32 images. */
static void pack_slopes(bf16 *to, const bf16 *maps, long batch, long pixels, long channels) {
    long blocks = ceil_div(batch, SIDE), slices = channels / SIDE;
    const __m512i none = _mm512_setzero_si512();
#pragma omp for collapse(2) schedule(static)
    for (long b = 0; b < blocks; b++)
        for (long q = 0; q < pixels; q++)
            for (long o = 0; o < slices; o++) {
                __m512i upper[16], lower[16];
                for (long i = 0; i < 16; i++) {
                    long image = b * SIDE + 2 * i;
                    const bf16 *from = maps + (image * pixels + q) * channels + o * SIDE;
                    __m512i u = image < batch ? load(from) : none;
                    __m512i v = image + 1 < batch ? load(from + pixels * channels) : none;
                    upper[i] = pair_low(u, v);
                    lower[i] = pair_high(u, v);
                }
                transpose(upper);
                transpose(lower);
                bf16 *at = to + ((o * blocks + b) * pixels + q) * BLOCK;
                for (long i = 0; i < 16; i++) {
                    store(at + i * SIDE, upper[i]);
                    store(at + HALF + i * SIDE, lower[i]);
                }
            }
}

/* The gradient by the weights: what all images' pixels and slopes give to each tap.
 *
 *   images    [B][P][C]
 *   slopes    [B][Q][O]
 *   weight    [O][T][C]: tap t sums over the pairs of image pixel and slope pixel from begin[h T + t] to begin[h T + t + 1] of
 *             every chunk h; the pairs of a chunk lie near to each other
 *
 * C and O are multiples of 32. Returns 0, or 1 without memory.
 */
int sparring_weight_gradient(const bf16 *images, const bf16 *slopes, float *weight, long batch, long pixels, long inputs, long targets,
                             long outputs, long taps, long chunks, const int32_t *begin, const Pair *pairs, int threads) {
    long blocks = ceil_div(batch, SIDE), cs = inputs / SIDE, os = outputs / SIDE;
    bf16 *right = lines(blocks * cs * pixels * BLOCK, sizeof(bf16)), *left = lines(blocks * os * targets * BLOCK, sizeof(bf16));
    float *sums = lines(os * cs * taps * BLOCK, sizeof(float));
    if (!right || !left || !sums) {
        free(right);
        free(left);
        free(sums);
        return 1;
    }
    long spans = cs * os >= 2 * threads ? 1 : least(taps, ceil_div(2 * threads, cs * os)), span = ceil_div(taps, spans);
#pragma omp parallel num_threads(threads)
    {
        pack_images(right, images, batch, pixels, inputs);
        pack_slopes(left, slopes, batch, targets, outputs);
        begin_tiles();
#pragma omp for collapse(3) schedule(static)
        for (long c = 0; c < cs; c++)
            for (long o = 0; o < os; o++)
                for (long s = 0; s < spans; s++) {
                    float *mine = sums + (o * cs + c) * taps * BLOCK;
                    long first = s * span, last = least(taps, (s + 1) * span);
                    for (long b = 0; b < blocks; b++)
                        for (long h = 0; h < chunks; h++)
                            for (long t = first; t < last; t++) {
                                if (b || h)
                                    load_sums(mine + t * BLOCK, 4 * SIDE);
                                else
                                    zero_sums();
                                const int32_t *range = begin + h * taps + t;
                                for (const Pair *pair = pairs + range[0]; pair < pairs + range[1]; pair++) {
                                    const bf16 *from = right + ((c * blocks + b) * pixels + pair->pixel) * BLOCK;
                                    add_product(left + ((o * blocks + b) * targets + pair->partner) * BLOCK, 64, from, from + HALF);
                                }
                                store_sums(mine + t * BLOCK, 4 * SIDE);
                            }
                    for (long t = first; t < last; t++)
                        for (long i = 0; i < SIDE; i++)
                            memcpy(weight + ((o * SIDE + i) * taps + t) * inputs + c * SIDE, mine + t * BLOCK + i * SIDE, 4 * SIDE);
                }
        end_tiles();
    }
    free(right);
    free(left);
    free(sums);
    return 0;
}
