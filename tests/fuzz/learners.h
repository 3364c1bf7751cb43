/* A small network that learns, and patches of bytes, for the targets of what a
 * journal holds.
 */
#ifndef SOMA_TESTS_FUZZ_LEARNERS_H
#define SOMA_TESTS_FUZZ_LEARNERS_H

#include "core/activation.h"
#include "core/learner.h"
#include "core/loss.h"
#include "tests/fuzz/files.h"

enum { INPUTS = 4, CLASSES = 3, KEPT = 6 };

/* 4-5-3, relu, softmax; the same weights each time. */
static inline soma_model *
learners_model(void)
{
    soma_spec spec = {.input = {.rank = 1, .low = 0, .high = 255}, .depth = 2};
    must(!soma_matrix_setup(NULL));
    spec.input.shape[0] = INPUTS;
    static const int units[] = {5, CLASSES};
    static const char *const names[] = {"relu", "identity"};
    for (int i = 0; i < 2; i++) {
        spec.layers[i] = (soma_layer){.units = units[i], .pieces = 1};
        must(!soma_activation_find(names[i], &spec.layers[i].activation, NULL));
    }
    must(!soma_loss_find("softmax_cross_entropy", &spec.loss, NULL));
    must(!soma_spec_finish(&spec, NULL));
    soma_model *model = soma_model_create(&spec, NULL);
    must(model);
    for (int layer = 0; layer < spec.depth; layer++) {
        int count = spec.layers[layer].in * spec.layers[layer].out;
        for (int i = 0; i < count; i++)
            soma_model_weights(model, layer)[i] =
                (float)((i * 7 + layer) % 11 - 5) / 16;
    }
    return model;
}

/* Example `i`, whole numbers of a byte. */
static inline int
learners_example(int i, float x[INPUTS])
{
    for (int j = 0; j < INPUTS; j++)
        x[j] = (float)((i * 37 + j * 91) % 256);
    return i % CLASSES;
}

static inline soma_memory
learners_memory(void)
{
    soma_memory memory;
    float x[INPUTS];
    must(!soma_memory_create(&memory, INPUTS, KEPT, NULL));
    for (int i = 0; i < KEPT; i++) {
        int label = learners_example(100 + i, x);
        must(!soma_memory_put(&memory, i, x, label, NULL));
    }
    return memory;
}

static inline soma_learning
learners_settings(void)
{
    soma_learning settings = SOMA_LEARNING_DEFAULT;
    settings.memory = 8;
    settings.max_steps = 3;
    return settings;
}

/* It has learned `count` examples. */
static inline soma_learner *
learners_taught(const soma_model *base, const soma_memory *kept, int count)
{
    soma_learning settings = learners_settings();
    soma_learner *learner = soma_learner_create(base, kept, &settings, NULL);
    soma_lesson lesson;
    float x[INPUTS];
    must(learner);
    for (int i = 1; i <= count; i++) {
        int label = learners_example(i, x);
        must(!soma_learner_learn(learner, (uint64_t)i, x, label, 0, &lesson,
                                 NULL));
    }
    return learner;
}

/* Whatever a learner was read from, its weights are finite, and stay so. */
static inline void
learners_go_on(soma_learner *learner, uint64_t seq)
{
    soma_error err = {SOMA_OK, ""};
    soma_lesson lesson;
    float x[INPUTS];
    must(soma_model_finite(soma_learner_model(learner)));
    for (int i = 0; i < 3; i++) {
        int label = learners_example(i, x);
        soma_status status = soma_learner_learn(learner, seq + (uint64_t)i, x,
                                                label, 0, &lesson, &err);
        files_explained(status, &err);
        must(!status && soma_model_finite(soma_learner_model(learner)));
    }
    soma_progress_report report =
        soma_progressive_report(soma_learner_progressive(learner), -1);
    must(report.examples >= 0); /* rejected ones do not count */
    unsigned char *state = malloc(soma_learner_state_size(learner));
    must(state);
    soma_learner_save(learner, state);
    must(!soma_learner_load(learner, state, soma_learner_state_size(learner),
                            &err));
    free(state);
}

/* Overwrites bytes [size] as the input says, and returns how many there are
 * then:
 *
 *     u24 place, little endian    u8 count    count bytes
 *
 * and so on. Count 0 cuts off what is behind the place. Places go round. */
static inline size_t
learners_patch(const uint8_t *data, size_t left, unsigned char *bytes,
               size_t size)
{
    while (left >= 4 && size > 0) {
        size_t place =
            (size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16;
        size_t count = data[3];
        data += 4, left -= 4;
        place %= size;
        if (count == 0)
            size = place;
        for (; count > 0 && left > 0; count--, left--)
            bytes[place++ % size] = *data++;
    }
    return size;
}

#endif
