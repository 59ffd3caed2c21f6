/* SPDX-License-Identifier: Apache-2.0 */
/* The order of keys: unsigned bytes, shorter first. */
#ifndef TERN_BASE_COMPARE_H
#define TERN_BASE_COMPARE_H

#include <stdbool.h>
#include <stdint.h>
#include <tern/slice.h>

static inline int slice_compare(tern_slice left, tern_slice right) {
    size_t shorter = left.size < right.size ? left.size : right.size;
    int order = shorter > 0 ? memcmp(left.data, right.data, shorter) : 0;
    if (order != 0) {
        return order;
    }
    return (left.size > right.size) - (left.size < right.size);
}

static inline bool slice_equal(tern_slice left, tern_slice right) {
    return left.size == right.size &&
           (left.size == 0 || memcmp(left.data, right.data, left.size) == 0);
}

#endif
