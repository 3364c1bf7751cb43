/* The forward product for any CPU: vectors of 4 floats, which x86-64 and ARM
 * have. Whether a multiply-add is fused is said, not left to the compiler,
 * which might do it for one row and not for four. */
#include "core/kernel_parts.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define TARGET
#define INLINE __attribute__((always_inline)) static inline

enum { LANES = 4, MOST_ROWS = 6, LINES = 2, FETCH = 0 };

#define WIDE(rows) ((rows) == 1 ? 8 : (rows) <= 3 ? 4 : 2)

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int some_lanes;

INLINE some_lanes
first_lanes(int count)
{
    return count;
}

INLINE lanes
load(const float *from)
{
    lanes value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE lanes
load_some(some_lanes some, const float *from)
{
    lanes value = {0};
    for (int i = 0; i < some; i++)
        value[i] = from[i];
    return value;
}

INLINE void
store(float *to, lanes value)
{
    memcpy(to, &value, sizeof value);
}

INLINE void
store_some(some_lanes some, float *to, lanes value)
{
    for (int i = 0; i < some; i++)
        to[i] = value[i];
}

INLINE lanes
spread(float value)
{
    return (lanes){value, value, value, value};
}

INLINE lanes
times(lanes a, lanes b)
{
    return a * b;
}

INLINE lanes
fused(lanes a, lanes b, lanes c)
{
#ifdef __FP_FAST_FMAF
    for (int i = 0; i < LANES; i++)
        c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#else
    return a * b + c; /* no CPU of this kind could fuse it */
#endif
}

INLINE float
fused_one(float a, float b, float c)
{
#ifdef __FP_FAST_FMAF
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

#define KEEP(value) (void)(value)
#define MULTIPLY    soma_kernel_multiply_plain
#define UPDATE      soma_kernel_update_plain
#define UPDATE_WIDE 4
#define DOT         soma_kernel_dot_plain

#include "core/kernel_product.h"

#include "core/kernel_dot.h"
#include "core/kernel_update.h"
