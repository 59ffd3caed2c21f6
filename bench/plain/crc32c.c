/* SPDX-License-Identifier: Apache-2.0 */
/* Slicing by eight, the fastest that needs no special instruction; byte by byte takes four times
 * as long. */
#include "plain.h"

#include "base/bytes.h"
#include "simd/crc32c_table.h"

uint32_t plain_crc32c(uint32_t crc, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    uint32_t state = ~crc;
    for (; size >= 8; size -= 8, at += 8) {
        uint32_t low = get_u32(at) ^ state;
        uint32_t high = get_u32(at + 4);
        state = crc32c_table[7][low & 0xff] ^ crc32c_table[6][low >> 8 & 0xff] ^
                crc32c_table[5][low >> 16 & 0xff] ^ crc32c_table[4][low >> 24] ^
                crc32c_table[3][high & 0xff] ^ crc32c_table[2][high >> 8 & 0xff] ^
                crc32c_table[1][high >> 16 & 0xff] ^ crc32c_table[0][high >> 24];
    }
    for (; size > 0; size--, at++) {
        state = state >> 8 ^ crc32c_table[0][(state ^ *at) & 0xff];
    }
    return ~state;
}
