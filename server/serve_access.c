#include "server/serve_access.h"

#include "server/web/cors.h"
#include "server/web/keys.h"
#include "server/web/rate.h"
#include "server/web/tls.h"

static const char *
origin_of(const soma_config *config, const char *option)
{
    return soma_options_origin(&soma_config_command, &config->file, option);
}

static soma_status
open_tls(const soma_config *config, soma_error *err)
{
    const char *certificate = config->tls_cert, *key = config->tls_key;
    if (!certificate && !key)
        return SOMA_OK;
    if (!certificate || !key)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%s: expected --tls-cert and --tls-key, both or "
                              "none",
                              origin_of(config, key ? "tls-key" : "tls-cert"));
    return soma_tls_open(certificate, key, err);
}

soma_status
soma_access_open(const soma_config *config, soma_web *web, soma_error *err)
{
    const char *option = NULL;
    soma_status status = open_tls(config, err);
    if (!status && (status = soma_cors_check(config->cors_origin, err)))
        option = "cors-origin";
    if (!status && config->rate_limit > 0 &&
        !(web->rates = soma_rates_create(config->rate_limit)))
        status = soma_error_memory(err, "rates");
    if (!status && config->keys &&
        (status = soma_keys_open(config->keys, &web->keys, err)))
        option = "keys";
    if (option)
        soma_error_prefix(err, "%s", origin_of(config, option));
    return status;
}

void
soma_access_close(soma_web *web)
{
    soma_keys_free(web->keys);
    soma_rates_free(web->rates);
    soma_tls_close();
}
