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

#define WORD(name, words, fallback, field, help)                               \
    {                                                                          \
        name, words, SOMA_OPTION_WORD, fallback, 0, 0, AT(field), help         \
    }

static const soma_option options[] = {
    {"config", "FILE", SOMA_OPTION_FILE, NULL, 0, 0, AT(file),
     "A JSON object of options: {\"workers\": 2, \"log-format\": "
     "\"json\"}."},
    {"print-config", NULL, SOMA_OPTION_PRINT, NULL, 0, 0, AT(print),
     "Show each option's value and where it came from, and end."},
    TEXT("listen", "HOST:PORT", "127.0.0.1:8080", listen,
         "Address to listen on. Port 0 takes a free one; the log's first line "
         "says which."),
    TEXT("keys", "FILE", NULL, keys,
         "Who may predict, train and administer: a file of lines that `soma "
         "key` makes, looked at again when it changes. Without it everyone "
         "may."),
    TEXT("tls-cert", "FILE", NULL, tls_cert,
         "Serve HTTPS: the certificate and its chain, PEM, looked at again "
         "when it changes."),
    TEXT("tls-key", "FILE", NULL, tls_key, "Its private key, PEM."),
    NUMBER("rate-limit", "N", "0", 0, 1e9, rate_limit,
           "Most requests a second with one key, and from one address without "
           "a key; beyond it they are answered 429. 0: no limit."),
    TEXT("cors-origin", "ORIGIN,...", NULL, cors_origin,
         "Origins whose pages may ask and read answers in a browser "
         "(https://a.example), or *. Without it only the server's own page "
         "may."),
    TEXT("models", "PATH", "models", models,
         "A folder of model files (*.safetensors), all of which are served, "
         "or one model file."),
    TEXT("default-model", "NAME", NULL, default_model,
         "Model of requests that name none. Without it the only one, if there "
         "is only one."),
    TEXT("data", "DIR", NULL, data,
         "Folder for what is learned, made if it is missing: a journal "
         "NAME.db for each model. Without it all is gone when the server "
         "ends."),
    TEXT(
        "journal", "URL", NULL, journal,
        "redis://[[USER:]PASSWORD@]HOST[:PORT][/DB]: what is learned is kept "
        "in Redis Streams, which several replicas share. Or of Sentinels: "
        "redis+sentinel://[[USER:]PASSWORD@]HOST[:PORT][,...]/MASTER[/DB]. Or of "
        "some nodes of a cluster: "
        "redis+cluster://[[USER:]PASSWORD@]HOST[:PORT][,...]. With "
        "TLS: rediss, and ?ca=FILE&cert=FILE&key=FILE at the end. In place of "
        "--data."),
    WHOLE("workers", "N", "0", 0, 128, workers,
          "Threads that answer requests; 0: one for each core."),
    NUMBER("learning-rate", "X", "0.05", 0, 10, learning_rate,
           "Of the steps that each taught example makes."),
    NUMBER("max-learning-rate", "X", "1", 0, 10, max_learning_rate,
           "The most that a request may ask for with \"learning_rate\"."),
    NUMBER("momentum", "X", "0", 0, 0.9999, momentum, "Of those steps."),
    NUMBER("l2", "X", "0", 0, 100, l2,
           "L2 regularisation: each step shrinks the weights by learning rate "
           "times X."),
    NUMBER("clip", "X", "2", 0, 1e9, clip,
           "Largest norm of a step's gradient: no example can move the weights "
           "farther than learning rate times X times --max-steps; 0 is no "
           "bound."),
    WHOLE("rehearse", "N", "15", 0, 1023, rehearse,
          "Examples that are learned again beside each new one, so that it "
          "does not undo the rest: of the memory in the model file and of what "
          "was taught before. 0 is plain SGD."),
    WHOLE("stream-memory", "N", "1000", 0, 1048576, stream_memory,
          "Taught examples that are kept for that, a sample of all."),
    WHOLE("max-steps", "N", "10", 1, 1000, max_steps,
          "Steps that one example may take until it is answered as taught."),
    NUMBER("hold", "X", "0.2", 0, 1000, hold,
           "How strongly answers for the memory in the model file are held to "
           "what they were."),
    NUMBER("pull", "X", "0.03", 0, 1000, pull,
           "For model files without a memory: how strongly each example pulls "
           "the weights back to the file's."),
    TEXT("guard", "NAME=PATH,...", NULL, guard,
         "Datasets whose test examples models are judged by, in place of those "
         "in their files; at most 2000 of each are taken."),
    WHOLE("guard-every", "N", "100", 0, 1e9, guard_every,
          "Judge a model after so many examples; 0: never."),
    NUMBER("guard-drop", "POINTS", "25", 0, 100, guard_drop,
           "Points of accuracy on its guard examples that a model may lose, "
           "beside its file, before --guard-action."),
    WORD("guard-action", "stop|rollback|warn", "stop", guard_action,
         "stop (learn nothing more, /train answers 503), rollback (to the last "
         "version that was good, and go on) or warn (in the log)."),
    WHOLE("remember", "N", "10000", 0, 1e6, remember,
          "Inputs to remember for each model, where /predict is asked to "
          "(\"remember\": true), so that their labels can come later."),
    WHOLE("remember-seconds", "SECONDS", "3600", 1, 1e9, remember_seconds,
          "How long to remember them."),
    WHOLE("checkpoint-examples", "N", "2000", 1, 1e9, checkpoint_examples,
          "A checkpoint after so many examples, so that a start replays no "
          "more than these."),
    WHOLE("checkpoint-seconds", "SECONDS", "300", 1, 1e9, checkpoint_seconds,
          "A checkpoint after so long, if anything was learned."),
    WHOLE("keep-checkpoints", "N", "3", 2, 1e6, keep_checkpoints,
          "Newest checkpoints to keep."),
    WHOLE("keep-examples", "N", "0", 0, 1e15, keep_examples,
          "Newest examples to keep in the journal; 0: all. Versions before "
          "the oldest one cannot be gone back to."),
    NUMBER("keep-days", "DAYS", "0", 0, 1e6, keep_days,
           "How long to keep them; 0: for ever."),
    WHOLE("keep-keys", "N", "100000", 0, 1e9, keep_keys,
          "Newest Idempotency-Keys to remember; 0: all."),
    NUMBER("keep-key-days", "DAYS", "7", 0, 1e6, keep_key_days,
           "How long to remember them; 0: for ever."),
    WORD("new-base", "refuse|restart|relearn", "refuse", new_base,
         "When a model file is not the one that its journal began with: "
         "refuse to start, restart (set the journal aside, begin anew) or "
         "relearn (the same, with its examples)."),
    WHOLE("max-body", "BYTES", "67108864", 1024, 4294967296.0, max_body,
          "Largest body of a request."),
    WHOLE("request-memory", "BYTES", "536870912", 1048576, 1e12, request_memory,
          "Memory for the bodies, rows and answers of requests above 64 KiB "
          "that wait or are not taken; beyond it they are answered 503."),
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
    WHOLE("request-timeout", "SECONDS", "30", 1, 86400, request_timeout,
          "How long a request may take to come, and its answer to be taken, "
          "however steadily; then its connection is closed."),
    WHOLE("drain-seconds", "N", "0", 0, 3600, drain_seconds,
          "How long to serve on after SIGTERM, while /readyz says 503, so that "
          "balancers can look away; a second SIGTERM ends it."),
    WHOLE("stop-seconds", "N", "10", 0, 3600, stop_seconds,
          "How long requests that have begun may then take to end."),
    WORD("log-level", "debug|info|warning|error", "info", log_level,
         "debug (a line for each request), info, warning or error."),
    WORD("log-format", "text|json", "text", log_format, "text or json."),
    {.name = NULL},
};

_Static_assert(sizeof options / sizeof *options <= SOMA_OPTIONS_MAX,
               "soma_option_file has too few rows");

const soma_command soma_config_command = {
    "serve",
    "[options]",
    "Serves models over HTTP: POST /predict answers, POST /train teaches.",
    options,
    0,
    0};
