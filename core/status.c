#include "core/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

soma_status
soma_error_set(soma_error *err, soma_status status, const char *format, ...)
{
    if (err) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(err->text, sizeof err->text, format, arguments);
        va_end(arguments);
        err->status = status;
    }
    return status;
}

void
soma_error_prefix(soma_error *err, const char *format, ...)
{
    if (!err)
        return;
    char prefix[sizeof err->text / 2], text[sizeof err->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    memcpy(text, err->text, sizeof text);
    int room = (int)(sizeof text - strlen(prefix) - sizeof ": ");
    snprintf(err->text, sizeof err->text, "%s: %.*s", prefix, room, text);
}

soma_status
soma_error_memory(soma_error *err, const char *what)
{
    return soma_error_set(err, SOMA_E_MEMORY, "no memory for %s", what);
}

static soma_status
status_of_errno(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return SOMA_E_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
        return SOMA_E_NO_SPACE;
    case ENOMEM:
        return SOMA_E_MEMORY;
    default:
        return SOMA_E_IO;
    }
}

soma_status
soma_error_errno(soma_error *err, const char *what, const char *path)
{
    int number = errno;
    char text[128];
    return soma_error_set(err, status_of_errno(number), "%s %s: %s", what, path,
                          strerror_r(number, text, sizeof text));
}
