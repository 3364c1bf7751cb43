/* The .npy format (numpy.lib.format):
 *
 *     \x93NUMPY, version major, minor
 *     length of the header: 2 bytes in version 1, 4 in 2 and 3, little endian
 *     the header, a Python dict as text, padded with blanks:
 *         {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 784), }
 *     the elements
 */
#include "core/io/npy.h"

#include "core/io/half.h"
#include "core/io/quote.h"

#include <endian.h>
#include <math.h>
#include <string.h>

/* ---- The header, which is no more Python than this ---- */

typedef struct scanner {
    const char *at, *end;
} scanner;

static void
skip_blanks(scanner *s)
{
    while (s->at < s->end && strchr(" \t\r\n", *s->at) && *s->at)
        s->at++;
}

static bool
take(scanner *s, const char *text)
{
    size_t length = strlen(text);
    skip_blanks(s);
    if ((size_t)(s->end - s->at) < length || memcmp(s->at, text, length) != 0)
        return false;
    s->at += length;
    return true;
}

/* 'text' or "text", of less than `size` characters. */
static bool
take_string(scanner *s, char *to, size_t size)
{
    skip_blanks(s);
    if (s->at == s->end || (*s->at != '\'' && *s->at != '"'))
        return false;
    char quote = *s->at++;
    size_t length = 0;
    while (s->at < s->end && *s->at != quote && length + 1 < size)
        to[length++] = *s->at++;
    to[length] = '\0';
    return s->at < s->end && *s->at++ == quote;
}

static bool
take_number(scanner *s, size_t *number)
{
    skip_blanks(s);
    const char *from = s->at;
    *number = 0;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, *s->at - '0', number))
            return false;
    bool good = s->at > from;
    take(s, "L"); /* Python 2 */
    return good;
}

/* (), (3,), (3, 4) */
static bool
take_shape(scanner *s, soma_npy *array)
{
    if (!take(s, "("))
        return false;
    while (!take(s, ")")) {
        if (array->rank == SOMA_NPY_MAX_RANK ||
            !take_number(s, &array->shape[array->rank++]))
            return false;
        if (!take(s, ",") && !(take(s, ")") && array->rank > 1))
            return false;
        if (s->at[-1] == ')')
            break;
    }
    return true;
}

static bool
take_entry(scanner *s, soma_npy *array, char descr[16], int *seen)
{
    char key[16];
    if (!take_string(s, key, sizeof key) || !take(s, ":"))
        return false;
    if (!strcmp(key, "descr") && !(*seen & 1)) {
        *seen |= 1;
        return take_string(s, descr, 16);
    }
    if (!strcmp(key, "fortran_order") && !(*seen & 2)) {
        *seen |= 2;
        array->fortran = take(s, "True");
        return array->fortran || take(s, "False");
    }
    if (!strcmp(key, "shape") && !(*seen & 4)) {
        *seen |= 4;
        return take_shape(s, array);
    }
    return false;
}

static bool
take_header(scanner *s, soma_npy *array, char descr[16])
{
    int seen = 0;
    if (!take(s, "{"))
        return false;
    while (!take(s, "}")) {
        if (!take_entry(s, array, descr, &seen))
            return false;
        if (take(s, "}"))
            break;
        if (!take(s, ","))
            return false;
    }
    skip_blanks(s);
    return seen == 7 && s->at == s->end;
}

/* ---- Types ---- */

/* "<f4": byte order, kind, bytes. */
static soma_status
read_descr(const char *descr, soma_npy *array, soma_error *err)
{
    char order = descr[0], text[SOMA_QUOTE_SIZE];
    array->kind = order ? descr[1] : '\0';
    char digit = array->kind ? descr[2] : '\0';
    array->width = digit >= '1' && digit <= '8' && !descr[3] ? digit - '0' : 0;
    array->big = order == '>';
    size_t w = array->width;
    bool power = w == 1 || w == 2 || w == 4 || w == 8;
    bool good = order && strchr("<>=|", order) && power &&
                ((array->kind == 'f' && w > 1) || array->kind == 'i' ||
                 array->kind == 'u' || (array->kind == 'b' && w == 1));
    return good ? SOMA_OK
                : soma_error_set(err, SOMA_E_UNSUPPORTED,
                                 "elements of type '%s'; expected numbers or "
                                 "bools: save with array.astype('float32')",
                                 soma_quote(descr, text));
}

