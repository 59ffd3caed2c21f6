/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the variants of varint_get_many share. Plain decoding is slow because each byte's upper bit
 * is a branch that cannot be foreseen, and because a number's place is known only when the one
 * before has been read. Here a vector gives the ends of all numbers of a block at once, as bits; a
 * number is then one load and a squeeze, and does not wait for the one before.
 */
#ifndef TERN_SIMD_VARINT_WALK_INTERNAL_H
#define TERN_SIMD_VARINT_WALK_INTERNAL_H

#include "base/bytes.h"
#include "base/varint.h"

#if defined(__BMI2__)
#include <immintrin.h>
#endif

/* A number's word is read whole: this must be readable behind a block. */
#define VARINT_PAD_BYTES 8u

/* Seven bits of each byte, moved together. */
static inline uint64_t varint_squeeze(uint64_t word) {
#if defined(__BMI2__)
    return _pext_u64(word, 0x7f7f7f7f7f7f7f7fu);
#else
    word = (word & 0x007f007f007f007fu) | (word & 0x7f007f007f007f00u) >> 1;
    word = (word & 0x00003fff00003fffu) | (word & 0x3fff00003fff0000u) >> 2;
    return (word & 0x000000000fffffffu) | (word & 0x0fffffff00000000u) >> 4;
#endif
}

/*
 * Reads up to `count` numbers that end within a block; bit i * 2^scale of `ends` says that one ends
 * at its byte i. Returns how many, 0 when the first is too long for a word or is refused, and in
 * *out_size the bytes that they take.
 */
static inline size_t varint_walk(const uint8_t *block, uint64_t ends, unsigned scale, size_t count,
                                 uint64_t *out_values, size_t *out_size) {
    size_t start = 0;
    size_t done = 0;
    for (; ends != 0 && done < count; ends &= ends - 1) {
        size_t end = (size_t)((unsigned)__builtin_ctzll(ends) >> scale);
        size_t size = end - start + 1;
        /* Longer than seven bytes, or with a last byte that says nothing: left to varint_get. */
        if (size > 7 || (block[end] == 0 && size > 1)) {
            break;
        }
        uint64_t word = get_u64(block + start) & (((uint64_t)1 << 8 * size) - 1);
        out_values[done++] = varint_squeeze(word);
        start = end + 1;
    }
    *out_size = start;
    return done;
}

#endif
