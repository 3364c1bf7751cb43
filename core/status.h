/* Status codes and a text for people.
 *
 * Every function that can fail returns a soma_status and, when it is not
 * SOMA_OK, has written what is wrong, where, and what was expected into the
 * soma_error that it was given. Nothing below server/ prints or exits.
 *
 * `err` is the last argument and may be NULL when the caller does not want
 * the text. A soma_error belongs to the caller; the text is always
 * NUL-terminated. On SOMA_OK it is left untouched.
 */
#ifndef SOMA_CORE_STATUS_H
#define SOMA_CORE_STATUS_H

typedef enum soma_status {
    SOMA_OK = 0,
    SOMA_E_ARGUMENT,    /* a value outside what is allowed */
    SOMA_E_SHAPE,       /* the wrong number of values, or nested wrongly */
    SOMA_E_NOT_FINITE,  /* NaN or infinity where a number must stand */
    SOMA_E_NOT_FOUND,   /* no such file, model, class, kind */
    SOMA_E_FORMAT,      /* bytes that are not what their format demands */
    SOMA_E_UNSUPPORTED, /* legal, but nothing that soma can express */
    SOMA_E_LIMIT,       /* larger than a documented bound */
    SOMA_E_MEMORY,      /* an allocation failed */
    SOMA_E_IO,          /* the system refused: the text has errno's words */
    SOMA_E_NO_SPACE,    /* the disk is full */
    SOMA_E_BUSY,        /* a queue is full; try again */
    SOMA_E_STOPPED,     /* stopped until somebody acts: the text says how */
    SOMA_E_CONFLICT,    /* contradicts what is already recorded */
    SOMA_E_INTERNAL     /* an invariant does not hold: a bug */
} soma_status;

typedef struct soma_error {
    soma_status status;
    char text[480];
} soma_error;

/* Fills *err (if not NULL) and returns `status`, so that a function can end
 * with `return soma_error_set(err, SOMA_E_SHAPE, "...", ...)`. */
__attribute__((format(printf, 3, 4))) soma_status
soma_error_set(soma_error *err, soma_status status, const char *format, ...);

/* Puts "prefix: " before the text of *err; for callers that know the place. */
__attribute__((format(printf, 2, 3))) void
soma_error_prefix(soma_error *err, const char *format, ...);

/* SOMA_E_MEMORY with a text that says what the memory was for. */
soma_status soma_error_memory(soma_error *err, const char *what);

/* SOMA_E_IO (SOMA_E_NO_SPACE for ENOSPC, EDQUOT; SOMA_E_NOT_FOUND for ENOENT)
 * with "what path: strerror(errno)". Reads errno. */
soma_status soma_error_errno(soma_error *err, const char *what,
                             const char *path);

#endif
