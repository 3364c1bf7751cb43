/* Challengers that are taken away; and models that come and go while others use
 * them.
 *
 * SOMA_FORK_ROUNDS says how often they do so under load (24; 10 where
 * ThreadSanitizer watches).
 */
#include "tests/http/forks.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

static void
a_fork_can_be_taken_away(void **unused)
{
    char text[4096];
    (void)unused;
    if (foreign_server("DELETE"))
        return;
    teach("fashion", 0);
    expect_ok(fork_as("fashion", "b"));
    teach("b", 1);
    answer a = take_away("b");
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "model"), "b");
    assert_true(json_is_true(json_object_get(a.json, "removed")));
    free_answer(&a);
    expect_error(get(&s, "/models/b"), 404, "unknown_model", "\"b\"");
    expect_error(teach_as("b", 0, 1, ""), 404, "unknown_model", "\"b\"");
    expect_error(ask(&s, NULL, "/models/b/predict", "application/octet-stream",
                     fashion_images(), PIXELS),
                 404, "unknown_model", "\"b\"");
    expect_error(take_away("b"), 404, "unknown_model", "\"b\"");
    expect_error(promote("fashion", "b", true), 404, "unknown_model", "\"b\"");
    expect_error(roll_back("b", 0), 404, "unknown_model", "\"b\"");
    a = get(&s, "/metrics");
    assert_null(strstr(a.body, "model=\"b\""));
    free_answer(&a);
    assert_false(there_is(".db", "b"));
    assert_false(there_is(".db-wal", "b"));
    assert_true(there_is(".db.old-0", "b"));
    assert_int_equal(
        soma_says(text, sizeof text, "journal check %s/b.db.old-0", data), 0);
    assert_non_null(strstr(text, "good: 1 examples, version 2"));
    /* The name is free again, for any model. */
    expect_ok(fork_as("neuron", "b"));
    json_t *json = describe("b");
    assert_string_equal(text_of(json, "fork_of"), "neuron");
    json_decref(json);
    expect_ok(take_away("b"));
    assert_true(there_is(".db.old-1", "b"));
    expect_ok(fork_as("fashion", "b"));
    expect_ok(fork_as("fashion", "c"));
    expect_ok(take_away("b"));
    kill_server(&s);
    start(plain);
    expect_error(get(&s, "/models/b"), 404, "unknown_model", "\"b\"");
    json_decref(describe("c"));
    expect_error(take_away("fashion"), 409, "conflict", "is no fork");
    expect_error(take_away("frog"), 404, "unknown_model", "frog");
    json_decref(describe("fashion"));
}

/* GET of something large over a connection that reads nothing. */
static int
ask_and_do_not_read(const char *path)
{
    char text[200];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)s.port)};
    int room = 4096;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    int size =
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    assert_int_equal(send(fd, text, (size_t)size, MSG_NOSIGNAL), size);
    char first;
    assert_int_equal(recv(fd, &first, 1, 0), 1); /* the answer has begun */
    return fd;
}

/* Whoever reads slowly does not keep a model from going away. */
static void
a_slow_reader_holds_up_nobody(void **unused)
{
    (void)unused;
    if (foreign_server("DELETE"))
        return;
    expect_ok(fork_as("cifar10-deep", "large"));
    int fd = ask_and_do_not_read("/models/large/weights");
    CURL *curl = curl_easy_init();
    answer a =
        ask_over(curl, &s, "DELETE", "/models/large", NULL, NULL, 0, NULL);
    curl_easy_cleanup(curl);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    close(fd);
}

/* ---- Under load ---- */

enum { CLIENTS = 4 };

typedef struct client {
    pthread_t thread;
    int index;
    const char *const *models; /* NULL ends them */
    long asked;
} client;

static atomic_bool over;
static atomic_long counts[600]; /* by status */
static char wrong[1000];        /* what should not have been answered */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
take_note(answer *a, const char *path)
{
    bool fine = a->status == 200 || a->status == 404 || a->status == 409 ||
                a->status == 503;
    if (a->status >= 0 && a->status < 600)
        atomic_fetch_add(&counts[a->status], 1);
    if (!fine || !a->json) {
        pthread_mutex_lock(&lock);
        if (!wrong[0])
            snprintf(wrong, sizeof wrong, "%s: status %ld: %s", path, a->status,
                     a->body ? a->body : "no answer");
        pthread_mutex_unlock(&lock);
    }
    free_answer(a);
}

/* One request of a kind that follows from its number. */
static void
ask_something(CURL *curl, client *c, const char *model)
{
    static const char bytes[] = "application/octet-stream";
    char path[200];
    const unsigned char *image =
        fashion_images() + (size_t)(c->asked % 50) * PIXELS;
    const char *method = NULL, *type = bytes;
    size_t size = PIXELS;
    switch (c->asked % 8) {
    case 0:
    case 1:
        snprintf(path, sizeof path, "/models/%s/train?label=%d", model,
                 fashion_labels()[c->asked % 50]);
        break;
    case 2: /* more than a batch: in pieces */
        snprintf(path, sizeof path, "/models/%s/predict?top_k=1", model);
        size = (size_t)200 * PIXELS;
        break;
    case 3:
        snprintf(path, sizeof path, "/models/%s", model);
        size = 0;
        break;
    case 4:
        snprintf(path, sizeof path, "/models/%s/examples?limit=3", model);
        size = 0;
        break;
    default:
        snprintf(path, sizeof path, "/models/%s/predict?remember=%d", model,
                 (int)(c->asked % 2));
    }
    answer a = ask_over(curl, &s, method, path, size ? type : NULL,
                        size ? image : NULL, size, NULL);
    take_note(&a, path);
    c->asked++;
}

