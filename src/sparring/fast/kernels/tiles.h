/* Products of matrices on the tile registers of AMX, or on vectors of pairs of bfloat16, and the changes of order they ask for.
 *
 * A product of bfloat16 tiles takes 16 rows of 32 numbers and 16 pairs of rows of 16 columns, each pair interleaved, and adds
 * 16×16 sums in float32. Everything here comes in blocks of 2×2 such products: 32 rows, depth 32, 32 columns. Eight tiles hold
 * four blocks of sums and what is multiplied, so every tile that is read is used twice.
 *
 * AVX-512 multiplies a pair of a row with 16 interleaved pairs at once, so the same order serves where there are no tiles. Sums
 * are then kept in memory, which stays in the first cache, and go through the registers eight rows at a time.
 */
#ifndef SPARRING_TILES_H
#define SPARRING_TILES_H

#include "common.h"

typedef uint16_t bf16;

enum {
    HALF = 512,  /* bf16 numbers in a tile */
    BLOCK = 1024 /* bf16 numbers, or float32 sums, in a block */
};

#ifdef __AMX_TILE__

/* Give all eight tiles 16 rows of 64 bytes; a thread does so before its first product and ends with end_tiles. */
static inline void begin_tiles(void) {
    struct {
        uint8_t palette, start_row, zero[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int tile = 0; tile < 8; tile++) {
        config.bytes[tile] = 64;
        config.rows[tile] = 16;
    }
    _tile_loadconfig(&config);
}

static inline void zero_sums(void) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

/* Sums to or from float32 [32][..], its rows so many bytes apart. */
static inline void load_sums(const float *from, long row) {
    _tile_loadd(0, from, row);
    _tile_loadd(1, from + 16, row);
    _tile_loadd(2, (const char *)from + 16 * row, row);
    _tile_loadd(3, (const char *)from + 16 * row + 64, row);
}

static inline void store_sums(float *to, long row) {
    _tile_stored(0, to, row);
    _tile_stored(1, to + 16, row);
    _tile_stored(2, (char *)to + 16 * row, row);
    _tile_stored(3, (char *)to + 16 * row + 64, row);
}

/* Add a product: left [32][32], its rows so many bytes apart, and two tiles of the right. */
static inline void add_product(const bf16 *left, long row, const bf16 *right, const bf16 *more) {
    _tile_loadd(4, left, row);
    _tile_loadd(6, right, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, more, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, (const char *)left + 16 * row, row);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* The same, of which only so many rows, so much depth and so many columns are not zeros; tiles take all at once. */
static inline void add_part(const bf16 *left, long row, const bf16 *right, const bf16 *more, long rows, long depth, long columns) {
    (void)rows, (void)depth, (void)columns;
    add_product(left, row, right, more);
}

static inline void end_tiles(void) { _tile_release(); }

#else

static _Thread_local __m512 held[SIDE][2]; /* the sums of a block */

static inline void begin_tiles(void) {}
static inline void end_tiles(void) {}
static inline void zero_sums(void) { memset(held, 0, sizeof held); }

static inline void load_sums(const float *from, long row) {
    for (long r = 0; r < SIDE; r++) memcpy(held[r], (const char *)from + r * row, sizeof held[r]);
}

static inline void store_sums(float *to, long row) {
    for (long r = 0; r < SIDE; r++) memcpy((char *)to + r * row, held[r], sizeof held[r]);
}

enum { ROWS_AT_ONCE = 8 };

/* Add what so many pairs of depth give to eight rows, in one or both halves of the columns. */
static inline __attribute__((always_inline)) void add_rows(long top, const bf16 *left, long row, const bf16 *right, const bf16 *more,
                                                           long pairs, long halves) {
    const char *from = (const char *)left + top * row;
    __m512 sums[ROWS_AT_ONCE][2];
    memcpy(sums, held[top], sizeof sums);
#pragma GCC unroll 16
    for (long k = 0; k < pairs; k++) {
        const __m512bh low = (__m512bh)_mm512_loadu_si512(right + k * SIDE), high = (__m512bh)_mm512_loadu_si512(more + k * SIDE);
#pragma GCC unroll 8
        for (long r = 0; r < ROWS_AT_ONCE; r++) {
            int32_t pair;
            memcpy(&pair, from + r * row + 4 * k, sizeof pair);
            const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
            sums[r][0] = _mm512_dpbf16_ps(sums[r][0], both, low);
            if (halves > 1) sums[r][1] = _mm512_dpbf16_ps(sums[r][1], both, high);
        }
    }
    memcpy(held[top], sums, sizeof sums);
}

static inline void add_product(const bf16 *left, long row, const bf16 *right, const bf16 *more) {
    for (long top = 0; top < SIDE; top += ROWS_AT_ONCE) add_rows(top, left, row, right, more, SIDE / 2, 2);
}

/* The same, of which only so many rows, so much depth and so many columns are not zeros. */
static inline void add_part(const bf16 *left, long row, const bf16 *right, const bf16 *more, long rows, long depth, long columns) {
    long pairs = ceil_div(least(depth, SIDE), 2);
    for (long top = 0; top < least(rows, SIDE); top += ROWS_AT_ONCE)
        if (columns <= 16)
            add_rows(top, left, row, right, more, pairs, 1);
        else if (pairs < SIDE / 2)
            add_rows(top, left, row, right, more, pairs, 2);
        else
            add_rows(top, left, row, right, more, SIDE / 2, 2);
}

#endif

static inline __m512i load(const void *from) { return _mm512_loadu_si512(from); }
static inline void store(void *to, __m512i x) { _mm512_store_si512(to, x); }
static inline __m512i to_bf16(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }
static inline bf16 one_to_bf16(float x) { return (bf16)_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set_ss(x)), 0); }
static inline __m512i load_as_bf16(const float *from) { return to_bf16(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16)); }

/* Interleave two rows of 32 numbers: a0 b0 a1 b1 … a15 b15, and a16 b16 … */
static inline __m512i pair_low(__m512i a, __m512i b) {
    const __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36,
                                           4, 35, 3, 34, 2, 33, 1, 32, 0);
    return _mm512_permutex2var_epi16(a, order, b);
}

static inline __m512i pair_high(__m512i a, __m512i b) {
    const __m512i order = _mm512_set_epi16(63, 31, 62, 30, 61, 29, 60, 28, 59, 27, 58, 26, 57, 25, 56, 24, 55, 23, 54, 22, 53, 21,
                                           52, 20, 51, 19, 50, 18, 49, 17, 48, 16);
    return _mm512_permutex2var_epi16(a, order, b);
}

/* Write a row of 32 sums, plus bias where there is one, as bfloat16. */
static inline void write_row(bf16 *to, const float *sums, const float *bias) {
    __m512 low = _mm512_load_ps(sums), high = _mm512_load_ps(sums + 16);
    if (bias) {
        low = _mm512_add_ps(low, _mm512_loadu_ps(bias));
        high = _mm512_add_ps(high, _mm512_loadu_ps(bias + 16));
    }
    _mm512_storeu_si512(to, to_bf16(low, high));
}

#endif
