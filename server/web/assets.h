/* Files that stand in the program itself. */
#ifndef SOMA_WEB_ASSETS_H
#define SOMA_WEB_ASSETS_H

extern const char soma_asset_openapi[], soma_asset_openapi_end[];
extern const char soma_asset_page[], soma_asset_page_end[];

#endif
