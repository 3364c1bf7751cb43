/* ONNX files that are networks: what they answer. */
#include "tests/unit/onnx_rows.h"

static void
test_dense(void **state)
{
    (void)state;
    static const struct {
        const char *type, *inputs, *attributes;
    } forms[] = {
        {"Gemm", "x w b", "transB=1"},
        {"Gemm", "x wt b", "alpha=1. beta=1."},
    };
    for (size_t i = 0; i < 2; i++) {
        onnx_file f = start(13);
        onnx_node(&f, forms[i].type, forms[i].inputs, "y", forms[i].attributes);
        expect_rows(&f);
    }
    onnx_file f = start(13);
    onnx_node(&f, "MatMul", "x wt", "z", NULL);
    onnx_node(&f, "Add", "b z", "y", NULL); /* the bias first */
    expect_rows(&f);
    f = start(13);
    onnx_node(&f, "Transpose", "w", "turned", NULL);
    onnx_node(&f, "Identity", "turned", "same", NULL);
    onnx_node(&f, "MatMul", "x same", "z", NULL);
    onnx_node(&f, "Add", "z b", "y", NULL);
    expect_rows(&f);
}

static void
test_gemm_factors(void **state)
{
    (void)state;
    double x[] = {(double)X[0], (double)X[1], (double)X[2]}, want[2];
    for (int j = 0; j < 2; j++)
        want[j] = 0.5 * (row(j, x) - (double)B[j]) + 4 * 0.75;
    onnx_file f = start(13);
    onnx_number(&f, "c", 0.75f); /* a scalar for all units */
    onnx_node(&f, "Gemm", "x w c", "y", "transB=1 alpha=0.5 beta=4.");
    expect(&f, &SCORES, 2, want);
    f = start(13); /* no bias at all, by name and without */
    for (int j = 0; j < 2; j++)
        want[j] = row(j, x) - (double)B[j];
    onnx_node(&f, "Gemm", "x w -", "y", "transB=1");
    expect(&f, &SCORES, 2, want);
}

/* Each way in which a tensor may hold its numbers. */
static void
test_storage(void **state)
{
    (void)state;
    double wide[6];
    uint16_t brain[6];
    for (int i = 0; i < 6; i++) {
        uint32_t bits;
        wide[i] = (double)W[i];
        memcpy(&bits, &W[i], sizeof bits);
        brain[i] = (uint16_t)(bits >> 16); /* W has few digits */
    }
    for (int way = 0; way < 5; way++) {
        onnx_file f = onnx_start(13);
        onnx_bytes t =
            onnx_header("v", (int[]){1, 11, 16, 11, 16}[way], 2, W23);
        if (way == 0) { /* unpacked float_data */
            for (int i = 0; i < 6; i++) {
                onnx_varint(&t, 4 << 3 | 5);
                onnx_put(&t, &W[i], sizeof W[i]);
            }
        } else if (way == 1) {
            onnx_block(&t, 10, wide, sizeof wide); /* packed */
        } else if (way == 2) {
            onnx_block(&t, 9, brain, sizeof brain);
        } else if (way == 3) {
            onnx_block(&t, 9, wide, sizeof wide);
        } else {
            for (int i = 0; i < 6; i++)
                onnx_int(&t, 5, brain[i]);
        }
        onnx_inside(&f.graph, 5, &t);
        onnx_input(&f, "x", 1, 2, IN3);
        onnx_floats(&f, "b", 1, TWO, B);
        onnx_output(&f, "y");
        onnx_node(&f, "Gemm", "x v b", "y", "transB=1");
        expect_rows(&f);
    }
}

