/* Files that stand in the program itself: the page and what it loads, and the
 * API's description. All of it lives as long as the program. */
#ifndef SOMA_WEB_ASSETS_H
#define SOMA_WEB_ASSETS_H

#include <stddef.h>

typedef struct soma_asset {
    const char *file; /* name below /page/; "": it has a path of its own */
    const char *type; /* Content-Type */
    const char *data, *end;
} soma_asset;

const soma_asset *soma_asset_page(void);
const soma_asset *soma_asset_openapi(void);

/* What stands below /page/, or NULL. */
const soma_asset *soma_asset_find(const char *file);

size_t soma_asset_size(const soma_asset *asset);

#endif
