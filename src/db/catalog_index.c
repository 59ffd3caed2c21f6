/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear probing. A handle lies at or behind the place of its partition's hash with no gap between;
 * a removal moves up what would otherwise lie behind a gap.
 */
#include "db/catalog_index.h"

#include "base/assert.h"

#define CAPACITY_MIN 16u

static uint32_t home_of(const struct catalog_index *index, partition_id partition) {
    return (uint32_t)((partition * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (index->capacity - 1);
}

static uint32_t next_of(const struct catalog_index *index, uint32_t slot) {
    return (slot + 1) & (index->capacity - 1);
}

static void put(struct catalog_index *index, tern_keyspace *keyspace) {
    uint32_t slot = home_of(index, keyspace->partition);
    while (index->slots[slot] != NULL) {
        slot = next_of(index, slot);
    }
    index->slots[slot] = keyspace;
}

void catalog_index_release(struct catalog_index *index, const tern_allocator *allocator) {
    memory_release(allocator, (void *)index->slots);
    *index = (struct catalog_index){NULL, 0, 0};
}

static bool grow(struct catalog_index *index, const tern_allocator *allocator) {
    struct catalog_index larger = {.capacity =
                                       index->capacity == 0 ? CAPACITY_MIN : index->capacity * 2,
                                   .count = index->count};
    larger.slots = memory_allocate_zeroed(allocator, larger.capacity * sizeof(*larger.slots));
    if (larger.slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < index->capacity; i++) {
        if (index->slots[i] != NULL) {
            put(&larger, index->slots[i]);
        }
    }
    catalog_index_release(index, allocator);
    *index = larger;
    return true;
}

bool catalog_index_add(struct catalog_index *index, const tern_allocator *allocator,
                       tern_keyspace *keyspace) {
    if ((index->count + 1) * 2 > index->capacity && !grow(index, allocator)) {
        return false;
    }
    put(index, keyspace);
    index->count++;
    return true;
}

static uint32_t slot_of(const struct catalog_index *index, partition_id partition,
                        const tern_keyspace *keyspace) {
    uint32_t slot = home_of(index, partition);
    while (index->slots[slot] != keyspace) {
        ASSERT(index->slots[slot] != NULL);
        slot = next_of(index, slot);
    }
    return slot;
}

void catalog_index_remove(struct catalog_index *index, const tern_keyspace *keyspace) {
    uint32_t gap = slot_of(index, keyspace->partition, keyspace);
    index->count--;
    for (uint32_t slot = next_of(index, gap); index->slots[slot] != NULL;
         slot = next_of(index, slot)) {
        uint32_t home = home_of(index, index->slots[slot]->partition);
        uint32_t mask = index->capacity - 1;
        if (((slot - home) & mask) >= ((slot - gap) & mask)) {
            index->slots[gap] = index->slots[slot];
            gap = slot;
        }
    }
    index->slots[gap] = NULL;
}

void catalog_index_exchanged(struct catalog_index *index, tern_keyspace *left,
                             tern_keyspace *right) {
    uint32_t left_slot = slot_of(index, right->partition, left);
    uint32_t right_slot = slot_of(index, left->partition, right);
    index->slots[left_slot] = right;
    index->slots[right_slot] = left;
}

tern_keyspace *catalog_index_find(const struct catalog_index *index, partition_id partition) {
    if (index->capacity == 0) {
        return NULL;
    }
    for (uint32_t slot = home_of(index, partition); index->slots[slot] != NULL;
         slot = next_of(index, slot)) {
        tern_keyspace *keyspace = index->slots[slot];
        if (keyspace->partition == partition &&
            atomic_load_explicit(&keyspace->state, memory_order_relaxed) != KEYSPACE_DROPPED) {
            return keyspace;
        }
    }
    return NULL;
}
