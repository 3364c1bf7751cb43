/* The answer of an infer request; its beginning stands in reply.text already
 * (api_oip.c). */
#include "core/loss.h"
#include "server/web/api.h"
#include "server/web/oip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What scores become, for one row after the other. */
typedef struct answers {
    const soma_request *request;
    const float *scores;
    float *row; /* scratch */
    int count;  /* numbers of a row */
} answers;

static const float *
answer_of(const answers *a, int r)
{
    const soma_spec *spec = &a->request->served->spec;
    spec->loss->answer(spec->outputs,
                       a->scores + (size_t)r * (size_t)spec->outputs, a->row);
    return a->row;
}

/* "value:index:label" of the next best class after `last`; NULL: no memory. */
static char *
describe_class(const answers *a, const float *answer, int *last)
{
    char number[16], *string;
    const soma_served *served = a->request->served;
    float both[2];
    const float *values = soma_api_per_class(&served->spec, answer, both);
    int best = soma_api_next_best(values, served->spec.classes, *last);
    *last = best;
    return asprintf(&string, "%f:%d:%s", (double)values[best], best,
                    soma_api_class_name(served, best, number)) < 0
               ? NULL
               : string;
}

/* The strings of all rows: as JSON, or each behind its length as bytes. */
static void
put_classes(const answers *a, soma_text *text, bool binary)
{
    for (int r = 0; r < a->request->rows; r++) {
        const float *answer = answer_of(a, r);
        for (int k = 0, last = -1; k < a->request->most; k++) {
            char *string = describe_class(a, answer, &last);
            uint32_t length = string ? (uint32_t)strlen(string) : 0;
            if (!string) {
                text->failed = true;
                return;
            }
            if (binary) {
                soma_text_bytes(text, &length, sizeof length);
                soma_text_bytes(text, string, length);
            } else {
                soma_text_put(text, r || k ? "," : "");
                soma_text_quote(text, string);
            }
            free(string);
        }
    }
}

static void
put_numbers(const answers *a, soma_text *text, bool binary)
{
    for (int r = 0; r < a->request->rows; r++) {
        const float *answer = answer_of(a, r);
        if (binary) {
            soma_text_bytes(text, answer, (size_t)a->count * sizeof *answer);
            continue;
        }
        for (int i = 0; i < a->count; i++) {
            soma_text_put(text, r || i ? "," : "");
            soma_text_float(text, answer[i]);
        }
    }
}

static void
put_number(soma_text *text, const char *before, uint64_t number)
{
    soma_text_put(text, before);
    soma_text_whole(text, number);
}

/* The C++ client takes no "parameters" of an output but the size of its bytes;
 * so the version that answered stands beside the outputs. */
static void
put_answer(soma_request *request, const answers *a, uint64_t version)
{
    soma_text *text = &request->reply.text, bytes = {NULL, 0, 0, false};
    int columns = request->most ? request->most : a->count;
    soma_text_put(text, request->most ? ",\"datatype\":\"BYTES\""
                                      : ",\"datatype\":\"FP32\"");
    put_number(text, ",\"shape\":[", (uint64_t)request->rows);
    put_number(text, ",", (uint64_t)columns);
    size_t size = (size_t)request->rows * (size_t)columns * sizeof(float);
    if (request->binary && request->most) {
        put_classes(a, &bytes, true);
        size = bytes.used;
    }
    if (request->binary) {
        put_number(text, "],\"parameters\":{\"binary_data_size\":", size);
        soma_text_put(text, "}}]");
    } else {
        soma_text_put(text, "],\"data\":[");
        (request->most ? put_classes : put_numbers)(a, text, false);
        soma_text_put(text, "]}]");
    }
    put_number(text, ",\"parameters\":{\"soma_version\":", version);
    soma_text_put(text, "}}");
    if (request->binary && !text->failed) {
        request->reply.head_size = text->used;
        if (request->most)
            soma_text_bytes(text, bytes.data, bytes.used);
        else
            put_numbers(a, text, true);
        text->failed = text->failed || bytes.failed;
    }
    soma_text_free(&bytes);
}

void
soma_api_inferred(soma_request *request, const soma_snapshot *snapshot,
                  const float *scores)
{
    const soma_spec *spec = &request->served->spec;
    float few[SOMA_API_FEW];
    answers a = {request, scores, soma_api_take_row(request, few),
                 soma_loss_answers(spec->loss, spec->outputs)};
    if (!a.row)
        return;
    put_answer(request, &a, snapshot->version);
    soma_api_drop_row(a.row, few);
    soma_reply_text(request, request->binary ? "application/octet-stream"
                                             : "application/json");
    if (request->reply.status != 200)
        request->reply.head_size = 0;
}
