/* The assembler copies the files in; paths are from the top of the tree. */
#include "server/web/assets.h"

#define EMBED(name, path)                                                      \
    __asm__(".section .rodata\n"                                               \
            ".global " #name "\n" #name ":\n"                                  \
            ".incbin \"" path "\"\n"                                           \
            ".global " #name "_end\n" #name "_end:\n"                          \
            ".byte 0\n"                                                        \
            ".previous\n")

EMBED(soma_asset_openapi, "server/web/openapi.json");
EMBED(soma_asset_page, "server/web/page.html");
