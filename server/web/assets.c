/* The assembler copies the files in; paths are from the top of the tree. */
#include "server/web/assets.h"

#include <stdint.h>
#include <string.h>

#define EMBED(name, path)                                                      \
    __asm__(".section .rodata\n"                                               \
            ".global soma_embedded_" #name "\n"                                \
            "soma_embedded_" #name ":\n"                                       \
            ".incbin \"" path "\"\n"                                           \
            ".global soma_embedded_" #name "_end\n"                            \
            "soma_embedded_" #name "_end:\n"                                   \
            ".byte 0\n"                                                        \
            ".previous\n");                                                    \
    extern const char soma_embedded_##name[], soma_embedded_##name##_end[];

#define SCRIPT "text/javascript; charset=utf-8"

/* name in C, name below /page/, file, type */
#define FILES(X)                                                               \
    X(page, "", "server/web/page/page.html", "text/html; charset=utf-8")       \
    X(openapi, "", "server/web/openapi.json", "application/json")              \
    X(style, "page.css", "server/web/page/page.css",                           \
      "text/css; charset=utf-8")                                               \
    X(icon, "icon.svg", "server/web/page/icon.svg", "image/svg+xml")           \
    X(main_js, "main.js", "server/web/page/main.js", SCRIPT)                   \
    X(net_js, "net.js", "server/web/page/net.js", SCRIPT)                      \
    X(ink_js, "ink.js", "server/web/page/ink.js", SCRIPT)                      \
    X(picture_js, "picture.js", "server/web/page/picture.js", SCRIPT)          \
    X(samples_js, "samples.js", "server/web/page/samples.js", SCRIPT)          \
    X(palette_js, "palette.js", "server/web/page/palette.js", SCRIPT)          \
    X(bars_js, "bars.js", "server/web/page/bars.js", SCRIPT)                   \
    X(live_js, "live.js", "server/web/page/live.js", SCRIPT)                   \
    X(inside_js, "inside.js", "server/web/page/inside.js", SCRIPT)             \
    X(watch_js, "watch.js", "server/web/page/watch.js", SCRIPT)                \
    X(teach_js, "teach.js", "server/web/page/teach.js", SCRIPT)                \
    CLOTHES(X)

#define CLOTHES(X)                                                             \
    X(clothes_0, "fashion-0.png", "models/samples/t-shirt.png", "image/png")   \
    X(clothes_1, "fashion-1.png", "models/samples/trouser.png", "image/png")   \
    X(clothes_2, "fashion-2.png", "models/samples/pullover.png", "image/png")  \
    X(clothes_3, "fashion-3.png", "models/samples/dress.png", "image/png")     \
    X(clothes_4, "fashion-4.png", "models/samples/coat.png", "image/png")      \
    X(clothes_5, "fashion-5.png", "models/samples/sandal.png", "image/png")    \
    X(clothes_6, "fashion-6.png", "models/samples/shirt.png", "image/png")     \
    X(clothes_7, "fashion-7.png", "models/samples/sneaker.png", "image/png")   \
    X(clothes_8, "fashion-8.png", "models/samples/bag.png", "image/png")       \
    X(clothes_9, "fashion-9.png", "models/samples/ankle-boot.png", "image/png")

#define EMBED_ROW(name, file, path, type) EMBED(name, path)
#define TABLE_ROW(name, file, path, type)                                      \
    {file, type, soma_embedded_##name, soma_embedded_##name##_end},

FILES(EMBED_ROW)

static const soma_asset table[] = {FILES(TABLE_ROW)};

const soma_asset *
soma_asset_find(const char *file)
{
    for (size_t i = 0; *file && i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].file, file))
            return &table[i];
    return NULL;
}

const soma_asset *
soma_asset_page(void)
{
    return &table[0];
}

const soma_asset *
soma_asset_openapi(void)
{
    return &table[1];
}

/* The assembler, not C, has put the end behind the start. */
size_t
soma_asset_size(const soma_asset *asset)
{
    return (size_t)((uintptr_t)asset->end - (uintptr_t)asset->data);
}
