/* The scatter of many features about a point, from exact products of integers on the tile registers of AMX.
 *
 * A number is 254 h + m, both digits from -127 to 127, so q q' = 254² h h' + 254 (h m' + m h') + m m'. A product of byte tiles takes
 * 16 rows of 64 bytes and 16 groups of four rows of 16 columns, and adds 16×16 sums in 32 bits. The one is the other's transpose in
 * words of four bytes, so every block of samples and features is read and rounded once and laid out both ways.
 */
#include "tiles.h"

enum {
    BASE = 254,
    DEPTH = 64,        /* samples of a tile */
    TILE = 1024,       /* bytes of a tile */
    CELL = 4 * TILE,   /* both digits of 64 samples of 32 features */
    SLAB = 2048,       /* samples that a sum of integers goes over */
    COLUMNS = 4,       /* panels of columns that stay in a core's cache */
    ROWS = 16,         /* panels of rows that are a task */
    SPAN = 1024        /* rows that are summed by themselves: sums do not depend on the threads */
};

static inline void add_widened(double *to, __m512 x) {
    _mm512_storeu_pd(to, _mm512_add_pd(_mm512_loadu_pd(to), _mm512_cvtps_pd(_mm512_castps512_ps256(x))));
    _mm512_storeu_pd(to + 8, _mm512_add_pd(_mm512_loadu_pd(to + 8), _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))));
}

/* Sums [F] in float64, smallest and largest numbers [F] of x [n][F]; F is a multiple of 16. Returns 0, or 1 without memory. */
int sparring_columns(const float *x, double *sums, float *low, float *high, long n, long features, int threads) {
    long spans = ceil_div(n, SPAN);
    double *parts = lines(spans * features, sizeof(double));
    float *ends = lines(2 * spans * features, sizeof(float));
    if (!parts || !ends) {
        free(parts);
        free(ends);
        return 1;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long s = 0; s < spans; s++) {
        double *sum = parts + s * features;
        float *first = ends + 2 * s * features, *last = first + features;
        for (long f = 0; f < features; f++) sum[f] = 0, first[f] = __builtin_inff(), last[f] = -__builtin_inff();
        for (long i = s * SPAN; i < least(n, (s + 1) * SPAN); i++)
            for (long f = 0; f < features; f += 16) {
                __m512 v = _mm512_loadu_ps(x + i * features + f);
                add_widened(sum + f, v);
                _mm512_storeu_ps(first + f, _mm512_min_ps(v, _mm512_loadu_ps(first + f)));
                _mm512_storeu_ps(last + f, _mm512_max_ps(v, _mm512_loadu_ps(last + f)));
            }
    }
    for (long f = 0; f < features; f++) {
        sums[f] = 0, low[f] = __builtin_inff(), high[f] = -__builtin_inff();
        for (long s = 0; s < spans; s++) {
            const float *first = ends + 2 * s * features, *last = first + features;
            sums[f] += parts[s * features + f];
            low[f] = first[f] < low[f] ? first[f] : low[f];
            high[f] = last[f] > high[f] ? last[f] : high[f];
        }
    }
    free(parts);
    free(ends);
    return 0;
}

/* Round 64 samples of 16 features and write their digits as the tiles of a right and of a left side; zeros beyond the last sample. */
static void pack_samples(uint8_t *right, uint8_t *left, const float *x, const float *roots, long n, long features, __m512 middle,
                         __m512 steps, float *squared, float *summed) {
    const __m512 base = _mm512_set1_ps(BASE), part = _mm512_set1_ps(1.0f / BASE);
    const __m512i byte = _mm512_set1_epi32(255);
    __m512i upper[16], lower[16];
    __m512 squares = _mm512_setzero_ps(), sums = squares;
    for (long word = 0; word < 16; word++) {
        upper[word] = lower[word] = _mm512_setzero_si512();
        for (long i = 0; i < 4 && 4 * word + i < n; i++) {
            __m512 v = _mm512_sub_ps(_mm512_loadu_ps(x + (4 * word + i) * features), middle);
            __m512 root = roots ? _mm512_set1_ps(roots[4 * word + i]) : _mm512_set1_ps(1);
            v = _mm512_mul_ps(v, root);
            squares = _mm512_fmadd_ps(v, v, squares);
            sums = _mm512_fmadd_ps(v, root, sums);
            v = _mm512_roundscale_ps(_mm512_mul_ps(v, steps), 0);
            __m512 h = _mm512_roundscale_ps(_mm512_mul_ps(v, part), 0);
            __m512i high = _mm512_and_si512(_mm512_cvtps_epi32(h), byte);
            __m512i low = _mm512_and_si512(_mm512_cvtps_epi32(_mm512_fnmadd_ps(h, base, v)), byte);
            upper[word] = _mm512_or_si512(upper[word], _mm512_slli_epi32(high, 8 * (int)i));
            lower[word] = _mm512_or_si512(lower[word], _mm512_slli_epi32(low, 8 * (int)i));
        }
    }
    _mm512_storeu_ps(squared, squares);
    _mm512_storeu_ps(summed, sums);
    for (long i = 0; i < 16; i++) store(right + i * 64, upper[i]), store(right + 2 * TILE + i * 64, lower[i]);
    transpose(upper);
    transpose(lower);
    for (long i = 0; i < 16; i++) store(left + i * 64, upper[i]), store(left + 2 * TILE + i * 64, lower[i]);
}

