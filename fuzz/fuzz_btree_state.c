/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a manifest says of a B+tree partition, and references to values stored apart. First byte 0:
 * a reference follows, else a state. What decodes is encoded again and comes back the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/compare.h"
#include "engine/btree/btree_state.h"
#include "engine/btree/btree_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void fuzz_reference(const uint8_t *data, size_t size) {
    struct value_reference reference;
    struct value_reference again;
    uint8_t bytes[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    tern_error error = TERN_ERROR_INIT;
    tern_status status =
        btree_value_reference_decode(tern_slice_of(data, size), "fuzz", &reference, &error);
    ASSERT(status == error.status);
    if (status == TERN_OK) {
        size_t encoded = btree_value_reference_encode(&reference, bytes);
        ASSERT(encoded <= sizeof(bytes));
        ASSERT(btree_value_reference_decode(tern_slice_of(bytes, encoded), "fuzz", &again, NULL) ==
               TERN_OK);
        ASSERT(again.levels == reference.levels && again.size_bytes == reference.size_bytes);
        ASSERT(again.checksum == reference.checksum && again.born == reference.born);
    }
}

static void fuzz_state(const uint8_t *data, size_t size) {
    struct btree_state state;
    tern_error error = TERN_ERROR_INIT;
    tern_status status =
        btree_state_decode(tern_allocator_default(), tern_slice_of(data, size), &state, &error);
    ASSERT(status == error.status);
    if (status != TERN_OK) {
        return;
    }
    const struct drained_map *map = state.map;
    for (uint32_t i = 0; i < map->count; i++) {
        ASSERT(i == 0 || slice_compare(map->marks[i - 1].below, map->marks[i].below) < 0);
        sink += drained_map_seq(map, map->marks[i].below);
    }
    for (size_t at = 0; at + 8 < size; at += 3) {
        ASSERT(drained_map_seq(map, tern_slice_of(data + at, at % 9)) <= drained_map_newest(map));
    }
    drained_map_release(state.map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    /* Exactly as long as it says, so that a step outside shows. */
    uint8_t *bytes = malloc(size > 1 ? size - 1 : 1);
    ASSERT(bytes != NULL);
    memcpy(bytes, data + 1, size - 1);
    if (data[0] == 0) {
        fuzz_reference(bytes, size - 1);
    } else {
        fuzz_state(bytes, size - 1);
    }
    free(bytes);
    return 0;
}
