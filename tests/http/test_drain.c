/* The end, step by step: SIGTERM says "not ready", a second one (or the time
 * of --drain-seconds) ends serving, --stop-seconds the waiting for what has
 * begun. Nothing that was answered is lost, no answer is cut. */
#include "tests/http/server.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char data[64];

static int
make_folder(void **state)
{
    (void)state;
    strcpy(data, "/tmp/soma-drain-XXXXXX");
    return mkdtemp(data) ? 0 : -1;
}

static int
remove_folder(void **state)
{
    char command[96];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", data);
    return system(command);
}

static void
start(server *s)
{
    const char *arguments[] = {"--data",
                               data,
                               "--default-model",
                               "fashion",
                               "--stop-seconds",
                               "1",
                               "--drain-seconds",
                               "600",
                               NULL};
    start_server(s, arguments);
    wait_until_ready(s);
}

/* The signal travels to the main thread: so until it has come. */
static void
begin_draining(const server *s)
{
    answer a = {.status = 200};
    kill(s->pid, SIGTERM);
    for (int i = 0; i < 2000 && a.status == 200; i++) {
        free_answer(&a);
        a = get(s, "/readyz");
    }
    assert_string_equal(a.retry, "1");
    expect_error(a, 503, "draining", "stopping");
}

static bool
is_told_to_close(const server *s)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    char *text = raw(s, request, sizeof request - 1);
    assert_non_null(strstr(text, "HTTP/1.1 200 "));
    bool told = strcasestr(text, "\r\nConnection: close\r\n") != NULL;
    free(text);
    return told;
}

static void
a_draining_server_serves_on(void **state)
{
    server s;
    (void)state;
    start(&s);
    assert_false(is_told_to_close(&s));
    begin_draining(&s);
    expect_error(get(&s, "/v2/health/ready"), 503, "draining", "stopping");
    assert_true(is_told_to_close(&s));
    answer a = ask(&s, NULL, "/predict", "application/octet-stream",
                   fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    a = ask(&s, NULL, "/train?label=9", "application/octet-stream",
            fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    kill(s.pid, SIGHUP); /* no end: models may still be changed */
    for (int i = 0; i < 20; i++) {
        a = get(&s, "/models/fashion");
        assert_int_equal(whole_of(a.json, "version"), 1);
        free_answer(&a);
    }
    assert_int_equal(stop_server(&s), 0);
}

/* Half of a request, for which it would otherwise wait a minute. */
static void
a_request_that_never_ends_does_not_hold_it(void **state)
{
    static const char half[] = "POST /predict HTTP/1.1\r\nHost: x\r\n"
                               "Content-Length: 1000\r\n\r\n{";
    server s;
    (void)state;
    start(&s);
    int fd = connect_to(&s);
    assert_int_equal(write(fd, half, sizeof half - 1), sizeof half - 1);
    begin_draining(&s);
    assert_int_equal(stop_server(&s), 0);
    close(fd);
}

/* ---- Under load ---- */

enum { CLIENTS = 12 };

static atomic_bool is_draining, is_ending;
static atomic_int all_taught, all_draining;

typedef struct client {
    const server *s;
    pthread_t thread;
    bool teaches;
    int answered, draining; /* of them, while it drained */
    int unknown;            /* examples that may or may not be learned */
    int broken;             /* answers cut, refused, or none at all */
} client;

static void *
client_main(void *arg)
{
    client *c = arg;
    CURL *curl = curl_easy_init();
    for (;;) {
        bool draining = atomic_load(&is_draining);
        answer a = ask_over(
            curl, c->s, NULL, c->teaches ? "/train?label=3" : "/predict",
            "application/octet-stream", fashion_images(), PIXELS, NULL);
        bool whole = a.status == 200 && a.json;
        bool cut = a.size && !whole;
        free_answer(&a);
        if (whole) {
            c->answered++;
            c->draining += draining;
            atomic_fetch_add(&all_taught, c->teaches ? 1 : 0);
            atomic_fetch_add(&all_draining, draining ? 1 : 0);
            continue;
        }
        c->unknown += c->teaches;
        c->broken += cut || !atomic_load(&is_ending);
        break;
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* However slow the machine is. */
static void
wait_for_more_than(atomic_int *count, int least)
{
    for (int i = 0; i < 6000 && atomic_load(count) <= least; i++)
        usleep(10000);
}

static void
nothing_is_lost_or_cut_under_load(void **state)
{
    server s;
    client clients[CLIENTS];
    int taught = 0, unknown = 0, draining = 0;
    (void)state;
    fashion_images();
    start(&s);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (client){.s = &s, .teaches = i % 3 == 0};
        assert_int_equal(
            pthread_create(&clients[i].thread, NULL, client_main, &clients[i]),
            0);
    }
    wait_for_more_than(&all_taught, 10);
    begin_draining(&s);
    atomic_store(&is_draining, true);
    wait_for_more_than(&all_draining, 10);
    atomic_store(&is_ending, true);
    char log[64];
    snprintf(log, sizeof log, "%s", s.log);
    assert_int_equal(stop_server(&s), 0);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_int_equal(clients[i].broken, 0);
        taught += clients[i].teaches ? clients[i].answered : 0;
        draining += clients[i].draining;
        unknown += clients[i].unknown;
    }
    assert_true(taught > 10);
    assert_true(draining > 10);
    start(&s);
    answer a = get(&s, "/models/fashion");
    int examples = (int)whole_of(a.json, "examples");
    assert_true(examples >= taught && examples <= taught + unknown);
    assert_int_equal(
        whole_of(json_object_get(a.json, "learning"), "checkpoint"),
        whole_of(a.json, "version"));
    free_answer(&a);
    begin_draining(&s);
    assert_int_equal(stop_server(&s), 0);
}

int
main(void)
{
    if (foreign_server("the end of the program"))
        return 0;
    curl_global_init(CURL_GLOBAL_ALL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_draining_server_serves_on,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(
            a_request_that_never_ends_does_not_hold_it, make_folder,
            remove_folder),
        cmocka_unit_test_setup_teardown(nothing_is_lost_or_cut_under_load,
                                        make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
