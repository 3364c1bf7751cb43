/* kill -9 at random moments under load, over and over on one folder of data:
 * nothing that was answered is lost, nothing is learned twice, and the weights
 * are those that the journal leads to.
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
 * 1; 0: not known. */
static int *answered;
static size_t room;
static long requests, repeats, last_version;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
note(long version, int image)
{
    pthread_mutex_lock(&lock);
    while ((size_t)version >= room) {
        size_t more = room ? 2 * room : 4096;
        answered = realloc(answered, more * sizeof *answered);
        memset(answered + room, 0, (more - room) * sizeof *answered);
        room = more;
    }
    if (answered[version] && answered[version] != image + 1)
        fail_msg("version %ld was answered for two requests", version);
    answered[version] = image + 1;
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
        note(version, c->image);
        c->open = false;
        pthread_mutex_lock(&lock);
        requests++;
        pthread_mutex_unlock(&lock);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* ---- What is there after a crash ---- */

/* Everything that was answered from version `from` on is what the journal has
 * there; returns the newest version. */
static long
check_answered(const server *s, long from)
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
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *one = json_array_get(list, i);
            after = (long)whole_of(one, "version");
            int image = after <= last_version ? answered[after] - 1 : -1;
            if (image >= 0)
                assert_int_equal(whole_of(one, "label"),
                                 fashion_labels()[image]);
        }
        size_t count = json_array_size(list);
        free_answer(&a);
        if (count == 0)
            break;
    }
    assert_true(newest >= last_version);
    return newest;
}

/* The digest by the server and by an independent replay of the journal. */
static void
check_digest(const server *s, bool whole)
{
    char command[512], text[4096];
    answer a = get(s, "/models/fashion");
    assert_int_equal(a.status, 200);
    snprintf(command, sizeof command, "%s replay %s/fashion.db%s 2>&1",
             getenv("SOMA") ? getenv("SOMA") : "build/gcc/soma", data,
             whole ? "" : " --quick");
    FILE *replay = popen(command, "r");
    size_t n = fread(text, 1, sizeof text - 1, replay);
    text[n] = '\0';
    if (pclose(replay) || !strstr(text, text_of(a.json, "digest")))
        fail_msg("the server has %s, the replay says: %s",
                 text_of(a.json, "digest"), text);
    free_answer(&a);
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
    long checked = 0, newest = 0;
    assert_non_null(mkdtemp(data));
    curl_global_init(CURL_GLOBAL_ALL);
    fashion_images();
    fashion_labels(); /* read once, before there are threads */
    for (int round = 0; round < rounds; round++) {
        server s;
        start_server(&s, arguments);
        wait_until_ready(&s);
        newest = check_answered(&s, checked);
        checked = newest;
        if (newest > 0) /* before that there is no journal */
            check_digest(&s, round == rounds - 1);
        for (int i = 0; i < THREADS; i++) {
            clients[i].index = i;
            clients[i].s = &s;
            pthread_create(&clients[i].thread, NULL, run, &clients[i]);
        }
        usleep(20000 + soma_rng_below(&rng, 280000));
        kill(s.pid, SIGKILL);
        for (int i = 0; i < THREADS; i++)
            pthread_join(clients[i].thread, NULL);
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
        note(version, clients[i].image);
        requests++;
    }
    curl_easy_cleanup(curl);
    newest = check_answered(&s, 0);
    check_digest(&s, true);
    assert_int_equal(newest, requests);
    for (long v = 1; v <= newest; v++)
        assert_true(answered[v] > 0);
    assert_int_equal(stop_server(&s), 0);
    print_message("%d rounds, %ld answered (%ld sent again), 0 lost, 0 twice, "
                  "digests equal\n",
                  rounds, requests, repeats);
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
