#include "server/journal_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
soma_journal_file_is_shared(const char *path)
{
    return !strncmp(path, "redis", 5) && strstr(path, "://");
}

static soma_status
open_shared(soma_journal_file *file, const char *path, soma_error *err)
{
    const char *hash = strrchr(path, '#');
    if (!hash || !hash[1])
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "which model's journal is meant? expected the "
                              "address with #MODEL behind it");
    char *url = strndup(path, (size_t)(hash - path));
    if (!url)
        return soma_error_memory(err, "an address");
    snprintf(file->name, sizeof file->name, "the shared journal of %s",
             hash + 1);
    soma_status status = soma_journal_redis_check(url, err);
    if (!status)
        file->journal = soma_journal_redis_open(url, hash + 1, err);
    free(url);
    return file->journal ? SOMA_OK : err->status;
}

static soma_status
open_either(soma_journal_file *file, const char *path, soma_error *err)
{
    if (soma_journal_file_is_shared(path))
        return open_shared(file, path, err);
    snprintf(file->name, sizeof file->name, "%s", path);
    file->journal = soma_journal_open(path, true, err);
    return file->journal ? SOMA_OK : err->status;
}

soma_status
soma_journal_file_open(soma_journal_file *file, const char *path,
                       soma_error *err)
{
    soma_bytes model;
    *file = (soma_journal_file){.journal = NULL};
    soma_status status = open_either(file, path, err);
    if (status)
        return status;
    const soma_journal_backend *backend = file->journal->backend;
    status = backend->info(file->journal, &file->info, err);
    if (!status)
        status = backend->base(file->journal, &model, err);
    if (!status)
        status = soma_checkpoint_parse(&model, NULL, &file->base, err);
    if (status) {
        soma_error_prefix(err, "%s", file->name);
        soma_journal_file_close(file);
        return status;
    }
    file->replay.journal = file->journal;
    file->replay.base = file->base.model;
    file->replay.kept = &file->base.memory;
    return SOMA_OK;
}

void
soma_journal_file_close(soma_journal_file *file)
{
    if (file->journal)
        file->journal->backend->close(file->journal);
    file->journal = NULL;
    soma_checkpoint_free(&file->base);
}
