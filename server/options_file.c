/* A JSON file of options. */
#include "server/options.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int
least(int a, int b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance: how many letters must be put in, taken out or
 * replaced. Of a long text, its first letters. */
static int
distance(const char *a, const char *b)
{
    enum { MOST = 64 };
    int row[MOST + 1];
    int length = (int)strnlen(b, MOST);
    for (int j = 0; j <= length; j++)
        row[j] = j;
    for (int i = 1; i <= MOST && a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= length; j++) {
            int replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(replaced, least(row[j - 1], row[j]) + 1);
        }
    }
    return row[length];
}

/* What stands in the table alone: a file names no further file. */
static bool
is_for_files(const soma_option *option)
{
    return option->kind != SOMA_OPTION_FILE &&
           option->kind != SOMA_OPTION_PRINT;
}

static const soma_option *
find(const soma_command *command, const char *name, const char *path,
     soma_error *err)
{
    const soma_option *nearest = command->options;
    int best = 1 << 20;
    for (const soma_option *o = command->options; o->name; o++) {
        int d = distance(name, o->name);
        if (!is_for_files(o))
            continue;
        if (!strcmp(o->name, name))
            return o;
        if (d < best) {
            best = d;
            nearest = o;
        }
    }
    soma_error_set(err, SOMA_E_ARGUMENT,
                   "%s: \"%.64s\" is no option that a file can have; the "
                   "nearest is \"%s\"",
                   path, name, nearest->name);
    return NULL;
}

static const char *
kind_of(const soma_option *option)
{
    if (option->kind == SOMA_OPTION_SWITCH)
        return "true or false";
    bool number =
        option->kind == SOMA_OPTION_WHOLE || option->kind == SOMA_OPTION_NUMBER;
    return number ? "a number" : "a string";
}

static bool
fits(const soma_option *option, const json_t *value)
{
    if (option->kind == SOMA_OPTION_SWITCH)
        return json_is_boolean(value);
    if (option->kind == SOMA_OPTION_WHOLE || option->kind == SOMA_OPTION_NUMBER)
        return json_is_number(value);
    return json_is_string(value);
}

/* Numbers go the way of those on the command line, as text. */
static soma_status
store_value(const soma_option *option, const json_t *value, const char *source,
            void *fields, soma_options_store *store, soma_error *err)
{
    if (json_is_string(value))
        return store(option, json_string_value(value), source, fields, err);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text)
        return soma_error_memory(err, "an option");
    soma_status status =
        fits(option, value)
            ? store(option, text, source, fields, err)
            : soma_error_set(err, SOMA_E_ARGUMENT, "%s: expected %s, got %.64s",
                             source, kind_of(option), text);
    free(text);
    return status;
}

soma_status
soma_options_read(const soma_command *command, void *fields,
                  soma_option_file *file, soma_options_store *store,
                  soma_error *err)
{
    json_error_t at;
    const char *path = file->path, *name;
    json_t *document = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    if (!document && at.line < 0)
        return soma_error_set(err, SOMA_E_ARGUMENT, "%s", at.text);
    if (!document)
        return soma_error_set(err, SOMA_E_ARGUMENT, "%s, line %d: %s", path,
                              at.line, at.text);
    file->document = document;
    if (!json_is_object(document))
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%s: expected an object of options", path);
    json_t *value;
    json_object_foreach (document, name, value) {
        const soma_option *option = find(command, name, path, err);
        if (!option)
            return err->status;
        char *source = file->origins[option - command->options];
        snprintf(source, SOMA_ORIGIN_TEXT, "%.120s: %s", path, name);
        soma_status status =
            !fits(option, value) && json_is_string(value)
                ? soma_error_set(err, SOMA_E_ARGUMENT,
                                 "%s: expected %s, got \"%.64s\"", source,
                                 kind_of(option), json_string_value(value))
                : store_value(option, value, source, fields, store, err);
        if (status)
            return status;
    }
    return SOMA_OK;
}

void
soma_options_close(soma_option_file *file)
{
    json_decref(file->document);
    file->document = NULL;
}
