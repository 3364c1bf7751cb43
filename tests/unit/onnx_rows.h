/* ONNX files of one layer, two rows of weights, and what they must answer.
 */
#ifndef SOMA_TESTS_UNIT_ONNX_ROWS_H
#define SOMA_TESTS_UNIT_ONNX_ROWS_H

#include "tests/unit/onnx_files.h"

static const long IN3[] = {-1, 3}, W23[] = {2, 3}, W32[] = {3, 2}, TWO[] = {2};
static const float W[] = {1, -2, 0.5f, 0.25f, 3, -1};  /* [2, 3] */
static const float WT[] = {1, 0.25f, -2, 3, 0.5f, -1}; /* [3, 2] */
static const float B[] = {0.5f, -0.25f};
static const float X[] = {0.3f, -0.7f, 1.1f};
static const soma_onnx_options SCORES = {.loss = "multiclass_hinge"};

static inline double
row(int j, const double *x)
{
    double z = (double)B[j];
    for (int i = 0; i < 3; i++)
        z += (double)W[j * 3 + i] * x[i];
    return z;
}

/* A file with the input x [batch, 3], W, its transpose and B. */
static inline onnx_file
start(int opset)
{
    onnx_file f = onnx_start(opset);
    onnx_opset(&f.model, "ai.onnx.ml", 1);
    onnx_input(&f, "x", 1, 2, IN3);
    onnx_floats(&f, "w", 2, W23, W);
    onnx_floats(&f, "wt", 2, W32, WT);
    onnx_floats(&f, "b", 1, TWO, B);
    onnx_output(&f, "y");
    return f;
}

/* What the file answers with, by scores. */
static inline void
expect(onnx_file *f, const soma_onnx_options *options, int count,
       const double *want)
{
    float answer[8];
    soma_checkpoint checkpoint = onnx_good(f, options);
    assert_true(count <= 8);
    onnx_answer(&checkpoint, X, answer);
    for (int i = 0; i < count; i++)
        if (!(fabs((double)answer[i] - want[i]) < 2e-6))
            fail_msg("answer %d is %.9g, expected %.9g", i, (double)answer[i],
                     want[i]);
    soma_checkpoint_free(&checkpoint);
}

static inline void
expect_rows(onnx_file *f)
{
    double x[] = {(double)X[0], (double)X[1], (double)X[2]};
    expect(f, &SCORES, 2, (double[]){row(0, x), row(1, x)});
}

#endif
