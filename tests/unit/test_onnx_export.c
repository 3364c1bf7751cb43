/* ONNX files of soma's own models: read back they are the same. What ONNX
 * Runtime says of them is asked in tests/formats. */
#include "tests/unit/onnx_files.h"

static soma_checkpoint
round_trip(const soma_checkpoint *from)
{
    soma_error err;
    soma_bytes bytes;
    soma_checkpoint back;
    nets_ok(soma_onnx_build(from, &bytes, &err), &err);
    nets_ok(soma_onnx_parse(bytes.data, bytes.size, NULL, &back, &err), &err);
    soma_bytes_free(&bytes);
    return back;
}

static void
expect_same(const soma_checkpoint *a, const soma_checkpoint *b)
{
    soma_error err;
    char one[SOMA_DIGEST_HEX + 1], other[SOMA_DIGEST_HEX + 1];
    nets_ok(soma_model_digest(a->model, one, &err), &err);
    nets_ok(soma_model_digest(b->model, other, &err), &err);
    assert_string_equal(one, other);
    assert_true(soma_spec_equal(&a->model->spec, &b->model->spec));
    for (int i = 0; i < a->model->spec.input.normals; i++) {
        assert_true(soma_model_mean(a->model)[i] ==
                    soma_model_mean(b->model)[i]);
        assert_true(soma_model_std(a->model)[i] == soma_model_std(b->model)[i]);
    }
}

static void
test_activations_and_losses(void **state)
{
    (void)state;
    static const char *const losses[] = {"softmax_cross_entropy", "logistic",
                                         "hinge", "multiclass_hinge"};
    for (int a = 0; soma_activation_at(a); a++)
        for (size_t l = 0; l < sizeof losses / sizeof *losses; l++) {
            bool binary = l == 1 || l == 2;
            const nets_layer layers[] = {{5, soma_activation_at(a)->name, 0, 0},
                                         DENSE(binary ? 1 : 3, "identity")};
            soma_spec spec = nets_spec(7, losses[l], 2, layers);
            soma_checkpoint from = {.model = nets_model(&spec, 1)};
            soma_checkpoint back = round_trip(&from);
            expect_same(&from, &back);
            soma_checkpoint_free(&from);
            soma_checkpoint_free(&back);
        }
}

/* mean and std that come back to the bit: powers of two. */
static void
test_normalisation_and_shape(void **state)
{
    (void)state;
    static const struct {
        int rank, shape[4], normals;
    } inputs[] = {{3, {2, 3, 4}, 2}, {2, {3, 4}, 1},       {1, {5}, 5},
                  {1, {6}, 1},       {4, {2, 2, 3, 2}, 2}, {3, {1, 3, 4}, 0}};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        soma_error err;
        soma_spec spec = nets_unfinished(4, "softmax_cross_entropy", 1,
                                         NETS_LAYERS{DENSE(3, "identity")});
        spec.input.rank = inputs[i].rank;
        memcpy(spec.input.shape, inputs[i].shape, sizeof inputs[i].shape);
        spec.input.normals = inputs[i].normals;
        nets_ok(soma_spec_finish(&spec, &err), &err);
        soma_checkpoint from = {.model = nets_model(&spec, 2)};
        for (int c = 0; c < spec.input.normals; c++) {
            soma_model_mean(from.model)[c] = (float)c + 0.5f;
            soma_model_std(from.model)[c] = c % 2 ? 4 : 0.5f;
        }
        soma_checkpoint back = round_trip(&from);
        expect_same(&from, &back);
        soma_checkpoint_free(&from);
        soma_checkpoint_free(&back);
    }
}

static void
test_names(void **state)
{
    (void)state;
    char *names[] = {(char *)"Kätzchen", (char *)"7", (char *)"a \"b\""};
    soma_spec spec =
        nets_spec(3, "multiclass_hinge", 1, NETS_LAYERS{DENSE(3, "identity")});
    soma_checkpoint from = {.model = nets_model(&spec, 3),
                            .classes = {3, names}};
    soma_checkpoint back = round_trip(&from);
    assert_int_equal(back.classes.count, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(back.classes.names[i], names[i]);
    assert_string_equal(back.model->spec.loss->name, "multiclass_hinge");
    soma_model_free(from.model);
    soma_checkpoint_free(&back);
}

/* Where a model goes through ONNX its answers are the same bits: the weights
 * are, and so is the order of the arithmetic. */
static void
test_answers(void **state)
{
    (void)state;
    soma_spec spec =
        nets_spec(9, "softmax_cross_entropy", 3,
                  NETS_LAYERS{MAXOUT(70, 3), DENSE(6, "leaky_relu"),
                              DENSE(4, "identity")});
    soma_checkpoint from = {.model = nets_model(&spec, 4)};
    soma_checkpoint back = round_trip(&from);
    float *x = nets_rows(&spec, 20, 5), a[4], b[4];
    for (int r = 0; r < 20; r++) {
        onnx_answer(&from, x + nets_at(r, 9), a);
        onnx_answer(&back, x + nets_at(r, 9), b);
        assert_memory_equal(a, b, sizeof a);
    }
    free(x);
    soma_checkpoint_free(&from);
    soma_checkpoint_free(&back);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations_and_losses),
        cmocka_unit_test(test_normalisation_and_shape),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}
