/* A server that remembers what it has predicted, and is taught by ids.
 */
#ifndef SOMA_TESTS_HTTP_DELAYED_H
#define SOMA_TESTS_HTTP_DELAYED_H

#include "tests/http/server.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char data[] = "/tmp/soma-delayed-XXXXXX";
static server s;

static const char *const durable[] = {"--data", data, NULL};

static inline int
set_up(void **state)
{
    (void)state;
    if (!getenv("SOMA_URL") && !mkdtemp(data))
        return -1;
    start_server(&s, durable);
    wait_until_ready(&s);
    return 0;
}

static inline int
tear_down(void **state)
{
    (void)state;
    return stop_and_remove(&s, data);
}

/* Another server, in memory, with these options. */
static inline void
restart(const char *const *arguments)
{
    assert_int_equal(stop_server(&s), 0);
    start_server(&s, arguments);
    wait_until_ready(&s);
}

/* ---- Asking ---- */

enum { ID = 25 };

static inline void
take_id(const json_t *from, char id[ID])
{
    const char *text = text_of(from, "id");
    assert_int_equal(strlen(text), ID - 1);
    for (int i = 0; text[i]; i++)
        assert_true(isdigit(text[i]) || (text[i] >= 'a' && text[i] <= 'f'));
    memcpy(id, text, ID);
}

static inline const unsigned char *
image(int i)
{
    return fashion_images() + (size_t)i * PIXELS;
}

static inline answer
predict_bytes(const char *model, int first, int count)
{
    char path[100];
    snprintf(path, sizeof path, "/models/%s/predict?remember=1", model);
    return ask(&s, NULL, path, "application/octet-stream", image(first),
               (size_t)count * PIXELS);
}

/* Remembers an image; what had been answered goes to `label`. */
static inline void
remember(int i, char id[ID], int *label)
{
    answer a = predict_bytes("fashion", i, 1);
    assert_int_equal(a.status, 200);
    take_id(a.json, id);
    if (label)
        *label = (int)whole_of(a.json, "label");
    free_answer(&a);
}

static inline answer
teach(const char *id, int label)
{
    return post_json(&s, "/models/fashion/train",
                     json_pack("{s:s, s:i}", "id", id, "label", label));
}

static inline json_int_t
version(void)
{
    answer a = get(&s, "/models/fashion");
    json_int_t v = whole_of(a.json, "version");
    free_answer(&a);
    return v;
}

/* What was taught last is just this image, with this label. */
static inline void
expect_taught(const unsigned char *bytes, int label)
{
    answer a = get(&s, "/models/fashion/examples?limit=1&pixels=1");
    const json_t *last = json_array_get(json_object_get(a.json, "examples"), 0);
    const json_t *pixels = json_object_get(last, "pixels");
    assert_int_equal(whole_of(last, "label"), label);
    assert_int_equal(json_array_size(pixels), PIXELS);
    for (size_t i = 0; i < PIXELS; i++)
        assert_true(json_number_value(json_array_get(pixels, i)) == bytes[i]);
    free_answer(&a);
}

/* The counters, by JSON and for Prometheus. */
static inline void
expect_counts(int remembered, int labelled, int right)
{
    char line[100];
    answer a = get(&s, "/models/fashion");
    const json_t *delayed = json_object_get(a.json, "delayed");
    assert_int_equal(whole_of(delayed, "remembered"), remembered);
    assert_int_equal(whole_of(delayed, "labelled"), labelled);
    assert_int_equal(whole_of(delayed, "right"), right);
    free_answer(&a);
    a = get(&s, "/metrics");
    const struct {
        const char *name;
        int value;
    } rows[] = {{"soma_remembered_inputs", remembered},
                {"soma_delayed_labels_total", labelled},
                {"soma_delayed_labels_right_total", right}};
    for (size_t i = 0; i < 3; i++) {
        snprintf(line, sizeof line, "\n%s{model=\"fashion\"} %d\n",
                 rows[i].name, rows[i].value);
        if (!strstr(a.body, line))
            fail_msg("no %s in /metrics", line + 1);
    }
    free_answer(&a);
}

#endif
