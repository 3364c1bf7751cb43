#include "tests/http/server.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { MOST_ARGUMENTS = 32 };

static const char *
environment(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

bool
foreign_server(const char *test)
{
    if (!getenv("SOMA_URL"))
        return false;
    print_message("NOT TESTED against SOMA_URL: %s\n", test);
    return true;
}

static void
nap(long milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static pid_t
spawn(const char *const *arguments, const char *log)
{
    const char *argv[MOST_ARGUMENTS] = {environment("SOMA", "build/gcc/soma")};
    for (int i = 0; arguments[i]; i++)
        argv[i + 1] = arguments[i];
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(fd, STDERR_FILENO);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

static void
read_log(const server *s, char *text, size_t size)
{
    FILE *file = fopen(s->log, "r");
    size_t n = file ? fread(text, 1, size - 1, file) : 0;
    text[n] = '\0';
    if (file)
        fclose(file);
}

void
start_tls_server(server *s, const char *authority, const char *const *arguments)
{
    memset(s, 0, sizeof *s);
    s->authority = authority;
    signal(SIGPIPE, SIG_IGN);
    const char *url = getenv("SOMA_URL");
    if (url) {
        snprintf(s->url, sizeof s->url, "%s", url);
        s->port = atoi(strrchr(url, ':') + 1);
        return;
    }
    const char *all[MOST_ARGUMENTS] = {"serve", "--listen", "127.0.0.1:0",
                                       "--models",
                                       environment("SOMA_MODELS", "models")};
    for (int i = 0; arguments && arguments[i]; i++)
        all[i + 5] = arguments[i];
    snprintf(s->log, sizeof s->log, "/tmp/soma-http-XXXXXX");
    close(mkstemp(s->log));
    s->pid = spawn(all, s->log);
    const char *start = authority ? "https://127.0.0.1:" : "http://127.0.0.1:";
    for (int i = 0; i < 600; i++) {
        char text[1 << 16]; /* each model that recovers has a line before */
        read_log(s, text, sizeof text);
        const char *at = strstr(text, start);
        if (at && strchr(at, '\n')) {
            s->port = atoi(at + strlen(start));
            snprintf(s->url, sizeof s->url, "%s%d", start, s->port);
            return;
        }
        assert_int_equal(waitpid(s->pid, NULL, WNOHANG), 0);
        nap(50);
    }
    fail_msg("the server did not start");
}

void
start_server(server *s, const char *const *arguments)
{
    start_tls_server(s, NULL, arguments);
}

long
memory_peak(const server *s)
{
    char path[64], line[128];
    long peak = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)s->pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %ld", &peak) == 1)
            break;
    fclose(file);
    return peak;
}

static int
exit_code(pid_t pid)
{
    int status;
    for (int i = 0; i < 600; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status)
                                     : 128 + WTERMSIG(status);
        nap(50);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return -1;
}

int
run_soma(const char *const *arguments, char *text, size_t size)
{
    server s = {.log = "/tmp/soma-http-XXXXXX"};
    close(mkstemp(s.log));
    int code = exit_code(spawn(arguments, s.log));
    read_log(&s, text, size);
    unlink(s.log);
    return code;
}

int
stop_server(server *s)
{
    if (!s->pid)
        return 0;
    kill(s->pid, SIGTERM);
    int code = exit_code(s->pid);
    if (code != 0) { /* the end: that is where sanitizers report */
        char command[128];
        snprintf(command, sizeof command, "tail -c 16000 %s", s->log);
        print_message("exit code %d\n", code);
        fflush(stdout);
        if (system(command))
            print_message("no log\n");
    }
    unlink(s->log);
    s->pid = 0;
    return code;
}

int
stop_and_remove(server *s, const char *folder)
{
    char command[128];
    if (getenv("SOMA_URL"))
        return 0;
    int code = stop_server(s);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return code ? code : system(command);
}

void
kill_server(server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    unlink(s->log);
    s->pid = 0;
}

int
soma_says(char *text, size_t size, const char *format, ...)
{
    char command[1024];
    int used = snprintf(command, sizeof command, "%s ",
                        environment("SOMA", "build/gcc/soma"));
    va_list arguments;
    va_start(arguments, format);
    used += vsnprintf(command + used, sizeof command - (size_t)used, format,
                      arguments);
    va_end(arguments);
    assert_true(used + 6 < (int)sizeof command);
    strcat(command, " 2>&1");
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t n = fread(text, 1, size - 1, pipe);
    text[n] = '\0';
    while (fgetc(pipe) != EOF)
        ; /* or it ends by a signal */
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- Requests ---- */

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
    answer *a = arg;
    size_t more = size * count;
    a->body = realloc(a->body, a->size + more + 1);
    assert_non_null(a->body);
    memcpy(a->body + a->size, data, more);
    a->size += more;
    a->body[a->size] = '\0';
    return more;
}

static void
keep_header(const char *line, const char *name, char *to, size_t room)
{
    size_t length = strlen(name);
    if (!strncasecmp(line, name, length) && line[length] == ':')
        snprintf(to, room, "%.*s", (int)strcspn(line + length + 2, "\r\n"),
                 line + length + 2);
}

static size_t
on_header(char *data, size_t size, size_t count, void *arg)
{
    answer *a = arg;
    char line[256];
    snprintf(line, sizeof line, "%.*s", (int)(size * count), data);
    keep_header(line, "Content-Type", a->type, sizeof a->type);
    keep_header(line, "Allow", a->allow, sizeof a->allow);
    keep_header(line, "Retry-After", a->retry, sizeof a->retry);
    char length[24] = "";
    keep_header(line, "Inference-Header-Content-Length", length, sizeof length);
    if (*length)
        a->head = strtoul(length, NULL, 10);
    return size * count;
}

answer
ask_over(void *curl, const server *s, const char *method, const char *path,
         const char *type, const void *body, size_t size, const char *header)
{
    answer a = {0};
    char url[512], content[128];
    struct curl_slist *headers = NULL;
    curl_easy_reset(curl);
    snprintf(url, sizeof url, "%s%s", s->url, path);
    snprintf(content, sizeof content, "Content-Type:%s%s", type ? " " : "",
             type ? type : "");
    headers = curl_slist_append(headers, content);
    headers = curl_slist_append(headers, "Expect:");
    if (header)
        headers = curl_slist_append(headers, header);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (s->authority)
        curl_easy_setopt(curl, CURLOPT_CAINFO, s->authority);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &a);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &a);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)size);
    }
    if (method && !strcmp(method, "HEAD"))
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &a.status);
    curl_slist_free_all(headers);
    if (a.body)
        a.json = json_loadb(a.body, a.head ? a.head : a.size, 0, NULL);
    return a;
}

