#include "tests/faults/shimmed.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <turbojpeg.h>
#include <unistd.h>
#include <zlib.h>

enum { HANG = 30 }; /* seconds; no request takes one */

server shimmed;
struct shim *shim;

static char folder[64];
static int recorded; /* examples and rollbacks that were answered */

static const char *
library(void)
{
    const char *path = getenv("SOMA_SHIM_LIBRARY");
    return path ? path : "build/gcc/tests/faults/shim.so";
}

static bool
is_built_with(const char *sanitizer)
{
    const char *program = getenv("SOMA");
    return program && strstr(program, sanitizer);
}

bool
shimmed_finds_leaks(void)
{
    return is_built_with("-address");
}

/* It comes before a sanitizer's library, which takes that for a mistake. */
static void
preload_library(void)
{
    static const char order[] = "verify_asan_link_order=0";
    char options[512];
    const char *old = getenv("ASAN_OPTIONS");
    snprintf(options, sizeof options, "%s:%s", old ? old : "", order);
    if (!old || !strstr(old, order))
        setenv("ASAN_OPTIONS", options, 1);
    setenv("LSAN_OPTIONS",
           "print_suppressions=0:suppressions=tests/faults/lsan.supp", 0);
    setenv("LD_PRELOAD", library(), 1);
}

bool
shimmed_has_memory(void)
{
    bool counted = __atomic_load_n(&shim->live, __ATOMIC_SEQ_CST) > 0;
    if (counted && !is_built_with("-thread"))
        return true;
    print_message("NOT TESTED: failing allocations, where %s\n",
                  counted ? "threads are watched: it takes minutes"
                          : "the sanitizer's are in the program itself");
    return false;
}

void
shimmed_start(void)
{
    char models[96], data[96], file[96];
    const char *arguments[] = {
        "--models", models, "--data", data, "--checkpoint-examples", "5", NULL};
    snprintf(models, sizeof models, "%s/models", folder);
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(file, sizeof file, "%s/shim", folder);
    setenv("SOMA_SHIM", file, 1);
    preload_library();
    start_server(&shimmed, arguments);
    unsetenv("LD_PRELOAD");
    wait_until_ready(&shimmed);
}

int
shimmed_set_up(void **state)
{
    char path[96], command[640];
    const char *models = getenv("SOMA_MODELS");
    (void)state;
    recorded = 0;
    strcpy(folder, "/tmp/soma-faults-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/shim", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *shim))
        return -1;
    shim = mmap(NULL, sizeof *shim, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    snprintf(command, sizeof command,
             "mkdir %s/models && cp %s/fashion.safetensors %s/models", folder,
             models ? models : "models", folder);
    if (shim == MAP_FAILED || system(command))
        return -1;
    shimmed_start();
    return 0;
}

static void
show_log(void)
{
    char command[128];
    snprintf(command, sizeof command, "tail -n 30 %s", shimmed.log);
    if (system(command))
        print_message("no log\n");
}

int
shimmed_tear_down(void **state)
{
    char command[96];
    (void)state;
    if (!shim)
        return 0;
    *shim = (struct shim){0};
    int code = stop_server(&shimmed);
    munmap(shim, sizeof *shim);
    shim = NULL;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) ? -1 : code;
}

bool
shimmed_said(const char *text)
{
    char command[512];
    snprintf(command, sizeof command, "grep -q '%s' %s", text, shimmed.log);
    return system(command) == 0;
}

/* ---- Attempts ---- */

static answer
ask_anew(const attempt *a)
{
    CURL *curl = curl_easy_init();
    answer got = ask_over(curl, &shimmed, a->method, a->path, a->type, a->body,
                          a->size, a->header);
    curl_easy_cleanup(curl);
    return got;
}

static void
expect_alive(const attempt *a, int n)
{
    int status = 0;
    if (waitpid(shimmed.pid, &status, WNOHANG) == 0)
        return;
    show_log();
    fail_msg("%s, call %d: the program ended, status %#x", a->name, n, status);
}

const attempt *
shimmed_attempt(const char *name)
{
    const attempt *a = shimmed_attempts();
    while (strcmp(a->name, name))
        a++;
    return a;
}

static bool
is_recorded(const attempt *a)
{
    return !strcmp(a->name, "train") || !strcmp(a->name, "rollback");
}

/* A journal of which nobody knows what it has is read back after a pause;
 * meanwhile nothing is taught. */
