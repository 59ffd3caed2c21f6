/* SPDX-License-Identifier: Apache-2.0 */
#include "simd/bits.h"

#include <stdatomic.h>
#include <string.h>

#include "base/bytes.h"
#include "simd/variants.h"

static void resolve(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values);

static _Atomic(bits_unpack_function) best_now = resolve;

static uint64_t mask_of(unsigned width) {
    return ((uint64_t)1 << width) - 1;
}

void bits_pack(const uint32_t *values, size_t count, unsigned width, uint8_t *target) {
    uint64_t window = 0;
    unsigned filled = 0;
    for (size_t i = 0; i < count; i++) {
        window |= (values[i] & mask_of(width)) << filled;
        filled += width;
        for (; filled >= 8; filled -= 8, window >>= 8) {
            *target++ = (uint8_t)window;
        }
    }
    if (filled > 0) {
        *target = (uint8_t)window;
    }
}

/* From words of eight bytes that lie within `readable`; returns how many. */
static size_t unpack_words(const uint8_t *source, size_t readable, size_t count, unsigned width,
                           uint32_t *out_values) {
    uint64_t mask = mask_of(width);
    size_t bit = 0;
    size_t i = 0;
    for (; i < count && bit / 8 + 8 <= readable; i++, bit += width) {
        out_values[i] = (uint32_t)(get_u64(source + bit / 8) >> bit % 8 & mask);
    }
    return i;
}

void bits_unpack_scalar(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values) {
    size_t bytes = bits_packed_bytes(count, width);
    size_t done = unpack_words(source, bytes, count, width, out_values);
    if (done < count) {
        /* The last less than eight bytes, and zeros to read behind them. */
        uint8_t rest[16] = {0};
        size_t bit = done * width;
        if (bit / 8 < bytes) {
            memcpy(rest, source + bit / 8, bytes - bit / 8);
        }
        for (bit %= 8; done < count; done++, bit += width) {
            out_values[done] = (uint32_t)(get_u64(rest + bit / 8) >> bit % 8 & mask_of(width));
        }
    }
}

const struct variant bits_unpack_variants[] = {
    {"scalar", variant_is_plain, (variant_function)bits_unpack_scalar},
#if CPU_X86
    {"sse42", cpu_has_sse42, (variant_function)bits_unpack_sse42},
    {"avx2", cpu_has_avx2, (variant_function)bits_unpack_avx2},
#elif CPU_ARM
    {"neon", cpu_has_neon, (variant_function)bits_unpack_neon},
#endif
    VARIANTS_END};

static void resolve(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values) {
    bits_unpack_function best = (bits_unpack_function)variant_best(bits_unpack_variants)->function;
    atomic_store_explicit(&best_now, best, memory_order_relaxed);
    best(source, count, width, out_values);
}

void bits_unpack(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values) {
    atomic_load_explicit(&best_now, memory_order_relaxed)(source, count, width, out_values);
}
