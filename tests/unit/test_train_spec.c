/* server/train_spec.c: what the options of `soma train` say, and cannot say. */
#include "core/loss.h"
#include "server/train_spec.h"
#include "tests/unit/nets.h"
#include "tests/unit/scratch.h"

static soma_error err;

static void
expect(const char *what, soma_status got, const char *words)
{
    soma_status want = words ? SOMA_E_ARGUMENT : SOMA_OK;
    if (got != want || (words && !strstr(err.text, words)))
        fail_msg("%s: expected \"%s\", got %d: %s", what, words ? words : "",
                 (int)got, got ? err.text : "");
}

static void
shapes(void **state)
{
    static const struct {
        const char *text;
        int rank, shape[3];
    } good[] = {{"28x28", 2, {28, 28}},
                {"1x7x9", 3, {1, 7, 9}},
                {"3x32x32", 3, {3, 32, 32}}};
    static const char *const bad[] = {"",      "28",        "28x",   "x28",
                                      "0x28",  "-1x28",     "2x8x8", "28x28x",
                                      "28 28", "3x3x3x3",   "ax8",   "8xa",
                                      "28,28", "9999999x1", "1x2x3 "};
    int rank, shape[3];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        expect(good[i].text, soma_shape_parse(good[i].text, &rank, shape, &err),
               NULL);
        assert_int_equal(rank, good[i].rank);
        for (int k = 0; k < rank; k++)
            assert_int_equal(shape[k], good[i].shape[k]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        expect(bad[i], soma_shape_parse(bad[i], &rank, shape, &err),
               "--shape: expected HxW for grey or 3xHxW for RGB, got \"");
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void
names(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"cat", NULL},
        {"cat,dog,a b", NULL},
        {"", "name 1 is empty or stands there twice"},
        {"cat,", "name 2 is empty"},
        {"cat,,dog", "name 2 is empty"},
        {"cat,dog,cat", "name 3 is empty or stands there twice"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        soma_classes classes;
        expect(rows[i].text, soma_names_parse(rows[i].text, &classes, &err),
               rows[i].words);
        if (i == 1) {
            assert_int_equal(classes.count, 3);
            assert_string_equal(classes.names[2], "a b");
        }
        soma_classes_free(&classes);
    }
}

static void
labels(void **state)
{
    static char tea[] = "tea", coffee[] = "coffee", digit[] = "7up";
    static char *words[] = {tea, coffee, digit};
    const soma_dataset dataset = {.label_count = 3, .classes = {3, words}};
    static const struct {
        const char *text;
        int label; /* -1: refused */
    } rows[] = {{"0", 0},   {"2", 2},    {"coffee", 1}, {"7up", 2}, {"3", -1},
                {"-1", -1}, {"mud", -1}, {"", -1},      {"1 ", -1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int label = -1;
        expect(rows[i].text,
               soma_label_parse(rows[i].text, &dataset, &label, &err),
               rows[i].label < 0 ? "it has 3, numbered from 0" : NULL);
        assert_int_equal(label, rows[i].label);
    }
}

/* ---- Networks ---- */

static const soma_train_spec plain = {.hidden = "4",
                                      .activation = "relu",
                                      .slope = 0.1,
                                      .pieces = 2,
                                      .normalise = "all"};

static soma_dataset
table_of(int *rows)
{
    static float values[] = {0, -3, 2, 1, 0, 7};
    return (soma_dataset){.count = 2,
                          .rank = 3,
                          .shape = {3, 1, 1},
                          .size = 3,
                          .values = values,
                          .labels = rows,
                          .label_count = 2};
}

static void
networks(void **state)
{
    static const struct {
        const char *hidden, *activation, *loss, *normalise, *words;
        int depth, normals;
    } rows[] = {
        {"4", "relu", NULL, "all", NULL, 2, 1},
        {"none", "relu", NULL, "none", NULL, 1, 0},
        {"4,5,6", "maxout", NULL, "channel", NULL, 4, 3},
        {"4", "leaky_relu", "multiclass_hinge", "all", NULL, 2, 1},
        {"4", "relu", "logistic", "all", NULL, 2, 1},
        {"1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",
         "relu", NULL, "all", "--hidden: expected up to", 0, 0},
        {"4,", "relu", NULL, "all", "separated by commas, or none", 0, 0},
        {"0", "relu", NULL, "all", "got \"0\"", 0, 0},
        {"4;5", "relu", NULL, "all", "got \"4;5\"", 0, 0},
        {"4", "swish", NULL, "all", "--activation: unknown \"swish\"", 0, 0},
        {"4", "relu", "mse", "all", "--loss: unknown", 0, 0},
        {"4", "relu", NULL, "most",
         "--normalise: expected channel, all or none, got \"most\"", 0, 0},
    };
    int two[] = {0, 1};
    const soma_dataset dataset = table_of(two);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        soma_train_spec spec = plain;
        soma_checkpoint made = {0};
        spec.hidden = rows[i].hidden;
        spec.activation = rows[i].activation;
        spec.loss = rows[i].loss;
        spec.normalise = rows[i].normalise;
        expect(rows[i].hidden,
               soma_train_create(&spec, &dataset, 1, &made, &err),
               rows[i].words);
        if (!rows[i].words) {
            const soma_spec *got = &made.model->spec;
            assert_int_equal(got->depth, rows[i].depth);
            assert_int_equal(got->input.normals, rows[i].normals);
            assert_true(got->input.low == -3 && got->input.high == 7);
            assert_string_equal(got->loss->name, rows[i].loss
                                                     ? rows[i].loss
                                                     : "softmax_cross_entropy");
        }
        soma_checkpoint_free(&made);
    }
}

/* ---- Datasets ---- */

static void
datasets(void **state)
{
    static const struct {
        const char *classes, *versus_rest, *shape, *label_column, *words;
        int count;         /* of the classes */
        const char *first; /* class */
        int label;         /* of --versus-rest */
    } rows[] = {
        {NULL, NULL, NULL, "kind", NULL, 3, "coffee", -1},
        {"x,y,z", NULL, NULL, "kind", NULL, 3, "x", -1},
        {"x,y,z,none", NULL, NULL, "kind", NULL, 4, "x", -1},
        {NULL, "tea", NULL, "kind", NULL, 2, "not tea", 1},
        {"x,y,z", "y", NULL, "kind", NULL, 2, "not y", 1},
        {"x,y", NULL, NULL, "kind", "2 names, but the dataset has 3", 0, NULL,
         -1},
        {"x,x,z", NULL, NULL, "kind", "stands there twice", 0, NULL, -1},
        {NULL, "mud", NULL, "kind", "no class \"mud\"; it has 3", 0, NULL, -1},
        {NULL, NULL, "7", "kind", "--shape: expected HxW", 0, NULL, -1},
    };
    (void)state;
    scratch_text("t.csv", "x,kind\n1,tea\n2,coffee\n3,water\n4,tea\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        soma_train_spec spec = plain;
        soma_dataset dataset = {0};
        const soma_checkpoint none = {0};
        spec.classes = rows[i].classes;
        spec.versus_rest = rows[i].versus_rest;
        spec.shape = rows[i].shape;
        spec.label_column = rows[i].label_column;
        expect(rows[i].words ? rows[i].words : "a dataset",
               soma_train_open(&spec, scratch_path("t.csv"), &none, &dataset,
                               &err),
               rows[i].words);
        if (!rows[i].words) {
            assert_int_equal(dataset.label_count, rows[i].count);
            assert_string_equal(dataset.classes.names[0], rows[i].first);
            assert_int_equal(spec.versus_rest_label, rows[i].label);
        }
        soma_dataset_free(&dataset);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),   cmocka_unit_test(names),
        cmocka_unit_test(labels),   cmocka_unit_test(networks),
        cmocka_unit_test(datasets),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
