/* SPDX-License-Identifier: Apache-2.0 */
#include <nmmintrin.h>

#include "simd/variants.h"

/* Bits of the bytes that differ. */
static inline uint32_t differences(const uint8_t *a, const uint8_t *b) {
    __m128i equal = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)a),
                                   _mm_loadu_si128((const __m128i *)(const void *)b));
    return (uint32_t)_mm_movemask_epi8(equal) ^ 0xffff;
}

size_t common_prefix_sse42(const void *left, const void *right, size_t size) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    if (size < 16) {
        return common_prefix_scalar(left, right, size);
    }
    for (size_t at = 0; at + 16 <= size; at += 16) {
        uint32_t different = differences(a + at, b + at);
        if (different != 0) {
            return at + (size_t)__builtin_ctz(different);
        }
    }
    uint32_t different = differences(a + size - 16, b + size - 16);
    return different != 0 ? size - 16 + (size_t)__builtin_ctz(different) : size;
}
