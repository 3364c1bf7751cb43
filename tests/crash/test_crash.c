/* kill -9 at random moments under load, over and over on one folder of data:
 * nothing that was answered is lost, nothing is learned twice, and the weights
 * are those that the journal leads to; forks that were answered are there,
 * those that were removed are not.
 *
 * SOMA_CRASH_ROUNDS says how often (8); `make crash` does 100.
 */
#include "core/rng.h"
#include "tests/http/server.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, IMAGES = 200 };

static char data[] = "/tmp/soma-crash-XXXXXX";

/* What has been answered: answered[v] is the image that became version v, plus
 * 1; 0: not known; PROMOTION: a fork's state did. */
enum { PROMOTION = -1 };
static int *answered;
static size_t room;
static long requests, repeats, last_version;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
note(long version, int what)
{
    pthread_mutex_lock(&lock);
    while ((size_t)version >= room) {
        size_t more = room ? 2 * room : 4096;
        answered = realloc(answered, more * sizeof *answered);
        memset(answered + room, 0, (more - room) * sizeof *answered);
        room = more;
    }
    if (answered[version] && answered[version] != what)
        fail_msg("version %ld was answered for two requests", version);
    answered[version] = what;
    last_version = version > last_version ? version : last_version;
    pthread_mutex_unlock(&lock);
}

/* ---- A client that repeats what was not answered ---- */

typedef struct client {
    pthread_t thread;
    int index, image;
    long number; /* of its request: the key */
    bool open;   /* the request was sent and not answered */
    const server *s;
} client;

typedef struct body {
    char text[1024];
    size_t size;
} body;

static size_t
on_body(char *bytes, size_t size, size_t count, void *arg)
{
    body *b = arg;
    size_t more = size * count;
    size_t fits = sizeof b->text - 1 - b->size;
    memcpy(b->text + b->size, bytes, more < fits ? more : fits);
    b->size += more < fits ? more : fits;
    b->text[b->size] = '\0';
    return more;
}

/* The version that it became, or -1: no answer. */
static long
teach(CURL *curl, const client *c)
{
    char url[160], key[80];
    body b = {.size = 0};
    long status = 0, version = -1;
    snprintf(url, sizeof url, "%s/models/fashion/train?label=%d", c->s->url,
             fashion_labels()[c->image]);
    snprintf(key, sizeof key, "Idempotency-Key: %d-%ld", c->index, c->number);
    struct curl_slist *headers =
        curl_slist_append(NULL, "Content-Type: application/octet-stream");
    headers = curl_slist_append(headers, key);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                     fashion_images() + (size_t)c->image * PIXELS);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)PIXELS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &b);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
    if (!curl_easy_perform(curl)) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        const char *at = strstr(b.text, "\"version\":");
        if (status == 200 && at)
            version = atol(at + strlen("\"version\":"));
        else if (status != 503)
            fail_msg("status %ld: %s", status, b.text);
    }
    curl_slist_free_all(headers);
    return version;
}

