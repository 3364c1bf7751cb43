/* Routes, queries, headers and bodies of requests:
 *
 *     METHOD /path?query LF    Name: value LF ...    LF    body
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/web.h"

#include <stdlib.h>
#include <string.h>

/* The line at *at, ended by a NUL; NULL: there is none. */
static char *
next_line(char **at, char *end)
{
    char *line = *at, *stop = memchr(line, '\n', (size_t)(end - line));
    if (!stop)
        return NULL;
    *stop = '\0';
    *at = stop + 1;
    return line;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *at = text, *end = text + size, *line = next_line(&at, end);
    char *space = line ? strchr(line, ' ') : NULL;
    if (space) {
        *space = '\0';
        web_message message = {.method = line, .target = space + 1};
        while ((line = next_line(&at, end)) && *line) {
            char *value = strstr(line, ": ");
            if (!value)
                continue;
            *value = '\0';
            web_header(&message, line, value + 2);
        }
        message.body = (const uint8_t *)at;
        message.size = (size_t)(end - at);
        web_ask(&message);
    }
    free(text);
    return 0;
}