answer
ask(const server *s, const char *method, const char *path, const char *type,
    const void *body, size_t size)
{
    static CURL *curl; /* one connection, kept alive */
    if (!curl)
        curl = curl_easy_init();
    answer a = ask_over(curl, s, method, path, type, body, size, NULL);
    if (!a.status)
        fail_msg("%s: no answer", path);
    return a;
}

void
free_answer(answer *a)
{
    json_decref(a->json);
    free(a->body);
    *a = (answer){0};
}

answer
post(const server *s, const char *path, const char *json)
{
    return ask(s, NULL, path, "application/json", json, strlen(json));
}

answer
get(const server *s, const char *path)
{
    return ask(s, NULL, path, NULL, NULL, 0);
}

void
wait_until_ready(const server *s)
{
    for (int i = 0; i < 3000; i++) {
        answer a = get(s, "/readyz");
        long status = a.status;
        free_answer(&a);
        if (status == 200)
            return;
        nap(10);
    }
    fail_msg("the server is not ready after 30 s");
}

answer
post_json(const server *s, const char *path, json_t *body)
{
    assert_non_null(body);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    answer a = post(s, path, text);
    free(text);
    return a;
}

void
expect_ok(answer a)
{
    if (a.status != 200)
        fail_msg("status %ld: %s", a.status, a.body ? a.body : "");
    free_answer(&a);
}

void
expect_error(answer a, long status, const char *code, const char *part)
{
    if (a.status != status || !a.json ||
        strcmp(text_of(a.json, "code"), code) != 0 ||
        !strstr(text_of(a.json, "error"), part))
        fail_msg("expected %ld %s \"%s\", got %ld %s", status, code, part,
                 a.status, a.body ? a.body : "");
    free_answer(&a);
}

const char *
text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "(none)";
}

json_int_t
whole_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

double
real_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* ---- Images ---- */

static unsigned char *
unpack(const char *path, size_t header, size_t size)
{
    gzFile file = gzopen(path, "rb");
    unsigned char *all = malloc(header + size);
    assert_non_null(file);
    assert_non_null(all);
    assert_int_equal(gzread(file, all, (unsigned)(header + size)),
                     header + size);
    gzclose(file);
    return all + header;
}

#define FASHION "/usr/share/datasets/fashion-mnist/t10k-"

const unsigned char *
fashion_images(void)
{
    static unsigned char *images;
    if (!images)
        images =
            unpack(FASHION "images-idx3-ubyte.gz", 16, (size_t)10000 * PIXELS);
    return images;
}

const unsigned char *
fashion_labels(void)
{
    static unsigned char *labels;
    if (!labels)
        labels = unpack(FASHION "labels-idx1-ubyte.gz", 8, 10000);
    return labels;
}

json_t *
pixels_of(const unsigned char *bytes, int count)
{
    json_t *array = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(array, json_integer(bytes[i]));
    return array;
}

int
connect_to(const server *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)s->port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

char *
raw(const server *s, const char *bytes, size_t size)
{
    struct timeval limit = {.tv_sec = 1};
    int fd = connect_to(s);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    /* A server that has refused already may not take the rest. */
    if (send(fd, bytes, size, MSG_NOSIGNAL) < (ssize_t)size)
        assert_true(size > 1 << 16);
    char *text = calloc(1, 1 << 16);
    size_t used = 0;
    ssize_t n;
    while (used < (1 << 16) - 1 &&
           (n = recv(fd, text + used, (1 << 16) - 1 - used, 0)) > 0)
        used += (size_t)n;
    close(fd);
    return text;
}

void
shell(const char *format, ...)
{
    char command[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    if (system(command))
        fail_msg("%s", command);
}
