#include "server/command.h"

#include <signal.h>

static volatile sig_atomic_t interrupted;

int
soma_command_start(const soma_command *command, int argc, char **argv,
                   void *fields, const char **arguments)
{
    soma_error err;
    bool help;
    if (soma_options_parse(command, argc, argv, fields, arguments, &help,
                           &err)) {
        fprintf(stderr, "soma %s: %s\n", command->name, err.text);
        return SOMA_EXIT_USAGE;
    }
    for (const soma_option *o = command->options; o->name && !help; o++)
        if (o->kind == SOMA_OPTION_PRINT &&
            *(const bool *)((const char *)fields + o->offset)) {
            soma_options_print(command, fields, stdout);
            return SOMA_EXIT_OK;
        }
    if (!help)
        return -1;
    soma_options_help(command, stdout);
    return SOMA_EXIT_OK;
}

int
soma_command_fail(const soma_error *err)
{
    fprintf(stderr, "soma: %s\n", err->text);
    return err->status == SOMA_E_ARGUMENT ? SOMA_EXIT_USAGE : SOMA_EXIT_FAILED;
}

static void
on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

bool
soma_command_interrupted(void)
{
    return interrupted;
}

void
soma_command_catch_signals(void)
{
    /* A second signal ends the program: the handler is gone after one. */
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}