/* Add the products of one digit of 32 features with one of 32 others, over all cells of a panel. */
static inline void add_digits(const uint8_t *left, const uint8_t *right, long cells) {
    for (long c = 0; c < cells; c++, left += CELL, right += CELL) {
        _tile_loadd(4, left, 64);
        _tile_loadd(6, right, 64);
        _tile_dpbssd(0, 4, 6);
        _tile_loadd(7, right + TILE, 64);
        _tile_dpbssd(1, 4, 7);
        _tile_loadd(5, left + TILE, 64);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
}

/* Add the products of two panels to total, its rows F apart, or begin it. */
static void add_panels(double *total, long features, const uint8_t *left, const uint8_t *right, long cells, int begin) {
    float sums[3][BLOCK] __attribute__((aligned(64)));
    const long low = 2 * TILE; /* where the lower digits of a cell begin */
    const __m512d weights[3] = {_mm512_set1_pd((double)BASE * BASE), _mm512_set1_pd(BASE), _mm512_set1_pd(1)};
    zero_sums();
    add_digits(left, right, cells);
    store_sums(sums[0], 4 * SIDE);
    zero_sums();
    add_digits(left, right + low, cells);
    add_digits(left + low, right, cells);
    store_sums(sums[1], 4 * SIDE);
    zero_sums();
    add_digits(left + low, right + low, cells);
    store_sums(sums[2], 4 * SIDE);
    for (long r = 0; r < SIDE; r++)
        for (long c = 0; c < SIDE; c += 8) {
            __m512d found = begin ? _mm512_setzero_pd() : _mm512_loadu_pd(total + r * features + c);
            for (long digits = 0; digits < 3; digits++) {
                __m256i exact = _mm256_load_si256((const __m256i *)(sums[digits] + r * SIDE + c));
                found = _mm512_fmadd_pd(_mm512_cvtepi32_pd(exact), weights[digits], found);
            }
            _mm512_storeu_pd(total + r * features + c, found);
        }
}

/* The scatter of x [n][F] about c in total [F][F], and the sums of squares about middle in trace [F].
 *
 *   roots     [n], the square roots of weights, or NULL for ones
 *   middle    [F], near c
 *   steps     [F]: (x - middle) root steps is rounded, and at most 127 * 254
 *   unit      [F], of which it is a multiple
 *   away      [F], middle - c
 *   count     sum of the weights
 *
 * F is a multiple of 32. Returns 0, or 1 without memory. */
int sparring_scatter(const float *x, const float *roots, const float *middle, const float *steps, const double *unit, const double *away,
                     double *total, double *trace, long n, long features, double count, int threads) {
    long panels = features / SIDE, panel = least(SLAB, round_up(n, DEPTH)) / DEPTH * CELL;
    uint8_t *right = lines(panels * panel, 1), *left = lines(panels * panel, 1);
    double *summed = lines(features, sizeof(double));
    float *parts = lines(2 * SLAB / DEPTH * features, sizeof(float)); /* sums and squares of every cell */
    if (!right || !left || !summed || !parts) {
        free(right);
        free(left);
        free(summed);
        free(parts);
        return 1;
    }
    memset(summed, 0, features * sizeof(double));
    memset(trace, 0, features * sizeof(double));
#pragma omp parallel num_threads(threads)
    {
        begin_tiles();
        for (long slab = 0; slab < n; slab += SLAB) {
            long rows = least(SLAB, n - slab), cells = ceil_div(rows, DEPTH);
#pragma omp for schedule(static)
            for (long c = 0; c < cells; c++)
                for (long f = 0; f < features; f += 16) {
                    long at = f / SIDE * panel + c * CELL + f % SIDE / 16 * TILE, i = slab + c * DEPTH;
                    float *squared = parts + 2 * c * features + f;
                    pack_samples(right + at, left + at, x + i * features + f, roots ? roots + i : NULL, rows - c * DEPTH, features,
                                 _mm512_loadu_ps(middle + f), _mm512_loadu_ps(steps + f), squared, squared + features);
                }
#pragma omp for schedule(static)
            for (long f = 0; f < features; f += 16)
                for (long c = 0; c < cells; c++) {
                    add_widened(trace + f, _mm512_loadu_ps(parts + 2 * c * features + f));
                    add_widened(summed + f, _mm512_loadu_ps(parts + (2 * c + 1) * features + f));
                }
#pragma omp for collapse(2) schedule(dynamic)
            for (long g = 0; g < panels; g += COLUMNS)
                for (long top = 0; top < panels; top += ROWS)
                    for (long i = top; i < least(panels, least(top + ROWS, g + COLUMNS)); i++)
                        for (long j = g > i ? g : i; j < least(panels, g + COLUMNS); j++)
                            add_panels(total + i * SIDE * features + j * SIDE, features, left + i * panel, right + j * panel, cells, !slab);
        }
        end_tiles();
        /* x - c = (x - middle) + away */
#pragma omp for schedule(dynamic)
        for (long i = 0; i < features; i++)
            for (long j = i; j < features; j++) {
                double found = i == j ? trace[i] : total[i * features + j] * unit[i] * unit[j];
                total[i * features + j] = found + summed[i] * away[j] + away[i] * summed[j] + count * away[i] * away[j];
            }
#pragma omp for collapse(2) schedule(dynamic)
        for (long top = 0; top < features; top += SIDE)
            for (long start = 0; start < features; start += SIDE)
                for (long i = top; start <= top && i < top + SIDE; i++)
                    for (long j = start; j < least(i, start + SIDE); j++) total[i * features + j] = total[j * features + i];
    }
    free(right);
    free(left);
    free(summed);
    free(parts);
    return 0;
}
