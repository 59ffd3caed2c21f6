/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a tag among the sixteen bytes of a group (as in a Swiss table). Inline and without
 * dispatch: what every supported machine has does it in three instructions, fewer than a call.
 */
#ifndef TERN_SIMD_TAGS_H
#define TERN_SIMD_TAGS_H

#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define TAGS_BYTES 16u

/* Bits of the bytes, at any alignment, that are `tag`. */
static inline uint32_t tags_match_scalar(const void *tags, uint8_t tag) {
    const uint8_t *bytes = tags;
    uint32_t matches = 0;
    for (uint32_t i = 0; i < TAGS_BYTES; i++) {
        matches |= (uint32_t)(bytes[i] == tag) << i;
    }
    return matches;
}

static inline uint32_t tags_match(const void *tags, uint8_t tag) {
#if defined(__SSE2__)
    __m128i equal =
        _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)tags), _mm_set1_epi8((char)tag));
    return (uint32_t)_mm_movemask_epi8(equal);
#elif defined(__ARM_NEON)
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t equal = vceqq_u8(vld1q_u8((const uint8_t *)tags), vdupq_n_u8(tag));
    uint8x16_t bits = vandq_u8(equal, vld1q_u8(weights));
    return (uint32_t)vaddv_u8(vget_low_u8(bits)) | (uint32_t)vaddv_u8(vget_high_u8(bits)) << 8;
#else
    return tags_match_scalar(tags, tag);
#endif
}

#define TAGS_WORDS 8u

/* Bits of the words, at an address that 16 divides, of which the bits in `mask` are `tag`: neither
 * has any among the lower 32. */
static inline uint32_t tags_match_words_scalar(const void *words, uint64_t mask, uint64_t tag) {
    const uint64_t *entries = words;
    uint32_t matches = 0;
    for (uint32_t i = 0; i < TAGS_WORDS; i++) {
        matches |= (uint32_t)((entries[i] & mask) == tag) << i;
    }
    return matches;
}

static inline uint32_t tags_match_words(const void *words, uint64_t mask, uint64_t tag) {
#if defined(__SSE2__)
    /* Halves are compared: the lower ones, of which nothing is left, always agree, so the sign of a
     * word is that of its upper half. */
    const __m128i *pairs = words;
    __m128i masks = _mm_set1_epi64x((long long)mask);
    __m128i wanted = _mm_set1_epi64x((long long)tag);
    uint32_t matches = 0;
    for (uint32_t i = 0; i < TAGS_WORDS / 2; i++) {
        __m128i equal = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(&pairs[i]), masks), wanted);
        matches |= (uint32_t)_mm_movemask_pd(_mm_castsi128_pd(equal)) << 2 * i;
    }
    return matches;
#else
    return tags_match_words_scalar(words, mask, tag);
#endif
}

#endif
