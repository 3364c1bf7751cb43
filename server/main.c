#include "core/matrix.h"
#include "server/command.h"

#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"serve", soma_cmd_serve, "serve models over HTTP: predict and learn"},
    {"train", soma_cmd_train, "train a model on a dataset"},
    {"evaluate", soma_cmd_evaluate, "score a model on a dataset"},
    {"inspect", soma_cmd_inspect, "show what a model file holds"},
    {"import", soma_cmd_import, "make a model file of an ONNX or PyTorch file"},
    {"export", soma_cmd_export, "make an ONNX or PyTorch file of a model file"},
    {"replay", soma_cmd_replay, "rebuild a version from a journal, and verify"},
    {"journal", soma_cmd_journal, "list, export, check or trim a journal"},
    {"key", soma_cmd_key, "make a key for the server's list of keys"},
    {"health", soma_cmd_health, "ask a server whether it is ready"},
    {"version", soma_cmd_version, "print the version"},
};

static void
usage(FILE *to)
{
    fprintf(to, "soma: a small neural-network server that keeps learning\n\n"
                "usage: soma COMMAND [options]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(to, "  %-9s  %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n`soma COMMAND --help` lists a command's options.\n");
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return SOMA_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h") ||
        !strcmp(name, "help")) {
        usage(stdout);
        return SOMA_EXIT_OK;
    }
    if (!strcmp(name, "--version"))
        name = "version";
    soma_error err;
    if (soma_matrix_setup(&err))
        return soma_command_fail(&err);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(name, commands[i].name))
            return commands[i].run(argc - 2, argv + 2);
    fprintf(stderr, "soma: there is no command \"%s\"\n\n", name);
    usage(stderr);
    return SOMA_EXIT_USAGE;
}