static void *
be_a_client(void *arg)
{
    client *c = arg;
    CURL *curl = curl_easy_init();
    while (!atomic_load(&over))
        for (int i = 0; c->models[i]; i++)
            ask_something(curl, c, c->models[i]);
    curl_easy_cleanup(curl);
    return NULL;
}

/* Another one that makes forks, promotes them and takes them away. */
static void *
come_and_go(void *arg)
{
    CURL *curl = curl_easy_init();
    const char *name = arg;
    while (!atomic_load(&over)) {
        char path[100];
        static const char json[] = "application/json";
        answer a = ask_over(curl, &s, NULL, "/models/mnist/fork", json,
                            "{\"as\": \"b\"}", 11, NULL);
        take_note(&a, "fork");
        snprintf(path, sizeof path, "/models/%s/promote", name);
        a = ask_over(curl, &s, NULL, path, json,
                     "{\"from\": \"b\", \"force\": true}", 28, NULL);
        take_note(&a, "promote");
        a = ask_over(curl, &s, NULL, "/models", NULL, NULL, 0, NULL);
        take_note(&a, "/models");
        a = ask_over(curl, &s, "DELETE", "/models/b", NULL, NULL, 0, NULL);
        take_note(&a, "DELETE");
    }
    curl_easy_cleanup(curl);
    return NULL;
}

static void
start_clients(client clients[CLIENTS], pthread_t *rival)
{
    static const char *const names[] = {"mnist", "b", "keeps", NULL};
    static char other[] = "keeps";
    curl_global_init(CURL_GLOBAL_ALL);
    fashion_images();
    fashion_labels(); /* read once, before there are threads */
    atomic_store(&over, false);
    for (int i = 0; i < 600; i++)
        atomic_store(&counts[i], 0);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (client){.index = i, .models = names, .asked = 3 * i};
        assert_int_equal(
            pthread_create(&clients[i].thread, NULL, be_a_client, &clients[i]),
            0);
    }
    assert_int_equal(pthread_create(rival, NULL, come_and_go, other), 0);
}

static void
stop_clients(client clients[CLIENTS], pthread_t rival)
{
    atomic_store(&over, true);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    pthread_join(rival, NULL);
}

static void
models_come_and_go_under_load(void **unused)
{
    client clients[CLIENTS];
    pthread_t rival;
    int done = 0;
    (void)unused;
    if (foreign_server("forks under load"))
        return;
    const char *wish = getenv("SOMA_FORK_ROUNDS");
    int rounds = wish ? atoi(wish) : ROUNDS;
    expect_ok(fork_as("mnist", "keeps"));
    start_clients(clients, &rival);
    for (int i = 0; i < rounds; i++) {
        static const char *const steps[] = {"fork", "promote", "delete"};
        answer a[] = {fork_as("mnist", "b"), promote("mnist", "b", i % 2),
                      take_away("b")};
        for (int k = 0; k < 3; k++) {
            done += a[k].status == 200;
            take_note(&a[k], steps[k]);
        }
    }
    stop_clients(clients, rival);
    if (wrong[0])
        fail_msg("%s", wrong);
    print_message(
        "%ld answered 200, %ld 404, %ld 409, %ld 503; %d of %d forks, "
        "promotions and removals done\n",
        counts[200], counts[404], counts[409], counts[503], done, 3 * rounds);
    assert_true(counts[200] > 100 && done > 0);
    for (int i = 0; i < 2; i++) {
        const char *model = i ? "keeps" : "mnist";
        state now = state_of(model);
        expect_replay(model, now.digest);
    }
}

/* SIGTERM, too, finds all of that under way. */
static void
the_server_ends_under_load(void **unused)
{
    client clients[CLIENTS];
    pthread_t rival;
    (void)unused;
    if (foreign_server("SIGTERM"))
        return;
    for (int round = 0; round < FEW; round++) {
        answer a = fork_as("mnist", "keeps");
        assert_true(a.status == 200 || a.status == 409);
        free_answer(&a);
        start_clients(clients, &rival);
        usleep(300000 + (unsigned)round * 70000);
        assert_int_equal(stop_server(&s), 0);
        stop_clients(clients, rival);
        wrong[0] = '\0'; /* connections that were refused */
        start(plain);
        expect_replay("mnist", state_of("mnist").digest);
        expect_replay("keeps", state_of("keeps").digest);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_fork_can_be_taken_away),
        TEST(a_slow_reader_holds_up_nobody),
        TEST(models_come_and_go_under_load),
        TEST(the_server_ends_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
