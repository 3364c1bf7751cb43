/* What must be true: the journal's records learned once more, in order, by a
 * learner of its own, as they are appended. Each example carries a number.
 *
 * A crash of the server that loses records begins a new history; what was the
 * case in the former ones is remembered, since replicas that learned it have to
 * notice.
 */
#ifndef SOMA_TESTS_SIMULATION_ORACLE_H
#define SOMA_TESTS_SIMULATION_ORACLE_H

#include "core/learner.h"

#include <stdbool.h>
#include <stdint.h>

/* Examples: x[0..2] are the bytes of their number, the label follows of it. */
enum { ORACLE_NUMBER = 3 };
void oracle_example(uint32_t number, float *x, int size);
uint32_t oracle_number(const float *x);

typedef enum oracle_word {
    ORACLE_NEVER, /* no history ever had that */
    ORACLE_LOST,  /* the server has lost it */
    ORACLE_TRUE   /* the history as it is now has it */
} oracle_word;

/* `fail` is told what is wrong, once found. The base is borrowed. */
void oracle_begin(const soma_model *base, const soma_memory *kept,
                  void (*fail)(const char *format, ...)
                      __attribute__((format(printf, 1, 2))));
void oracle_end(void);

/* After each command that has written: learns what is new, and looks at what
 * was trimmed. */
void oracle_follow(void);
/* The server has come back without its last commands: how many records it has
 * lost. */
uint64_t oracle_forget(void);

/* The oldest record that is kept, and the newest. */
uint64_t oracle_first(void);
uint64_t oracle_last(void);
/* The weights of that version, by their sum. */
uint64_t oracle_sum(const soma_model *model);
oracle_word oracle_knows(uint64_t version, uint64_t sum);
/* Whether a former history had that, which the server has lost, even if it has
 * the same again. */
bool oracle_has_lost(uint64_t version, uint64_t sum);
/* Example `number` is record `lesson->version`, and that is its lesson. */
oracle_word oracle_learned(uint32_t number, const soma_lesson *lesson);

#endif
