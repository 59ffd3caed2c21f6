/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

tern_status fail(tern_error *error, tern_status status, const char *format, ...) {
    *error = (tern_error)TERN_ERROR_INIT;
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);
    return status;
}

static tern_status status_from_errno(int system_errno) {
    switch (system_errno) {
    case ENOENT:
    case ENOTDIR:
        return TERN_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return TERN_EXISTS;
    case EISDIR:
        return TERN_INVALID;
    case ENOSPC:
    case EDQUOT:
        return TERN_DISK_FULL;
    case ENOMEM:
        return TERN_NO_MEMORY;
    default:
        return TERN_IO;
    }
}

tern_status fail_file(tern_error *error, int system_errno, const char *file, const char *message) {
    if (system_errno == EINTR) {
        return fail(error, TERN_CANCELLED, "cancelled");
    }
    fail(error, status_from_errno(system_errno), "%s", message);
    error->system_errno = system_errno;
    size_t size = strlen(file);
    const char *tail = size < sizeof(error->file) ? file : file + size - sizeof(error->file) + 1;
    snprintf(error->file, sizeof(error->file), "%s", tail);
    return error->status;
}
