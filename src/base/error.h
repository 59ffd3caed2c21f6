/* SPDX-License-Identifier: Apache-2.0 */
/* Recording the detail of a failure where it arises. */
#ifndef TERN_BASE_ERROR_H
#define TERN_BASE_ERROR_H

#include <tern/error.h>

/* Where an error happened, for ERROR_AT. */
struct error_place {
    const char *file; /* data file concerned, or NULL */
    int64_t offset;   /* byte offset in it, or -1 */
    int system_errno; /* errno of the failed call, or 0 */
};

/*
 * Fills *error (when not NULL) and returns `status`, so that callers write
 * `return ERROR_SET(error, TERN_INVALID, "key of %zu bytes ...", n);`
 */
#define ERROR_SET(error, status, ...)                                                              \
    error_record((error), (status), NULL, __FILE__, __LINE__, __VA_ARGS__)

/* The same with a place: ERROR_AT(error, TERN_CORRUPTION, path, offset, 0, "bad checksum ..."). */
#define ERROR_AT(error, status, path, byte_offset, errno_value, ...)                               \
    error_record((error), (status),                                                                \
                 &(struct error_place){(path), (int64_t)(byte_offset), (errno_value)}, __FILE__,   \
                 __LINE__, __VA_ARGS__)

/* Returns TERN_INVALID with a text that names function and argument, unless `condition` holds. */
#define REQUIRE(error, condition, text)                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            return ERROR_SET((error), TERN_INVALID, "%s: " text, __func__);                        \
        }                                                                                          \
    } while (0)

/* Out of memory, naming what for. */
#define ERROR_NO_MEMORY(error, what)                                                               \
    ERROR_SET((error), TERN_NO_MEMORY,                                                             \
              "out of memory for %s; close other users of memory or lower memory_bytes", (what))

tern_status error_record(tern_error *error, tern_status status, const struct error_place *place,
                         const char *source_file, int source_line, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* Copies a recorded error to where the caller wants it; either may be NULL. */
void error_copy(tern_error *target, const tern_error *source);

/* Empties an error. */
void error_clear(tern_error *error);

#endif
