/* SPDX-License-Identifier: Apache-2.0 */
#include <arm_acle.h>

#include "base/bytes.h"
#include "simd/variants.h"

uint32_t crc32c_neon(uint32_t crc, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    uint32_t state = ~crc;
    for (; size >= 8; size -= 8, at += 8) {
        state = __crc32cd(state, get_u64(at));
    }
    for (; size > 0; size--, at++) {
        state = __crc32cb(state, *at);
    }
    return ~state;
}
