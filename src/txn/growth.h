/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays that double. */
#ifndef TERN_TXN_GROWTH_H
#define TERN_TXN_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

/*
 * Memory for at least `wanted` items of `item_bytes`, with what was there; *capacity is updated.
 * NULL: out of memory, the old array stands. Not to be called when `wanted` fits already.
 */
static inline void *growth_resize(const tern_allocator *allocator, void *array, size_t *capacity,
                                  size_t wanted, size_t item_bytes) {
    size_t larger = *capacity < 8 ? 8 : *capacity * 2;
    if (larger < wanted) {
        larger = wanted;
    }
    if (larger > SIZE_MAX / item_bytes) {
        return NULL;
    }
    void *memory = memory_resize(allocator, array, larger * item_bytes);
    if (memory != NULL) {
        *capacity = larger;
    }
    return memory;
}

/* Makes room for `wanted` items in `array` with its `capacity`; false when out of memory. */
#define GROWTH_RESERVE(allocator, array, capacity, wanted)                                         \
    ((wanted) <= (capacity) ||                                                                     \
     growth_assign((allocator), (void **)&(array), &(capacity), (wanted), sizeof(*(array))))

static inline bool growth_assign(const tern_allocator *allocator, void **array, size_t *capacity,
                                 size_t wanted, size_t item_bytes) {
    void *old;
    memcpy(&old, (const void *)array, sizeof(old));
    void *memory = growth_resize(allocator, old, capacity, wanted, item_bytes);
    if (memory == NULL) {
        return false;
    }
    memcpy((void *)array, &memory, sizeof(memory));
    return true;
}

#endif
