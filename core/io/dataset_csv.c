/* CSV (RFC 4180): fields separated by commas, lines by LF or CRLF, a field in
 * double quotes may hold commas, and quotes doubled. The first line is a
 * header if any field besides the label's is not a number. One column is the
 * label, a whole number from 0 or a name; the others are finite numbers.
 */
#include "core/io/dataset_formats.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct csv_reader {
    const char *path;
    char *at, *end; /* what is left of the text */
    long line;      /* of the row last read, from 1 */
    char **fields;  /* of that row; they point into the text */
    int count, room;
} csv_reader;

typedef struct label_names {
    char **names; /* of all rows, in order; they point into the text */
    size_t room;
} label_names;

bool
soma_csv_probe(const char *path, soma_split split)
{
    (void)split;
    size_t length = strlen(path);
    return length > 4 && !strcasecmp(path + length - 4, ".csv");
}

static soma_status
keep_field(csv_reader *csv, char *field, soma_error *err)
{
    if (csv->count == csv->room) {
        int room = csv->room ? csv->room * 2 : 64;
        char **fields = realloc(csv->fields, (size_t)room * sizeof *fields);
        if (!fields)
            return soma_error_memory(err, csv->path);
        csv->fields = fields;
        csv->room = room;
    }
    csv->fields[csv->count++] = field;
    return SOMA_OK;
}

/* Unquotes the field at csv->at in place and returns its end, or NULL. */
static char *
unquote(csv_reader *csv)
{
    char *to = csv->at, *from = csv->at + 1;
    while (from < csv->end) {
        if (*from == '"' && (from + 1 == csv->end || from[1] != '"')) {
            *to = '\0';
            return from + 1;
        }
        from += *from == '"';
        *to++ = *from++;
    }
    return NULL;
}

/* Reads one row; empty lines are passed over. csv->count is 0 at the end. */
static soma_status
next_row(csv_reader *csv, soma_error *err)
{
    csv->count = 0;
    while (csv->at < csv->end && (*csv->at == '\n' || *csv->at == '\r'))
        csv->line += *csv->at++ == '\n';
    if (csv->at == csv->end)
        return SOMA_OK;
    csv->line++;
    for (;;) {
        char *field = csv->at, *stop;
        if (*field == '"') {
            stop = unquote(csv);
            if (!stop || (stop < csv->end && !strchr(",\r\n", *stop)))
                return soma_error_set(err, SOMA_E_FORMAT,
                                      "%s: line %ld, column %d: a quote that "
                                      "does not end its field",
                                      csv->path, csv->line, csv->count + 1);
        } else {
            stop = field + strcspn(field, ",\r\n");
        }
        soma_status status = keep_field(csv, field, err);
        if (status)
            return status;
        char separator = stop < csv->end ? *stop : '\n';
        *stop = '\0';
        csv->at = stop < csv->end ? stop + 1 : stop;
        if (separator == '\r' && csv->at < csv->end && *csv->at == '\n')
            csv->at++;
        if (separator != ',')
            return SOMA_OK;
        if (csv->at == csv->end)
            return keep_field(csv, csv->end, err);
    }
}

/* strtod reads the C locale's numbers here: nothing in soma sets another. */
static bool
number(const char *text, float *value)
{
    char *end;
    while (isspace((unsigned char)*text))
        text++;
    *value = (float)strtod(text, &end);
    while (isspace((unsigned char)*end))
        end++;
    return end != text && !*end && isfinite(*value);
}

static bool
looks_like_header(const csv_reader *csv, int label)
{
    float value;
    for (int i = 0; i < csv->count; i++)
        if (i != label && !number(csv->fields[i], &value) &&
            csv->fields[i][0] && strcasecmp(csv->fields[i], "nan") &&
            strncasecmp(csv->fields[i], "inf", 3))
            return true;
    return false;
}

/* The first row decides the number of columns and which one is the label. */
static soma_status
read_first(csv_reader *csv, const char *column, int *label, bool *header,
           soma_error *err)
{
    soma_status status = next_row(csv, err);
    if (status)
        return status;
    if (csv->count < 2)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: line %ld: expected a label and at least "
                              "one value, got %d fields",
                              csv->path, csv->line, csv->count);
    *label = 0;
    *header = looks_like_header(csv, column ? -1 : 0);
    if (!column)
        return SOMA_OK;
    for (*label = 0; *label < csv->count; ++*label)
        if (!strcmp(csv->fields[*label], column)) {
            *header = true;
            return SOMA_OK;
        }
    return soma_error_set(err, SOMA_E_NOT_FOUND,
                          "%s: its first line has no column \"%s\"", csv->path,
                          column);
}

