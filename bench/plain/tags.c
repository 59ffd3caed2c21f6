/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

uint64_t plain_tags(const uint8_t *groups, size_t count, uint8_t tag) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t matches = 0;
        for (uint32_t j = 0; j < 16; j++) {
            matches |= (uint32_t)(groups[16 * i + j] == tag) << j;
        }
        sum += matches;
    }
    return sum;
}
