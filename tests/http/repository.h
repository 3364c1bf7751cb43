/* A server with a models folder of its own, whose files come and go.
 */
#ifndef SOMA_TESTS_HTTP_REPOSITORY_H
#define SOMA_TESTS_HTTP_REPOSITORY_H

#include "tests/http/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char folder[64], models[80], data[80];
static server s;

/* The shipped model `from` becomes the file of `name`, in one step. */
static inline void
put_file(const char *from, const char *name)
{
    shell("cp models/%s.safetensors %s/tmp && mv %s/tmp %s/%s.safetensors",
          from, folder, folder, models, name);
}

static inline void
start(const char *first, ...)
{
    const char *arguments[16] = {"--models", models, "--default-model",
                                 "digits"};
    int count = 4;
    va_list more;
    va_start(more, first);
    for (const char *a = first; a; a = va_arg(more, const char *))
        arguments[count++] = a;
    va_end(more);
    start_server(&s, arguments);
    wait_until_ready(&s);
}

/* A folder of its own for each test: "digits" is MNIST's model. */
static inline int
set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/soma-repository-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(models, sizeof models, "%s/models", folder);
    snprintf(data, sizeof data, "%s/data", folder);
    shell("mkdir %s", models);
    put_file("mnist", "digits");
    put_file("neuron", "neuron");
    return 0;
}

static inline int
tear_down(void **state)
{
    (void)state;
    if (s.pid)
        stop_server(&s);
    shell("rm -rf %s", folder);
    return 0;
}

/* ---- Asking ---- */

static inline answer
load(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/v2/repository/models/%s/load", name);
    return post(&s, path, "{}");
}

static inline answer
unload(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/v2/repository/models/%s/unload", name);
    return post(&s, path, "{\"parameters\":{\"unload_dependents\":false}}");
}

static inline void
expect_good(answer a)
{
    if (a.status != 200)
        fail_msg("status %ld: %s", a.status, a.body);
    free_answer(&a);
}

static inline answer
predict(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/models/%s/predict", name);
    return ask(&s, NULL, path, "application/octet-stream", fashion_images(),
               PIXELS);
}

static inline long
status_of(const char *name)
{
    answer a = predict(name);
    long status = a.status;
    free_answer(&a);
    return status;
}

/* The first number of the answer tells which weights gave it. */
static inline double
first_number(const answer *a)
{
    return json_number_value(
        json_array_get(json_object_get(a->json, "probabilities"), 0));
}

static inline double
answer_of(const char *name)
{
    answer a = predict(name);
    assert_int_equal(a.status, 200);
    double number = first_number(&a);
    free_answer(&a);
    return number;
}

static inline json_int_t
version_of(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/models/%s", name);
    answer a = get(&s, path);
    assert_int_equal(a.status, 200);
    json_int_t version = whole_of(a.json, "version");
    free_answer(&a);
    return version;
}

static inline void
teach(const char *name, json_int_t version)
{
    char path[128];
    snprintf(path, sizeof path, "/models/%s/train?label=3", name);
    answer a = ask(&s, NULL, path, "application/octet-stream", fashion_images(),
                   PIXELS);
    if (a.status != 200)
        fail_msg("status %ld: %s", a.status, a.body);
    assert_int_equal(whole_of(a.json, "version"), version);
    free_answer(&a);
}

/* "STATE reason" of the model, "" if it is not in the index. */
static inline void
state_of(const char *name, const char *body, char *text, size_t size)
{
    answer a =
        ask(&s, "POST", "/v2/repository/index", NULL, body, strlen(body));
    size_t i;
    json_t *one;
    assert_int_equal(a.status, 200);
    *text = '\0';
    json_array_foreach (a.json, i, one) {
        assert_string_equal(text_of(one, "version"), "1");
        if (!strcmp(text_of(one, "name"), name))
            snprintf(text, size, "%s %s", text_of(one, "state"),
                     text_of(one, "reason"));
    }
    free_answer(&a);
}

static inline void
expect_state(const char *name, const char *expected)
{
    char text[512];
    state_of(name, "", text, sizeof text);
    assert_string_equal(text, expected);
}

static char log_text[1 << 18];

/* The log from byte `from` on; returns how long it is. */
static inline size_t
read_log(size_t from)
{
    FILE *file = fopen(s.log, "r");
    assert_non_null(file);
    fseek(file, (long)from, SEEK_SET);
    size_t size = fread(log_text, 1, sizeof log_text - 1, file);
    log_text[size] = '\0';
    fclose(file);
    return from + size;
}

/* Sends SIGHUP and waits until the log says so much. */
static inline void
hang_up(const char *until)
{
    const struct timespec pause = {0, 5000000};
    size_t before = read_log(0);
    kill(s.pid, SIGHUP);
    for (int i = 0; i < 2000; i++) {
        read_log(before);
        const char *rescan = strstr(log_text, " rescan ");
        if (rescan && strstr(rescan, until))
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("\"%s\" is not in the log:\n%s", until, log_text);
}

static inline bool
skipped(const char *what)
{
    if (!foreign_server(what))
        return false;
    s.pid = 0;
    return true;
}

#endif
