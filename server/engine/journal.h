/* The journal of a model: every record that changes its weights, in order,
 * and the checkpoints that spare replaying them all.
 *
 * A backend is a table of functions (rows of SQLite in a file, or memory).
 * Its owner is the model's trainer (or an offline command): one thread at a
 * time calls it.
 *
 * Records are numbered from 1 without gaps; the number (seq) of the last
 * record in a set of weights is their version, and the weights of the model
 * file are version 0. A record that append has returned SOMA_OK for is as
 * durable as the backend promises.
 */
#ifndef SOMA_ENGINE_JOURNAL_H
#define SOMA_ENGINE_JOURNAL_H

#include "core/io/file.h"
#include "core/learner.h" /* soma_lesson */
#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum soma_record_kind {
    SOMA_RECORD_EXAMPLE = 1,  /* one labelled example */
    SOMA_RECORD_ROLLBACK = 2, /* back to the weights as they were at target */
    SOMA_RECORD_SETTINGS = 3, /* learning settings, in force from here on */
    SOMA_RECORD_ADOPTION = 4  /* the state of learning is that of another
                                 model's: of its version target */
} soma_record_kind;

typedef struct soma_record {
    uint64_t seq;
    soma_record_kind kind;
    int64_t time; /* when it was taken in: milliseconds since 1970, UTC. For
                     people and for trimming; no arithmetic depends on it */
    /* Of an example: */
    int label;
    float rate;     /* learning rate of this one; 0: that of the settings */
    const float *x; /* [size], in the input's own range */
    /* Of a rollback: < seq. Of an adoption: */
    uint64_t target;
    /* Of a rollback and of settings: the settings in force from here on; of an
     * adoption the state (replay.h). Bytes that only their owner
     * understands. */
    const void *data;
    size_t data_size;
} soma_record;

enum { SOMA_KEY_MAX = 255, SOMA_KEY_FINGERPRINT = 32, SOMA_ORIGIN_MAX = 131 };

/* An Idempotency-Key and the request that it stood for. */
typedef struct soma_journal_key {
    char text[SOMA_KEY_MAX + 1];
    unsigned char fingerprint[SOMA_KEY_FINGERPRINT]; /* SHA-256 */
    uint64_t first; /* seq of the request's first record */
    int count;      /* its records */
    int64_t time;   /* as a record's */
} soma_journal_key;

/* A stretch of a checkpoint. A checkpoint is a string of bytes: the state of
 * learning after record seq. It is written in parts, in order of their
 * offsets, between other appends; it counts from when its last part is in. A
 * part with offset 0 begins it anew. */
typedef struct soma_journal_part {
    uint64_t seq;
    int64_t time;
    const void *data;
    size_t offset, size;
    size_t total; /* bytes of the whole */
    bool last;
    unsigned char digest[32]; /* SHA-256 of the whole; with the last part */
} soma_journal_part;

/* A record of a shared journal: its number, and what tells it from any other
 * that ever had that number. It stands for all records up to it, since who
 * appends names the one before. */
enum { SOMA_MARK_MAX = 39 };
typedef struct soma_place {
    uint64_t seq;
    char mark[SOMA_MARK_MAX + 1]; /* "": not known, or seq 0 */
} soma_place;

/* What one append writes: all of it or nothing, with one fsync. */
typedef struct soma_journal_group {
    const soma_record *records; /* [count], their seq follow the last one's */
    int count;
    const soma_journal_key *keys; /* a key that is there already is replaced */
    int key_count;
    const soma_lesson *lessons; /* [lesson_count], versions ascending; of
                                   records that are (or come now) in */
    int lesson_count;
    const soma_journal_part *part; /* NULL: none */
    soma_place *after; /* of a shared journal, NULL: of no matter. The last
                          record that the writer has learned; where it is not
                          in the journal, the end is SOMA_E_CONFLICT. Then the
                          last one of the group */
} soma_journal_group;

/* A record after which the weights are not the ones before it and a step. */
typedef struct soma_leap {
    uint64_t seq;          /* 0: there is none */
    soma_record_kind kind; /* SOMA_RECORD_ROLLBACK, SOMA_RECORD_ADOPTION */
    uint64_t target;
} soma_leap;

