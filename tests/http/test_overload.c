/* More than the queues take: whoever is refused is told at once, by 503 and
 * Retry-After, and when it is over everyone is answered. */
#include "tests/http/server.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { CLIENTS = 24, REQUESTS = 40 };

static server s;
static atomic_int answered, refused, wrong;

static void *
flood(void *arg)
{
    CURL *curl = curl_easy_init();
    (void)arg;
    for (int i = 0; i < REQUESTS; i++) {
        answer a = ask_over(curl, &s, NULL, "/models/fashion/train?label=3",
                            "application/octet-stream", fashion_images(),
                            PIXELS, NULL);
        if (a.status == 200)
            answered++;
        else if (a.status == 503 && atoi(a.retry) > 0)
            refused++;
        else
            wrong++;
        free_answer(&a);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

static void
a_flood_is_refused_and_passes(void **state)
{
    static const char *const arguments[] = {"--max-waiting", "2", NULL};
    pthread_t threads[CLIENTS];
    (void)state;
    fashion_images();
    start_server(&s, arguments);
    wait_until_ready(&s);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, flood, NULL), 0);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    print_message("%d answered, %d refused\n", answered, refused);
    assert_int_equal(wrong, 0);
    assert_true(answered > 0);
    assert_true(refused > 0);
    for (int i = 0; i < 20; i++) {
        answer a = ask(&s, NULL, "/models/fashion/train?label=3",
                       "application/octet-stream", fashion_images(), PIXELS);
        assert_int_equal(a.status, 200);
        free_answer(&a);
    }
    answer a = get(&s, "/models/fashion");
    assert_int_equal(whole_of(a.json, "examples"), answered + 20);
    free_answer(&a);
    assert_int_equal(stop_server(&s), 0);
}

int
main(void)
{
    if (foreign_server("a flood"))
        return 0;
    curl_global_init(CURL_GLOBAL_ALL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_is_refused_and_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
