/* The shipped models over their full test sets, through POST /predict: the
 * accuracies that the README promises, and the numbers of `soma evaluate`. */
#include "tests/http/server.h"

#include "core/io/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static server s;

static int
set_up(void **state)
{
    static const char *const arguments[] = {"--max-rows", "5000", NULL};
    (void)state;
    start_server(&s, arguments);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return stop_server(&s);
}

static int
correct_by_server(const char *model, const soma_dataset *set, int versus)
{
    enum { ROWS = 500 };
    char path[64];
    int correct = 0;
    snprintf(path, sizeof path, "/models/%s/predict?top_k=1", model);
    for (int at = 0; at < set->count; at += ROWS) {
        answer a = ask(&s, NULL, path, "application/octet-stream",
                       set->bytes + (size_t)at * (size_t)set->size,
                       (size_t)ROWS * (size_t)set->size);
        assert_int_equal(a.status, 200);
        const json_t *list = json_object_get(a.json, "predictions");
        assert_int_equal(json_array_size(list), ROWS);
        for (int i = 0; i < ROWS; i++) {
            int label = set->labels[at + i];
            if (versus >= 0)
                label = label == versus;
            correct +=
                whole_of(json_array_get(list, (size_t)i), "label") == label;
        }
        free_answer(&a);
    }
    return correct;
}

static int
correct_by_evaluate(const char *model, const char *dataset)
{
    char command[1024];
    const char *soma = getenv("SOMA"), *models = getenv("SOMA_MODELS");
    snprintf(command, sizeof command,
             "%s evaluate %s/%s.safetensors --dataset %s --json",
             soma ? soma : "build/gcc/soma", models ? models : "models", model,
             dataset);
    FILE *from = popen(command, "r");
    json_t *json = json_loadf(from, 0, NULL);
    assert_int_equal(pclose(from), 0);
    int correct = (int)whole_of(json, "correct");
    json_decref(json);
    return correct;
}

static void
check(const char *model, const char *dataset, int versus, double least)
{
    soma_dataset set;
    soma_error err;
    soma_dataset_options options = {.split = SOMA_SPLIT_TEST};
    if (soma_dataset_open(dataset, &options, &set, &err))
        fail_msg("%s", err.text);
    assert_int_equal(set.count, 10000);
    int correct = correct_by_server(model, &set, versus);
    print_message("%s: %d of 10000 right\n", model, correct);
    assert_true(correct >= least * 100);
    assert_int_equal(correct, correct_by_evaluate(model, dataset));
    soma_dataset_free(&set);
}

static void
fashion(void **state)
{
    static const char dataset[] = "/usr/share/datasets/fashion-mnist";
    (void)state;
    if (foreign_server("full test sets"))
        return;
    check("fashion", dataset, -1, 89.0);
    check("neuron", dataset, 9, 98.0);
    check("neuron-svm", dataset, 9, 98.0);
}

static bool
test_data(const char *name, char *path, size_t size)
{
    const char *root = getenv("SOMA_TEST_DATA");
    snprintf(path, size, "%s/%s", root ? root : "data", name);
    if (access(path, R_OK) == 0)
        return true;
    print_message("NOT TESTED: %s is not there (make data)\n", path);
    return false;
}

static void
mnist(void **state)
{
    char path[512];
    (void)state;
    if (!foreign_server("full test sets") &&
        test_data("mnist", path, sizeof path))
        check("mnist", path, -1, 98.3);
}

static void
cifar10(void **state)
{
    char path[512];
    (void)state;
    if (foreign_server("full test sets") ||
        !test_data("cifar10", path, sizeof path))
        return;
    check("cifar10-linear", path, -1, 39.0);
    check("cifar10", path, -1, 54.0);
    check("cifar10-deep", path, -1, 62.0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fashion),
        cmocka_unit_test(mnist),
        cmocka_unit_test(cifar10),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
