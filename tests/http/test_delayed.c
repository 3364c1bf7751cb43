/* Labels that come later: inputs that /predict remembers, and is taught by
 * their ids. */
#include "tests/http/delayed.h"

#include <curl/curl.h>

/* ---- Remembering ---- */

static void
ids_come_only_when_asked_for(void **unused)
{
    (void)unused;
    static const struct {
        const char *query, *more;
        bool id;
    } cases[] = {
        {"", "", false},
        {"", ",\"remember\":false", false},
        {"", ",\"remember\":null", false},
        {"", ",\"remember\":true", true},
        {"?remember=1", "", true},
        {"?remember=0", "", false},
        {"?remember=1", ",\"remember\":false", false}, /* the body's counts */
        {"?remember=0", ",\"remember\":true", true},
        {"?remember=1", ",\"remember\":null", true},
        {"?remember=1&top_k=2", "", true},
    };
    json_t *json = pixels_of(image(0), PIXELS);
    char *pixels = json_dumps(json, JSON_COMPACT), path[100];
    char *body = malloc(strlen(pixels) + 200);
    json_decref(json);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sprintf(body, "{\"pixels\":%s%s}", pixels, cases[i].more);
        snprintf(path, sizeof path, "/models/fashion/predict%s",
                 cases[i].query);
        answer a = post(&s, path, body);
        assert_int_equal(a.status, 200);
        if (!json_object_get(a.json, "id") == cases[i].id)
            fail_msg("case %zu: %s", i, a.body);
        free_answer(&a);
    }
    static const char *const wrong[] = {"1", "\"true\"", "[]", "{}", "[1]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sprintf(body, "{\"pixels\":%s,\"remember\":%s}", pixels, wrong[i]);
        expect_error(post(&s, "/models/fashion/predict", body), 400,
                     "bad_remember", "\"remember\"");
    }
    sprintf(body, "{\"pixels\":%s}", pixels);
    static const char *const queries[] = {"2", "true", "", "1x", "01"};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        snprintf(path, sizeof path, "/models/fashion/predict?remember=%s",
                 queries[i]);
        expect_error(post(&s, path, body), 400, "bad_remember", "1 or 0");
    }
    free(body);
    free(pixels);
}

static void *
file_bytes(const char *name, size_t *size)
{
    char path[200];
    const char *folder = getenv("SOMA_MODELS");
    snprintf(path, sizeof path, "%s/samples/%s", folder ? folder : "models",
             name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    void *bytes = malloc(1 << 16);
    *size = fread(bytes, 1, 1 << 16, file);
    fclose(file);
    return bytes;
}

/* Whatever kind of body it came in: what is taught is what was predicted. */
static void
just_what_was_predicted_is_taught(void **unused)
{
    char id[ID];
    size_t raw_size, png_size;
    (void)unused;
    if (foreign_server("what is taught"))
        return;
    unsigned char *raw_bytes = file_bytes("ankle-boot.raw", &raw_size);
    void *png = file_bytes("ankle-boot.png", &png_size);
    json_t *rows = json_array();
    for (int r = 0; r < 28; r++)
        json_array_append_new(rows, pixels_of(raw_bytes + r * 28, 28));
    answer answers[] = {
        ask(&s, NULL, "/models/fashion/predict?remember=1",
            "application/octet-stream", raw_bytes, raw_size),
        ask(&s, NULL, "/models/fashion/predict?remember=1", "image/png", png,
            png_size),
        post_json(&s, "/predict",
                  json_pack("{s:s, s:o, s:b}", "model", "fashion", "pixels",
                            rows, "remember", 1)),
        post_json(&s, "/models/fashion/predict",
                  json_pack("{s:o, s:b, s:i}", "pixels",
                            pixels_of(raw_bytes, PIXELS), "remember", 1,
                            "top_k", 3)),
    };
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(answers[i].status, 200);
        take_id(answers[i].json, id);
        if (i == 3)
            assert_int_equal(
                json_array_size(json_object_get(answers[i].json, "top")), 3);
        answer a = post_json(&s, "/models/fashion/train",
                             json_pack("{s:s, s:s}", "id", id, "label",
                                       i % 2 ? "Ankle boot" : "Sneaker"));
        assert_int_equal(a.status, 200);
        assert_string_equal(text_of(json_object_get(a.json, "served"), "class"),
                            text_of(answers[i].json, "class"));
        free_answer(&a);
        free_answer(&answers[i]);
        expect_taught(raw_bytes, i % 2 ? 9 : 7);
    }
    free(raw_bytes);
    free(png);
}

