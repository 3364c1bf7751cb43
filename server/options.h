/* The command line from tables: one row an option gives its flag, its
 * environment variable, its line in --help and its check.
 *
 * A value is looked for in this order: --name VALUE (or --name=VALUE), the
 * environment variable SOMA_NAME ('-' becomes '_'), the JSON file that an
 * option of the kind SOMA_OPTION_FILE names, the row's default. All of them
 * are checked, also those that do not count.
 *
 * The file is one object: {"max-body": 1000000, "listen": ":8080"}. Its names
 * are the flags' without dashes before; its values are numbers, strings and,
 * of switches, booleans. A name that is no option's is refused.
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
    SOMA_OPTION_TEXT,   /* const char *, NULL without a default */
    SOMA_OPTION_WORD,   /* the same, one of those in `value`: "stop|warn" */
    SOMA_OPTION_FILE,   /* soma_option_file: a file with further values */
    SOMA_OPTION_PRINT   /* bool: show the values, do nothing else */
} soma_option_kind;

/* What a file has, and where each value came from. */
enum { SOMA_OPTIONS_MAX = 64, SOMA_ORIGIN_TEXT = 160 };
typedef struct soma_option_file {
    const char *path; /* NULL: none */
    void *document;   /* texts point into it */
    /* By the options' rows: "--listen", "SOMA_LISTEN", "the default" or
     * "soma.json: listen" */
    char origins[SOMA_OPTIONS_MAX][SOMA_ORIGIN_TEXT];
} soma_option_file;

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

/* Each value and where it came from, of a command with a SOMA_OPTION_FILE. */
void soma_options_print(const soma_command *command, const void *fields,
                        FILE *to);

/* Where this option's value came from, for messages about it. */
const char *soma_options_origin(const soma_command *command,
                                const soma_option_file *file, const char *name);

/* options_file.c: reads the file and stores its values through `store`, for
 * options.c. */
typedef soma_status soma_options_store(const soma_option *option,
                                       const char *text, const char *source,
                                       void *fields, soma_error *err);
soma_status soma_options_read(const soma_command *command, void *fields,
                              soma_option_file *file, soma_options_store *store,
                              soma_error *err);
void soma_options_close(soma_option_file *file);

void soma_options_help(const soma_command *command, FILE *to);

#endif
