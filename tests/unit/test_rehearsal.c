/* What a learner keeps and how it holds on to it: rehearsal, retiring, held
 * scores, classes that are renamed; and how far an example moves it. */
#include "core/rehearsal.h"
#include "tests/unit/learners.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sticks_within_bounds),
        cmocka_unit_test(test_retiring),
        cmocka_unit_test(test_reservoir),
        cmocka_unit_test(test_held_scores),
        cmocka_unit_test(test_renaming),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
