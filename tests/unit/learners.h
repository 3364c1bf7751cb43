/* A small model, examples of its own, and learners that begin with it.
 */
#ifndef SOMA_TESTS_UNIT_LEARNERS_H
#define SOMA_TESTS_UNIT_LEARNERS_H

#include "core/learner.h"
#include "core/loss.h"
#include "tests/unit/nets.h"

enum { SIZE = 16, CLASSES = 4, EXAMPLES = 60 };

static soma_error err;
static float inputs[EXAMPLES * SIZE];
static int labels[EXAMPLES];

static const soma_learning plain = {.rule = SOMA_LEARNING_RULE,
                                    .sgd = {.rate = 0.1f, .clip = 2},
                                    .rehearse = 5,
                                    .memory = 12,
                                    .max_steps = 6,
                                    .hold = 0.1f,
                                    .pull = 0.02f};

static inline int
set_up(void **state)
{
    soma_rng rng = soma_rng_seed(3, 0);
    for (int i = 0; i < EXAMPLES; i++) {
        labels[i] = (int)soma_rng_below(&rng, CLASSES);
        for (int k = 0; k < SIZE; k++)
            inputs[i * SIZE + k] = (float)(int)soma_rng_below(&rng, 128) +
                                   (k % CLASSES == labels[i] ? 100.0f : 0.0f);
    }
    return nets_setup(state);
}

static inline soma_model *
make_base(void)
{
    soma_spec spec = {.depth = 2};
    spec.input =
        (soma_input){.rank = 1, .shape = {SIZE}, .high = 255, .normals = 1};
    soma_activation_find("relu", &spec.layers[0].activation, NULL);
    soma_activation_find("identity", &spec.layers[1].activation, NULL);
    spec.layers[0].units = 9;
    spec.layers[1].units = CLASSES;
    spec.layers[0].pieces = spec.layers[1].pieces = 1;
    soma_loss_find("softmax_cross_entropy", &spec.loss, NULL);
    nets_ok(soma_spec_finish(&spec, &err), &err);
    soma_model *model = soma_model_create(&spec, &err);
    soma_rng rng = soma_rng_seed(1, 0);
    soma_model_init(model, &rng);
    soma_model_mean(model)[0] = 90;
    soma_model_std(model)[0] = 60;
    return model;
}

static inline void
make_memory(soma_memory *memory, int count)
{
    nets_ok(soma_memory_create(memory, SIZE, count, &err), &err);
    for (int i = 0; i < count; i++)
        nets_ok(soma_memory_put(memory, i, inputs + (EXAMPLES - 1 - i) * SIZE,
                                labels[EXAMPLES - 1 - i], &err),
                &err);
}

static inline soma_learner *
make(const soma_model *base, const soma_memory *kept,
     const soma_learning *settings)
{
    soma_learner *learner = soma_learner_create(base, kept, settings, &err);
    assert_non_null(learner);
    return learner;
}

static inline soma_lesson
teach(soma_learner *learner, int i, uint64_t seq)
{
    soma_lesson lesson;
    nets_ok(soma_learner_learn(learner, seq, inputs + i * SIZE, labels[i], 0,
                               &lesson, &err),
            &err);
    return lesson;
}

/* The same, told of what comes after it. */
static inline soma_lesson
teach_with(soma_learner *learner, int i, uint64_t seq, int after)
{
    soma_learner_expect(learner, inputs + after * SIZE);
    return teach(learner, i, seq);
}

static inline unsigned char *
state_of(const soma_learner *learner, size_t *size)
{
    *size = soma_learner_state_size(learner);
    unsigned char *state = nets_alloc(*size, 1);
    soma_learner_save(learner, state);
    return state;
}

static inline void
expect_same(const soma_learner *a, const soma_learner *b)
{
    size_t size, other;
    unsigned char *x = state_of(a, &size), *y = state_of(b, &other);
    assert_int_equal(size, other);
    assert_memory_equal(x, y, size);
    free(x);
    free(y);
}

#endif
