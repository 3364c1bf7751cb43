/* PNG and JPEG: any bytes are a picture within the bounds of picture.h or are
 * refused; a picture can be scaled to whole numbers of a byte. */
#include "core/io/picture.h"
#include "tests/fuzz/files.h"
#include "tests/fuzz/fuzz.h"

static void
scale(const soma_picture *picture, int channels, int height, int width)
{
    enum { ROOM = 3 * 16 * 16 };
    float planes[ROOM];
    soma_error err;
    must(!soma_picture_planes(picture, channels, height, width, planes, &err));
    for (int i = 0; i < channels * height * width; i++)
        must(planes[i] >= 0 && planes[i] <= 255 &&
             planes[i] == (float)(int)planes[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    soma_error err = {SOMA_OK, ""};
    soma_picture picture = {0};
    soma_status status = soma_picture_decode(data, size, &picture, &err);
    files_explained(status, &err);
    if (!status) {
        must(picture.width > 0 && picture.width <= SOMA_PICTURE_MAX_SIDE);
        must(picture.height > 0 && picture.height <= SOMA_PICTURE_MAX_SIDE);
        must(picture.channels == 1 || picture.channels == 3);
        scale(&picture, 1, 5, 7);
        scale(&picture, 3, 16, 16);
        soma_picture_free(&picture);
    }
    return 0;
}
