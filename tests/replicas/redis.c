#include "tests/replicas/redis.h"

#include "tests/http/server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void
nap(void)
{
    struct timespec pause = {0, 25 * 1000000L};
    nanosleep(&pause, NULL);
}

static int
free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* False: it is not there. */
static bool
asked(int port, const char *words, char *reply, size_t room)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char line[1024];
    int size = snprintf(line, sizeof line, "%s\r\n", words);
    assert_true((size_t)size < sizeof line);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ssize_t got = -1;
    if (!connect(fd, (struct sockaddr *)&address, sizeof address) &&
        send(fd, line, (size_t)size, MSG_NOSIGNAL) == size)
        got = read(fd, reply, room - 1);
    close(fd);
    reply[got > 0 ? got : 0] = '\0';
    return got > 0;
}

void
redis_ask(int port, const char *words, char *reply, size_t size)
{
    assert_true(asked(port, words, reply, size));
}

static bool
says(int port, const char *words, const char *part)
{
    char reply[4096];
    return asked(port, words, reply, sizeof reply) && strstr(reply, part);
}

static bool
answers(int port)
{
    return says(port, "PING", "+PONG");
}

void
redis_expect(int port, const char *words, const char *part)
{
    char reply[4096] = "";
    for (int i = 0; i < TRIES; i++) {
        if (asked(port, words, reply, sizeof reply) && strstr(reply, part))
            return;
        nap();
    }
    fail_msg("%s: no answer with %s, but %s", words, part, reply);
}

static void
spawn(redis_server *redis, const char *const *arguments)
{
    redis->pid = fork();
    assert_true(redis->pid >= 0);
    if (redis->pid == 0) {
        int fd = open("/dev/null", O_WRONLY);
        dup2(fd, STDOUT_FILENO);
        execvp("redis-server", (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    for (int i = 0; i < TRIES && !answers(redis->port); i++) {
        assert_int_equal(waitpid(redis->pid, NULL, WNOHANG), 0);
        nap();
    }
    assert_true(answers(redis->port));
}

void
redis_run(redis_server *redis)
{
    char port[16], master[16], tls[16], bus[16], files[3][96];
    snprintf(port, sizeof port, "%d", redis->port);
    snprintf(master, sizeof master, "%d", redis->master);
    snprintf(tls, sizeof tls, "%d", redis->tls);
    snprintf(bus, sizeof bus, "%d", redis->bus);
    const char *names[] = {"ca.crt", "redis.crt", "redis.key"};
    for (int i = 0; i < 3; i++)
        snprintf(files[i], sizeof files[i], "%s/%s", redis->folder, names[i]);
    enum { COMMON = 13, MOST = 40 };
    const char *arguments[MOST] = {
        "redis-server", "--bind",        "127.0.0.1", "--port", port,
        "--dir",        redis->folder,   "--save",    "",       "--appendonly",
        "yes",          "--appendfsync", "always"};
    const char *replica[] = {"--replicaof", "127.0.0.1", master};
    const char *secret[] = {
        "--tls-port",      tls,      "--tls-ca-cert-file", files[0],
        "--tls-cert-file", files[1], "--tls-key-file",     files[2]};
    const char *node[] = {
        "--cluster-enabled",      "yes", "--cluster-port", bus,
        "--cluster-node-timeout", "500", "--tls-cluster",  "yes",
        "--tls-replication",      "yes"};
    const char **end = arguments + COMMON;
    if (redis->master)
        end = mempcpy(end, replica, sizeof replica);
    if (redis->bus)
        end = mempcpy(end, node, sizeof node);
    if (redis->tls)
        memcpy(end, secret, sizeof secret);
    spawn(redis, arguments);
}

static void
make_folder(redis_server *redis)
{
    *redis = (redis_server){.port = free_port()};
    snprintf(redis->folder, sizeof redis->folder, "/tmp/soma-redis-XXXXXX");
    assert_non_null(mkdtemp(redis->folder));
}

static void
make_certificates(const char *folder)
{
    shell("cd %s && for name in ca other; do openssl req -x509 -nodes "
          "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout $name.key "
          "-out $name.crt -days 30 -subj /CN=$name; done 2>/dev/null",
          folder);
    shell("cd %s && openssl req -nodes -newkey ec "
          "-pkeyopt ec_paramgen_curve:P-256 -keyout redis.key -out redis.csr "
          "-subj /CN=redis -addext subjectAltName=IP:127.0.0.1 2>/dev/null && "
          "openssl x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -days 30 "
          "-copy_extensions copy -out redis.crt 2>/dev/null",
          folder);
}

void
redis_begin_node(redis_server *redis, const redis_server *first)
{
    make_folder(redis);
    if (first)
        shell("cp %s/*.crt %s/*.key %s", first->folder, first->folder,
              redis->folder);
    else
        make_certificates(redis->folder);
    redis->bus = free_port();
    redis->tls = free_port();
    redis_run(redis);
}

void
redis_begin_replica(redis_server *redis, const redis_server *master)
{
    make_folder(redis);
    redis->master = master->port;
    redis_run(redis);
    redis_expect(redis->port, "INFO replication", "master_link_status:up");
}

void
redis_begin_sentinel(redis_server *redis, const redis_server *master)
{
    char path[96];
    make_folder(redis);
    snprintf(path, sizeof path, "%s/sentinel.conf", redis->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "bind 127.0.0.1\nport %d\ndir %s\n"
            "sentinel monitor soma 127.0.0.1 %d 1\n"
            "sentinel down-after-milliseconds soma 500\n"
            "sentinel failover-timeout soma 3000\n",
            redis->port, redis->folder, master->port);
    assert_int_equal(fclose(file), 0);
    const char *arguments[] = {"redis-server", path, "--sentinel", NULL};
    spawn(redis, arguments);
    snprintf(redis->url, sizeof redis->url,
             "redis+sentinel://127.0.0.1:%d/soma", redis->port);
    redis_expect(redis->port, "SENTINEL masters", "num-slaves\r\n$1\r\n1");
}

bool
redis_begin(redis_server *redis)
{
    *redis = (redis_server){.port = 0};
    if (system("command -v redis-server >/dev/null")) {
        print_message("NOT TESTED: there is no redis-server (make "
                      "test-deps)\n");
        return false;
    }
    make_folder(redis);
    snprintf(redis->url, sizeof redis->url, "redis://127.0.0.1:%d/0",
             redis->port);
    redis_run(redis);
    return true;
}

bool
redis_begin_tls(redis_server *redis)
{
    if (!redis_begin(redis))
        return false;
    redis_kill(redis);
    make_certificates(redis->folder);
    redis->tls = free_port();
    redis_run(redis);
    return true;
}

void
redis_kill(redis_server *redis)
{
    kill(redis->pid, SIGKILL);
    waitpid(redis->pid, NULL, 0);
    redis->pid = 0;
}

void
redis_end(redis_server *redis)
{
    char command[96];
    if (redis->pid)
        redis_kill(redis);
    if (!redis->port)
        return;
    snprintf(command, sizeof command, "rm -rf %s", redis->folder);
    assert_int_equal(system(command), 0);
}
