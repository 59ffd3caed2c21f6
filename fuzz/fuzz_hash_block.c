/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of records of a hash partition whose checksums fit. What decodes lies inside of them. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "engine/hash/hash_base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static uint64_t sum_of(tern_slice bytes) {
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        sum += ((const uint8_t *)bytes.data)[i];
    }
    return sum;
}

static void fuzz_block(const uint8_t *payload, size_t size) {
    uint32_t count = payload_count(payload, size);
    for (uint32_t slot = 0; slot <= count; slot++) {
        struct hash_record record;
        if (record_decode(payload, size, slot, &record)) {
            ASSERT(slot < count);
            sink += sum_of(record.key) + sum_of(record.record.value);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* Exactly as long as it says, so that a step outside shows. */
    uint8_t *payload = malloc(size > 0 ? size : 1);
    ASSERT(payload != NULL);
    if (size > 0) {
        memcpy(payload, data, size);
    }
    fuzz_block(payload, size);
    free(payload);
    return 0;
}
