/* soma journal: what a model's journal holds. */
#include "server/command.h"
#include "server/engine/clock.h"
#include "server/journal_export.h"
#include "server/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

typedef struct journal_options {
    long limit, keep_examples, keep_checkpoints;
    double keep_days;
    const char *out;
} journal_options;

#define AT(field) offsetof(journal_options, field)

static const soma_option options[] = {
    {"limit", "N", SOMA_OPTION_WHOLE, "20", 1, 1e9, AT(limit),
     "list: this many records, the newest."},
    {"out", "FILE", SOMA_OPTION_TEXT, NULL, 0, 0, AT(out),
     "export: a .csv (label first, which soma train reads) or a .safetensors "
     "(tensors x and labels)."},
    {"keep-examples", "N", SOMA_OPTION_WHOLE, "0", 0, 1e15, AT(keep_examples),
     "trim: the newest records to keep; 0: all."},
    {"keep-days", "DAYS", SOMA_OPTION_NUMBER, "0", 0, 1e6, AT(keep_days),
     "trim: how long to keep them; 0: for ever."},
    {"keep-checkpoints", "N", SOMA_OPTION_WHOLE, "3", 2, 1e6,
     AT(keep_checkpoints), "trim: the newest checkpoints to keep."},
    {.name = NULL}};

static const soma_command command = {
    "journal",
    "list|export|check|trim JOURNAL [options]",
    "JOURNAL is a file (DATA/mnist.db), or one that replicas share\n"
    "(redis://...#mnist; not for trim).\n"
    "\n"
    "list    what was recorded, newest last\n"
    "export  the examples that are in the newest version\n"
    "check   read everything and verify it\n"
    "trim    drop what the policy no longer keeps; never what the newest\n"
    "        version needs. No server may be using the folder.",
    options,
    2,
    2};

/* ---- list ---- */

static soma_status
print_record(const soma_record *record, void *arg, soma_error *err)
{
    soma_journal_file *file = arg;
    char time[SOMA_CLOCK_TEXT];
    const char *from = soma_adoption_from(record->data, record->data_size);
    soma_lesson lesson;
    soma_status status = file->journal->backend->lessons(
        file->journal, record->seq, 1, &lesson, err);
    soma_clock_text(record->time, time);
    printf("%8" PRIu64 "  %s  ", record->seq, time);
    switch (record->kind) {
    case SOMA_RECORD_EXAMPLE:
        printf("label %d", record->label);
        if (file->base.classes.count)
            printf(" (%s)", file->base.classes.names[record->label]);
        if (lesson.version)
            printf(", predicted %d, loss %.4g, %d steps%s", lesson.predicted,
                   (double)lesson.loss, lesson.steps,
                   lesson.rejected ? ", rejected" : "");
        break;
    case SOMA_RECORD_ROLLBACK:
        printf("rollback to %" PRIu64, record->target);
        break;
    case SOMA_RECORD_SETTINGS:
        printf("other learning settings");
        break;
    case SOMA_RECORD_ADOPTION:
        printf("the state of %s, version %" PRIu64,
               from ? from : "another model", record->target);
        break;
    }
    putchar('\n');
    return status;
}

static soma_status
list(const journal_options *o, const char *path, soma_error *err)
{
    soma_journal_file file;
    char created[SOMA_CLOCK_TEXT];
    soma_status status = soma_journal_file_open(&file, path, err);
    if (status)
        return status;
    const soma_journal_info *info = &file.info;
    soma_clock_text(info->created, created);
    printf("made %s, base %.16s..., %zu bytes%s%s\n%" PRIu64
           " examples, records %" PRIu64 " to %" PRIu64 ", %" PRIu64
           " Idempotency-Keys\n",
           created, info->base, info->bytes,
           info->origin[0] ? ", a fork of " : "", info->origin, info->examples,
           info->first, info->last, info->keys);
    soma_journal_checkpoint one = {.seq = info->last + 1};
    while (!status && one.seq) {
        status = file.journal->backend->checkpoint_find(file.journal,
                                                        one.seq - 1, &one, err);
        if (!status && one.seq)
            printf("checkpoint %" PRIu64 ", %zu bytes\n", one.seq, one.size);
    }
    uint64_t limit = (uint64_t)o->limit;
    uint64_t after = info->last > limit ? info->last - limit : 0;
    if (info->first && after < info->first - 1)
        after = info->first - 1;
    if (!status && info->last)
        status = file.journal->backend->read(file.journal, after, info->last,
                                             print_record, &file, err);
    soma_journal_file_close(&file);
    return status;
}

