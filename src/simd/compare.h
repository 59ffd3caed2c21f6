/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing byte strings. Any thread; no byte past the given sizes is read. */
#ifndef TERN_SIMD_COMPARE_H
#define TERN_SIMD_COMPARE_H

#include <stddef.h>
#include <stdint.h>
#include <tern/slice.h>

/* Length of the common prefix of two byte strings of at least `size` bytes, at most `size`. */
size_t common_prefix(const void *left, const void *right, size_t size);

/* Order of two strings of `size` bytes: negative, 0, positive, as memcmp gives it. */
static inline int compare_bytes(const void *left, const void *right, size_t size) {
    size_t at = common_prefix(left, right, size);
    return at == size ? 0 : ((const uint8_t *)left)[at] - ((const uint8_t *)right)[at];
}

/* Number of equal bytes at the beginning. */
static inline size_t slice_common_prefix(tern_slice left, tern_slice right) {
    return common_prefix(left.data, right.data, left.size < right.size ? left.size : right.size);
}

#endif
