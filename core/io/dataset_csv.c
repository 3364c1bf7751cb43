/* Labelled rows of a CSV file. One column is the label, a whole number from 0
 * or a name; the others are finite numbers.
 *
 * The first line is a header if a field besides the label's is not a number,
 * if options name the label's column, or if its label is a text where all
 * others are numbers (columns that are called 0, 1, 2...).
 */
#include "core/io/csv.h"
#include "core/io/dataset_formats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A label as it stands in the file. */
typedef struct csv_label {
    const char *text;
    double number; /* -1: not a whole number from 0 */
    soma_csv_kind kind;
    long line;
} csv_label;

typedef struct csv_job {
    soma_csv csv;
    int column; /* of the label */
    int columns;
    bool header;
    csv_label *labels; /* of all rows, in order */
    size_t room;       /* rows that labels and the dataset's values hold */
    soma_dataset *dataset;
} csv_job;

bool
soma_csv_probe(const char *path, soma_split split)
{
    (void)split;
    size_t length = strlen(path);
    return length > 4 && !strcasecmp(path + length - 4, ".csv");
}

static soma_status
find_column(csv_job *job, const char *name, soma_error *err)
{
    const soma_csv *csv = &job->csv;
    for (int i = 0; i < csv->count; i++)
        if (!strcmp(csv->fields[i], name)) {
            job->column = i;
            job->header = true;
            return SOMA_OK;
        }
    return soma_error_set(err, SOMA_E_NOT_FOUND,
                          "%s: its first line has no column \"%.60s\"",
                          csv->path, name);
}

/* The first row decides the number of columns and which one is the label. */
static soma_status
read_first(csv_job *job, const char *label_column, soma_error *err)
{
    soma_csv *csv = &job->csv;
    soma_status status = soma_csv_next(csv, err);
    if (status)
        return status;
    if (csv->count == 0)
        return soma_error_set(err, SOMA_E_FORMAT, "%s: is empty", csv->path);
    if (csv->count < 2)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: line %ld: expected a label and at least "
                              "one value, got 1 field",
                              csv->path, csv->line);
    job->columns = csv->count;
    int values = csv->count - 1;
    status = soma_dataset_shape(job->dataset, 1, &values, csv->path, err);
    if (status || label_column)
        return status ? status : find_column(job, label_column, err);
    double value;
    for (int i = 1; i < csv->count; i++)
        if (*csv->fields[i] &&
            soma_csv_number(csv, csv->fields[i], &value) == SOMA_CSV_TEXT)
            job->header = true;
    return SOMA_OK;
}

static soma_status
make_room(csv_job *job, soma_error *err)
{
    soma_dataset *dataset = job->dataset;
    if ((size_t)dataset->count < job->room)
        return SOMA_OK;
    size_t room = job->room ? job->room * 2 : 256;
    if (room > INT_MAX)
        return soma_error_set(err, SOMA_E_LIMIT, "%s: too many rows",
                              job->csv.path);
    float *values =
        realloc(dataset->values, room * (size_t)dataset->size * sizeof *values);
    if (values)
        dataset->values = values;
    csv_label *labels = realloc(job->labels, room * sizeof *labels);
    if (labels)
        job->labels = labels;
    if (!values || !labels)
        return soma_error_memory(err, "the rows of a CSV file");
    job->room = room;
    return SOMA_OK;
}

static csv_label
label_of(const soma_csv *csv, const char *text)
{
    csv_label label = {.text = text, .number = -1, .line = csv->line};
    double value;
    label.kind = soma_csv_number(csv, text, &value);
    if (label.kind == SOMA_CSV_NUMBER && value >= 0 && value < SOMA_MAX_UNITS &&
        value == floor(value))
        label.number = value;
    return label;
}

static soma_status
take_value(const csv_job *job, int column, float *to, soma_error *err)
{
    const soma_csv *csv = &job->csv;
    double value = 0;
    soma_csv_kind kind = soma_csv_number(csv, csv->fields[column], &value);
    *to = (float)value;
    if (kind == SOMA_CSV_NUMBER && isfinite(*to))
        return SOMA_OK;
    return soma_error_set(
        err, kind == SOMA_CSV_TEXT ? SOMA_E_FORMAT : SOMA_E_NOT_FINITE,
        "%s: line %ld, column %d: expected a finite number, got \"%.60s\"",
        csv->path, csv->line, column + 1, csv->fields[column]);
}

static soma_status
take_row(csv_job *job, soma_error *err)
{
    const soma_csv *csv = &job->csv;
    soma_dataset *dataset = job->dataset;
    if (csv->count != job->columns)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: line %ld, column %d: %d fields, the first "
                              "line has %d",
                              csv->path, csv->line,
                              csv->count < job->columns ? csv->count
                                                        : job->columns + 1,
                              csv->count, job->columns);
    if (!*csv->fields[job->column])
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: line %ld, column %d: no label", csv->path,
                              csv->line, job->column + 1);
    soma_status status = make_room(job, err);
    if (status)
        return status;
    size_t row = (size_t)dataset->count;
    float *to = dataset->values + row * (size_t)dataset->size;
    for (int i = 0; i < csv->count && !status; i++)
        if (i != job->column)
            status = take_value(job, i, to++, err);
    job->labels[row] = label_of(csv, csv->fields[job->column]);
    dataset->count++;
    return status;
}

