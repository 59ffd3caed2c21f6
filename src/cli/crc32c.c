/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/crc32c.h"

void crc32c_prepare(struct crc32c_table *table) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t row = i;
        for (int bit = 0; bit < 8; bit++) {
            row = (row >> 1) ^ ((row & 1) != 0 ? 0x82f63b78U : 0);
        }
        table->rows[0][i] = row;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int k = 1; k < 4; k++) {
            uint32_t below = table->rows[k - 1][i];
            table->rows[k][i] = (below >> 8) ^ table->rows[0][below & 0xff];
        }
    }
}

uint32_t crc32c_extend(const struct crc32c_table *table, uint32_t checksum, const void *data,
                       size_t size) {
    const unsigned char *bytes = data;
    uint32_t crc = ~checksum;
    for (; size >= 4; size -= 4, bytes += 4) {
        crc ^= (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
               (uint32_t)bytes[3] << 24;
        crc = table->rows[3][crc & 0xff] ^ table->rows[2][crc >> 8 & 0xff] ^
              table->rows[1][crc >> 16 & 0xff] ^ table->rows[0][crc >> 24];
    }
    for (; size > 0; size--, bytes++) {
        crc = (crc >> 8) ^ table->rows[0][(crc ^ *bytes) & 0xff];
    }
    return ~crc;
}
