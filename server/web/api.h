/* The handlers behind the rows of routes.c, one file api_*.c for each group.
 */
#ifndef SOMA_WEB_API_H
#define SOMA_WEB_API_H

#include "server/web/worker.h"

struct soma_refusal;

/* api_predict.c */
soma_outcome soma_api_predict(soma_request *request);
void soma_api_predicted(soma_request *request, const soma_snapshot *snapshot,
                        const float *scores);

/* api_explain.c */
soma_outcome soma_api_explain(soma_request *request);

/* events.c */
soma_outcome soma_api_events(soma_request *request);

/* api_train.c */
soma_outcome soma_api_train(soma_request *request);
void soma_api_trained(soma_request *request, const soma_snapshot *snapshot,
                      const float *scores);

/* api_history.c */
soma_outcome soma_api_rollback(soma_request *request);
void soma_api_rolled_back(soma_request *request, const soma_snapshot *snapshot,
                          const float *scores);
soma_outcome soma_api_examples(soma_request *request);
void soma_api_listed(soma_request *request, const soma_snapshot *snapshot,
                     const float *scores);

/* api_forks.c */
soma_outcome soma_api_fork(soma_request *request);
void soma_api_forked(soma_request *request, const soma_snapshot *snapshot,
                     const float *scores);
soma_outcome soma_api_promote(soma_request *request);
void soma_api_promoted(soma_request *request, const soma_snapshot *snapshot,
                       const float *scores);
soma_outcome soma_api_remove(soma_request *request);
void soma_api_removed(soma_request *request, const soma_snapshot *snapshot,
                      const float *scores);

/* api_models.c */
soma_outcome soma_api_models(soma_request *request);
soma_outcome soma_api_model(soma_request *request);
soma_outcome soma_api_guard(soma_request *request);
void soma_api_judged(soma_request *request, const soma_snapshot *snapshot,
                     const float *scores);
soma_outcome soma_api_weights(soma_request *request);
void soma_api_weighed(soma_request *request, const soma_snapshot *snapshot,
                      const float *scores);

/* api_service.c */
soma_outcome soma_api_healthz(soma_request *request);
soma_outcome soma_api_readyz(soma_request *request);
soma_outcome soma_api_metrics(soma_request *request);
soma_outcome soma_api_openapi(soma_request *request);
soma_outcome soma_api_page(soma_request *request);
soma_outcome soma_api_page_file(soma_request *request);

/* api_oip.c: the Open Inference Protocol's infer */
soma_outcome soma_api_infer(soma_request *request);
void soma_api_inferred(soma_request *request, const soma_snapshot *snapshot,
                       const float *scores);

/* api_oip_models.c */
soma_outcome soma_api_oip_server(soma_request *request);
soma_outcome soma_api_oip_ready(soma_request *request);
soma_outcome soma_api_oip_models(soma_request *request);
soma_outcome soma_api_oip_metadata(soma_request *request);
soma_outcome soma_api_oip_model_ready(soma_request *request);
soma_outcome soma_api_oip_config(soma_request *request);
soma_outcome soma_api_oip_stats(soma_request *request);
soma_outcome soma_api_oip_all_stats(soma_request *request);

/* api_oip_repository.c */
soma_outcome soma_api_oip_index(soma_request *request);
soma_outcome soma_api_oip_load(soma_request *request);
void soma_api_oip_loaded(soma_request *request, const soma_snapshot *snapshot,
                         const float *scores);
soma_outcome soma_api_oip_unload(soma_request *request);
void soma_api_oip_unloaded(soma_request *request, const soma_snapshot *snapshot,
                           const float *scores);

/* api_oip_server.c */
soma_outcome soma_api_oip_logging(soma_request *request);
soma_outcome soma_api_oip_set_logging(soma_request *request);

/* api_tfs.c: TensorFlow Serving's REST API */
soma_outcome soma_api_tfs_predict(soma_request *request);
soma_outcome soma_api_tfs_classify(soma_request *request);
soma_outcome soma_api_tfs_regress(soma_request *request);
void soma_api_tfs_predicted(soma_request *request,
                            const soma_snapshot *snapshot, const float *scores);

/* api_tfs_models.c */
soma_outcome soma_api_tfs_status(soma_request *request);
soma_outcome soma_api_tfs_metadata(soma_request *request);

/* api_aliases.c: what TorchServe, SageMaker and Vertex AI call */
soma_outcome soma_api_ping(soma_request *request);
soma_outcome soma_api_invoke(soma_request *request);
void soma_api_invoked(soma_request *request, const soma_snapshot *snapshot,
                      const float *scores);
soma_outcome soma_api_torch(soma_request *request);
void soma_api_torched(soma_request *request, const soma_snapshot *snapshot,
                      const float *scores);
/* The path that one of options.health_route and predict_route stands for, else
 * the path itself. */
const char *soma_alias_path(const soma_request *request, const char *path);

/* ---- What they share ---- */

/* api_predict.c. Before the numbers of a request are decoded: the rows behind
 * the last one of its model's batch are lent to them. */
void soma_api_lend_rows(soma_request *request);
/* Once request->served and rows are known. */
bool soma_api_place_rows(soma_request *request, const float *rows,
                         struct soma_refusal *refusal);
/* 503 while the model is recovering. */
soma_outcome soma_api_queue(soma_request *request);
/* False, and the 503 is the reply, while the model is recovering. */
bool soma_api_is_ready(soma_request *request);
/* A whole number from the query; `fallback` where text is NULL. */
bool soma_api_take_number(const char *text, const char *name, long long least,
                          long long most, long long fallback, long long *number,
                          struct soma_refusal *refusal);
/* A request that is refused; counts it where its model is known. */
soma_outcome soma_api_refuse(soma_request *request,
                             const struct soma_refusal *refusal);
/* The next best after `last` (-1: the best) in the order of value, then
 * label. */
int soma_api_next_best(const float *answer, int count, int last);
/* What speaks for each class: `answer` itself or, of a single score, which is
 * for class 1 and against class 0, `both`. */
const float *soma_api_per_class(const soma_spec *spec, const float *answer,
                                float both[2]);
/* Room for the answers to one row: `few`, which is enough for most models, or
 * memory. NULL: there is none, and the reply says so. */
enum { SOMA_API_FEW = 64 };
float *soma_api_take_row(soma_request *request, float few[SOMA_API_FEW]);
void soma_api_drop_row(float *row, const float few[SOMA_API_FEW]);
/* The class's name, or its number in `number`. */
const char *soma_api_class_name(const soma_served *served, int label,
                                char number[16]);

/* 200, with `json`, which is taken over; NULL: no memory. */
struct json_t;
soma_outcome soma_reply_json(soma_request *request, struct json_t *json);

/* Puts a class as {"label":3,"class":"cat"} without the braces. */
void soma_api_put_class(soma_text *text, const soma_served *served, int label);

#endif
