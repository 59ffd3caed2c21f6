/* SPDX-License-Identifier: Apache-2.0 */
#include <arm_neon.h>

#include "simd/bloom.h"
#include "simd/bloom_salts.h"
#include "simd/variants.h"

static inline uint32x4_t bits_of(uint64_t hash, unsigned word) {
    uint32x4_t salts = vld1q_u32(bloom_salts + word);
    uint32x4_t place = vshrq_n_u32(vmulq_n_u32(salts, (uint32_t)hash), 27);
    return vshlq_u32(vdupq_n_u32(1), vreinterpretq_s32_u32(place));
}

bool bloom_probe_neon(const uint8_t *line, uint64_t hash) {
    uint32x4_t first = vreinterpretq_u32_u8(vld1q_u8(line));
    uint32x4_t second = vreinterpretq_u32_u8(vld1q_u8(line + 16));
    uint32x4_t missing =
        vorrq_u32(vbicq_u32(bits_of(hash, 0), first), vbicq_u32(bits_of(hash, 4), second));
    return vmaxvq_u32(missing) == 0;
}

void bloom_build_neon(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t *line = lines + bloom_line_offset(hashes[i], line_count);
        uint32x4_t first = vreinterpretq_u32_u8(vld1q_u8(line));
        uint32x4_t second = vreinterpretq_u32_u8(vld1q_u8(line + 16));
        vst1q_u8(line, vreinterpretq_u8_u32(vorrq_u32(first, bits_of(hashes[i], 0))));
        vst1q_u8(line + 16, vreinterpretq_u8_u32(vorrq_u32(second, bits_of(hashes[i], 4))));
    }
}
