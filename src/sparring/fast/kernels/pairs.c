/* What all pairs of many rows have to say: the sum of their cubed products, or their distances at few bits. */
#include "tiles.h"

enum { PANELS = 32, GROUP = 4 }; /* blocks of rows that a core goes over at a time, and columns' that stay in its cache */
enum { GROUPED = 16 };            /* rows whose smallest value is kept */

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

/* What is done with a block of sums, rows from i and columns from j. */
typedef void Visit(float *sums, long i, long j, void *to);

/* Go over all blocks of products of packed rows with packed columns, a square of PANELS panels a side at a time. */
static inline __attribute__((always_inline)) void over_square(const bf16 *left, const bf16 *right, long rows, long columns, long panel, long y,
                                                              long x, Visit *visit, void *to) {
    float sums[BLOCK] __attribute__((aligned(64)));
    for (long group = x * PANELS; group < least(columns, (x + 1) * PANELS); group += GROUP)
        for (long i = y * PANELS; i < least(rows, (y + 1) * PANELS); i++)
            for (long j = group; j < least(columns, least(group + GROUP, (x + 1) * PANELS)); j++) {
                const bf16 *l = left + i * panel, *r = right + j * panel;
                zero_sums();
                for (long k = 0; k < panel; k += BLOCK) add_product(l + k, 64, r + k, r + k + HALF);
                store_sums(sums, 4 * SIDE);
                visit(sums, i, j, to);
            }
}

typedef struct {
    double total;
    int within;
} Cubes;

static inline void add_cubes(float *sums, long i, long j, void *to) {
    Cubes *cubes = to;
    if (cubes->within && i == j)
        for (long d = 0; d < SIDE; d++) sums[d * SIDE + d] = 0;
    __m512 total = _mm512_setzero_ps();
    for (long at = 0; at < BLOCK; at += 16) {
        __m512 x = _mm512_load_ps(sums + at);
        total = _mm512_fmadd_ps(_mm512_mul_ps(x, x), x, total);
    }
    cubes->total += (double)_mm512_reduce_add_ps(total);
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
        begin_tiles();
#pragma omp for collapse(2) schedule(dynamic)
        for (long x = 0; x < wide; x++)
            for (long y = 0; y < tall; y++) {
                if (within && y > x) continue; /* the other half */
                Cubes cubes = {0, within};
                over_square(left, right, rows, columns, panel, y, x, add_cubes, &cubes);
                sums[x * tall + y] = within && y < x ? 2 * cubes.total : cubes.total;
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

/* Pack rows [n][F] of many products: as left sides, or as right sides; F is a multiple of 32, to has room for whole blocks. */
int sparring_pack(const bf16 *rows, bf16 *to, long count, long depth, int right, int threads) {
    (right ? pack_right : pack_left)(to, rows, count, depth, threads);
    return 0;
}

typedef struct {
    bf16 *values, *minima;
    long rows, columns;
    int diagonal;
} Screen;

static inline void write_screen(float *sums, long i, long j, void *to) {
    const Screen *screen = to;
    long columns = least(SIDE, screen->columns - j * SIDE);
    __mmask32 there = columns == SIDE ? 0xffffffffu : (1u << columns) - 1;
    const __m512 none = _mm512_set1_ps(__builtin_inff());
    if (screen->diagonal && i == j)
        for (long d = 0; d < SIDE; d++) sums[d * SIDE + d] = __builtin_inff();
    for (long top = 0; top < SIDE && i * SIDE + top < screen->rows; top += GROUPED) {
        __m512 low = none, high = none;
        for (long r = top; r < top + GROUPED; r++) {
            long row = i * SIDE + r;
            __m512 a = row < screen->rows ? _mm512_load_ps(sums + r * SIDE) : none;
            __m512 b = row < screen->rows ? _mm512_load_ps(sums + r * SIDE + 16) : none;
            low = _mm512_min_ps(low, a);
            high = _mm512_min_ps(high, b);
            _mm512_mask_storeu_epi16(screen->values + row * screen->columns + j * SIDE, there, to_bf16(a, b));
        }
        bf16 *minima = screen->minima + (i * SIDE + top) / GROUPED * screen->columns + j * SIDE;
        _mm512_mask_storeu_epi16(minima, there, to_bf16(low, high));
    }
}

/* The products of packed rows [n][F] and columns [m][F], rounded, and of each group of 16 rows the smallest.
 *
 *   values    [n'][m], n' the next multiple of 16: rows beyond the last are infinite, and so is the diagonal where asked for
 *   minima    [n' / 16][m]
 */
int sparring_screen(const bf16 *left, const bf16 *right, bf16 *values, bf16 *minima, long n, long m, long depth, int diagonal, int threads) {
    long rows = ceil_div(n, SIDE), columns = ceil_div(m, SIDE);
    Screen screen = {values, minima, n, m, diagonal};
#pragma omp parallel num_threads(threads)
    {
        begin_tiles();
#pragma omp for collapse(2) schedule(dynamic)
        for (long x = 0; x < ceil_div(columns, PANELS); x++)
            for (long y = 0; y < ceil_div(rows, PANELS); y++)
                over_square(left, right, rows, columns, SIDE * depth, y, x, write_screen, &screen);
        _tile_release();
    }
    return 0;
}
