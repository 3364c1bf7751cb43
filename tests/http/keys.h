/* Keys for tests, as `soma key` makes them.
 */
#ifndef SOMA_TESTS_HTTP_KEYS_H
#define SOMA_TESTS_HTTP_KEYS_H

#include "tests/http/server.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Adds a key to the file of keys. */
static inline void
make_key(const char *file, const char *name, const char *scopes, char key[80])
{
    char path[160];
    snprintf(path, sizeof path, "%s.%s", file, name);
    shell("${SOMA:-build/gcc/soma} key %s --scopes %s >>%s 2>%s", name, scopes,
          file, path);
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    assert_non_null(fgets(key, 80, from));
    fclose(from);
    unlink(path);
    key[strcspn(key, "\n")] = '\0';
    assert_int_equal(strlen(key), 64);
}

#endif
