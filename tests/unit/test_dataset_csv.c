/* CSV: each test writes a small text and reads it back. */
#include "core/io/dataset.h"

#include "tests/unit/scratch.h"

#include <float.h>
#include <locale.h>
#include <math.h>

static soma_dataset data;
static soma_error err;

static soma_status
open_text(const char *text, const char *column, const soma_classes *classes)
{
    soma_dataset_options options = {.label_column = column, .classes = classes};
    err = (soma_error){0};
    return soma_dataset_open(scratch_text("a.csv", text), &options, &data,
                             &err);
}

static void
expect(const char *text, const char *column, int count, int size,
       const int *labels, const float *values)
{
    soma_status status = open_text(text, column, NULL);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SOMA_OK);
    assert_int_equal(data.count, count);
    assert_int_equal(data.rank, 1);
    assert_int_equal(data.shape[0], size);
    assert_int_equal(data.size, size);
    assert_null(data.bytes);
    assert_string_equal(data.format, "csv");
    assert_memory_equal(data.labels, labels, (size_t)count * sizeof *labels);
    for (int i = 0; i < count * size; i++)
        assert_float_equal(data.values[i], values[i], 0);
    soma_dataset_free(&data);
}

static void
refuse_for(const char *text, const char *column, const soma_classes *classes,
           soma_status expected, const char *part)
{
    soma_status status = open_text(text, column, classes);
    if (status != expected || !strstr(err.text, part))
        print_error("%s: got status %d: %s\n", text, status, err.text);
    assert_int_equal(status, expected);
    assert_int_equal(err.status, expected);
    assert_non_null(strstr(err.text, part));
    assert_null(data.labels);
    assert_null(data.values);
}

static void
refuse(const char *text, soma_status expected, const char *part)
{
    refuse_for(text, NULL, NULL, expected, part);
}

#define LABELS (const int[])
#define VALUES (const float[])

static void
test_plain(void **state)
{
    (void)state;
    expect("1,2,3\n0,4,5\n", NULL, 2, 2, LABELS{1, 0}, VALUES{2, 3, 4, 5});
    expect("1,2,3\n0,4,5", NULL, 2, 2, LABELS{1, 0}, VALUES{2, 3, 4, 5});
    expect("1,2,3\r\n0,4,5\r\n\r\n", NULL, 2, 2, LABELS{1, 0},
           VALUES{2, 3, 4, 5});
    expect("1,2,3\n\n\n0,4,5\n\n", NULL, 2, 2, LABELS{1, 0},
           VALUES{2, 3, 4, 5});
    expect("\xef\xbb\xbf"
           "1,2\n",
           NULL, 1, 1, LABELS{1}, VALUES{2});
    expect("\"1\",\"2\"\n3.0,\" 4 \"\n", NULL, 2, 1, LABELS{1, 3},
           VALUES{2, 4});
}

static void
test_headers(void **state)
{
    (void)state;
    expect("y,a,b\n1,2,3\n", NULL, 1, 2, LABELS{1}, VALUES{2, 3});
    expect("0,a,1\n1,2,3\n", NULL, 1, 2, LABELS{1}, VALUES{2, 3});
    expect("label,0,1\n1,2,3\n4,5,6\n", NULL, 2, 2, LABELS{1, 4},
           VALUES{2, 3, 5, 6});
    expect("a,y,b\r\n1,2,3\r\n", "y", 1, 2, LABELS{2}, VALUES{1, 3});
    expect("\"a,\"\"1\"\"\",b\n1,2\n", "a,\"1\"", 1, 1, LABELS{1}, VALUES{2});
    expect("0,1,2\n5,6,7\n", "2", 1, 2, LABELS{7}, VALUES{5, 6});
    expect("\xef\xbb\xbfy,b\n1,2\n", "y", 1, 1, LABELS{1}, VALUES{2});
    refuse_for("a,b\n1,2\n", "y", NULL, SOMA_E_NOT_FOUND, "\"y\"");
    refuse_for("1,2\n3,4\n", "y", NULL, SOMA_E_NOT_FOUND, "\"y\"");
}

