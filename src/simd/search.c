/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lower bounds without branches that could be mispredicted: the binary search halves by conditional
 * moves down to a window of one cache line; vector variants count there what is smaller. Sorted
 * order makes the count the answer.
 */
#include "simd/search.h"

#include <stdatomic.h>

#include "simd/variants.h"

static size_t resolve_u32(const uint32_t *heads, size_t count, uint32_t head);
static size_t resolve_u64(const uint64_t *heads, size_t count, uint64_t head);

static _Atomic(search_u32_function) search_u32_best = resolve_u32;
static _Atomic(search_u64_function) search_u64_best = resolve_u64;

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

const struct variant search_lower_u32_variants[] = {
    {"scalar", variant_is_plain, (variant_function)search_lower_u32_scalar},
#if CPU_X86
    {"avx2", cpu_has_avx2, (variant_function)search_lower_u32_avx2},
#elif CPU_ARM
    {"neon", cpu_has_neon, (variant_function)search_lower_u32_neon},
#endif
    VARIANTS_END};

static size_t resolve_u32(const uint32_t *heads, size_t count, uint32_t head) {
    search_u32_function best =
        (search_u32_function)variant_best(search_lower_u32_variants)->function;
    atomic_store_explicit(&search_u32_best, best, memory_order_relaxed);
    return best(heads, count, head);
}

const struct variant search_lower_u64_variants[] = {
    {"scalar", variant_is_plain, (variant_function)search_lower_u64_scalar},
#if CPU_X86
    {"avx2", cpu_has_avx2, (variant_function)search_lower_u64_avx2},
#elif CPU_ARM
    {"neon", cpu_has_neon, (variant_function)search_lower_u64_neon},
#endif
    VARIANTS_END};

static size_t resolve_u64(const uint64_t *heads, size_t count, uint64_t head) {
    search_u64_function best =
        (search_u64_function)variant_best(search_lower_u64_variants)->function;
    atomic_store_explicit(&search_u64_best, best, memory_order_relaxed);
    return best(heads, count, head);
}

size_t search_lower_u32(const uint32_t *heads, size_t count, uint32_t head) {
    return atomic_load_explicit(&search_u32_best, memory_order_relaxed)(heads, count, head);
}

size_t search_lower_u64(const uint64_t *heads, size_t count, uint64_t head) {
    return atomic_load_explicit(&search_u64_best, memory_order_relaxed)(heads, count, head);
}
