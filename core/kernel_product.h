/* The forward product for one instruction set. kernel_<set>.c includes it once
 * it has said what its vectors are:
 *
 *     LANES, lanes     floats of a vector, and its type
 *     some_lanes       says which lanes, from the first on, exist
 *     MOST_ROWS        rows of a block, at most 6
 *     WIDE(rows)       vectors of outputs in a block of so many rows
 *     KEEP(value)      the value must stand in a register: else compilers load
 *                      weights again for each row, and loads are scarce
 *     FETCH            whether to ask for weights ahead of their use
 *     TARGET, INLINE   attributes of its functions
 *     MULTIPLY         what the product is called
 *
 * A block of rows x outputs stands in registers while k runs over the inputs:
 * each step loads the weights of one input once for all its rows. Each output
 * is the sum over k in ascending order, by one accumulator that begins with
 * what y holds, with one fused multiply-add for each k. Neither the block nor
 * the set changes that. So a row's bits depend neither on the rows beside it
 * nor on the CPU, as long as that has fused multiply-adds.
 */
#include "core/matrix.h"

enum {
    CACHE_LINE = 16, /* floats */
    AHEAD = 2048,    /* floats; nearer comes too late from the third-level
                        cache, and farther ones are driven out again */
};

/* gcc leaves an array in memory if the loops over it are unrolled after it has
 * looked for what may stand in registers; clang does well when left alone. */
#ifdef __clang__
#define UNROLLED
#else
#define UNROLLED _Pragma("GCC unroll 8")
#endif

INLINE lanes
load_or_some(bool part, some_lanes some, const float *from)
{
    return part ? load_some(some, from) : load(from);
}

INLINE void
store_or_some(bool part, some_lanes some, float *to, lanes value)
{
    if (part)
        store_some(some, to, value);
    else
        store(to, value);
}

/* `rows`, `wide`, `part` and `fetch` are constants where it is inlined, so that
 * the sums stand in registers. Where `part`, the last of the `wide` vectors has
 * only some of its lanes. `fetch` floats of each line are asked for ahead. */
INLINE void
block(const int rows, const int wide, const bool part, some_lanes some,
      const int fetch, int in, int out, const float *panel, int width,
      int depth, const float *x, float *y)
{
    lanes sum[MOST_ROWS][WIDE(1)];
    UNROLLED
    for (int r = 0; r < rows; r++)
        UNROLLED
    for (int v = 0; v < wide; v++)
        sum[r][v] = load_or_some(part && v == wide - 1, some,
                                 y + (size_t)r * (size_t)out + v * LANES);
    for (int k = 0; k < depth; k++, panel += width) {
        lanes weights[WIDE(1)];
        UNROLLED
        for (int v = 0; v < wide; v++)
            weights[v] =
                load_or_some(part && v == wide - 1, some, panel + v * LANES);
        if (rows > 1)
            UNROLLED
        for (int v = 0; v < wide; v++)
            KEEP(weights[v]);
        UNROLLED
        for (int at = 0; at < fetch; at += CACHE_LINE)
            __builtin_prefetch(panel + AHEAD + at);
        UNROLLED
        for (int r = 0; r < rows; r++) {
            lanes value = spread(x[(size_t)r * (size_t)in + (size_t)k]);
            UNROLLED
            for (int v = 0; v < wide; v++)
                sum[r][v] = fused(value, weights[v], sum[r][v]);
        }
    }
    /* Where the sums go is worked out now, not kept in registers until then. */
    __asm__("" : "+r"(y), "+r"(out));
    UNROLLED
    for (int r = 0; r < rows; r++)
        UNROLLED
    for (int v = 0; v < wide; v++)
        store_or_some(part && v == wide - 1, some,
                      y + (size_t)r * (size_t)out + v * LANES, sum[r][v]);
}

/* As many vectors as are left, if no more than a block has. */
INLINE void
last_block(const int rows, const int wide, int left, int in, int out,
           const float *panel, int width, int depth, const float *x, float *y)
{
    if (wide > WIDE(rows))
        return;
    int lanes_left = left - (wide - 1) * LANES;
    if (lanes_left == LANES)
        block(rows, wide, false, first_lanes(LANES), 0, in, out, panel, width,
              depth, x, y);
    else
        block(rows, wide, true, first_lanes(lanes_left), 0, in, out, panel,
              width, depth, x, y);
}

/* All columns of a few rows. The first block of a whole panel fetches for the
 * others, if it is to fetch. */
INLINE void
columns(const int rows, bool fetch, int in, int out, const float *panel,
        int width, int depth, const float *x, float *y)
{
    const int step = WIDE(rows) * LANES;
    int j = 0;
    if (FETCH && rows > 1 && fetch && width == SOMA_PANEL) {
        block(rows, WIDE(rows), false, first_lanes(LANES), SOMA_PANEL, in, out,
              panel, width, depth, x, y);
        j = step;
    }
    for (; width - j >= step; j += step)
        block(rows, WIDE(rows), false, first_lanes(LANES), 0, in, out,
              panel + j, width, depth, x, y + j);
    int left = width - j;
#define LAST(wide)                                                             \
    case wide:                                                                 \
        last_block(rows, wide, left, in, out, panel + j, width, depth, x,      \
                   y + j);                                                     \
        break
    switch ((left + LANES - 1) / LANES) {
        LAST(1);
        LAST(2);
        LAST(3);
        LAST(4);
        LAST(5);
        LAST(6);
        LAST(7);
        LAST(8);
    default:
        break;
    }
#undef LAST
}

#define COLUMNS(rows)                                                          \
    TARGET static void columns##rows(bool fetch, int in, int out,              \
                                     const float *panel, int width, int depth, \
                                     const float *x, float *y)                 \
    {                                                                          \
        columns(rows, fetch, in, out, panel, width, depth, x, y);              \
    }
COLUMNS(1)
COLUMNS(2)
COLUMNS(3)
COLUMNS(4)
COLUMNS(5)
COLUMNS(6)
#undef COLUMNS

/* Groups of nearly the same size, of which the first fetches. */
TARGET void
MULTIPLY(int in, int out, const float *panel, int width, int depth, int rows,
         const float *x, float *y)
{
    static void (*const by_rows[])(bool, int, int, const float *, int, int,
                                   const float *, float *) = {
        columns1, columns2, columns3, columns4, columns5, columns6};
    int groups = (rows + MOST_ROWS - 1) / MOST_ROWS;
    for (bool first = true; groups > 0; groups--, first = false) {
        int some = (rows + groups - 1) / groups;
        by_rows[some - 1](first, in, out, panel, width, depth, x, y);
        x += (size_t)some * (size_t)in;
        y += (size_t)some * (size_t)out;
        rows -= some;
    }
}