static void
expect_teachable(const attempt *a, int n)
{
    for (int i = 0; i < 1000; i++) {
        answer got = ask_anew(shimmed_attempt("train"));
        long status = got.status;
        free_answer(&got);
        recorded += status == 200;
        if (status == 200)
            return;
        assert_int_equal(status, 503);
        usleep(10000);
    }
    fail_msg("%s, call %d: nothing can be taught any more", a->name, n);
}

static void
expect_answered(const attempt *a, int n)
{
    answer got = ask_anew(shimmed_attempt("bytes"));
    if (got.status != 200)
        fail_msg("%s, call %d: predicting says %ld after it", a->name, n,
                 got.status);
    free_answer(&got);
}

/* An answer that lacks something is worse than none. */
static void
expect_same(const attempt *a, int n, const answer *got)
{
    answer whole = ask_anew(a);
    assert_int_equal(whole.status, 200);
    if (whole.size != got->size || memcmp(whole.body, got->body, got->size))
        fail_msg("%s, call %d: %s, not %s", a->name, n, got->body, whole.body);
    free_answer(&whole);
}

long
shimmed_try(const attempt *a, fault f)
{
    struct timespec from, to;
    *shim = (struct shim){
        .live = shim->live, .jump = shim->jump, .monotonic = shim->monotonic};
    shim->error = f.error;
    shim->run = f.run;
    shim->fail_at = f.at;
    __atomic_store_n(&shim->kinds, f.kinds, __ATOMIC_SEQ_CST);
    clock_gettime(CLOCK_MONOTONIC, &from);
    answer got = ask_anew(a);
    clock_gettime(CLOCK_MONOTONIC, &to);
    __atomic_store_n(&shim->kinds, 0, __ATOMIC_SEQ_CST);
    long status = got.status;
    recorded += status == 200 && is_recorded(a);
    if (status >= 400 && getenv("SOMA_FAULTS_SHOW"))
        print_message("%s %d: %ld %s\n", a->name, f.at, status, got.body);
    if (status >= 400 && (!got.json || !json_object_get(got.json, "code") ||
                          !json_object_get(got.json, "error")))
        if (!strstr(a->path, "/v1") && !strstr(a->path, "/v2"))
            fail_msg("%s, call %d: %s", a->name, f.at, got.body);
    expect_alive(a, f.at);
    if (a->same && status == 200)
        expect_same(a, f.at, &got);
    free_answer(&got);
    if (to.tv_sec - from.tv_sec > HANG)
        fail_msg("%s, call %d: it hung", a->name, f.at);
    expect_answered(a, f.at);
    if (is_recorded(a) && status != 200)
        expect_teachable(a, f.at);
    return status;
}

static answer
model_now(void)
{
    answer a = get(&shimmed, "/models/fashion");
    assert_int_equal(a.status, 200);
    return a;
}

void
shimmed_check_journal(void)
{
    answer before = model_now();
    if (shimmed_finds_leaks())
        assert_int_equal(stop_server(&shimmed), 0);
    else
        kill_server(&shimmed);
    shimmed_start();
    answer after = model_now();
    assert_int_equal(whole_of(before.json, "version"),
                     whole_of(after.json, "version"));
    assert_string_equal(text_of(before.json, "digest"),
                        text_of(after.json, "digest"));
    assert_true(whole_of(after.json, "version") >= recorded);
    print_message("%d records answered, 0 lost\n", recorded);
    free_answer(&before);
    free_answer(&after);
}

/* ---- Requests ---- */

/* jansson's buffer of a token grows where it has 15 bytes, and if it cannot one
 * is lost: that behind a backslash. */
#define BAD_PLACES                                                             \
    "\"parameters\":{\"n\":1.2345678901234e+5},\"id\":\"0123456789012\\nq\","

static char json[8192], infer[8192], instances[8192], npy[2048], png[8192];
static unsigned char packed[8192];

static size_t
write_list(char *text, size_t size, const char *head, const char *tail)
{
    size_t used = (size_t)snprintf(text, size, "%s", head);
    for (int i = 0; i < PIXELS; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%d", i ? "," : "",
                                 fashion_images()[i]);
    return used + (size_t)snprintf(text + used, size - used, "%s", tail);
}

static size_t
write_npy(void)
{
    memcpy(npy, "\x93NUMPY\x01\x00\x76\x00", 10);
    int used = snprintf(npy + 10, 119,
                        "{'descr': '|u1', 'fortran_order': False, 'shape': "
                        "(%d,), }",
                        PIXELS);
    memset(npy + 10 + used, ' ', (size_t)(118 - used));
    npy[127] = '\n';
    memcpy(npy + 128, fashion_images(), PIXELS);
    return 128 + PIXELS;
}

