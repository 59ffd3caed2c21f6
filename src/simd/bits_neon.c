/* SPDX-License-Identifier: Apache-2.0 */
/* As bits_sse42.c, with a shift by lane instead of the multiplication. */
#include <arm_neon.h>

#include "simd/bits_rest_internal.h"

#define LANE_WIDTH_MAX 25u

static size_t unpack_narrow(const uint8_t *source, size_t readable, size_t count, unsigned width,
                            uint32_t *out_values) {
    static const uint32_t lanes[4] = {0, 1, 2, 3};
    const uint32x4_t mask = vdupq_n_u32((1u << width) - 1);
    uint8x16_t shuffles[2];
    int32x4_t shifts[2];
    size_t offsets[2] = {0, width * 4u / 8};
    for (unsigned half = 0; half < 2; half++) {
        uint32x4_t bits =
            vaddq_u32(vmulq_n_u32(vld1q_u32(lanes), width), vdupq_n_u32(half * (width * 4u % 8)));
        uint32x4_t byte = vmulq_n_u32(vshrq_n_u32(bits, 3), 0x01010101);
        shuffles[half] = vreinterpretq_u8_u32(vaddq_u32(byte, vdupq_n_u32(0x03020100)));
        shifts[half] = vnegq_s32(vreinterpretq_s32_u32(vandq_u32(bits, vdupq_n_u32(7))));
    }
    const uint8_t *at = source;
    size_t i = 0;
    for (; i + 8 <= count && (size_t)(at - source) + offsets[1] + 16 <= readable; i += 8) {
        for (unsigned half = 0; half < 2; half++) {
            uint8x16_t four = vqtbl1q_u8(vld1q_u8(at + offsets[half]), shuffles[half]);
            uint32x4_t down = vshlq_u32(vreinterpretq_u32_u8(four), shifts[half]);
            vst1q_u32(out_values + i + 4u * half, vandq_u32(down, mask));
        }
        at += width;
    }
    return i;
}

void bits_unpack_neon(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values) {
    if (width <= LANE_WIDTH_MAX) {
        bits_unpack_eights(unpack_narrow, source, count, width, out_values);
    } else {
        bits_unpack_scalar(source, count, width, out_values);
    }
}
