/* Messages whose end, or whose meaning, two programs could read differently:
 * each is answered with one refusal and the end of its connection, and nothing
 * behind it is taken for a request (RFC 9112, 11.2).
 *
 * Behind each there is a whole GET /healthz: its answer must not come.
 */
#include "tests/http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static server s;

static int
set_up(void **state)
{
    static const char *const arguments[] = {"--default-model", "fashion",
                                            "--workers", "1", NULL};
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

#define HOST    "Host: a\r\n"
#define NEXT    "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST    "POST /predict HTTP/1.1\r\n"
#define CHUNKED POST HOST "Transfer-Encoding: chunked\r\n\r\n"

typedef struct attack {
    const char *name, *bytes;
    size_t size; /* 0: to the NUL */
} attack;

#define WITH_NUL(text) text, sizeof text - 1

static const attack attacks[] = {
    /* Two lengths */
    {"two lengths",
     POST HOST "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" NEXT, 0},
    {"two equal lengths",
     POST HOST "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" NEXT, 0},
    {"lengths in a list", POST HOST "Content-Length: 2, 2\r\n\r\n{}" NEXT, 0},
    {"different lengths in a list",
     POST HOST "Content-Length: 2, 40\r\n\r\n{}" NEXT, 0},
    {"a length in another case",
     POST HOST "content-length: 2\r\nCONTENT-LENGTH: 40\r\n\r\n{}" NEXT, 0},
    /* One that is none */
    {"+2", POST HOST "Content-Length: +2\r\n\r\n{}" NEXT, 0},
    {"-2", POST HOST "Content-Length: -2\r\n\r\n{}" NEXT, 0},
    {"0x2", POST HOST "Content-Length: 0x2\r\n\r\n{}" NEXT, 0},
    {"2 2", POST HOST "Content-Length: 2 2\r\n\r\n{}" NEXT, 0},
    {"2;", POST HOST "Content-Length: 2;\r\n\r\n{}" NEXT, 0},
    {"2.0", POST HOST "Content-Length: 2.0\r\n\r\n{}" NEXT, 0},
    {"2e0", POST HOST "Content-Length: 2e0\r\n\r\n{}" NEXT, 0},
    {"a word", POST HOST "Content-Length: two\r\n\r\n{}" NEXT, 0},
    {"no digits", POST HOST "Content-Length: \r\n\r\n{}" NEXT, 0},
    {"2^64", POST HOST "Content-Length: 18446744073709551616\r\n\r\n{}" NEXT,
     0},
    {"2^64 + 2",
     POST HOST "Content-Length: 18446744073709551618\r\n\r\n{}" NEXT, 0},
    {"many digits",
     POST HOST "Content-Length: 99999999999999999999999999999\r\n\r\n{}" NEXT,
     0},
    /* A length and an encoding */
    {"length, encoding",
     POST HOST "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n"
               "0\r\n\r\n" NEXT,
     0},
    {"encoding, length",
     POST HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
               "0\r\n\r\n" NEXT,
     0},
    /* Encodings that are not just "chunked" */
    {"chunked twice",
     POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
               "\r\n0\r\n\r\n" NEXT,
     0},
    {"chunked, chunked",
     POST HOST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" NEXT, 0},
    {"identity, chunked",
     POST HOST "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" NEXT, 0},
    {"chunked, identity",
     POST HOST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" NEXT, 0},
    {"gzip, chunked",
     POST HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" NEXT, 0},
    {"identity", POST HOST "Transfer-Encoding: identity\r\n\r\n{}" NEXT, 0},
    {"xchunked", POST HOST "Transfer-Encoding: xchunked\r\n\r\n{}" NEXT, 0},
    {"\"chunked\"",
     POST HOST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" NEXT, 0},
    {"chunked;q=1",
     POST HOST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n" NEXT, 0},
    {"an empty encoding", POST HOST "Transfer-Encoding:\r\n\r\n{}" NEXT, 0},
    {"vertical tab, chunked",
     POST HOST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" NEXT, 0},
    /* Hosts */
    {"no host", POST "Content-Length: 2\r\n\r\n{}" NEXT, 0},
    {"two hosts", POST HOST "Host: b\r\nContent-Length: 2\r\n\r\n{}" NEXT, 0},
    {"the same host twice", POST HOST HOST "Content-Length: 2\r\n\r\n{}" NEXT,
     0},
    {"a host with a space", "GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n" NEXT,
     0},
    {"a host with a user and a path",
     "GET /healthz HTTP/1.1\r\nHost: a@b/c\r\n\r\n" NEXT, 0},
    /* Field names */
    {"a space before the colon", POST HOST "Content-Length : 2\r\n\r\n{}" NEXT,
     0},
    {"a tab before the colon", POST HOST "Content-Length\t: 2\r\n\r\n{}" NEXT,
     0},
    {"an encoding with a space before the colon",
     POST HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" NEXT, 0},
    {"a host with a space before the colon",
     POST "Host : a\r\nContent-Length: 2\r\n\r\n{}" NEXT, 0},
    {"no colon", POST HOST "Content-Length 2\r\n\r\n{}" NEXT, 0},
    {"no name", POST HOST ": 2\r\nContent-Length: 2\r\n\r\n{}" NEXT, 0},
    {"a name with a space",
     POST HOST "A B: 2\r\nContent-Length: 2\r\n\r\n{}" NEXT, 0},
    {"a name in parentheses",
     POST HOST "(a): 2\r\nContent-Length: 2\r\n\r\n{}" NEXT, 0},
    {"a name beyond ASCII",
     POST HOST "\xc3\xa4: 2\r\nContent-Length: 2\r\n\r\n{}" NEXT, 0},
    /* Lines */
    {"a folded line",
     POST HOST "X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}" NEXT, 0},
    {"a folded line at the end",
     POST HOST "Content-Length: 2\r\nX: a\r\n\tb\r\n\r\n{}" NEXT, 0},
    {"a folded length", POST HOST "Content-Length:\r\n 2\r\n\r\n{}" NEXT, 0},
    {"a folded encoding",
     POST HOST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" NEXT, 0},
    {"bare LF everywhere",
     "POST /predict HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}" NEXT, 0},
    {"bare LF after the request line",
     "POST /predict HTTP/1.1\n" HOST "Content-Length: 2\r\n\r\n{}" NEXT, 0},
    {"bare LF in the head", POST HOST "X: a\nContent-Length: 2\r\n\r\n{}" NEXT,
     0},
    {"bare LF after the last field", POST HOST "Content-Length: 2\n\r\n{}" NEXT,
     0},
    {"a bare CR in a value",
     POST HOST "X: a\rContent-Length: 40\r\nContent-Length: 2\r\n\r\n{}" NEXT,
     0},
    {"NUL in a value",
     WITH_NUL(POST HOST "X: a\0b\r\nContent-Length: 2\r\n\r\n{}" NEXT)},
    {"NUL at a value's end",
     WITH_NUL(POST HOST "X: a\0\r\nContent-Length: 2\r\n\r\n{}" NEXT)},
    {"NUL in a name",
     WITH_NUL(POST HOST "X\0: a\r\nContent-Length: 2\r\n\r\n{}" NEXT)},
    {"NUL in the length", WITH_NUL(POST HOST "Content-Length: 2\0"
                                             "0\r\n\r\n{}" NEXT)},
    {"NUL in the path", WITH_NUL("POST /predict\0/x HTTP/1.1\r\n" HOST
                                 "Content-Length: 2\r\n\r\n{}" NEXT)},
    /* Targets */
    {"absolute form",
     "POST http://a/predict HTTP/1.1\r\n" HOST
     "Content-Length: 2\r\n\r\n{}" NEXT,
     0},
    {"another host's absolute form",
     "GET http://elsewhere/healthz HTTP/1.1\r\n" HOST "\r\n" NEXT, 0},
    {"authority form", "CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n" NEXT, 0},
    {"asterisk form", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n" NEXT, 0},
    {"a control character in the path",
     "GET /healthz?\x01 HTTP/1.1\r\n" HOST "\r\n" NEXT, 0},
    {"%00 in the path", "GET /healthz%00x HTTP/1.1\r\n" HOST "\r\n" NEXT, 0},
    {"two spaces before the path",
     "GET  /healthz HTTP/1.1\r\n" HOST "\r\n" NEXT, 0},
    {"a space behind the version",
     "GET /healthz HTTP/1.1 \r\n" HOST "\r\n" NEXT, 0},
    {"a method that is no token", "G(T /healthz HTTP/1.1\r\n" HOST "\r\n" NEXT,
     0},
    {"a line that begins with a space",
     "GET /healthz HTTP/1.1\r\n " HOST "\r\n" NEXT, 0},
    {"no slash", "GET healthz HTTP/1.1\r\n" HOST "\r\n" NEXT, 0},
    /* Versions */
    {"HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" NEXT, 0},
    {"HTTP/2.0", "GET /healthz HTTP/2.0\r\n" HOST "\r\n" NEXT, 0},
    {"HTTP/9.9", "GET /healthz HTTP/9.9\r\n" HOST "\r\n" NEXT, 0},
    {"another protocol", "GET /healthz FTP/1.1\r\n" HOST "\r\n" NEXT, 0},
    {"a small http", "GET /healthz http/1.1\r\n" HOST "\r\n" NEXT, 0},
    {"no version", "GET /healthz\r\n\r\n" NEXT, 0},
    {"TLS to a plain port",
     WITH_NUL("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n" NEXT)},
    /* Chunks */
    {"a chunk's size with a sign", CHUNKED "+2\r\n{}\r\n0\r\n\r\n" NEXT, 0},
    {"a chunk's negative size", CHUNKED "-2\r\n{}\r\n0\r\n\r\n" NEXT, 0},
    {"a chunk's size with 0x", CHUNKED "0x2\r\n{}\r\n0\r\n\r\n" NEXT, 0},
    {"a chunk's size that overflows",
     CHUNKED "10000000000000002\r\n{}\r\n0\r\n\r\n" NEXT, 0},
    {"a chunk's size that is a word", CHUNKED "zwei\r\n{}\r\n0\r\n\r\n" NEXT,
     0},
    {"no size of a chunk", CHUNKED "\r\n{}\r\n0\r\n\r\n" NEXT, 0},
    {"a chunk's size and a bare LF", CHUNKED "2\n{}\r\n0\r\n\r\n" NEXT, 0},
    {"a chunk and a bare LF", CHUNKED "2\r\n{}\n0\r\n\r\n" NEXT, 0},
    {"the last chunk and a bare LF", CHUNKED "2\r\n{}\r\n0\n\r\n" NEXT, 0},
    {"a bare LF at the end", CHUNKED "2\r\n{}\r\n0\r\n\n" NEXT, 0},
    {"a bare LF in a chunk's extension", CHUNKED "2;a\n{}\r\n0\r\n\r\n" NEXT,
     0},
    {"a bare CR in a chunk's extension",
     CHUNKED "2;a\rb\r\n{}\r\n0\r\n\r\n" NEXT, 0},
    {"a space before a chunk's size", CHUNKED " 2\r\n{}\r\n0\r\n\r\n" NEXT, 0},
    {"a space behind a chunk's size", CHUNKED "2 \r\n{}\r\n0\r\n\r\n" NEXT, 0},
    {"a trailer with a space before the colon",
     CHUNKED "2\r\n{}\r\n0\r\nX : a\r\n\r\n" NEXT, 0},
    {"a folded trailer", CHUNKED "2\r\n{}\r\n0\r\nX: a\r\n b\r\n\r\n" NEXT, 0},
    {"chunks in HTTP/1.0",
     "POST /predict HTTP/1.0\r\n" HOST
     "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" NEXT,
     0},
    {"a chunk longer than it says", CHUNKED "2\r\n{}xx\r\n0\r\n\r\n" NEXT, 0},
};

/* The next line of status in it, or NULL; a body may name the protocol. */
static const char *
next_answer(const char *text)
{
    int minor, status;
    for (; (text = strstr(text, "HTTP/1.")); text += 7)
        if (sscanf(text + 7, "%1d %3d ", &minor, &status) == 2 &&
            text[8] == ' ')
            return text;
    return NULL;
}

static int
answers_in(const char *text)
{
    int count = 0;
    for (; (text = next_answer(text)); text += 7)
        count++;
    return count;
}

/* The statuses of a refusal; the library's own are 501 and 505, too. A client
 * that sent what is no text may be cut off without a word. Debian 12's library
 * writes the head of an answer of its own (HTML) twice. */
static bool
is_refused(const char *text, bool may_be_silent)
{
    static const char statuses[] = "400 413 414 431 501 505";
    char first[16], status[8] = "";
    if (!*text)
        return may_be_silent;
    snprintf(first, sizeof first, "%.12s", text);
    snprintf(status, sizeof status, "%.3s", first + 9);
    bool refusal = next_answer(text) == text && strstr(statuses, status);
    int most = strstr(text, "<html>") ? 2 : 1;
    for (const char *at = text; (at = next_answer(at)); at++)
        refusal = refusal && !strncmp(at, first, strlen(first));
    return refusal && answers_in(text) <= most &&
           strstr(text, "Connection: close");
}

static void
nothing_behind_is_a_request(void **state)
{
    int wrong = 0, count = (int)(sizeof attacks / sizeof *attacks);
    (void)state;
    for (int i = 0; i < count; i++) {
        const attack *a = &attacks[i];
        char *text = raw(&s, a->bytes, a->size ? a->size : strlen(a->bytes));
        if (!is_refused(text, a->size) || strstr(text, "\"live\"")) {
            print_error("%s was answered: %s\n", a->name, text);
            wrong++;
        }
        free(text);
    }
    print_message("%d attacks, %d accepted\n", count, wrong);
    assert_int_equal(wrong, 0);
}

/* The server's own refusals say so. */
static void
refusals_name_the_fault(void **state)
{
    static const struct {
        const char *request, *code;
    } cases[] = {
        {POST HOST "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
         "ambiguous_message"},
        {POST HOST "X : a\r\nContent-Length: 2\r\n\r\n{}", "malformed_head"},
        {"GET http://a/healthz HTTP/1.1\r\n" HOST "\r\n", "bad_target"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = raw(&s, cases[i].request, strlen(cases[i].request));
        bool plain = !strncmp(text, "HTTP/1.1 400", 12);
        /* Newer libraries refuse some of them themselves. */
        if (!plain || (!strstr(text, cases[i].code) && strchr(text, '{')))
            fail_msg("%s was answered: %s", cases[i].request, text);
        assert_true(strstr(text, "lose") != NULL);
        free(text);
    }
}

/* What is unusual, yet well formed. */
static void
good_heads_are_taken(void **state)
{
    static const char *const good[] = {
        "GET /healthz HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost:a\r\nconnection:close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n" HOST "X:   a b\r\nConnection: close\r\n"
        "\r\n",
        "GET /healthz HTTP/1.1\r\n" HOST "X: a b  \r\nConnection: close\r\n"
        "\r\n",
        "GET /healthz HTTP/1.1\r\n" HOST "X:\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n" HOST "Connection: close\r\nX:\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n" HOST "Cookie: a=b; c=\"d\"; e\r\n"
        "Connection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n" HOST "X: \xc3\xa4\r\n"
        "Connection: close\r\n\r\n",
        "\r\nGET /healthz HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
        "GET /healthz?a=b&c=%20 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: [::1%25lo]:80\r\nConnection: close\r\n"
        "\r\n",
        "GET /healthz HTTP/1.0\r\n" HOST "\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char *text = raw(&s, good[i], strlen(good[i]));
        if (!strstr(text, " 200 ") || answers_in(text) != 1)
            fail_msg("%s was answered: %s", good[i], text);
        free(text);
    }
}

/* Many lines of some length: the library moves none of them. */
static void
a_large_head_is_taken(void **state)
{
    char request[16384];
    (void)state;
    size_t size = (size_t)sprintf(request, "GET /healthz HTTP/1.1\r\n" HOST
                                           "Connection: close\r\n");
    for (int i = 0; i < 100; i++)
        size += (size_t)sprintf(request + size, "X-%d: %0100d\r\n", i, i);
    size += (size_t)sprintf(request + size, "\r\n");
    char *text = raw(&s, request, size);
    if (strncmp(text, "HTTP/1.1 200", 12) != 0)
        fail_msg("%zu bytes of head were answered: %s", size, text);
    free(text);
}

/* Lines and heads beyond the bound: 413, 414 or 431, and the end. */
static void
long_heads_are_refused(void **state)
{
    enum { LARGE = 1 << 20 };
    static const char *const starts[] = {
        "GET /", "GET /healthz?a=", "GET /healthz HTTP/1.1\r\n" HOST "X: ",
        "GET /healthz HTTP/1.1\r\n" HOST "X"};
    char *request = malloc(LARGE + 4096);
    (void)state;
    assert_non_null(request);
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        size_t length = strlen(starts[i]);
        memcpy(request, starts[i], length);
        memset(request + length, 'a', LARGE);
        strcpy(request + length + LARGE, " HTTP/1.1\r\n\r\n" NEXT);
        char *text = raw(&s, request, strlen(request));
        if (!is_refused(text, false))
            fail_msg("%s... was answered: %s", starts[i], text);
        free(text);
    }
    /* A flood of small ones. */
    size_t size = (size_t)sprintf(request, "GET /healthz HTTP/1.1\r\n" HOST);
    while (size < LARGE)
        size += (size_t)sprintf(request + size, "X-%zu: a\r\n", size);
    size += (size_t)sprintf(request + size, "\r\n" NEXT);
    char *text = raw(&s, request, size);
    if (!is_refused(text, false))
        fail_msg("a flood of headers was answered: %s", text);
    free(text);
    free(request);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_behind_is_a_request),
        cmocka_unit_test(refusals_name_the_fault),
        cmocka_unit_test(good_heads_are_taken),
        cmocka_unit_test(a_large_head_is_taken),
        cmocka_unit_test(long_heads_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
