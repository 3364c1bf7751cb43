#include "server/engine/writer.h"

#include "server/engine/clock.h"
#include "server/engine/share.h"
#include "server/engine/thread.h"

#include <sched.h>

static void *
writer_main(void *arg)
{
    soma_writer *writer = arg;
    pthread_mutex_lock(&writer->lock);
    while (!writer->stop) {
        soma_journal *journal = writer->journal;
        if (!journal) {
            pthread_cond_wait(&writer->changed, &writer->lock);
            continue;
        }
        pthread_mutex_unlock(&writer->lock);
        soma_error err;
        uint64_t began = soma_clock_ticks();
        soma_share_begin();
        soma_status status =
            journal->backend->append(journal, writer->group, &err);
        soma_share_end();
        uint64_t ticks = soma_clock_ticks() - began;
        pthread_mutex_lock(&writer->lock);
        writer->status = status;
        if (status)
            writer->err = err;
        writer->ticks = ticks;
        writer->journal = NULL;
        pthread_cond_signal(&writer->changed);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

soma_status
soma_writer_start(soma_writer *writer, soma_error *err)
{
    if (writer->running)
        return SOMA_OK;
    *writer = (soma_writer){.running = true};
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->changed, NULL);
    soma_status status =
        soma_thread_start(&writer->thread, "writer", writer_main, writer, err);
    if (!status)
        return SOMA_OK;
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->lock);
    writer->running = false;
    return status;
}

void
soma_writer_begin(soma_writer *writer, soma_journal *journal,
                  const soma_journal_group *group)
{
    pthread_mutex_lock(&writer->lock);
    writer->group = group;
    writer->journal = journal;
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    /* Where both share a processor, the disk is to be asked first. */
    sched_yield();
}

soma_status
soma_writer_end(soma_writer *writer, uint64_t *ticks, soma_error *err)
{
    pthread_mutex_lock(&writer->lock);
    while (writer->journal)
        pthread_cond_wait(&writer->changed, &writer->lock);
    soma_status status = writer->status;
    if (status)
        *err = writer->err;
    *ticks = writer->ticks;
    pthread_mutex_unlock(&writer->lock);
    return status;
}

void
soma_writer_stop(soma_writer *writer)
{
    if (!writer->running)
        return;
    pthread_mutex_lock(&writer->lock);
    writer->stop = true;
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->lock);
    writer->running = false;
}
