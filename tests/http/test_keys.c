/* Keys: who may do what, without a restart, and without a trace of the keys.
 */
#include "tests/http/keys.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char folder[64], file[96], log_text[1 << 16];
static char reader[80], teacher[80], owner[80]; /* keys */
static server s;

static int
set_up(void **state)
{
    const char *const arguments[] = {
        "--default-model", "fashion", "--keys", file,
        "--log-level",     "debug",   NULL};
    (void)state;
    strcpy(folder, "/tmp/soma-keys-XXXXXX");
    if (foreign_server("keys") || !mkdtemp(folder))
        return 0;
    snprintf(file, sizeof file, "%s/keys", folder);
    shell("echo '# who may' >%s", file);
    make_key(file, "reader", "predict", reader);
    make_key(file, "teacher", "predict,train", teacher);
    make_key(file, "owner", "admin", owner);
    start_server(&s, arguments);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    if (!s.pid)
        return 0;
    int code = stop_server(&s);
    shell("rm -rf %s", folder);
    return code;
}

static answer
try(const char *method, const char *path, const char *authorization)
{
    bool post = !strcmp(method, "POST");
    CURL *curl = curl_easy_init();
    char header[160];
    snprintf(header, sizeof header, "Authorization: %s",
             authorization ? authorization : "");
    answer a = ask_over(curl, &s, method, path, "application/octet-stream",
                        post ? fashion_images() : NULL, post ? PIXELS : 0,
                        authorization ? header : NULL);
    curl_easy_cleanup(curl);
    return a;
}

static long
status_with(const char *method, const char *path, const char *key)
{
    char bearer[128];
    snprintf(bearer, sizeof bearer, "Bearer %s", key ? key : "");
    answer a = try(method, path, key ? bearer : NULL);
    long status = a.status;
    free_answer(&a);
    return status;
}

static void
scopes_are_kept(void **state)
{
    static const struct {
        const char *method, *path;
        int without, reads, teaches, owns;
    } cases[] = {
        {"POST", "/predict", 401, 200, 200, 403},
        {"POST", "/models/mnist/predict", 401, 200, 200, 403},
        {"POST", "/train?label=3", 401, 403, 200, 403},
        {"POST", "/models/fashion/rollback", 401, 403, 415, 403},
        {"POST", "/models/fashion/fork", 401, 403, 403, 415},
        {"DELETE", "/models/fashion", 401, 403, 403, 409},
        {"GET", "/models", 401, 200, 200, 200},
        {"GET", "/models/fashion/examples", 401, 403, 200, 403},
        {"GET", "/models/fashion/guard", 401, 403, 200, 403},
        {"GET", "/models/fashion/weights", 401, 200, 200, 403},
        {"GET", "/metrics", 401, 200, 200, 200},
        {"GET", "/v2/models/fashion", 401, 200, 200, 200},
        {"GET", "/v1/models/fashion", 401, 200, 200, 200},
        {"GET", "/v2/logging", 401, 403, 403, 200},
        {"POST", "/predictions/fashion", 401, 200, 200, 403},
        {"GET", "/healthz", 200, 200, 200, 200},
        {"GET", "/readyz", 200, 200, 200, 200},
        {"GET", "/v2/health/ready", 200, 200, 200, 200},
        {"GET", "/openapi.json", 200, 200, 200, 200},
        {"GET", "/ping", 200, 200, 200, 200},
        {"GET", "/", 200, 200, 200, 200},
        {"GET", "/nowhere", 404, 404, 404, 404},
    };
    (void)state;
    if (!s.pid)
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *method = cases[i].method, *path = cases[i].path;
        long got[4] = {status_with(method, path, NULL),
                       status_with(method, path, reader),
                       status_with(method, path, teacher),
                       status_with(method, path, owner)};
        if (got[0] != cases[i].without || got[1] != cases[i].reads ||
            got[2] != cases[i].teaches || got[3] != cases[i].owns)
            fail_msg("%s %s: %ld without, %ld reader, %ld teacher, %ld owner",
                     method, path, got[0], got[1], got[2], got[3]);
    }
}

