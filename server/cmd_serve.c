/* soma serve: wires registry, workers and signals together. */
#include "core/matrix.h"
#include "server/command.h"
#include "server/config.h"
#include "server/engine/clock.h"
#include "server/engine/log.h"
#include "server/engine/thread.h"
#include "server/serve_access.h"
#include "server/web/http.h"
#include "server/web/listen.h"
#include "server/web/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct server {
    soma_config config;
    soma_registry registry;
    soma_web web;
    char host[256], port[8];
    int created, started; /* workers */
    int lock;             /* descriptor of the data folder's lock, or -1 */
} server;

static const char *
origin_of(const server *s, const char *option)
{
    return soma_options_origin(&soma_config_command, &s->config.file, option);
}

/* "host:port", "[::1]:port" or ":port" (all addresses). */
static soma_status
split_listen(const char *text, server *s, soma_error *err)
{
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;
    if (colon && length >= 2 && text[0] == '[' && text[length - 1] == ']') {
        text++;
        length -= 2;
    }
    if (!colon || length >= sizeof s->host || !colon[1] ||
        strlen(colon + 1) >= sizeof s->port)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%s: expected HOST:PORT, got \"%s\"",
                              origin_of(s, "listen"), s->config.listen);
    if (!soma_listen_is_port(colon + 1))
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%s: expected a port from 0 to 65535, got \"%s\"",
                              origin_of(s, "listen"), s->config.listen);
    memcpy(s->host, text, length);
    s->host[length] = '\0';
    memcpy(s->port, colon + 1, strlen(colon + 1) + 1);
    s->web.options.host = length ? s->host : NULL;
    s->web.options.port = s->port;
    return SOMA_OK;
}

/* Vertex AI says by its environment where it will ask; the command line and
 * SOMA_LISTEN count more. */
static soma_status
adopt_port(soma_error *err)
{
    const char *port = getenv("AIP_HTTP_PORT");
    char listen[32];
    if (!port)
        return SOMA_OK;
    if (!*port || strlen(port) > 5 || port[strspn(port, "0123456789")])
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "AIP_HTTP_PORT: expected a port, got \"%.64s\"",
                              port);
    snprintf(listen, sizeof listen, "0.0.0.0:%s", port);
    setenv("SOMA_LISTEN", listen, 0);
    return SOMA_OK;
}

static soma_status
adopt_routes(soma_web_options *options, soma_error *err)
{
    const char *names[] = {"AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"};
    const char **routes[] = {&options->health_route, &options->predict_route};
    for (int i = 0; i < 2; i++) {
        const char *route = getenv(names[i]);
        if (route && *route != '/')
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "%s: expected a path that begins with /, got "
                                  "\"%.64s\"",
                                  names[i], route);
        *routes[i] = route;
    }
    return SOMA_OK;
}

static void
set_up_log(const soma_config *config)
{
    soma_log_setup((soma_log_level)soma_log_level_find(config->log_level),
                   !strcmp(config->log_format, "json"));
}

static void
set_up_web(server *s)
{
    const soma_config *c = &s->config;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    long workers = c->workers ? c->workers : cores < 1 ? 1 : cores;
    soma_web_options *o = &s->web.options;
    o->workers =
        workers < SOMA_KEEPER_READER ? (int)workers : SOMA_KEEPER_READER;
    o->version = SOMA_VERSION;
    o->max_body = (size_t)c->max_body;
    o->request_memory = (size_t)c->request_memory;
    o->max_rows = (int)c->max_rows;
    o->max_connections = (int)c->max_connections;
    o->max_connections_per_address = (int)c->max_connections_per_address;
    o->idle_timeout = (int)c->idle_timeout;
    o->request_timeout = (int)c->request_timeout;
    o->stop_seconds = (int)c->stop_seconds;
    o->cors_origins = c->cors_origin;
    o->rate_limit = c->rate_limit;
    o->max_learning_rate = c->max_learning_rate;
    o->versions = c->journal != NULL;
    s->web.registry = &s->registry;
}

