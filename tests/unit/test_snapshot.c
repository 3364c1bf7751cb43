/* server/engine/snapshot.c and readers.c: what a turn sees stays as it is. */
#include "core/activation.h"
#include "core/loss.h"
#include "server/engine/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

enum { READERS = 3, PUBLISHED = 20000, INPUTS = 64 };

static soma_readers readers;
static soma_shelf shelf;
static soma_model *model;
static const soma_progressive none = {.examples = 0};

/* Every weight of version n is n, so that a mixture shows. */
static void
fill(uint64_t version)
{
    for (size_t i = 0; i < model->spec.params; i++)
        model->params[i] = (float)version;
}

static int
set_up(void **state)
{
    soma_spec spec = {.depth = 1};
    (void)state;
    spec.input = (soma_input){.rank = 1, .shape = {INPUTS}, .high = 1};
    soma_activation_find("identity", &spec.layers[0].activation, NULL);
    spec.layers[0].units = 1;
    spec.layers[0].pieces = 1;
    soma_loss_find("logistic", &spec.loss, NULL);
    assert_int_equal(soma_spec_finish(&spec, NULL), SOMA_OK);
    model = soma_model_create(&spec, NULL);
    soma_readers_init(&readers);
    assert_int_equal(soma_shelf_create(&shelf, &readers,
                                       soma_model_clone(model, NULL), NULL),
                     SOMA_OK);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    soma_shelf_free(&shelf);
    soma_model_free(model);
    return 0;
}

static void
publish(uint64_t version)
{
    soma_snapshot *copy;
    fill(version);
    assert_int_equal(
        soma_shelf_copy(&shelf, model, version, &none, &copy, NULL), SOMA_OK);
    assert_ptr_not_equal(soma_shelf_current(&shelf), copy);
    soma_shelf_show(&shelf, copy);
    assert_ptr_equal(soma_shelf_current(&shelf), copy);
}

static bool
is_whole(const soma_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->model->spec.params; i++)
        if (snapshot->model->params[i] != (float)snapshot->version)
            return false;
    return true;
}

static void
the_newest_is_current(void **state)
{
    (void)state;
    for (uint64_t version = 1; version < 10; version++) {
        publish(version);
        assert_int_equal(soma_shelf_current(&shelf)->version, version);
        assert_true(is_whole(soma_shelf_current(&shelf)));
    }
}

static int
retired_count(void)
{
    int count = 0;
    for (const soma_snapshot *s = shelf.retired; s; s = s->next)
        count++;
    return count;
}

/* What a turn has taken is not reused before the turn ends. */
static void
a_turn_keeps_its_snapshot(void **state)
{
    (void)state;
    publish(1);
    soma_readers_enter(&readers, 0);
    const soma_snapshot *seen = soma_shelf_current(&shelf);
    for (uint64_t version = 2; version < 20; version++)
        publish(version);
    assert_int_equal(seen->version, 1);
    assert_true(is_whole(seen));
    assert_int_equal(retired_count(), 18);
    soma_readers_leave(&readers, 0);
    /* Afterwards none of those that were kept for it is left. */
    publish(20);
    assert_int_equal(retired_count(), 1);
}

static void
a_pin_keeps_it_beyond_the_turn(void **state)
{
    (void)state;
    publish(1);
    soma_readers_enter(&readers, 0);
    soma_snapshot *seen = soma_shelf_current(&shelf);
    soma_snapshot_pin(seen);
    soma_readers_leave(&readers, 0);
    for (uint64_t version = 2; version < 50; version++)
        publish(version);
    assert_int_equal(seen->version, 1);
    assert_true(is_whole(seen));
    soma_snapshot_unpin(seen);
}

static void
the_digest_is_that_of_the_version(void **state)
{
    char one[SOMA_DIGEST_HEX + 1], again[SOMA_DIGEST_HEX + 1],
        two[SOMA_DIGEST_HEX + 1];
    (void)state;
    publish(1);
    soma_snapshot_digest(soma_shelf_current(&shelf), one, NULL);
    soma_snapshot_digest(soma_shelf_current(&shelf), again, NULL);
    assert_string_equal(one, again);
    for (uint64_t version = 2; version < 6; version++)
        publish(version);
    soma_snapshot_digest(soma_shelf_current(&shelf), two, NULL);
    assert_string_not_equal(one, two);
    publish(1);
    soma_snapshot_digest(soma_shelf_current(&shelf), again, NULL);
    assert_string_equal(one, again);
}

static atomic_bool stop;

typedef struct reader {
    int index;
    long turns, broken;
    uint64_t last;
} reader;

static void *
read_on(void *arg)
{
    reader *r = arg;
    while (!atomic_load(&stop) || r->turns < 100) {
        soma_readers_enter(&readers, r->index);
        const soma_snapshot *snapshot = soma_shelf_current(&shelf);
        uint64_t version = snapshot->version;
        r->broken += !is_whole(snapshot) || snapshot->version != version ||
                     version < r->last;
        r->last = version;
        soma_readers_leave(&readers, r->index);
        r->turns++;
    }
    return NULL;
}

/* Versions are whole and never go back, while new ones come all the time. */
static void
readers_see_whole_versions(void **state)
{
    reader list[READERS] = {{0}};
    pthread_t threads[READERS];
    (void)state;
    atomic_store(&stop, false);
    for (int i = 0; i < READERS; i++) {
        list[i].index = i;
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &list[i]),
                         0);
    }
    for (uint64_t version = 1; version <= PUBLISHED; version++)
        publish(version);
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(list[i].broken, 0);
        assert_true(list[i].turns >= 100);
    }
}

#define ON_A_SHELF(test)                                                       \
    cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ON_A_SHELF(the_newest_is_current),
        ON_A_SHELF(a_turn_keeps_its_snapshot),
        ON_A_SHELF(a_pin_keeps_it_beyond_the_turn),
        ON_A_SHELF(the_digest_is_that_of_the_version),
        ON_A_SHELF(readers_see_whole_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