static void
test_activations(void **state)
{
    (void)state;
    double x[] = {(double)X[0], (double)X[1], (double)X[2]};
    double a = row(0, x), b = row(1, x);
    assert_true(a > 0 && b < 0);
    static const struct {
        const char *type, *inputs, *attributes;
        int opset;
        double slope; /* 2: sigmoid, 3: tanh */
    } forms[] = {
        {"Relu", "z", NULL, 13, 0},
        {"Clip", "z zero", NULL, 13, 0},
        {"Clip", "z", "min=0.", 9, 0},
        {"Max", "z zero", NULL, 13, 0},
        {"Max", "zero z", NULL, 13, 0},
        {"LeakyRelu", "z", NULL, 13, 0.01},
        {"LeakyRelu", "z", "alpha=0.3", 13, 0.3},
        {"PRelu", "z half", NULL, 13, 0.5},
        {"PRelu", "z slopes", NULL, 13, 0.25}, /* maxout */
        {"Sigmoid", "z", NULL, 13, 2},
        {"Tanh", "z", NULL, 13, 3},
        {"Dropout", "z", NULL, 13, 1},
        {"Identity", "z", NULL, 13, 1},
        {"Cast", "z", "to=1", 13, 1},
        {"Clip", "z", NULL, 13, 1},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        double s = forms[i].slope, want[] = {a, s * b};
        if (s == 2 || s == 3)
            for (int j = 0; j < 2; j++) {
                double z = j ? b : a;
                want[j] = s == 2 ? 1 / (1 + exp(-z)) : tanh(z);
            }
        onnx_file f = start(forms[i].opset);
        onnx_number(&f, "zero", 0);
        onnx_number(&f, "half", 0.5f);
        onnx_floats(&f, "slopes", 1, TWO, (const float[]){-0.5f, 0.25f});
        onnx_node(&f, "Gemm", "x w b", "z", "transB=1");
        onnx_node(&f, forms[i].type, forms[i].inputs, "y", forms[i].attributes);
        expect(&f, &SCORES, 2, want);
    }
}

/* Two activations in a row, scale after an activation: a layer is put in. */
static void
test_identity_layers(void **state)
{
    (void)state;
    double x[] = {(double)X[0], (double)X[1], (double)X[2]};
    onnx_file f = start(13);
    onnx_floats(&f, "c", 1, TWO, (const float[]){3, -2});
    onnx_node(&f, "Gemm", "x w b", "z", "transB=1");
    onnx_node(&f, "Relu", "z", "r", NULL);
    onnx_node(&f, "Tanh", "r", "t", NULL);
    onnx_node(&f, "Mul", "t c", "y", NULL);
    expect(&f, &SCORES, 2, (double[]){3 * tanh(row(0, x)), 0});
}

/* Scale and offset before the first layer become mean and std. */
static void
test_normalisation(void **state)
{
    (void)state;
    double x[3];
    for (int i = 0; i < 3; i++)
        x[i] = ((double)X[i] - (double)0.1307f) / (double)0.3081f;
    onnx_file f = start(13);
    onnx_number(&f, "m", 0.1307f);
    onnx_number(&f, "s", 0.3081f);
    onnx_node(&f, "Sub", "x m", "c", NULL);
    onnx_node(&f, "Div", "c s", "n", NULL);
    onnx_node(&f, "Gemm", "n w b", "y", "transB=1");
    soma_checkpoint checkpoint = onnx_good(&f, &SCORES);
    assert_int_equal(checkpoint.model->spec.input.normals, 1);
    assert_true(soma_model_mean(checkpoint.model)[0] == 0.1307f);
    assert_true(soma_model_std(checkpoint.model)[0] == 0.3081f);
    assert_true(soma_model_weights(checkpoint.model, 0)[0] == W[0]);
    float answer[2];
    onnx_answer(&checkpoint, X, answer);
    assert_true(fabs((double)answer[0] - row(0, x)) < 1e-5);
    soma_checkpoint_free(&checkpoint);
}

/* One that turns the sign cannot, and is folded into the weights. */
static void
test_folded_into_weights(void **state)
{
    (void)state;
    double x[3];
    static const float scale[] = {-2, 0, 0.5f}, shift[] = {1, 2, 3};
    for (int i = 0; i < 3; i++)
        x[i] = (double)X[i] * (double)scale[i] + (double)shift[i];
    onnx_file f = start(13);
    const long three[] = {3};
    onnx_floats(&f, "s", 1, three, scale);
    onnx_floats(&f, "t", 1, three, shift);
    onnx_node(&f, "Mul", "s x", "m", NULL);
    onnx_node(&f, "Add", "m t", "n", NULL);
    onnx_node(&f, "Gemm", "n w b", "y", "transB=1");
    expect(&f, &SCORES, 2, (double[]){row(0, x), row(1, x)});
}

