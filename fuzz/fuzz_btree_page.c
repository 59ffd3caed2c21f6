/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaf and inner pages from hostile bytes: refused with the name of an invariant, or safe to search
 * and to read out. The first byte of a page says which it is.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "engine/btree/btree_node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void use_leaf(const uint8_t *payload, size_t size) {
    uint8_t *key = malloc(size);
    if (key == NULL) {
        return;
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < leaf_count(payload); i++) {
        struct record record;
        leaf_record(payload, i, &record);
        for (size_t at = 0; at < record.value.size; at++) {
            sum += ((const uint8_t *)record.value.data)[at];
        }
        size_t key_size = leaf_key_copy(payload, i, key);
        tern_slice in_place;
        if (leaf_key_in_place(payload, i, &in_place)) {
            ASSERT(in_place.size == key_size && memcmp(in_place.data, key, key_size) == 0);
        }
        bool equal = false;
        ASSERT(leaf_lower_bound(payload, tern_slice_of(key, key_size), &equal) == i && equal);
    }
    for (size_t at = 0; at + 8 < size; at += 7) {
        bool equal = false;
        sum += leaf_lower_bound(payload, tern_slice_of(payload + at, at % 9), &equal);
    }
    sink = sum;
    free(key);
}

/* What was decoded encodes to the same bytes. */
static void use_node(const struct inner_node *node, const uint8_t *payload, size_t size) {
    uint64_t sum = 0;
    for (size_t at = 0; at + 16 < size; at += 5) {
        uint32_t index = node_search(node, tern_slice_of(payload + at, at % 17));
        ASSERT(index < node->count);
        sum += index;
    }
    struct buffer again;
    buffer_init(&again, tern_allocator_default());
    if (node_encode(node, &again) == TERN_OK) {
        ASSERT(again.size == size && memcmp(again.data, payload, size) == 0);
    }
    buffer_release(&again);
    sink = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (leaf_check(data, size) == NULL) {
        use_leaf(data, size);
    }
    struct budget budget = {0};
    struct inner_node *node = NULL;
    tern_error error = TERN_ERROR_INIT;
    tern_status status = node_decode(tern_allocator_default(), &budget, data, size,
                                     size > 1 ? data[1] : 1, "input", 0, &node, &error);
    if (status == TERN_OK) {
        use_node(node, data, size);
        node_release(tern_allocator_default(), &budget, node);
    } else {
        ASSERT(error.status == status);
    }
    return 0;
}
