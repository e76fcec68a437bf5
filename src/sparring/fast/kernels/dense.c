/* Dense layers whose units choose one of several linear pieces, and their gradients with the choice held.
 *
 * A maxout unit takes the largest of its pieces; a ReLU takes its only piece or nothing. Once the choice is known the layer is
 * linear in its inputs and in its weights, so every derivative of any order is one of three products: by inputs and weights, by
 * slopes and weights, by inputs and slopes. Slopes are spread over the pieces where they are read; no matrix of pieces is made.
 *
 * Numbers are float32 in memory. In one part they are multiplied as bfloat16; in two, as the sum of two bfloat16 numbers, which
 * keep 16 bits: three products are added, the fourth is below what is kept. Layers of few inputs, and linear ones of few units,
 * are multiplied as they are.
 */
#include "choice.h"
#include "thin.h"
#include "tiles.h"

enum { LEFT, LEFT_TURNED, RIGHT, RIGHT_TURNED }; /* side of a product, and whether the matrix is transposed there */

/* A block of a matrix: its rows so many numbers apart, zeros beyond what is there, and wherever another piece was chosen. */
typedef struct {
    const float *at;
    long row, rows, columns;
    const uint8_t *which;
    int piece;
} Part;

static inline __m512 read16(const Part *part, long r, long c) {
    long at = r * part->row + c;
    __mmask16 chosen = where(part->which ? part->which + at : NULL, first(part->columns - c), part->piece);
    return _mm512_maskz_loadu_ps(chosen, part->at + at);
}

static inline __m512 widened(__m256i half) { return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16); }

static inline void arrange(bf16 *to, const __m512i rows[SIDE], int order) {
    __m512i t[16], u[16];
    switch (order) {
    case LEFT:
        for (long i = 0; i < SIDE; i++) store(to + i * SIDE, rows[i]);
        break;
    case LEFT_TURNED:
        for (long i = 0; i < 16; i++) t[i] = pair_low(rows[2 * i], rows[2 * i + 1]), u[i] = pair_high(rows[2 * i], rows[2 * i + 1]);
        transpose(t);
        transpose(u);
        for (long i = 0; i < 16; i++) store(to + i * SIDE, t[i]), store(to + HALF + i * SIDE, u[i]);
        break;
    case RIGHT:
        for (long i = 0; i < 16; i++) {
            store(to + i * SIDE, pair_low(rows[2 * i], rows[2 * i + 1]));
            store(to + HALF + i * SIDE, pair_high(rows[2 * i], rows[2 * i + 1]));
        }
        break;
    case RIGHT_TURNED:
        for (long half = 0; half < 2; half++) {
            memcpy(t, rows + half * 16, sizeof t);
            transpose(t);
            for (long i = 0; i < 16; i++) store(to + half * HALF + i * SIDE, t[i]);
        }
    }
}

/* Write a block as bfloat16, and behind it, in two parts, what that rounds away. */
static void pack(bf16 *to, int order, long parts, Part part) {
    __m512i rows[SIDE], rest[SIDE];
    for (long r = 0; r < SIDE; r++) {
        if (r >= part.rows) {
            rows[r] = rest[r] = _mm512_setzero_si512();
            continue;
        }
        __m512 low = read16(&part, r, 0), high = read16(&part, r, 16);
        rows[r] = to_bf16(low, high);
        if (parts > 1)
            rest[r] = to_bf16(_mm512_sub_ps(low, widened(_mm512_castsi512_si256(rows[r]))),
                              _mm512_sub_ps(high, widened(_mm512_extracti64x4_epi64(rows[r], 1))));
    }
    arrange(to, rows, order);
    if (parts > 1) arrange(to + BLOCK, rest, order);
}

