/* Shifts and flips: every outcome against one worked out pixel by pixel. */
#include "core/augment.h"

#include "tests/unit/nets.h"

static soma_input
input_of(int rank, const int *shape)
{
    soma_spec spec = nets_unfinished(1, "softmax_cross_entropy", 1,
                                     NETS_LAYERS{DENSE(2, "identity")});
    spec.input.rank = rank;
    memcpy(spec.input.shape, shape, (size_t)rank * sizeof *shape);
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
    return spec.input;
}

#define INPUT(...)                                                             \
    input_of(sizeof((int[]){__VA_ARGS__}) / sizeof(int), (int[]){__VA_ARGS__})

static int
nearest(int i, int count)
{
    if (i < 0)
        return 0;
    return i < count ? i : count - 1;
}

/* Pixel (y, x) of a picture that was mirrored, then moved. */
static float
expected_at(const soma_input *input, const float *from, int plane, int y, int x,
            int down, int right, bool mirror)
{
    int height = input->shape[input->rank - 2];
    int width = input->shape[input->rank - 1];
    y = nearest(y - down, height);
    x = nearest(x - right, width);
    if (mirror)
        x = width - 1 - x;
    return from[(plane * height + y) * width + x];
}

static bool
matches(const soma_input *input, const float *from, const float *to, int down,
        int right, bool mirror)
{
    int height = input->shape[input->rank - 2];
    int width = input->shape[input->rank - 1];
    int planes = input->size / height / width;
    for (int p = 0; p < planes; p++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                if (to[(p * height + y) * width + x] !=
                    expected_at(input, from, p, y, x, down, right, mirror))
                    return false;
    return true;
}

/* Each result is one of the (2 shift + 1)^2 shifts, mirrored or not; each of
 * them comes up, about as often as the others. */
static void
check_outcomes(soma_input input, soma_augment augment)
{
    enum { TRIES = 20000 };
    float *from = nets_floats((size_t)input.size);
    float *to = nets_floats((size_t)input.size + 1);
    for (int i = 0; i < input.size; i++)
        from[i] = (float)(i * 7 % 1009);
    to[input.size] = -5;
    int shift = augment.shift, side = 2 * shift + 1, flips = augment.flip + 1;
    int outcomes = side * side * flips;
    int *counts = nets_alloc((size_t)outcomes, sizeof *counts);
    soma_rng rng = soma_rng_seed(1, 0);
    nets_ok(soma_augment_check(&augment, &input, NULL), &(soma_error){0});
    for (int t = 0; t < TRIES; t++) {
        soma_augment_apply(&augment, &input, &rng, from, to);
        int found = -1;
        for (int k = 0; k < outcomes && found < 0; k++)
            if (matches(&input, from, to, k / flips / side - shift,
                        k / flips % side - shift, k % flips))
                found = k;
        if (found < 0)
            fail_msg("no shift of at most %d gives this", shift);
        counts[found]++;
    }
    assert_true(to[input.size] == -5);
    double expected = (double)TRIES / outcomes;
    for (int k = 0; k < outcomes; k++)
        assert_true(fabs(counts[k] - expected) < 5 * sqrt(expected));
    free(from), free(to), free(counts);
}

static void
test_outcomes(void **state)
{
    (void)state;
    check_outcomes(INPUT(6, 5), (soma_augment){.shift = 2, .flip = true});
    check_outcomes(INPUT(3, 4, 5), (soma_augment){.shift = 1, .flip = true});
    check_outcomes(INPUT(2, 2, 3, 4), (soma_augment){.shift = 1});
    check_outcomes(INPUT(1, 4, 4), (soma_augment){.shift = 3});
    check_outcomes(INPUT(4, 3), (soma_augment){.flip = true});
    check_outcomes(INPUT(3, 1, 5), (soma_augment){.flip = true});
}

/* One picture, moved one down and one right, as it looks on paper. */
static void
test_on_paper(void **state)
{
    (void)state;
    const float from[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const float moved[] = {1, 1, 2, 1, 1, 2, 4, 4, 5};
    const float mirrored[] = {3, 2, 1, 6, 5, 4, 9, 8, 7};
    soma_input input = INPUT(3, 3);
    soma_rng rng = soma_rng_seed(2, 0);
    float to[9];
    int seen = 0;
    for (int t = 0; t < 1000; t++) {
        soma_augment_apply(&(soma_augment){.shift = 1, .flip = true}, &input,
                           &rng, from, to);
        seen |= !memcmp(to, moved, sizeof to);
        seen |= 2 * !memcmp(to, mirrored, sizeof to);
        seen |= 4 * !memcmp(to, from, sizeof to);
    }
    assert_int_equal(seen, 7);
}

/* Nothing to do: a copy, without a draw. */
static void
test_nothing(void **state)
{
    (void)state;
    const soma_augment none = {0, false};
    soma_input input = INPUT(7);
    soma_rng rng = soma_rng_seed(3, 0), same = rng;
    float from[] = {1, 2, 3, 4, 5, 6, 7}, to[7] = {0};
    nets_ok(soma_augment_check(&none, &input, NULL), &(soma_error){0});
    soma_augment_apply(&none, &input, &rng, from, to);
    assert_memory_equal(to, from, sizeof from);
    assert_memory_equal(&rng, &same, sizeof rng);
}

static void
test_reproducible(void **state)
{
    (void)state;
    soma_input input = INPUT(3, 4, 4);
    const soma_augment augment = {1, true};
    soma_rng a = soma_rng_seed(4, 0), b = a;
    float from[48], left[48], right[48];
    nets_fill(&(soma_rng){{1, 2, 3, 4}}, 0, 255, 48, from);
    for (int t = 0; t < 20; t++) {
        soma_augment_apply(&augment, &input, &a, from, left);
        soma_augment_apply(&augment, &input, &b, from, right);
        assert_memory_equal(left, right, sizeof left);
    }
}

static void
refused(soma_augment augment, soma_input input, const char *text)
{
    soma_error err;
    assert_int_equal(soma_augment_check(&augment, &input, NULL),
                     SOMA_E_ARGUMENT);
    assert_int_equal(soma_augment_check(&augment, &input, &err),
                     SOMA_E_ARGUMENT);
    assert_string_equal(err.text, text);
}

static void
test_refused(void **state)
{
    (void)state;
    const char *flat =
        "shift and flip need pictures, the input has no rows and columns";
    refused((soma_augment){.shift = 1}, INPUT(784), flat);
    refused((soma_augment){.flip = true}, INPUT(784), flat);
    refused((soma_augment){.shift = -1}, INPUT(28, 27),
            "shift: -1 pixels of a picture of 28 x 27");
    refused((soma_augment){.shift = 27, .flip = true}, INPUT(28, 27),
            "shift: 27 pixels of a picture of 28 x 27");
    refused((soma_augment){.shift = 5}, INPUT(3, 5, 9),
            "shift: 5 pixels of a picture of 5 x 9");
    refused((soma_augment){.shift = INT32_MAX}, INPUT(3, 5, 9),
            "shift: 2147483647 pixels of a picture of 5 x 9");
    const soma_augment most = {.shift = 4};
    nets_ok(soma_augment_check(
                &most, &(soma_input){.rank = 3, .shape = {3, 5, 9}}, NULL),
            &(soma_error){0});
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes), cmocka_unit_test(test_on_paper),
        cmocka_unit_test(test_nothing),  cmocka_unit_test(test_reproducible),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