static size_t
read_png(void)
{
    char path[512];
    const char *models = getenv("SOMA_MODELS");
    snprintf(path, sizeof path, "%s/samples/ankle-boot.png",
             models ? models : "models");
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(png, 1, sizeof png, file);
    fclose(file);
    return size;
}

static unsigned char *jpeg;

static size_t
write_jpeg(void)
{
    unsigned long size = 0;
    tjhandle turbo = tjInitCompress();
    assert_int_equal(tjCompress2(turbo, fashion_images(), 28, 0, 28, TJPF_GRAY,
                                 &jpeg, &size, TJSAMP_GRAY, 90,
                                 TJFLAG_PROGRESSIVE),
                     0);
    tjDestroy(turbo);
    return size;
}

static size_t
pack(const char *text, size_t size)
{
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)text,
                  .avail_in = (unsigned)size,
                  .next_out = packed,
                  .avail_out = sizeof packed};
    deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return z.total_out;
}

const attempt *
shimmed_attempts(void)
{
    static const char type[] = "application/json";
    static attempt all[27];
    if (all[0].name)
        return all;
    size_t size = write_list(json, sizeof json, "{\"pixels\":[", "]}");
    size_t inferred =
        write_list(infer, sizeof infer,
                   "{" BAD_PLACES "\"inputs\":[{\"name\":\"input\",\"shape\":"
                   "[1,784],\"datatype\":\"UINT8\",\"data\":[",
                   "]}]}");
    size_t jpeg_size = write_jpeg();
    size_t listed =
        write_list(instances, sizeof instances, "{\"instances\":[[", "]]}");
    const attempt each[] = {
        {"json", NULL, "/predict", type, json, size, NULL, true},
        {"bytes", NULL, "/predict", "application/octet-stream",
         fashion_images(), PIXELS, NULL, true},
        {"npy", NULL, "/predict", "application/x-npy", npy, write_npy(), NULL,
         true},
        {"png", NULL, "/predict", "image/png", png, read_png(), NULL, true},
        {"jpeg", NULL, "/predict", "image/jpeg", jpeg, jpeg_size, NULL, true},
        {"gzip", NULL, "/predict", type, packed, pack(json, size),
         "Content-Encoding: gzip", true},
        {"oip", NULL, "/v2/models/fashion/infer", type, infer, inferred, NULL,
         true},
        {"tfs", NULL, "/v1/models/fashion:predict", type, instances, listed,
         NULL, true},
        {"explain", NULL, "/models/fashion/explain", "application/octet-stream",
         fashion_images(), PIXELS, NULL, true},
        {"oip metadata", NULL, "/v2/models/fashion", NULL, NULL, 0, NULL, true},
        {"oip config", NULL, "/v2/models/fashion/config", NULL, NULL, 0, NULL,
         true},
        {"oip index", NULL, "/v2/repository/index", type, "{}", 2, NULL, true},
        {"oip models", NULL, "/v2/models", NULL, NULL, 0, NULL, true},
        {"oip stats", NULL, "/v2/models/fashion/stats", NULL, NULL, 0, NULL,
         false},
        {"tfs status", NULL, "/v1/models/fashion", NULL, NULL, 0, NULL, true},
        {"tfs metadata", NULL, "/v1/models/fashion/metadata", NULL, NULL, 0,
         NULL, true},
        {"models", NULL, "/models", NULL, NULL, 0, NULL, false},
        {"guard", NULL, "/models/fashion/guard", NULL, NULL, 0, NULL, false},
        {"model", NULL, "/models/fashion", NULL, NULL, 0, NULL, false},
        {"weights", NULL, "/models/fashion/weights", NULL, NULL, 0, NULL,
         false},
        {"metrics", NULL, "/metrics", NULL, NULL, 0, NULL, false},
        {"examples", NULL, "/models/fashion/examples", NULL, NULL, 0, NULL,
         false},
        {"train", NULL, "/train?label=9", "application/octet-stream",
         fashion_images(), PIXELS, NULL, false},
        {"rollback", NULL, "/models/fashion/rollback", type, "{\"version\": 0}",
         14, NULL, false},
        {"fork", NULL, "/models/fashion/fork", type, "{\"as\": \"twin\"}", 14,
         NULL, false},
        {"load", NULL, "/v2/repository/models/fashion/load", type, "{}", 2,
         NULL, false},
    };
    memcpy(all, each, sizeof each);
    return all;
}