static void
test_batch_norm(void **state)
{
    (void)state;
    static const float scale[] = {2, -1}, bias[] = {0.5f, 1}, mean[] = {1, -1},
                       variance[] = {4, 0.25f};
    double x[] = {(double)X[0], (double)X[1], (double)X[2]}, want[2];
    for (int j = 0; j < 2; j++)
        want[j] = (row(j, x) - (double)mean[j]) /
                      sqrt((double)variance[j] + 0.1) * (double)scale[j] +
                  (double)bias[j];
    for (int j = 0; j < 2; j++)
        want[j] = want[j] > 0 ? want[j] : 0;
    onnx_file f = start(13);
    onnx_floats(&f, "s", 1, TWO, scale);
    onnx_floats(&f, "t", 1, TWO, bias);
    onnx_floats(&f, "m", 1, TWO, mean);
    onnx_floats(&f, "v", 1, TWO, variance);
    onnx_node(&f, "Gemm", "x w b", "z", "transB=1");
    onnx_node(&f, "BatchNormalization", "z s t m v", "n", "epsilon=0.1");
    onnx_node(&f, "Relu", "n", "y", NULL);
    expect(&f, &SCORES, 2, want);
}

/* PyTorch's view(x.size(0), -1), and a flatten of rows and columns. */
static void
test_flatten(void **state)
{
    (void)state;
    for (int way = 0; way < 5; way++) {
        onnx_file f = onnx_start(13);
        onnx_input(&f, "x", 1, 3, (const long[]){-1, 1, 3});
        onnx_floats(&f, "w", 2, W23, W);
        onnx_floats(&f, "b", 1, TWO, B);
        onnx_longs(&f, "first", 1, (const int64_t[]){0});
        onnx_longs(&f, "rest", 1, (const int64_t[]){-1});
        onnx_longs(&f, "both", 2, (const int64_t[]){-1, 3});
        onnx_longs(&f, "copy", 2, (const int64_t[]){0, -1});
        onnx_output(&f, "y");
        onnx_node(&f, "Shape", "x", "shape", NULL);
        onnx_node(&f, "Gather", "shape first", "n", "axis=0");
        onnx_node(&f, "Concat", "n rest", "target", "axis=0");
        onnx_node(
            &f,
            way < 3   ? "Reshape"
            : way < 4 ? "Flatten"
                      : "Squeeze",
            (const char *[]){"x target", "x both", "x copy", "x", "x one"}[way],
            "flat", way == 3 ? "axis=-1" : NULL);
        onnx_longs(&f, "one", 1, (const int64_t[]){1});
        onnx_node(&f, "Gemm", "flat w b", "y", "transB=1");
        expect_rows(&f);
    }
}

static void
test_input_shapes(void **state)
{
    (void)state;
    static const struct {
        int rank;
        long dims[4];
        int type, rank_after;
        const char *attributes;
    } shapes[] = {{1, {3}, 1, 1, NULL},
                  {2, {5, 3}, 1, 1, NULL},
                  {2, {0, 0}, 1, 1, NULL},
                  {4, {-1, 3, 1, 1}, 1, 1, NULL},
                  {4, {-1, 1, 1, 3}, 1, 3, NULL}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        onnx_file f = onnx_start(13);
        onnx_input(&f, "x", 1, shapes[i].rank, shapes[i].dims);
        onnx_floats(&f, "wt", 2, W32, WT);
        onnx_floats(&f, "b", 1, TWO, B);
        onnx_output(&f, "y");
        if (shapes[i].rank > 2)
            onnx_node(&f, "Flatten", "x", "flat", NULL);
        onnx_node(&f, "MatMul", shapes[i].rank > 2 ? "flat wt" : "x wt", "z",
                  NULL);
        onnx_node(&f, "Add", "z b", "y", NULL);
        soma_checkpoint checkpoint = onnx_good(&f, &SCORES);
        assert_int_equal(checkpoint.model->spec.input.rank,
                         shapes[i].rank_after);
        assert_int_equal(checkpoint.model->spec.input.size, 3);
        soma_checkpoint_free(&checkpoint);
    }
}

