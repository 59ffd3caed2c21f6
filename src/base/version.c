/* SPDX-License-Identifier: Apache-2.0 */
#include <tern/db.h>

#ifndef TERN_VERSION
#define TERN_VERSION "0.1.0"
#endif

const char *tern_version(void) {
    return TERN_VERSION;
}