typedef struct soma_journal_info {
    uint64_t first, last; /* seq of the oldest record kept and of the newest;
                             0 and 0 when there never was one. After trimming
                             everything first is last + 1 */
    uint64_t examples;    /* records of that kind that are kept */
    uint64_t keys;
    int64_t created; /* as a record's time */
    size_t bytes;    /* on disk */
    char base[72];   /* digest of the model file that it began with */
    char origin[SOMA_ORIGIN_MAX + 1];            /* soma_journal_base's */
    unsigned char settings[SOMA_LEARNING_BYTES]; /* learning began with */
    int size;                                    /* values of an example */
    soma_place end; /* the newest record, of a shared one */
} soma_journal_info;

typedef struct soma_journal_checkpoint {
    uint64_t seq;
    int64_t time;
    size_t size;
} soma_journal_checkpoint;

/* What trim may drop. Whatever it says, what is needed to come back to the
 * newest version stays: the newest good checkpoint and all records since. */
typedef struct soma_journal_policy {
    uint64_t keep_examples; /* records since the last so many; 0: all */
    int64_t keep_since;     /* records at or after this time; 0: all.
                               A record goes when either rule drops it */
    int keep_checkpoints;   /* newest ones; 0: all. At least 2 stay */
    uint64_t keep_keys;     /* newest ones; 0: all */
    int64_t keys_since;     /* those at or after this time; 0: all */
} soma_journal_policy;

typedef struct soma_journal soma_journal;

/* Sees one record, which is valid during the call; a status other than SOMA_OK
 * ends the reading, which returns it. */
typedef soma_status (*soma_journal_visit)(const soma_record *record, void *arg,
                                          soma_error *err);

typedef struct soma_journal_backend {
    const char *name;
    bool durable;
    bool shared; /* others append to it, too */
    /* SOMA_E_NO_SPACE: nothing of it is written, and the journal can be used
     * as before. SOMA_E_CONFLICT, of one that is shared: nothing is written,
     * since the records' numbers are taken, or `after` is not there. Any other
     * failure: whether it was written is not known; only reopen and close may
     * be called next. */
    soma_status (*append)(soma_journal *journal,
                          const soma_journal_group *group, soma_error *err);
    /* Opens it again after a failure, with all checks of the first time, and
     * makes sure that what is read now is on disk. When it fails it may be
     * tried again. */
    soma_status (*reopen)(soma_journal *journal, soma_error *err);
    soma_status (*info)(soma_journal *journal, soma_journal_info *info,
                        soma_error *err);
    /* Records with after < seq <= upto, in order. SOMA_E_NOT_FOUND when some
     * of those were trimmed, SOMA_E_FORMAT when one is damaged. */
    soma_status (*read)(soma_journal *journal, uint64_t after, uint64_t upto,
                        soma_journal_visit visit, void *arg, soma_error *err);
    /* The last one with seq <= upto. */
    soma_status (*last_leap)(soma_journal *journal, uint64_t upto,
                             soma_leap *leap, soma_error *err);
    /* *found tells whether there is such a key. */
    soma_status (*find_key)(soma_journal *journal, const char *text,
                            soma_journal_key *key, bool *found,
                            soma_error *err);
    /* Lessons of records first .. first + count - 1, each at its place;
     * version 0 where none was written. */
    soma_status (*lessons)(soma_journal *journal, uint64_t first, int count,
                           soma_lesson *lessons, soma_error *err);
    /* The newest complete checkpoint with seq <= upto, by its row alone;
     * checkpoint->seq 0: none. */
    soma_status (*checkpoint_find)(soma_journal *journal, uint64_t upto,
                                   soma_journal_checkpoint *checkpoint,
                                   soma_error *err);
    /* Its bytes. SOMA_E_FORMAT: damaged (the digest says so). */
    soma_status (*checkpoint_read)(soma_journal *journal, uint64_t seq,
                                   soma_bytes *state, soma_error *err);
    /* The bytes that it was created with (soma_journal_base). */
    soma_status (*base)(soma_journal *journal, soma_bytes *model,
                        soma_error *err);
    /* At most `most` rows a call, so that it never takes long: *more tells
     * whether there is more to drop. Failures as append's. */
    soma_status (*trim)(soma_journal *journal,
                        const soma_journal_policy *policy, int most, bool *more,
                        soma_error *err);
    /* Reads all that is in it and checks it. SOMA_E_FORMAT says what is
     * damaged first, and where. */
    soma_status (*check)(soma_journal *journal, soma_error *err);
    /* Of a shared one, else NULL: whether that record is there; also if it was
     * trimmed since. */
    soma_status (*holds)(soma_journal *journal, const soma_place *place,
                         bool *held, soma_error *err);
    /* Of a shared one, else NULL: says which digest the weights of version seq
     * have here; `first` is what was said first, by whatever replica. What was
     * said of version `old` may be forgotten. */
    soma_status (*compare)(soma_journal *journal, uint64_t seq, uint64_t old,
                           const char *digest, char first[72], soma_error *err);
    void (*close)(soma_journal *journal);
} soma_journal_backend;

