/* JPEG by libjpeg-turbo's TurboJPEG interface. */
#include "core/io/picture_formats.h"

#include <string.h>
#include <turbojpeg.h>

/* A progressive JPEG may go over all of its pixels many times, in a few bytes
 * each. FF DA starts a scan; it cannot stand within one. */
static soma_status
check_scans(const uint8_t *data, size_t size, long pixels, soma_error *err)
{
    static const uint8_t mark[] = {0xff, 0xda};
    long most = (long)SOMA_PICTURE_MAX_SCANS * SOMA_PICTURE_MAX_PIXELS / pixels;
    long scans = 0;
    const uint8_t *at = data, *end = data + size;
    while (scans <= most &&
           (at = memmem(at, (size_t)(end - at), mark, sizeof mark))) {
        at += sizeof mark;
        scans++;
    }
    return scans <= most
               ? SOMA_OK
               : soma_error_set(err, SOMA_E_LIMIT,
                                "a JPEG of more than %ld scans over %ld pixels",
                                most, pixels);
}

/* Cameras leave padding between the last pixel and the end marker (FF D9):
 * that is the one fault that leaves no pixel in doubt. */
static bool
harmless(tjhandle turbo)
{
    const char *text = tjGetErrorStr2(turbo);
    return tjGetErrorCode(turbo) == TJERR_WARNING &&
           strstr(text, "extraneous bytes before marker 0xd9");
}

static soma_status
damaged(tjhandle turbo, soma_error *err)
{
    const char *text = tjGetErrorStr2(turbo);
    /* libjpeg's and turbojpeg's own; neither has a code for it. */
    if (strstr(text, "nsufficient memory") || strstr(text, "emory allocation"))
        return soma_error_memory(err, "a picture");
    return soma_error_set(err, SOMA_E_FORMAT, "damaged JPEG: %s", text);
}

static soma_status
read_header(tjhandle turbo, const uint8_t *data, size_t size,
            soma_picture *picture, soma_error *err)
{
    int width = 0, height = 0, sampling = 0, space = 0;
    if (tjDecompressHeader3(turbo, data, size, &width, &height, &sampling,
                            &space)) {
        if (sampling >= 0)
            return damaged(turbo, err);
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "a JPEG of an uncommon colour subsampling");
    }
    if (width < 1 || height < 1) /* tables alone are a JPEG as well */
        return soma_error_set(err, SOMA_E_FORMAT,
                              "damaged JPEG: no picture in it");
    if (space == TJCS_CMYK || space == TJCS_YCCK)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "a CMYK JPEG; expected grey or RGB colours");
    soma_status status =
        soma_picture_allocate(picture, (unsigned)width, (unsigned)height,
                              space == TJCS_GRAY ? 1 : 3, err);
    return status ? status : check_scans(data, size, (long)width * height, err);
}

soma_status
soma_picture_decode_jpeg(const uint8_t *data, size_t size,
                         soma_picture *picture, soma_error *err)
{
    tjhandle turbo = tjInitDecompress();
    if (!turbo)
        return soma_error_memory(err, "a picture");
    soma_status status = read_header(turbo, data, size, picture, err);
    if (!status &&
        tjDecompress2(turbo, data, size, picture->pixels, picture->width, 0,
                      picture->height,
                      picture->channels == 1 ? TJPF_GRAY : TJPF_RGB,
                      TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS) &&
        !harmless(turbo))
        status = damaged(turbo, err);
    tjDestroy(turbo);
    return status;
}
