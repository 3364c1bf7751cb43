/* The update of a panel for one instruction set: kernel_<set>.c includes it
 * behind kernel_product.h, of whose names it needs also
 *
 *     LINES            lines of the panel (inputs) in a block, at most 4
 *     UPDATE_WIDE      vectors of a line in a block, at most 4
 *     UPDATE           what the update is called
 *
 * and, on the way, the product of the row that comes next with the new weights,
 * which would else read them all again.
 *
 * Each weight has its rows subtracted in their order, each by one fused
 * multiply-add; each sum of the next row goes over the inputs in ascending
 * order, as in kernel_product.h. Neither the block nor the set changes that:
 * the same bits by all sets that have fused multiply-adds.
 */
#include "core/kernel.h"

enum {
    ROWS = 16, /* that are taken at a time: their d stays in the cache */
    TOGETHER = UPDATE_WIDE * LANES,
};

/* What is done to a panel, from some line and some column of it on. */
typedef struct work {
    int in, width, rows;
    const float *a;      /* [rows x in] */
    const float *scaled; /* [rows x SOMA_PANEL]: rate d, 0 beyond the panel */
    float shrink;
    const float *next; /* [in]; NULL: none */
    float *y;
} work;

/* Many rows: a block of `lines` x `wide` stands in registers while all rows are
 * subtracted from it. What is constant where it is inlined is so for that. */
INLINE void
lines_of(const int lines, const int wide, const bool part, some_lanes some,
         const work *k, int i, int j, float *w)
{
    lanes line[LINES][UPDATE_WIDE];
    const float *scaled = k->scaled + j, *a = k->a + i;
    w += (size_t)i * (size_t)k->width + (size_t)j;
    UNROLLED
    for (int l = 0; l < lines; l++)
        UNROLLED
    for (int v = 0; v < wide; v++)
        line[l][v] = times(spread(k->shrink),
                           load_or_some(part && v == wide - 1, some,
                                        w + l * k->width + v * LANES));
    for (int r = 0; r < k->rows; r++, a += k->in, scaled += SOMA_PANEL) {
        lanes d[UPDATE_WIDE];
        UNROLLED
        for (int v = 0; v < wide; v++)
            d[v] = load(scaled + v * LANES);
        UNROLLED
        for (int l = 0; l < lines; l++) {
            lanes value = spread(-a[l]);
            UNROLLED
            for (int v = 0; v < wide; v++)
                line[l][v] = fused(value, d[v], line[l][v]);
        }
    }
    if (k->next)
        UNROLLED
    for (int v = 0; v < wide; v++) {
        bool masked = part && v == wide - 1;
        float *y = k->y + j + v * LANES;
        lanes sum = load_or_some(masked, some, y);
        UNROLLED
        for (int l = 0; l < lines; l++)
            sum = fused(spread(k->next[i + l]), line[l][v], sum);
        store_or_some(masked, some, y, sum);
    }
    UNROLLED
    for (int l = 0; l < lines; l++)
        UNROLLED
    for (int v = 0; v < wide; v++)
        store_or_some(part && v == wide - 1, some, w + l * k->width + v * LANES,
                      line[l][v]);
}

INLINE void
load_line(const int wide, const bool part, some_lanes some, const float *w,
          lanes *line)
{
    UNROLLED
    for (int v = 0; v < wide; v++)
        line[v] = load_or_some(part && v == wide - 1, some, w + v * LANES);
}

/* One row: what is subtracted and the sums of the next row stand in registers
 * while `wide` vectors go down all lines. To shrink by 1 changes no bits.
 *
 * Each line is loaded before the one above is stored: the mask of a store may
 * leave out what it shares with a later load, which waits for it all the same.
 */
