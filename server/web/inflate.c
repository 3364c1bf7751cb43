#include "server/web/inflate.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

/* Window bits that make zlib expect a gzip stream. */
enum { GZIP = 16 + MAX_WBITS };

static int
window_bits(const char *coding)
{
    if (!strcasecmp(coding, "gzip") || !strcasecmp(coding, "x-gzip"))
        return GZIP;
    return strcasecmp(coding, "deflate") ? 0 : MAX_WBITS;
}

static bool
compressed(const char *coding)
{
    return coding && strcasecmp(coding, "identity") && *coding;
}

bool
soma_inflate_knows(const char *coding)
{
    return !compressed(coding) || window_bits(coding) != 0;
}

/* What comes out of the stream, appended to the request's new body until its
 * end. */
static int
inflate_all(z_stream *stream, soma_request *request, size_t most)
{
    char block[16384];
    int code;
    do {
        stream->next_out = (Bytef *)block;
        stream->avail_out = sizeof block;
        code = inflate(stream, Z_NO_FLUSH);
        size_t got = sizeof block - stream->avail_out;
        if (got && !soma_request_append(request, block, got, most))
            return Z_MEM_ERROR;
    } while (code == Z_OK);
    return code;
}

static bool
refuse(soma_request *request, const char *why)
{
    soma_reply_error(request, 400, "malformed_encoding",
                     "the body is not the %.16s stream that Content-Encoding "
                     "says: %s",
                     request->coding, why);
    return false;
}

static bool
judge(soma_request *request, const z_stream *stream, int code, size_t most)
{
    if (code == Z_STREAM_END && stream->avail_in == 0)
        return true;
    if (code == Z_STREAM_END)
        return refuse(request, "bytes follow its end");
    if (request->refused == SOMA_E_LIMIT)
        return soma_reply_error(request, 413, "body_too_large",
                                "the body: more than %zu bytes, decompressed",
                                most),
               false;
    if (code == Z_MEM_ERROR)
        return soma_reply_busy(request), false;
    return refuse(request, stream->msg ? stream->msg : "it is cut short");
}

bool
soma_inflate_body(soma_request *request, size_t most)
{
    if (!compressed(request->coding))
        return true;
    z_stream stream = {.next_in = (Bytef *)request->body,
                       .avail_in = (uInt)request->body_size};
    if (request->body_size > UINT32_MAX)
        return refuse(request, "it is larger than 4 GiB");
    if (inflateInit2(&stream, window_bits(request->coding)) != Z_OK)
        return soma_reply_busy(request), false;
    char *packed = request->body;
    request->body = NULL;
    request->body_size = request->body_room = request->expected = 0;
    int code = inflate_all(&stream, request, most);
    inflateEnd(&stream);
    free(packed);
    return judge(request, &stream, code, most);
}
