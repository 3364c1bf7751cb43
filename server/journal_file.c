#include "server/journal_file.h"

soma_status
soma_journal_file_open(soma_journal_file *file, const char *path,
                       soma_error *err)
{
    soma_bytes model;
    *file = (soma_journal_file){.journal = NULL};
    file->journal = soma_journal_open(path, true, err);
    if (!file->journal)
        return err->status;
    const soma_journal_backend *backend = file->journal->backend;
    soma_status status = backend->info(file->journal, &file->info, err);
    if (!status)
        status = backend->base(file->journal, &model, err);
    if (!status)
        status = soma_checkpoint_parse(&model, NULL, &file->base, err);
    if (status) {
        soma_error_prefix(err, "%s", path);
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
