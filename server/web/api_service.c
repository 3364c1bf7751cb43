/* What tools ask: health, metrics, the API's description, the page. */
#include "server/web/api.h"
#include "server/web/assets.h"
#include "server/web/routes.h"

#include <stdlib.h>
#include <string.h>

static soma_outcome
reply_asset(soma_request *request, const soma_asset *asset)
{
    return soma_reply_constant(request, asset->type, asset->data,
                               soma_asset_size(asset));
}

soma_outcome
soma_api_healthz(soma_request *request)
{
    static const char live[] = "{\"live\":true}\n";
    return soma_reply_constant(request, "application/json", live,
                               sizeof live - 1);
}

/* How it is beside other replicas: true if a model is another than theirs;
 * *lag: records that the model farthest behind has not learned yet. */
static bool
beside_others(const soma_web *web, uint64_t *lag, soma_error *err)
{
    soma_served *list[SOMA_MAX_MODELS];
    soma_trainer_report report;
    int count = web->registry->options.trainer.journal
                    ? soma_registry_list(web->registry, list)
                    : 0;
    *lag = 0;
    for (int i = 0; i < count; i++) {
        uint64_t here = soma_shelf_current(&list[i]->shelf)->version;
        soma_trainer_ask(list[i]->trainer, &report);
        if (report.newest > here && report.newest - here > *lag)
            *lag = report.newest - here;
        *err = report.err;
        if (report.differs)
            return true;
    }
    return false;
}

soma_outcome
soma_api_readyz(soma_request *request)
{
    static const char ready[] = "{\"ready\":true}\n";
    const soma_web *web = request->worker->web;
    if (atomic_load(&web->draining)) {
        request->reply.retry_after = 1;
        return soma_reply_error(request, 503, "draining",
                                "the server is stopping");
    }
    soma_error err;
    if (!atomic_load(&web->ready)) {
        request->reply.retry_after = 1;
        if (soma_registry_progress(web->registry, &err))
            return soma_reply_error(request, 503, "recovering", "%s", err.text);
        return soma_reply_error(request, 503, "loading",
                                "models are being loaded");
    }
    uint64_t lag;
    if (beside_others(web, &lag, &err))
        return soma_reply_error(request, 503, "replica_differs", "%s",
                                err.text);
    if (web->registry->options.trainer.journal) {
        soma_text_put(&request->reply.text, "{\"ready\":true,\"lag\":");
        soma_text_whole(&request->reply.text, lag);
        soma_text_put(&request->reply.text, "}\n");
        return soma_reply_text(request, "application/json");
    }
    return soma_reply_constant(request, "application/json", ready,
                               sizeof ready - 1);
}

soma_outcome
soma_api_metrics(soma_request *request)
{
    const soma_web *web = request->worker->web;
    soma_metrics *metrics[SOMA_MAX_READERS];
    for (int i = 0; i < web->options.workers; i++)
        metrics[i] = web->workers[i].metrics;
    size_t size;
    char *text =
        soma_metrics_text(metrics, web->options.workers, web->registry,
                          web->options.version, soma_route_label, &size);
    if (!text)
        return soma_reply_error(request, 503, "out_of_memory",
                                "no memory for the metrics");
    soma_text_bytes(&request->reply.text, text, size);
    free(text);
    if (web->keys)
        soma_keys_metrics(web->keys, &request->reply.text);
    return soma_reply_text(request, "text/plain; version=0.0.4; charset=utf-8");
}

soma_outcome
soma_api_openapi(soma_request *request)
{
    return reply_asset(request, soma_asset_openapi());
}

/* Browsers get the page; KServe's first protocol asks here whether the server
 * is alive. */
soma_outcome
soma_api_page(soma_request *request)
{
    static const char alive[] = "{\"status\":\"alive\"}\n";
    if (!request->accept || !strstr(request->accept, "text/html"))
        return soma_reply_constant(request, "application/json", alive,
                                   sizeof alive - 1);
    request->reply.policy = "default-src 'none'; script-src 'self'; "
                            "style-src 'self'; img-src 'self' blob: data:; "
                            "connect-src 'self'; form-action 'none'; "
                            "base-uri 'none'; frame-ancestors 'none'";
    return reply_asset(request, soma_asset_page());
}

soma_outcome
soma_api_page_file(soma_request *request)
{
    const soma_asset *asset = soma_asset_find(request->version);
    if (!asset)
        return soma_reply_error(request, 404, "not_found",
                                "/page/%s: the page has no such file",
                                request->version);
    return reply_asset(request, asset);
}