static void
test_numbers(void **state)
{
    (void)state;
    expect("0,1,-1,+1,0.5,-.5,5.,1e3,1E-3,-2.5e+2\n", NULL, 1, 9, LABELS{0},
           VALUES{1, -1, 1, 0.5, -0.5, 5, 1000, 0.001f, -250});
    expect("0,0.1,0.30000001,123456789012345,1234567890123456789,007\n", NULL,
           1, 5, LABELS{0},
           VALUES{0.1f, 0.3f, 123456789012345.0f, 1234567890123456789.0f, 7});
    expect("0,3.4028235e38,1e-60,0.000000000000001,-0\n", NULL, 1, 4, LABELS{0},
           VALUES{FLT_MAX, 0, 1e-15f, -0.0f});
    static const char *const texts[] = {
        "x", "",  "1x", "1 2",   "0x10", "--1", "1e",  "1e+",
        ".", "-", "e5", "1.2.3", "1;",   "1_0", "1'0", "nanx"};
    char text[100];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        snprintf(text, sizeof text, "0,1\n1,%s\n", texts[i]);
        refuse(text, SOMA_E_FORMAT, "line 2, column 2");
    }
    static const char *const infinite[] = {"nan",  "NaN",   "-nan",
                                           "inf",  "-Inf",  "1e999",
                                           "1e39", "-1e39", "Infinity"};
    for (size_t i = 0; i < sizeof infinite / sizeof *infinite; i++) {
        snprintf(text, sizeof text, "0,%s\n1,1\n", infinite[i]);
        refuse(text, SOMA_E_NOT_FINITE, "line 1, column 2");
    }
}

static void
test_any_locale(void **state)
{
    (void)state;
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8"))
        print_message("NOT TESTED: a locale with decimal commas; there is "
                      "none here\n");
    expect("0,0.5,1.25e1,0.30000000000000000001\n", NULL, 1, 3, LABELS{0},
           VALUES{0.5, 12.5, 0.3f});
    setlocale(LC_ALL, "C");
}

static void
test_names(void **state)
{
    (void)state;
    soma_status status = open_text(
        "y,a\ndog,1\ncat,2\n\"bird, \"\"big\"\"\",3\ncat,4\n7,5\n", NULL, NULL);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SOMA_OK);
    assert_int_equal(data.count, 5);
    assert_int_equal(data.label_count, 4);
    assert_int_equal(data.classes.count, 4);
    assert_string_equal(data.classes.names[0], "7");
    assert_string_equal(data.classes.names[1], "bird, \"big\"");
    assert_string_equal(data.classes.names[2], "cat");
    assert_string_equal(data.classes.names[3], "dog");
    assert_memory_equal(data.labels, (LABELS{3, 2, 1, 2, 0}), sizeof(int[5]));
    soma_dataset_free(&data);
}

static void
test_numbers_as_labels(void **state)
{
    (void)state;
    assert_int_equal(open_text("3,1\n0,1\n3.0,1\n", NULL, NULL), SOMA_OK);
    assert_int_equal(data.label_count, 4);
    assert_int_equal(data.classes.count, 0);
    soma_dataset_free(&data);
    refuse("3,1\n-1,1\n", SOMA_E_FORMAT, "line 2, column 1");
    refuse("3,1\n1.5,1\n", SOMA_E_FORMAT, "line 2, column 1");
    refuse("3,1\n1048576,1\n", SOMA_E_FORMAT, "line 2, column 1");
    refuse("3,1\n,1\n", SOMA_E_FORMAT, "line 2, column 1: no label");
}

static void
test_classes_of_the_model(void **state)
{
    (void)state;
    char *names[] = {(char *)"dog", (char *)"cat", (char *)"0"};
    const soma_classes known = {3, names};
    const soma_classes none = {0, NULL};
    assert_int_equal(open_text("cat,1\ndog,2\n", NULL, &known), SOMA_OK);
    assert_memory_equal(data.labels, (LABELS{1, 0}), sizeof(int[2]));
    assert_int_equal(data.label_count, 3);
    assert_string_equal(data.classes.names[1], "cat");
    soma_dataset_free(&data);
    /* A name goes before a number. */
    assert_int_equal(open_text("0,1\n1,2\n", NULL, &known), SOMA_OK);
    assert_memory_equal(data.labels, (LABELS{2, 1}), sizeof(int[2]));
    soma_dataset_free(&data);
    assert_int_equal(open_text("b,1\na,2\n", NULL, &none), SOMA_OK);
    assert_memory_equal(data.labels, (LABELS{1, 0}), sizeof(int[2]));
    soma_dataset_free(&data);
    refuse_for("cat,1\nbird,2\n", NULL, &known, SOMA_E_NOT_FOUND,
               "line 2, column 1: no class \"bird\", there are dog, cat, 0");
    refuse_for("0,1\n3,2\n", NULL, &known, SOMA_E_NOT_FOUND,
               "line 2, column 1: no class \"3\"");
    refuse_for("0,1\n-1,2\n", NULL, &known, SOMA_E_NOT_FOUND, "\"-1\"");
}

