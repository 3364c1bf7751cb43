#include "server/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --learning-rate is SOMA_LEARNING_RATE in the environment. */
static void
variable_name(const soma_option *option, char *name, size_t size)
{
    size_t length = (size_t)snprintf(name, size, "SOMA_%s", option->name);
    for (size_t i = 0; i < length && i < size; i++)
        name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
}

static void
bounds(const soma_option *option, char *text, size_t size)
{
    if (option->high >= 1e18)
        snprintf(text, size, "%.10g or more", option->low);
    else
        snprintf(text, size, "%.10g to %.10g", option->low, option->high);
}

static soma_status
refuse(const char *source, const char *text, const char *expected,
       soma_error *err)
{
    return soma_error_set(err, SOMA_E_ARGUMENT, "%s: expected %s, got \"%s\"",
                          source, expected, text);
}

static soma_status
store_number(const soma_option *option, const char *text, const char *source,
             void *field, soma_error *err)
{
    bool whole = option->kind == SOMA_OPTION_WHOLE;
    char *end, range[64], expected[96];
    bounds(option, range, sizeof range);
    snprintf(expected, sizeof expected, "a %snumber, %s", whole ? "whole " : "",
             range);
    errno = 0;
    double value = whole ? (double)strtol(text, &end, 10) : strtod(text, &end);
    if (end == text || *end || errno || !isfinite(value) ||
        value < option->low || value > option->high)
        return refuse(source, text, expected, err);
    if (whole)
        *(long *)field = strtol(text, NULL, 10);
    else
        *(double *)field = value;
    return SOMA_OK;
}

static soma_status
store_switch(const char *text, const char *source, bool *field, soma_error *err)
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    static const char *const no[] = {"0", "false", "no", "off", ""};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!strcmp(text, yes[i])) {
            *field = true;
            return SOMA_OK;
        }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (!strcmp(text, no[i])) {
            *field = false;
            return SOMA_OK;
        }
    return refuse(source, text, "true or false", err);
}

/* Words are "one|two|three". */
static bool
is_among(const char *words, const char *text)
{
    size_t length = strlen(text);
    for (; *words; words += strcspn(words, "|"), words += *words == '|')
        if (strcspn(words, "|") == length && !memcmp(words, text, length))
            return true;
    return false;
}

static soma_status
refuse_word(const soma_option *option, const char *source, const char *text,
            soma_error *err)
{
    char expected[128];
    size_t used = 0;
    for (const char *at = option->value; *at;) {
        size_t length = strcspn(at, "|");
        bool last = !at[length];
        used +=
            (size_t)snprintf(expected + used, sizeof expected - used, "%s%.*s",
                             at == option->value ? ""
                             : last              ? " or "
                                                 : ", ",
                             (int)length, at);
        at += length + !last;
    }
    return refuse(source, text, expected, err);
}

static soma_status
store(const soma_option *option, const char *text, const char *source,
      void *fields, soma_error *err)
{
    void *field = (char *)fields + option->offset;
    switch (option->kind) {
    case SOMA_OPTION_SWITCH:
    case SOMA_OPTION_PRINT:
        return store_switch(text, source, field, err);
    case SOMA_OPTION_WORD:
        if (!is_among(option->value, text))
            return refuse_word(option, source, text, err);
        *(const char **)field = text;
        return SOMA_OK;
    case SOMA_OPTION_TEXT:
        *(const char **)field = text;
        return SOMA_OK;
    case SOMA_OPTION_FILE:
        ((soma_option_file *)field)->path = *text ? text : NULL;
        return SOMA_OK;
    case SOMA_OPTION_WHOLE:
    case SOMA_OPTION_NUMBER:
        break;
    }
    return store_number(option, text, source, field, err);
}

/* ---- Where values come from ---- */

/* The row of the command's file; NULL: it takes none. */
static const soma_option *
file_option(const soma_command *command)
{
    for (const soma_option *o = command->options; o->name; o++)
        if (o->kind == SOMA_OPTION_FILE)
            return o;
    return NULL;
}

static soma_option_file *
file_of(const soma_command *command, void *fields)
{
    const soma_option *option = file_option(command);
    return option ? (soma_option_file *)((char *)fields + option->offset)
                  : NULL;
}