/* Keras' pictures have their channels last; planes turns them. */
static void
test_planes(void **state)
{
    (void)state;
    soma_onnx_options planes = SCORES;
    planes.planes = true;
    onnx_file f = onnx_start(13);
    float w[2 * 12];
    for (int i = 0; i < 24; i++)
        w[i] = (float)(i * i % 7) - 3;
    onnx_input(&f, "x", 1, 4, (const long[]){-1, 2, 2, 3});
    onnx_floats(&f, "w", 2, (const long[]){2, 12}, w);
    onnx_output(&f, "y");
    onnx_node(&f, "Flatten", "x", "flat", NULL);
    onnx_node(&f, "Gemm", "flat w", "y", "transB=1");
    soma_checkpoint checkpoint = onnx_good(&f, &planes);
    assert_int_equal(checkpoint.model->spec.input.shape[0], 3);
    float x[12], answer[2];
    double want = 0;
    for (int c = 0; c < 3; c++)
        for (int p = 0; p < 4; p++) {
            x[c * 4 + p] = (float)(c * 4 + p) / 8;
            want += (double)x[c * 4 + p] * (double)w[p * 3 + c];
        }
    onnx_answer(&checkpoint, x, answer);
    assert_true(fabs((double)answer[0] - want) < 1e-5);
    soma_checkpoint_free(&checkpoint);
}

static void
test_scale(void **state)
{
    (void)state;
    soma_onnx_options pixels = SCORES;
    pixels.scale = 255;
    double x[3];
    for (int i = 0; i < 3; i++)
        x[i] = (double)X[i] / 255;
    onnx_file f = start(13);
    onnx_node(&f, "Gemm", "x w b", "y", "transB=1");
    expect(&f, &pixels, 2, (double[]){row(0, x), row(1, x)});
    f = start(13);
    onnx_node(&f, "Gemm", "x w b", "y", "transB=1");
    soma_checkpoint checkpoint = onnx_good(&f, &pixels);
    assert_true(checkpoint.model->spec.input.high == 255);
    soma_checkpoint_free(&checkpoint);
}

/* Three forms of the same maxout layer: 2 pieces of 1 unit, which is then
 * scored for two classes. */
static void
test_maxout(void **state)
{
    (void)state;
    double x[] = {(double)X[0], (double)X[1], (double)X[2]};
    double top = fmax(row(0, x), row(1, x));
    for (int way = 0; way < 3; way++) {
        onnx_file f = start(13);
        onnx_longs(&f, "pieces", 3, (const int64_t[]){-1, 2, 1});
        onnx_floats(&f, "out", 2, (const long[]){1, 2}, (const float[]){1, -1});
        onnx_floats(&f, "w0", 2, (const long[]){1, 3}, W);
        onnx_floats(&f, "w1", 2, (const long[]){1, 3}, W + 3);
        onnx_number(&f, "b0", B[0]);
        onnx_number(&f, "b1", B[1]);
        if (way < 2) {
            onnx_node(&f, "Gemm", "x w b", "z", "transB=1");
            onnx_node(&f, "Reshape", "z pieces", "p", NULL);
            onnx_node(&f, "ReduceMax", "p", "m", "axes=[1] keepdims=0");
        } else {
            onnx_node(&f, "Gemm", "x w0", "z0", "transB=1");
            onnx_node(&f, "Add", "z0 b0", "p0", NULL);
            onnx_node(&f, "Gemm", "x w1 b1", "p1", "transB=1");
            onnx_node(&f, "Max", "p0 p1", "m", NULL);
        }
        onnx_node(&f, "MatMul", "m out", "y", NULL);
        soma_checkpoint checkpoint = onnx_good(&f, &SCORES);
        assert_string_equal(checkpoint.model->spec.layers[0].activation->name,
                            "maxout");
        float answer[2];
        onnx_answer(&checkpoint, X, answer);
        assert_true(fabs((double)answer[0] - top) < 1e-6);
        assert_true(fabs((double)answer[1] + top) < 1e-6);
        soma_checkpoint_free(&checkpoint);
    }
}

static void
test_scaler(void **state)
{
    (void)state;
    double x[3];
    static const double offset[] = {0.5, -1, 0.25}, scale[] = {2, 0.5, 4};
    for (int i = 0; i < 3; i++)
        x[i] = ((double)X[i] - offset[i]) * scale[i];
    onnx_file f = start(13);
    onnx_node(&f, "ml.Scaler", "x", "n",
              "offset=[0.5,-1.,0.25] scale=[2.,0.5,4.]");
    onnx_node(&f, "Gemm", "n w b", "y", "transB=1");
    expect(&f, &SCORES, 2, (double[]){row(0, x), row(1, x)});
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_gemm_factors),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_identity_layers),
        cmocka_unit_test(test_normalisation),
        cmocka_unit_test(test_folded_into_weights),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_flatten),
        cmocka_unit_test(test_input_shapes),
        cmocka_unit_test(test_planes),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_maxout),
        cmocka_unit_test(test_scaler),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}
