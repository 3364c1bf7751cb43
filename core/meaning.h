/* What the classes of a base model mean by now. A stream may call something
 * else what the base model calls s: all of the 4s are taught as 9s, say. When
 * enough has said so, everything that the base model knows about s holds under
 * the new name, too.
 *
 * Heard are examples that the base model reads as s for sure. Each class has
 * the majority of their labels counted (Boyer and Moore 1991): a leader and by
 * how much it leads. A class is renamed to a leader that leads by
 * SOMA_MEANING_LEAD. Misread examples do not add up to that: few of them are
 * read for sure, and those that are, in a stream that is not of corrections
 * alone, are outvoted by the others.
 */
#ifndef SOMA_CORE_MEANING_H
#define SOMA_CORE_MEANING_H

#include "core/status.h"

#include <stdbool.h>
#include <stdint.h>

/* A lead is not counted beyond SOMA_MEANING_MOST, so that a class whose name
 * held for long can be renamed as soon as any other. */
enum { SOMA_MEANING_LEAD = 16, SOMA_MEANING_MOST = 32 };

/* Plain, without padding: it is saved as it stands. */
typedef struct soma_opinion {
    int32_t name; /* what is called that by the base model is this one now */
    int32_t leader, lead;
} soma_opinion;

typedef struct soma_meaning {
    int classes;
    soma_opinion *opinions; /* [classes] */
    bool renamed;           /* some class is not what it was */
    float *sure;            /* [classes]: the least margin, see below */
    float *scores;          /* [classes], scratch */
} soma_meaning;

/* Every class means itself, and nothing is read for sure: `sure` is the
 * caller's to lower. SOMA_E_MEMORY. */
soma_status soma_meaning_create(soma_meaning *meaning, int classes,
                                soma_error *err);
void soma_meaning_free(soma_meaning *meaning); /* zero-initialised is fine */

/* As it was made, but for `sure`. */
void soma_meaning_reset(soma_meaning *meaning);

/* By how much the highest of the scores [classes], scores[said], exceeds the
 * others. */
float soma_meaning_margin(const float *scores, int classes, int said);

/* An example of this label that the base model reads as `said` by this
 * margin. Returns whether that renamed the class. */
bool soma_meaning_hear(soma_meaning *meaning, int said, float margin,
                       int label);

/* After opinions were written from outside: false if they cannot be. */
bool soma_meaning_recount(soma_meaning *meaning);

/* The base model's scores [classes] as they are under the new names: a class
 * has the highest score of those that are called it now, or, where none is,
 * the lowest of all. */
void soma_meaning_translate(const soma_meaning *meaning, float *scores);

#endif
