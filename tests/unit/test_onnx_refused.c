/* ONNX files that are refused: what soma cannot express, and what is damaged
 * or hostile.
 */
#include "tests/unit/onnx_files.h"
#include "tests/unit/scratch.h"

static const long IN3[] = {-1, 3}, W23[] = {2, 3}, TWO[] = {2};
static const float W[] = {1, -2, 0.5f, 0.25f, 3, -1};
static const float B[] = {0.5f, -0.25f};
static const soma_onnx_options SCORES = {.loss = "multiclass_hinge"};

static onnx_file
start(int opset)
{
    onnx_file f = onnx_start(opset);
    onnx_opset(&f.model, "ai.onnx.ml", 1);
    onnx_input(&f, "x", 1, 2, IN3);
    onnx_floats(&f, "w", 2, W23, W);
    onnx_floats(&f, "b", 1, TWO, B);
    onnx_output(&f, "y");
    return f;
}

/* One node behind a dense layer. */
static void
test_operators(void **state)
{
    (void)state;
    static const struct {
        const char *type, *inputs, *attributes;
        int opset;
        soma_status status;
        const char *words;
    } bad[] = {
        {"Elu", "z", NULL, 13, SOMA_E_UNSUPPORTED,
         "node \"y\" (Elu): soma does not have the activation Elu; there are: "
         "identity, sigmoid"},
        {"Softplus", "z", NULL, 13, SOMA_E_UNSUPPORTED, "(Softplus): soma"},
        {"Clip", "z zero six", NULL, 13, SOMA_E_UNSUPPORTED, "cuts off above"},
        {"Clip", "z", "min=-1. max=1.", 9, SOMA_E_UNSUPPORTED, "cuts off"},
        {"PRelu", "z steep", NULL, 13, SOMA_E_UNSUPPORTED, "some above 1"},
        {"Max", "z six", NULL, 13, SOMA_E_UNSUPPORTED, "max(x, c)"},
        {"Max", "z x", NULL, 13, SOMA_E_UNSUPPORTED, "(maxout)"},
        {"Add", "z z", NULL, 13, SOMA_E_UNSUPPORTED, "adds two values"},
        {"Mul", "z z", NULL, 13, SOMA_E_UNSUPPORTED, "multiplies two values"},
        {"Div", "six z", NULL, 13, SOMA_E_UNSUPPORTED, "divides by a value"},
        {"Div", "z zero", NULL, 13, SOMA_E_NOT_FINITE, "divides by zero"},
        {"Conv", "z w", NULL, 13, SOMA_E_UNSUPPORTED, "no layer for this"},
        {"Erf", "z", NULL, 13, SOMA_E_UNSUPPORTED, "(Erf): soma has no layer"},
        {"If", "z", NULL, 13, SOMA_E_UNSUPPORTED, "(If): soma has no layer"},
        {"Softmax", "z", "axis=0", 13, SOMA_E_UNSUPPORTED, "all scores"},
        {"Cast", "z", "to=7", 13, SOMA_E_UNSUPPORTED, "rounds values"},
        {"Add", "z three", NULL, 13, SOMA_E_SHAPE, "shape of one example"},
        {"Gemm", "z w b", "transB=1", 13, SOMA_E_SHAPE,
         "weights for 3 values, it gets 2"},
        {"Gemm", "w z b", NULL, 13, SOMA_E_UNSUPPORTED, "first input"},
        {"Gemm", "z nothing", NULL, 13, SOMA_E_FORMAT, "nor made before it"},
        {"Gemm", "z y", NULL, 13, SOMA_E_FORMAT, "nor made before it"},
        {"Reshape", "z all", NULL, 13, SOMA_E_UNSUPPORTED, "mixes"},
        {"Flatten", "z", "axis=0", 13, SOMA_E_UNSUPPORTED, "mixes"},
        {"Transpose", "z", NULL, 13, SOMA_E_UNSUPPORTED, "mixes"},
        {"Transpose", "z", "perm=[0,0]", 13, SOMA_E_FORMAT, "permutation"},
        {"Unsqueeze", "z axis", NULL, 13, SOMA_E_FORMAT, "an axis"},
        {"BatchNormalization", "z b b b three", NULL, 13, SOMA_E_SHAPE,
         "3 constants for 2 channels"},
        {"BatchNormalization", "z b b b b", "training_mode=1", 14,
         SOMA_E_UNSUPPORTED, "model.eval()"},
        {"ml.Scaler", "z", "scale=[1.,2,3]", 13, SOMA_E_SHAPE, "3 scales"},
        {"ml.Normalizer", "z", "norm=L2", 13, SOMA_E_UNSUPPORTED, "by itself"},
        {"ml.TreeEnsembleClassifier", "z", NULL, 13, SOMA_E_UNSUPPORTED,
         "no layer"},
        {"LayerNormalization", "z b", NULL, 17, SOMA_E_UNSUPPORTED,
         "folded into them; train with batch normalisation"},
        {"QuantizeLinear", "z six", NULL, 13, SOMA_E_UNSUPPORTED,
         "the model is quantized: export the one in float32"},
        {"LSTM", "z w w", NULL, 13, SOMA_E_UNSUPPORTED,
         "train a network of those, or compute this part before"},
        {"ml.LinearClassifier", "z", "intercepts=[1.,2]", 13,
         SOMA_E_UNSUPPORTED, "coefficient for each"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        onnx_file f = start(bad[i].opset);
        onnx_number(&f, "zero", 0);
        onnx_number(&f, "six", 6);
        onnx_floats(&f, "steep", 1, TWO, (const float[]){2, 3});
        onnx_floats(&f, "three", 1, (const long[]){3},
                    (const float[]){1, 2, 3});
        onnx_longs(&f, "all", 1, (const int64_t[]){7});
        onnx_longs(&f, "axis", 1, (const int64_t[]){9});
        onnx_node(&f, "Gemm", "x w b", "z", "transB=1");
        onnx_node(&f, bad[i].type, bad[i].inputs, "y", bad[i].attributes);
        onnx_bad(&f, &SCORES, bad[i].status, bad[i].words);
    }
}

static void
test_whole_files(void **state)
{
    (void)state;
    onnx_file f = onnx_start(6);
    onnx_bad(&f, NULL, SOMA_E_UNSUPPORTED, "opset 6, 7 or later");
    f = onnx_start(13);
    onnx_bad(&f, NULL, SOMA_E_UNSUPPORTED, "the graph has no input");
    f = start(13);
    onnx_input(&f, "x2", 1, 2, IN3);
    onnx_node(&f, "Gemm", "x w b", "y", "transB=1");
    onnx_bad(&f, NULL, SOMA_E_UNSUPPORTED, "two inputs, \"x\" and \"x2\"");
    f = start(13);
    onnx_output(&f, "z");
    onnx_node(&f, "Gemm", "x w b", "z", "transB=1");
    onnx_node(&f, "Relu", "z", "y", NULL);
    onnx_bad(&f, NULL, SOMA_E_UNSUPPORTED, "several outputs, \"y\" and \"z\"");
    f = start(13);
    onnx_bad(&f, NULL, SOMA_E_UNSUPPORTED, "no output that depends");
    f = start(13);
    onnx_node(&f, "Relu", "x", "y", NULL);
    onnx_node(&f, "Gemm", "x w b", "unused", "transB=1");
    soma_checkpoint checkpoint = onnx_good(&f, &SCORES); /* as identity */
    assert_int_equal(checkpoint.model->spec.depth, 1);
    soma_checkpoint_free(&checkpoint);
    f = start(13);
    onnx_node(&f, "Identity", "x", "y", NULL);
    onnx_bad(&f, &SCORES, SOMA_E_UNSUPPORTED, "there is no dense layer");
    f = start(13);
    onnx_node(&f, "Gemm", "x w b", "y", "transB=1");
    onnx_node(&f, "Gemm", "x w b", "y", "transB=1");
    onnx_bad(&f, NULL, SOMA_E_FORMAT, "the value \"y\" stands there twice");
    f = onnx_start(13);
    onnx_input(&f, "x", 1, 3, (const long[]){-1, -1, 3});
    onnx_bad(&f, NULL, SOMA_E_UNSUPPORTED, "dimension 1 has no fixed size");
    f = onnx_start(13);
    onnx_input(&f, "x", 1, 3, (const long[]){-1, 1 << 20, 1 << 20});
    onnx_bad(&f, NULL, SOMA_E_LIMIT, "more than 1048576 values");
    f = onnx_start(13);
    onnx_input(&f, "x", 8, 2, IN3);
    onnx_bad(&f, NULL, SOMA_E_UNSUPPORTED, "the input is text");
}

/* The reason is told where the second output of a node is the answer, and
 * beside that of an input that could be mended. */
static void
test_reasons(void **state)
{
    (void)state;
    onnx_file f = start(13);
    onnx_node(&f, "ml.SVMClassifier", "x", "label y", NULL);
    onnx_bad(&f, NULL, SOMA_E_UNSUPPORTED,
             "node \"label\" (SVMClassifier): soma has no layer for this");
    f = onnx_start(13);
    onnx_input(&f, "x", 1, 3, (const long[]){7, -1, 3});
    onnx_node(&f, "LSTM", "x w w", "y", NULL);
    onnx_bad(&f, NULL, SOMA_E_UNSUPPORTED,
             "may be dynamic); and node \"y\" (LSTM): soma has no layer");
}

/* A newer opset than was tested is read, and said. */
static void
test_new_opset(void **state)
{
    (void)state;
    for (int opset = 22; opset <= 23; opset++) {
        onnx_file f = start(opset);
        onnx_node(&f, "Gemm", "x w b", "z", "transB=1");
        onnx_node(&f, "Softmax", "z", "y", NULL);
        soma_checkpoint checkpoint = onnx_good(&f, NULL);
        const json_t *notes = json_object_get(checkpoint.made, "notes");
        assert_int_equal(json_array_size(notes), opset > 22);
        if (opset > 22)
            assert_non_null(strstr(json_string_value(json_array_get(notes, 0)),
                                   "opset 23 is newer than 22"));
        soma_checkpoint_free(&checkpoint);
    }
}

/* Softmax in the middle; a loss that contradicts the file, or is missing. */
static void
test_losses(void **state)
{
    (void)state;
    soma_onnx_options hinge = {.loss = "hinge"}, other = {.output = "q"};
    onnx_file f = start(13);
    onnx_node(&f, "Softmax", "x", "p", NULL);
    onnx_node(&f, "Gemm", "p w b", "y", "transB=1");
    onnx_bad(&f, NULL, SOMA_E_UNSUPPORTED, "only at the end");
    f = start(13);
    onnx_node(&f, "Gemm", "x w b", "z", "transB=1");
    onnx_node(&f, "Softmax", "z", "y", NULL);
    onnx_bad(&f, &hinge, SOMA_E_ARGUMENT, "makes it softmax_cross_entropy");
    f = start(13);
    onnx_node(&f, "Gemm", "x w b", "z", "transB=1");
    onnx_node(&f, "Sigmoid", "z", "y", NULL);
    onnx_bad(&f, NULL, SOMA_E_ARGUMENT, "--loss multiclass_hinge answers");
    f = start(13);
    onnx_floats(&f, "one", 2, (const long[]){1, 3}, W);
    onnx_node(&f, "Gemm", "x one", "y", "transB=1");
    onnx_bad(&f, NULL, SOMA_E_ARGUMENT, "--loss hinge answers");
    f = start(13);
    onnx_node(&f, "Gemm", "x w b", "y", "transB=1");
    onnx_bad(&f, &hinge, SOMA_E_ARGUMENT, "must have 1 unit, it has 2");
    f = start(13);
    onnx_node(&f, "Gemm", "x w b", "y", "transB=1");
    onnx_bad(&f, &other, SOMA_E_ARGUMENT, "there is no value \"q\"");
}

/* ---- Tensors that claim what they do not have ---- */

static void
bad_tensor(int type, int rank, const long *dims, size_t bytes,
           soma_status status, const char *words)
{
    static const unsigned char data[64];
    onnx_file f = onnx_start(13);
    onnx_raw(&f, "t", type, rank, dims, data, bytes);
    onnx_input(&f, "x", 1, 2, IN3);
    onnx_output(&f, "y");
    onnx_node(&f, "Gemm", "x t", "y", "transB=1");
    onnx_bad(&f, &SCORES, status, words);
}

static void
test_tensors(void **state)
{
    (void)state;
    const long huge[] = {1L << 62, 1L << 62}, negative[] = {-2, -3};
    const long large[] = {1 << 20, 1 << 20}, nine[9] = {1, 1, 1, 1, 1, 1, 1, 1};
    bad_tensor(1, 2, huge, 24, SOMA_E_FORMAT, "tensor \"t\": no sensible");
    bad_tensor(1, 2, negative, 24, SOMA_E_FORMAT, "no sensible shape");
    bad_tensor(1, 2, large, 24, SOMA_E_FORMAT, "not as many values");
    bad_tensor(1, 2, W23, 23, SOMA_E_FORMAT, "not as many values");
    bad_tensor(1, 9, nine, 4, SOMA_E_LIMIT, "more than 8 dimensions");
    bad_tensor(14, 2, W23, 24, SOMA_E_UNSUPPORTED, "that is not read");
    bad_tensor(8, 2, W23, 24, SOMA_E_FORMAT, "not as many strings");
    bad_tensor(7, 2, W23, 48, SOMA_E_UNSUPPORTED, "floats are expected");
    bad_tensor(1, 1, TWO, 8, SOMA_E_SHAPE, "weights of 1 dimensions");
    bad_tensor(1, 2, (const long[]){0, 3}, 0, SOMA_E_LIMIT, "0 units");
    static const float nan[6] = {1, 2, NAN};
    onnx_file f = onnx_start(13);
    onnx_floats(&f, "t", 2, W23, nan);
    onnx_input(&f, "x", 1, 2, IN3);
    onnx_output(&f, "y");
    onnx_node(&f, "Gemm", "x t", "y", "transB=1");
    onnx_bad(&f, &SCORES, SOMA_E_NOT_FINITE, "not all of its values");
}

/* Finite weights that are none once the normalisation is in them. */
static void
test_folded_beyond_float(void **state)
{
    (void)state;
    onnx_file f = start(13);
    onnx_number(&f, "much", -3e38f);
    onnx_node(&f, "Mul", "x much", "n", NULL);
    onnx_node(&f, "Gemm", "n w b", "y", "transB=1");
    onnx_bad(&f, &SCORES, SOMA_E_NOT_FINITE, "not finite once");
}

/* ---- Files that cost more than they are ---- */

/* A million empty nodes, two bytes each. */
static void
test_many_messages(void **state)
{
    (void)state;
    onnx_file f = start(13);
    unsigned char *nodes = nets_alloc(1000000, 2);
    for (int i = 0; i < 1000000; i++)
        nodes[2 * i] = 0x0a;
    onnx_put(&f.graph, nodes, 2000000);
    onnx_bad(&f, NULL, SOMA_E_LIMIT, "more memory than three times");
    f = start(13);
    onnx_put(&f.graph, nodes, 140000);
    free(nodes);
    onnx_bad(&f, NULL, SOMA_E_LIMIT, "at most 65536 are read");
}

/* Graphs within attributes within nodes within graphs, ten thousand deep: the
 * stack must not know. */
static void
test_nesting(void **state)
{
    (void)state;
    onnx_bytes inner = {NULL, 0};
    for (int i = 0; i < 10000; i++) {
        onnx_bytes attribute = {NULL, 0}, node = {NULL, 0};
        onnx_inside(&attribute, 6, &inner);
        onnx_inside(&node, 5, &attribute);
        onnx_inside(&inner, 1, &node);
    }
    onnx_file f = start(13);
    onnx_put(&f.graph, inner.data, inner.size);
    free(inner.data);
    onnx_node(&f, "Gemm", "x w b", "y", "transB=1");
    soma_checkpoint checkpoint = onnx_good(&f, &SCORES);
    soma_checkpoint_free(&checkpoint);
}

/* Vectors that grow: each node doubles what the one before has. */
static void
test_growing_constants(void **state)
{
    (void)state;
    onnx_file f = start(13);
    char inputs[32], output[16];
    onnx_floats(&f, "c0", 1, TWO, B);
    for (int i = 0; i < 40; i++) {
        snprintf(inputs, sizeof inputs, "c%d c%d", i, i);
        snprintf(output, sizeof output, "c%d", i + 1);
        onnx_node(&f, "Concat", inputs, output, "axis=0");
    }
    onnx_bad(&f, NULL, SOMA_E_LIMIT, "a computed constant of more than");
}

static void
test_many_wide_nodes(void **state)
{
    (void)state;
    onnx_file f = onnx_start(13);
    onnx_input(&f, "v0", 1, 2, (const long[]){-1, 1 << 20});
    onnx_number(&f, "c", 1);
    onnx_output(&f, "y");
    for (int i = 0; i < 1000; i++) {
        char inputs[32], output[16];
        snprintf(inputs, sizeof inputs, "v%d c", i);
        snprintf(output, sizeof output, "v%d", i + 1);
        onnx_node(&f, "Add", inputs, output, NULL);
    }
    onnx_bad(&f, NULL, SOMA_E_LIMIT, "need too much memory");
}

/* ---- Damage ---- */

static onnx_bytes
whole_file(void)
{
    onnx_file f = start(13);
    onnx_number(&f, "m", 0.5f);
    onnx_longs(&f, "shape", 2, (const int64_t[]){-1, 3});
    onnx_node(&f, "Sub", "x m", "n", NULL);
    onnx_node(&f, "Reshape", "n shape", "r", NULL);
    onnx_node(&f, "Gemm", "r w b", "z", "transB=1");
    onnx_node(&f, "ml.ZipMap", "z", "y", "classlabels_strings=[a,b]");
    return onnx_end(&f);
}

/* Shorter by any number of bytes, or with any byte another one: an answer, or
 * a reason, and no byte read too far (under ASan). */
static void
test_damage(void **state)
{
    (void)state;
    soma_checkpoint checkpoint;
    soma_error err;
    onnx_bytes all = whole_file();
    int good = 0, bad = 0;
    for (size_t size = 0; size < all.size; size++) {
        unsigned char *cut = nets_alloc(size, 1);
        memcpy(cut, all.data, size);
        soma_status status =
            soma_onnx_parse(cut, size, NULL, &checkpoint, &err);
        assert_true(status == SOMA_OK || err.text[0] != '\0');
        soma_checkpoint_free(&checkpoint);
        free(cut);
    }
    for (size_t at = 0; at < all.size; at++)
        for (int bit = 0; bit < 8; bit++) {
            all.data[at] ^= (unsigned char)(1 << bit);
            bool fine =
                !soma_onnx_parse(all.data, all.size, NULL, &checkpoint, &err);
            good += fine;
            bad += !fine;
            assert_true(!fine || soma_model_finite(checkpoint.model));
            soma_checkpoint_free(&checkpoint);
            all.data[at] ^= (unsigned char)(1 << bit);
        }
    assert_true(good > 100 && bad > 100);
    free(all.data);
}

static void
test_no_onnx(void **state)
{
    (void)state;
    soma_checkpoint checkpoint;
    soma_error err;
    assert_int_equal(soma_onnx_parse("", 0, NULL, &checkpoint, &err),
                     SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "there is no graph"));
    assert_int_equal(soma_onnx_parse("\x89PNG....", 8, NULL, &checkpoint, &err),
                     SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "not an ONNX file"));
    assert_int_equal(
        soma_onnx_read(scratch_path("none.onnx"), NULL, &checkpoint, &err),
        SOMA_E_NOT_FOUND);
}

static int
setup(void **state)
{
    return nets_setup(state) || scratch_make(state);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operators),
        cmocka_unit_test(test_whole_files),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_new_opset),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_folded_beyond_float),
        cmocka_unit_test(test_many_messages),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_growing_constants),
        cmocka_unit_test(test_many_wide_nodes),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_no_onnx),
    };
    return cmocka_run_group_tests(tests, setup, scratch_remove);
}
