/* Batch normalization (arXiv:1502.03167) and the leaky activation after it, and their gradient, in two passes each; and the
 * smaller things that stand between convolutions.
 *
 * Maps are [rows][C] of NUMBER, which the file that includes this one defines with load16, store16 and NAME; C is a multiple of
 * 16. Statistics and parameters are float32, sums of sums are double. The batch is summed in PARTS, whatever the number of threads.
 * What is not negative passes the activation, the rest times slope: 0 is ReLU, 1 is none. Functions return 0, or 1 without memory.
 */
#include "common.h"

enum { PARTS = 64, ROWS = 32 };

/* g where z > 0, else g times slope. */
static inline __m512 leaked(__m512 z, __m512 g, __m512 slope) {
    return _mm512_mask_mul_ps(g, _mm512_cmp_ps_mask(z, _mm512_setzero_ps(), _CMP_NGT_UQ), g, slope);
}

static inline void add_to(float *sums, __m512 x) { _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_loadu_ps(sums), x)); }

/* Also writes mean and scale = 1 / sqrt(variance + eps), [C] each, and moves the running statistics, unless they are NULL. */
int NAME(norm)(const NUMBER *x, const float *gamma, const float *beta, float *running_mean, float *running_variance, NUMBER *y, float *mean,
                  float *scale, long rows, long C, float momentum, float eps, float slope, int threads) {
    float *sums = lines(PARTS * 2 * C, sizeof(float)), *line = lines(3 * C, sizeof(float)), *first = line, *a = line + C, *b = a + C;
    if (!sums || !line) {
        free(sums);
        free(line);
        return 1;
    }
    /* Sums of distances from one row: those from 0 would lose a variance that is small beside the mean. */
    for (long c = 0; c < C; c += 16) _mm512_storeu_ps(first + c, load16(x + c));
    memset(sums, 0, PARTS * 2 * C * sizeof(float));
    long part = ceil_div(rows, PARTS);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long p = 0; p < PARTS; p++)
        for (long r = p * part; r < least(rows, (p + 1) * part); r += ROWS)
            for (long c = 0; c < C; c += 16) {
                __m512 sum = _mm512_setzero_ps(), squares = sum, from = _mm512_loadu_ps(first + c);
                for (long i = r; i < least(r + ROWS, least(rows, (p + 1) * part)); i++) {
                    __m512 distance = _mm512_sub_ps(load16(x + i * C + c), from);
                    sum = _mm512_add_ps(sum, distance);
                    squares = _mm512_fmadd_ps(distance, distance, squares);
                }
                add_to(sums + p * 2 * C + c, sum);
                add_to(sums + p * 2 * C + C + c, squares);
            }
    for (long c = 0; c < C; c++) {
        double distance = 0, variance = 0;
        for (long p = 0; p < PARTS; p++) {
            distance += sums[p * 2 * C + c];
            variance += sums[p * 2 * C + C + c];
        }
        distance /= rows;
        variance = variance / rows - distance * distance;
        variance = variance > 0 ? variance : 0;
        mean[c] = (float)(first[c] + distance);
        scale[c] = (float)(1 / __builtin_sqrt(variance + eps));
        if (running_mean) {
            running_mean[c] += momentum * (mean[c] - running_mean[c]);
            running_variance[c] += momentum * ((float)(variance * rows / (rows - 1.0)) - running_variance[c]);
        }
        a[c] = gamma[c] * scale[c];
        b[c] = beta[c] - mean[c] * a[c];
    }
    const __m512 leak = _mm512_set1_ps(slope);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < C; c += 16) {
            __m512 z = _mm512_fmadd_ps(load16(x + r * C + c), _mm512_loadu_ps(a + c), _mm512_loadu_ps(b + c));
            store16(y + r * C + c, leaked(z, z, leak));
        }
    free(sums);
    free(line);
    return 0;
}

