/* SPDX-License-Identifier: Apache-2.0 */
#include "simd/bloom.h"

#include <stdatomic.h>

#include "base/bytes.h"
#include "simd/bloom_salts.h"
#include "simd/variants.h"

static bool resolve_probe(const uint8_t *line, uint64_t hash);
static void resolve_build(uint8_t *lines, uint32_t line_count, const uint64_t *hashes,
                          size_t count);

static _Atomic(bloom_probe_function) probe_best = resolve_probe;
static _Atomic(bloom_build_function) build_best = resolve_build;

bool bloom_probe_scalar(const uint8_t *line, uint64_t hash) {
    uint32_t low = (uint32_t)hash;
    uint32_t missing = 0;
    for (size_t word = 0; word < BLOOM_WORDS; word++) {
        missing |= ~(get_u32(line + word * 4) >> (low * bloom_salts[word] >> 27)) & 1u;
    }
    return missing == 0;
}

void bloom_build_scalar(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t *line = lines + bloom_line_offset(hashes[i], line_count);
        uint32_t low = (uint32_t)hashes[i];
        for (size_t word = 0; word < BLOOM_WORDS; word++) {
            uint32_t bit = low * bloom_salts[word] >> 27;
            put_u32(line + word * 4, get_u32(line + word * 4) | (uint32_t)1 << bit);
        }
    }
}

const struct variant bloom_probe_variants[] = {
    {"scalar", variant_is_plain, (variant_function)bloom_probe_scalar},
#if CPU_X86
    {"sse42", cpu_has_sse42, (variant_function)bloom_probe_sse42},
    {"avx2", cpu_has_avx2, (variant_function)bloom_probe_avx2},
#elif CPU_ARM
    {"neon", cpu_has_neon, (variant_function)bloom_probe_neon},
#endif
    VARIANTS_END};

const struct variant bloom_build_variants[] = {
    {"scalar", variant_is_plain, (variant_function)bloom_build_scalar},
#if CPU_X86
    {"sse42", cpu_has_sse42, (variant_function)bloom_build_sse42},
    {"avx2", cpu_has_avx2, (variant_function)bloom_build_avx2},
#elif CPU_ARM
    {"neon", cpu_has_neon, (variant_function)bloom_build_neon},
#endif
    VARIANTS_END};

static bool resolve_probe(const uint8_t *line, uint64_t hash) {
    bloom_probe_function best = (bloom_probe_function)variant_best(bloom_probe_variants)->function;
    atomic_store_explicit(&probe_best, best, memory_order_relaxed);
    return best(line, hash);
}

static void resolve_build(uint8_t *lines, uint32_t line_count, const uint64_t *hashes,
                          size_t count) {
    bloom_build_function best = (bloom_build_function)variant_best(bloom_build_variants)->function;
    atomic_store_explicit(&build_best, best, memory_order_relaxed);
    best(lines, line_count, hashes, count);
}

bool bloom_line_may_contain(const uint8_t *line, uint64_t hash) {
    return atomic_load_explicit(&probe_best, memory_order_relaxed)(line, hash);
}

void bloom_build(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count) {
    atomic_load_explicit(&build_best, memory_order_relaxed)(lines, line_count, hashes, count);
}
