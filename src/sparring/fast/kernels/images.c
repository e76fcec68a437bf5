/* A convolution of images with few channels and both of its gradients: a pixel's whole patch is the depth of one product.
 *
 *   images    [B][H][W][C]
 *   maps      [B][h w][O], O a multiple of 32
 *   weight    [O][k][k][C]; a patch is k k C numbers, zeros up to a multiple of 32
 *   bias      [O] or [C], or NULL
 *
 * Every function returns 0, or 1 without memory.
 */
#include "images.h"
#include "tiles.h"

/* Weights as right sides, blocks [n][k]: depth a patch and columns O. */
static bf16 *pack_patches(const float *weight, const Shape *g) {
    long patch = patch_of(g), depth = round_up(patch, SIDE);
    bf16 *to = lines(depth * g->outputs, sizeof(bf16));
    for (long o = 0; to && o < g->outputs; o++)
        for (long t = 0; t < depth; t++) {
            bf16 *block = to + (o / SIDE * (depth / SIDE) + t / SIDE) * BLOCK + o % SIDE / 16 * HALF;
            block[t % SIDE / 2 * SIDE + o % 16 * 2 + t % 2] = t < patch ? one_to_bf16(weight[o * patch + t]) : 0;
        }
    return to;
}

/* images -> maps, with a bias [O] */
int sparring_image_convolution(const bf16 *images, const float *weight, const float *bias, bf16 *maps, const Shape *g, int threads) {
    long depth = round_up(patch_of(g), SIDE), ks = depth / SIDE, ns = g->outputs / SIDE, count = g->rows * g->columns, C = g->channels;
    long wide = g->width + 2 * g->padding + g->stride, high = g->height + 2 * g->padding + g->stride, run = g->kernel * C;
    long frame_size = round_up(wide * high * C + SIDE, SIDE), own = frame_size + round_up(count, SIDE) * depth;
    bf16 *right = pack_patches(weight, g), *space = lines(threads * own, sizeof(bf16));
    if (!right || !space) {
        free(right);
        free(space);
        return 1;
    }
    memset(space, 0, threads * own * sizeof(bf16));
#pragma omp parallel num_threads(threads)
    {
        bf16 *frame = space + omp_get_thread_num() * own, *patches = frame + frame_size;
        float sums[SIDE * SIDE] __attribute__((aligned(64)));
        begin_tiles();
#pragma omp for schedule(static)
        for (long b = 0; b < g->batch; b++) {
            for (long y = 0; y < g->height; y++)
                memcpy(frame + ((y + g->padding) * wide + g->padding) * C, images + (b * g->height + y) * g->width * C,
                       g->width * C * sizeof(bf16));
            for (long i = 0; i < g->rows; i++)
                for (long j = 0; j < g->columns; j++)
                    for (long u = 0; u < g->kernel; u++) {
                        const bf16 *from = frame + ((i * g->stride + u) * wide + j * g->stride) * C;
                        bf16 *to = patches + (i * g->columns + j) * depth + u * run;
                        for (long v = 0; v < run; v += SIDE)
                            _mm512_mask_storeu_epi16(to + v, first32(run - v), _mm512_maskz_loadu_epi16(first32(run - v), from + v));
                    }
            for (long q = 0; q < count; q += SIDE)
                for (long n = 0; n < ns; n++) {
                    zero_sums();
                    for (long k = 0; k < ks; k++) {
                        const bf16 *block = right + (n * ks + k) * BLOCK;
                        add_product(patches + q * depth + k * SIDE, 2 * depth, block, block + HALF);
                    }
                    store_sums(sums, 4 * SIDE);
                    for (long r = 0; r < least(SIDE, count - q); r++)
                        write_row(maps + (b * count + q + r) * g->outputs + n * SIDE, sums + r * SIDE, bias ? bias + n * SIDE : NULL);
                }
        }
        end_tiles();
    }
    free(right);
    free(space);
    return 0;
}

/* maps -> images, with a bias [C]: the gradient by the images, and the transposed convolution
 *
 * Products have the patch's numbers as rows and a map's pixels as columns. So a row of an image is a sum of runs of products,
 * one lane for every channel and every column modulo the stride.
 */