/* Values that are no bytes come back as they were, to the last bit. */
static void
values_that_are_no_bytes_too(void **unused)
{
    char id[ID];
    (void)unused;
    if (foreign_server("what is taught"))
        return;
    json_t *values = json_array(), *same;
    for (int i = 0; i < PIXELS; i++)
        json_array_append_new(values, json_real(i / 7.0 - 20));
    same = json_incref(values);
    answer a =
        post_json(&s, "/models/fashion/predict",
                  json_pack("{s:o, s:b}", "pixels", values, "remember", 1));
    assert_int_equal(a.status, 200);
    take_id(a.json, id);
    free_answer(&a);
    expect_ok(teach(id, 3));
    a = get(&s, "/models/fashion/examples?limit=1&pixels=1");
    const json_t *pixels = json_object_get(
        json_array_get(json_object_get(a.json, "examples"), 0), "pixels");
    for (size_t i = 0; i < PIXELS; i++)
        assert_true((float)json_number_value(json_array_get(pixels, i)) ==
                    (float)json_number_value(json_array_get(same, i)));
    json_decref(same);
    free_answer(&a);
}

/* A list has an id for each; also one that is too long for a batch. */
static void
lists_have_an_id_for_each(void **unused)
{
    enum { MANY = 300 };
    static char ids[MANY][ID];
    (void)unused;
    if (foreign_server("what is taught"))
        return;
    answer a = predict_bytes("fashion", 0, MANY);
    const json_t *list = json_object_get(a.json, "predictions");
    assert_int_equal(json_array_size(list), MANY);
    assert_null(json_object_get(a.json, "id"));
    for (size_t i = 0; i < MANY; i++) {
        take_id(json_array_get(list, i), ids[i]);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(ids[i], ids[k]);
    }
    free_answer(&a);
    static const int some[] = {0, 1, 63, 64, 65, 128, 255, 299};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        expect_ok(teach(ids[some[i]], fashion_labels()[some[i]]));
        expect_taught(image(some[i]), fashion_labels()[some[i]]);
    }
    json_t *two = json_array();
    json_array_append_new(two, pixels_of(image(20), PIXELS));
    json_array_append_new(two, pixels_of(image(21), PIXELS));
    a = post_json(&s, "/models/fashion/predict",
                  json_pack("{s:o, s:b}", "pixels", two, "remember", 1));
    list = json_object_get(a.json, "predictions");
    take_id(json_array_get(list, 1), ids[0]);
    free_answer(&a);
    expect_ok(teach(ids[0], 1));
    expect_taught(image(21), 1);
}

/* ---- Teaching ---- */

/* What had been served, however much was learned since. */
static void
it_says_what_had_been_served(void **unused)
{
    char id[ID];
    int label;
    (void)unused;
    if (foreign_server("what was served"))
        return;
    json_int_t then = version();
    remember(30, id, &label);
    for (int i = 0; i < 5; i++)
        expect_ok(post_json(&s, "/models/fashion/train",
                            json_pack("{s:o, s:i}", "pixels",
                                      pixels_of(image(30), PIXELS), "label",
                                      (label + 1) % 10)));
    answer a = teach(id, (label + 1) % 10);
    assert_int_equal(a.status, 200);
    const json_t *served = json_object_get(a.json, "served");
    assert_int_equal(whole_of(served, "version"), then);
    assert_int_equal(whole_of(served, "label"), label);
    assert_true(json_is_false(json_object_get(served, "right")));
    /* What it would say now is another matter. */
    assert_int_equal(whole_of(a.json, "version"), then + 6);
    assert_int_equal(whole_of(json_object_get(a.json, "predicted"), "label"),
                     (label + 1) % 10);
    free_answer(&a);
    remember(31, id, &label);
    a = teach(id, label);
    assert_true(json_is_true(
        json_object_get(json_object_get(a.json, "served"), "right")));
    free_answer(&a);
    /* Without an id, nothing was. */
    a = post_json(&s, "/models/fashion/train",
                  json_pack("{s:o, s:i}", "pixels",
                            pixels_of(image(30), PIXELS), "label", label));
    assert_null(json_object_get(a.json, "served"));
    free_answer(&a);
}

static answer
teach_with_key(const char *id, int label, const char *key)
{
    char header[100];
    CURL *curl = curl_easy_init();
    json_t *json = json_pack("{s:s, s:i}", "id", id, "label", label);
    char *body = json_dumps(json, JSON_COMPACT);
    snprintf(header, sizeof header, "Idempotency-Key: %s", key);
    answer a = ask_over(curl, &s, NULL, "/models/fashion/train",
                        "application/json", body, strlen(body), header);
    curl_easy_cleanup(curl);
    json_decref(json);
    free(body);
    return a;
}

static void
a_label_is_taught_once(void **unused)
{
    char id[ID];
    (void)unused;
    if (foreign_server("labels"))
        return;
    remember(40, id, NULL);
    answer first = teach(id, 5);
    assert_int_equal(first.status, 200);
    json_int_t then = version();
    for (int i = 0; i < 3; i++) {
        answer again = teach(id, 5);
        assert_int_equal(again.status, 200);
        assert_string_equal(again.body, first.body);
        free_answer(&again);
    }
    free_answer(&first);
    expect_error(teach(id, 6), 409, "conflict", "was labelled before");
    expect_error(post_json(&s, "/models/fashion/train",
                           json_pack("{s:s, s:i, s:f}", "id", id, "label", 5,
                                     "learning_rate", 0.01)),
                 409, "conflict", id);
    assert_int_equal(version(), then);
    /* The client's own key serves as well. */
    remember(41, id, NULL);
    first = teach_with_key(id, 5, "mine");
    assert_int_equal(first.status, 200);
    answer again = teach_with_key(id, 5, "mine");
    assert_string_equal(again.body, first.body);
    free_answer(&again);
    free_answer(&first);
    expect_error(teach_with_key(id, 6, "mine"), 409, "conflict", "\"mine\"");
    assert_int_equal(version(), then + 1);
}

