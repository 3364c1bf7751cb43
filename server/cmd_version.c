#include "core/matrix.h"
#include "server/command.h"
#include "server/web/http.h"

int
soma_cmd_version(int argc, char **argv)
{
    static const soma_option options[] = {{.name = NULL}};
    static const soma_command command = {
        "version", "", "Prints the version of soma and of its libraries.",
        options,   0,  0};
    int code = soma_command_start(&command, argc, argv, NULL, NULL);
    if (code >= 0)
        return code;
    printf("soma %s\nlibmicrohttpd %s\n%s\nforward product: %s\n", SOMA_VERSION,
           soma_http_library(), soma_matrix_library(), soma_matrix_plan());
    return SOMA_EXIT_OK;
}
