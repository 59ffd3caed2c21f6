/* SPDX-License-Identifier: Apache-2.0 */
#include "simd/hash.h"

#include <stdatomic.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "simd/variants_internal.h"

typedef uint64_t (*hash_function)(const void *bytes, size_t size, uint64_t seed);

static uint64_t resolve(const void *bytes, size_t size, uint64_t seed);

static _Atomic(hash_function) hash_long = resolve;

uint64_t hash_long_scalar(const void *bytes, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, size, seed);
}

static uint64_t resolve(const void *bytes, size_t size, uint64_t seed) {
    hash_function best = hash_long_scalar;
#if CPU_X86
    best = cpu_has_avx2() ? hash_long_avx2 : best;
#endif
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
