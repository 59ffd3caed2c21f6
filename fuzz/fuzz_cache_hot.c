/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile lists of cached pages whose checksum fits: the input is a body. What is taken must be
 * entries from the first byte to the last.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "db/prewarm.h"
#include "simd/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADER_BYTES 24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* Exactly as long as it is, so that a step outside shows. */
    uint8_t *file = calloc(1, HEADER_BYTES + size);
    ASSERT(file != NULL);
    memcpy(file, "TERNHOT1", 8);
    if (size > 0) {
        memcpy(file + HEADER_BYTES, data, size);
    }
    put_u64(file + 8, size);
    put_u64(file + 16, hash_u64(file + HEADER_BYTES, size, 0));
    if (prewarm_check(file, HEADER_BYTES + size)) {
        size_t at = 0;
        while (at < size) {
            ASSERT(size - at >= 16);
            at += 16 + (size_t)get_u64(data + at + 8) * 8;
        }
        ASSERT(at == size);
        file[16] ^= 1;
        ASSERT(!prewarm_check(file, HEADER_BYTES + size));
    }
    free(file);
    return 0;
}
