/* norm.h in bfloat16. */
#include "tiles.h"

#define NUMBER bf16
#define NAME(what) sparring_##what

static inline __m512 load16(const bf16 *from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16));
}

static inline void store16(bf16 *to, __m512 x) { _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(x)); }

#include "norm.h"
