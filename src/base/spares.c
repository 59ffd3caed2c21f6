/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spares.h"

#include <stdint.h>

/* Under AddressSanitizer and Valgrind nothing is kept, so that they see every use of a block given
 * back. */
#if defined(__SANITIZE_ADDRESS__) || defined(TERN_VALGRIND)
#define KEEPS_BLOCKS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS_BLOCKS 0
#endif
#endif
#ifndef KEEPS_BLOCKS
#define KEEPS_BLOCKS 1
#endif

/* Thread-local storage of two threads is far apart: its address tells them apart well enough. */
static struct spare_slot *slot_here(struct spares *spares) {
    static _Thread_local char here;
    uint64_t place = (uint64_t)(uintptr_t)&here;
    return &spares->slots[(place * UINT64_C(0x9E3779B97F4A7C15)) >> 60];
}

void spares_init(struct spares *spares, const tern_allocator *allocator, size_t block_bytes) {
    spares->allocator = allocator;
    spares->block_bytes = block_bytes;
    for (unsigned i = 0; i < SPARES_SLOTS; i++) {
        atomic_init(&spares->slots[i].block, NULL);
    }
}

void spares_release(struct spares *spares) {
    for (unsigned i = 0; i < SPARES_SLOTS; i++) {
        void *block = atomic_exchange_explicit(&spares->slots[i].block, NULL, memory_order_acquire);
        memory_release(spares->allocator, block);
    }
}

void *spares_take(struct spares *spares) {
    struct spare_slot *slot = slot_here(spares);
    void *block = NULL;
    if (KEEPS_BLOCKS && atomic_load_explicit(&slot->block, memory_order_relaxed) != NULL) {
        block = atomic_exchange_explicit(&slot->block, NULL, memory_order_acquire);
    }
    return block != NULL ? block : memory_allocate(spares->allocator, spares->block_bytes);
}

void spares_give(struct spares *spares, void *block) {
    if (KEEPS_BLOCKS && block != NULL) {
        struct spare_slot *slot = slot_here(spares);
        block = atomic_exchange_explicit(&slot->block, block, memory_order_acq_rel);
    }
    memory_release(spares->allocator, block);
}
