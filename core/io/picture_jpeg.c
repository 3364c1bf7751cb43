/* JPEG by libjpeg-turbo's TurboJPEG interface. */
#include "core/io/picture_formats.h"

#include <turbojpeg.h>

soma_status
soma_picture_decode_jpeg(const uint8_t *data, size_t size,
                         soma_picture *picture, soma_error *err)
{
    tjhandle turbo = tjInitDecompress();
    if (!turbo)
        return soma_error_memory(err, "a picture");
    int width, height, sampling, space;
    soma_status status;
    if (tjDecompressHeader3(turbo, data, size, &width, &height, &sampling,
                            &space)) {
        status = soma_error_set(err, SOMA_E_FORMAT, "damaged JPEG: %s",
                                tjGetErrorStr2(turbo));
    } else if (space == TJCS_CMYK || space == TJCS_YCCK) {
        status = soma_error_set(err, SOMA_E_UNSUPPORTED,
                                "a CMYK JPEG; expected grey or RGB colours");
    } else {
        bool grey = space == TJCS_GRAY;
        status =
            soma_picture_allocate(picture, width, height, grey ? 1 : 3, err);
        if (!status && tjDecompress2(turbo, data, size, picture->pixels, width,
                                     0, height, grey ? TJPF_GRAY : TJPF_RGB,
                                     TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING))
            status = soma_error_set(err, SOMA_E_FORMAT, "damaged JPEG: %s",
                                    tjGetErrorStr2(turbo));
    }
    tjDestroy(turbo);
    return status;
}