soma_status
soma_npy_parse(const void *data, size_t size, soma_npy *array, soma_error *err)
{
    const unsigned char *bytes = data;
    char descr[16] = "";
    *array = (soma_npy){.count = 1};
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "not a .npy array: it does not begin with "
                              "\\x93NUMPY");
    size_t lead = bytes[6] == 1 ? 10 : 12;
    if (bytes[6] < 1 || bytes[6] > 3 || size < lead)
        return soma_error_set(err, SOMA_E_FORMAT,
                              ".npy version %d, expected 1, 2 or 3", bytes[6]);
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (lead == 12)
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > size - lead)
        return soma_error_set(err, SOMA_E_FORMAT, "the .npy header is cut off");
    scanner s = {(const char *)bytes + lead,
                 (const char *)bytes + lead + length};
    if (!take_header(&s, array, descr))
        return soma_error_set(
            err, SOMA_E_FORMAT,
            "the .npy header: expected {'descr': '<f4', 'fortran_order': "
            "False, 'shape': (60000, 784)}, with at most 8 dimensions");
    soma_status status = read_descr(descr, array, err);
    if (status)
        return status;
    size_t wanted;
    bool fits = true;
    for (int i = 0; i < array->rank; i++)
        fits = fits && !__builtin_mul_overflow(array->count, array->shape[i],
                                               &array->count);
    fits = fits && !__builtin_mul_overflow(array->count, array->width, &wanted);
    if (!fits || wanted != size - lead - length)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%zu bytes of elements are there, other than the "
                              "shape needs",
                              size - lead - length);
    array->data = bytes + lead + length;
    return SOMA_OK;
}

/* ---- Elements ---- */

static double
element(const soma_npy *array, size_t i)
{
    const unsigned char *at = array->data + i * array->width;
    uint64_t bits = 0;
    for (size_t k = 0; k < array->width; k++)
        bits |= (uint64_t)at[array->big ? array->width - 1 - k : k] << 8 * k;
    int unused = 64 - 8 * (int)array->width;
    float single;
    double wide;
    if (array->kind == 'i')
        return (double)((int64_t)(bits << unused) >> unused);
    if (array->kind != 'f')
        return (double)bits;
    if (array->width == 2)
        return (double)soma_half_to_float((uint16_t)bits);
    if (array->width == 8) {
        memcpy(&wide, &bits, sizeof wide);
        return wide;
    }
    uint32_t half = (uint32_t)bits;
    memcpy(&single, &half, sizeof single);
    return (double)single;
}

/* A walk in C order over elements that may lie in Fortran's. */
typedef struct walk {
    const soma_npy *array;
    size_t at[SOMA_NPY_MAX_RANK], steps[SOMA_NPY_MAX_RANK];
    size_t place;
} walk;

static walk
start(const soma_npy *array)
{
    walk w = {.array = array};
    size_t step = 1;
    for (int i = 0; i < array->rank; i++) {
        int k = array->fortran ? i : array->rank - 1 - i;
        w.steps[k] = step;
        step *= array->shape[k];
    }
    return w;
}

static void
advance(walk *w)
{
    if (!w->array->fortran) {
        w->place++;
        return;
    }
    for (int k = w->array->rank - 1; k >= 0; k--) {
        w->place += w->steps[k];
        if (++w->at[k] < w->array->shape[k])
            return;
        w->place -= w->steps[k] * w->array->shape[k];
        w->at[k] = 0;
    }
}

bool
soma_npy_floats(const soma_npy *array, float *to)
{
    bool finite = true;
    walk w = start(array);
    for (size_t i = 0; i < array->count; i++, advance(&w)) {
        to[i] = (float)element(array, w.place);
        finite = finite && isfinite(to[i]);
    }
    return finite;
}

bool
soma_npy_bytes(const soma_npy *array, uint8_t *to)
{
    if (array->width != 1 || array->kind == 'i')
        return false;
    walk w = start(array);
    for (size_t i = 0; i < array->count; i++, advance(&w))
        to[i] = array->data[w.place];
    return true;
}