/* Blocks [r][c] of a matrix [rows][columns] as left sides, or as right sides [c][r], which a sum goes along. */
static void pack_matrix(bf16 *to, int order, long parts, const float *from, long rows, long columns) {
    long tall = ceil_div(rows, SIDE), wide = ceil_div(columns, SIDE);
#pragma omp for collapse(2) schedule(static)
    for (long r = 0; r < tall; r++)
        for (long c = 0; c < wide; c++) {
            Part part = {from + r * SIDE * columns + c * SIDE, columns, rows - r * SIDE, columns - c * SIDE, NULL, 0};
            int along_rows = order == RIGHT || order == LEFT_TURNED;
            pack(to + (along_rows ? c * tall + r : r * wide + c) * parts * BLOCK, order, parts, part);
        }
}

/* One column of blocks of the weights [pieces][units][inputs] as right sides [piece][inputs]: depth inputs and columns from unit u. */
static void pack_units(bf16 *to, long parts, const float *weight, long pieces, long units, long inputs, long u) {
    for (long p = 0; p < pieces; p++)
        for (long k = 0; k < inputs; k += SIDE, to += parts * BLOCK) {
            Part part = {weight + (p * units + u) * inputs + k, inputs, units - u, inputs - k, NULL, 0};
            pack(to, RIGHT_TURNED, parts, part);
        }
}

/* All weights as right sides [inputs][piece][units]: depth units. */
static void pack_weights(bf16 *to, long parts, const float *weight, long pieces, long units, long inputs) {
    long depth = ceil_div(units, SIDE), wide = ceil_div(inputs, SIDE);
#pragma omp for collapse(2) schedule(static)
    for (long p = 0; p < pieces; p++)
        for (long u = 0; u < depth; u++)
            for (long k = 0; k < wide; k++) {
                const float *at = weight + (p * units + u * SIDE) * inputs + k * SIDE;
                Part part = {at, inputs, units - u * SIDE, inputs - k * SIDE, NULL, 0};
                pack(to + ((k * pieces + p) * depth + u) * parts * BLOCK, RIGHT, parts, part);
            }
}

/* Add the product of blocks that follow each other on both sides: of so many rows, so much depth in all and so many columns. */
static inline void add_products(const bf16 *left, const bf16 *right, long rows, long depth, long columns, long parts) {
    for (; depth > 0; depth -= SIDE, left += parts * BLOCK, right += parts * BLOCK) {
        add_part(left, 64, right, right + HALF, rows, depth, columns);
        if (parts > 1) {
            add_part(left, 64, right + BLOCK, right + BLOCK + HALF, rows, depth, columns);
            add_part(left + BLOCK, 64, right, right + HALF, rows, depth, columns);
        }
    }
}

/* Find memory for so many numbers of both sides. Returns 0, or 1 without memory. */
static int take_sides(bf16 **left, long rows, bf16 **right, long columns) {
    *left = lines(rows, sizeof(bf16));
    *right = lines(columns, sizeof(bf16));
    if (*left && *right) return 0;
    free(*left);
    free(*right);
    return 1;
}

static void write_sums(float *to, long row, long rows, long columns, const float *sums) {
    for (long r = 0; r < least(SIDE, rows); r++) {
        _mm512_mask_storeu_ps(to + r * row, first(columns), _mm512_load_ps(sums + r * SIDE));
        _mm512_mask_storeu_ps(to + r * row + 16, first(columns - 16), _mm512_load_ps(sums + r * SIDE + 16));
    }
}

/* Find memory for the weights of a layer of few inputs, turned. Returns NULL without. */
static float *take_turned(long inputs, long units, long pieces) { return lines(inputs * pieces * units, sizeof(float)); }

/* What a layer returns: y [batch][units] of x [batch][inputs], weight [pieces][units][inputs] and bias [pieces][units] or NULL.
 * which [batch][units] is written by kinds LARGEST and POSITIVE (of one piece), read by GIVEN and NULL for LINEAR (of one piece).
 * Returns 0, or 1 without memory. */
