/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vectors read past the number they are after, so each variant stops short of the end. What is left
 * then is copied to where there is room behind it, and unpacked from there the same way.
 */
#ifndef TERN_SIMD_BITS_REST_INTERNAL_H
#define TERN_SIMD_BITS_REST_INTERNAL_H

#include <string.h>

#include "simd/bits.h"
#include "simd/variants.h"

/* Unpacks eights of numbers while its loads stay within `readable`; returns how many numbers. */
typedef size_t (*bits_eights_function)(const uint8_t *source, size_t readable, size_t count,
                                       unsigned width, uint32_t *out_values);

/* Bytes from the first number that a load of 16 bytes could not take to the end, at most. */
#define BITS_REST_BYTES_MAX 64u

static inline void bits_unpack_eights(bits_eights_function eights, const uint8_t *source,
                                      size_t count, unsigned width, uint32_t *out_values) {
    size_t bytes = bits_packed_bytes(count, width);
    size_t done = eights(source, bytes, count, width, out_values);
    size_t left = bytes - done / 8 * width;
    if (count - done >= 8 && left <= BITS_REST_BYTES_MAX) {
        uint8_t rest[2 * BITS_REST_BYTES_MAX] = {0};
        if (left > 0) {
            memcpy(rest, source + done / 8 * width, left);
        }
        done += eights(rest, sizeof(rest), count - done, width, out_values + done);
    }
    bits_unpack_scalar(source + done / 8 * width, count - done, width, out_values + done);
}

#endif
