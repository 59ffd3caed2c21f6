/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file error.h
 * Detail of a failure, recorded once where it arose. Lives in the caller's memory, in a transaction
 * or in a cursor; never in global or per-thread state.
 */
#ifndef TERN_ERROR_H
#define TERN_ERROR_H

#include <stddef.h>
#include <stdint.h>
#include <tern/status.h>

TERN_BEGIN_DECLS

/** Capacity of tern_error::message in bytes, with its terminating zero. */
#define TERN_ERROR_MESSAGE_BYTES 384
/** Capacity of tern_error::file in bytes, with its terminating zero; longer paths keep their end.
 */
#define TERN_ERROR_FILE_BYTES 192

/**
 * What failed, where, and what to do. Plain data: may be copied, needs no release. Initialise with
 * #TERN_ERROR_INIT. A call that succeeds leaves it as it was.
 */
typedef struct tern_error {
    tern_status status;               /**< the code that the call returned */
    int system_errno;                 /**< errno of the failed system call, or 0 */
    int64_t offset;                   /**< byte offset in `file`, or -1 */
    const char *source_file;          /**< source file where it arose (static storage), or NULL */
    int source_line;                  /**< line in `source_file` */
    char file[TERN_ERROR_FILE_BYTES]; /**< data file or directory concerned, or "" */
    char message[TERN_ERROR_MESSAGE_BYTES]; /**< what happened, to what, what to do */
} tern_error;

/** Nothing has failed. */
#define TERN_ERROR_INIT                                                                            \
    {                                                                                              \
        TERN_OK, 0, -1, NULL, 0, {0}, {                                                            \
            0                                                                                      \
        }                                                                                          \
    }

/**
 * Writes one line "message (file FILE at offset N: strerror)" into `buffer`, always terminated.
 * @return the length in bytes that the whole line has, as snprintf. Any thread.
 */
TERN_API int tern_error_format(const tern_error *error, char *buffer, size_t capacity_bytes);

TERN_END_DECLS

#endif
