/* What the files of TensorFlow Serving's API share.
 */
#ifndef SOMA_WEB_TFS_H
#define SOMA_WEB_TFS_H

#include "server/web/request.h"

#define SOMA_TFS_SIGNATURE "serving_default"

/* request->form */
enum { SOMA_TFS_ROWS, SOMA_TFS_COLUMNS, SOMA_TFS_CLASSES };

/* :predict or :classify of the path's model, or the default one. */
soma_outcome soma_tfs_run(soma_request *request, bool classify);

#endif
