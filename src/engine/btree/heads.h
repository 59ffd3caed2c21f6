/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting heads below a head, without branches and inline, for a call through run-time dispatch
 * would cost as much as the search: sixteen bytes at a time in vectors that every supported machine
 * has, or 64 where a file is compiled for a processor that has them (btree_lookup_avx512.c).
 */
#ifndef TERN_ENGINE_BTREE_HEADS_H
#define TERN_ENGINE_BTREE_HEADS_H

#include <stdint.h>
#include <string.h>
#include <tern/slice.h>

#include "base/bytes.h"

typedef uint32_t heads_vector __attribute__((vector_size(16)));

/* Head of a key or suffix, which may be empty. */
static inline uint32_t head_of(tern_slice suffix) {
    return suffix.size > 0 ? key_head_u32(suffix.data, suffix.size) : 0;
}

#if defined(__AVX512F__)

#include <immintrin.h>

static inline uint32_t heads_below_in_line(const void *line, uint32_t head) {
    __mmask16 below =
        _mm512_cmplt_epu32_mask(_mm512_loadu_si512(line), _mm512_set1_epi32((int)head));
    return (uint32_t)__builtin_popcount(below);
}

static inline uint32_t heads_lower_bound(const uint8_t *heads, uint32_t count, uint32_t head) {
    const __m512i wanted = _mm512_set1_epi32((int)head);
    uint32_t base = 0;
    while (count > 256) {
        uint32_t half = count / 2;
        base += get_u32(heads + 4 * (size_t)(base + half - 1)) < head ? half : 0;
        count -= half;
    }
    const uint8_t *position = heads + 4 * (size_t)base;
    uint32_t below = 0;
    uint32_t i = 0;
    for (; i + 16 <= count; i += 16) {
        __m512i sixteen = _mm512_loadu_si512(position + 4 * (size_t)i);
        below += (uint32_t)__builtin_popcount(_mm512_cmplt_epu32_mask(sixteen, wanted));
    }
    __mmask16 rest = (__mmask16)((1u << (count - i)) - 1);
    __m512i last = _mm512_maskz_loadu_epi32(rest, position + 4 * (size_t)i);
    below += (uint32_t)__builtin_popcount(_mm512_mask_cmplt_epu32_mask(rest, last, wanted));
    return base + below;
}

#else

/* Heads below `head` in one line of 16, in any order and at any alignment. */
static inline uint32_t heads_below_in_line(const void *line, uint32_t head) {
    const uint8_t *bytes = line;
    heads_vector wanted = {head, head, head, head};
    heads_vector sum = {0, 0, 0, 0};
    for (unsigned i = 0; i < 4; i++) {
        heads_vector four;
        memcpy(&four, bytes + 16 * i, sizeof(four));
        sum -= (heads_vector)(four < wanted);
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

/* Lower bound of `head` in `count` ascending heads; reads nothing past them. */
static inline uint32_t heads_lower_bound(const uint8_t *heads, uint32_t count, uint32_t head) {
    uint32_t base = 0;
    while (count > 128) {
        uint32_t half = count / 2;
        base += get_u32(heads + 4 * (size_t)(base + half - 1)) < head ? half : 0;
        count -= half;
    }
    const uint8_t *position = heads + 4 * (size_t)base;
    heads_vector wanted = {head, head, head, head};
    heads_vector sum = {0, 0, 0, 0};
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        heads_vector four;
        memcpy(&four, position + 4 * (size_t)i, sizeof(four));
        sum -= (heads_vector)(four < wanted);
    }
    uint32_t below = sum[0] + sum[1] + sum[2] + sum[3];
    for (; i < count; i++) {
        below += get_u32(position + 4 * (size_t)i) < head;
    }
    return base + below;
}

#endif

#endif
