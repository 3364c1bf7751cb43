/* The handlers behind the rows of routes.c, one file api_*.c for each group.
 */
#ifndef SOMA_WEB_API_H
#define SOMA_WEB_API_H

#include "server/web/worker.h"

/* api_predict.c */
soma_outcome soma_api_predict(soma_request *request);
void soma_api_predicted(soma_request *request, const soma_snapshot *snapshot,
                        const float *scores);

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
soma_outcome soma_api_weights(soma_request *request);

/* api_service.c */
soma_outcome soma_api_healthz(soma_request *request);
soma_outcome soma_api_readyz(soma_request *request);
soma_outcome soma_api_metrics(soma_request *request);
soma_outcome soma_api_openapi(soma_request *request);
soma_outcome soma_api_page(soma_request *request);

/* Puts a class as {"label":3,"class":"cat"} without the braces. */
void soma_api_put_class(soma_text *text, const soma_served *served, int label);

#endif
