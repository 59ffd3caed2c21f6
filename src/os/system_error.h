/* SPDX-License-Identifier: Apache-2.0 */
/* From errno to status and error detail. */
#ifndef TERN_OS_SYSTEM_ERROR_H
#define TERN_OS_SYSTEM_ERROR_H

#include <tern/error.h>

#include "base/error.h"

/* The status that an errno means for a file operation. */
tern_status system_status(int system_errno);

/* What a user can do about it, as "; do this" to end a message with, or "". Static storage. */
const char *system_remedy(int system_errno);

/* Records "cannot WHAT" with errno, path and offset (-1: none) and returns the status. */
#define SYSTEM_ERROR(error, errno_value, path, byte_offset, what)                                  \
    ERROR_AT((error), system_status(errno_value), (path), (byte_offset), (errno_value),            \
             "cannot %s%s", (what), system_remedy(errno_value))

#endif
