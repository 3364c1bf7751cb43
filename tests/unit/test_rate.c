/* Token buckets of callers, and what becomes of them when there are many. */
#include "server/web/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

enum { SECOND = 1000000 };

static uint64_t
caller_of(const char *text)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {.v4 = {.sin_family = AF_INET}};
    if (inet_pton(AF_INET, text, &at.v4.sin_addr) == 1)
        return soma_rate_address(&at.any);
    at.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &at.v6.sin6_addr), 1);
    return soma_rate_address(&at.any);
}

static int
granted(soma_rates *rates, uint64_t caller, int tries, uint64_t now)
{
    int count = 0;
    for (int i = 0; i < tries; i++)
        count += soma_rates_take(rates, caller, now) == 0;
    return count;
}

static void
a_bucket_fills(void **state)
{
    soma_rates *rates = soma_rates_create(10);
    uint64_t a = soma_rate_key("a"), b = soma_rate_key("b");
    (void)state;
    assert_int_equal(granted(rates, a, 100, SECOND), 10);
    assert_int_equal(soma_rates_take(rates, a, SECOND), 1);
    assert_int_equal(granted(rates, b, 100, SECOND), 10);
    assert_int_equal(granted(rates, a, 100, SECOND + SECOND / 2), 5);
    assert_int_equal(granted(rates, a, 100, 900 * SECOND), 10);
    /* A worker whose clock was read earlier takes nothing from others. */
    assert_int_equal(granted(rates, a, 100, 899 * SECOND), 0);
    soma_rates_free(rates);
}

static void
less_than_one_a_second(void **state)
{
    soma_rates *rates = soma_rates_create(0.1);
    uint64_t a = soma_rate_key("a");
    (void)state;
    assert_int_equal(granted(rates, a, 9, SECOND), 1);
    assert_int_equal(soma_rates_take(rates, a, SECOND), 10);
    assert_int_equal(soma_rates_take(rates, a, 8 * SECOND), 3);
    assert_int_equal(soma_rates_take(rates, a, 12 * SECOND), 0);
    soma_rates_free(rates);
}

static void
who_is_one_caller(void **state)
{
    (void)state;
    assert_true(caller_of("10.0.0.1") != caller_of("10.0.0.2"));
    assert_true(caller_of("10.0.0.1") == caller_of("::ffff:10.0.0.1"));
    assert_true(caller_of("2001:db8::1") == caller_of("2001:db8::ffff:2"));
    assert_true(caller_of("2001:db8::1") != caller_of("2001:db8:0:1::1"));
    assert_true(soma_rate_key("a") != soma_rate_key("b"));
    assert_true(soma_rate_address(NULL) != 0);
}

/* All together get no more than the whole table's buckets hold, and one who
 * has spent its tokens is not given new ones by having been pushed out. */
static void
a_flood_of_callers(void **state)
{
    enum { CALLERS = 8 * SOMA_RATE_CALLERS };
    soma_rates *rates = soma_rates_create(1);
    int count = 0;
    (void)state;
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < CALLERS; i++) {
            struct sockaddr_in at = {.sin_family = AF_INET,
                                     .sin_addr = {htonl(i)}};
            union {
                const struct sockaddr_in *v4;
                const struct sockaddr *any;
            } address = {&at};
            count += granted(rates, soma_rate_address(address.any), 1, SECOND);
        }
    assert_true(count <= SOMA_RATE_CALLERS);
    assert_true(count > SOMA_RATE_CALLERS / 2);
    soma_rates_free(rates);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_fills),
        cmocka_unit_test(less_than_one_a_second),
        cmocka_unit_test(who_is_one_caller),
        cmocka_unit_test(a_flood_of_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
