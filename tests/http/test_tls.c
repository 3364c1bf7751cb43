/* HTTPS: the same answers, a certificate that changes, files that are none. */
#include "tests/http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char folder[64], certificate[96], key[96];
static server s;

/* NAME.crt and NAME.key, certified by themselves. */
static void
certify(const char *name)
{
    shell(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
        "-keyout %s/%s.key -out %s/%s.crt -days 30 -subj /CN=%s "
        "-addext subjectAltName=IP:127.0.0.1 2>/dev/null",
        folder, name, folder, name, name);
}

/* In force: in one step each. */
static void
put_in_force(const char *name)
{
    shell("cp %s/%s.key %s.new && mv %s.new %s", folder, name, key, key, key);
    shell("cp %s/%s.crt %s.new && mv %s.new %s", folder, name, certificate,
          certificate, certificate);
}

static int
set_up(void **state)
{
    (void)state;
    if (foreign_server("TLS"))
        return 0;
    strcpy(folder, "/tmp/soma-tls-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    certify("first");
    certify("second");
    put_in_force("first");
    const char *const arguments[] = {
        "--default-model", "fashion",   "--tls-cert",
        certificate,       "--tls-key", key,
        "--workers",       "2",         NULL};
    start_tls_server(&s, certificate, arguments);
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

static void
expect_answer(void)
{
    answer a = ask(&s, NULL, "/predict", "application/octet-stream",
                   fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "label"), fashion_labels()[0]);
    free_answer(&a);
}

static void
answers_are_the_same(void **state)
{
    (void)state;
    if (!s.pid)
        return;
    wait_until_ready(&s);
    expect_answer();
    answer a = ask(&s, NULL, "/train?label=9", "application/octet-stream",
                   fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    /* A body and an answer of many records. */
    json_t *many = pixels_of(fashion_images(), 300 * PIXELS);
    json_t *rows = json_array();
    for (int i = 0; i < 300; i++) {
        json_t *row = json_array();
        for (int k = 0; k < PIXELS; k++)
            json_array_append(row,
                              json_array_get(many, (size_t)(i * PIXELS + k)));
        json_array_append_new(rows, row);
    }
    a = post_json(&s, "/predict", json_pack("{s:o}", "pixels", rows));
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(json_object_get(a.json, "predictions")),
                     300);
    free_answer(&a);
    json_decref(many);
}

/* Plain HTTP, and noise, on the port of TLS. */
static void
what_is_not_tls(void **state)
{
    static const char plain[] = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char hello[] = "\x16\x03\x01\x40\x00\x01\xff\xff\xff";
    (void)state;
    if (!s.pid)
        return;
    char *text = raw(&s, plain, sizeof plain - 1);
    assert_null(strstr(text, "200"));
    free(text);
    text = raw(&s, hello, sizeof hello - 1);
    assert_null(strstr(text, "200"));
    free(text);
    expect_answer();
}

static void
health_asks_it(void **state)
{
    char text[512];
    (void)state;
    if (!s.pid)
        return;
    assert_int_equal(
        soma_says(text, sizeof text, "health https://127.0.0.1:%d", s.port), 0);
    assert_non_null(strstr(text, "ready"));
    assert_int_equal(
        soma_says(text, sizeof text, "health http://127.0.0.1:%d", s.port), 1);
}

/* Whether a client that trusts only this certificate is answered. */
static bool
is_trusted(const char *name)
{
    char command[512];
    snprintf(command, sizeof command,
             "curl -s -o /dev/null --cacert %s/%s.crt %s/healthz", folder, name,
             s.url);
    return system(command) == 0;
}

static void
the_certificate_changes(void **state)
{
    const struct timespec pause = {0, 50000000};
    (void)state;
    if (!s.pid)
        return;
    assert_true(is_trusted("first"));
    assert_false(is_trusted("second"));
    put_in_force("second");
    for (int i = 0; i < 600 && !is_trusted("second"); i++)
        nanosleep(&pause, NULL);
    assert_true(is_trusted("second"));
    assert_false(is_trusted("first"));
    /* A key that is another one's: the pair before stays. */
    shell("cp %s/first.key %s", folder, key);
    for (int i = 0; i < 600; i++) {
        char command[256];
        assert_true(is_trusted("second"));
        snprintf(command, sizeof command, "grep -q certificate-failed %s",
                 s.log);
        if (!system(command))
            break;
        nanosleep(&pause, NULL);
    }
    shell("grep -q 'is not the key of the certificate' %s", s.log);
    put_in_force("second");
}

static void
files_that_are_none(void **state)
{
    char text[2048], other[96];
    (void)state;
    if (!s.pid)
        return;
    snprintf(other, sizeof other, "%s/first.key", folder);
    const struct {
        const char *certificate, *key, *part;
    } cases[] = {
        {certificate, NULL, "both or none"},
        {NULL, key, "both or none"},
        {"/nowhere", key, "/nowhere: expected a certificate"},
        {certificate, "/nowhere", "/nowhere: expected a private key"},
        {key, key, "expected a certificate"},
        {certificate, certificate, "expected a private key"},
        {certificate, other, "is not the key of the certificate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *arguments[8] = {"serve"};
        int count = 1;
        if (cases[i].certificate) {
            arguments[count++] = "--tls-cert";
            arguments[count++] = cases[i].certificate;
        }
        if (cases[i].key) {
            arguments[count++] = "--tls-key";
            arguments[count++] = cases[i].key;
        }
        int code = run_soma(arguments, text, sizeof text);
        if (!code || !strstr(text, cases[i].part))
            fail_msg("case %zu: %d: %s", i, code, text);
    }
}

/* What goes on for long is in pieces. */
static void
events_come(void **state)
{
    (void)state;
    if (!s.pid)
        return;
    shell("curl -sN --max-time 20 --cacert %s https://127.0.0.1:%d/events | "
          "awk '/^event: stats/ && ++n == 2 { found = 1; exit } "
          "END { exit !found }'",
          certificate, s.port);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_same),
        cmocka_unit_test(events_come),
        cmocka_unit_test(what_is_not_tls),
        cmocka_unit_test(health_asks_it),
        cmocka_unit_test(the_certificate_changes),
        cmocka_unit_test(files_that_are_none),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
