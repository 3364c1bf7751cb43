/* GET /events: what a page that watches the server hears. Nothing here is
 * about when it hears it: PATIENCE_MS only ends a test that failed. */
#include "tests/http/keys.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000, HEARD = 4 << 20, LISTENERS = 32 };

static server s;
static char folder[64];

/* One that listens, over a socket of its own. */
typedef struct listener {
    int fd;
    char *heard; /* all of it so far, a text */
    size_t size;
    bool ended;
} listener;

static int
set_up(void **state)
{
    static const char *const arguments[] = {
        "--default-model", "fashion", "--workers", "2", "--data", folder,
        "--guard-drop",    "100",     NULL};
    (void)state;
    strcpy(folder, "/tmp/soma-events-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    start_server(&s, arguments);
    wait_until_ready(&s);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    int code = s.pid ? stop_server(&s) : 0;
    shell("rm -rf %s", folder);
    return code;
}

static listener
listen_to(const server *who, const char *header, int buffer)
{
    char request[256];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)who->port)};
    listener l = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                  .heard = calloc(1, HEARD + 1)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_non_null(l.heard);
    assert_true(l.fd >= 0);
    if (buffer)
        setsockopt(l.fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    assert_int_equal(connect(l.fd, (struct sockaddr *)&to, sizeof to), 0);
    int size = snprintf(request, sizeof request,
                        "GET /events HTTP/1.1\r\nHost: x\r\n%s\r\n", header);
    assert_int_equal(send(l.fd, request, (size_t)size, 0), size);
    return l;
}

static void
leave(listener *l)
{
    close(l->fd);
    free(l->heard);
}

static void
hear_more(listener *l)
{
    struct pollfd wait = {.fd = l->fd, .events = POLLIN};
    assert_true(l->size < HEARD);
    if (poll(&wait, 1, PATIENCE_MS) <= 0)
        fail_msg("nothing more came after:\n%s", l->heard);
    ssize_t size = recv(l->fd, l->heard + l->size, HEARD - l->size, 0);
    l->ended = size <= 0;
    l->size += size > 0 ? (size_t)size : 0;
    l->heard[l->size] = '\0';
}

static bool
is_let_in(listener *l)
{
    while (!strstr(l->heard, "\r\n\r\n"))
        hear_more(l);
    return strstr(l->heard, "HTTP/1.1 200 ") == l->heard;
}

/* Once it is let in: those of the test before may not yet have been missed. */
static listener
listen_with(int buffer)
{
    for (;;) {
        listener l = listen_to(&s, "", buffer);
        if (is_let_in(&l))
            return l;
        leave(&l);
        usleep(50000);
    }
}

/* The chunks' heads stand between the events, and never within a line: small
 * events are one chunk each. Where `text` stands first from `from` on. */
static const char *
hear(listener *l, const char *text, size_t from)
{
    const char *at;
    while (!(at = strstr(l->heard + from, text)) || !strstr(at, "\n\n")) {
        if (l->ended)
            fail_msg("it ended without \"%s\":\n%s", text, l->heard);
        hear_more(l);
    }
    return at;
}

/* The data of the first such event from `from` on. */
static json_t *
event(listener *l, const char *name, size_t from)
{
    char head[64];
    json_error_t err;
    snprintf(head, sizeof head, "\nevent: %s\ndata: ", name);
    const char *at = hear(l, head, from) + strlen(head);
    json_t *json = json_loads(at, JSON_DISABLE_EOF_CHECK, &err);
    if (!json)
        fail_msg("%s: %s", err.text, at);
    return json;
}

static json_t *
teach(int i, int label)
{
    answer a =
        post_json(&s, "/models/fashion/train",
                  json_pack("{s:o, s:i}", "pixels",
                            pixels_of(fashion_images() + i * PIXELS, PIXELS),
                            "label", label));
    assert_int_equal(a.status, 200);
    json_t *json = json_incref(a.json);
    free_answer(&a);
    return json;
}

static const json_t *
model_of(const json_t *stats, const char *name)
{
    size_t i;
    json_t *model;
    json_array_foreach (json_object_get(stats, "models"), i, model)
        if (!strcmp(text_of(model, "model"), name))
            return model;
    fail_msg("no %s", name);
    return NULL;
}

