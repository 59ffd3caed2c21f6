/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spare blocks of one size, for handles that come and go with every operation: taking one back is
 * an exchange in a line that other threads seldom touch, where an allocator has to look for room.
 */
#ifndef TERN_BASE_SPARES_H
#define TERN_BASE_SPARES_H

#include <stdatomic.h>

#include "base/memory.h"

#define SPARES_SLOTS 16u

struct spare_slot {
    _Alignas(64) _Atomic(void *) block;
};

/* Any thread. At most SPARES_SLOTS blocks are kept. */
struct spares {
    const tern_allocator *allocator;
    size_t block_bytes;
    struct spare_slot slots[SPARES_SLOTS];
};

void spares_init(struct spares *spares, const tern_allocator *allocator, size_t block_bytes);
/* Releases what is kept; what was taken stays its owner's. */
void spares_release(struct spares *spares);

/* block_bytes of memory with any contents; NULL when there is none. */
void *spares_take(struct spares *spares);
/* Takes a block back. Accepts NULL. */
void spares_give(struct spares *spares, void *block);

#endif
