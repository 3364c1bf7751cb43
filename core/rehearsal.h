/* What is learned again beside each new example, so that learning it does not
 * undo the rest: examples of the model's own training set (the base memory,
 * which its file carries) and earlier examples of the stream.
 *
 * Retiring. A correction must win over what was true before. Each new example
 * votes on the base memory's examples that are close to it: for those of its
 * own label, against those of another. Whoever has more votes against than for
 * it is not rehearsed. Close means: the cosine between what enters the last
 * layer (with the base weights) is above that to the nearest neighbour within
 * the class for a tenth of the base memory.
 *
 * Renaming. When a whole class is taught under another name (meaning.h), its
 * examples in the base memory are rehearsed under that name, what the base
 * model said is held with the scores of the classes exchanged alike, and the
 * stream's examples that have the old name get the new one. For sure is read
 * what is close to an example of the class that is read, by at least the median
 * margin of those.
 *
 * Rules. What a journal holds must be learned again by the rule that it was
 * learned by (learner.h). Rule 0 had no renaming, called close what is close
 * for a fifth, counted votes without bound, and rehearsed the base memory at
 * every third place, never at every second.
 *
 * Shares and bounds were chosen by the experiment of tests/learning.
 *
 * The stream's examples are a reservoir, a uniform sample of all that was
 * learned (Vitter 1985, algorithm R). One that is taught again keeps one place,
 * with its newest label.
 *
 * All choices follow from the examples, in their order, and the rng that is
 * given.
 */
#ifndef SOMA_CORE_REHEARSAL_H
#define SOMA_CORE_REHEARSAL_H

#include "core/meaning.h"
#include "core/memory.h"
#include "core/pass.h"
#include "core/rng.h"

typedef struct soma_rehearsal {
    const soma_memory *kept; /* base memory, borrowed; NULL: none */
    int32_t *votes;          /* [kept->count]: for minus against */
    int *active;             /* those with votes >= 0, ascending */
    int active_count;
    /* From the base weights: */
    int features;      /* values that enter the last layer */
    float *directions; /* [kept->count x features], of length 1 */
    float *direction;  /* [features], scratch */
    float close[2];    /* cosine, of each rule */
    int outputs;
    float *scores; /* [kept->count x outputs]: what the base model says */
    const struct soma_loss *loss;

    int rule;
    soma_meaning meaning; /* no classes: none is ever renamed */
    /* Of the last example that voted: */
    bool near;             /* it is close to one of the class it was read as */
    int renamed;           /* the class that it renamed, or -1 */
    int former;            /* the former name of that class */
    int32_t *former_votes; /* [kept->count], before it */
    soma_opinion *former_opinions; /* [meaning.classes] */

    soma_memory stream;
    uint64_t *hashes; /* [stream.room], of the values */
    uint64_t offered; /* examples that the sample is of */
} soma_rehearsal;

/* `room`: of the stream's sample. ws: made for base's spec. SOMA_E_MEMORY. */
soma_status soma_rehearsal_create(soma_rehearsal *rehearsal,
                                  const soma_model *base, soma_workspace *ws,
                                  const soma_memory *kept, int room,
                                  soma_error *err);
void soma_rehearsal_free(soma_rehearsal *rehearsal);

/* Changes the room; what no longer fits is dropped. */
soma_status soma_rehearsal_resize(soma_rehearsal *rehearsal, int room,
                                  soma_error *err);

/* The rule in force from here on, 0 or 1. */
void soma_rehearsal_follow(soma_rehearsal *rehearsal, int rule);

/* Counts the votes of an example, and hears what it says of its class. x
 * [size]. */
void soma_rehearsal_vote(soma_rehearsal *rehearsal, const soma_model *base,
                         soma_workspace *ws, const float *x, int label);
/* As it was before the last vote. */
void soma_rehearsal_take_back(soma_rehearsal *rehearsal);
/* If the last vote renamed a class, so for the stream's examples. x [size],
 * scratch. */
void soma_rehearsal_rename(soma_rehearsal *rehearsal, const soma_model *base,
                           soma_workspace *ws, float *x);

/* Rows of a step, as soma_pass_deltas takes them. */
typedef struct soma_rows {
    float *x;    /* [rows x size] */
    int *labels; /* [rows] */
    float *hold; /* [rows], see pass.h */
    float *held; /* [rows x outputs] */
} soma_rows;

/* Draws `count` examples into rows 1 to count, every third of them from the
 * base memory where both parts have some; every second beside an example that
 * is near to it. Those of the base memory are held,
 * with this strength, to the scores that the base model gave them. Returns how
 * many there are: count, or 0. */
int soma_rehearsal_draw(const soma_rehearsal *rehearsal, soma_rng *rng,
                        int count, float hold, soma_rows *rows);

/* An example that was learned. SOMA_E_MEMORY: it was not taken. */
soma_status soma_rehearsal_offer(soma_rehearsal *rehearsal, soma_rng *rng,
                                 const float *x, int label, soma_error *err);

/* After `votes` were written from outside. */
void soma_rehearsal_recount(soma_rehearsal *rehearsal);

/* FNV-1a over the values' bits, eight in turn. */
uint64_t soma_rehearsal_hash(const float *x, int size);

#endif
