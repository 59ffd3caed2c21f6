/* SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#include "simd/variants.h"

static inline __m256i equal_bytes(const uint8_t *a, const uint8_t *b) {
    return _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)a),
                             _mm256_loadu_si256((const __m256i *)(const void *)b));
}

/* Bits of the bytes that differ. */
static inline uint32_t differences(const uint8_t *a, const uint8_t *b) {
    return ~(uint32_t)_mm256_movemask_epi8(equal_bytes(a, b));
}

/* At least 32 bytes, of which `at` are known to be equal. */
static inline size_t finish(const uint8_t *a, const uint8_t *b, size_t at, size_t size) {
    for (; at + 32 <= size; at += 32) {
        uint32_t different = differences(a + at, b + at);
        if (different != 0) {
            return at + (size_t)__builtin_ctz(different);
        }
    }
    uint32_t different = differences(a + size - 32, b + size - 32);
    return different != 0 ? size - 32 + (size_t)__builtin_ctz(different) : size;
}

size_t common_prefix_avx2(const void *left, const void *right, size_t size) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    size_t at = 0;
    if (size < 32) {
        return common_prefix_scalar(left, right, size);
    }
    for (; at + 128 <= size; at += 128) {
        __m256i first =
            _mm256_and_si256(equal_bytes(a + at, b + at), equal_bytes(a + at + 32, b + at + 32));
        __m256i second = _mm256_and_si256(equal_bytes(a + at + 64, b + at + 64),
                                          equal_bytes(a + at + 96, b + at + 96));
        if (_mm256_movemask_epi8(_mm256_and_si256(first, second)) != -1) {
            break;
        }
    }
    return finish(a, b, at, size);
}
