/* For gcc -fanalyzer (tests/lint.sh), which sees one file at a time: that what
 * these return is not SOMA_OK, so that no NULL gets past a status. */
#include "core/status.h"

#define soma_error_set(err, status, ...)                                       \
    (soma_error_set(err, status, __VA_ARGS__), status)
#define soma_error_memory(...) (soma_error_memory(__VA_ARGS__), SOMA_E_MEMORY)
#define soma_error_errno(...)  (soma_error_errno(__VA_ARGS__), SOMA_E_IO)
