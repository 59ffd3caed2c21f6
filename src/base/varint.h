/* SPDX-License-Identifier: Apache-2.0 */
/* Unsigned LEB128: seven bits a byte, low first, at most 10 bytes. */
#ifndef TERN_BASE_VARINT_H
#define TERN_BASE_VARINT_H

#include <stddef.h>
#include <stdint.h>

#define VARINT_BYTES_MAX 10

/* Bytes that varint_put will write. */
static inline size_t varint_size(uint64_t value) {
    size_t size = 1;
    while (value >= 0x80) {
        value >>= 7;
        size++;
    }
    return size;
}

/* Writes 1 to 10 bytes; returns the first byte after them. */
static inline uint8_t *varint_put(uint8_t *target, uint64_t value) {
    while (value >= 0x80) {
        *target++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *target++ = (uint8_t)value;
    return target;
}

/*
 * Reads a number from [source, end). Returns the first byte after it, or NULL when the bytes end
 * first, the number has more than 64 bits, or is longer than it needs to be.
 */
static inline const uint8_t *varint_get(const uint8_t *source, const uint8_t *end,
                                        uint64_t *out_value) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (source >= end) {
            return NULL;
        }
        uint8_t byte = *source++;
        if (shift == 63 && byte > 1) {
            return NULL;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift > 0) {
                return NULL;
            }
            *out_value = value;
            return source;
        }
    }
    return NULL;
}

#endif
