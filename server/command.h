/* The subcommands of soma: one row of the table in main.c, one file
 * cmd_<name>.c each. A command prints its results to stdout and what went
 * wrong to stderr.
 */
#ifndef SOMA_SERVER_COMMAND_H
#define SOMA_SERVER_COMMAND_H

#include "server/options.h"

#define SOMA_VERSION "0.1.0"

/* Exit codes. */
enum { SOMA_EXIT_OK = 0, SOMA_EXIT_FAILED = 1, SOMA_EXIT_USAGE = 2 };

/* argc and argv without "soma NAME". Returns the exit code. */
int soma_cmd_serve(int argc, char **argv);
int soma_cmd_train(int argc, char **argv);
int soma_cmd_evaluate(int argc, char **argv);
int soma_cmd_inspect(int argc, char **argv);
int soma_cmd_import(int argc, char **argv);
int soma_cmd_export(int argc, char **argv);
int soma_cmd_replay(int argc, char **argv);
int soma_cmd_journal(int argc, char **argv);
int soma_cmd_key(int argc, char **argv);
int soma_cmd_health(int argc, char **argv);
int soma_cmd_version(int argc, char **argv);

/* Parses the command line. Returns -1 when the command may go on, else the
 * exit code: --help was printed, or what is wrong with the usage. */
int soma_command_start(const soma_command *command, int argc, char **argv,
                       void *fields, const char **arguments);

/* "soma: <text>" to stderr; returns SOMA_EXIT_FAILED. */
int soma_command_fail(const soma_error *err);

/* Set by SIGINT and SIGTERM once soma_command_catch_signals was called. */
bool soma_command_interrupted(void);
void soma_command_catch_signals(void);

#endif
