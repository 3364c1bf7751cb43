/* server/engine/feed.c: news in order, what is held, how many a minute. */
#include "server/engine/feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static soma_feed feed;

static int
set_up(void **state)
{
    (void)state;
    soma_feed_create(&feed);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    soma_feed_free(&feed);
    return 0;
}

/* One example each millisecond, versions from 1 on. */
static void
add(int count)
{
    for (int i = 1; i <= count; i++)
        soma_feed_add(&feed, &(soma_news){.version = (uint64_t)i,
                                          .time = i,
                                          .kind = SOMA_RECORD_EXAMPLE});
}

static void
each_is_read_once_in_order(void **state)
{
    (void)state;
    soma_news news[10];
    uint64_t at = 0;
    assert_int_equal(soma_feed_read(&feed, &at, news, 10), 0);
    add(25);
    assert_int_equal(soma_feed_count(&feed), 25);
    for (int from = 0; from < 25; from += 10) {
        int count = soma_feed_read(&feed, &at, news, 10);
        assert_int_equal(count, from < 20 ? 10 : 5);
        for (int i = 0; i < count; i++)
            assert_int_equal(news[i].version, from + i + 1);
    }
    assert_int_equal(at, 25);
    assert_int_equal(soma_feed_read(&feed, &at, news, 10), 0);
}

/* Who was away for longer goes on with the oldest that is left. */
static void
the_last_are_held(void **state)
{
    (void)state;
    static soma_news news[SOMA_FEED + 1];
    uint64_t at = 3;
    add(SOMA_FEED + 100);
    assert_int_equal(soma_feed_read(&feed, &at, news, SOMA_FEED + 1),
                     SOMA_FEED);
    assert_int_equal(news[0].version, 101);
    assert_int_equal(news[SOMA_FEED - 1].version, SOMA_FEED + 100);
    assert_int_equal(at, SOMA_FEED + 100);
}

static void
near(double found, double wanted)
{
    if (found < wanted - 1e-9 || found > wanted + 1e-9)
        fail_msg("%g, expected %g", found, wanted);
}

static void
examples_since_are_counted(void **state)
{
    (void)state;
    near(soma_feed_since(&feed, 0, 100), 0);
    add(20);
    soma_feed_add(
        &feed,
        &(soma_news){.version = 21, .time = 21, .kind = SOMA_RECORD_ROLLBACK});
    near(soma_feed_since(&feed, 0, 100), 20);
    near(soma_feed_since(&feed, 11, 100), 10);
    near(soma_feed_since(&feed, 21, 100), 0);
}

/* More than are held: at the rate of those, one each millisecond. */
static void
more_than_are_held_are_extrapolated(void **state)
{
    (void)state;
    add(3000);
    near(soma_feed_since(&feed, 1000, 3000 + 1),
         SOMA_FEED * 2001.0 / SOMA_FEED);
    near(soma_feed_since(&feed, 2901, 3001), 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_is_read_once_in_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_last_are_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(examples_since_are_counted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(more_than_are_held_are_extrapolated,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
