/* core/learner.c: one deterministic machine; its state and its settings. */
#include "tests/unit/learners.h"

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
        cmocka_unit_test(test_former_rule),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