/* ---- check, export, trim ---- */

static soma_status
check(const char *path, soma_error *err)
{
    soma_journal_file file;
    soma_status status = soma_journal_file_open(&file, path, err);
    if (status)
        return status;
    status = file.journal->backend->check(file.journal, err);
    if (!status)
        printf("%s: good: %" PRIu64 " examples, version %" PRIu64 "\n",
               file.name, file.info.examples, file.info.last);
    soma_journal_file_close(&file);
    return status;
}

static soma_status export(const journal_options *o, const char *path,
                          soma_error *err)
{
    soma_journal_file file;
    int count;
    if (!o->out)
        return soma_error_set(err, SOMA_E_ARGUMENT, "--out is missing");
    soma_status status = soma_journal_file_open(&file, path, err);
    if (status)
        return status;
    status = soma_journal_export(&file, o->out, &count, err);
    if (!status)
        printf("%s: %d examples\n", o->out, count);
    soma_journal_file_close(&file);
    return status;
}

/* As the server locks it. */
static soma_status
lock_folder(const char *path, int *lock, soma_error *err)
{
    char name[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(name, sizeof name, "%.*ssoma.lock",
             slash ? (int)(slash - path + 1) : 0, path);
    *lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*lock < 0)
        return soma_error_errno(err, "making", name);
    if (!flock(*lock, LOCK_EX | LOCK_NB))
        return SOMA_OK;
    close(*lock);
    return soma_error_set(err, SOMA_E_CONFLICT,
                          "%s: a server is using this folder; it trims by "
                          "itself, by the options that it was started with",
                          path);
}

static soma_status
trim_open(const journal_options *o, soma_journal *journal, soma_error *err)
{
    soma_journal_info before = {0}, after = {0};
    soma_journal_policy policy = {.keep_examples = (uint64_t)o->keep_examples,
                                  .keep_checkpoints = (int)o->keep_checkpoints};
    if (o->keep_days > 0)
        policy.keep_since =
            ((int64_t)time(NULL) - (int64_t)(o->keep_days * 86400)) * 1000;
    bool more = true;
    soma_status status = journal->backend->info(journal, &before, err);
    while (!status && more)
        status = journal->backend->trim(journal, &policy, 1000, &more, err);
    if (!status)
        status = journal->backend->info(journal, &after, err);
    if (!status)
        printf("%" PRIu64 " examples dropped, %" PRIu64 " kept\n",
               before.examples - after.examples, after.examples);
    return status;
}

static soma_status
trim(const journal_options *o, const char *path, soma_error *err)
{
    int lock;
    if (soma_journal_file_is_shared(path))
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "a shared journal is trimmed by the replicas, by "
                              "the options that they were started with");
    soma_status status = lock_folder(path, &lock, err);
    if (status)
        return status;
    soma_journal *journal = soma_journal_open(path, false, err);
    if (journal) {
        status = trim_open(o, journal, err);
        journal->backend->close(journal);
    } else {
        status = err->status;
    }
    close(lock);
    return status;
}

int
soma_cmd_journal(int argc, char **argv)
{
    journal_options o;
    const char *arguments[2];
    soma_error err;
    int code = soma_command_start(&command, argc, argv, &o, arguments);
    if (code >= 0)
        return code;
    const char *action = arguments[0], *path = arguments[1];
    soma_status status;
    if (!strcmp(action, "list")) {
        status = list(&o, path, &err);
    } else if (!strcmp(action, "check")) {
        status = check(path, &err);
    } else if (!strcmp(action, "export")) {
        status = export(&o, path, &err);
    } else if (!strcmp(action, "trim")) {
        status = trim(&o, path, &err);
    } else {
        fprintf(stderr,
                "soma: journal: expected list, export, check or trim, got "
                "\"%s\"\n",
                action);
        return SOMA_EXIT_USAGE;
    }
    return status ? soma_command_fail(&err) : SOMA_EXIT_OK;
}
