/* Learning from a stream of single examples, as one deterministic machine:
 *
 *     state after n examples = f(base weights, base memory, settings,
 *                                examples 1..n in order)
 *
 * bit for bit on the same CPU type. The server's trainer, its recovery, the
 * offline replay and the experiments all run this one code.
 *
 * One example is learned by at most `max_steps` steps of SGD, each on the
 * example together with `rehearse` others (rehearsal.h): one step, and further
 * ones as long as it is not answered as taught. The rng of an example is seeded
 * by its sequence number, so nothing depends on how examples were grouped.
 *
 * One example can move the weights by at most max_steps * rate * clip in
 * Euclidean norm (without momentum and decay).
 */
#ifndef SOMA_CORE_LEARNER_H
#define SOMA_CORE_LEARNER_H

#include "core/memory.h"
#include "core/model.h"
#include "core/progressive.h"
#include "core/sgd.h"

#include <stdint.h>

/* How to learn. */
typedef struct soma_learning {
    int32_t rule;     /* of learning: SOMA_LEARNING_RULE for what is new;
                         journals that began by an older one are learned again
                         by it, up to where their settings change */
    soma_sgd sgd;     /* of each step */
    int32_t rehearse; /* examples rehearsed beside each new one; 0: none */
    int32_t memory;   /* examples of the stream that are kept for it */
    int32_t max_steps;
    float hold; /* how strongly those of the base memory are held to the scores
                   that the base model gave them (pass.h) */
    float pull; /* strength of the pull back to the base weights for models
                   without a base memory: each example moves the weights by
                   rate * pull of their way (Li et al. 2018, L2-SP) */
} soma_learning;

/* The newest rule: rehearsal.h says what it is, and what rule 0 was. */
enum { SOMA_LEARNING_RULE = 1 };

/* What the experiment of tests/learning found best. */
#define SOMA_LEARNING_DEFAULT                                                  \
    ((soma_learning){.rule = SOMA_LEARNING_RULE,                               \
                     .sgd = {.rate = 0.05f, .clip = 2},                        \
                     .rehearse = 15,                                           \
                     .memory = 1000,                                           \
                     .max_steps = 10,                                          \
                     .hold = 0.2f,                                             \
                     .pull = 0.03f})

soma_status soma_learning_check(const soma_learning *settings, soma_error *err);
bool soma_learning_equal(const soma_learning *a, const soma_learning *b);

/* Settings as bytes, for the journal. */
enum { SOMA_LEARNING_BYTES = 48 };
void soma_learning_pack(const soma_learning *settings,
                        unsigned char bytes[SOMA_LEARNING_BYTES]);
soma_status soma_learning_unpack(const void *bytes, size_t size,
                                 soma_learning *settings, soma_error *err);

/* What became of one example. It follows from the examples, so it is kept for
 * convenience: to answer a repeated request, and to list. */
typedef struct soma_lesson {
    uint64_t version; /* seq of its record: the first that contains it */
    float loss;       /* before learning it */
    int predicted;    /* the class, before learning it */
    int steps;        /* that were made */
    bool rejected;    /* its step would have made a number that is not finite:
                         recorded, but nothing changed */
} soma_lesson;

typedef struct soma_learner soma_learner;

/* At version 0: the weights are a copy of base's. `kept` is the base memory,
 * NULL for none. Both are borrowed and must outlive the learner. */
soma_learner *soma_learner_create(const soma_model *base,
                                  const soma_memory *kept,
                                  const soma_learning *settings,
                                  soma_error *err);
void soma_learner_free(soma_learner *learner); /* NULL is fine */

/* Settings in force from the next example on. */
soma_status soma_learner_configure(soma_learner *learner,
                                   const soma_learning *settings,
                                   soma_error *err);
const soma_learning *soma_learner_settings(const soma_learner *learner);

/* Learns example `seq`: x [size], label in 0..classes-1; rate 0: that of the
 * settings. A step that would make a number that is not finite changes nothing:
 * SOMA_OK with lesson->rejected. SOMA_E_MEMORY: the learner is of no further
 * use. */
soma_status soma_learner_learn(soma_learner *learner, uint64_t seq,
                               const float *x, int label, float rate,
                               soma_lesson *lesson, soma_error *err);

/* The example that will be learned after the next one, x [size], borrowed until
 * that one is learned; NULL: not known. What it makes faster is step.h's: no
 * result depends on it. */
void soma_learner_expect(soma_learner *learner, const float *x);

/* Valid until the learner changes. */
const soma_model *soma_learner_model(const soma_learner *learner);
const soma_progressive *soma_learner_progressive(const soma_learner *learner);
/* Examples of the base memory that are not retired, and all of them. */
void soma_learner_memory(const soma_learner *learner, int *active, int *kept,
                         int *stream);

/* ---- learner_state.c: all that has to be saved to go on from here ---- */

size_t soma_learner_state_size(const soma_learner *learner);
void soma_learner_save(const soma_learner *learner, unsigned char *to);
/* Settings come from the state, too. SOMA_E_FORMAT: it is not a state of this
 * model; SOMA_E_MEMORY. In both cases the learner is of no further use. */
soma_status soma_learner_load(soma_learner *learner, const unsigned char *from,
                              size_t size, soma_error *err);

#endif
