/* The floor of the bench: libmicrohttpd answering any body with a constant of
 * the size of a prediction, on one thread, as fast as it can. Prints its
 * port. */
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char constant[] =
    "{\"model\":\"cifar10\",\"version\":0,\"label\":3,\"class\":\"cat\","
    "\"probabilities\":[0.0059922934,0.0017761793,0.00944974,0.54692334,"
    "0.016486663,0.36357215,0.00012728698,0.00008950464,0.05524615,"
    "0.00033673958]}\n";

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url,
           const char *method, const char *version, const char *data,
           size_t *size, void **context)
{
    static int begun;
    (void)arg, (void)url, (void)method, (void)version, (void)data;
    if (!*context) {
        *context = &begun;
        return MHD_YES;
    }
    if (*size) {
        *size = 0;
        return MHD_YES;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        sizeof constant - 1, (void *)(size_t)constant, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, "Content-Type", "application/json");
    enum MHD_Result queued = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return queued;
}

int
main(void)
{
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL,
                         on_request, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)65536, MHD_OPTION_CONNECTION_LIMIT, 4096u,
                         MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024u, MHD_OPTION_END);
    if (!daemon)
        return 1;
    printf("%d\n",
           MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    pause();
    return 0;
}
