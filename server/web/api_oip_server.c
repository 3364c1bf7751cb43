/* GET and POST /v2/logging: Triton's logging extension, by its names. There is
 * one threshold here: debug is log_verbose_level 1, info log_info, and so on.
 */
#include "server/engine/log.h"
#include "server/web/api.h"
#include "server/web/oip.h"

#include <string.h>

soma_outcome
soma_api_oip_logging(soma_request *request)
{
    soma_log_level least = soma_log_least();
    return soma_reply_json(
        request, json_pack("{s:s, s:b, s:b, s:b, s:i, s:s}", "log_file", "",
                           "log_info", least <= SOMA_LOG_INFO, "log_warning",
                           least <= SOMA_LOG_WARNING, "log_error", 1,
                           "log_verbose_level", least == SOMA_LOG_DEBUG,
                           "log_format", "default"));
}

/* What is wanted: as it is now, and as the request changes it. */
typedef struct levels {
    int verbose, info, warning, error;
} levels;

static bool
take_flag(const json_t *value, const char *name, int *flag,
          soma_refusal *refusal)
{
    *flag = json_is_true(value);
    return json_is_boolean(value) ||
           soma_refuse(refusal, 400, "bad_log_setting",
                       "\"%s\": expected true or false", name);
}

static bool
take_fixed(const json_t *value, const char *name, const char *fixed,
           soma_refusal *refusal)
{
    const char *text = json_string_value(value);
    return (text && !strcmp(text, fixed)) ||
           soma_refuse(refusal, 400, "bad_log_setting",
                       "\"%s\" cannot be changed: the log goes to stderr, its "
                       "format is --log-format",
                       name);
}

static bool
take_setting(const char *name, const json_t *value, levels *l,
             soma_refusal *refusal)
{
    if (json_is_null(value))
        return true;
    if (!strcmp(name, "log_info"))
        return take_flag(value, name, &l->info, refusal);
    if (!strcmp(name, "log_warning"))
        return take_flag(value, name, &l->warning, refusal);
    if (!strcmp(name, "log_error"))
        return take_flag(value, name, &l->error, refusal);
    if (!strcmp(name, "log_file"))
        return take_fixed(value, name, "", refusal);
    if (!strcmp(name, "log_format"))
        return take_fixed(value, name, "default", refusal);
    if (strcmp(name, "log_verbose_level"))
        return soma_refuse(refusal, 400, "bad_log_setting",
                           "there is no log setting \"%.64s\"", name);
    l->verbose = json_integer_value(value) > 0;
    return (json_is_integer(value) && json_integer_value(value) >= 0) ||
           soma_refuse(refusal, 400, "bad_log_setting",
                       "\"%s\": expected a whole number, 0 or more", name);
}

soma_outcome
soma_api_oip_set_logging(soma_request *request)
{
    soma_refusal refusal;
    soma_document document = {0};
    const char *name;
    json_t *value;
    soma_log_level least = soma_log_least();
    levels l = {least == SOMA_LOG_DEBUG, least <= SOMA_LOG_INFO,
                least <= SOMA_LOG_WARNING, 1};
    soma_input_own(request);
    bool good = soma_input_json(request, &document, &refusal);
    if (good)
        json_object_foreach (document.json, name, value)
            good = good && take_setting(name, value, &l, &refusal);
    soma_document_free(&document);
    if (!good)
        return soma_reply_refusal(request, &refusal);
    soma_log_set_least(l.verbose   ? SOMA_LOG_DEBUG
                       : l.info    ? SOMA_LOG_INFO
                       : l.warning ? SOMA_LOG_WARNING
                                   : SOMA_LOG_ERROR);
    return soma_api_oip_logging(request);
}
