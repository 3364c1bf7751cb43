/* POST /models/{model}/rollback, GET /models/{model}/examples */
#include "server/web/api.h"
#include "server/web/input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Rollback ---- */

static bool
take_target(soma_request *request, soma_refusal *refusal)
{
    soma_document document = {0};
    json_int_t target = -1;
    bool good = soma_input_json(request, &document, refusal) &&
                soma_input_model(
                    request, json_object_get(document.json, "model"), refusal);
    const json_t *version = json_object_get(document.json, "version");
    if (good && json_is_integer(version))
        target = json_integer_value(version);
    soma_document_free(&document);
    if (good && target < 0)
        good = soma_refuse(refusal, 400, "bad_version",
                           "\"version\": expected a whole number from 0, the "
                           "version to go back to");
    request->job =
        (soma_job){.kind = SOMA_JOB_ROLLBACK, .target = (uint64_t)target};
    return good;
}

soma_outcome
soma_api_rollback(soma_request *request)
{
    soma_refusal refusal;
    soma_input_own(request);
    if (soma_body_kind_of(request->type) != SOMA_BODY_JSON)
        return soma_reply_error(request, 415, "unsupported_type",
                                "Content-Type: expected application/json");
    return take_target(request, &refusal)
               ? soma_worker_submit(request)
               : soma_reply_refusal(request, &refusal);
}

void
soma_api_rolled_back(soma_request *request, const soma_snapshot *snapshot,
                     const float *scores)
{
    soma_text *text = &request->reply.text;
    (void)snapshot, (void)scores;
    soma_text_put(text, "{\"model\":");
    soma_text_quote(text, request->served->name);
    soma_text_put(text, ",\"version\":");
    soma_text_whole(text, request->job.version);
    soma_text_put(text, ",\"rollback\":");
    soma_text_whole(text, request->job.target);
    soma_text_put(text, "}\n");
    soma_reply_text(request, "application/json");
}

/* ---- What was learned ---- */

bool
soma_api_take_number(const char *text, const char *name, long long least,
                     long long most, long long fallback, long long *number,
                     soma_refusal *refusal)
{
    char *end;
    *number = fallback;
    if (!text)
        return true;
    errno = 0;
    *number = strtoll(text, &end, 10);
    if (end != text && !*end && !errno && *number >= least && *number <= most)
        return true;
    return soma_refuse(refusal, 400, "bad_argument",
                       "?%s=: expected a whole number from %lld to %lld, got "
                       "\"%.32s\"",
                       name, least, most, text);
}

soma_outcome
soma_api_examples(soma_request *request)
{
    soma_refusal refusal;
    long long after, limit, pixels;
    if (!soma_input_model(request, NULL, &refusal) ||
        !soma_api_take_number(request->after, "after", 0, INT64_MAX, 0, &after,
                              &refusal) ||
        !soma_api_take_number(request->limit, "limit", 1, 1000, 100, &limit,
                              &refusal) ||
        !soma_api_take_number(request->pixels, "pixels", 0, 1, 0, &pixels,
                              &refusal))
        return soma_reply_refusal(request, &refusal);
    request->job = (soma_job){.kind = SOMA_JOB_HISTORY,
                              .after = (uint64_t)after,
                              .limit = (int)limit,
                              .newest = !request->after,
                              .pixels = pixels == 1};
    return soma_worker_submit(request);
}

static void
put_time(soma_text *text, int64_t milliseconds)
{
    char date[SOMA_CLOCK_TEXT];
    soma_clock_text(milliseconds, date);
    soma_text_put(text, ",\"time\":");
    soma_text_quote(text, date);
}

static void
put_example(soma_request *request, const soma_taught *taught)
{
    soma_text *text = &request->reply.text;
    const soma_lesson *lesson = &taught->lesson;
    int size = request->served->spec.input.size;
    soma_text_put(text, ",");
    soma_api_put_class(text, request->served, taught->record.label);
    if (lesson->version) {
        soma_text_put(text, ",\"loss\":");
        soma_text_float(text, lesson->loss);
        soma_text_put(text, ",\"predicted\":{");
        soma_api_put_class(text, request->served, lesson->predicted);
        soma_text_put(text, "},\"steps\":");
        soma_text_whole(text, (uint64_t)lesson->steps);
        if (lesson->rejected)
            soma_text_put(text, ",\"rejected\":true");
    }
    if (taught->record.rate > 0) {
        soma_text_put(text, ",\"learning_rate\":");
        soma_text_float(text, taught->record.rate);
    }
    for (int i = 0; taught->record.x && i < size; i++) {
        soma_text_put(text, i ? "," : ",\"pixels\":[");
        soma_text_float(text, taught->record.x[i]);
    }
    if (taught->record.x)
        soma_text_put(text, "]");
}

static void
put_record(soma_request *request, const soma_taught *taught)
{
    soma_text *text = &request->reply.text;
    soma_text_put(text, "{\"version\":");
    soma_text_whole(text, taught->record.seq);
    put_time(text, taught->record.time);
    switch (taught->record.kind) {
    case SOMA_RECORD_EXAMPLE:
        put_example(request, taught);
        break;
    case SOMA_RECORD_ROLLBACK:
        soma_text_put(text, ",\"rollback\":");
        soma_text_whole(text, taught->record.target);
        break;
    case SOMA_RECORD_SETTINGS:
        soma_text_put(text, ",\"settings\":true");
        break;
    case SOMA_RECORD_ADOPTION:
        soma_text_put(text, ",\"promoted\":{\"from\":");
        soma_text_quote(text, taught->from);
        soma_text_put(text, ",\"version\":");
        soma_text_whole(text, taught->record.target);
        soma_text_put(text, "}");
        break;
    }
    soma_text_put(text, "}");
}

void
soma_api_listed(soma_request *request, const soma_snapshot *snapshot,
                const float *scores)
{
    soma_text *text = &request->reply.text;
    const soma_job *job = &request->job;
    (void)snapshot, (void)scores;
    soma_text_put(text, "{\"model\":");
    soma_text_quote(text, request->served->name);
    soma_text_put(text, ",\"version\":");
    soma_text_whole(text, job->version);
    soma_text_put(text, ",\"examples\":[");
    for (int i = 0; i < job->taught_count; i++) {
        if (i)
            soma_text_put(text, ",");
        put_record(request, &job->taught[i]);
    }
    soma_text_put(text, "]}\n");
    soma_reply_text(request, "application/json");
}
