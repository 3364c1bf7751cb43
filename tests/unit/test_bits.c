/* The bits of learning: journals are learned again by other compilers, on other
 * CPUs and by later versions, and replicas compare digests. If a change of the
 * arithmetic is meant, CHANGELOG.md says so, and the digests here are those of
 * the new one. */
#include "core/io/checkpoint.h"
#include "core/kernel.h"
#include "core/learner.h"
#include "tests/unit/nets.h"

#include <stdio.h>

enum { INPUTS = 70, EXAMPLES = 60, KEPT = 20, CLASSES = 10 };

typedef struct bits {
    const char *name, *loss;
    int depth;
    nets_layer layers[4];
    float momentum, l2;
    const char *digest;
} bits;

static const bits rows[] = {
    {.name = "linear",
     .loss = "softmax_cross_entropy",
     .depth = 1,
     .layers = {DENSE(CLASSES, "identity")},
     .digest = "1a377affbafa4af5d581ae17f490abb7"
               "d5c6e269621449736857232050f33fbf"},
    {.name = "two layers",
     .loss = "softmax_cross_entropy",
     .depth = 2,
     .layers = {DENSE(100, "relu"), DENSE(CLASSES, "identity")},
     .digest = "4f6ea8ac41a86f5be6a10dcff7d3f1e1"
               "a4995b6ebbbc6d013e0801e8716b3f73"},
    {.name = "saturating",
     .loss = "softmax_cross_entropy",
     .depth = 3,
     .layers = {DENSE(70, "sigmoid"), DENSE(33, "tanh"),
                DENSE(CLASSES, "identity")},
     .l2 = 0.01f,
     .digest = "26e1269a3082e57314816aa9309e2e9b"
               "c8413cea14914b8d31589a997cd48e71"},
    {.name = "pieces",
     .loss = "multiclass_hinge",
     .depth = 3,
     .layers = {MAXOUT(40, 3), DENSE(65, "leaky_relu"),
                DENSE(CLASSES, "identity")},
     .digest = "9cffa60697f62f06ea52664e1f747823"
               "ac14c7d95c29e3f261cb7e65f8757b28"},
    {.name = "momentum",
     .loss = "softmax_cross_entropy",
     .depth = 3,
     .layers = {DENSE(80, "relu"), DENSE(20, "relu"),
                DENSE(CLASSES, "identity")},
     .momentum = 0.9f,
     .digest = "d34451c0bd9583a5fdedd09d95c671d2"
               "153b84cf1ce9113635d663098e0a15d0"},
    {.name = "neuron",
     .loss = "logistic",
     .depth = 1,
     .layers = {DENSE(1, "identity")},
     .l2 = 0.01f,
     .digest = "713238072c5ff583a05c2e34c0d67c92"
               "504f6f14bc21139f53bdfd9b31ba83c9"},
};

/* Whole numbers, as pixels are: rehearsal keeps them as bytes. */
static float *
make_inputs(uint64_t seed)
{
    soma_rng rng = soma_rng_seed(seed, 0);
    float *x = nets_floats(nets_at(EXAMPLES, INPUTS));
    for (int i = 0; i < EXAMPLES * INPUTS; i++)
        x[i] = (float)soma_rng_below(&rng, 256);
    return x;
}

static soma_model *
make_base(const bits *row)
{
    soma_error err;
    soma_spec spec =
        nets_unfinished(INPUTS, row->loss, row->depth, row->layers);
    spec.input.low = 0, spec.input.high = 255, spec.input.normals = 1;
    nets_ok(soma_spec_finish(&spec, &err), &err);
    soma_model *model = nets_model(&spec, 5);
    soma_model_mean(model)[0] = 100, soma_model_std(model)[0] = 70;
    return model;
}

static void
learn(const bits *row, char digest[SOMA_DIGEST_HEX + 1])
{
    soma_error err;
    soma_learning settings = SOMA_LEARNING_DEFAULT;
    settings.sgd.momentum = row->momentum, settings.sgd.l2 = row->l2;
    settings.memory = 25;
    soma_model *base = make_base(row);
    float *x = make_inputs(6), *old = make_inputs(7);
    int *labels = nets_labels(&base->spec, EXAMPLES, 8);
    soma_memory kept;
    nets_ok(soma_memory_create(&kept, INPUTS, KEPT, &err), &err);
    for (int i = 0; i < KEPT; i++)
        nets_ok(soma_memory_put(&kept, i, old + nets_at(i, INPUTS),
                                labels[EXAMPLES - 1 - i], &err),
                &err);
    soma_learner *learner = soma_learner_create(base, &kept, &settings, &err);
    assert_non_null(learner);
    for (int i = 0; i < EXAMPLES; i++) {
        soma_lesson lesson;
        nets_ok(soma_learner_learn(learner, (uint64_t)i + 1,
                                   x + nets_at(i, INPUTS), labels[i], 0,
                                   &lesson, &err),
                &err);
        assert_false(lesson.rejected);
    }
    nets_ok(soma_model_digest(soma_learner_model(learner), digest, &err), &err);
    soma_learner_free(learner);
    soma_memory_free(&kept);
    soma_model_free(base);
    free(x), free(old), free(labels);
}

/* Without fused multiply-adds the bits are others, of which nothing is said. */
static bool
has_fused(void)
{
#ifdef __FP_FAST_FMAF
    return true;
#else
    return soma_kernel_chosen() >= SOMA_KERNEL_AVX2;
#endif
}

static void
digests_are_as_ever(void **state)
{
    (void)state;
    if (!has_fused()) {
        print_message("NOT TESTED: this CPU does not fuse multiply-adds\n");
        skip();
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int set = SOMA_KERNEL_AVX2; set <= SOMA_KERNEL_AVX512; set++) {
            char digest[SOMA_DIGEST_HEX + 1];
            soma_kernel_limit((soma_kernel_set)set);
            learn(&rows[i], digest);
            soma_kernel_limit(SOMA_KERNEL_AVX512);
            if (strcmp(digest, rows[i].digest))
                fail_msg("%s, set %d: %s, not %s", rows[i].name, set, digest,
                         rows[i].digest);
        }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(digests_are_as_ever)};
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}