int sparring_image_gradient(const bf16 *maps, const float *weight, const float *bias, bf16 *images, const Shape *g, int threads) {
    long patch = patch_of(g), high = round_up(patch, SIDE), ks = g->outputs / SIDE, count = g->rows * g->columns, C = g->channels;
    long columns = round_up(count, SIDE), s = g->stride, lane = round_up(g->columns + ceil_div(g->kernel, s) + 16, 16);
    long turned_size = g->outputs * columns / 2, products_size = high * columns, own = turned_size + products_size + s * C * lane;
    bf16 *left = lines(high * g->outputs, sizeof(bf16));
    float *space = lines(threads * own, sizeof(float));
    if (!left || !space) {
        free(left);
        free(space);
        return 1;
    }
    for (long t = 0; t < high; t++)
        for (long o = 0; o < g->outputs; o++) left[t * g->outputs + o] = t < patch ? one_to_bf16(weight[o * patch + t]) : 0;
#pragma omp parallel num_threads(threads)
    {
        float *products = space + omp_get_thread_num() * own, *lanes = products + products_size;
        bf16 *turned = (bf16 *)(lanes + s * C * lane); /* right sides, tiles [q][k]: depth O, columns 16 pixels */
        begin_tiles();
#pragma omp for schedule(static)
        for (long b = 0; b < g->batch; b++) {
            for (long q = 0; q < columns; q += 16)
                for (long k = 0; k < ks; k++) {
                    __m512i rows[16];
                    for (long i = 0; i < 16; i++)
                        rows[i] = q + i < count ? load(maps + (b * count + q + i) * g->outputs + k * SIDE) : _mm512_setzero_si512();
                    transpose(rows);
                    for (long i = 0; i < 16; i++) store(turned + (q / 16 * ks + k) * HALF + i * SIDE, rows[i]);
                }
            for (long t = 0; t < high; t += SIDE)
                for (long q = 0; q < columns; q += SIDE) {
                    zero_sums();
                    for (long k = 0; k < ks; k++) {
                        const bf16 *tile = turned + (q / 16 * ks + k) * HALF;
                        add_product(left + t * g->outputs + k * SIDE, 2 * g->outputs, tile, tile + ks * HALF);
                    }
                    store_sums(products + t * columns + q, 4 * columns);
                }
            for (long y = 0; y < g->height; y++) {
                for (long i = 0; i < s * C; i++) {
                    const __m512 start = _mm512_set1_ps(bias ? bias[i % C] : 0.0f);
                    for (long j = 0; j < lane; j += 16) _mm512_store_ps(lanes + i * lane + j, start);
                }
                for (long u = (y + g->padding) % s; u < g->kernel && u <= y + g->padding; u += s) {
                    long i = (y + g->padding - u) / s;
                    if (i >= g->rows) continue;
                    for (long v = 0; v < g->kernel; v++)
                        for (long c = 0; c < C; c++) {
                            const float *from = products + ((u * g->kernel + v) * C + c) * columns + i * g->columns;
                            float *to = lanes + (v % s * C + c) * lane + v / s;
                            for (long j = 0; j < g->columns; j += 16) {
                                __mmask16 mask = first16(g->columns - j);
                                __m512 sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to + j), _mm512_maskz_loadu_ps(mask, from + j));
                                _mm512_mask_storeu_ps(to + j, mask, sum);
                            }
                        }
                }
                bf16 *row = images + (b * g->height + y) * g->width * C;
                for (long x = 0, phase = g->padding % s, place = g->padding / s; x < g->width; x++) {
                    for (long c = 0; c < C; c++) *row++ = one_to_bf16(lanes[(phase * C + c) * lane + place]);
                    if (++phase == s) phase = 0, place++;
                }
            }
        }
        end_tiles();
    }
    free(left);
    free(space);
    return 0;
}

