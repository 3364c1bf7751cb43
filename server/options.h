/* The command line from tables: one row an option gives its flag, its
 * environment variable, its line in --help and its check.
 *
 * A value is looked for in this order: --name VALUE (or --name=VALUE), the
 * environment variable SOMA_NAME ('-' becomes '_'), the row's default.
 */
#ifndef SOMA_SERVER_OPTIONS_H
#define SOMA_SERVER_OPTIONS_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef enum soma_option_kind {
    SOMA_OPTION_SWITCH, /* bool; takes no value on the command line */
    SOMA_OPTION_WHOLE,  /* long, within low..high */
    SOMA_OPTION_NUMBER, /* double, within low..high */
    SOMA_OPTION_TEXT    /* const char *, NULL without a default */
} soma_option_kind;

typedef struct soma_option {
    const char *name;  /* "learning-rate" */
    const char *value; /* what --help calls its value: "N", "FILE" */
    soma_option_kind kind;
    const char *fallback; /* default, as one would type it; NULL: none */
    double low, high;
    size_t offset; /* of the field in the command's struct */
    const char *help;
} soma_option;

/* A command and its options; rows end with a NULL name. */
typedef struct soma_command {
    const char *name;
    const char *usage; /* after "soma NAME ": "MODEL [options]" */
    const char *summary;
    const soma_option *options;
    int least, most; /* arguments that are not options */
} soma_command;

/* Fills the struct at `fields` and stores the other arguments in
 * arguments[0 .. command->most), NULL where there are none. *help is set when
 * --help was asked for. Text values point into argv, the environment or the
 * table. SOMA_E_ARGUMENT says which value, where it came from, and what is
 * allowed. */
soma_status soma_options_parse(const soma_command *command, int argc,
                               char **argv, void *fields,
                               const char **arguments, bool *help,
                               soma_error *err);

void soma_options_help(const soma_command *command, FILE *to);

#endif