static void *
run(void *arg)
{
    client *c = arg;
    CURL *curl = curl_easy_init();
    for (;;) {
        if (!c->open) {
            c->number++;
            c->image = (int)((c->number * THREADS + c->index) % IMAGES);
            c->open = true;
        } else {
            pthread_mutex_lock(&lock);
            repeats++;
            pthread_mutex_unlock(&lock);
        }
        long version = teach(curl, c);
        if (version < 0)
            break;
        note(version, c->image + 1);
        c->open = false;
        pthread_mutex_lock(&lock);
        requests++;
        pthread_mutex_unlock(&lock);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* ---- Another one, that makes forks and takes them away ---- */

enum { FORKS = 3 };

typedef enum standing {
    GONE,
    THERE,
    UNKNOWN /* what was asked last was not answered */
} standing;

typedef struct keeper {
    pthread_t thread;
    const server *s;
    soma_rng rng;
    standing forks[FORKS];
    long versions[FORKS]; /* that were answered */
    long forked, promoted, removed;
} keeper;

/* 0: no answer came. */
static long
ask_keeper(CURL *curl, const keeper *k, const char *method, const char *path,
           const char *json, long *version)
{
    answer a = ask_over(curl, k->s, method, path, "application/json", json,
                        json ? strlen(json) : 0, NULL);
    long status = a.status;
    const json_t *number = json_object_get(a.json, "version");
    if (status && !a.json)
        status = 0; /* half of it */
    *version = number ? (long)json_integer_value(number) : -1;
    if (status && status != 200 && status != 409 && status != 503)
        fail_msg("%s: status %ld: %s", path, status, a.body);
    free_answer(&a);
    return status;
}

static bool
make_fork(CURL *curl, keeper *k, int i)
{
    char json[32];
    long version;
    snprintf(json, sizeof json, "{\"as\": \"f%d\"}", i);
    long status =
        ask_keeper(curl, k, NULL, "/models/fashion/fork", json, &version);
    k->forks[i] = status == 200 ? THERE : status ? GONE : UNKNOWN;
    k->versions[i] = 0;
    k->forked += status == 200;
    return status != 0;
}

static bool
remove_fork(CURL *curl, keeper *k, int i)
{
    char path[32];
    long version;
    snprintf(path, sizeof path, "/models/f%d", i);
    long status = ask_keeper(curl, k, "DELETE", path, NULL, &version);
    if (status && status != 200)
        fail_msg("DELETE: status %ld", status);
    k->forks[i] = status ? GONE : UNKNOWN;
    k->removed += status == 200;
    return status != 0;
}

static bool
teach_fork(CURL *curl, keeper *k, int i)
{
    char path[64];
    int image = (int)soma_rng_below(&k->rng, IMAGES);
    snprintf(path, sizeof path, "/models/f%d/train?label=%d", i,
             fashion_labels()[image]);
    answer a =
        ask_over(curl, k->s, NULL, path, "application/octet-stream",
                 fashion_images() + (size_t)image * PIXELS, PIXELS, NULL);
    bool answered_it = a.status != 0 && a.json;
    if (a.status == 200 && a.json)
        k->versions[i] = (long)whole_of(a.json, "version");
    free_answer(&a);
    return answered_it;
}

static bool
promote_fork(CURL *curl, keeper *k, int i)
{
    char json[64];
    long version;
    snprintf(json, sizeof json, "{\"from\": \"f%d\", \"force\": true}", i);
    long status =
        ask_keeper(curl, k, NULL, "/models/fashion/promote", json, &version);
    if (status == 200) {
        note(version, PROMOTION);
        k->promoted++;
    }
    return status != 0;
}

static void *
keep(void *arg)
{
    keeper *k = arg;
    CURL *curl = curl_easy_init();
    for (bool goes_on = true; goes_on;) {
        int i = (int)soma_rng_below(&k->rng, FORKS);
        uint32_t what = soma_rng_below(&k->rng, 8);
        if (k->forks[i] == GONE)
            goes_on = make_fork(curl, k, i);
        else if (what < 2)
            goes_on = remove_fork(curl, k, i);
        else if (what < 6)
            goes_on = teach_fork(curl, k, i);
        else
            goes_on = promote_fork(curl, k, i);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* ---- What is there after a crash ---- */

/* Whether this record is what was answered for its version. */
static void
check_record(const json_t *record, long *examples)
{
    long version = (long)whole_of(record, "version");
    int what = version <= last_version ? answered[version] : 0;
    bool promoted = json_object_get(record, "promoted") != NULL;
    *examples += !promoted;
    if (what)
        assert_int_equal(promoted, what == PROMOTION);
    if (what > 0)
        assert_int_equal(whole_of(record, "label"), fashion_labels()[what - 1]);
}

/* Everything that was answered from version `from` on is what the journal has
 * there; returns the newest version, and counts examples. */
static long
check_answered(const server *s, long from, long *examples)
{
    long newest = 0;
    for (long after = from;;) {
        char path[96];
        snprintf(path, sizeof path,
                 "/models/fashion/examples?after=%ld&limit=1000", after);
        answer a = get(s, path);
        assert_int_equal(a.status, 200);
        newest = (long)whole_of(a.json, "version");
        const json_t *list = json_object_get(a.json, "examples");
        size_t count = json_array_size(list);
        for (size_t i = 0; i < count; i++) {
            check_record(json_array_get(list, i), examples);
            after = (long)whole_of(json_array_get(list, i), "version");
        }
        free_answer(&a);
        if (count == 0)
            break;
    }
    assert_true(newest >= last_version);
    return newest;
}

/* The digest by the server and by an independent replay of the journal. */
static void
check_digest(const server *s, const char *model, bool whole)
{
    char path[64], text[1 << 14];
    snprintf(path, sizeof path, "/models/%s", model);
    answer a = get(s, path);
    assert_int_equal(a.status, 200);
    int code = soma_says(text, sizeof text, "replay %s/%s.db%s", data, model,
                         whole ? "" : " --quick");
    if (code || !strstr(text, text_of(a.json, "digest")))
        fail_msg("%s: the server has %s, the replay says: %s", model,
                 text_of(a.json, "digest"), text);
    free_answer(&a);
}

/* Forks are there or not, as was answered; afterwards all of it is known. */
static void
check_forks(const server *s, keeper *k, bool whole)
{
    for (int i = 0; i < FORKS; i++) {
        char name[16], path[32];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(path, sizeof path, "/models/%s", name);
        answer a = get(s, path);
        assert_true(a.status == 200 || a.status == 404);
        standing found = a.status == 200 ? THERE : GONE;
        if (k->forks[i] != UNKNOWN && k->forks[i] != found)
            fail_msg("%s: %s, though it was answered", name,
                     found == THERE ? "there" : "gone");
        if (found == THERE) {
            assert_string_equal(text_of(a.json, "fork_of"), "fashion");
            assert_true((long)whole_of(a.json, "version") >= k->versions[i]);
            check_digest(s, name, whole);
        }
        k->forks[i] = found;
        free_answer(&a);
    }
}

static void
nothing_answered_is_lost(void **state)
{
    static const char *const arguments[] = {
        "--data", data, "--checkpoint-examples", "40", "--keep-checkpoints",
        "5",      NULL};
    (void)state;
    if (foreign_server("kill -9"))
        return;
    const char *text = getenv("SOMA_CRASH_ROUNDS");
    int rounds = text ? atoi(text) : 8;
    soma_rng rng = soma_rng_seed((uint64_t)getpid(), 0);
    client clients[THREADS] = {{.index = 0}};
    keeper keeps = {.rng = soma_rng_seed((uint64_t)getpid(), 1)};
    long checked = 0, newest = 0, examples = 0;
    assert_non_null(mkdtemp(data));
    curl_global_init(CURL_GLOBAL_ALL);
    fashion_images();
    fashion_labels(); /* read once, before there are threads */
    for (int round = 0; round < rounds; round++) {
        server s;
        start_server(&s, arguments);
        wait_until_ready(&s);
        newest = check_answered(&s, checked, &examples);
        checked = newest;
        if (newest > 0) /* before that there is no journal */
            check_digest(&s, "fashion", round == rounds - 1);
        check_forks(&s, &keeps, round == rounds - 1);
        keeps.s = &s;
        pthread_create(&keeps.thread, NULL, keep, &keeps);
        for (int i = 0; i < THREADS; i++) {
            clients[i].index = i;
            clients[i].s = &s;
            pthread_create(&clients[i].thread, NULL, run, &clients[i]);
        }
        usleep(20000 + soma_rng_below(&rng, 280000));
        kill(s.pid, SIGKILL);
        for (int i = 0; i < THREADS; i++)
            pthread_join(clients[i].thread, NULL);
        pthread_join(keeps.thread, NULL);
        waitpid(s.pid, NULL, 0);
        unlink(s.log);
    }
    /* What is still open is answered now; then every request that was ever
     * sent is there just once. */
    server s;
    CURL *curl = curl_easy_init();
    start_server(&s, arguments);
    wait_until_ready(&s);
    for (int i = 0; i < THREADS; i++) {
        clients[i].s = &s;
        if (!clients[i].open)
            continue;
        long version = teach(curl, &clients[i]);
        assert_true(version > 0);
        note(version, clients[i].image + 1);
        requests++;
    }
    curl_easy_cleanup(curl);
    /* The others are promotions, some of which were not answered. */
    examples = 0;
    newest = check_answered(&s, 0, &examples);
    check_digest(&s, "fashion", true);
    check_forks(&s, &keeps, true);
    assert_int_equal(examples, requests);
    assert_true(newest - examples >= keeps.promoted);
    assert_true(newest - examples <= keeps.promoted + rounds);
    assert_int_equal(stop_server(&s), 0);
    print_message("%d rounds, %ld answered (%ld sent again), %ld forks, %ld "
                  "promotions, %ld removals, 0 lost, 0 twice, digests equal\n",
                  rounds, requests, repeats, keeps.forked, keeps.promoted,
                  keeps.removed);
    free(answered);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", data);
    assert_int_equal(system(command), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_answered_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
