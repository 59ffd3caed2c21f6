/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lower bounds without branches that could be mispredicted: the binary search halves by conditional
 * moves down to a window of one cache line; vector variants count there what is smaller. Sorted
 * order makes the count the answer.
 */
#include "simd/search.h"

#include <stdatomic.h>

#include "base/bytes.h"
#include "simd/variants_internal.h"

typedef size_t (*search_u32_function)(const uint32_t *heads, size_t count, uint32_t head);
typedef size_t (*search_u64_function)(const uint64_t *heads, size_t count, uint64_t head);
typedef size_t (*prefix_function)(const void *left, const void *right, size_t size);

static size_t resolve_u32(const uint32_t *heads, size_t count, uint32_t head);
static size_t resolve_u64(const uint64_t *heads, size_t count, uint64_t head);
static size_t resolve_prefix(const void *left, const void *right, size_t size);

static _Atomic(search_u32_function) search_u32_best = resolve_u32;
static _Atomic(search_u64_function) search_u64_best = resolve_u64;
static _Atomic(prefix_function) prefix_best = resolve_prefix;

/* Below this length the words are compared here; above, the call of a variant pays. */
#define PREFIX_SHORT_BYTES 64

size_t search_lower_u32_scalar(const uint32_t *heads, size_t count, uint32_t head) {
    const uint32_t *base = heads;
    if (count == 0) {
        return 0;
    }
    while (count > 1) {
        size_t half = count / 2;
        base += base[half - 1] < head ? half : 0;
        count -= half;
    }
    return (size_t)(base - heads) + (*base < head);
}

size_t search_lower_u64_scalar(const uint64_t *heads, size_t count, uint64_t head) {
    const uint64_t *base = heads;
    if (count == 0) {
        return 0;
    }
    while (count > 1) {
        size_t half = count / 2;
        base += base[half - 1] < head ? half : 0;
        count -= half;
    }
    return (size_t)(base - heads) + (*base < head);
}

size_t common_prefix_scalar(const void *left, const void *right, size_t size) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t difference = get_u64(a + at) ^ get_u64(b + at);
        if (difference != 0) {
            return at + (size_t)__builtin_ctzll(difference) / 8;
        }
    }
    while (at < size && a[at] == b[at]) {
        at++;
    }
    return at;
}

static size_t resolve_u32(const uint32_t *heads, size_t count, uint32_t head) {
    search_u32_function best = search_lower_u32_scalar;
#if CPU_X86
    best = cpu_has_avx2() ? search_lower_u32_avx2 : best;
#elif CPU_ARM
    best = cpu_has_neon() ? search_lower_u32_neon : best;
#endif
    atomic_store_explicit(&search_u32_best, best, memory_order_relaxed);
    return best(heads, count, head);
}

static size_t resolve_u64(const uint64_t *heads, size_t count, uint64_t head) {
    search_u64_function best = search_lower_u64_scalar;
#if CPU_X86
    best = cpu_has_avx2() ? search_lower_u64_avx2 : best;
#elif CPU_ARM
    best = cpu_has_neon() ? search_lower_u64_neon : best;
#endif
    atomic_store_explicit(&search_u64_best, best, memory_order_relaxed);
    return best(heads, count, head);
}

static size_t resolve_prefix(const void *left, const void *right, size_t size) {
    prefix_function best = common_prefix_scalar;
#if CPU_X86
    best = cpu_has_avx2() ? common_prefix_avx2 : best;
#endif
    atomic_store_explicit(&prefix_best, best, memory_order_relaxed);
    return best(left, right, size);
}

size_t search_lower_u32(const uint32_t *heads, size_t count, uint32_t head) {
    return atomic_load_explicit(&search_u32_best, memory_order_relaxed)(heads, count, head);
}

size_t search_lower_u64(const uint64_t *heads, size_t count, uint64_t head) {
    return atomic_load_explicit(&search_u64_best, memory_order_relaxed)(heads, count, head);
}

size_t common_prefix(const void *left, const void *right, size_t size) {
    return size < PREFIX_SHORT_BYTES
               ? common_prefix_scalar(left, right, size)
               : atomic_load_explicit(&prefix_best, memory_order_relaxed)(left, right, size);
}
