/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>

#include "base/bytes.h"
#include "simd/crc32c_table.h"
#include "simd/hash.h"
#include "simd/variants.h"

static uint32_t resolve(uint32_t crc, const void *bytes, size_t size);

static _Atomic(crc32c_function) crc_best = resolve;

uint32_t crc32c_scalar(uint32_t crc, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    uint32_t state = ~crc;
    for (; size >= 8; size -= 8, at += 8) {
        uint32_t low = get_u32(at) ^ state;
        uint32_t high = get_u32(at + 4);
        state = crc32c_table[7][low & 0xff] ^ crc32c_table[6][low >> 8 & 0xff] ^
                crc32c_table[5][low >> 16 & 0xff] ^ crc32c_table[4][low >> 24] ^
                crc32c_table[3][high & 0xff] ^ crc32c_table[2][high >> 8 & 0xff] ^
                crc32c_table[1][high >> 16 & 0xff] ^ crc32c_table[0][high >> 24];
    }
    for (; size > 0; size--, at++) {
        state = state >> 8 ^ crc32c_table[0][(state ^ *at) & 0xff];
    }
    return ~state;
}

const struct variant crc32c_variants[] = {
    {"scalar", variant_is_plain, (variant_function)crc32c_scalar},
#if CPU_X86
    {"sse42", cpu_has_sse42, (variant_function)crc32c_sse42},
#elif CPU_ARM
    {"neon", cpu_has_arm_crc, (variant_function)crc32c_neon},
#endif
    VARIANTS_END};

static uint32_t resolve(uint32_t crc, const void *bytes, size_t size) {
    crc32c_function best = (crc32c_function)variant_best(crc32c_variants)->function;
    atomic_store_explicit(&crc_best, best, memory_order_relaxed);
    return best(crc, bytes, size);
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t size) {
    return atomic_load_explicit(&crc_best, memory_order_relaxed)(crc, bytes, size);
}
