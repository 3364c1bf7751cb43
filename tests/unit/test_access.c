/* What the log says of who may reach the server. */
#include "server/engine/log.h"
#include "server/serve_access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is written to stderr meanwhile. */
static const char *
warning(const soma_config *config, const char *host)
{
    static char text[1024];
    FILE *to = tmpfile();
    assert_non_null(to);
    int kept = dup(STDERR_FILENO);
    dup2(fileno(to), STDERR_FILENO);
    soma_access_warn(config, host);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(to);
    text[fread(text, 1, sizeof text - 1, to)] = '\0';
    fclose(to);
    return text;
}

static void
others_can_reach_it(void **state)
{
    soma_config open = {.keys = NULL}, keys = {.keys = "keys"},
                both = {.keys = "keys", .tls_cert = "cert"};
    static const char *const hosts[] = {"0.0.0.0", "", "::", "192.0.2.1",
                                        "soma.example"};
    static const char *const here[] = {"127.0.0.1", "127.1.2.3", "::1",
                                       "localhost"};
    (void)state;
    soma_log_setup(SOMA_LOG_INFO, false);
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        assert_non_null(strstr(warning(&open, hosts[i]), "no-keys"));
        assert_non_null(strstr(warning(&keys, hosts[i]), "no-tls"));
        assert_string_equal(warning(&both, hosts[i]), "");
    }
    for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
        assert_string_equal(warning(&open, here[i]), "");
        assert_string_equal(warning(&keys, here[i]), "");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(others_can_reach_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
