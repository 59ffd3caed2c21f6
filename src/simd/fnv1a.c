/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A multiplication takes three or four cycles but can start every cycle: four strings in step are
 * as much as a processor without wide vectors can do, and need none.
 */
#include "simd/fnv1a.h"

#include <stdatomic.h>

#include "simd/variants.h"

#define IN_STEP 4u

static void resolve(const tern_slice *strings, size_t count, uint64_t state, uint64_t *out_hashes);

static _Atomic(fnv1a_many_function) best_now = resolve;

static inline void hash_four(const tern_slice *strings, uint64_t state, uint64_t *out_hashes) {
    uint64_t hashes[IN_STEP] = {state, state, state, state};
    const uint8_t *at[IN_STEP];
    size_t shortest = strings[0].size;
    for (unsigned i = 0; i < IN_STEP; i++) {
        at[i] = strings[i].data;
        shortest = strings[i].size < shortest ? strings[i].size : shortest;
    }
    for (size_t byte = 0; byte < shortest; byte++) {
        hashes[0] = (hashes[0] ^ at[0][byte]) * FNV1A_PRIME;
        hashes[1] = (hashes[1] ^ at[1][byte]) * FNV1A_PRIME;
        hashes[2] = (hashes[2] ^ at[2][byte]) * FNV1A_PRIME;
        hashes[3] = (hashes[3] ^ at[3][byte]) * FNV1A_PRIME;
    }
    for (unsigned i = 0; i < IN_STEP; i++) {
        out_hashes[i] = strings[i].size == shortest
                            ? hashes[i]
                            : fnv1a(at[i] + shortest, strings[i].size - shortest, hashes[i]);
    }
}

void fnv1a_many_scalar(const tern_slice *strings, size_t count, uint64_t state,
                       uint64_t *out_hashes) {
    size_t i = 0;
    for (; i + IN_STEP <= count; i += IN_STEP) {
        hash_four(strings + i, state, out_hashes + i);
    }
    for (; i < count; i++) {
        out_hashes[i] = fnv1a(strings[i].data, strings[i].size, state);
    }
}

const struct variant fnv1a_many_variants[] = {
    {"scalar", variant_is_plain, (variant_function)fnv1a_many_scalar},
#if CPU_X86
    {"avx512", cpu_has_avx512, (variant_function)fnv1a_many_avx512},
#endif
    VARIANTS_END};

static void resolve(const tern_slice *strings, size_t count, uint64_t state, uint64_t *out_hashes) {
    fnv1a_many_function best = (fnv1a_many_function)variant_best(fnv1a_many_variants)->function;
    atomic_store_explicit(&best_now, best, memory_order_relaxed);
    best(strings, count, state, out_hashes);
}

void fnv1a_many(const tern_slice *strings, size_t count, uint64_t state, uint64_t *out_hashes) {
    atomic_load_explicit(&best_now, memory_order_relaxed)(strings, count, state, out_hashes);
}