static void
what_is_no_key(void **state)
{
    char text[200];
    (void)state;
    if (!s.pid)
        return;
    expect_error(try("GET", "/models", NULL), 401, "no_key", "Bearer KEY");
    expect_error(try("GET", "/models", "Basic YTpi"), 401, "no_key", "");
    expect_error(try("GET", "/models", "Bearer"), 401, "no_key", "");
    expect_error(try("GET", "/models", "Bearer x"), 401, "unknown_key", "none");
    /* One digit less, and the digest itself. */
    snprintf(text, sizeof text, "Bearer %.63s", reader);
    expect_error(try("GET", "/models", text), 401, "unknown_key", "");
    snprintf(text, sizeof text, "bearer  %s", reader);
    answer a = try("GET", "/models", text);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    snprintf(text, sizeof text, "Bearer %s", reader);
    expect_error(try("POST", "/train?label=1", text), 403, "forbidden",
                 "the scope train");
    snprintf(text, sizeof text,
             "GET /models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    char *raw_answer = raw(&s, text, strlen(text));
    assert_non_null(strstr(raw_answer, "WWW-Authenticate: Bearer realm"));
    free(raw_answer);
    /* Two of them: which counts? None. */
    snprintf(text, sizeof text,
             "GET /models HTTP/1.0\r\nAuthorization: Bearer %s\r\n"
             "Authorization: Bearer x\r\n\r\n",
             reader);
    raw_answer = raw(&s, text, strlen(text));
    assert_non_null(strstr(raw_answer, " 401 "));
    free(raw_answer);
}

/* A refused body is no reason to lose the connection. */
static void
refused_on_one_connection(void **state)
{
    char header[128];
    (void)state;
    if (!s.pid)
        return;
    CURL *curl = curl_easy_init();
    for (int i = 0; i < 6; i++) {
        snprintf(header, sizeof header, "Authorization: Bearer %s",
                 i % 2 ? reader : "wrong");
        answer a =
            ask_over(curl, &s, "POST", "/predict", "application/octet-stream",
                     fashion_images(), PIXELS, header);
        assert_int_equal(a.status, i % 2 ? 200 : 401);
        free_answer(&a);
    }
    curl_easy_cleanup(curl);
}

/* Until it has this status; the file is looked at once a second. */
static void
expect_soon(const char *path, const char *key, long status)
{
    const struct timespec pause = {0, 50000000};
    for (int i = 0; i < 600; i++) {
        if (status_with("GET", path, key) == status)
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("%s is not answered %ld", path, status);
}

static void
read_log(void)
{
    FILE *from = fopen(s.log, "r");
    assert_non_null(from);
    size_t size = fread(log_text, 1, sizeof log_text - 1, from);
    log_text[size] = '\0';
    fclose(from);
}

static void
the_file_changes(void **state)
{
    char fresh[80];
    (void)state;
    if (!s.pid)
        return;
    make_key(file, "fresh", "predict", fresh);
    expect_soon("/models", fresh, 200);
    shell("grep -v '^fresh' %s >%s.new && mv %s.new %s", file, file, file,
          file);
    expect_soon("/models", fresh, 401);
    assert_int_equal(status_with("GET", "/models", reader), 200);
    /* One that is no good changes nothing, and the log says why. */
    shell("cp %s %s.good && echo 'reader predict 12' >>%s", file, file, file);
    const struct timespec pause = {0, 50000000};
    for (int i = 0; i < 600; i++) {
        assert_int_equal(status_with("GET", "/models", reader), 200);
        read_log();
        if (strstr(log_text, "keys-failed"))
            break;
        nanosleep(&pause, NULL);
    }
    assert_non_null(strstr(log_text, "line 5: expected 64 hexadecimal"));
    shell("mv %s.good %s", file, file);
    expect_soon("/models", reader, 200);
}

/* Last of all: neither the log nor the metrics have one of the keys. */
static void
nothing_secret_is_told(void **state)
{
    char text[128];
    (void)state;
    if (!s.pid)
        return;
    snprintf(text, sizeof text, "Bearer %s", owner);
    answer a = try("GET", "/metrics", text);
    assert_int_equal(a.status, 200);
    read_log();
    const char *secrets[] = {reader, teacher, owner};
    for (int i = 0; i < 3; i++) {
        assert_null(strstr(a.body, secrets[i]));
        assert_null(strstr(log_text, secrets[i]));
    }
    assert_non_null(strstr(a.body, "soma_key_requests_total{key=\"reader\"}"));
    assert_non_null(strstr(a.body, "soma_key_refused_total{key=\"teacher\"}"));
    assert_null(strstr(a.body, "{reason=\"unknown_key\"} 0"));
    free_answer(&a);
}

static void
files_that_are_none(void **state)
{
    static const char *const digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4"
                                      "649b934ca495991b7852b855";
    static const struct {
        const char *line, *part;
    } cases[] = {
        {"a/b predict D", "line 1: expected a name"},
        {"a", "line 1: expected scopes"},
        {"a predict,frog D", "line 1: expected scopes"},
        {"a predict, D", "line 1: expected scopes"},
        {"a predict", "line 1: expected 64 hexadecimal"},
        {"a predict D0", "line 1: expected 64 hexadecimal"},
        {"a predict D b", "line 1: expected nothing after"},
        {"a predict D\na train D", "line 2: its name is another key's"},
    };
    char path[96], text[2048], line[512];
    (void)state;
    if (!s.pid)
        return;
    snprintf(path, sizeof path, "%s/bad", folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = 0;
        for (const char *c = cases[i].line; *c; c++)
            size += (size_t)sprintf(line + size, *c == 'D' ? "%s" : "%.1s",
                                    *c == 'D' ? digest : c);
        FILE *to = fopen(path, "w");
        assert_non_null(to);
        fprintf(to, "%s\n", line);
        fclose(to);
        const char *const arguments[] = {"serve", "--keys", path, NULL};
        assert_int_equal(run_soma(arguments, text, sizeof text), 2);
        if (!strstr(text, cases[i].part) || !strstr(text, "--keys"))
            fail_msg("%s: %s", cases[i].line, text);
    }
    const char *const missing[] = {"serve", "--keys", "/nowhere", NULL};
    assert_int_equal(run_soma(missing, text, sizeof text), 1);
    assert_non_null(strstr(text, "/nowhere: No such file"));
    assert_int_equal(soma_says(text, sizeof text, "key 'a b'"), 2);
    assert_non_null(strstr(text, "a key's name: expected"));
    assert_int_equal(soma_says(text, sizeof text, "key a --scopes frog"), 2);
    assert_non_null(strstr(text, "--scopes: expected predict, train, admin"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scopes_are_kept),
        cmocka_unit_test(what_is_no_key),
        cmocka_unit_test(refused_on_one_connection),
        cmocka_unit_test(the_file_changes),
        cmocka_unit_test(files_that_are_none),
        cmocka_unit_test(nothing_secret_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
