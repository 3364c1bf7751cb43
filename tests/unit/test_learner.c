/* core/learner.c: one deterministic machine; its state; rehearsal. */
#include "core/learner.h"
#include "core/loss.h"
#include "core/rehearsal.h"
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

static int
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

static soma_model *
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

static void
make_memory(soma_memory *memory, int count)
{
    nets_ok(soma_memory_create(memory, SIZE, count, &err), &err);
    for (int i = 0; i < count; i++)
        nets_ok(soma_memory_put(memory, i, inputs + (EXAMPLES - 1 - i) * SIZE,
                                labels[EXAMPLES - 1 - i], &err),
                &err);
}

static soma_learner *
make(const soma_model *base, const soma_memory *kept,
     const soma_learning *settings)
{
    soma_learner *learner = soma_learner_create(base, kept, settings, &err);
    assert_non_null(learner);
    return learner;
}

static soma_lesson
teach(soma_learner *learner, int i, uint64_t seq)
{
    soma_lesson lesson;
    nets_ok(soma_learner_learn(learner, seq, inputs + i * SIZE, labels[i], 0,
                               &lesson, &err),
            &err);
    return lesson;
}

/* The same, told of what comes after it. */
static soma_lesson
teach_with(soma_learner *learner, int i, uint64_t seq, int after)
{
    soma_learner_expect(learner, inputs + after * SIZE);
    return teach(learner, i, seq);
}

static unsigned char *
state_of(const soma_learner *learner, size_t *size)
{
    *size = soma_learner_state_size(learner);
    unsigned char *state = nets_alloc(*size, 1);
    soma_learner_save(learner, state);
    return state;
}

static void
expect_same(const soma_learner *a, const soma_learner *b)
{
    size_t size, other;
    unsigned char *x = state_of(a, &size), *y = state_of(b, &other);
    assert_int_equal(size, other);
    assert_memory_equal(x, y, size);
    free(x);
    free(y);
}

/* The same examples give the same state; another order does not. */
static void
test_deterministic(void **state)
{
    (void)state;
    soma_memory kept;
    soma_model *base = make_base();
    make_memory(&kept, 10);
    soma_learner *a = make(base, &kept, &plain), *b = make(base, &kept, &plain),
                 *c = make(base, &kept, &plain);
    for (int i = 0; i < 40; i++) {
        teach(a, i, (uint64_t)i + 1);
        teach(b, i, (uint64_t)i + 1);
        teach(c, 39 - i, (uint64_t)i + 1);
    }
    expect_same(a, b);
    size_t n = base->spec.trainable * sizeof(float);
    assert_memory_not_equal(soma_learner_model(a)->params,
                            soma_learner_model(c)->params, n);
    assert_memory_not_equal(soma_learner_model(a)->params, base->params, n);
    soma_learner_free(a);
    soma_learner_free(b);
    soma_learner_free(c);
    soma_memory_free(&kept);
    soma_model_free(base);
}

/* To expect an example changes no result, whether it comes or not, whatever
 * moves the weights in between. */
static void
test_expecting(void **state)
{
    (void)state;
    soma_model *base = make_base();
    soma_memory kept;
    make_memory(&kept, 10);
    for (int variant = 0; variant < 16; variant++) {
        soma_learning settings = plain;
        settings.sgd.momentum = variant & 1 ? 0.5f : 0;
        settings.rehearse = variant & 2 ? 5 : 0;
        settings.max_steps = variant & 4 ? 4 : 1;
        const soma_memory *memory = variant & 8 ? &kept : NULL;
        soma_learner *a = make(base, memory, &settings),
                     *b = make(base, memory, &settings);
        unsigned char *saved = NULL;
        size_t size = 0;
        for (int i = 0; i < 40; i++) {
            int after = i % 7 ? i + 1 : i;
            soma_lesson told =
                teach_with(a, i, (uint64_t)i + 1, after < 40 ? after : 0);
            soma_lesson untold = teach(b, i, (uint64_t)i + 1);
            assert_int_equal(told.steps, untold.steps);
            if (i == 10)
                saved = state_of(b, &size);
            if (i == 20) {
                nets_ok(soma_learner_load(a, saved, size, &err), &err);
                nets_ok(soma_learner_load(b, saved, size, &err), &err);
            }
            expect_same(a, b);
        }
        free(saved);
        soma_learner_free(a);
        soma_learner_free(b);
    }
    soma_memory_free(&kept);
    soma_model_free(base);
}

/* Saved at any point and loaded into a fresh learner, it goes on the same, with
 * momentum or without, with a memory or without, bytes or floats. */
