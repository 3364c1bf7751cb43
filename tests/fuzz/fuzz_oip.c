/* Open Inference Protocol: inference as JSON (first byte even) and with the
 * binary tensor extension (odd): two more bytes, little endian, are then the
 * length of the JSON. The rest is the body. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/web.h"

#include <stdio.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char target[] = "/v2/models/tiny/infer", length[16];
    if (size < 3)
        return 0;
    web_message message = {.method = "POST", .target = target};
    message.body = data + 1, message.size = size - 1;
    if (data[0] & 1) {
        snprintf(length, sizeof length, "%d", data[1] | data[2] << 8);
        web_header(&message, "Inference-Header-Content-Length", length);
        message.body = data + 3, message.size = size - 3;
    }
    web_ask(&message);
    return 0;
}
