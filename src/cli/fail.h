/* SPDX-License-Identifier: Apache-2.0 */
/* Recording what went wrong into a tern_error, as the library does. */
#ifndef TERN_CLI_FAIL_H
#define TERN_CLI_FAIL_H

#include <tern/error.h>

/* Fills `error` with a code and a message and returns the code. */
__attribute__((format(printf, 3, 4))) tern_status fail(tern_error *error, tern_status status,
                                                       const char *format, ...);
/* The same for a file and the errno of a failed call: ENOENT and ENOTDIR are TERN_NOT_FOUND, EEXIST
 * TERN_EXISTS, ENOSPC and EDQUOT TERN_DISK_FULL, ENOMEM TERN_NO_MEMORY, EISDIR TERN_INVALID, EINTR
 * TERN_CANCELLED (by Ctrl-C), all others TERN_IO. */
tern_status fail_file(tern_error *error, int system_errno, const char *file, const char *message);

#endif