int sparring_dense(const float *x, const float *weight, const float *bias, uint8_t *which, float *y, long batch, long inputs, long units,
                   long pieces, int kind, long parts, int threads) {
    if (inputs <= THIN) {
        float *turned = take_turned(inputs, units, pieces);
        if (!turned) return 1;
        turn(turned, weight, pieces * units, inputs);
        widen(x, turned, bias, which, y, batch, inputs, units, pieces, kind, threads);
        free(turned);
        return 0;
    }
    if (units <= THIN && kind == LINEAR) {
        narrow(x, NULL, weight, bias, y, batch, units, inputs, 1, threads);
        return 0;
    }
    long tall = ceil_div(batch, SIDE), depth = ceil_div(inputs, SIDE), wide = ceil_div(units, SIDE), panel = depth * parts * BLOCK;
    long spans = least(tall, threads), span = ceil_div(tall, spans);
    bf16 *left, *right;
    if (take_sides(&left, tall * panel, &right, threads * pieces * panel)) return 1;
#pragma omp parallel num_threads(threads)
    {
        float sums[BLOCK] __attribute__((aligned(64)));
        bf16 *mine = right + omp_get_thread_num() * pieces * panel;
        pack_matrix(left, LEFT, parts, x, batch, inputs);
        begin_tiles();
#pragma omp for collapse(2) schedule(static)
        for (long s = 0; s < spans; s++)
            for (long u = 0; u < wide; u++) {
                pack_units(mine, parts, weight, pieces, units, inputs, u * SIDE);
                for (long i = s * span; i < least(tall, (s + 1) * span); i++)
                    for (long p = 0; p < pieces; p++) {
                        zero_sums();
                        add_products(left + i * panel, mine + p * panel, batch - i * SIDE, inputs, units - u * SIDE, parts);
                        store_sums(sums, 4 * SIDE);
                        for (long half = 0; half < SIDE; half += 16) {
                            long unit = u * SIDE + half;
                            __mmask16 there = first(units - unit);
                            __m512 shift = bias ? _mm512_maskz_loadu_ps(there, bias + p * units + unit) : _mm512_setzero_ps();
                            for (long r = 0; r < least(SIDE, batch - i * SIDE); r++) {
                                long at = (i * SIDE + r) * units + unit;
                                __m512 value = _mm512_add_ps(_mm512_load_ps(sums + r * SIDE + half), shift);
                                uint8_t *names = which ? which + at : NULL;
                                Choice kept = p ? kept_choice(y + at, names, there, kind) : no_choice(names, there, kind);
                                keep_choice(y + at, names, there, choose(kept, value, p, kind), kind);
                            }
                        }
                    }
            }
        end_tiles();
    }
    free(left);
    free(right);
    return 0;
}

/* Slopes [batch][units] spread over the pieces: block i of the batch and u of the units, at one piece. */
static Part spread(const float *slopes, const uint8_t *which, long batch, long units, long i, long u, long piece) {
    long at = i * SIDE * units + u * SIDE;
    Part part = {slopes + at, units, batch - i * SIDE, units - u * SIDE, which ? which + at : NULL, (int)piece};
    return part;
}

/* The gradient by the inputs: dx [batch][inputs] of slopes [batch][units], which [batch][units] (NULL for linear units) and weight. */
int sparring_dense_input(const float *slopes, const uint8_t *which, const float *weight, float *dx, long batch, long inputs, long units,
                         long pieces, long parts, int threads) {
    if (inputs <= THIN) {
        float *turned = take_turned(inputs, units, pieces);
        if (!turned) return 1;
        turn(turned, weight, pieces * units, inputs);
        narrow(slopes, which, turned, NULL, dx, batch, inputs, units, pieces, threads);
        free(turned);
        return 0;
    }
    if (units <= THIN && !which) {
        widen(slopes, weight, NULL, NULL, dx, batch, units, inputs, 1, LINEAR, threads);
        return 0;
    }
    long tall = ceil_div(batch, SIDE), depth = ceil_div(units, SIDE), wide = ceil_div(inputs, SIDE);
    long panel = pieces * depth * parts * BLOCK;
    bf16 *left, *right;
    if (take_sides(&left, threads * panel, &right, wide * panel)) return 1;
#pragma omp parallel num_threads(threads)
    {
        float sums[BLOCK] __attribute__((aligned(64)));
        bf16 *mine = left + omp_get_thread_num() * panel;
        pack_weights(right, parts, weight, pieces, units, inputs);
        begin_tiles();
#pragma omp for schedule(static)
        for (long i = 0; i < tall; i++) {
            for (long p = 0; p < pieces; p++)
                for (long u = 0; u < depth; u++)
                    pack(mine + (p * depth + u) * parts * BLOCK, LEFT, parts, spread(slopes, which, batch, units, i, u, p));
            for (long k = 0; k < wide; k++) {
                zero_sums();
                for (long p = 0; p < pieces; p++) {
                    long at = p * depth * parts * BLOCK;
                    add_products(mine + at, right + k * panel + at, batch - i * SIDE, units, inputs - k * SIDE, parts);
                }
                store_sums(sums, 4 * SIDE);
                write_sums(dx + i * SIDE * inputs + k * SIDE, inputs, batch - i * SIDE, inputs - k * SIDE, sums);
            }
        }
        end_tiles();
    }
    free(left);
    free(right);
    return 0;
}

