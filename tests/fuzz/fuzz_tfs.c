/* TensorFlow Serving's REST and its kin: the first byte chooses the path, the
 * rest is the body. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/web.h"

#include <stdio.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {
        "/v1/models/tiny:predict",  "/v1/models/tiny/versions/0:predict",
        "/v1/models/tiny:classify", "/v1/models/tiny:regress",
        "/predictions/tiny",        "/invocations"};
    char target[64];
    if (size == 0)
        return 0;
    snprintf(target, sizeof target, "%s",
             paths[data[0] % (sizeof paths / sizeof *paths)]);
    web_message message = {
        .method = "POST", .target = target, .body = data + 1, .size = size - 1};
    web_ask(&message);
    return 0;
}