/* The gradient by the weights, [O][k][k][C]. Rows of a product are the patch's numbers, its depth is a map's pixels. */
int sparring_image_weight_gradient(const bf16 *images, const bf16 *maps, float *weight, const Shape *g, int threads) {
    long patch = patch_of(g), high = round_up(patch, SIDE), os = g->outputs / SIDE, count = g->rows * g->columns, C = g->channels;
    long columns = round_up(count, SIDE), s = g->stride, height = g->height + 2 * g->padding + g->kernel;
    long lane = round_up(ceil_div(g->width + 2 * g->padding, s) + SIDE, SIDE), share = ceil_div(g->batch, SHARES);
    long right_size = g->outputs * columns, patches_size = high * columns, own = right_size + patches_size + s * C * height * lane;
    long sums_size = high * g->outputs;
    bf16 *space = lines(threads * own, sizeof(bf16));
    float *sums = lines(SHARES * sums_size, sizeof(float));
    if (!space || !sums) {
        free(space);
        free(sums);
        return 1;
    }
    memset(space, 0, threads * own * sizeof(bf16));
    memset(sums, 0, SHARES * sums_size * sizeof(float));
#pragma omp parallel num_threads(threads)
    {
        bf16 *right = space + omp_get_thread_num() * own, *patches = right + right_size;
        bf16 *planes = patches + patches_size; /* [s][C][height][lane]: columns modulo the stride, apart */
        const __m512i none = _mm512_setzero_si512();
        begin_tiles();
#pragma omp for schedule(static)
        for (long part = 0; part < SHARES; part++)
            for (long b = part * share; b < least(g->batch, (part + 1) * share); b++) {
                const bf16 *pixel = images + b * g->height * g->width * C;
                for (long y = g->padding; y < g->padding + g->height; y++)
                    for (long x = 0, phase = g->padding % s, place = g->padding / s; x < g->width; x++) {
                        for (long c = 0; c < C; c++) planes[((phase * C + c) * height + y) * lane + place] = *pixel++;
                        if (++phase == s) phase = 0, place++;
                    }
                for (long t = 0; t < patch; t++)
                    for (long i = 0; i < g->rows; i++) {
                        long u = t / (g->kernel * C), v = t / C % g->kernel;
                        const bf16 *from = planes + ((v % s * C + t % C) * height + i * s + u) * lane + v / s;
                        bf16 *to = patches + t * columns + i * g->columns;
                        for (long j = 0; j < g->columns; j += SIDE) {
                            __mmask32 mask = first32(g->columns - j);
                            _mm512_mask_storeu_epi16(to + j, mask, _mm512_maskz_loadu_epi16(mask, from + j));
                        }
                    }
                for (long q = 0; q < columns; q += 2) /* blocks [o][q]: depth 32 pixels, columns 32 channels */
                    for (long o = 0; o < os; o++) {
                        const bf16 *from = maps + (b * count + q) * g->outputs + o * SIDE;
                        __m512i e = q < count ? load(from) : none, f = q + 1 < count ? load(from + g->outputs) : none;
                        bf16 *to = right + o * columns * SIDE + q / SIDE * BLOCK + q % SIDE / 2 * SIDE;
                        store(to, pair_low(e, f));
                        store(to + HALF, pair_high(e, f));
                    }
                for (long t = 0; t < high; t += SIDE)
                    for (long o = 0; o < os; o++) {
                        float *sum = sums + part * sums_size + (t / SIDE * os + o) * BLOCK;
                        load_sums(sum, 4 * SIDE);
                        for (long q = 0; q < columns; q += SIDE) {
                            const bf16 *block = right + o * columns * SIDE + q / SIDE * BLOCK;
                            add_product(patches + t * columns + q, 2 * columns, block, block + HALF);
                        }
                        store_sums(sum, 4 * SIDE);
                    }
            }
        end_tiles();
    }
    for (long o = 0; o < g->outputs; o++)
        for (long t = 0; t < patch; t++) {
            float sum = 0;
            for (long part = 0; part < SHARES; part++)
                sum += sums[part * sums_size + (t / SIDE * os + o / SIDE) * BLOCK + t % SIDE * SIDE + o % SIDE];
            weight[o * patch + t] = sum;
        }
    free(space);
    free(sums);
    return 0;
}
