/* Files of keys: any bytes are a list or are refused, saying which line. The
 * input is the value of an Authorization header, LF, the file. */
#include "server/web/keys.h"
#include "tests/fuzz/files.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    soma_error err = {SOMA_OK, ""};
    soma_keys *keys = NULL;
    char name[SOMA_KEY_NAME + 1];
    const uint8_t *end = memchr(data, '\n', size);
    if (!end)
        return 0;
    size_t length = (size_t)(end - data);
    soma_bytes header = files_bytes(data, length);
    const char *path = files_write("keys", end + 1, size - length - 1);
    soma_status status = soma_keys_open(path, &keys, &err);
    files_explained(status, &err);
    if (!status) {
        soma_text text = {0};
        int scopes = 0;
        soma_admission admission = soma_keys_admit(
            keys, (const char *)header.data, SOMA_SCOPE_TRAIN, name, &scopes);
        must(admission != SOMA_ADMITTED ||
             (name[0] && scopes & SOMA_SCOPE_TRAIN));
        soma_keys_metrics(keys, &text);
        soma_text_free(&text);
        soma_keys_free(keys);
    }
    soma_bytes_free(&header);
    return 0;
}
