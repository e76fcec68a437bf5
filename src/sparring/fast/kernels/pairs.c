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

/* Panels of rows from top to bottom, and of columns from first to last. */
typedef struct {
    long top, bottom, first, last;
} Square;

static inline Square square_at(long y, long x, long rows, long columns) {
    Square square = {y * PANELS, least(rows, (y + 1) * PANELS), x * PANELS, least(columns, (x + 1) * PANELS)};
    return square;
}

/* Go over all blocks of products of the packed rows and columns of a square. */
static inline __attribute__((always_inline)) void over_square(const bf16 *left, const bf16 *right, Square square, long panel, Visit *visit,
                                                              void *to) {
    float sums[BLOCK] __attribute__((aligned(64)));
    for (long group = square.first; group < square.last; group += GROUP)
        for (long i = square.top; i < square.bottom; i++)
            for (long j = group; j < least(square.last, group + GROUP); j++) {
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
    const float *p, *q;
    long rows, columns;
} Cubes;

static inline __m512 some(const float *from, long at, long count) {
    long there = count - at;
    return _mm512_maskz_loadu_ps(there >= 16 ? 0xffff : there <= 0 ? 0 : (__mmask16)((1u << there) - 1), from + at);
}

static inline void add_cubes(float *sums, long i, long j, void *to) {
    Cubes *cubes = to;
    if (cubes->within && i == j)
        for (long d = 0; d < SIDE; d++) sums[d * SIDE + d] = 0;
    __m512 total = _mm512_setzero_ps(), low = total, high = total;
    if (cubes->q) low = some(cubes->q, j * SIDE, cubes->columns), high = some(cubes->q, j * SIDE + 16, cubes->columns);
    for (long r = 0; r < SIDE; r++) {
        __m512 p = cubes->p && i * SIDE + r < cubes->rows ? _mm512_set1_ps(cubes->p[i * SIDE + r]) : _mm512_setzero_ps();
        __m512 x = _mm512_load_ps(sums + r * SIDE), y = _mm512_load_ps(sums + r * SIDE + 16);
        total = _mm512_fmadd_ps(_mm512_mul_ps(x, x), _mm512_add_ps(x, _mm512_add_ps(p, low)), total);
        total = _mm512_fmadd_ps(_mm512_mul_ps(y, y), _mm512_add_ps(y, _mm512_add_ps(p, high)), total);
    }
    cubes->total += (double)_mm512_reduce_add_ps(total);
}

/* total: the sum over all pairs of g^2 (g + p + q), g the product of a packed row of n with a packed column of m, and p [n] and q [m]
 * or NULL for 0. Within one set, whose q is its p, only pairs of two different rows. Returns 0, or 1 without memory. */
int sparring_cubes(const bf16 *left, const bf16 *right, const float *p, const float *q, double *total, long n, long m, long depth,
                   int within, int threads) {
    long rows = ceil_div(n, SIDE), columns = ceil_div(m, SIDE), panel = SIDE * depth;
    long tall = ceil_div(rows, PANELS), wide = ceil_div(columns, PANELS);
    if (tall < 4) tall = least(rows, 4); /* for every core something, and as much with any number of them */
    if (wide < 4) wide = least(columns, 4);
    long height = ceil_div(rows, tall), width = ceil_div(columns, wide);
    double *sums = lines(tall * wide, sizeof(double));
    if (!sums) return 1;
    memset(sums, 0, tall * wide * sizeof(double));
#pragma omp parallel num_threads(threads)
    {
        begin_tiles();
#pragma omp for collapse(2) schedule(dynamic)
        for (long x = 0; x < wide; x++)
            for (long y = 0; y < tall; y++) {
                if (within && y > x) continue; /* the other half */
                Cubes cubes = {0, within, p, q, n, m};
                Square square = {y * height, least(rows, (y + 1) * height), x * width, least(columns, (x + 1) * width)};
                over_square(left, right, square, panel, add_cubes, &cubes);
                sums[x * tall + y] = within && y < x ? 2 * cubes.total : cubes.total;
            }
        end_tiles();
    }
    *total = 0;
    for (long s = 0; s < tall * wide; s++) *total += sums[s];
    free(sums);
    return 0;
}

static inline __m512d add_halves(__m512d to, __m512 x) {
    to = _mm512_add_pd(to, _mm512_cvtps_pd(_mm512_castps512_ps256(x)));
    return _mm512_add_pd(to, _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)));
}

/* Look at some rows of x [..][F] less a centre [F]: u, of which there are n.
 *
 *   p         [n]: (c·c / 2 + c·u) / F + 1/2, c·c being given
 *   own       [n]: u·u / F
 *   left      u times scale, packed, and right, the same as columns
 *   moments   [3][F]: the sums of u, of p u and of p² u
 *
 * Returns 0, or 1 without memory. */