/* As many descriptors as the system lets us have: connections need them. */
static void
raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static soma_status
data_error(const server *s, soma_error *err, const char *doing,
           const char *path)
{
    soma_error_errno(err, doing, path);
    soma_error_prefix(err, "%s", origin_of(s, "data"));
    return err->status;
}

static soma_status
check_journal(const server *s, soma_error *err)
{
    soma_status status = soma_journal_redis_check(s->config.journal, err);
    if (!status && strcmp(s->config.new_base, "refuse"))
        status = soma_error_set(err, SOMA_E_ARGUMENT,
                                "--new-base is for journals in a folder "
                                "(--data)");
    if (status)
        soma_error_prefix(err, "%s", origin_of(s, "journal"));
    return status;
}

/* Makes the folder, and locks it: two servers must not write the same
 * journals. The lock is the process's, and ends with it. */
static soma_status
open_data(server *s, soma_error *err)
{
    struct stat st;
    char path[PATH_MAX];
    const char *folder = s->config.data;
    s->lock = -1;
    if (s->config.journal)
        return check_journal(s, err);
    if (!folder)
        return SOMA_OK;
    if (mkdir(folder, 0700) && errno != EEXIST)
        return data_error(s, err, "making", folder);
    if (stat(folder, &st) == 0 && !S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return data_error(s, err, "opening", folder);
    }
    snprintf(path, sizeof path, "%s/soma.lock", folder);
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock < 0)
        return data_error(s, err, "making", path);
    if (flock(s->lock, LOCK_EX | LOCK_NB))
        return errno == EWOULDBLOCK
                   ? soma_error_set(err, SOMA_E_CONFLICT,
                                    "%s: %s: another soma is using it",
                                    origin_of(s, "data"), folder)
                   : data_error(s, err, "locking", path);
    return SOMA_OK;
}

/* Of three words; the option's row has let no other one in. */
static int
place_of(const char *word, const char *const words[3])
{
    int i = 2;
    while (i > 0 && strcmp(word, words[i]))
        i--;
    return i;
}

static void
find_words(const soma_config *c, soma_trainer_options *options)
{
    static const char *const bases[] = {[SOMA_BASE_REFUSE] = "refuse",
                                        [SOMA_BASE_RESTART] = "restart",
                                        [SOMA_BASE_RELEARN] = "relearn"};
    static const char *const actions[] = {[SOMA_GUARD_STOP] = "stop",
                                          [SOMA_GUARD_ROLL_BACK] = "rollback",
                                          [SOMA_GUARD_WARN] = "warn"};
    options->new_base = (soma_new_base)place_of(c->new_base, bases);
    options->guard_action =
        (soma_guard_action)place_of(c->guard_action, actions);
}

static soma_status
open_registry(server *s, soma_error *err)
{
    const soma_config *c = &s->config;
    static const double day = 86400e3; /* milliseconds */
    soma_registry_options options = {
        .models = c->models,
        .default_model = c->default_model,
        .guards = c->guard,
        .recall = (int)c->remember,
        .recall_seconds = c->remember_seconds,
        .trainer = {.learning = {.rule = SOMA_LEARNING_RULE,
                                 .sgd = {.rate = (float)c->learning_rate,
                                         .momentum = (float)c->momentum,
                                         .l2 = (float)c->l2,
                                         .clip = (float)c->clip},
                                 .rehearse = (int32_t)c->rehearse,
                                 .memory = (int32_t)c->stream_memory,
                                 .max_steps = (int32_t)c->max_steps,
                                 .hold = (float)c->hold,
                                 .pull = (float)c->pull},
                    .guard_every = c->guard_every,
                    .guard_drop = c->guard_drop,
                    .max_waiting = (int)c->max_waiting,
                    .data = c->journal ? NULL : c->data,
                    .journal = c->journal,
                    .journal_bytes = 64 << 20,
                    .checkpoint_examples = c->checkpoint_examples,
                    .checkpoint_seconds = c->checkpoint_seconds,
                    .keep = {.keep_examples = (uint64_t)c->keep_examples,
                             .keep_since = (int64_t)(c->keep_days * day),
                             .keep_checkpoints = (int)c->keep_checkpoints,
                             .keep_keys = (uint64_t)c->keep_keys,
                             .keys_since = (int64_t)(c->keep_key_days * day)}}};
    find_words(c, &options.trainer);
    return soma_registry_open(&s->registry, &options, err);
}

