/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile blocks with a checksum that fits. Input: two bytes of capacity, then the block. What
 * decodes is encoded again and must come back the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "block/block.h"
#include "simd/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const uint8_t *raw, size_t raw_bytes, tern_compression compression) {
    struct block_context context = {compression, 1};
    uint8_t *block = malloc(block_bound(raw_bytes));
    uint8_t *back = malloc(raw_bytes + 1);
    size_t stored_bytes = 0;
    size_t back_bytes = 0;
    uint64_t checksum = 0;
    ASSERT(block_encode(&context, raw, raw_bytes, block, &stored_bytes, &checksum, NULL) ==
           TERN_OK);
    ASSERT(block_decode(block, stored_bytes, checksum, "fuzz", 0, back, raw_bytes, NULL,
                        &back_bytes, NULL) == TERN_OK);
    ASSERT(back_bytes == raw_bytes && memcmp(back, raw, raw_bytes) == 0);
    free(back);
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    size_t capacity = get_u16(data);
    size_t stored_bytes = size - 2;
    /* Exactly as long as they say, so that a step outside shows. */
    uint8_t *block = malloc(stored_bytes + (stored_bytes == 0));
    uint8_t *target = malloc(capacity + (capacity == 0));
    memcpy(block, data + 2, stored_bytes);
    uint64_t checksum = hash_u64(block, stored_bytes, 0);
    const void *found = NULL;
    size_t raw_bytes = 0;
    tern_error error = TERN_ERROR_INIT;
    tern_status status = block_decode(block, stored_bytes, checksum, "fuzz", 0, target, capacity,
                                      &found, &raw_bytes, &error);
    ASSERT(status == TERN_OK || status == TERN_CORRUPTION || status == TERN_NO_MEMORY);
    if (status == TERN_OK) {
        ASSERT(raw_bytes <= capacity);
        check_round_trip(found, raw_bytes, (tern_compression)block[1]);
    }
    free(target);
    free(block);
    return 0;
}
