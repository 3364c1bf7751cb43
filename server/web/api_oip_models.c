/* Open Inference Protocol: what there is, how it is, and what it has done. */
#include "core/loss.h"
#include "server/web/api.h"
#include "server/web/oip.h"

#include <string.h>

bool
soma_oip_model(soma_request *request, soma_refusal *refusal)
{
    if (!soma_input_model(request, NULL, refusal))
        return false;
    return !request->version[0] ||
           !strcmp(request->version, SOMA_OIP_VERSION) ||
           soma_refuse(refusal, 404, "unknown_version",
                       "model %s has no version %s: a model file is served as "
                       "version " SOMA_OIP_VERSION,
                       request->served->name, request->version);
}

/* ---- The server ---- */

soma_outcome
soma_api_oip_server(soma_request *request)
{
    return soma_reply_json(
        request,
        json_pack("{s:s, s:s, s:[s, s, s, s, s, s, s]}", "name", "soma",
                  "version", request->worker->web->options.version,
                  "extensions", "binary_tensor_data", "classification",
                  "model_configuration", "model_repository", "parameters",
                  "statistics", "logging"));
}

/* The protocol's text calls the member "live", its servers "ready". */
soma_outcome
soma_api_oip_ready(soma_request *request)
{
    static const char ready[] = "{\"ready\":true,\"live\":true}\n";
    soma_api_readyz(request);
    if (request->reply.status != 200)
        return SOMA_DONE;
    return soma_reply_constant(request, "application/json", ready,
                               sizeof ready - 1);
}

soma_outcome
soma_api_oip_models(soma_request *request)
{
    soma_served *models[SOMA_MAX_MODELS] = {NULL};
    int count = soma_registry_list(request->worker->web->registry, models);
    json_t *names = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(names, json_string(models[i]->name));
    return soma_reply_json(request, json_pack("{s:o}", "models", names));
}

/* ---- One model ---- */

/* [-1, ...]: the number of examples may vary. */
static json_t *
describe_tensor(const char *name, int rank, const int *shape)
{
    json_t *dims = json_pack("[i]", -1);
    for (int i = 0; i < rank; i++)
        json_array_append_new(dims, json_integer(shape[i]));
    return json_pack("{s:s, s:s, s:o}", "name", name, "datatype", "FP32",
                     "shape", dims);
}

soma_outcome
soma_api_oip_metadata(soma_request *request)
{
    soma_refusal refusal;
    if (!soma_oip_model(request, &refusal))
        return soma_reply_refusal(request, &refusal);
    const soma_spec *spec = &request->served->spec;
    int answers = soma_loss_answers(spec->loss, spec->outputs);
    return soma_reply_json(
        request,
        json_pack("{s:s, s:[s], s:s, s:[o], s:[o]}", "name",
                  request->served->name, "versions", SOMA_OIP_VERSION,
                  "platform", "soma", "inputs",
                  describe_tensor(SOMA_OIP_INPUT, spec->input.rank,
                                  spec->input.shape),
                  "outputs", describe_tensor(SOMA_OIP_OUTPUT, 1, &answers)));
}

soma_outcome
soma_api_oip_model_ready(soma_request *request)
{
    soma_refusal refusal;
    if (!soma_oip_model(request, &refusal))
        return soma_reply_refusal(request, &refusal);
    if (!soma_trainer_is_ready(request->served->trainer)) {
        request->reply.retry_after = 1;
        return soma_reply_error(request, 503, "recovering",
                                "model %s is recovering what it has learned",
                                request->served->name);
    }
    return soma_reply_json(
        request,
        json_pack("{s:s, s:b}", "name", request->served->name, "ready", 1));
}

/* Triton's ModelConfig, as far as it means something here. */
soma_outcome
soma_api_oip_config(soma_request *request)
{
    soma_refusal refusal;
    if (!soma_oip_model(request, &refusal))
        return soma_reply_refusal(request, &refusal);
    const soma_spec *spec = &request->served->spec;
    json_t *dims = json_array();
    for (int i = 0; i < spec->input.rank; i++)
        json_array_append_new(dims, json_integer(spec->input.shape[i]));
    json_t *config = json_pack(
        "{s:s, s:s, s:s, s:i, s:[{s:s, s:s, s:o}], s:[{s:s, s:s, s:[i]}], "
        "s:{s:i}, s:{s:b}, s:{s:b}, s:{s:{s:[i]}}}",
        "name", request->served->name, "platform", "soma", "backend", "soma",
        "max_batch_size", request->worker->web->options.max_rows, "input",
        "name", SOMA_OIP_INPUT, "data_type", "TYPE_FP32", "dims", dims,
        "output", "name", SOMA_OIP_OUTPUT, "data_type", "TYPE_FP32", "dims",
        soma_loss_answers(spec->loss, spec->outputs), "dynamic_batching",
        "max_queue_delay_microseconds", 0, "model_transaction_policy",
        "decoupled", 0, "response_cache", "enable", 0, "version_policy",
        "specific", "versions", 1);
    return soma_reply_json(request, config);
}

/* ---- Statistics ---- */

static json_t *
duration(uint64_t count, uint64_t microseconds)
{
    return json_pack("{s:I, s:I}", "count", (json_int_t)count, "ns",
                     (json_int_t)(microseconds * 1000));
}

static json_t *
describe_counts(const char *name, const uint64_t sum[SOMA_COUNTS])
{
    uint64_t requests = sum[SOMA_COUNT_REQUESTS];
    json_t *times = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "success",
        duration(requests, sum[SOMA_COUNT_TOTAL_TIME]), "fail",
        duration(sum[SOMA_COUNT_FAILED], sum[SOMA_COUNT_FAILED_TIME]), "queue",
        duration(requests, sum[SOMA_COUNT_QUEUE_TIME]), "compute_input",
        duration(requests, sum[SOMA_COUNT_INPUT_TIME]), "compute_infer",
        duration(requests, sum[SOMA_COUNT_INFER_TIME]), "compute_output",
        duration(requests, sum[SOMA_COUNT_OUTPUT_TIME]), "cache_hit",
        duration(0, 0), "cache_miss", duration(0, 0));
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:[], s:[], s:{}}", "name",
                     name, "version", SOMA_OIP_VERSION, "last_inference",
                     (json_int_t)sum[SOMA_COUNT_LAST], "inference_count",
                     (json_int_t)sum[SOMA_COUNT_ROWS], "execution_count",
                     (json_int_t)sum[SOMA_COUNT_BATCHES], "inference_stats",
                     times, "batch_stats", "memory_usage", "response_stats");
}

static json_t *
describe_stats(const soma_web *web, const soma_served *served)
{
    uint64_t sum[SOMA_COUNTS] = {0};
    for (int i = 0; i < web->options.workers; i++)
        soma_counts_sum(&web->workers[i].counts[served->index], served->serial,
                        sum);
    return describe_counts(served->name, sum);
}

soma_outcome
soma_api_oip_stats(soma_request *request)
{
    soma_refusal refusal;
    if (!soma_oip_model(request, &refusal))
        return soma_reply_refusal(request, &refusal);
    return soma_reply_json(
        request,
        json_pack("{s:[o]}", "model_stats",
                  describe_stats(request->worker->web, request->served)));
}

soma_outcome
soma_api_oip_all_stats(soma_request *request)
{
    const soma_web *web = request->worker->web;
    soma_served *models[SOMA_MAX_MODELS] = {NULL};
    int count = soma_registry_list(web->registry, models);
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, describe_stats(web, models[i]));
    return soma_reply_json(request, json_pack("{s:o}", "model_stats", list));
}
