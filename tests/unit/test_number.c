/* soma_number_read beside strtod: the same float32, whatever the number of
 * digits, and close to the middle between two float32. */
#include "server/web/number.h"

#include "core/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static soma_rng rng;

/* In a buffer of just its size, so that AddressSanitizer sees what is read
 * beyond the NUL. */
static void
check(const char *number)
{
    size_t size = strlen(number);
    char *text = malloc(size + 1);
    float got = -1, expected = (float)strtod(number, NULL);
    assert_non_null(text);
    memcpy(text, number, size + 1);
    assert_ptr_equal(soma_number_read(text, text + size, &got), text + size);
    if (memcmp(&got, &expected, sizeof got) != 0)
        fail_msg("%s: got %.9g, expected %.9g", number, (double)got,
                 (double)expected);
    free(text);
}

static double
random_double(void)
{
    double x = (double)soma_rng_below(&rng, 1u << 31) + 1;
    x = x / (1u << 31) + (double)soma_rng_below(&rng, 1u << 31) * 0x1p-62;
    return ldexp(x, (int)soma_rng_below(&rng, 60) - 45);
}

static void
as_programs_write_them(void **state)
{
    char text[64];
    (void)state;
    for (int i = 0; i < 256; i++)
        for (int digits = 1; digits <= 20; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, i / 255.0);
            check(text);
            snprintf(text, sizeof text, "%.*f", digits, i / 255.0);
            check(text);
        }
    for (int i = 0; i < 200000; i++) {
        int digits = 1 + (int)soma_rng_below(&rng, 25);
        const char *sign = soma_rng_below(&rng, 2) ? "-" : "";
        snprintf(text, sizeof text, "%s%.*g", sign, digits, random_double());
        check(text);
    }
}

/* The middle of two neighbours, exactly and cut short after some digits: there
 * a double that is off in its last place rounds to the other one. */
static void
close_to_the_middle(void **state)
{
    char text[400];
    (void)state;
    for (int i = 0; i < 50000; i++) {
        float low = (float)random_double(), high = nextafterf(low, 1e30f);
        double middle = ((double)low + (double)high) / 2;
        for (int digits = 15; digits <= 21; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, middle);
            check(text);
        }
        snprintf(text, sizeof text, "%.*f", 10 + (int)soma_rng_below(&rng, 30),
                 middle);
        check(text);
    }
}

static void
the_edges_of_float32(void **state)
{
    static const char *const edges[] = {
        "0",
        "0.0",
        "-0.0",
        "0.00000000000000000000000000000000000001",
        "0.0000000000000000000000000000000000000000000012345678901234567",
        "340282346638528859811704183484516925440.0",
        "340282356779733661637539395458142568447.9",
        "340282356779733661637539395458142568448.0",
        "18446744073709551615.0",
        "18446744073709551616.0",
        "18446744073709551617.5",
        "9223372036854775807",
        "-9223372036854775808",
        "9007199254740993",
        "16777217.000000000000000001",
        "16777217.0000000000",
        "1844674407370955161.5e22",
        "12345678901234567e-22",
        "11754943508222875079e-57",
        "1e308",
        "1e-400"};
    (void)state;
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        check(edges[i]);
}

static void
what_is_no_number(void **state)
{
    static const char *const others[] = {
        "",      "-",   "01",   ".5",  "5.",        "5.e1",
        "1e",    "1e+", "+1",   "x",   "-x",        "9223372036854775808",
        "1e309", "--1", "00.5", "-.5", "-00000000", "12345678.",
    };
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        float value;
        const char *end = others[i] + strlen(others[i]);
        if (soma_number_read(others[i], end, &value))
            fail_msg("%s was read", others[i]);
    }
}

int
main(void)
{
    rng = soma_rng_seed(7, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_programs_write_them),
        cmocka_unit_test(close_to_the_middle),
        cmocka_unit_test(the_edges_of_float32),
        cmocka_unit_test(what_is_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
