/* SPDX-License-Identifier: Apache-2.0 */
#include <arm_neon.h>

#include "simd/variants.h"

/* Four bits for each byte that differs: narrowing by four bits is this architecture's movemask. */
static inline uint64_t differences(const uint8_t *a, const uint8_t *b) {
    uint8x16_t equal = vceqq_u8(vld1q_u8(a), vld1q_u8(b));
    return ~vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(equal), 4)), 0);
}

size_t common_prefix_neon(const void *left, const void *right, size_t size) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    if (size < 16) {
        return common_prefix_scalar(left, right, size);
    }
    for (size_t at = 0; at + 16 <= size; at += 16) {
        uint64_t different = differences(a + at, b + at);
        if (different != 0) {
            return at + (size_t)__builtin_ctzll(different) / 4;
        }
    }
    uint64_t different = differences(a + size - 16, b + size - 16);
    return different != 0 ? size - 16 + (size_t)__builtin_ctzll(different) / 4 : size;
}
