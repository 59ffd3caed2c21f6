/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thirty-two strings in step: a lane of 64 bits each, four vectors, so that there is work while a
 * product is on its way (fifteen cycles). Lanes hold the next eight bytes of their strings, which
 * are shifted out one by one; lanes whose string has ended are masked out.
 */
#include <immintrin.h>

#include "base/bytes.h"
#include "simd/fnv1a.h"
#include "simd/variants.h"

#define LANES   8u
#define VECTORS 4u
#define IN_STEP (LANES * VECTORS)

/* The next up to eight bytes of what is left. */
static inline uint64_t next_word(const uint8_t *at, size_t left) {
    if (left >= 8) {
        return get_u64(at);
    }
    if (left >= 4) {
        return get_u32(at) | (uint64_t)get_u32(at + left - 4) << 8 * (left - 4);
    }
    if (left > 0) {
        return at[0] | (uint64_t)at[left / 2] << 8 * (left / 2) |
               (uint64_t)at[left - 1] << 8 * (left - 1);
    }
    return 0;
}

/* The lanes must stay in registers, so the loops over them are undone by name. */
#define EACH_VECTOR _Pragma("GCC unroll 4") for (unsigned v = 0; v < VECTORS; v++)

static inline __m512i add_byte(__m512i hash, __m512i word) {
    const __m512i prime = _mm512_set1_epi64((long long)FNV1A_PRIME);
    /* hash ^ (word & 0xff) */
    __m512i mixed = _mm512_ternarylogic_epi64(hash, word, _mm512_set1_epi64(0xff), 0x78);
    return _mm512_mullo_epi64(mixed, prime);
}

/* The words at `at` of eight strings; without the detour over memory that would hold them up. */
static inline __m512i words_of(const tern_slice *strings, size_t at) {
    uint64_t words[LANES];
    _Pragma("GCC unroll 8") for (unsigned i = 0; i < LANES; i++) {
        words[i] = get_u64((const uint8_t *)strings[i].data + at);
    }
    return _mm512_set_epi64((long long)words[7], (long long)words[6], (long long)words[5],
                            (long long)words[4], (long long)words[3], (long long)words[2],
                            (long long)words[1], (long long)words[0]);
}

static inline void add_words(__m512i *hashes, const tern_slice *strings, size_t at) {
    __m512i words[VECTORS];
    EACH_VECTOR {
        words[v] = words_of(strings + v * LANES, at);
    }
    for (unsigned byte = 0; byte < 8; byte++) {
        EACH_VECTOR {
            hashes[v] = add_byte(hashes[v], words[v]);
            words[v] = _mm512_srli_epi64(words[v], 8);
        }
    }
}

/* `left` has the bytes of each string that are left, those of the words included. */
static inline void add_words_of_unequal(__m512i *hashes, const uint64_t *next, const uint64_t *left,
                                        unsigned longest) {
    __m512i words[VECTORS];
    __m512i rests[VECTORS];
    EACH_VECTOR {
        words[v] = _mm512_loadu_si512(next + v * LANES);
        rests[v] = _mm512_loadu_si512(left + v * LANES);
    }
    for (unsigned byte = 0; byte < longest; byte++) {
        __m512i at = _mm512_set1_epi64(byte);
        EACH_VECTOR {
            __mmask8 has = _mm512_cmpgt_epu64_mask(rests[v], at);
            hashes[v] = _mm512_mask_mov_epi64(hashes[v], has, add_byte(hashes[v], words[v]));
            words[v] = _mm512_srli_epi64(words[v], 8);
        }
    }
}

static inline void hash_in_step(const tern_slice *strings, uint64_t state, uint64_t *out_hashes) {
    __m512i hashes[VECTORS];
    size_t shortest = strings[0].size;
    size_t longest = strings[0].size;
    EACH_VECTOR {
        hashes[v] = _mm512_set1_epi64((long long)state);
    }
    for (unsigned i = 1; i < IN_STEP; i++) {
        shortest = strings[i].size < shortest ? strings[i].size : shortest;
        longest = strings[i].size > longest ? strings[i].size : longest;
    }
    size_t at = 0;
    for (; at + 8 <= shortest; at += 8) {
        add_words(hashes, strings, at);
    }
    for (; at < longest; at += 8) {
        uint64_t next[IN_STEP];
        uint64_t left[IN_STEP];
        for (unsigned i = 0; i < IN_STEP; i++) {
            left[i] = strings[i].size > at ? strings[i].size - at : 0;
            next[i] = left[i] > 0 ? next_word((const uint8_t *)strings[i].data + at, left[i]) : 0;
        }
        add_words_of_unequal(hashes, next, left, longest - at < 8 ? (unsigned)(longest - at) : 8);
    }
    EACH_VECTOR {
        _mm512_storeu_si512(out_hashes + v * LANES, hashes[v]);
    }
}

void fnv1a_many_avx512(const tern_slice *strings, size_t count, uint64_t state,
                       uint64_t *out_hashes) {
    size_t i = 0;
    for (; i + IN_STEP <= count; i += IN_STEP) {
        hash_in_step(strings + i, state, out_hashes + i);
    }
    fnv1a_many_scalar(strings + i, count - i, state, out_hashes + i);
}
