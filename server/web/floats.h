/* A growing row of float32, that may start in somebody else's memory.
 */
#ifndef SOMA_WEB_FLOATS_H
#define SOMA_WEB_FLOATS_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct soma_floats {
    float *data;
    size_t used, room;
    size_t most; /* floats it may grow to */
    bool owned;  /* data is malloc'ed: it has left the lender's memory */
} soma_floats;

/* Starts in `lent`, which must outlive it; moves to memory of its own when
 * `room` is not enough. lent may be NULL with room 0. */
soma_floats soma_floats_lent(float *lent, size_t room, size_t most);
void soma_floats_free(soma_floats *floats);

/* Makes room for `more` further ones. SOMA_E_LIMIT beyond `most`. */
soma_status soma_floats_reserve(soma_floats *floats, size_t more,
                                soma_error *err);

/* Keeps floats [first, first + count) only, at the start of memory of its own:
 * the lender's is not used any more. */
soma_status soma_floats_own(soma_floats *floats, size_t first, size_t count,
                            soma_error *err);

#endif
