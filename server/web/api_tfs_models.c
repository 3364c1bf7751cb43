/* GET /v1/models/{model} and /metadata: TensorFlow Serving's model status and
 * metadata; KServe's first protocol asks the former whether it is ready. */
#include "core/loss.h"
#include "server/web/api.h"
#include "server/web/oip.h"
#include "server/web/tfs.h"

soma_outcome
soma_api_tfs_status(soma_request *request)
{
    soma_refusal refusal;
    if (!soma_oip_model(request, &refusal))
        return soma_reply_refusal(request, &refusal);
    bool ready = soma_trainer_is_ready(request->served->trainer);
    soma_reply_json(
        request, json_pack("{s:s, s:b, s:[{s:s, s:s, s:{s:s, s:s}}]}", "name",
                           request->served->name, "ready", ready,
                           "model_version_status", "version", SOMA_OIP_VERSION,
                           "state", ready ? "AVAILABLE" : "LOADING", "status",
                           "error_code", "OK", "error_message", ""));
    /* KServe's clients go by the status. */
    if (!ready && request->reply.status == 200) {
        request->reply.status = 503;
        request->reply.retry_after = 1;
    }
    return SOMA_DONE;
}

/* A TensorInfo; sizes are strings there, as in JSON of protocol buffers. */
static json_t *
describe_tensor(const char *name, int rank, const int *shape)
{
    json_t *dims = json_pack("[{s:s, s:s}]", "size", "-1", "name", "");
    for (int i = 0; i < rank; i++)
        json_array_append_new(dims, json_pack("{s:o, s:s}", "size",
                                              json_sprintf("%d", shape[i]),
                                              "name", ""));
    return json_pack("{s:s, s:{s:o, s:b}, s:o}", "dtype", "DT_FLOAT",
                     "tensor_shape", "dim", dims, "unknown_rank", 0, "name",
                     json_sprintf("%s:0", name));
}

soma_outcome
soma_api_tfs_metadata(soma_request *request)
{
    soma_refusal refusal;
    if (!soma_oip_model(request, &refusal))
        return soma_reply_refusal(request, &refusal);
    const soma_spec *spec = &request->served->spec;
    int answers = soma_loss_answers(spec->loss, spec->outputs);
    json_t *signature = json_pack(
        "{s:{s:o}, s:{s:o}, s:s}", "inputs", SOMA_OIP_INPUT,
        describe_tensor(SOMA_OIP_INPUT, spec->input.rank, spec->input.shape),
        "outputs", SOMA_OIP_OUTPUT,
        describe_tensor(SOMA_OIP_OUTPUT, 1, &answers), "method_name",
        "tensorflow/serving/predict");
    return soma_reply_json(
        request,
        json_pack("{s:{s:s, s:s, s:s}, s:{s:{s:{s:o}}}}", "model_spec", "name",
                  request->served->name, "signature_name", "", "version",
                  SOMA_OIP_VERSION, "metadata", "signature_def",
                  "signature_def", SOMA_TFS_SIGNATURE, signature));
}