static soma_status
open_workers(server *s, soma_error *err)
{
    int count = s->web.options.workers;
    s->web.workers = calloc((size_t)count, sizeof *s->web.workers);
    if (!s->web.workers)
        return soma_error_memory(err, "workers");
    soma_status status = SOMA_OK;
    while (s->created < count && !status) {
        status = soma_worker_create(&s->web.workers[s->created], &s->web,
                                    s->created, err);
        s->created++;
    }
    return status;
}

static soma_status
start_workers(server *s, soma_error *err)
{
    soma_status status = SOMA_OK;
    while (s->started < s->created && !status) {
        soma_worker *worker = &s->web.workers[s->started];
        status = soma_thread_start(&worker->thread, "worker", soma_http_run,
                                   worker, err);
        s->started += !status;
    }
    return status;
}

static void
announce(server *s)
{
    char address[300], workers[16], models[16];
    soma_served *list[SOMA_MAX_MODELS] = {NULL};
    bool v6 = strchr(s->host, ':') != NULL;
    snprintf(address, sizeof address, "%s://%s%s%s:%d",
             s->config.tls_cert ? "https" : "http", v6 ? "[" : "",
             s->host[0] ? s->host : "0.0.0.0", v6 ? "]" : "",
             soma_http_port(&s->web.workers[0]));
    snprintf(workers, sizeof workers, "%d", s->created);
    soma_readers_enter(&s->registry.readers, SOMA_MAIN_READER);
    int count = soma_registry_list(&s->registry, list);
    snprintf(models, sizeof models, "%d", count);
    soma_log(SOMA_LOG_INFO, "serving", "address", address, "models", models,
             "workers", workers, "release", SOMA_VERSION, NULL);
    for (int i = 0; i < count; i++) {
        char parameters[24];
        snprintf(parameters, sizeof parameters, "%zu", list[i]->spec.trainable);
        soma_log(SOMA_LOG_INFO, "model", "name", list[i]->name, "parameters",
                 parameters, NULL);
    }
    soma_readers_leave(&s->registry.readers, SOMA_MAIN_READER);
    soma_access_warn(&s->config, s->host);
    if (!s->config.data && !s->config.journal)
        soma_log(SOMA_LOG_WARNING, "not-durable", "text",
                 "without --data what is taught is gone when the server ends",
                 NULL);
}

/* The handler may run on any thread, those that the BLAS has started by
 * itself included; so it only passes the signal on to the main one. */
static int signal_pipe[2];

static void
on_signal(int number)
{
    int kept = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t written = write(signal_pipe[1], &byte, 1);
    (void)written; /* a pipe that is full holds a signal already */
    errno = kept;
}

static soma_status
catch_signals(soma_error *err)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK))
        return soma_error_errno(err, "creating", "a pipe");
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    return SOMA_OK;
}

/* Waits so many milliseconds for a signal, -1: for ever. */
static bool
is_signalled(int milliseconds)
{
    struct pollfd wait = {.fd = signal_pipe[0], .events = POLLIN};
    return poll(&wait, 1, milliseconds) > 0;
}

/* Requests are answered meanwhile, 503 by the models that are not there yet.
 * A signal ends the waiting, and then the server. */
