/* core/meaning.c: what the base model's classes mean by now. */
#include "core/meaning.h"
#include "tests/unit/nets.h"

static soma_error err;

/* Renamed by a clear lead of what is read for sure, and only by that; named as
 * before by as clear a lead. */
static void
test_meaning(void **state)
{
    (void)state;
    soma_meaning m;
    nets_ok(soma_meaning_create(&m, 3, &err), &err);
    m.sure[1] = 2;
    for (int i = 0; i < 100; i++) {
        assert_false(soma_meaning_hear(&m, 1, 1.9f, 2)); /* not for sure */
        assert_false(soma_meaning_hear(&m, 0, 9, 2));    /* nothing is, of 0 */
        /* As many say so as say otherwise. */
        assert_false(soma_meaning_hear(&m, 1, 3, i % 2 ? 2 : 1));
    }
    assert_false(m.renamed);
    int heard = 0;
    while (!soma_meaning_hear(&m, 1, 3, 2))
        heard++;
    assert_in_range(heard, SOMA_MEANING_LEAD - 2, SOMA_MEANING_LEAD + 1);
    assert_true(m.renamed && m.opinions[1].name == 2);
    /* 1 is called 2: that has the higher score of both, and none is called 1.
     */
    float scores[3] = {-1, 5, 3};
    soma_meaning_translate(&m, scores);
    assert_true(scores[0] == -1 && scores[1] == -1 && scores[2] == 5);
    for (int i = 0; i < 1000; i++)
        assert_false(soma_meaning_hear(&m, 1, 3, 2));
    heard = 0;
    while (!soma_meaning_hear(&m, 1, 3, 1))
        heard++;
    assert_in_range(heard, 1, SOMA_MEANING_MOST + SOMA_MEANING_LEAD);
    assert_false(m.renamed);
    m.opinions[2].leader = 3;
    assert_false(soma_meaning_recount(&m));
    soma_meaning_free(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
