#include "tests/replicas/redis.h"

#include "tests/http/server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 400, PAUSE = 25 };

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

static bool
answers(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char reply[8] = "";
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool up = !connect(fd, (struct sockaddr *)&address, sizeof address) &&
              send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 &&
              read(fd, reply, sizeof reply) > 0 && !strncmp(reply, "+PONG", 5);
    close(fd);
    return up;
}

void
redis_run(redis_server *redis)
{
    char port[16];
    struct timespec pause = {0, PAUSE * 1000000L};
    snprintf(port, sizeof port, "%d", redis->port);
    redis->pid = fork();
    assert_true(redis->pid >= 0);
    if (redis->pid == 0) {
        int fd = open("/dev/null", O_WRONLY);
        dup2(fd, STDOUT_FILENO);
        execlp("redis-server", "redis-server", "--bind", "127.0.0.1", "--port",
               port, "--dir", redis->folder, "--save", "", "--appendonly",
               "yes", "--appendfsync", "always", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < TRIES && !answers(redis->port); i++) {
        assert_int_equal(waitpid(redis->pid, NULL, WNOHANG), 0);
        nanosleep(&pause, NULL);
    }
    assert_true(answers(redis->port));
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
    snprintf(redis->folder, sizeof redis->folder, "/tmp/soma-redis-XXXXXX");
    assert_non_null(mkdtemp(redis->folder));
    redis->port = free_port();
    snprintf(redis->url, sizeof redis->url, "redis://127.0.0.1:%d/0",
             redis->port);
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