static void
examples_may_have_ids(void **unused)
{
    char ids[3][ID];
    (void)unused;
    if (foreign_server("examples"))
        return;
    for (int i = 0; i < 3; i++)
        remember(50 + i, ids[i], NULL);
    json_int_t then = version();
    /* Inputs that came before, between and behind those that come now. */
    json_t *examples = json_array();
    for (int i = 0; i < 6; i++)
        json_array_append_new(
            examples,
            i % 2 ? json_pack("{s:o, s:i}", "pixels",
                              pixels_of(image(60 + i), PIXELS), "label", i)
                  : json_pack("{s:s, s:i}", "id", ids[i / 2], "label", i));
    answer a = post_json(&s, "/models/fashion/train",
                         json_pack("{s:o}", "examples", examples));
    assert_int_equal(a.status, 200);
    const json_t *results = json_object_get(a.json, "results");
    for (size_t i = 0; i < 6; i++)
        assert_true(!json_object_get(json_array_get(results, i), "served") ==
                    (i % 2 == 1));
    free_answer(&a);
    assert_int_equal(version(), then + 6);
    a = get(&s, "/models/fashion/examples?limit=6&pixels=1");
    const json_t *list = json_object_get(a.json, "examples");
    for (int i = 0; i < 6; i++) {
        const json_t *one = json_array_get(list, (size_t)i);
        const json_t *pixels = json_object_get(one, "pixels");
        const unsigned char *bytes = image(i % 2 ? 60 + i : 50 + i / 2);
        assert_int_equal(whole_of(one, "label"), i);
        for (size_t k = 0; k < PIXELS; k++)
            assert_true(json_number_value(json_array_get(pixels, k)) ==
                        bytes[k]);
    }
    free_answer(&a);
    /* All or none. */
    a = post_json(&s, "/models/fashion/train",
                  json_pack("{s:[{s:s, s:i}, {s:s, s:i}]}", "examples", "id",
                            ids[0], "label", 1, "id",
                            "0123456789abcdef01234567", "label", 1));
    expect_error(a, 404, "unknown_id", "examples[1].id");
    /* Where both are there the pixels count. */
    a = post_json(&s, "/models/fashion/train",
                  json_pack("{s:s, s:o, s:i}", "id", ids[0], "pixels",
                            pixels_of(image(70), PIXELS), "label", 2));
    assert_int_equal(a.status, 200);
    assert_null(json_object_get(a.json, "served"));
    free_answer(&a);
    expect_taught(image(70), 2);
    assert_int_equal(version(), then + 7);
}

static void
other_ids_are_refused(void **unused)
{
    char id[ID], text[400];
    (void)unused;
    remember(80, id, NULL);
    static const char *const unknown[] = {"",
                                          "x",
                                          "0123456789abcdef0123456",
                                          "0123456789abcdef012345678",
                                          "0123456789abcdef01234567",
                                          "0123456789abcdef0123456g",
                                          "0123456789ABCDEF01234567",
                                          "../../../../../etc/shadow",
                                          "000000000000000000000000",
                                          "ffffffffffffffffffffffff"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        expect_error(teach(unknown[i], 1), 404, "unknown_id", "\"id\"");
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    expect_error(teach(text, 1), 404, "unknown_id", "is remembered");
    static const char *const wrong[] = {"1", "true", "[]", "{}", "[1, 2]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(text, sizeof text, "{\"id\": %s, \"label\": 1}", wrong[i]);
        expect_error(post(&s, "/models/fashion/train", text), 400, "bad_id",
                     "\"id\"");
        snprintf(text, sizeof text,
                 "{\"examples\": [{\"id\": %s, \"label\": 1}]}", wrong[i]);
        expect_error(post(&s, "/models/fashion/train", text), 400, "bad_id",
                     "examples[0].id");
    }
    /* Of another model, though of the same shape. */
    expect_error(post_json(&s, "/models/mnist/train",
                           json_pack("{s:s, s:i}", "id", id, "label", 1)),
                 404, "unknown_id", "is remembered");
    /* A label is as wrong as ever; the id can be used yet. */
    expect_error(teach(id, 10), 400, "unknown_label", "");
    expect_error(
        post_json(&s, "/models/fashion/train", json_pack("{s:s}", "id", id)),
        400, "no_label", "");
    expect_ok(teach(id, 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_come_only_when_asked_for),
        cmocka_unit_test(just_what_was_predicted_is_taught),
        cmocka_unit_test(values_that_are_no_bytes_too),
        cmocka_unit_test(lists_have_an_id_for_each),
        cmocka_unit_test(it_says_what_had_been_served),
        cmocka_unit_test(a_label_is_taught_once),
        cmocka_unit_test(examples_may_have_ids),
        cmocka_unit_test(other_ids_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