int sparring_subset(const float *x, const int64_t *rows, const float *centre, double *p, double *own, bf16 *left, bf16 *right, double *moments,
                    long n, long depth, double square, float scale, int threads) {
    long panels = ceil_div(n, SIDE);
    float *parts = lines(panels * 3 * depth, sizeof(float));
    if (!parts) return 1;
    const __m512 unit = _mm512_set1_ps(scale);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (long i = 0; i < panels; i++) {
            const float *from[SIDE];
            float powers[SIDE][3];
            long there = least(SIDE, n - i * SIDE);
            for (long r = 0; r < there; r++) {
                from[r] = x + rows[i * SIDE + r] * depth;
                __m512d along = _mm512_setzero_pd(), length = along;
                for (long k = 0; k < depth; k += SIDE) {
                    __m512 c0 = _mm512_loadu_ps(centre + k), c1 = _mm512_loadu_ps(centre + k + 16);
                    __m512 u0 = _mm512_sub_ps(_mm512_loadu_ps(from[r] + k), c0), u1 = _mm512_sub_ps(_mm512_loadu_ps(from[r] + k + 16), c1);
                    along = add_halves(along, _mm512_fmadd_ps(u1, c1, _mm512_mul_ps(u0, c0)));
                    length = add_halves(length, _mm512_fmadd_ps(u1, u1, _mm512_mul_ps(u0, u0)));
                }
                double found = (square / 2 + _mm512_reduce_add_pd(along)) / (double)depth + 0.5;
                p[i * SIDE + r] = found;
                own[i * SIDE + r] = _mm512_reduce_add_pd(length) / (double)depth;
                powers[r][0] = 1, powers[r][1] = (float)found, powers[r][2] = (float)(found * found);
            }
            for (long k = 0; k < depth; k += SIDE) {
                __m512 sums[3][2], c0 = _mm512_loadu_ps(centre + k), c1 = _mm512_loadu_ps(centre + k + 16);
                for (long w = 0; w < 3; w++) sums[w][0] = sums[w][1] = _mm512_setzero_ps();
                bf16 *row = left + i * SIDE * depth + k * SIDE, *column = right + i * SIDE * depth + k * SIDE;
                for (long half = 0; half < SIDE; half += 16) {
                    __m512i words[16];
                    for (long r = 0; r < 16; r++) {
                        words[r] = _mm512_setzero_si512();
                        if (half + r < there) {
                            const float *at = from[half + r] + k;
                            __m512 u0 = _mm512_sub_ps(_mm512_loadu_ps(at), c0), u1 = _mm512_sub_ps(_mm512_loadu_ps(at + 16), c1);
                            for (long w = 0; w < 3; w++) {
                                __m512 power = _mm512_set1_ps(powers[half + r][w]);
                                sums[w][0] = _mm512_fmadd_ps(power, u0, sums[w][0]);
                                sums[w][1] = _mm512_fmadd_ps(power, u1, sums[w][1]);
                            }
                            words[r] = to_bf16(_mm512_mul_ps(u0, unit), _mm512_mul_ps(u1, unit));
                        }
                        store(row + (half + r) * SIDE, words[r]);
                    }
                    transpose(words);
                    for (long r = 0; r < 16; r++) store(column + half * SIDE + r * SIDE, words[r]);
                }
                for (long w = 0; w < 3; w++) {
                    _mm512_storeu_ps(parts + (i * 3 + w) * depth + k, sums[w][0]);
                    _mm512_storeu_ps(parts + (i * 3 + w) * depth + k + 16, sums[w][1]);
                }
            }
        }
#pragma omp for schedule(static)
        for (long f = 0; f < 3 * depth; f++) {
            double sum = 0;
            for (long i = 0; i < panels; i++) sum += parts[i * 3 * depth + f];
            moments[f] = sum;
        }
    }
    free(parts);
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
                over_square(left, right, square_at(y, x, rows, columns), SIDE * depth, write_screen, &screen);
        end_tiles();
    }
    return 0;
}

/* |x_i - y_j|^2 of n pairs of rows of x and y [..][F] in float64; F is a multiple of 16. */
int sparring_squared(const float *x, const float *y, const int64_t *i, const int64_t *j, double *to, long n, long features, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long at = 0; at < n; at++) {
        const float *a = x + i[at] * features, *b = y + j[at] * features;
        __m512d low = _mm512_setzero_pd(), high = low;
        for (long f = 0; f < features; f += 16) {
            __m512d d = _mm512_sub_pd(_mm512_cvtps_pd(_mm256_loadu_ps(a + f)), _mm512_cvtps_pd(_mm256_loadu_ps(b + f)));
            __m512d e = _mm512_sub_pd(_mm512_cvtps_pd(_mm256_loadu_ps(a + f + 8)), _mm512_cvtps_pd(_mm256_loadu_ps(b + f + 8)));
            low = _mm512_fmadd_pd(d, d, low);
            high = _mm512_fmadd_pd(e, e, high);
        }
        to[at] = _mm512_reduce_add_pd(_mm512_add_pd(low, high));
    }
    return 0;
}
