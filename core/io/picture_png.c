/* PNG by libpng's low-level interface: the simplified one would apply gamma,
 * and the model was trained on the values as they stand in the file. */
#include "core/io/picture_formats.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

typedef struct png_job {
    const uint8_t *at, *end;
    soma_picture *picture;
    soma_error *err;
    png_structp png;
    png_infop info;
    png_bytep image; /* interlaced pictures are put together here */
    soma_status status;
    bool is_short; /* of memory, which libpng then calls a damage */
} png_job;

static png_voidp
allocate(png_structp png, png_alloc_size_t size)
{
    png_job *job = png_get_mem_ptr(png);
    void *memory = malloc(size);
    if (!memory)
        job->is_short = true;
    return memory;
}

static void
release(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void
on_error(png_structp png, png_const_charp text)
{
    png_job *job = png_get_error_ptr(png);
    job->status = job->is_short ? soma_error_memory(job->err, "a picture")
                                : soma_error_set(job->err, SOMA_E_FORMAT,
                                                 "damaged PNG: %s", text);
    png_longjmp(png, 1);
}

static void
on_warning(png_structp png, png_const_charp text)
{
    (void)png, (void)text;
}

static void
on_read(png_structp png, png_bytep to, size_t size)
{
    png_job *job = png_get_io_ptr(png);
    if ((size_t)(job->end - job->at) < size)
        png_error(png, "it ends too early");
    memcpy(to, job->at, size);
    job->at += size;
}

/* To 8-bit grey or RGB, with alpha behind it where there is any. */
static void
set_transforms(png_structp png, png_infop info)
{
    int type = png_get_color_type(png, info);
    int depth = png_get_bit_depth(png, info);
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    if (png_get_valid(png, info, PNG_INFO_tRNS))
        png_set_tRNS_to_alpha(png);
    if (depth == 16)
        png_set_strip_16(png);
}

static void
lay_over_black(const uint8_t *from, uint8_t *to, size_t pixels, int colours)
{
    for (size_t i = 0; i < pixels; i++, from += colours + 1)
        for (int c = 0; c < colours; c++)
            *to++ = (uint8_t)((from[c] * from[colours] + 127) / 255);
}

/* libpng would call a large picture damaged. What is no header is left to it:
 *
 *     8 bytes magic, u32 13, "IHDR", u32 width, u32 height, big endian... */
static soma_status
check_header(const uint8_t *data, const uint8_t *end, soma_error *err)
{
    if (end - data < 24 || memcmp(data + 12, "IHDR", 4))
        return SOMA_OK;
    png_uint_32 width = png_get_uint_32(data + 16);
    png_uint_32 height = png_get_uint_32(data + 20);
    if (!width || !height || width > PNG_UINT_31_MAX ||
        height > PNG_UINT_31_MAX)
        return SOMA_OK;
    return soma_picture_check(width, height, err);
}

/* Everything that may end in on_error. Fields of the job, not locals, hold
 * what must be freed, since locals are lost by longjmp. */
static void
decode(png_job *job)
{
    png_structp png = job->png;
    png_set_read_fn(png, job, on_read);
    png_set_chunk_malloc_max(png, 8 << 20);
    /* Of the optional chunks only tRNS is needed. The others would be unpacked
     * into memory, up to a thousand of them. */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_QUIET_USE);
    if ((job->status = check_header(job->at, job->end, job->err)))
        return;
    png_read_info(png, job->info);
    set_transforms(png, job->info);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, job->info);

    int channels = png_get_channels(png, job->info);
    int colours = channels >= 3 ? 3 : 1;
    bool alpha = channels != colours;
    size_t width = png_get_image_width(png, job->info);
    size_t height = png_get_image_height(png, job->info);
    size_t stride = png_get_rowbytes(png, job->info);
    job->status =
        soma_picture_allocate(job->picture, width, height, colours, job->err);
    if (job->status)
        return;
    uint8_t *image = job->picture->pixels;
    if (alpha && !(image = job->image = malloc(stride * height))) {
        job->status = soma_error_memory(job->err, "a picture");
        return;
    }
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < height; y++)
            png_read_row(png, image + y * stride, NULL);
    png_read_end(png, NULL);
    if (alpha)
        lay_over_black(image, job->picture->pixels, width * height, colours);
}

soma_status
soma_picture_decode_png(const uint8_t *data, size_t size, soma_picture *picture,
                        soma_error *err)
{
    png_job *job = calloc(1, sizeof *job);
    if (!job)
        return soma_error_memory(err, "a picture");
    *job = (png_job){
        .at = data, .end = data + size, .picture = picture, .err = err};
    job->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, job, on_error,
                                        on_warning, job, allocate, release);
    job->info = job->png ? png_create_info_struct(job->png) : NULL;
    if (!job->info)
        job->status = soma_error_memory(err, "a picture");
    else if (!setjmp(png_jmpbuf(job->png)))
        decode(job);
    soma_status status = job->status;
    png_destroy_read_struct(&job->png, &job->info, NULL);
    free(job->image);
    free(job);
    return status;
}
