/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where two strings differ first is all there is to compute: their order is that of the bytes
 * there. Rests are not done byte by byte: the last vector or word ends where the string ends and
 * overlaps the one before, whose bytes are known to be equal.
 */
#include "simd/compare.h"

#include <stdatomic.h>

#include "base/bytes.h"
#include "simd/variants_internal.h"

typedef size_t (*prefix_function)(const void *left, const void *right, size_t size);

static size_t resolve_prefix(const void *left, const void *right, size_t size);

static _Atomic(prefix_function) prefix_best = resolve_prefix;

/* Below this length the words are compared here; above, the call of a variant pays. */
#define PREFIX_SHORT_BYTES 32

static inline size_t prefix_by_words(const uint8_t *a, const uint8_t *b, size_t size) {
    size_t at = 0;
    if (size < 8) {
        while (at < size && a[at] == b[at]) {
            at++;
        }
        return at;
    }
    for (; at + 8 <= size; at += 8) {
        uint64_t difference = get_u64(a + at) ^ get_u64(b + at);
        if (difference != 0) {
            return at + (size_t)__builtin_ctzll(difference) / 8;
        }
    }
    uint64_t difference = get_u64(a + size - 8) ^ get_u64(b + size - 8);
    return difference != 0 ? size - 8 + (size_t)__builtin_ctzll(difference) / 8 : size;
}

size_t common_prefix_scalar(const void *left, const void *right, size_t size) {
    return prefix_by_words(left, right, size);
}

static size_t resolve_prefix(const void *left, const void *right, size_t size) {
    prefix_function best = common_prefix_scalar;
#if CPU_X86
    best = cpu_has_sse42() ? common_prefix_sse42 : best;
    best = cpu_has_avx2() ? common_prefix_avx2 : best;
    best = cpu_has_avx512() ? common_prefix_avx512 : best;
#elif CPU_ARM
    best = cpu_has_neon() ? common_prefix_neon : best;
#endif
    atomic_store_explicit(&prefix_best, best, memory_order_relaxed);
    return best(left, right, size);
}

size_t common_prefix(const void *left, const void *right, size_t size) {
    return size < PREFIX_SHORT_BYTES
               ? prefix_by_words(left, right, size)
               : atomic_load_explicit(&prefix_best, memory_order_relaxed)(left, right, size);
}
