/* SPDX-License-Identifier: Apache-2.0 */
#include "simd/varint.h"

#include <stdatomic.h>

#include "base/varint.h"
#include "simd/variants.h"

static const uint8_t *resolve(const uint8_t *source, const uint8_t *end, size_t count,
                              uint64_t *out_values);

static _Atomic(varint_get_many_function) best_now = resolve;

const uint8_t *varint_get_many_scalar(const uint8_t *source, const uint8_t *end, size_t count,
                                      uint64_t *out_values) {
    for (size_t i = 0; i < count && source != NULL; i++) {
        source = varint_get(source, end, &out_values[i]);
    }
    return source;
}

const struct variant varint_get_many_variants[] = {
    {"scalar", variant_is_plain, (variant_function)varint_get_many_scalar},
#if CPU_X86
    {"sse42", cpu_has_sse42, (variant_function)varint_get_many_sse42},
    {"avx2", cpu_has_avx2, (variant_function)varint_get_many_avx2},
#elif CPU_ARM
    {"neon", cpu_has_neon, (variant_function)varint_get_many_neon},
#endif
    VARIANTS_END};

static const uint8_t *resolve(const uint8_t *source, const uint8_t *end, size_t count,
                              uint64_t *out_values) {
    varint_get_many_function best =
        (varint_get_many_function)variant_best(varint_get_many_variants)->function;
    atomic_store_explicit(&best_now, best, memory_order_relaxed);
    return best(source, end, count, out_values);
}

const uint8_t *varint_get_many(const uint8_t *source, const uint8_t *end, size_t count,
                               uint64_t *out_values) {
    return atomic_load_explicit(&best_now, memory_order_relaxed)(source, end, count, out_values);
}
