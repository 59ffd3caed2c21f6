/* SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#include "simd/variants.h"

/* Bits of the bytes that differ. */
static inline uint64_t differences(const uint8_t *a, const uint8_t *b) {
    return _mm512_cmpneq_epu8_mask(_mm512_loadu_si512(a), _mm512_loadu_si512(b));
}

/* Adds the bits in which 64 more bytes differ: sum | (a ^ b). */
static inline __m512i add_differences(__m512i sum, const uint8_t *a, const uint8_t *b) {
    return _mm512_ternarylogic_epi64(sum, _mm512_loadu_si512(a), _mm512_loadu_si512(b), 0xf6);
}

size_t common_prefix_avx512(const void *left, const void *right, size_t size) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    size_t at = 0;
    for (; at + 256 <= size; at += 256) {
        __m512i first = add_differences(_mm512_setzero_si512(), a + at, b + at);
        __m512i second = add_differences(_mm512_setzero_si512(), a + at + 128, b + at + 128);
        first = add_differences(first, a + at + 64, b + at + 64);
        second = add_differences(second, a + at + 192, b + at + 192);
        __m512i all = _mm512_or_si512(first, second);
        if (_mm512_test_epi64_mask(all, all) != 0) {
            break;
        }
    }
    for (; at + 64 <= size; at += 64) {
        uint64_t different = differences(a + at, b + at);
        if (different != 0) {
            return at + (size_t)__builtin_ctzll(different);
        }
    }
    /* Lanes that are masked out are not read, so that no page behind the end is touched. */
    __mmask64 rest = _bzhi_u64(UINT64_MAX, (uint32_t)(size - at));
    uint64_t different = _mm512_mask_cmpneq_epu8_mask(rest, _mm512_maskz_loadu_epi8(rest, a + at),
                                                      _mm512_maskz_loadu_epi8(rest, b + at));
    return different != 0 ? at + (size_t)__builtin_ctzll(different) : size;
}
