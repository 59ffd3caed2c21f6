/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file slice.h
 * A borrowed run of bytes.
 */
#ifndef TERN_SLICE_H
#define TERN_SLICE_H

#include <stddef.h>
#include <string.h>
#include <tern/export.h>

TERN_BEGIN_DECLS

/** Borrowed bytes; `data` may be NULL only when `size` is 0. Never owns. */
typedef struct tern_slice {
    const void *data; /**< first byte */
    size_t size;      /**< bytes */
} tern_slice;

/** A slice over `size` bytes at `data`. */
static inline tern_slice tern_slice_of(const void *data, size_t size) {
    tern_slice slice;
    slice.data = data;
    slice.size = size;
    return slice;
}

/** A slice over a C string, without its terminating zero. */
static inline tern_slice tern_slice_str(const char *text) {
    return tern_slice_of(text, strlen(text));
}

TERN_END_DECLS

#endif
