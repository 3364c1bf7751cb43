/* CSV (RFC 4180): fields separated by commas, lines ended by LF, CRLF or CR; a
 * field in double quotes may hold commas, line ends, and quotes doubled. A
 * UTF-8 byte order mark at the start is passed over.
 *
 * Fields are cut out of the text in place: a NUL takes the place of what ends
 * them.
 */
#include "core/io/csv.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

soma_status
soma_csv_load(const char *path, size_t limit, soma_csv *csv, soma_error *err)
{
    *csv = (soma_csv){.path = path, .next_line = 1};
    soma_status status = soma_file_read(path, limit, 0, &csv->text, err);
    if (status)
        return status;
    csv->at = (char *)csv->text.data;
    csv->end = csv->at + csv->text.size;
    if (memchr(csv->at, '\0', csv->text.size))
        status = soma_error_set(err, SOMA_E_FORMAT, "%s: has a NUL byte", path);
    else if (!(csv->numbers = newlocale(LC_ALL_MASK, "C", NULL)))
        status = soma_error_memory(err, path);
    else if (!strncmp(csv->at, "\xef\xbb\xbf", 3))
        csv->at += 3;
    if (status)
        soma_csv_free(csv);
    return status;
}

void
soma_csv_free(soma_csv *csv)
{
    if (csv->numbers)
        freelocale(csv->numbers);
    free(csv->fields);
    soma_bytes_free(&csv->text);
    *csv = (soma_csv){.path = NULL};
}

static soma_status
keep_field(soma_csv *csv, char *field, soma_error *err)
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
unquote(soma_csv *csv)
{
    char *to = csv->at, *from = csv->at + 1;
    while (from < csv->end) {
        if (*from == '"' && from[1] != '"') {
            *to = '\0';
            return from + 1;
        }
        from += *from == '"';
        csv->next_line += *from == '\n';
        *to++ = *from++;
    }
    return NULL;
}

static soma_status
find_stop(soma_csv *csv, char **stop, soma_error *err)
{
    if (*csv->at != '"') {
        *stop = csv->at + strcspn(csv->at, ",\r\n");
        return SOMA_OK;
    }
    *stop = unquote(csv);
    if (!*stop)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: line %ld, column %d: a quote that is not "
                              "closed",
                              csv->path, csv->line, csv->count + 1);
    if (*stop < csv->end && !strchr(",\r\n", **stop))
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: line %ld, column %d: text after the "
                              "closing quote",
                              csv->path, csv->next_line, csv->count + 1);
    return SOMA_OK;
}

/* Takes the line end whose first byte, already replaced, was `first`. */
static void
end_line(soma_csv *csv, char first)
{
    if (first == '\r' && *csv->at == '\n')
        csv->at++;
    csv->next_line++;
}

soma_status
soma_csv_next(soma_csv *csv, soma_error *err)
{
    csv->count = 0;
    while (*csv->at == '\n' || *csv->at == '\r')
        end_line(csv, *csv->at++);
    if (csv->at == csv->end)
        return SOMA_OK;
    csv->line = csv->next_line;
    for (;;) {
        char *field = csv->at, *stop;
        soma_status status = find_stop(csv, &stop, err);
        if (!status)
            status = keep_field(csv, field, err);
        if (status)
            return status;
        char separator = *stop;
        *stop = '\0';
        csv->at = stop < csv->end ? stop + 1 : stop;
        if (separator == ',')
            continue; /* also at the end: an empty last field */
        if (separator)
            end_line(csv, separator);
        return SOMA_OK;
    }
}

/* Short decimals without an exponent, which nearly all are: a whole number
 * below 2^53 and a power of ten that is exact make one rounding. */
static bool
short_decimal(const char *text, double *value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3, 1e4,  1e5,
                                    1e6,  1e7,  1e8,  1e9, 1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15};
    bool negative = *text == '-';
    long whole = 0;
    int digits = 0, decimals = 0;
    text += negative;
    for (; isdigit((unsigned char)*text); text++, digits++)
        whole = digits < 15 ? whole * 10 + (*text - '0') : whole;
    if (*text == '.' && digits)
        for (text++; isdigit((unsigned char)*text); text++, digits++) {
            whole = digits < 15 ? whole * 10 + (*text - '0') : whole;
            decimals++;
        }
    if (*text || digits < 1 || digits > 15)
        return false;
    *value = (double)whole / powers[decimals];
    *value = negative ? -*value : *value;
    return true;
}

/* [+-] digits [. digits] [e [+-] digits], with a digit before the exponent. */
static const char *
skip_decimal(const char *text)
{
    const char *start = text;
    size_t before, after = 0;
    text += *text == '+' || *text == '-';
    before = strspn(text, "0123456789");
    text += before;
    if (*text == '.') {
        after = strspn(text + 1, "0123456789");
        text += 1 + after;
    }
    if (!before && !after)
        return start;
    if (*text == 'e' || *text == 'E') {
        const char *exponent = text + 1;
        exponent += *exponent == '+' || *exponent == '-';
        size_t digits = strspn(exponent, "0123456789");
        text = digits ? exponent + digits : text;
    }
    return text;
}

static bool
names_not_finite(const char *text)
{
    static const char *const names[] = {"nan", "inf", "infinity"};
    text += *text == '+' || *text == '-';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        if (!strncasecmp(text, names[i], length) &&
            !text[length + strspn(text + length, " \t")])
            return true;
    }
    return false;
}

soma_csv_kind
soma_csv_number(const soma_csv *csv, const char *field, double *value)
{
    field += strspn(field, " \t");
    if (short_decimal(field, value))
        return SOMA_CSV_NUMBER;
    const char *end = skip_decimal(field);
    if (end != field && !end[strspn(end, " \t")]) {
        *value = strtod_l(field, NULL, csv->numbers);
        return isfinite(*value) ? SOMA_CSV_NUMBER : SOMA_CSV_NOT_FINITE;
    }
    return names_not_finite(field) ? SOMA_CSV_NOT_FINITE : SOMA_CSV_TEXT;
}
