/* SPDX-License-Identifier: Apache-2.0 */
#include "simd/hash.h"

#include <stdatomic.h>

/* Without vectors even where the whole build has them: those have files of their own. */
#define XXH_VECTOR 0
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "simd/variants.h"

static uint64_t resolve(const void *bytes, size_t size, uint64_t seed);

static _Atomic(hash_function) hash_long = resolve;

uint64_t hash_long_scalar(const void *bytes, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, size, seed);
}

const struct variant hash_long_variants[] = {
    {"scalar", variant_is_plain, (variant_function)hash_long_scalar},
#if CPU_X86
    {"sse42", cpu_has_sse42, (variant_function)hash_long_sse42},
    {"avx2", cpu_has_avx2, (variant_function)hash_long_avx2},
    {"avx512", cpu_has_avx512, (variant_function)hash_long_avx512},
#elif CPU_ARM
    {"neon", cpu_has_neon, (variant_function)hash_long_neon},
#endif
    VARIANTS_END};

static uint64_t resolve(const void *bytes, size_t size, uint64_t seed) {
    hash_function best = (hash_function)variant_best(hash_long_variants)->function;
    atomic_store_explicit(&hash_long, best, memory_order_relaxed);
    return best(bytes, size, seed);
}

uint64_t hash_u64(const void *bytes, size_t size, uint64_t seed) {
    /* Up to this size XXH3 is plain multiplications, the same in every variant. */
    if (size <= XXH3_MIDSIZE_MAX) {
        return XXH3_64bits_withSeed(bytes, size, seed);
    }
    return atomic_load_explicit(&hash_long, memory_order_relaxed)(bytes, size, seed);
}