static void
test_state(void **state)
{
    (void)state;
    soma_model *base = make_base();
    for (int variant = 0; variant < 8; variant++) {
        soma_learning settings = plain;
        soma_memory kept;
        size_t size;
        settings.sgd.momentum = variant & 1 ? 0.5f : 0;
        make_memory(&kept, variant & 2 ? 10 : 0);
        soma_learner *a = make(base, &kept, &settings);
        for (int i = 0; i < 40; i++) {
            if (i == 20 && variant & 4)
                inputs[i * SIZE] += 0.25f;
            teach(a, i, (uint64_t)i + 1);
            if (i % 9)
                continue;
            unsigned char *saved = state_of(a, &size);
            soma_learner *b = make(base, &kept, &plain);
            teach(b, 50, 77); /* whatever it was before */
            nets_ok(soma_learner_load(b, saved, size, &err), &err);
            expect_same(a, b);
            soma_learner *c = make(base, &kept, &plain);
            nets_ok(soma_learner_load(c, saved, size, &err), &err);
            teach(b, 51, 100);
            teach(c, 51, 100);
            expect_same(b, c);
            soma_learner_free(b);
            soma_learner_free(c);
            free(saved);
        }
        soma_learner_free(a);
        soma_memory_free(&kept);
    }
    soma_model_free(base);
}

static void
test_wrong_state(void **state)
{
    (void)state;
    size_t size;
    soma_model *base = make_base();
    soma_learner *a = make(base, NULL, &plain), *b = make(base, NULL, &plain);
    teach(a, 0, 1);
    unsigned char *saved = state_of(a, &size);
    for (size_t cut = 0; cut < size; cut += 1 + size / 200)
        assert_int_equal(soma_learner_load(b, saved, cut, &err), SOMA_E_FORMAT);
    saved[0] ^= 1;
    assert_int_equal(soma_learner_load(b, saved, size, &err), SOMA_E_FORMAT);
    free(saved);
    soma_learner_free(a);
    soma_learner_free(b);
    soma_model_free(base);
}

/* What is not finite changes nothing: not the weights, not the memory, not
 * what is counted. */
static void
test_rejected(void **state)
{
    (void)state;
    static float huge[SIZE];
    soma_memory kept;
    soma_model *base = make_base();
    soma_learning wild = plain;
    make_memory(&kept, 10);
    wild.sgd.clip = 0;
    wild.sgd.rate = 1000;
    wild.rehearse = 0;
    for (int k = 0; k < SIZE; k++)
        huge[k] = 3e38f;
    soma_learner *a = make(base, &kept, &wild);
    int rejected = 0;
    for (int label = 0; label < CLASSES; label++) {
        soma_lesson lesson;
        size_t size, other;
        unsigned char *before = state_of(a, &size);
        nets_ok(soma_learner_learn(a, 1, huge, label, 0, &lesson, &err), &err);
        rejected += lesson.rejected;
        unsigned char *after = state_of(a, &other);
        if (lesson.rejected)
            assert_true(size == other && !memcmp(before, after, size));
        free(before);
        free(after);
    }
    assert_true(rejected > 0);
    soma_learner_free(a);
    soma_memory_free(&kept);
    soma_model_free(base);
}

/* A misread example is answered as taught afterwards, within max_steps; and no
 * example moves the weights farther than rate * clip * max_steps. */
static void
test_sticks_within_bounds(void **state)
{
    (void)state;
    soma_model *base = make_base();
    soma_learning settings = plain;
    settings.pull = 0;
    soma_learner *learner = make(base, NULL, &settings);
    soma_model *before = soma_model_clone(base, &err);
    int stuck = 0, wrong = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        soma_model_copy(before, soma_learner_model(learner));
        soma_lesson lesson = teach(learner, i, (uint64_t)i + 1);
        double square = 0;
        for (size_t k = 0; k < base->spec.trainable; k++) {
            double moved = (double)soma_learner_model(learner)->params[k] -
                           (double)before->params[k];
            square += moved * moved;
        }
        assert_in_range(lesson.steps, 1, 6);
        assert_true(sqrt(square) <= 0.1 * 2 * lesson.steps * (1 + 1e-4));
        if (lesson.predicted == labels[i]) {
            assert_int_equal(lesson.steps, 1);
            continue;
        }
        wrong++;
        stuck += teach(learner, i, (uint64_t)i + 1000).predicted == labels[i];
    }
    assert_true(wrong > 5);
    assert_true(stuck >= wrong * 9 / 10);
    soma_model_free(before);
    soma_learner_free(learner);
    soma_model_free(base);
}