/* Whether all labels from row `from` on are numbers. */
static bool
numbers_from(const csv_job *job, int from)
{
    for (int i = from; i < job->dataset->count; i++)
        if (job->labels[i].kind != SOMA_CSV_NUMBER)
            return false;
    return true;
}

static void
drop_first(csv_job *job)
{
    soma_dataset *dataset = job->dataset;
    size_t left = (size_t)--dataset->count, size = (size_t)dataset->size;
    memmove(job->labels, job->labels + 1, left * sizeof *job->labels);
    memmove(dataset->values, dataset->values + size,
            left * size * sizeof *dataset->values);
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct names, sorted, are the classes. */
static soma_status
collect_classes(const csv_job *job, soma_classes *classes, soma_error *err)
{
    size_t count = (size_t)job->dataset->count;
    char **sorted = malloc((count + 1) * sizeof *sorted);
    if (!sorted)
        return soma_error_memory(err, "names of classes");
    for (size_t i = 0; i < count; i++)
        sorted[i] = (char *)job->labels[i].text;
    qsort(sorted, count, sizeof *sorted, by_text);
    soma_classes found = {0, sorted};
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(sorted[i], sorted[found.count - 1]))
            sorted[found.count++] = sorted[i];
    soma_status status = soma_classes_copy(classes, &found, err);
    free(sorted);
    return status;
}

/* The model's classes stand in its own order, those of the file are sorted. A
 * number that is no name is the class of that number. -1 for neither. */
static int
number_of(const csv_label *label, const soma_classes *classes, bool known)
{
    int count = classes->count;
    if (count && !known) {
        char **found = bsearch(&label->text, classes->names, (size_t)count,
                               sizeof *classes->names, by_text);
        return found ? (int)(found - classes->names) : -1;
    }
    int found = known ? soma_classes_find(classes, label->text) : -1;
    if (found >= 0)
        return found;
    return known && label->number >= count ? -1 : (int)label->number;
}

static soma_status
refuse_label(const csv_job *job, const csv_label *label,
             const soma_classes *known, soma_error *err)
{
    char names[200];
    if (known)
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "%s: line %ld, column %d: no class \"%.60s\", "
                              "there are %s",
                              job->csv.path, label->line, job->column + 1,
                              label->text,
                              soma_classes_list(known, names, sizeof names));
    return soma_error_set(err, SOMA_E_FORMAT,
                          "%s: line %ld, column %d: label \"%.60s\", expected "
                          "a whole number from 0 to %d or a name",
                          job->csv.path, label->line, job->column + 1,
                          label->text, SOMA_MAX_UNITS - 1);
}

static soma_status
number_labels(csv_job *job, const soma_classes *known, soma_error *err)
{
    soma_dataset *dataset = job->dataset;
    if (!job->header && dataset->count > 1 && !numbers_from(job, 0) &&
        numbers_from(job, 1))
        drop_first(job);
    dataset->labels = malloc(((size_t)dataset->count + 1) * sizeof(int));
    if (!dataset->labels)
        return soma_error_memory(err, "labels");
    soma_status status = SOMA_OK;
    if (known)
        status = soma_classes_copy(&dataset->classes, known, err);
    else if (!numbers_from(job, 0))
        status = collect_classes(job, &dataset->classes, err);
    for (int i = 0; i < dataset->count && !status; i++) {
        const csv_label *label = &job->labels[i];
        dataset->labels[i] = number_of(label, &dataset->classes, known);
        if (dataset->labels[i] < 0)
            status = refuse_label(job, label, known, err);
    }
    dataset->label_count = dataset->classes.count;
    return status;
}

static soma_status
read_rows(csv_job *job, const soma_dataset_options *options, soma_error *err)
{
    soma_status status = read_first(job, options->label_column, err);
    if (!status && job->header)
        status = soma_csv_next(&job->csv, err);
    while (!status && job->csv.count) {
        status = take_row(job, err);
        if (!status)
            status = soma_csv_next(&job->csv, err);
    }
    if (!status)
        status = number_labels(job, soma_dataset_known(options), err);
    return status;
}

soma_status
soma_csv_open(const char *path, const soma_dataset_options *options,
              soma_dataset *dataset, soma_error *err)
{
    csv_job job = {.dataset = dataset};
    soma_status status =
        soma_csv_load(path, SOMA_DATASET_MAX_FILE, &job.csv, err);
    if (status)
        return status;
    status = read_rows(&job, options, err);
    free(job.labels);
    soma_csv_free(&job.csv);
    return status;
}
