/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of the same few bits, packed without gaps: number i takes the bits [i * width,
 * (i + 1) * width) of the bytes, counted from the lowest bit of the first byte. Any thread.
 */
#ifndef TERN_SIMD_BITS_H
#define TERN_SIMD_BITS_H

#include <stddef.h>
#include <stdint.h>

#define BITS_WIDTH_MAX 32u

/* Bytes that `count` numbers of `width` bits take. */
static inline size_t bits_packed_bytes(size_t count, unsigned width) {
    return count / 8 * width + (count % 8 * width + 7) / 8;
}

/* Writes bits_packed_bytes; of each number only the lowest `width` (0 to 32) bits. */
void bits_pack(const uint32_t *values, size_t count, unsigned width, uint8_t *target);

/* Reads bits_packed_bytes, none behind them. */
void bits_unpack(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values);

#endif