static void
test_many_classes_in_a_message(void **state)
{
    (void)state;
    char text[500][16], *names[500];
    for (int i = 0; i < 500; i++) {
        snprintf(text[i], sizeof text[i], "name%d", i);
        names[i] = text[i];
    }
    refuse_for("x,1\n", NULL, &(const soma_classes){500, names},
               SOMA_E_NOT_FOUND, "name0, name1, name2");
    assert_non_null(strstr(err.text, ", ..."));
    char huge[400], *one[] = {huge};
    memset(huge, 'n', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    refuse_for("x,1\n", NULL, &(const soma_classes){1, one}, SOMA_E_NOT_FOUND,
               "there are ...");
}

static void
test_wrong_texts(void **state)
{
    (void)state;
    refuse("", SOMA_E_FORMAT, "empty");
    refuse("\n\n", SOMA_E_FORMAT, "empty");
    refuse("\xef\xbb\xbf", SOMA_E_FORMAT, "empty");
    refuse("a,b\n", SOMA_E_FORMAT, "no examples");
    refuse("1\n2\n", SOMA_E_FORMAT, "line 1");
    refuse("1,2,3\n1,2\n", SOMA_E_FORMAT, "line 2, column 2: 2 fields");
    refuse("1,2\n1,2,3\n", SOMA_E_FORMAT, "line 2, column 3: 3 fields");
    refuse("1,2\n1,2,\n", SOMA_E_FORMAT, "3 fields");
    refuse("1,2\n1,2,", SOMA_E_FORMAT, "3 fields");
    refuse("1,2\n1,\"2\n", SOMA_E_FORMAT, "line 2, column 2: a quote");
    refuse("1,2\n1,\"", SOMA_E_FORMAT, "line 2, column 2: a quote");
    refuse("1,2\n1,\"2\"x\n", SOMA_E_FORMAT, "line 2, column 2: text after");
    refuse("\"", SOMA_E_FORMAT, "line 1, column 1");
    /* Lines are counted through quotes and empty lines. */
    refuse("\"a\nb\",1\r\n\r\n\"c\",2\nd,x\n", SOMA_E_FORMAT,
           "line 5, column 2");
    static const char nul[] = "1,2\n\0";
    soma_dataset_options options = {.split = SOMA_SPLIT_TRAIN};
    assert_int_equal(soma_dataset_open(scratch_write("a.csv", nul, sizeof nul),
                                       &options, &data, &err),
                     SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "NUL"));
}

static void
test_many_rows(void **state)
{
    (void)state;
    enum { ROWS = 3000 };
    char *text = malloc(ROWS * 32), *to = text;
    assert_non_null(text);
    for (int i = 0; i < ROWS; i++)
        to += sprintf(to, "c%04d,%d.25,%d\n", i % 700, i, -i);
    soma_status status = open_text(text, NULL, NULL);
    free(text);
    assert_int_equal(status, SOMA_OK);
    assert_int_equal(data.count, ROWS);
    assert_int_equal(data.classes.count, 700);
    for (int i = 0; i < ROWS; i++) {
        float x[2];
        soma_dataset_row(&data, i, x);
        assert_int_equal(data.labels[i], i % 700);
        assert_float_equal(x[0], (float)i + 0.25f, 0);
        assert_float_equal(x[1], (float)-i, 0);
    }
    soma_dataset_free(&data);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_plain),
        TEST(test_headers),
        TEST(test_numbers),
        TEST(test_any_locale),
        TEST(test_names),
        TEST(test_numbers_as_labels),
        TEST(test_classes_of_the_model),
        TEST(test_many_classes_in_a_message),
        TEST(test_wrong_texts),
        TEST(test_many_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
