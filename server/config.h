/* The options of `soma serve`, from one table.
 */
#ifndef SOMA_SERVER_CONFIG_H
#define SOMA_SERVER_CONFIG_H

#include "server/options.h"

typedef struct soma_config {
    soma_option_file file;
    bool print;
    const char *listen, *models, *default_model, *data, *journal;
    const char *log_level, *log_format;
    const char *keys, *tls_cert, *tls_key, *cors_origin;
    double rate_limit;
    long workers;
    long max_body, max_rows, request_memory;
    long max_connections, max_connections_per_address;
    long idle_timeout, request_timeout, drain_seconds, stop_seconds;
    long max_waiting;
    double learning_rate, max_learning_rate, momentum, l2, clip, hold, pull;
    long rehearse, stream_memory, max_steps;
    long checkpoint_examples, checkpoint_seconds, keep_checkpoints;
    long keep_examples, keep_keys;
    double keep_days, keep_key_days;
    const char *new_base;
    long remember, remember_seconds;
    const char *guard, *guard_action;
    long guard_every;
    double guard_drop;
} soma_config;

extern const soma_command soma_config_command;

#endif
