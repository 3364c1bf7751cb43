/* Paths by which other servers' clients and platforms call: TorchServe,
 * SageMaker (and MLflow, which it took them from), Vertex AI. */
#include "core/loss.h"
#include "server/web/api.h"
#include "server/web/input.h"
#include "server/web/oip.h"
#include "server/web/tfs.h"

#include <stdlib.h>
#include <string.h>

const char *
soma_alias_path(const soma_request *request, const char *path)
{
    const soma_web_options *o = &request->worker->web->options;
    if (o->health_route && !strcmp(path, o->health_route))
        return "/ping";
    if (o->predict_route && !strcmp(path, o->predict_route))
        return "/invocations";
    return path;
}

/* SageMaker and Vertex AI send nothing until it says 200. */
soma_outcome
soma_api_ping(soma_request *request)
{
    static const char healthy[] = "{\"status\":\"Healthy\"}\n";
    soma_api_readyz(request);
    if (request->reply.status != 200)
        return SOMA_DONE;
    return soma_reply_constant(request, "application/json", healthy,
                               sizeof healthy - 1);
}

/* ---- /invocations ---- */

enum { NATIVE = SOMA_TFS_CLASSES + 1 };

/* Whether the body is /predict's own: not JSON, or without what TensorFlow
 * Serving's must have. */
static bool
is_native(const soma_request *request)
{
    return soma_body_kind_of(request->type) != SOMA_BODY_JSON ||
           !request->body ||
           (!strstr(request->body, "\"instances\"") &&
            !strstr(request->body, "\"inputs\""));
}

soma_outcome
soma_api_invoke(soma_request *request)
{
    if (!is_native(request))
        return soma_tfs_run(request, false);
    request->form = NATIVE;
    return soma_api_predict(request);
}

void
soma_api_invoked(soma_request *request, const soma_snapshot *snapshot,
                 const float *scores)
{
    (request->form == NATIVE ? soma_api_predicted : soma_api_tfs_predicted)(
        request, snapshot, scores);
}

/* ---- TorchServe ---- */

enum { TOP = 5 }; /* classes that its image classifier answers with */

/* TorchServe's clients send pictures without saying so. */
static const char *
sniff(const soma_request *request)
{
    static const char png[] = "\x89PNG", jpeg[] = "\xff\xd8\xff";
    const char *body = request->body;
    size_t size = request->body_size;
    bool unsaid = soma_body_kind_of(request->type) == SOMA_BODY_JSON;
    if (unsaid && size > sizeof png && !memcmp(body, png, sizeof png - 1))
        return "image/png";
    if (unsaid && size > sizeof jpeg && !memcmp(body, jpeg, sizeof jpeg - 1))
        return "image/jpeg";
    return request->type;
}

soma_outcome
soma_api_torch(soma_request *request)
{
    soma_refusal refusal;
    bool known = soma_oip_model(request, &refusal);
    soma_request_leave(request); /* soma_api_predict looks it up itself */
    if (!known)
        return soma_reply_refusal(request, &refusal);
    request->type = sniff(request);
    return soma_api_predict(request);
}

/* {"class": probability}, best first. */
static void
put_best(soma_request *request, const float *answer)
{
    soma_text *text = &request->reply.text;
    const soma_served *served = request->served;
    float both[2];
    const float *values = soma_api_per_class(&served->spec, answer, both);
    int most = request->most ? request->most : TOP;
    for (int k = 0, last = -1; k < most && k < served->spec.classes; k++) {
        char number[16];
        last = soma_api_next_best(values, served->spec.classes, last);
        soma_text_put(text, k ? "," : "{");
        soma_text_quote(text, soma_api_class_name(served, last, number));
        soma_text_put(text, ":");
        soma_text_float(text, values[last]);
    }
    soma_text_put(text, "}");
}

void
soma_api_torched(soma_request *request, const soma_snapshot *snapshot,
                 const float *scores)
{
    soma_text *text = &request->reply.text;
    const soma_spec *spec = &request->served->spec;
    float few[SOMA_API_FEW], *answer = soma_api_take_row(request, few);
    (void)snapshot;
    request->reply.unsaid = true;
    if (!answer)
        return;
    soma_text_put(text, request->list ? "[" : "");
    for (int r = 0; r < request->rows; r++) {
        spec->loss->answer(spec->outputs,
                           scores + (size_t)r * (size_t)spec->outputs, answer);
        soma_text_put(text, r ? "," : "");
        put_best(request, answer);
    }
    soma_api_drop_row(answer, few);
    soma_text_put(text, request->list ? "]\n" : "\n");
    soma_reply_text(request, "application/json");
}
