#include "server/config.h"

#define AT(field) offsetof(soma_config, field)
#define TEXT(name, value, fallback, field, help)                               \
    {                                                                          \
        name, value, SOMA_OPTION_TEXT, fallback, 0, 0, AT(field), help         \
    }
#define WHOLE(name, value, fallback, low, high, field, help)                   \
    {                                                                          \
        name, value, SOMA_OPTION_WHOLE, fallback, low, high, AT(field), help   \
    }
#define NUMBER(name, value, fallback, low, high, field, help)                  \
    {                                                                          \
        name, value, SOMA_OPTION_NUMBER, fallback, low, high, AT(field), help  \
    }

static const soma_option options[] = {
    TEXT("listen", "HOST:PORT", "127.0.0.1:8080", listen,
         "Address to listen on. Port 0 takes a free one; the log's first line "
         "says which."),
    TEXT("models", "PATH", "models", models,
         "A folder of model files (*.safetensors), all of which are served, "
         "or one model file."),
    TEXT("default-model", "NAME", NULL, default_model,
         "Model of requests that name none. Without it the only one, if there "
         "is only one."),
    TEXT("data", "DIR", NULL, data,
         "Folder for the server's state, made if it is missing. This version "
         "writes nothing there yet: what is taught is kept in memory."),
    WHOLE("workers", "N", "0", 0, 128, workers,
          "Threads that answer requests; 0: one for each core."),
    NUMBER("learning-rate", "X", "0.01", 0, 10, learning_rate,
           "Of the step that each taught example makes."),
    NUMBER("momentum", "X", "0", 0, 0.9999, momentum, "Of those steps."),
    NUMBER("l2", "X", "0", 0, 100, l2,
           "L2 regularisation: each step shrinks the weights by learning rate "
           "times X."),
    NUMBER("clip", "X", "1", 0, 1e9, clip,
           "Largest norm of a step's gradient, so that no single example can "
           "move the weights far; 0 is no bound."),
    WHOLE("max-body", "BYTES", "67108864", 1024, 4294967296.0, max_body,
          "Largest body of a request."),
    WHOLE("request-memory", "BYTES", "536870912", 1048576, 1e12, request_memory,
          "Memory for the bodies and rows of requests above 64 KiB that wait; "
          "beyond it they are answered 503."),
    WHOLE("max-rows", "N", "4096", 1, 1048576, max_rows,
          "Most examples in one request."),
    WHOLE("max-waiting", "N", "4096", 1, 1048576, max_waiting,
          "Most examples that wait to be learned, for each model; beyond it "
          "/train answers 503."),
    WHOLE("max-connections", "N", "4096", 1, 1048576, max_connections,
          "Most open connections."),
    WHOLE("max-connections-per-address", "N", "1024", 1, 1048576,
          max_connections_per_address,
          "Most open connections from one address."),
    WHOLE("idle-timeout", "SECONDS", "75", 1, 86400, idle_timeout,
          "A connection on which nothing moves for so long is closed."),
    WHOLE("drain", "SECONDS", "10", 0, 3600, drain,
          "How long requests that have begun may take to end after SIGTERM."),
    TEXT("log-level", "LEVEL", "info", log_level,
         "debug (a line for each request), info, warning or error."),
    TEXT("log-format", "FORMAT", "text", log_format, "text or json."),
    {.name = NULL},
};

const soma_command soma_config_command = {
    "serve",
    "[options]",
    "Serves models over HTTP: POST /predict answers, POST /train teaches.",
    options,
    0,
    0};
