/* SPDX-License-Identifier: Apache-2.0 */
/* A window of bits that is filled by bytes. */
#include "plain.h"

void plain_bits(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values) {
    uint64_t window = 0;
    unsigned filled = 0;
    for (size_t i = 0; i < count; i++) {
        for (; filled < width; filled += 8) {
            window |= (uint64_t)*source++ << filled;
        }
        out_values[i] = (uint32_t)(window & (((uint64_t)1 << width) - 1));
        window >>= width;
        filled -= width;
    }
}
