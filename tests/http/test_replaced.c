/* A model is replaced by API and by SIGHUP while others are answered.
 *
 * SOMA_REPLACE_ROUNDS says how often (40; 10 where a sanitizer watches).
 */
#include "tests/http/repository.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { ROUNDS = 10, WATCHED = true };
#else
enum { ROUNDS = 40, WATCHED = false };
#endif

/* The ways to ask, one for each client: rows that are all the same image, and
 * where the answers to them are. */
enum { WAYS = 6, MANY = 200 };

typedef struct way {
    const char *path, *type;
    const char *list, *within; /* members of the answer, see row_of */
    int rows;
    bool anew; /* on a connection of its own */
    char *body;
    size_t size;
} way;

static way ways[WAYS] = {
    {"/predict", "application/octet-stream", NULL, "probabilities", 1, false,
     NULL, 0},
    {"/models/digits/predict", "application/octet-stream", NULL,
     "probabilities", 1, true, NULL, 0},
    {"/models/digits/predict", "application/octet-stream", "predictions",
     "probabilities", MANY, false, NULL, 0},
    {"/predict", "application/json", NULL, "probabilities", 1, false, NULL, 0},
    {"/v1/models/digits:predict", "application/json", "predictions", NULL, 3,
     false, NULL, 0},
    {"/v2/models/digits/infer", "application/json", "outputs", "data", 1, false,
     NULL, 0},
};

static void
make_bodies(void)
{
    for (way *w = ways; w < ways + WAYS; w++) {
        json_t *json = NULL, *pixels = pixels_of(fashion_images(), PIXELS);
        if (!strcmp(w->type, "application/octet-stream")) {
            w->size = (size_t)w->rows * PIXELS;
            w->body = malloc(w->size);
            assert_non_null(w->body);
            for (int i = 0; i < w->rows; i++)
                memcpy(w->body + i * PIXELS, fashion_images(), PIXELS);
        } else if (!strncmp(w->path, "/v1", 3)) {
            json =
                json_pack("{s:[O, O, O]}", "instances", pixels, pixels, pixels);
        } else if (!strncmp(w->path, "/v2", 3)) {
            json = json_pack("{s:[{s:s, s:s, s:[i, i], s:O}]}", "inputs",
                             "name", "input", "datatype", "UINT8", "shape", 1,
                             PIXELS, "data", pixels);
        } else {
            json = json_pack("{s:O}", "pixels", pixels);
        }
        if (json) {
            w->body = json_dumps(json, JSON_COMPACT);
            assert_non_null(w->body);
            w->size = strlen(w->body);
        }
        json_decref(json);
        json_decref(pixels);
    }
}

/* The answer to row r: in a member, in a list, or in a member of what is in a
 * list. */
static const json_t *
row_of(const way *w, const json_t *json, int r)
{
    if (w->list)
        json = json_array_get(json_object_get(json, w->list), (size_t)r);
    return w->within ? json_object_get(json, w->within) : json;
}

typedef struct client {
    pthread_t thread;
    const way *way;
    long answered, other;
    double worst; /* seconds */
    char wrong[256];
} client;

static atomic_bool ended;
static double expected[2];

static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Whether each row is answered by the same one of both files, and which. */
static bool
is_right(const way *w, const answer *a, int *file)
{
    for (int r = 0; r < w->rows; r++) {
        double number =
            json_number_value(json_array_get(row_of(w, a->json, r), 0));
        if (r == 0)
            *file = number == expected[1];
        if (number != expected[*file])
            return false;
    }
    return a->status == 200;
}

static void *
client_main(void *arg)
{
    client *c = arg;
    const way *w = c->way;
    CURL *curl = curl_easy_init();
    while (!atomic_load(&ended) && !*c->wrong) {
        int file = 0;
        double began = seconds();
        answer a = ask_over(curl, &s, "POST", w->path, w->type, w->body,
                            w->size, w->anew ? "Connection: close" : NULL);
        double took = seconds() - began;
        c->worst = took > c->worst ? took : c->worst;
        if (!is_right(w, &a, &file))
            snprintf(c->wrong, sizeof c->wrong, "%s: status %ld: %.200s",
                     w->path, a.status, a.body ? a.body : "no answer");
        c->answered++;
        c->other += file;
        free_answer(&a);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* The default model is replaced again and again, by API and by SIGHUP; each
 * request, whichever way it is asked, gets the answer of one file or the other
 * for all of its rows, none a refusal, and none waits for the loading of a
 * model. */
static void
replaced_under_load(void **state)
{
    client clients[WAYS] = {{.answered = 0}};
    const char *wanted = getenv("SOMA_REPLACE_ROUNDS");
    int rounds = wanted ? atoi(wanted) : ROUNDS;
    (void)state;
    if (skipped("repository"))
        return;
    make_bodies();
    start("--data", data, NULL);
    expected[0] = answer_of("digits");
    put_file("fashion", "clothes");
    expect_good(load("clothes"));
    expected[1] = answer_of("clothes");
    atomic_store(&ended, false);
    for (int i = 0; i < WAYS; i++) {
        clients[i].way = &ways[i];
        pthread_create(&clients[i].thread, NULL, client_main, &clients[i]);
    }
    for (int i = 0; i < rounds; i++) {
        put_file(i % 2 ? "mnist" : "fashion", "digits");
        if (i % 4 < 2)
            expect_good(load("digits"));
        else
            hang_up("replaced model=digits");
        assert_true(answer_of("digits") == expected[i % 2 == 0]);
        /* Others come and go beside it. */
        if (i % 8 == 0)
            expect_good(unload("neuron"));
        else if (i % 8 == 4)
            expect_good(load("neuron"));
    }
    atomic_store(&ended, true);
    long answered = 0, other = 0;
    double worst = 0;
    for (int i = 0; i < WAYS; i++) {
        pthread_join(clients[i].thread, NULL);
        if (*clients[i].wrong)
            fail_msg("%s", clients[i].wrong);
        answered += clients[i].answered;
        other += clients[i].other;
        worst = clients[i].worst > worst ? clients[i].worst : worst;
    }
    print_message("%ld answers in %d replacements, %ld by the other file, the "
                  "slowest after %.1f ms, 0 lost\n",
                  answered, rounds, other, worst * 1e3);
    assert_true(other > 0 && other < answered);
    for (int i = 0; i < WAYS; i++)
        free(ways[i].body);
    /* A machine that is busy with other things delays anybody. */
    assert_true(WATCHED || worst < 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replaced_under_load, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
