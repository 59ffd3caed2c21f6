/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file status.h
 * The one list of result codes: 0 is success, everything else is negative and stable.
 */
#ifndef TERN_STATUS_H
#define TERN_STATUS_H

#include <tern/export.h>

/**
 * X(name, code, text, http, grpc, exit): symbol, stable number, one-line text, the HTTP and gRPC
 * codes that servers answer with, and the exit code of the command line tool.
 */
#define TERN_STATUS_MAP(X)                                                                         \
    X(OK, 0, "success", 200, 0, 0)                                                                 \
    X(NOT_FOUND, -1, "not found", 404, 5, 1)                                                       \
    X(INVALID, -2, "invalid argument", 400, 3, 2)                                                  \
    X(IO, -3, "input/output error", 500, 13, 3)                                                    \
    X(CORRUPTION, -4, "stored bytes are damaged", 500, 15, 4)                                      \
    X(CONFLICT, -5, "conflict with another transaction", 409, 10, 5)                               \
    X(LOCKED, -6, "in use elsewhere", 423, 9, 6)                                                   \
    X(TIMEOUT, -7, "timed out", 504, 4, 7)                                                         \
    X(DISK_FULL, -8, "no space left on device", 507, 8, 8)                                         \
    X(NO_MEMORY, -9, "out of memory", 503, 8, 9)                                                   \
    X(UNKNOWN, -10, "outcome unknown", 500, 2, 10)                                                 \
    X(EXISTS, -11, "already exists", 409, 6, 11)                                                   \
    X(DEADLOCK, -12, "deadlock, transaction chosen as victim", 409, 10, 12)                        \
    X(TOO_LARGE, -13, "over a stated limit", 413, 11, 13)                                          \
    X(SNAPSHOT_TOO_OLD, -14, "snapshot ended by the space policy", 410, 9, 14)                     \
    X(READ_ONLY, -15, "read-only", 403, 9, 15)                                                     \
    X(UNSUPPORTED, -16, "not supported", 501, 12, 16)                                              \
    X(BUFFER_TOO_SMALL, -17, "buffer too small", 500, 13, 17)                                      \
    X(CLOSED, -18, "closed or ended", 503, 14, 18)                                                 \
    X(POISONED, -19, "a sync failed, writes are refused", 503, 15, 19)                             \
    X(VERSION, -20, "format version not readable by this release", 500, 9, 20)                     \
    X(CANCELLED, -21, "cancelled", 499, 1, 21)

TERN_BEGIN_DECLS

/** Result of every call that can fail. 0 is success; see #TERN_STATUS_MAP. */
typedef enum tern_status {
#define TERN_STATUS_ENUM(name, code, text, http, grpc, exit_code) TERN_##name = (code),
    TERN_STATUS_MAP(TERN_STATUS_ENUM)
#undef TERN_STATUS_ENUM
} tern_status;

/** Text of a code ("not found"); static storage, any thread. Unknown codes give "unknown status".
 */
TERN_API const char *tern_status_text(tern_status status);

/** Symbol of a code ("NOT_FOUND"); static storage, any thread. */
TERN_API const char *tern_status_name(tern_status status);

/** HTTP status for a code. Any thread. */
TERN_API int tern_status_http(tern_status status);

/** gRPC status for a code. Any thread. */
TERN_API int tern_status_grpc(tern_status status);

/** Exit code of the `tern` command for a code. Any thread. */
TERN_API int tern_status_exit(tern_status status);

TERN_END_DECLS

#endif
