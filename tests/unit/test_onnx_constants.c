/* ONNX: what is computed of constants, and how shapes change, each by one or a
 * few nodes: the right numbers, or a refusal in words.
 *
 * Nodes are written "TYPE|inputs|outputs|attributes;..." and see the constants
 * below, the input "x" [batch, 3] and "z" [batch, 2], a dense layer of it.
 */
#include "tests/unit/onnx_files.h"

static const long IN3[] = {-1, 3}, W23[] = {2, 3}, M22[] = {2, 2};
static const long ROW[] = {1, 2}, Q231[] = {2, 3, 1}, FOUR[] = {4}, TWO[] = {2};
static const float W[] = {1, -2, 0.5f, 0.25f, 3, -1};
static const soma_onnx_options SCORES = {.loss = "multiclass_hinge"};

#define WHOLE(name, ...)                                                       \
    onnx_longs(&f, name,                                                       \
               (int)(sizeof(int64_t[]){__VA_ARGS__} / sizeof(int64_t)),        \
               (const int64_t[]){__VA_ARGS__})

static onnx_file
start(int opset)
{
    onnx_file f = onnx_start(opset);
    onnx_opset(&f.model, "ai.onnx.ml", 1);
    onnx_input(&f, "x", 1, 2, IN3);
    onnx_floats(&f, "w", 2, W23, W);
    onnx_floats(&f, "q", 3, Q231, W);
    onnx_floats(&f, "f", 1, TWO, (const float[]){4, 0.25f});
    onnx_floats(&f, "g", 1, TWO, (const float[]){-2, 0.5f});
    onnx_floats(&f, "row", 2, ROW, (const float[]){2.75f, -2.75f});
    onnx_floats(&f, "m", 2, M22, (const float[]){1, 2, 3, 4});
    onnx_floats(&f, "four", 1, FOUR, (const float[]){5, 6, 7, 8});
    onnx_floats(&f, "large", 1, TWO, (const float[]){1e16f, 0});
    onnx_number(&f, "half", 0.5f);
    onnx_number(&f, "null", 0);
    WHOLE("i", 7, -7);
    WHOLE("j", -3, 3);
    WHOLE("zeros", 0, 0);
    WHOLE("last", -1);
    WHOLE("zero", 0);
    WHOLE("one", 1);
    WHOLE("two", 2);
    WHOLE("three", 3);
    WHOLE("seven", 7);
    WHOLE("far", INT64_MAX);
    WHOLE("least", INT64_MIN);
    WHOLE("frees", -1, -1);
    WHOLE("odd", -1, 3);
    WHOLE("ends", -1, 0);
    WHOLE("below", -2, -1);
    WHOLE("nine", 1, 1, 1, 1, 1, 1, 1, 1, 2);
    onnx_raw(&f, "second", 7, 0, NULL, (const int64_t[]){1}, 8);
    onnx_raw(&f, "yes", 9, 0, NULL, "\1", 1);
    onnx_raw(&f, "no", 9, 0, NULL, "\0", 1);
    onnx_output(&f, "y");
    onnx_node(&f, "Gemm", "x w", "z", "transB=1");
    return f;
}

/* Adds the nodes that `text` describes. */
static void
add_nodes(onnx_file *f, const char *text)
{
    while (*text) {
        char node[200], *rest = node, *words[4];
        size_t length = strcspn(text, ";");
        snprintf(node, sizeof node, "%.*s", (int)length, text);
        for (int i = 0; i < 4; i++)
            words[i] = strsep(&rest, "|");
        onnx_node(f, words[0], words[1], words[2], words[3]);
        text += length + (text[length] == ';');
    }
}

/* ---- Constants ---- */

