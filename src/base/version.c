/* SPDX-License-Identifier: Apache-2.0 */
#include <tern/db.h>

#ifndef TERN_RELEASE_TEXT
#define TERN_RELEASE_TEXT "0.1.0"
#endif

const char *tern_version(void) {
    return TERN_RELEASE_TEXT;
}