/* The gradients by weight [pieces][units][inputs] and by bias [pieces][units] (NULL: not wanted) of slopes, which and x. */
int sparring_dense_weight(const float *slopes, const uint8_t *which, const float *x, float *weight, float *bias, long batch, long inputs,
                          long units, long pieces, long parts, int threads) {
    if (inputs <= THIN) {
        float *turned = take_turned(inputs, units, pieces);
        if (!turned) return 1;
        thin_weight(x, slopes, which, turned, bias, batch, inputs, units, pieces, threads);
        turn(weight, turned, inputs, pieces * units);
        free(turned);
        return 0;
    }
    if (units <= THIN && !which) {
        thin_weight(slopes, x, NULL, weight, NULL, batch, units, inputs, 1, threads);
        for (long u = 0; bias && u < units; u++) {
            bias[u] = 0.0f;
            for (long r = 0; r < batch; r++) bias[u] += slopes[r * units + u];
        }
        return 0;
    }
    long depth = ceil_div(batch, SIDE), tall = ceil_div(units, SIDE), wide = ceil_div(inputs, SIDE), panel = depth * parts * BLOCK;
    bf16 *left, *right;
    if (take_sides(&left, threads * panel, &right, wide * panel)) return 1;
#pragma omp parallel num_threads(threads)
    {
        float sums[BLOCK] __attribute__((aligned(64)));
        bf16 *mine = left + omp_get_thread_num() * panel;
        pack_matrix(right, RIGHT, parts, x, batch, inputs);
        begin_tiles();
#pragma omp for collapse(2) schedule(static)
        for (long p = 0; p < pieces; p++)
            for (long u = 0; u < tall; u++) {
                __m512 low = _mm512_setzero_ps(), high = low;
                for (long i = 0; i < depth; i++) {
                    Part part = spread(slopes, which, batch, units, i, u, p);
                    pack(mine + i * parts * BLOCK, LEFT_TURNED, parts, part);
                    for (long r = 0; bias && r < least(SIDE, part.rows); r++) {
                        low = _mm512_add_ps(low, read16(&part, r, 0));
                        high = _mm512_add_ps(high, read16(&part, r, 16));
                    }
                }
                if (bias) {
                    _mm512_mask_storeu_ps(bias + p * units + u * SIDE, first(units - u * SIDE), low);
                    _mm512_mask_storeu_ps(bias + p * units + u * SIDE + 16, first(units - u * SIDE - 16), high);
                }
                for (long k = 0; k < wide; k++) {
                    zero_sums();
                    add_products(mine, right + k * panel, units - u * SIDE, batch, inputs - k * SIDE, parts);
                    store_sums(sums, 4 * SIDE);
                    float *at = weight + (p * units + u * SIDE) * inputs + k * SIDE;
                    write_sums(at, inputs, units - u * SIDE, inputs - k * SIDE, sums);
                }
            }
        end_tiles();
    }
    free(left);
    free(right);
    return 0;
}