/* The constant "c" of two numbers is added to what a dense layer says. */
static void
constants(void **state)
{
    static const struct {
        const char *nodes;
        float want[2];
        int opset; /* 0: 13 */
    } rows[] = {
        {"Add|f g|c", {2, 0.75f}, 0},
        {"Sub|f g|c", {6, -0.25f}, 0},
        {"Mul|f half|c", {2, 0.125f}, 0},
        {"Div|f g|c", {-2, 0.5f}, 0},
        {"Pow|g two2|c", {4, 0.25f}, 0},
        {"Neg|g|c", {2, -0.5f}, 0},
        {"Sqrt|f|c", {2, 0.5f}, 0},
        {"Reciprocal|f|c", {0.25f, 4}, 0},
        {"Log|f|l;Exp|l|c", {4, 0.25f}, 0},
        {"Abs|g|c", {2, 0.5f}, 0},
        {"Add|i j|k;Cast|k|c|to=1", {4, -4}, 0},
        {"Sub|i j|k;Cast|k|c|to=1", {10, -10}, 0},
        {"Mul|i j|k;Cast|k|c|to=1", {-21, -21}, 0},
        {"Div|i j|k;Cast|k|c|to=1", {-2, -2}, 0},
        {"Mod|i j|k;Cast|k|c|to=1", {-2, 2}, 0},
        {"Mod|i seven|k;Cast|k|c|to=1", {0, 0}, 0},
        {"Neg|i|k;Cast|k|c|to=1", {-7, 7}, 0},
        {"Cast|row|k|to=7;Squeeze|k zero|s;Cast|s|c|to=1", {2, -2}, 0},
        {"Cast|f|c|to=1", {4, 0.25f}, 0},
        {"Reshape|row last|c", {2.75f, -2.75f}, 0},
        {"Reshape|f zero|c", {4, 0.25f}, 0},
        {"Reshape|row zeros|r;Reshape|r two|c", {2.75f, -2.75f}, 0},
        {"Gather|m second|c|axis=1", {2, 4}, 0},
        {"Gather|m second|c", {3, 4}, 0},
        {"Gather|m second|c|axis=-1", {2, 4}, 0},
        {"Gather|four frees|c", {8, 8}, 0},
        {"Slice|four one three|c", {6, 7}, 0},
        {"Slice|four two far last|c", {7, 8}, 0},
        {"Slice|four least two zero one|c", {5, 6}, 0},
        {"Slice|four|c|starts=[-3] ends=[-1] axes=[0]", {6, 7}, 9},
        {"Slice|i one far|k;Slice|j zero one|n;Concat|n k|m2|axis=0;"
         "Cast|m2|c|to=1",
         {-3, -7},
         0},
        {"Slice|f zero one|a;Slice|g zero one|b;Concat|a b|c|axis=0",
         {4, -2},
         0},
        {"Transpose|m|t;Gather|t zero0|c", {1, 3}, 0},
        {"Transpose|m|t|perm=[1,0];Gather|t zero0|c", {1, 3}, 0},
        {"Transpose|m|t|perm=[0,1];Gather|t zero0|c", {1, 2}, 0},
        {"Transpose|i2|t;Squeeze|t|s;Cast|s|c|to=1", {8, 9}, 0},
        {"Unsqueeze|f|u|axes=[0];Squeeze|u|c", {4, 0.25f}, 9},
        {"Unsqueeze|f last|u;Squeeze|u one|c", {4, 0.25f}, 0},
        {"Shape|w|k;Cast|k|c|to=1", {2, 3}, 0},
        {"Shape|q|k|start=-9 end=2;Cast|k|c|to=1", {2, 3}, 15},
        {"Shape|q|k|end=-1;Cast|k|c|to=1", {2, 3}, 15},
        {"Shape|q|k|start=-2 end=9;Cast|k|c|to=1", {3, 1}, 15},
        {"Constant||c|value_floats=[0.5,1.5]", {0.5f, 1.5f}, 0},
        {"Constant||k|value_ints=[5,6];Cast|k|c|to=1", {5, 6}, 0},
        {"Constant||k|value_float=0.5;Mul|f k|c", {2, 0.125f}, 0},
        {"Constant||k|value_int=1;Gather|m k|c", {3, 4}, 0},
        {"Identity|f|c", {4, 0.25f}, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        onnx_file f = start(rows[i].opset ? rows[i].opset : 13);
        float zero[3] = {0}, got[2];
        onnx_number(&f, "two2", 2);
        onnx_raw(&f, "zero0", 7, 0, NULL, (const int64_t[]){0}, 8);
        onnx_raw(&f, "i2", 7, 2, ROW, (const int64_t[]){8, 9}, 16);
        add_nodes(&f, rows[i].nodes);
        onnx_node(&f, "Add", "z c", "y", NULL);
        soma_checkpoint checkpoint = onnx_good(&f, &SCORES);
        onnx_answer(&checkpoint, zero, got);
        for (int k = 0; k < 2; k++)
            if (fabsf(got[k] - rows[i].want[k]) > 1e-6f)
                fail_msg("%s: %g, expected %g", rows[i].nodes, (double)got[k],
                         (double)rows[i].want[k]);
        soma_checkpoint_free(&checkpoint);
    }
}

static void
refused_constants(void **state)
{
    static const struct {
        const char *nodes;
        soma_status status;
        const char *words;
        int opset; /* 0: 13 */
    } rows[] = {
        {"Div|f null|c", SOMA_E_NOT_FINITE, "comes no finite number", 0},
        {"Log|g|c", SOMA_E_NOT_FINITE, "comes no finite number", 0},
        {"Div|i zeros|c", SOMA_E_UNSUPPORTED, "beyond 64 bits", 0},
        {"Mod|i zeros|c", SOMA_E_UNSUPPORTED, "beyond 64 bits", 0},
        {"Div|least last|c", SOMA_E_UNSUPPORTED, "beyond 64 bits", 0},
        {"Mod|least last|c", SOMA_E_UNSUPPORTED, "beyond 64 bits", 0},
        {"Neg|least|c", SOMA_E_UNSUPPORTED, "beyond 64 bits", 0},
        {"Add|far one|c", SOMA_E_UNSUPPORTED, "beyond 64 bits", 0},
        {"Shape|x|s;Add|s one|c", SOMA_E_UNSUPPORTED, "size of the batch", 0},
        {"Shape|x|s;Add|one s|c", SOMA_E_UNSUPPORTED, "size of the batch", 0},
        {"Shape|x|s;Neg|s|c", SOMA_E_UNSUPPORTED, "size of the batch", 0},
        {"Add|f four|c", SOMA_E_SHAPE, "shapes of its constants do not", 0},
        {"Add|f i|c", SOMA_E_UNSUPPORTED, "constants of these types", 0},
        {"Sqrt|i|c", SOMA_E_UNSUPPORTED, "constants of these types", 0},
        {"Mod|f g|c", SOMA_E_UNSUPPORTED, "constants of these types", 0},
        {"Add|f -|c", SOMA_E_FORMAT, "an input is missing", 0},
        {"Reshape|f frees|c", SOMA_E_SHAPE, "does not fit the shape", 0},
        {"Reshape|f odd|c", SOMA_E_SHAPE, "does not fit the shape", 0},
        {"Reshape|f ends|c|allowzero=1", SOMA_E_SHAPE, "does not fit", 0},
        {"Reshape|f below|c", SOMA_E_SHAPE, "does not fit the shape", 0},
        {"Reshape|f three|c", SOMA_E_SHAPE, "does not fit the shape", 0},
        {"Reshape|f nine|c", SOMA_E_SHAPE, "does not fit the shape", 0},
        {"Reshape|f zeros|c", SOMA_E_SHAPE, "does not fit the shape", 0},
        {"Reshape|f -|c", SOMA_E_FORMAT, "an input is missing", 0},
        {"Reshape|f g|c", SOMA_E_UNSUPPORTED, "integers are expected", 0},
        {"Reshape|- two|c", SOMA_E_SHAPE, "does not fit the shape", 0},
        {"Gather|four seven|c", SOMA_E_FORMAT, "an index that its input", 0},
        {"Gather|four least|c", SOMA_E_FORMAT, "an index that its input", 0},
        {"Gather|four one|c|axis=1", SOMA_E_FORMAT, "an axis that its", 0},
        {"Gather|four one|c|axis=-2", SOMA_E_FORMAT, "an axis that its", 0},
        {"Gather|four f|c", SOMA_E_UNSUPPORTED, "integers are expected", 0},
        {"Gather|four -|c", SOMA_E_FORMAT, "an input is missing", 0},
        {"Slice|four zero far zero two|c", SOMA_E_UNSUPPORTED, "steps of 1", 0},
        {"Slice|m zero one|c", SOMA_E_UNSUPPORTED, "one-dimensional", 0},
        {"Slice|four zero one one|c", SOMA_E_UNSUPPORTED, "one-dimens", 0},
        {"Slice|four zeros one|c", SOMA_E_UNSUPPORTED, "one axis only", 0},
        {"Slice|four f one|c", SOMA_E_UNSUPPORTED, "integers are", 0},
        {"Concat|m m|c|axis=0", SOMA_E_UNSUPPORTED, "of one type are", 0},
        {"Concat|f i|c|axis=0", SOMA_E_UNSUPPORTED, "of one type are", 0},
        {"Concat|f -|c|axis=0", SOMA_E_FORMAT, "an input is missing", 0},
        {"Transpose|f|c", SOMA_E_UNSUPPORTED, "only constant matrices", 0},
        {"Transpose|m|c|perm=[0,0]", SOMA_E_UNSUPPORTED, "matrices are", 0},
        {"Transpose|m|c|perm=[2,-1]", SOMA_E_UNSUPPORTED, "matrices are", 0},
        {"Transpose|m|c|perm=[0]", SOMA_E_UNSUPPORTED, "matrices are", 0},
        {"Cast|large|c|to=7", SOMA_E_FORMAT, "too large for an integer", 0},
        {"Shape|x|s;Cast|s|c|to=1", SOMA_E_UNSUPPORTED, "mixes", 0},
        {"Squeeze|m zero|c", SOMA_E_SHAPE, "not 1 long is squeezed", 0},
        {"Unsqueeze|f nine|c", SOMA_E_LIMIT, "more than 8 dimensions", 0},
        {"Unsqueeze|f seven|c", SOMA_E_FORMAT, "an axis that its input", 0},
        {"Squeeze|f g|c", SOMA_E_UNSUPPORTED, "integers are expected", 0},
        {"Constant||c|value_string=text", SOMA_E_UNSUPPORTED,
         "a constant without numbers", 0},
        {"Identity|four|c", SOMA_E_SHAPE, "shape of one example", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        onnx_file f = start(rows[i].opset ? rows[i].opset : 13);
        add_nodes(&f, rows[i].nodes);
        onnx_node(&f, "Add", "z c", "y", NULL);
        onnx_bad(&f, &SCORES, rows[i].status, rows[i].words);
    }
}

/* ---- What depends on the input ---- */

/* Shapes that a dense layer does not see: x as it is, or turned around. */
static void
shapes(void **state)
{
    static const struct {
        const char *nodes;
    } rows[] = {
        {"Flatten|x|v"},
        {"Flatten|x|v|axis=-1"},
        {"Squeeze|x|v"},
        {"Unsqueeze|x one|u;Squeeze|u one|v"},
        {"Unsqueeze|x last|u;Transpose|u|t|perm=[0,2,1];Flatten|t|v"},
        {"Unsqueeze|x one|u;Squeeze|u|v"},
        {"Reshape|x odd|v"},
        {"Constant||s|value_ints=[0,-1];Reshape|x s|v"},
        {"Constant||s|value_ints=[0,0];Reshape|x s|v"},
        {"Constant||s|value_ints=[0,3,1];Reshape|x s|u;Flatten|u|v"},
        {"Shape|x|s;Reshape|x s|v"},
        {"Dropout|x|v"},
        {"Dropout|x - no|v"},
        {"Cast|x|v|to=10"},
        {"Identity|x|v"},
        {"Max|x|v"},
        {"Clip|x|v"},
        {"Neg|x|n;Neg|n|v"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        onnx_file f = start(13);
        float x[3] = {1, 2, 4}, got[2];
        add_nodes(&f, rows[i].nodes);
        onnx_node(&f, "Gemm", "v w", "y", "transB=1");
        soma_checkpoint checkpoint = onnx_good(&f, &SCORES);
        onnx_answer(&checkpoint, x, got);
        if (fabsf(got[0] + 1) > 1e-6f || fabsf(got[1] - 2.25f) > 1e-6f)
            fail_msg("%s: %g %g", rows[i].nodes, (double)got[0],
                     (double)got[1]);
        soma_checkpoint_free(&checkpoint);
    }
}

static void
refused_shapes(void **state)
{
    static const struct {
        const char *nodes;
        soma_status status;
        const char *words;
    } rows[] = {
        {"Flatten|z|y|axis=3", SOMA_E_UNSUPPORTED, "mixes the examples"},
        {"Flatten|z|y|axis=-3", SOMA_E_UNSUPPORTED, "mixes the examples"},
        {"Flatten|z|y|axis=2", SOMA_E_UNSUPPORTED, "mixes the examples"},
        {"Reshape|z nine|y", SOMA_E_SHAPE, "1 to 8 dimensions is expected"},
        {"Constant||s|value_ints=[];Reshape|z s|y", SOMA_E_SHAPE,
         "1 to 8 dimensions is expected"},
        {"Reshape|z frees|y", SOMA_E_UNSUPPORTED, "mixes the examples"},
        {"Reshape|z odd|y", SOMA_E_UNSUPPORTED, "mixes the examples"},
        {"Constant||s|value_ints=[0,0,0];Reshape|z s|y", SOMA_E_UNSUPPORTED,
         "mixes the examples"},
        {"Constant||s|value_ints=[0,2];Reshape|z s|y|allowzero=1",
         SOMA_E_UNSUPPORTED, "mixes the examples"},
        {"Constant||s|value_ints=[1,-2];Reshape|z s|y", SOMA_E_UNSUPPORTED,
         "mixes the examples"},
        {"Reshape|z f|y", SOMA_E_UNSUPPORTED, "integers are expected"},
        {"Reshape|z x|y", SOMA_E_UNSUPPORTED, "depends on the input"},
        {"Reshape|z -|y", SOMA_E_UNSUPPORTED, "the file has nothing"},
        {"Squeeze|z one|y", SOMA_E_SHAPE, "not 1 long is squeezed"},
        {"Squeeze|z zero|y", SOMA_E_SHAPE, "not 1 long is squeezed"},
        {"Unsqueeze|z zero|y", SOMA_E_UNSUPPORTED, "mixes the examples"},
        {"Unsqueeze|z nine|y", SOMA_E_LIMIT, "more than 8 dimensions"},
        {"Transpose|z|y|perm=[0]", SOMA_E_FORMAT, "perm does not fit"},
        {"Transpose|z|y|perm=[0,2]", SOMA_E_FORMAT, "is no permutation"},
        {"Transpose|z|y|perm=[0,-1]", SOMA_E_FORMAT, "is no permutation"},
        {"Transpose|z|y|perm=[1,0]", SOMA_E_UNSUPPORTED, "mixes"},
        {"Dropout|z - yes|y", SOMA_E_UNSUPPORTED, "exported for training"},
        {"Dropout|z - f|y", SOMA_E_UNSUPPORTED, "integers are expected"},
        {"ReduceMax|z|y|axes=[0]", SOMA_E_UNSUPPORTED, "one dimension of an"},
        {"ReduceMax|z|y", SOMA_E_UNSUPPORTED, "one dimension of an example"},
        {"ReduceMax|z|y|axes=[2]", SOMA_E_FORMAT, "an axis that its input"},
        {"Softmax|z|y|axis=0", SOMA_E_UNSUPPORTED, "all scores of an"},
        {"Softmax|z|y|axis=-3", SOMA_E_UNSUPPORTED, "all scores of an"},
        {"Max|z -|y", SOMA_E_FORMAT, "1 to 1024 inputs"},
        {"Max|x z|y", SOMA_E_UNSUPPORTED, "(maxout)"},
        {"Gemm|x q|v;Identity|v|y", SOMA_E_SHAPE, "3 dimensions"},
        {"Clip|z f|y", SOMA_E_FORMAT, "not one number"},
        {"Concat|z z|y|axis=1", SOMA_E_UNSUPPORTED, "it joins values"},
        {"Concat|z f|y|axis=1", SOMA_E_UNSUPPORTED, "it joins values"},
        {"ml.ArrayFeatureExtractor|z one|y", SOMA_E_UNSUPPORTED,
         "chooses some of the features"},
        {"ml.ArrayFeatureExtractor|f z|y", SOMA_E_UNSUPPORTED,
         "chooses some of the features"},
        {"ml.Normalizer|z|y|norm=L1", SOMA_E_UNSUPPORTED, "by itself"},
        {"Softmax|z|p;ml.Normalizer|p|y|norm=MAX", SOMA_E_UNSUPPORTED,
         "by itself"},
        {"Softmax|z|p;ml.Normalizer|p|y", SOMA_E_UNSUPPORTED, "by itself"},
        {"Add|z -|y", SOMA_E_FORMAT, "an input is missing"},
        {"Relu|f|y", SOMA_E_UNSUPPORTED, "is expected to depend on"},
        {"Relu|-|y", SOMA_E_UNSUPPORTED, "depend on"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        onnx_file f = start(13);
        add_nodes(&f, rows[i].nodes);
        onnx_bad(&f, &SCORES, rows[i].status, rows[i].words);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants),
        cmocka_unit_test(refused_constants),
        cmocka_unit_test(shapes),
        cmocka_unit_test(refused_shapes),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}
