#include "tests/replicas/lessons.h"

#include "tests/replicas/redis.h"

#include <stdio.h>

json_int_t
teach(server *soma, int image)
{
    char path[64];
    json_int_t version = 0;
    snprintf(path, sizeof path, "/models/fashion/train?label=%d",
             fashion_labels()[image]);
    answer a = ask(soma, NULL, path, "application/octet-stream",
                   fashion_images() + (size_t)image * PIXELS, PIXELS);
    if (a.status == 200)
        version = whole_of(a.json, "version");
    else
        assert_int_equal(a.status, 503);
    free_answer(&a);
    return version;
}

json_int_t
teach_in_time(server *soma, int image)
{
    json_int_t version = 0;
    for (int i = 0; i < TRIES && !version; i++) {
        version = teach(soma, image);
        if (!version)
            nap();
    }
    return version;
}

void
digest_at(server *soma, json_int_t version, char digest[80])
{
    for (int i = 0; i < TRIES; i++) {
        answer a = get(soma, "/models/fashion");
        json_int_t now = whole_of(a.json, "version");
        snprintf(digest, 80, "%s", text_of(a.json, "digest"));
        free_answer(&a);
        if (now == version)
            return;
        nap();
    }
    fail_msg("version %lld was not reached", (long long)version);
}

void
expect_same_digest(server *one, server *other, json_int_t version)
{
    char a[80], b[80];
    digest_at(one, version, a);
    digest_at(other, version, b);
    assert_string_equal(a, b);
}

void
expect_prediction(server *soma, json_int_t version)
{
    answer a = ask(soma, NULL, "/models/fashion/predict",
                   "application/octet-stream", fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), version);
    free_answer(&a);
}
