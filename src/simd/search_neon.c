/* SPDX-License-Identifier: Apache-2.0 */
#include <arm_neon.h>

#include "simd/variants.h"

/* Heads in one cache line. */
#define WINDOW_U32 16
#define WINDOW_U64 8

size_t search_lower_u32_neon(const uint32_t *heads, size_t count, uint32_t head) {
    const uint32_t *base = heads;
    while (count > WINDOW_U32) {
        size_t half = count / 2;
        base += base[half - 1] < head ? half : 0;
        count -= half;
    }
    static const uint32_t places[4] = {0, 1, 2, 3};
    uint32x4_t wanted = vdupq_n_u32(head);
    uint32x4_t limit = vdupq_n_u32((uint32_t)count);
    uint32x4_t place = vld1q_u32(places);
    uint32x4_t below = vdupq_n_u32(0);
    for (unsigned i = 0; i < WINDOW_U32; i += 4) {
        /* Each lane that is smaller, and not past the end, is all ones: minus one. */
        uint32x4_t smaller = vcltq_u32(vld1q_u32(base + i), wanted);
        below = vsubq_u32(below, vandq_u32(smaller, vcltq_u32(place, limit)));
        place = vaddq_u32(place, vdupq_n_u32(4));
    }
    return (size_t)(base - heads) + vaddvq_u32(below);
}

size_t search_lower_u64_neon(const uint64_t *heads, size_t count, uint64_t head) {
    const uint64_t *base = heads;
    while (count > WINDOW_U64) {
        size_t half = count / 2;
        base += base[half - 1] < head ? half : 0;
        count -= half;
    }
    static const uint64_t places[2] = {0, 1};
    uint64x2_t wanted = vdupq_n_u64(head);
    uint64x2_t limit = vdupq_n_u64(count);
    uint64x2_t place = vld1q_u64(places);
    uint64x2_t below = vdupq_n_u64(0);
    for (unsigned i = 0; i < WINDOW_U64; i += 2) {
        uint64x2_t smaller = vcltq_u64(vld1q_u64(base + i), wanted);
        below = vsubq_u64(below, vandq_u64(smaller, vcltq_u64(place, limit)));
        place = vaddq_u64(place, vdupq_n_u64(2));
    }
    return (size_t)(base - heads) + vaddvq_u64(below);
}
