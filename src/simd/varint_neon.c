/* SPDX-License-Identifier: Apache-2.0 */
#include <arm_neon.h>

#include "simd/variants.h"
#include "simd/varint_walk_internal.h"

#define BLOCK_BYTES 16u

/* Four bits for each byte that ends a number, of which one is left. */
static inline uint64_t ends_of(uint8x16_t bytes) {
    uint8x16_t ends = vcltq_u8(bytes, vdupq_n_u8(0x80));
    uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(ends), 4);
    return vget_lane_u64(vreinterpret_u64_u8(nibbles), 0) & 0x1111111111111111u;
}

const uint8_t *varint_get_many_neon(const uint8_t *source, const uint8_t *end, size_t count,
                                    uint64_t *out_values) {
    while (count > 0 && (size_t)(end - source) >= BLOCK_BYTES + VARINT_PAD_BYTES) {
        uint64_t ends = ends_of(vld1q_u8(source));
        size_t size = 0;
        size_t done = varint_walk(source, ends, 2, count, out_values, &size);
        if (done == 0) {
            const uint8_t *next = varint_get(source, end, out_values);
            if (next == NULL) {
                return NULL;
            }
            done = 1;
            size = (size_t)(next - source);
        }
        source += size;
        out_values += done;
        count -= done;
    }
    return varint_get_many_scalar(source, end, count, out_values);
}
