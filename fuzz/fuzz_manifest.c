/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile manifests whose checksums fit. First byte 0: a slot follows, its checksum is put right;
 * else a body follows. What decodes is encoded again and must come back the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "db/manifest_codec.h"
#include "simd/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FLAGS_OFFSET 20

static void fuzz_slot(const uint8_t *data, size_t size) {
    uint8_t bytes[MANIFEST_SLOT_BYTES] = {0};
    uint8_t again[MANIFEST_SLOT_BYTES];
    struct manifest_slot slot;
    uint32_t version;
    memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
    put_u64(bytes + MANIFEST_SLOT_BYTES - 8, hash_u64(bytes, MANIFEST_SLOT_BYTES - 8, 0));
    const char *wrong = manifest_slot_decode(bytes, &slot, &version);
    if (wrong != NULL) {
        return;
    }
    ASSERT(version == MANIFEST_FORMAT_VERSION);
    ASSERT(slot.body_size <= MANIFEST_BODY_BYTES_MAX);
    manifest_slot_encode(&slot, again);
    /* Reserved bytes are not kept, the fields are. */
    ASSERT(memcmp(again + 16, bytes + 16, 32) == 0);
}

static void fuzz_body(const uint8_t *data, size_t size) {
    struct arena arena;
    struct manifest manifest;
    struct buffer again;
    /* Exactly as long as it says, so that a step outside shows. */
    uint8_t *body = malloc(size + (size == 0));
    memcpy(body, data, size);
    arena_init(&arena, tern_allocator_default(), 512);
    buffer_init(&again, tern_allocator_default());
    const char *wrong = manifest_body_decode(tern_slice_of(body, size), &arena, &manifest);
    if (wrong == NULL) {
        put_u32(body + FLAGS_OFFSET, get_u32(body + FLAGS_OFFSET) & 1); /* unknown flags go */
        ASSERT(manifest_body_encode(&manifest, &again) == TERN_OK);
        ASSERT(again.size == size && memcmp(again.data, body, size) == 0);
    }
    buffer_release(&again);
    arena_release(&arena);
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    if (data[0] == 0) {
        fuzz_slot(data + 1, size - 1);
    } else {
        fuzz_body(data + 1, size - 1);
    }
    return 0;
}
