/* How the units of a dense layer choose one of their pieces, sixteen units at a time. */
#ifndef SPARRING_CHOICE_H
#define SPARRING_CHOICE_H

#include "common.h"

enum { NONE = 255 };                       /* the choice of no piece */
enum { LINEAR, LARGEST, POSITIVE, GIVEN }; /* how a unit chooses */

/* What units have chosen so far: the values, and the names of the pieces. */
typedef struct {
    __m512 value;
    __m128i which;
} Choice;

static inline __mmask16 first(long count) { return count >= 16 ? 0xffff : count <= 0 ? 0 : (__mmask16)((1u << count) - 1); }

/* Where so many units, from these on, have chosen a piece: of slopes, which is NULL for linear units. */
static inline __mmask16 where(const uint8_t *which, __mmask16 there, long piece) {
    if (!which) return there;
    return _mm_mask_cmpeq_epi8_mask(there, _mm_maskz_loadu_epi8(there, which), _mm_set1_epi8((char)piece));
}

/* Nothing seen yet; GIVEN reads its names. */
static inline Choice no_choice(const uint8_t *which, __mmask16 there, int kind) {
    Choice none = {_mm512_setzero_ps(), kind == GIVEN ? _mm_maskz_loadu_epi8(there, which) : _mm_set1_epi8((char)NONE)};
    return none;
}

/* Go on with a choice that was kept. */
static inline Choice kept_choice(const float *y, const uint8_t *which, __mmask16 there, int kind) {
    Choice kept = {_mm512_maskz_loadu_ps(there, y), kind == LINEAR ? _mm_setzero_si128() : _mm_maskz_loadu_epi8(there, which)};
    return kept;
}

/* Let units see a piece. */
static inline Choice choose(Choice kept, __m512 value, long piece, int kind) {
    __m128i name = _mm_set1_epi8((char)piece);
    __mmask16 taken = 0xffff;
    if (kind == GIVEN)
        taken = _mm_cmpeq_epi8_mask(kept.which, name);
    else if (kind == POSITIVE || piece) { /* what is not a number is taken, and kept: it must be seen */
        taken = _mm512_cmp_ps_mask(value, kept.value, _CMP_NLE_UQ);
        taken = _mm512_mask_cmp_ps_mask(taken, kept.value, kept.value, _CMP_ORD_Q);
    }
    kept.value = _mm512_mask_blend_ps(taken, kept.value, value);
    if (kind == LARGEST || kind == POSITIVE) kept.which = _mm_mask_blend_epi8(taken, kept.which, name);
    return kept;
}

static inline void keep_choice(float *y, uint8_t *which, __mmask16 there, Choice kept, int kind) {
    _mm512_mask_storeu_ps(y, there, kept.value);
    if (kind == LARGEST || kind == POSITIVE) _mm_mask_storeu_epi8(which, there, kept.which);
}

#endif
