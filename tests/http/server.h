/* The real program over real sockets, for the tests of this folder.
 *
 * Environment: SOMA is the program, SOMA_MODELS a folder of the shipped
 * models. SOMA_URL names a server that already runs (a container): then
 * tests that start, stop or configure one say NOT TESTED.
 */
#ifndef SOMA_TESTS_HTTP_SERVER_H
#define SOMA_TESTS_HTTP_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct server {
    pid_t pid; /* 0: not ours */
    char url[64];
    int port;
    const char *authority; /* path of who certifies it, of https; or NULL */
    char log[64];          /* path of what it wrote to stderr */
} server;

/* Whether tests run against a server that is not ours; prints the line. */
bool foreign_server(const char *test);

/* Starts one with the shipped models and these further arguments (NULL ends
 * them), and waits for it; or uses SOMA_URL. */
void start_server(server *s, const char *const *arguments);

/* The same with HTTPS, by a certificate that this file certifies. */
void start_tls_server(server *s, const char *authority,
                      const char *const *arguments);

/* Runs the program with these arguments until its end; its exit code, and
 * its stderr in text. */
int run_soma(const char *const *arguments, char *text, size_t size);

/* The most memory that it has had resident so far, KiB. */
long memory_peak(const server *s);

/* Waits until /readyz says 200. */
void wait_until_ready(const server *s);

/* SIGTERM, and the exit code. */
int stop_server(server *s);

/* The same, and removes the folder that the test made for it; 0 at once where
 * the server is not the test's. */
int stop_and_remove(server *s, const char *folder);

/* SIGKILL, and waits for its end. */
void kill_server(server *s);

/* Runs the program with arguments as a shell reads them; its exit code, and
 * what it wrote to stdout and stderr in text. */
int soma_says(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Runs a shell's command, which must succeed. */
void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One answer. */
typedef struct answer {
    long status;
    char *body;
    size_t size;
    size_t head; /* Inference-Header-Content-Length, or 0 */
    char type[128], allow[64], retry[32];
    json_t *json; /* the body, or what is before a tensor's bytes */
} answer;

void free_answer(answer *a);

/* A request; method NULL is POST with a body, GET without. type may be NULL.
 */
answer ask(const server *s, const char *method, const char *path,
           const char *type, const void *body, size_t size);
answer post(const server *s, const char *path, const char *json);

/* The same over a connection of the caller's (a CURL *, kept alive), with one
 * header more, or NULL; it fails no test: status 0 says that no answer came.
 * For threads. */
answer ask_over(void *curl, const server *s, const char *method,
                const char *path, const char *type, const void *body,
                size_t size, const char *header);
answer get(const server *s, const char *path);

/* {"pixels": [...]} and so on from a format of jansson's json_pack; takes over
 * what is packed. */
answer post_json(const server *s, const char *path, json_t *body);

/* Asserts that the status is 200. */
void expect_ok(answer a);

/* Asserts the status and code of an error, and that its text has `part`. */
void expect_error(answer a, long status, const char *code, const char *part);

const char *text_of(const json_t *object, const char *name);
json_int_t whole_of(const json_t *object, const char *name);
double real_of(const json_t *object, const char *name);

/* Images of Fashion-MNIST's test set: bytes, 784 each, and labels. */
enum { PIXELS = 784 };
const unsigned char *fashion_images(void);
const unsigned char *fashion_labels(void);
json_t *pixels_of(const unsigned char *bytes, int count);

/* A connection of the test's own. */
int connect_to(const server *s);

/* Sends raw bytes and reads until the server closes or a second has passed
 * without more. Returns what came, malloc'ed. */
char *raw(const server *s, const char *bytes, size_t size);

#endif