/* An example of the memory that new ones contradict is retired, and comes back
 * when they agree again. */
static void
test_retiring(void **state)
{
    (void)state;
    soma_memory kept;
    soma_model *base = make_base();
    int active, again, all, stream;
    make_memory(&kept, 20);
    soma_learner *learner = make(base, &kept, &plain);
    float x[SIZE];
    soma_lesson lesson;
    soma_memory_get(&kept, 3, x);
    int other = (kept.labels[3] + 1) % CLASSES;
    soma_learner_memory(learner, &active, &all, &stream);
    assert_int_equal(active, 20);
    nets_ok(soma_learner_learn(learner, 1, x, other, 0, &lesson, &err), &err);
    soma_learner_memory(learner, &active, &all, &stream);
    assert_true(active < 20);
    assert_int_equal(all, 20);
    assert_int_equal(stream, 1);
    nets_ok(soma_learner_learn(learner, 2, x, kept.labels[3], 0, &lesson, &err),
            &err);
    soma_learner_memory(learner, &again, &all, &stream);
    assert_true(again > active);
    assert_int_equal(stream, 1); /* one picture, its newest label */
    soma_learner_free(learner);
    soma_memory_free(&kept);
    soma_model_free(base);
}

/* The sample is uniform: each of 40 examples is in the 10 places about as
 * often. */
static void
test_reservoir(void **state)
{
    (void)state;
    enum { RUNS = 4000, OFFERED = 40, ROOM = 10 };
    soma_model *base = make_base();
    soma_workspace *ws =
        soma_workspace_create(&base->spec, 1, SOMA_PASS_PREDICT, &err);
    int seen[OFFERED] = {0};
    for (uint64_t run = 0; run < RUNS; run++) {
        soma_rehearsal r;
        soma_rng rng = soma_rng_seed(9, run);
        nets_ok(soma_rehearsal_create(&r, base, ws, NULL, ROOM, &err), &err);
        for (int i = 0; i < OFFERED; i++)
            nets_ok(soma_rehearsal_offer(&r, &rng, inputs + i * SIZE, i, &err),
                    &err);
        assert_int_equal(r.stream.count, ROOM);
        for (int i = 0; i < ROOM; i++)
            seen[r.stream.labels[i]]++;
        soma_rehearsal_free(&r);
    }
    /* Binomial(4000, 1/4): 1000, deviation 27. */
    for (int i = 0; i < OFFERED; i++)
        assert_in_range(seen[i], 1000 - 150, 1000 + 150);
    soma_workspace_free(ws);
    soma_model_free(base);
}

/* Held scores: the gradient is that of hold / 2 |s - held|^2, by differences.
 */
static void
test_held_scores(void **state)
{
    (void)state;
    soma_model *base = make_base();
    size_t n = base->spec.trainable;
    soma_workspace *ws =
        soma_workspace_create(&base->spec, 2, SOMA_PASS_LEARN, &err);
    float *with = nets_alloc(n, sizeof *with),
          *none = nets_alloc(n, sizeof *with);
    float hold[2] = {0, 0.7f}, held[2 * CLASSES] = {0, 0, 0, 0, 1, -2, 0.5f, 3};
    soma_pass_options options = {.hold = hold, .held = held};
    soma_pass_gradient(base, ws, 2, inputs, labels, &options, with);
    soma_pass_gradient(base, ws, 2, inputs, labels, NULL, none);
    for (size_t k = 0; k < n; k += 7) {
        double side[2];
        float kept = base->params[k];
        for (int d = 0; d < 2; d++) {
            base->params[k] = kept + (d ? 1e-2f : -1e-2f);
            const float *s = soma_pass_forward(base, ws, 2, inputs);
            side[d] = 0;
            for (int j = 0; j < CLASSES; j++) {
                double off = (double)s[CLASSES + j] - (double)held[CLASSES + j];
                side[d] += 0.5 * 0.7 * off * off / 2; /* mean of two rows */
            }
        }
        double step = (double)(kept + 1e-2f) - (double)(kept - 1e-2f);
        base->params[k] = kept;
        double expected = (side[1] - side[0]) / step;
        double got = (double)with[k] - (double)none[k];
        assert_true(fabs(got - expected) <= 2e-2 * (1 + fabs(expected)));
    }
    free(with);
    free(none);
    soma_workspace_free(ws);
    soma_model_free(base);
}

/* The base model reads what it was made to read: a learner that is taught a
 * class under another name renames it, keeps that in its state, and the former
 * rule has neither. */
