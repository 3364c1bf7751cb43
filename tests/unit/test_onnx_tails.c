/* What ONNX files have behind the last layer: probabilities, labels, names of
 * classes. */
#include "tests/unit/onnx_rows.h"

static void
expect_classes(onnx_file *f, const char *loss, int count, const char *first)
{
    soma_checkpoint checkpoint = onnx_good(f, NULL);
    assert_string_equal(checkpoint.model->spec.loss->name, loss);
    assert_int_equal(checkpoint.classes.count, count);
    if (count)
        assert_string_equal(checkpoint.classes.names[0], first);
    soma_checkpoint_free(&checkpoint);
}

static void
test_softmax_tails(void **state)
{
    (void)state;
    double x[] = {(double)X[0], (double)X[1], (double)X[2]};
    double p = 1 / (1 + exp(row(1, x) - row(0, x)));
    static const struct {
        const char *type, *attributes;
        int opset;
    } tails[] = {{"Softmax", NULL, 13},
                 {"Softmax", "axis=1", 13},
                 {"Softmax", NULL, 9},
                 {"LogSoftmax", "axis=-1", 11},
                 {"Identity", NULL, 13}};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        onnx_file f = start(tails[i].opset);
        onnx_node(&f, "Gemm", "x w b", "z", "transB=1");
        onnx_node(&f, tails[i].type, "z", "y", tails[i].attributes);
        expect(&f, NULL, 2, (double[]){p, 1 - p});
    }
}

/* scikit-learn's: a label and probabilities, of which there is one. */
static void
test_classifier_tails(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        onnx_file f = start(13);
        onnx_bytes names = onnx_header("names", 8, 1, TWO);
        onnx_text(&names, 6, "cat");
        onnx_text(&names, 6, "dog");
        onnx_inside(&f.graph, 5, &names);
        onnx_longs(&f, "numbers", 2, (const int64_t[]){0, 1});
        onnx_longs(&f, "others", 2, (const int64_t[]){7, 9});
        onnx_output(&f, "label");
        onnx_node(&f, "MatMul", "x wt", "m", NULL);
        onnx_node(&f, "Add", "m b", "z", NULL);
        onnx_node(&f, "Softmax", "z", "p", NULL);
        onnx_node(&f, "ArgMax", "p", "k", "axis=1");
        onnx_node(&f, "ml.ArrayFeatureExtractor",
                  (const char *[]){"names k", "numbers k", "others k",
                                   "numbers k"}[way],
                  "l", NULL);
        onnx_node(&f, "Cast", "l", "label", "to=7");
        if (way == 3)
            onnx_node(&f, "ml.ZipMap", "p", "y",
                      "classlabels_strings=[left,right]");
        else
            onnx_node(&f, "Identity", "p", "y", NULL);
        expect_classes(&f, "softmax_cross_entropy", way == 1 ? 0 : 2,
                       (const char *[]){"cat", NULL, "7", "left"}[way]);
    }
}

static void
test_two_columns(void **state)
{
    (void)state;
    double x[] = {(double)X[0], (double)X[1], (double)X[2]};
    double p = 1 / (1 + exp(-row(0, x)));
    for (int way = 0; way < 2; way++) {
        onnx_file f = start(13);
        onnx_floats(&f, "w0", 2, (const long[]){1, 3}, W);
        onnx_number(&f, "b0", B[0]);
        onnx_number(&f, "one", 1);
        onnx_node(&f, "Gemm", "x w0 b0", "z", "transB=1");
        onnx_node(&f, "Sigmoid", "z", way ? "p" : "y", NULL);
        if (way) {
            onnx_node(&f, "Sub", "one p", "q", NULL);
            onnx_node(&f, "Concat", "q p", "y", "axis=1");
        }
        expect(&f, NULL, 2, (double[]){1 - p, p});
    }
}

static void
test_linear_classifier(void **state)
{
    (void)state;
    double x[] = {(double)X[0], (double)X[1], (double)X[2]};
    double a = row(0, x), b = row(1, x), p = 1 / (1 + exp(b - a));
    onnx_file f = start(13);
    onnx_output(&f, "label");
    onnx_node(&f, "ml.LinearClassifier", "x", "label s",
              "coefficients=[1.,-2,0.5,0.25,3,-1] intercepts=[0.5,-0.25] "
              "post_transform=SOFTMAX classlabels_strings=[cat,dog]");
    onnx_node(&f, "ml.Normalizer", "s", "y", "norm=L1");
    expect(&f, NULL, 2, (double[]){p, 1 - p});
    f = start(13);
    onnx_node(&f, "ml.LinearClassifier", "x", "label y",
              "coefficients=[-1.,2,-0.5,1,-2,0.5] intercepts=[-0.5,0.5] "
              "post_transform=LOGISTIC classlabels_ints=[0,1]");
    p = 1 / (1 + exp(-a));
    expect(&f, NULL, 2, (double[]){1 - p, p});
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softmax_tails),
        cmocka_unit_test(test_classifier_tails),
        cmocka_unit_test(test_two_columns),
        cmocka_unit_test(test_linear_classifier),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}
