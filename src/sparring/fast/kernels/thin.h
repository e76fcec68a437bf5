/* Dense layers that read a point, or return one or a logit, in float32: they would leave most of every block empty.
 *
 * One side of the layer is thin, the other wide, and the wide side fills the vectors. Weights lie as [thin][pieces][wide].
 */
#ifndef SPARRING_THIN_H
#define SPARRING_THIN_H

#include "choice.h"

enum { THIN = 8 };

/* A matrix [rows][columns] as [columns][rows]. */
static inline void turn(float *to, const float *from, long rows, long columns) {
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
}

/* To the wide side: y [batch][wide] and which of x [batch][thin], weight and bias [pieces][wide] or NULL. */
static inline void widen(const float *x, const float *weight, const float *bias, uint8_t *which, float *y, long batch, long thin, long wide,
                         long pieces, int kind, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long r = 0; r < batch; r++)
        for (long w = 0; w < wide; w += 16) {
            __mmask16 there = first(wide - w);
            uint8_t *names = which ? which + r * wide + w : NULL;
            Choice kept = no_choice(names, there, kind);
            for (long p = 0; p < pieces; p++) {
                __m512 value = bias ? _mm512_maskz_loadu_ps(there, bias + p * wide + w) : _mm512_setzero_ps();
                for (long t = 0; t < thin; t++) {
                    __m512 factors = _mm512_maskz_loadu_ps(there, weight + (t * pieces + p) * wide + w);
                    value = _mm512_fmadd_ps(_mm512_set1_ps(x[r * thin + t]), factors, value);
                }
                kept = choose(kept, value, p, kind);
            }
            keep_choice(y + r * wide + w, names, there, kept, kind);
        }
}

/* To the thin side: y [batch][thin] of x [batch][wide], weight, which [batch][wide] (NULL for linear units) and bias [thin] or NULL. */
static inline void narrow(const float *x, const uint8_t *which, const float *weight, const float *bias, float *y, long batch, long thin,
                          long wide, long pieces, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long r = 0; r < batch; r++)
        for (long t = 0; t < thin; t++) {
            __m512 sum = _mm512_setzero_ps();
            for (long w = 0; w < wide; w += 16) {
                __mmask16 there = first(wide - w);
                __m512 factors = _mm512_setzero_ps(); /* of the pieces that were chosen */
                for (long p = 0; p < pieces; p++) {
                    __mmask16 chosen = where(which ? which + r * wide + w : NULL, there, p);
                    factors = _mm512_mask_loadu_ps(factors, chosen, weight + (t * pieces + p) * wide + w);
                }
                sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(there, x + r * wide + w), factors, sum);
            }
            y[r * thin + t] = _mm512_reduce_add_ps(sum) + (bias ? bias[t] : 0.0f);
        }
}

/* The gradients by weight and by bias [pieces][wide] (NULL: not wanted) of a [batch][thin], b [batch][wide] and which, b's. */
static inline void thin_weight(const float *a, const float *b, const uint8_t *which, float *weight, float *bias, long batch, long thin,
                               long wide, long pieces, int threads) {
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (long p = 0; p < pieces; p++)
        for (long w = 0; w < wide; w += 16) {
            __mmask16 there = first(wide - w);
            __m512 sums[THIN], sum = _mm512_setzero_ps();
            for (long t = 0; t < THIN; t++) sums[t] = _mm512_setzero_ps();
            for (long r = 0; r < batch; r++) {
                __mmask16 chosen = where(which ? which + r * wide + w : NULL, there, p);
                __m512 factors = _mm512_maskz_loadu_ps(chosen, b + r * wide + w);
                sum = _mm512_add_ps(sum, factors);
#pragma GCC unroll 8
                for (long t = 0; t < THIN; t++) /* all of them, so that sums are registers */
                    if (t < thin) sums[t] = _mm512_fmadd_ps(_mm512_set1_ps(a[r * thin + t]), factors, sums[t]);
            }
            for (long t = 0; t < thin; t++) _mm512_mask_storeu_ps(weight + (t * pieces + p) * wide + w, there, sums[t]);
            if (bias) _mm512_mask_storeu_ps(bias + p * wide + w, there, sum);
        }
}

#endif
