/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where two strings differ first is all there is to compute: their order is that of the bytes
 * there. Rests are not done byte by byte: the last vector or word ends where the string ends and
 * overlaps the one before, whose bytes are known to be equal.
 */
#include "simd/compare.h"

#include <stdatomic.h>

#include "base/bytes.h"
#include "simd/variants.h"

static size_t resolve_prefix(const void *left, const void *right, size_t size);

static _Atomic(common_prefix_function) prefix_best = resolve_prefix;

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

const struct variant common_prefix_variants[] = {
    {"scalar", variant_is_plain, (variant_function)common_prefix_scalar},
#if CPU_X86
    {"sse42", cpu_has_sse42, (variant_function)common_prefix_sse42},
    {"avx2", cpu_has_avx2, (variant_function)common_prefix_avx2},
    {"avx512", cpu_has_avx512, (variant_function)common_prefix_avx512},
#elif CPU_ARM
    {"neon", cpu_has_neon, (variant_function)common_prefix_neon},
#endif
    VARIANTS_END};

static size_t resolve_prefix(const void *left, const void *right, size_t size) {
    common_prefix_function best =
        (common_prefix_function)variant_best(common_prefix_variants)->function;
    atomic_store_explicit(&prefix_best, best, memory_order_relaxed);
    return best(left, right, size);
}

size_t common_prefix(const void *left, const void *right, size_t size) {
    return size < PREFIX_SHORT_BYTES
               ? prefix_by_words(left, right, size)
               : atomic_load_explicit(&prefix_best, memory_order_relaxed)(left, right, size);
}