static void
says_how_things_are_at_once_and_again(void **state)
{
    (void)state;
    json_decref(teach(1, 2));
    listener l = listen_with(0);
    json_t *stats = event(&l, "stats", 0);
    assert_true(strstr(l.heard, "HTTP/1.1 200 ") == l.heard);
    assert_non_null(strstr(l.heard, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(l.heard, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(l.heard, "retry: 2000\n\n"));
    assert_non_null(strstr(l.heard, "id: 1\nevent: stats\n"));
    const json_t *model = model_of(stats, "fashion");
    assert_int_equal(whole_of(model, "version"), 1);
    assert_int_equal(whole_of(model, "examples"), 1);
    assert_int_equal(whole_of(model, "window"), 1);
    assert_true(json_is_number(json_object_get(model, "accuracy")));
    assert_true(json_is_number(json_object_get(model, "loss")));
    assert_true(
        json_number_value(json_object_get(model, "examples_per_minute")) > 0);
    const json_t *classes = json_object_get(model, "classes");
    assert_int_equal(json_array_size(classes), 10);
    for (int c = 0; c < 10; c++)
        assert_int_equal(
            whole_of(json_array_get(classes, (size_t)c), "examples"), c == 2);
    assert_true(whole_of(stats, "memory_bytes") > 1 << 20);
    json_decref(stats);
    /* Requests are counted between two looks. */
    answer live = get(&s, "/healthz");
    assert_int_equal(live.status, 200);
    free_answer(&live);
    hear(&l, "id: 2\nevent: stats\n", 0);
    size_t from = (size_t)(hear(&l, "id: 3\nevent: stats\n", 0) - l.heard);
    stats = event(&l, "stats", from);
    assert_true(
        json_number_value(json_object_get(stats, "requests_per_second")) > 0);
    assert_true(json_number_value(json_object_get(stats, "p99_ms")) > 0);
    json_decref(stats);
    leave(&l);
}

static void
tells_all_of_what_is_learned(void **state)
{
    (void)state;
    listener all[6];
    for (int i = 0; i < 6; i++) {
        all[i] = listen_with(0);
        json_decref(event(&all[i], "stats", 0));
    }
    json_t *wrong = teach(3, 7);
    json_t *right = teach(0, 9);
    for (int i = 0; i < 6; i++) {
        char text[64];
        json_t *a = event(&all[i], "example", 0);
        assert_int_equal(whole_of(a, "version"), whole_of(wrong, "version"));
        assert_string_equal(text_of(a, "model"), "fashion");
        assert_int_equal(whole_of(a, "label"), 7);
        assert_string_equal(text_of(a, "class"), "Sneaker");
        assert_true(json_is_false(json_object_get(a, "right")));
        assert_true(json_equal(json_object_get(a, "predicted"),
                               json_object_get(wrong, "predicted")));
        assert_true(json_equal(json_object_get(a, "loss"),
                               json_object_get(wrong, "loss")));
        json_decref(a);
        snprintf(text, sizeof text, "\"version\":%lld,\"label\":9",
                 (long long)whole_of(right, "version"));
        const char *at = hear(&all[i], text, 0);
        assert_true(strstr(at, "\"right\":true") < strstr(at, "\n\n"));
        leave(&all[i]);
    }
    json_decref(wrong);
    json_decref(right);
}

static void
tells_of_rollbacks(void **state)
{
    (void)state;
    listener l = listen_with(0);
    json_decref(event(&l, "stats", 0));
    answer a = post(&s, "/models/fashion/rollback", "{\"version\":1}");
    assert_int_equal(a.status, 200);
    json_t *json = event(&l, "rollback", 0);
    assert_true(json_equal(json, a.json));
    json_decref(json);
    free_answer(&a);
    leave(&l);
}

static void
tells_of_promotions(void **state)
{
    (void)state;
    listener l = listen_with(0);
    json_decref(event(&l, "stats", 0));
    answer a = post(&s, "/models/fashion/fork", "{\"as\":\"fork\"}");
    assert_int_equal(a.status, 200);
    free_answer(&a);
    a = ask(&s, NULL, "/models/fork/train?label=1", "application/octet-stream",
            fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    json_int_t fork = whole_of(a.json, "version");
    free_answer(&a);
    a = post(&s, "/models/fashion/promote",
             "{\"from\":\"fork\",\"force\":true}");
    assert_int_equal(a.status, 200);
    json_t *json = event(&l, "promotion", 0);
    assert_string_equal(text_of(json, "model"), "fashion");
    assert_int_equal(whole_of(json, "version"), whole_of(a.json, "version"));
    assert_int_equal(whole_of(json_object_get(json, "promoted"), "version"),
                     fork);
    json_decref(json);
    free_answer(&a);
    leave(&l);
}

/* A new key, as the header that shows it. */
static void
make_header(const char *file, const char *name, const char *scopes,
            char header[160])
{
    char key[80];
    make_key(file, name, scopes, key);
    snprintf(header, 160, "Authorization: Bearer %s\r\n", key);
}

/* Who may not list the examples hears of the models' state alone. */
static void
tells_what_was_taught_to_teachers_only(void **state)
{
    char file[96], reader[160], teacher[160];
    server other;
    (void)state;
    snprintf(file, sizeof file, "%s/keys", folder);
    make_header(file, "reader", "predict,admin", reader);
    make_header(file, "teacher", "train", teacher);
    const char *const arguments[] = {"--default-model", "fashion", "--keys",
                                     file, NULL};
    start_server(&other, arguments);
    listener one = listen_to(&other, reader, 0);
    listener two = listen_to(&other, teacher, 0);
    json_decref(event(&one, "stats", 0));
    json_decref(event(&two, "stats", 0));
    size_t before = one.size;
    teacher[strlen(teacher) - 2] = '\0';
    CURL *curl = curl_easy_init();
    answer a =
        ask_over(curl, &other, NULL, "/train?label=3",
                 "application/octet-stream", fashion_images(), PIXELS, teacher);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    curl_easy_cleanup(curl);
    json_decref(event(&two, "example", 0));
    /* two more seconds: it would have come before */
    json_t *stats = event(&one, "stats", before);
    json_decref(stats);
    stats = event(&one, "stats",
                  (size_t)(strstr(one.heard + before, "stats") - one.heard));
    assert_int_equal(whole_of(model_of(stats, "fashion"), "version"), 1);
    assert_null(strstr(one.heard, "event: example"));
    json_decref(stats);
    leave(&one);
    leave(&two);
    assert_int_equal(stop_server(&other), 0);
}

static void
bounds_how_many_listen(void **state)
{
    (void)state;
    listener all[LISTENERS];
    for (int i = 0; i < LISTENERS; i++)
        all[i] = listen_with(0);
    expect_error(get(&s, "/events"), 503, "too_many_listeners", "32");
    for (int i = 0; i < LISTENERS; i++)
        leave(&all[i]);
    listener l = listen_with(0);
    leave(&l);
}

static void
cuts_off_who_does_not_read(void **state)
{
    (void)state;
    enum { GROUP = 400, GROUPS = 12 };
    static unsigned char pixels[GROUP * PIXELS];
    listener slow = listen_with(4096), good = listen_with(0);
    json_decref(event(&good, "stats", 0));
    for (int g = 0; g < GROUPS; g++) {
        char text[64];
        answer a = ask(&s, NULL, "/models/neuron/train?label=1",
                       "application/octet-stream", pixels, sizeof pixels);
        assert_int_equal(a.status, 200);
        snprintf(text, sizeof text, "\"version\":%lld,\"label\"",
                 (long long)whole_of(a.json, "version"));
        free_answer(&a);
        hear(&good, text, 0);
    }
    while (!slow.ended)
        hear_more(&slow);
    assert_null(strstr(slow.heard, "\r\n0\r\n\r\n"));
    leave(&slow);
    leave(&good);
}

static void
ends_when_the_server_stops(void **state)
{
    (void)state;
    listener l[4];
    for (int i = 0; i < 4; i++) {
        l[i] = listen_with(0);
        json_decref(event(&l[i], "stats", 0));
    }
    assert_int_equal(stop_server(&s), 0);
    s.pid = 0;
    for (int i = 0; i < 4; i++) {
        while (!l[i].ended)
            hear_more(&l[i]);
        assert_string_equal(l[i].heard + l[i].size - 7, "\r\n0\r\n\r\n");
        leave(&l[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_how_things_are_at_once_and_again),
        cmocka_unit_test(tells_all_of_what_is_learned),
        cmocka_unit_test(tells_of_rollbacks),
        cmocka_unit_test(tells_of_promotions),
        cmocka_unit_test(tells_what_was_taught_to_teachers_only),
        cmocka_unit_test(bounds_how_many_listen),
        cmocka_unit_test(cuts_off_who_does_not_read),
        cmocka_unit_test(ends_when_the_server_stops),
    };
    if (foreign_server("events"))
        return 0;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
