/* soma key: makes a key for `soma serve --keys`. */
#include "server/command.h"
#include "server/web/keys.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

typedef struct key_options {
    const char *scopes;
} key_options;

static const soma_option options[] = {
    {"scopes", "LIST", SOMA_OPTION_TEXT, "predict", 0, 0,
     offsetof(key_options, scopes),
     "What it is for: predict, train, admin, parted by commas."},
    {.name = NULL}};

static const soma_command command = {
    "key",
    "NAME [options]",
    "Makes a key for `soma serve --keys FILE`. Its line for the file goes to "
    "stdout,\nthe key itself to stderr: it is shown this once.",
    options,
    1,
    1};

enum { SECRET = 32 }; /* bytes */

static void
put_hex(const uint8_t *bytes, size_t count, char *to)
{
    for (size_t i = 0; i < count; i++)
        snprintf(to + 2 * i, 3, "%02x", bytes[i]);
}

static soma_status
make_secret(char text[2 * SECRET + 1], soma_error *err)
{
    uint8_t bytes[SECRET];
    if (getrandom(bytes, sizeof bytes, 0) != SECRET)
        return soma_error_errno(err, "asking for", "random bytes");
    put_hex(bytes, sizeof bytes, text);
    return SOMA_OK;
}

int
soma_cmd_key(int argc, char **argv)
{
    key_options o;
    const char *name;
    char secret[2 * SECRET + 1], hex[2 * SOMA_KEY_DIGEST + 1];
    uint8_t digest[SOMA_KEY_DIGEST];
    soma_error err;
    int code = soma_command_start(&command, argc, argv, &o, &name);
    if (code >= 0)
        return code;
    if (!soma_key_name_is_good(name, strlen(name))) {
        soma_error_set(&err, SOMA_E_ARGUMENT,
                       "a key's name: expected 1 to 64 letters, digits, '.', "
                       "'_' or '-', got \"%s\"",
                       name);
        return soma_command_fail(&err);
    }
    if (!soma_scopes_parse(o.scopes, strlen(o.scopes))) {
        soma_error_set(&err, SOMA_E_ARGUMENT,
                       "--scopes: expected predict, train, admin, parted by "
                       "commas, got \"%s\"",
                       o.scopes);
        return soma_command_fail(&err);
    }
    if (make_secret(secret, &err))
        return soma_command_fail(&err);
    soma_key_digest(secret, strlen(secret), digest);
    put_hex(digest, sizeof digest, hex);
    fprintf(stderr, "%s\n", secret);
    printf("%s %s %s\n", name, o.scopes, hex);
    return SOMA_EXIT_OK;
}
