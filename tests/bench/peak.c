/* What one core can do at most: fused multiply-adds on registers (GFLOP/s),
 * and reading memory that no cache holds (GB/s). Prints the two. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __AVX512F__
enum { BYTES = 64 };
#else
enum { BYTES = 32 };
#endif

typedef float wide __attribute__((vector_size(BYTES)));

enum { SUMS = 10, STEPS = 20000000 };

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double
gigaflops(void)
{
    wide sum[SUMS] = {{0}}, a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    double begin = now();
    for (int i = 0; i < STEPS; i++)
        for (int k = 0; k < SUMS; k++) {
            sum[k] = sum[k] * a + b;
            __asm__ volatile(
                ""
                : "+x"(sum[k])); /* not to be computed beforehand */
        }
    double time = now() - begin;
    return 2.0 * SUMS * STEPS * (double)(sizeof a / sizeof(float)) / time / 1e9;
}

static double
gigabytes(void)
{
    size_t count = (size_t)256 << 20, vectors = count / sizeof(wide);
    wide *data = aligned_alloc(64, count), sum = {0};
    if (!data)
        exit(1);
    memset(data, 0, count);
    double best = 0;
    for (int round = 0; round < 5; round++) {
        double begin = now();
        for (size_t i = 0; i < vectors; i++)
            sum += data[i];
        __asm__ volatile("" : "+x"(sum));
        double rate = (double)count / (now() - begin) / 1e9;
        best = rate > best ? rate : best;
    }
    free(data);
    return best;
}

int
main(void)
{
    printf("%.1f %.1f\n", gigaflops(), gigabytes());
    return 0;
}