/* Backends embed this at their start. */
struct soma_journal {
    const soma_journal_backend *backend;
    int size; /* values of an example */
};

/* What a journal begins with: version 0. */
typedef struct soma_journal_base {
    const char *digest; /* of model file and memory, at most 71 characters */
    const char *origin; /* name of the model that this one was forked from, at
                           most SOMA_ORIGIN_MAX bytes; NULL or "": of none, it
                           has a model file of its own */
    const void *model;  /* the model file's bytes, so that the journal alone
                           can rebuild any version */
    size_t model_size;
    int size;                                    /* values of an example */
    unsigned char settings[SOMA_LEARNING_BYTES]; /* to begin with */
    int64_t now;
} soma_journal_base;

/* Keeps the newest records up to `bytes` of them, and of the base only size
 * and settings; all are gone with the process. */
soma_journal *soma_journal_memory(const soma_journal_base *base, size_t bytes,
                                  soma_error *err);

/* ---- journal_sqlite*.c: one SQLite database, PATH ---- */

/* Makes a new one: under PATH.new, fsynced, then renamed, so that whatever
 * stands at PATH is whole. SOMA_E_CONFLICT when there is something already. */
soma_journal *soma_journal_create(const char *path,
                                  const soma_journal_base *base,
                                  soma_error *err);

/* Gives a journal that is closed another path, at which nothing is yet, nor a
 * log: fsynced, so that it stays there. SOMA_E_CONFLICT when there is
 * something. */
soma_status soma_journal_move(const char *from, const char *to,
                              soma_error *err);

/* Gives it, and its log if there is one, a second name, PATH.old-<n>, which is
 * written to `aside`. */
soma_status soma_journal_set_aside(const char *path, char *aside, size_t size,
                                   soma_error *err);

/* The same, and takes the first name away, fsynced. */
soma_status soma_journal_retire(const char *path, char *aside, size_t size,
                                soma_error *err);

/* Opens an existing one. SOMA_E_NOT_FOUND: nothing is there. SOMA_E_FORMAT:
 * it is no journal of soma's, or damaged (truncated, empty, a failed check),
 * in words that say which; it is never made anew. SOMA_E_UNSUPPORTED: of a
 * newer version of soma. SOMA_E_IO: cannot be read or written. read_only: for
 * offline commands, while a server may use it. */
soma_journal *soma_journal_open(const char *path, bool read_only,
                                soma_error *err);

/* ---- journal_redis*.c: keys soma:{MODEL}:... of a Redis server ---- */

/* Whether it is an address that these take; it need not answer. */
soma_status soma_journal_redis_check(const char *url, soma_error *err);

/* SOMA_E_CONFLICT when there is one already. */
soma_status soma_journal_redis_create(const char *url, const char *model,
                                      const soma_journal_base *base,
                                      soma_error *err);

/* SOMA_E_NOT_FOUND, SOMA_E_UNSUPPORTED as above; SOMA_E_IO: the server cannot
 * be reached, or refuses. */
soma_journal *soma_journal_redis_open(const char *url, const char *model,
                                      soma_error *err);

#endif
