/* soma_digits_read beside soma_number_read, on text that is nearly right. */
#include "server/web/digits.h"

#include "core/rng.h"
#include "server/web/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 500, ROOM = NUMBERS + 64 };

static soma_rng rng;

static bool
one_in(unsigned n)
{
    return soma_rng_below(&rng, n) == 0;
}

/* A list of numbers as clients write them; with `odd`, now and then something
 * that is not a short whole number, or not JSON. */
static size_t
make_list(char *text, bool spaces, bool odd)
{
    static const char *const oddities[] = {
        "007", "00",   "1234", "-5",  "1.5", "1e2",  " 7", "7 ",
        "",    "null", "[1]",  "\n3", "\t4", "3\t",  "x",  "12,,",
        "+1",  "0x1",  "9999", "1 2", "12]", "5\r6", "-0", "01"};
    size_t used = 0;
    for (int i = 0; i < NUMBERS; i++) {
        if (odd && one_in(60))
            used +=
                (size_t)sprintf(text + used, "%s",
                                oddities[soma_rng_below(
                                    &rng, sizeof oddities / sizeof *oddities)]);
        else
            used += (size_t)sprintf(
                text + used, "%u",
                (unsigned)soma_rng_below(&rng, one_in(2) ? 1000 : 256));
        used += (size_t)sprintf(text + used, spaces ? ", " : ",");
    }
    used += (size_t)sprintf(text + used, "1]");
    return used;
}

/* What was taken is what the slow reader takes, element by element. */
static size_t
check_way(const char *begin, const char *text, size_t size, size_t room)
{
    static float got[ROOM];
    size_t count;
    for (int i = 0; i < ROOM; i++)
        got[i] = -1;
    const char *stop =
        soma_digits_read(begin, text, text + size, got, room, &count);
    const char *at = text;
    assert_true(count <= room);
    for (size_t i = 0; i < count; i++) {
        float expected;
        at = soma_number_read(at, text + size, &expected);
        assert_non_null(at);
        assert_true(*at == ',');
        at += at[1] == ' ' ? 2 : 1;
        assert_true(got[i] == expected);
    }
    assert_ptr_equal(at, stop);
    for (size_t i = room; i < ROOM; i++)
        assert_true(got[i] == -1);
    return count;
}

/* By each way that this CPU has; what the best one took. */
static size_t
check(const char *begin, const char *text, size_t size, size_t room)
{
    size_t count = 0;
    for (int way = SOMA_DIGITS_NONE; way <= (int)soma_digits_best(); way++) {
        soma_digits_limit((soma_digits_way)way);
        count = check_way(begin, text, size, room);
    }
    return count;
}

/* In a buffer of just its size, so that AddressSanitizer sees what is read
 * beyond the one byte that may be. */
static size_t
check_exact(const char *text, size_t size, size_t room)
{
    static const char head[] = "[[[[";
    size_t before = sizeof head - 1;
    char *copy = malloc(before + size + 1);
    assert_non_null(copy);
    memcpy(copy, head, before);
    memcpy(copy + before, text, size);
    copy[before + size] = '\0';
    size_t count = check(copy, copy + before, size, room);
    free(copy);
    return count;
}

static void
plain_lists_are_read_whole(void **state)
{
    char text[NUMBERS * 8];
    (void)state;
    for (int round = 0; round < 2000; round++) {
        size_t size = make_list(text, round & 1, false);
        size_t count = check_exact(text, size, ROOM);
        /* All but what stands in the last block, or none. */
        if (soma_digits_best() != SOMA_DIGITS_NONE)
            assert_true(count >= NUMBERS - 64);
        else
            assert_int_equal(count, 0);
    }
}

static void
anything_else_ends_it(void **state)
{
    char text[NUMBERS * 8];
    (void)state;
    for (int round = 0; round < 20000; round++) {
        size_t size = make_list(text, round & 1, true);
        size_t from = soma_rng_below(&rng, 200);
        check_exact(text + from, size - from, ROOM);
    }
}

static void
every_byte_in_every_place(void **state)
{
    char text[NUMBERS * 8];
    (void)state;
    size_t size = make_list(text, false, false);
    for (int place = 0; place < 70; place++)
        for (int byte = 1; byte < 256; byte++) {
            char was = text[place];
            text[place] = (char)byte;
            check_exact(text, size, ROOM);
            text[place] = was;
        }
}

static void
room_is_kept_to(void **state)
{
    char text[NUMBERS * 8];
    (void)state;
    size_t size = make_list(text, true, false);
    for (size_t room = 0; room < 200; room++)
        check_exact(text, size, room);
    for (size_t part = 0; part < 200; part++)
        check_exact(text, part, ROOM);
}

int
main(void)
{
    rng = soma_rng_seed(5, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_lists_are_read_whole),
        cmocka_unit_test(anything_else_ends_it),
        cmocka_unit_test(every_byte_in_every_place),
        cmocka_unit_test(room_is_kept_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