static void
note(const soma_command *command, void *fields, const soma_option *option,
     const char *origin)
{
    soma_option_file *file = file_of(command, fields);
    if (file)
        snprintf(file->origins[option - command->options], SOMA_ORIGIN_TEXT,
                 "%s", origin);
}

static soma_status
store_defaults(const soma_command *command, void *fields, soma_error *err)
{
    soma_option_file *file = file_of(command, fields);
    if (file)
        file->path = NULL;
    for (const soma_option *o = command->options; o->name; o++) {
        void *field = (char *)fields + o->offset;
        bool text = o->kind == SOMA_OPTION_TEXT || o->kind == SOMA_OPTION_WORD;
        note(command, fields, o, "the default");
        if (!o->fallback && text)
            *(const char **)field = NULL;
        else if (!o->fallback && (o->kind == SOMA_OPTION_SWITCH ||
                                  o->kind == SOMA_OPTION_PRINT))
            *(bool *)field = false;
        soma_status status =
            o->fallback ? store(o, o->fallback, o->name, fields, err) : SOMA_OK;
        if (status)
            return status;
    }
    return SOMA_OK;
}

static soma_status
store_environment(const soma_command *command, void *fields, soma_error *err)
{
    for (const soma_option *o = command->options; o->name; o++) {
        char variable[64];
        variable_name(o, variable, sizeof variable);
        const char *text = getenv(variable);
        soma_status status =
            text ? store(o, text, variable, fields, err) : SOMA_OK;
        if (status)
            return status;
        if (text)
            note(command, fields, o, variable);
    }
    return SOMA_OK;
}

static const soma_option *
find(const soma_command *command, const char *name, size_t length)
{
    for (const soma_option *o = command->options; o->name; o++)
        if (strlen(o->name) == length && !memcmp(o->name, name, length))
            return o;
    return NULL;
}

/* One flag at argv[*i]; moves *i past the value that it took. */
static soma_status
store_flag(const soma_command *command, int argc, char **argv, int *i,
           void *fields, soma_error *err)
{
    const char *flag = argv[*i];
    const char *equals = strchr(flag, '=');
    size_t length = equals ? (size_t)(equals - flag) : strlen(flag);
    const soma_option *option =
        length > 2 ? find(command, flag + 2, length - 2) : NULL;
    if (strncmp(flag, "--", 2) != 0 || !option)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "soma %s has no option %s; see soma %s --help",
                              command->name, flag, command->name);
    char source[64];
    snprintf(source, sizeof source, "--%s", option->name);
    note(command, fields, option, source);
    if (equals)
        return store(option, equals + 1, source, fields, err);
    if (option->kind == SOMA_OPTION_SWITCH || option->kind == SOMA_OPTION_PRINT)
        return store(option, "1", source, fields, err);
    if (*i + 1 >= argc)
        return soma_error_set(err, SOMA_E_ARGUMENT, "%s needs a value: %s",
                              source, option->value);
    return store(option, argv[++*i], source, fields, err);
}

static soma_status
store_arguments(const soma_command *command, int argc, char **argv,
                void *fields, const char **arguments, soma_error *err)
{
    int count = 0;
    bool options_end = false;
    soma_status status = SOMA_OK;
    for (int i = 0; i < command->most; i++)
        arguments[i] = NULL;
    for (int i = 0; i < argc && !status; i++) {
        bool flag = argv[i][0] == '-' && argv[i][1] && !options_end;
        if (flag && !strcmp(argv[i], "--"))
            options_end = true;
        else if (flag)
            status = store_flag(command, argc, argv, &i, fields, err);
        else if (count == command->most)
            status = soma_error_set(err, SOMA_E_ARGUMENT,
                                    "unexpected argument \"%s\"; usage: soma "
                                    "%s %s",
                                    argv[i], command->name, command->usage);
        else
            arguments[count++] = argv[i];
    }
    if (!status && count < command->least)
        status = soma_error_set(err, SOMA_E_ARGUMENT,
                                "an argument is missing; usage: soma %s %s",
                                command->name, command->usage);
    return status;
}