static void
test_renaming(void **state)
{
    (void)state;
    soma_memory kept;
    soma_model *base = make_base();
    soma_learning settings = plain;
    soma_lesson lesson;
    size_t size, without = 0;
    int active[2], all, stream;
    float x[SIZE];
    make_memory(&kept, 40);
    soma_workspace *ws =
        soma_workspace_create(&base->spec, 1, SOMA_PASS_PREDICT, &err);
    for (int i = 0; i < kept.count; i++) {
        soma_memory_get(&kept, i, x);
        kept.labels[i] = soma_loss_decide(base->spec.loss, CLASSES,
                                          soma_pass_forward(base, ws, 1, x));
    }
    int from = kept.labels[0], to = (from + 1) % CLASSES;
    settings.memory = 100;
    for (settings.rule = 0; settings.rule < 2; settings.rule++) {
        soma_learner *a = make(base, &kept, &settings);
        for (uint64_t seq = 1; seq <= 200; seq++) {
            int i = (int)(seq % (uint64_t)kept.count);
            soma_memory_get(&kept, i, x);
            int label = kept.labels[i] == from ? to : kept.labels[i];
            nets_ok(soma_learner_learn(a, seq, x, label, 0, &lesson, &err),
                    &err);
        }
        soma_learner_memory(a, &active[settings.rule], &all, &stream);
        unsigned char *saved = state_of(a, &size);
        soma_learner *b = make(base, &kept, &plain);
        nets_ok(soma_learner_load(b, saved, size, &err), &err);
        expect_same(a, b);
        if (settings.rule) {
            size_t at = 104 + base->spec.trainable * sizeof(float) +
                        (size_t)kept.count * sizeof(int32_t);
            assert_int_equal(size - without, CLASSES * sizeof(soma_opinion));
            soma_opinion opinions[CLASSES];
            memcpy(opinions, saved + at, sizeof opinions);
            for (int k = 0; k < CLASSES; k++)
                assert_int_equal(opinions[k].name, k == from ? to : k);
            saved[at] = CLASSES; /* an opinion that names no class */
            assert_int_equal(soma_learner_load(b, saved, size, &err),
                             SOMA_E_FORMAT);
        }
        without = size;
        free(saved);
        soma_learner_free(a);
        soma_learner_free(b);
    }
    assert_true(active[0] < active[1]);
    soma_workspace_free(ws);
    soma_memory_free(&kept);
    soma_model_free(base);
}

/* A journal of before goes on being learned by rule 0, and one of a newer soma
 * is refused. */
static void
test_former_rule(void **state)
{
    (void)state;
    unsigned char packed[SOMA_LEARNING_BYTES];
    soma_learning former = plain, read;
    former.rule = 0;
    soma_learning_pack(&former, packed);
    assert_int_equal(packed[2], 0); /* as it was when there was one rule */
    nets_ok(soma_learning_unpack(packed, sizeof packed, &read, &err), &err);
    assert_int_equal(read.rule, 0);
    packed[2] = SOMA_LEARNING_RULE + 1;
    assert_int_equal(soma_learning_unpack(packed, sizeof packed, &read, &err),
                     SOMA_E_ARGUMENT);
    assert_string_equal(err.text, "rule of learning: expected 0 to 1, got 2");
}

static void
test_settings(void **state)
{
    (void)state;
    unsigned char packed[SOMA_LEARNING_BYTES];
    soma_learning read, wrong = plain;
    soma_learning_pack(&plain, packed);
    nets_ok(soma_learning_unpack(packed, sizeof packed, &read, &err), &err);
    assert_true(soma_learning_equal(&plain, &read));
    read.hold = 0.2f;
    assert_false(soma_learning_equal(&plain, &read));
    assert_int_equal(soma_learning_unpack(packed, 10, &read, &err),
                     SOMA_E_FORMAT);
    wrong.max_steps = 0;
    assert_int_equal(soma_learning_check(&wrong, &err), SOMA_E_ARGUMENT);
    assert_string_equal(err.text, "max-steps: expected 1 to 1000, got 0");
    wrong = plain;
    wrong.pull = NAN;
    assert_int_equal(soma_learning_check(&wrong, &err), SOMA_E_ARGUMENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_expecting),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_wrong_state),
        cmocka_unit_test(test_rejected),
        cmocka_unit_test(test_sticks_within_bounds),
        cmocka_unit_test(test_retiring),
        cmocka_unit_test(test_reservoir),
        cmocka_unit_test(test_held_scores),
        cmocka_unit_test(test_renaming),
        cmocka_unit_test(test_former_rule),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
