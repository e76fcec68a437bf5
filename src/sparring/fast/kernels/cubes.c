/* The sum of cubed products of many rows, of which no matrix is made. */
#include "tiles.h"

enum { PANELS = 32, GROUP = 4 }; /* blocks of rows that a core goes over at a time, and columns' that stay in its cache */

/* Rows [n][F] as left sides, blocks [i][k]; zeros beyond the last row. */
static void pack_left(bf16 *to, const bf16 *rows, long count, long depth, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long i = 0; i < ceil_div(count, SIDE); i++)
        for (long r = 0; r < SIDE; r++)
            for (long k = 0; k < depth; k += SIDE)
                store(to + i * SIDE * depth + k * SIDE + r * SIDE,
                      i * SIDE + r < count ? load(rows + (i * SIDE + r) * depth + k) : _mm512_setzero_si512());
}

/* The same as right sides, transposed. */
static void pack_right(bf16 *to, const bf16 *rows, long count, long depth, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long i = 0; i < ceil_div(count, SIDE); i++)
        for (long k = 0; k < depth; k += SIDE)
            for (long half = 0; half < SIDE; half += 16) {
                __m512i words[16];
                for (long r = 0; r < 16; r++) {
                    long row = i * SIDE + half + r;
                    words[r] = row < count ? load(rows + row * depth + k) : _mm512_setzero_si512();
                }
                transpose(words);
                for (long r = 0; r < 16; r++) store(to + i * SIDE * depth + k * SIDE + half * SIDE + r * SIDE, words[r]);
            }
}

static double cubes_of(const float *sums) {
    __m512 total = _mm512_setzero_ps();
    for (long i = 0; i < BLOCK; i += 16) {
        __m512 x = _mm512_load_ps(sums + i);
        total = _mm512_fmadd_ps(_mm512_mul_ps(x, x), x, total);
    }
    return (double)_mm512_reduce_add_ps(total);
}

/* total: the sum over all pairs of (a_i · b_j)^3 of rows a [n][F] and b [m][F]; where b is NULL, over those of two different rows of
 * a. F is a multiple of 32. Returns 0, or 1 without memory. */
int sparring_cubes(const bf16 *a, const bf16 *b, double *total, long n, long m, long depth, int threads) {
    int within = !b;
    long rows = ceil_div(n, SIDE), columns = ceil_div(within ? n : m, SIDE), panel = SIDE * depth;
    long tall = ceil_div(rows, PANELS), wide = ceil_div(columns, PANELS);
    bf16 *left = lines(rows * panel, sizeof(bf16)), *right = lines(columns * panel, sizeof(bf16));
    double *sums = lines(tall * wide, sizeof(double));
    if (!left || !right || !sums) {
        free(left);
        free(right);
        free(sums);
        return 1;
    }
    pack_left(left, a, n, depth, threads);
    pack_right(right, within ? a : b, within ? n : m, depth, threads);
    memset(sums, 0, tall * wide * sizeof(double));
#pragma omp parallel num_threads(threads)
    {
        float block[BLOCK] __attribute__((aligned(64)));
        begin_tiles();
#pragma omp for collapse(2) schedule(dynamic)
        for (long x = 0; x < wide; x++)
            for (long y = 0; y < tall; y++) {
                if (within && y > x) continue; /* the other half */
                double sum = 0;
                for (long group = x * PANELS; group < least(columns, (x + 1) * PANELS); group += GROUP)
                    for (long i = y * PANELS; i < least(rows, (y + 1) * PANELS); i++)
                        for (long j = group; j < least(columns, least(group + GROUP, (x + 1) * PANELS)); j++) {
                            const bf16 *l = left + i * panel, *r = right + j * panel;
                            zero_sums();
                            for (long k = 0; k < panel; k += BLOCK) add_product(l + k, 64, r + k, r + k + HALF);
                            store_sums(block, 4 * SIDE);
                            if (within && i == j)
                                for (long d = 0; d < SIDE; d++) block[d * SIDE + d] = 0;
                            sum += cubes_of(block);
                        }
                sums[x * tall + y] = within && y < x ? 2 * sum : sum;
            }
        _tile_release();
    }
    *total = 0;
    for (long s = 0; s < tall * wide; s++) *total += sums[s];
    free(left);
    free(right);
    free(sums);
    return 0;
}