/* dx, and the gradients by gamma and beta, [C] each, given dy and what NAME(norm) read and wrote */
int NAME(norm_gradient)(const NUMBER *dy, const NUMBER *x, const float *gamma, const float *beta, const float *mean, const float *scale,
                           NUMBER *dx, float *dgamma, float *dbeta, long rows, long C, float slope, int threads) {
    float *sums = lines(PARTS * 2 * C, sizeof(float)), *line = lines(4 * C, sizeof(float));
    float *a = line, *b = a + C, *by_x = b + C, *always = by_x + C;
    if (!sums || !line) {
        free(sums);
        free(line);
        return 1;
    }
    for (long c = 0; c < C; c++) {
        a[c] = gamma[c] * scale[c];
        b[c] = beta[c] - mean[c] * a[c];
    }
    memset(sums, 0, PARTS * 2 * C * sizeof(float));
    const __m512 leak = _mm512_set1_ps(slope);
    long part = ceil_div(rows, PARTS);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long p = 0; p < PARTS; p++)
        for (long r = p * part; r < least(rows, (p + 1) * part); r += ROWS)
            for (long c = 0; c < C; c += 16) {
                __m512 sum = _mm512_setzero_ps(), moment = sum;
                __m512 A = _mm512_loadu_ps(a + c), B = _mm512_loadu_ps(b + c), m = _mm512_loadu_ps(mean + c);
                for (long i = r; i < least(r + ROWS, least(rows, (p + 1) * part)); i++) {
                    __m512 v = load16(x + i * C + c), g = leaked(_mm512_fmadd_ps(v, A, B), load16(dy + i * C + c), leak);
                    sum = _mm512_add_ps(sum, g);
                    moment = _mm512_fmadd_ps(g, _mm512_sub_ps(v, m), moment);
                }
                add_to(sums + p * 2 * C + c, sum);
                add_to(sums + p * 2 * C + C + c, moment);
            }
    for (long c = 0; c < C; c++) {
        double sum = 0, moment = 0;
        for (long p = 0; p < PARTS; p++) {
            sum += sums[p * 2 * C + c];
            moment += sums[p * 2 * C + C + c];
        }
        moment *= scale[c];
        dbeta[c] = (float)sum;
        dgamma[c] = (float)moment;
        by_x[c] = (float)(-a[c] * scale[c] * moment / rows);
        always[c] = (float)(-a[c] * sum / rows - (double)by_x[c] * mean[c]);
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < C; c += 16) {
            __m512 v = load16(x + r * C + c), A = _mm512_loadu_ps(a + c);
            __m512 g = leaked(_mm512_fmadd_ps(v, A, _mm512_loadu_ps(b + c)), load16(dy + r * C + c), leak);
            __m512 rest = _mm512_fmadd_ps(_mm512_loadu_ps(by_x + c), v, _mm512_loadu_ps(always + c));
            store16(dx + r * C + c, _mm512_fmadd_ps(A, g, rest));
        }
    free(sums);
    free(line);
    return 0;
}

/* The sums of columns, [C], which are a bias's gradient. */
int NAME(sums)(const NUMBER *x, float *total, long rows, long C, int threads) {
    float *sums = lines(PARTS * C, sizeof(float));
    if (!sums) return 1;
    memset(sums, 0, PARTS * C * sizeof(float));
    long part = ceil_div(rows, PARTS);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long p = 0; p < PARTS; p++)
        for (long r = p * part; r < least(rows, (p + 1) * part); r += ROWS)
            for (long c = 0; c < C; c += 16) {
                __m512 sum = _mm512_setzero_ps();
                for (long i = r; i < least(r + ROWS, least(rows, (p + 1) * part)); i++) sum = _mm512_add_ps(sum, load16(x + i * C + c));
                add_to(sums + p * C + c, sum);
            }
    for (long c = 0; c < C; c++) {
        double sum = 0;
        for (long p = 0; p < PARTS; p++) sum += sums[p * C + c];
        total[c] = (float)sum;
    }
    free(sums);
    return 0;
}

/* A leaky activation of so many numbers, in place. */
int NAME(leak)(NUMBER *x, long count, float slope, int threads) {
    const __m512 leak = _mm512_set1_ps(slope);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long i = 0; i < count; i += 16) {
        __m512 v = load16(x + i);
        store16(x + i, leaked(v, v, leak));
    }
    return 0;
}

/* Its gradient dx, by what it wrote: the sign is that of what it read. */
int NAME(leak_gradient)(const NUMBER *dy, const NUMBER *y, NUMBER *dx, long count, float slope, int threads) {
    const __m512 leak = _mm512_set1_ps(slope);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long i = 0; i < count; i += 16) store16(dx + i, leaked(load16(y + i), load16(dy + i), leak));
    return 0;
}