static soma_status
grow(soma_dataset *dataset, label_names *names, soma_error *err)
{
    if ((size_t)dataset->count < names->room)
        return SOMA_OK;
    size_t room = names->room ? names->room * 2 : 256;
    float *values =
        realloc(dataset->values, room * (size_t)dataset->size * sizeof *values);
    dataset->values = values ? values : dataset->values;
    char **list = realloc(names->names, room * sizeof *list);
    names->names = list ? list : names->names;
    if (!values || !list || room > INT_MAX)
        return soma_error_memory(err, "the rows of a CSV file");
    names->room = room;
    return SOMA_OK;
}

static soma_status
take_row(const csv_reader *csv, int label, soma_dataset *dataset,
         label_names *names, soma_error *err)
{
    if (csv->count != dataset->size + 1)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: line %ld: %d fields, the first line has %d",
                              csv->path, csv->line, csv->count,
                              dataset->size + 1);
    soma_status status = grow(dataset, names, err);
    if (status)
        return status;
    float *to =
        dataset->values + (size_t)dataset->count * (size_t)dataset->size;
    for (int i = 0; i < csv->count; i++)
        if (i != label && !number(csv->fields[i], to++))
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "%s: line %ld, column %d: expected a finite "
                                  "number, got \"%.60s\"",
                                  csv->path, csv->line, i + 1, csv->fields[i]);
    names->names[dataset->count++] = csv->fields[label];
    return SOMA_OK;
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
as_number(const char *text)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    return end == text || *end || errno || value < 0 || value >= SOMA_MAX_UNITS
               ? -1
               : (int)value;
}

/* The distinct names, sorted, are the classes. */
static soma_status
collect_classes(const label_names *names, int count, soma_classes *classes,
                soma_error *err)
{
    char **sorted = malloc((size_t)count * sizeof *sorted);
    if (!sorted)
        return soma_error_memory(err, "names of classes");
    memcpy(sorted, names->names, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_text);
    int distinct = 0;
    for (int i = 0; i < count; i++)
        if (i == 0 || strcmp(sorted[i], sorted[distinct - 1]))
            sorted[distinct++] = sorted[i];
    soma_classes found = {distinct, sorted};
    soma_status status = soma_classes_copy(classes, &found, err);
    free(sorted);
    return status;
}

static soma_status
number_labels(const csv_reader *csv, const label_names *names,
              const soma_classes *known, soma_dataset *dataset, soma_error *err)
{
    int count = dataset->count;
    bool numbers = true;
    dataset->labels = malloc(((size_t)count + 1) * sizeof(int));
    if (!dataset->labels)
        return soma_error_memory(err, "labels");
    for (int i = 0; i < count && numbers; i++)
        numbers = as_number(names->names[i]) >= 0;
    soma_status status = SOMA_OK;
    if (!numbers)
        status = known ? soma_classes_copy(&dataset->classes, known, err)
                       : collect_classes(names, count, &dataset->classes, err);
    for (int i = 0; i < count && !status; i++) {
        const char *name = names->names[i];
        dataset->labels[i] = numbers
                                 ? as_number(name)
                                 : soma_classes_find(&dataset->classes, name);
        if (dataset->labels[i] < 0)
            status = soma_error_set(err, SOMA_E_NOT_FOUND,
                                    "%s: row %d: the model has no class "
                                    "\"%.60s\"",
                                    csv->path, i + 1, name);
    }
    if (!numbers)
        dataset->label_count = dataset->classes.count;
    return status;
}

static soma_status
read_rows(csv_reader *csv, const soma_dataset_options *options,
          soma_dataset *dataset, label_names *names, soma_error *err)
{
    int label = 0;
    bool header = false;
    soma_status status =
        read_first(csv, options->label_column, &label, &header, err);
    if (status)
        return status;
    int width = csv->count - 1;
    status = soma_dataset_shape(dataset, 1, &width, csv->path, err);
    if (!status && header)
        status = next_row(csv, err);
    while (!status && csv->count) {
        status = take_row(csv, label, dataset, names, err);
        if (!status)
            status = next_row(csv, err);
    }
    if (!status)
        status = number_labels(csv, names, options->classes, dataset, err);
    return status;
}

soma_status
soma_csv_open(const char *path, const soma_dataset_options *options,
              soma_dataset *dataset, soma_error *err)
{
    soma_bytes text;
    soma_status status =
        soma_file_read(path, SOMA_DATASET_MAX_FILE, 0, &text, err);
    if (status)
        return status;
    if (text.size && memchr(text.data, '\0', text.size)) {
        soma_bytes_free(&text);
        return soma_error_set(err, SOMA_E_FORMAT, "%s: has a NUL byte", path);
    }
    csv_reader csv = {.path = path,
                      .at = (char *)text.data,
                      .end = (char *)text.data + text.size};
    label_names names = {NULL, 0};
    status = read_rows(&csv, options, dataset, &names, err);
    free(names.names);
    free(csv.fields);
    soma_bytes_free(&text);
    return status;
}