static soma_status
wait_for_recovery(server *s, soma_error *err)
{
    soma_status status;
    int turns = 0;
    while ((status = soma_registry_recovered(&s->registry, err)) ==
               SOMA_E_BUSY &&
           !is_signalled(turns < 50 ? 1 : 20))
        if (++turns % 100 == 0)
            soma_log(SOMA_LOG_INFO, "recovering", "text", err->text, NULL);
    if (status == SOMA_E_BUSY)
        return SOMA_OK;
    if (!status)
        atomic_store(&s->web.ready, true);
    return status;
}

/* Until one comes that ends the server; SIGHUP asks for the models folder to
 * be looked at again. */
static bool
wait_for_end(server *s)
{
    unsigned char number;
    while (read(signal_pipe[0], &number, 1) != 1)
        is_signalled(-1);
    if (number == SIGHUP) {
        soma_registry_rescan(&s->registry);
        return false;
    }
    soma_log(SOMA_LOG_INFO, "stopping", "signal",
             number == SIGINT ? "SIGINT" : "SIGTERM", NULL);
    return true;
}

/* Not ready any more, and everyone is told to close; but whoever has not heard
 * yet is served, until the time is over or another signal comes. */
static void
drain(server *s)
{
    unsigned char number;
    char seconds[24];
    uint64_t now = soma_clock_ticks();
    uint64_t end = now + (uint64_t)s->config.drain_seconds * 1000000;
    atomic_store(&s->web.draining, true);
    snprintf(seconds, sizeof seconds, "%ld", s->config.drain_seconds);
    soma_log(SOMA_LOG_INFO, "draining", "seconds", seconds, NULL);
    for (; now < end; now = soma_clock_ticks())
        if (is_signalled((int)((end - now + 999) / 1000)) &&
            read(signal_pipe[0], &number, 1) == 1 && number != SIGHUP)
            break;
}

/* Workers end first, when what they accepted is answered; then the trainers;
 * then the memory that they shared. */
static void
shut_down(server *s)
{
    atomic_store(&s->web.draining, true);
    atomic_store(&s->web.stopping, true);
    for (int i = 0; i < s->started; i++)
        soma_http_wake(&s->web.workers[i]);
    for (int i = 0; i < s->started; i++)
        pthread_join(s->web.workers[i].thread, NULL);
    soma_registry_stop_learning(&s->registry);
    for (int i = 0; i < s->created; i++)
        soma_worker_free(&s->web.workers[i]);
    free(s->web.workers);
    soma_registry_close(&s->registry);
    soma_access_close(&s->web);
}

static soma_status
serve(server *s, soma_error *err)
{
    soma_status status = split_listen(s->config.listen, s, err);
    set_up_log(&s->config);
    if (!status)
        status = adopt_routes(&s->web.options, err);
    if (!status)
        status = catch_signals(err);
    if (status)
        return status;
    set_up_web(s);
    raise_limits();
    status = soma_access_open(&s->config, &s->web, err);
    if (!status)
        status = open_data(s, err);
    if (!status)
        status = open_registry(s, err);
    if (!status)
        status = open_workers(s, err);
    if (!status)
        status = start_workers(s, err);
    if (!status) {
        announce(s);
        do
            status = wait_for_recovery(s, err);
        while (!status && !wait_for_end(s));
        if (!status)
            drain(s);
    }
    shut_down(s);
    if (s->lock >= 0)
        close(s->lock);
    if (!status)
        soma_log(SOMA_LOG_INFO, "stopped", NULL);
    return status;
}

int
soma_cmd_serve(int argc, char **argv)
{
    static server s;
    soma_error err;
    if (adopt_port(&err))
        return soma_command_fail(&err);
    int code =
        soma_command_start(&soma_config_command, argc, argv, &s.config, NULL);
    if (code >= 0)
        return code;
    return serve(&s, &err) ? soma_command_fail(&err) : SOMA_EXIT_OK;
}
