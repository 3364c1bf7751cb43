/* The start and the end of the program, its options and its log. */
#include "tests/http/server.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *
models(void)
{
    const char *folder = getenv("SOMA_MODELS");
    return folder ? folder : "models";
}

static void
read_all(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, size - 1, file);
    text[n] = '\0';
    fclose(file);
}

/* Runs `soma serve` with these options, which must be refused. */
static void
refuses(int code, const char *part, const char *option, const char *value)
{
    const char *arguments[] = {"serve",  "--listen", "127.0.0.1:0", "--models",
                               models(), option,     value,         NULL};
    char text[4096];
    int got = run_soma(arguments, text, sizeof text);
    if (got != code || !strstr(text, part))
        fail_msg("%s %s: expected exit code %d and \"%s\", got %d: %s", option,
                 value ? value : "", code, part, got, text);
}

static void
wrong_options_are_refused(void **state)
{
    (void)state;
    refuses(2, "no option --speed", "--speed", "3");
    refuses(2, "--workers: expected a whole number, 0 to 128", "--workers",
            "many");
    refuses(2, "--max-rows needs a value", "--max-rows", NULL);
    refuses(2, "--listen: expected HOST:PORT", "--listen", "8080");
    refuses(2, "--log-level: expected debug", "--log-level", "loud");
    refuses(2, "--log-format: expected text or json", "--log-format", "xml");
    refuses(1, "--default-model: there is no model \"frog\"", "--default-model",
            "frog");
    refuses(1, "/nowhere", "--models", "/nowhere");
    refuses(1, "no model file", "--models", "docker");
}

static void
a_broken_model_is_refused(void **state)
{
    (void)state;
    char folder[] = "/tmp/soma-broken-XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/bad.safetensors", folder);
    FILE *file = fopen(path, "w");
    fputs("this is not a model", file);
    fclose(file);
    refuses(1, "bad.safetensors", "--models", folder);
    remove(path);
    rmdir(folder);
}

/* Requests without end until the connection is refused. */
typedef struct client {
    const server *s;
    pthread_t thread;
    int answered;
    int broken; /* curl's code or the status of an answer that is none */
} client;

static size_t
drop(char *data, size_t size, size_t count, void *arg)
{
    (void)data, (void)arg;
    return size * count;
}

static void *
client_main(void *arg)
{
    client *c = arg;
    char url[128];
    CURL *curl = curl_easy_init();
    struct curl_slist *headers =
        curl_slist_append(NULL, "Content-Type: application/octet-stream");
    bool train = c->answered;
    c->answered = 0;
    snprintf(url, sizeof url, "%s/models/fashion/%s", c->s->url,
             train ? "train?label=3" : "predict");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, fashion_images());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)PIXELS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 0L);
    for (;;) {
        long status = 0;
        CURLcode code = curl_easy_perform(curl);
        if (code == CURLE_COULDNT_CONNECT)
            break;
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        if (code == CURLE_OK && status == 200) {
            c->answered++;
            continue;
        }
        /* A connection that was closed before it was accepted, or between
         * two requests, took nothing. An answer cut short would be. */
        if (code == CURLE_PARTIAL_FILE ||
            (code == CURLE_OK && status >= 500 && status != 503))
            c->broken++;
        if (code == CURLE_OPERATION_TIMEDOUT)
            c->broken++;
        break;
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return NULL;
}

/* Ended under load: exit code 0, and no answer cut or left out. */
static void
ends_under_load(int signal_number)
{
    enum { CLIENTS = 12 };
    static const char *const arguments[] = {"--log-level", "debug", NULL};
    server s;
    client clients[CLIENTS];
    fashion_images();
    start_server(&s, arguments);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (client){.s = &s, .answered = i % 3 == 0};
        assert_int_equal(
            pthread_create(&clients[i].thread, NULL, client_main, &clients[i]),
            0);
    }
    usleep(700000);
    kill(s.pid, signal_number);
    int answered = 0, broken = 0;
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        broken = clients[i].broken ? clients[i].broken : broken;
        answered += clients[i].answered;
    }
    assert_int_equal(broken, 0);
    assert_true(answered > 50);
    int status = -1;
    assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
    char *text = malloc(64 << 20);
    read_all(s.log, text, 64 << 20);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("ended with status %d: %s", status,
                 text + (strlen(text) > 2000 ? strlen(text) - 2000 : 0));
    assert_non_null(strstr(text, signal_number == SIGINT
                                     ? "stopping signal=SIGINT"
                                     : "stopping signal=SIGTERM"));
    assert_non_null(strstr(text, " stopped\n"));
    free(text);
    unlink(s.log);
}

static void
sigterm_finishes_what_was_accepted(void **state)
{
    (void)state;
    ends_under_load(SIGTERM);
}

static void
sigint_does_too(void **state)
{
    (void)state;
    ends_under_load(SIGINT);
}

static void
the_log_has_a_line_for_each_request(void **state)
{
    static const char *const arguments[] = {"--log-level", "debug",
                                            "--log-format", "json", NULL};
    (void)state;
    server s;
    start_server(&s, arguments);
    answer a = ask(&s, NULL, "/models/fashion/predict",
                   "application/octet-stream", fashion_images(), 3 * PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    char path[64], line[4096];
    snprintf(path, sizeof path, "%s", s.log);
    FILE *log = fopen(path, "r");
    assert_non_null(log);
    assert_int_equal(stop_server(&s), 0);
    int requests = 0, lines = 0;
    while (fgets(line, sizeof line, log)) {
        json_t *json = json_loads(line, 0, NULL);
        if (!json)
            fail_msg("not JSON: %s", line);
        lines++;
        if (!strcmp(text_of(json, "event"), "request")) {
            requests++;
            assert_string_equal(text_of(json, "level"), "debug");
            assert_string_equal(text_of(json, "route"), "predict");
            assert_int_equal(whole_of(json, "status"), 200);
            assert_int_equal(whole_of(json, "rows"), 3);
            assert_true(whole_of(json, "microseconds") >= 0);
            assert_non_null(strchr(text_of(json, "id"), '-'));
        }
        json_decref(json);
    }
    fclose(log);
    assert_int_equal(requests, 1);
    assert_true(lines >= 9);
}

int
main(void)
{
    if (foreign_server("the program's start and end"))
        return 0;
    curl_global_init(CURL_GLOBAL_ALL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(a_broken_model_is_refused),
        cmocka_unit_test(sigterm_finishes_what_was_accepted),
        cmocka_unit_test(sigint_does_too),
        cmocka_unit_test(the_log_has_a_line_for_each_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