/* The file's place among the others is below the environment; but only they
 * say which file. So all is stored once without it, and then once more. */
soma_status
soma_options_parse(const soma_command *command, int argc, char **argv,
                   void *fields, const char **arguments, bool *help,
                   soma_error *err)
{
    *help = false;
    for (int i = 0; i < argc; i++)
        *help = *help || !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h");
    if (*help)
        return SOMA_OK;
    soma_option_file *file = file_of(command, fields);
    if (file)
        *file = (soma_option_file){.path = NULL};
    soma_status status = store_defaults(command, fields, err);
    if (!status)
        status = store_environment(command, fields, err);
    if (!status)
        status = store_arguments(command, argc, argv, fields, arguments, err);
    if (status || !file || !file->path)
        return status;
    const char *path = file->path;
    status = store_defaults(command, fields, err);
    file->path = path;
    if (!status)
        status = soma_options_read(command, fields, file, store, err);
    if (!status)
        status = store_environment(command, fields, err);
    if (!status)
        status = store_arguments(command, argc, argv, fields, arguments, err);
    return status;
}

const char *
soma_options_origin(const soma_command *command, const soma_option_file *file,
                    const char *name)
{
    const soma_option *option = find(command, name, strlen(name));
    return option ? file->origins[option - command->options] : name;
}

/* An address may hold a password: what is before its @ is not shown. */
static void
print_text(const char *word, char *text, size_t size)
{
    const char *place = strstr(word, "://"), *at = strrchr(word, '@');
    if (place && at && at > place)
        snprintf(text, size, "%.*s...%s", (int)(place + 3 - word), word, at);
    else
        snprintf(text, size, "%s", word);
}

static void
print_value(const soma_option *option, const void *field, char *text,
            size_t size)
{
    const char *word = "";
    switch (option->kind) {
    case SOMA_OPTION_WHOLE:
        snprintf(text, size, "%ld", *(const long *)field);
        return;
    case SOMA_OPTION_NUMBER:
        snprintf(text, size, "%.10g", *(const double *)field);
        return;
    case SOMA_OPTION_SWITCH:
    case SOMA_OPTION_PRINT:
        word = *(const bool *)field ? "true" : "false";
        break;
    case SOMA_OPTION_FILE:
        word = ((const soma_option_file *)field)->path;
        break;
    case SOMA_OPTION_TEXT:
    case SOMA_OPTION_WORD:
        word = *(const char *const *)field;
        break;
    }
    print_text(word ? word : "-", text, size);
}

void
soma_options_print(const soma_command *command, const void *fields, FILE *to)
{
    const soma_option *option = file_option(command);
    const soma_option_file *file =
        (const soma_option_file *)((const char *)fields + option->offset);
    for (const soma_option *o = command->options; o->name; o++) {
        char value[512];
        if (o->kind == SOMA_OPTION_PRINT)
            continue;
        print_value(o, (const char *)fields + o->offset, value, sizeof value);
        fprintf(to, "%-28s %-28s %s\n", o->name, value,
                file->origins[o - command->options]);
    }
}

/* Help texts are one paragraph each; they are wrapped at column 79 behind a
 * margin of 6. */
static void
print_wrapped(const char *text, FILE *to)
{
    int column = 0;
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (column && column + 1 + length > 79) {
            fputc('\n', to);
            column = 0;
        }
        column += fprintf(to, "%s%.*s", column ? " " : "      ", length, text);
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

void
soma_options_help(const soma_command *command, FILE *to)
{
    fprintf(to, "usage: soma %s %s\n\n%s\n", command->name, command->usage,
            command->summary);
    if (file_option(command))
        fprintf(to, "\nA flag counts more than the environment, that more than "
                    "the file of --config.\n");
    if (command->options->name)
        fprintf(to, "\nOptions (each also as environment variable "
                    "SOMA_<OPTION>):\n");
    for (const soma_option *o = command->options; o->name; o++) {
        fprintf(to, "\n  --%s%s%s", o->name, o->value ? " " : "",
                o->value ? o->value : "");
        if (o->fallback && *o->fallback)
            fprintf(to, "  (default: %s)", o->fallback);
        fputc('\n', to);
        print_wrapped(o->help, to);
    }
}