INLINE void
one_row(const int wide, const bool part, some_lanes some, const bool multiply,
        const bool shrinks, const work *k, int j, float *w)
{
    lanes d[UPDATE_WIDE], sum[UPDATE_WIDE], line[UPDATE_WIDE];
    const int in = k->in, width = k->width;
    const float *a = k->a, *next = k->next, shrink = k->shrink;
    w += j;
    load_line(wide, false, some, k->scaled + j, d);
    if (multiply)
        load_line(wide, part, some, k->y + j, sum);
    load_line(wide, part, some, w, line);
    for (int i = 0; i < in; i++, w += width) {
        lanes value = spread(-a[i]), below[UPDATE_WIDE];
        load_line(wide, part, some, i + 1 < in ? w + width : w, below);
        UNROLLED
        for (int v = 0; v < wide; v++) {
            if (shrinks)
                line[v] = times(spread(shrink), line[v]);
            line[v] = fused(value, d[v], line[v]);
            if (multiply)
                sum[v] = fused(spread(next[i]), line[v], sum[v]);
            store_or_some(part && v == wide - 1, some, w + v * LANES, line[v]);
            line[v] = below[v];
        }
    }
    if (multiply)
        UNROLLED
    for (int v = 0; v < wide; v++)
        store_or_some(part && v == wide - 1, some, k->y + j + v * LANES,
                      sum[v]);
}

INLINE void
columns_of(const int wide, const bool part, some_lanes some, const work *k,
           int j, float *w)
{
    const bool shrinks = k->shrink < 1 || k->shrink > 1;
    if (k->rows > 1) {
        int i = 0;
        for (; i + LINES <= k->in; i += LINES)
            lines_of(LINES, wide, part, some, k, i, j, w);
        for (; i < k->in; i++)
            lines_of(1, wide, part, some, k, i, j, w);
    } else if (k->next && shrinks)
        one_row(wide, part, some, true, true, k, j, w);
    else if (k->next)
        one_row(wide, part, some, true, false, k, j, w);
    else if (shrinks)
        one_row(wide, part, some, false, true, k, j, w);
    else
        one_row(wide, part, some, false, false, k, j, w);
}

#define UPDATE_COLUMNS(wide)                                                   \
    TARGET static void update_columns##wide(some_lanes some, const work *k,    \
                                            int j, float *w)                   \
    {                                                                          \
        columns_of(wide, true, some, k, j, w);                                 \
    }
UPDATE_COLUMNS(1)
UPDATE_COLUMNS(2)
UPDATE_COLUMNS(3)
UPDATE_COLUMNS(4)
#undef UPDATE_COLUMNS

TARGET static void
all_columns(const work *k, float *w)
{
    static void (*const last[])(some_lanes, const work *, int, float *) = {
        update_columns1, update_columns2, update_columns3, update_columns4};
    int j = 0;
    for (; j + TOGETHER <= k->width; j += TOGETHER)
        columns_of(UPDATE_WIDE, false, first_lanes(LANES), k, j, w);
    if (j == k->width)
        return;
    int whole = (k->width - j - 1) / LANES;
    last[whole](first_lanes(k->width - j - whole * LANES), k, j, w);
}

TARGET void
UPDATE(const soma_kernel_step *step, float *panel)
{
    float scaled[ROWS * SOMA_PANEL] = {0};
    work k = {.in = step->in,
              .width = step->width,
              .scaled = scaled,
              .shrink = step->shrink,
              .y = step->y};
    for (int from = 0; from < step->rows; from += k.rows, k.shrink = 1) {
        k.rows = step->rows - from < ROWS ? step->rows - from : ROWS;
        k.a = step->a + (size_t)from * (size_t)step->in;
        k.next = from + k.rows == step->rows ? step->next : NULL;
        const float *d = step->d + (size_t)from * (size_t)step->out;
        for (int r = 0; r < k.rows; r++, d += step->out)
            for (int j = 0; j < k.width; j++)
                scaled[r * SOMA_PANEL + j] = step->rate * d[j];
        all_columns(&k, panel);
    }
}
