/* What the files of the Open Inference Protocol share.
 */
#ifndef SOMA_WEB_OIP_H
#define SOMA_WEB_OIP_H

#include "server/web/input.h"

/* A model file has one version there, whatever was learned since: clients
 * write it into paths and must not be cut off by what others teach. The
 * version that learning counts is in the answers, as "soma_version". */
#define SOMA_OIP_VERSION "1"
#define SOMA_OIP_INPUT   "input"
#define SOMA_OIP_OUTPUT  "output"

/* The path's model, in the path's version if it names one. */
bool soma_oip_model(soma_request *request, soma_refusal *refusal);

#endif
