/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of one overlay: chunks that only grow, filled from two ends of use (the current chunk and
 * a spare that backs reservations), and free lists by size for what was unlinked, fed through a
 * limbo that an epoch must pass first. One thread (the applier) calls everything here.
 */
#ifndef TERN_ENGINE_OVERLAY_OVERLAY_MEMORY_H
#define TERN_ENGINE_OVERLAY_OVERLAY_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/memory.h"
#include "os/epoch.h"
#include "os/page_pool.h"
#include "os/page_spill.h"

/* What can be given back begins with this. Readers may follow the link until the epoch has passed;
 * size, kinds and flags are the owner's. */
struct overlay_block {
    _Atomic uintptr_t link;
    uint32_t size;
    uint16_t size_class;
    uint8_t kinds;
    uint8_t flags;
};
/* Set in the link of what lies in limbo. */
#define BLOCK_RETIRED ((uintptr_t)1)

/* What one small change takes, and a little more. */
#define MEMORY_PREFETCH_BYTES ((size_t)256)

/* Sizes are multiples of 8 up to 1 KiB, then eight steps a doubling. */
#define MEMORY_CLASSES 313u

uint32_t overlay_memory_class(size_t size_bytes);
size_t overlay_memory_class_bytes(uint32_t size_class);
/* What an allocation of this size takes. */
static inline size_t overlay_memory_room(size_t size_bytes) {
    return overlay_memory_class_bytes(overlay_memory_class(size_bytes));
}

struct memory_chunk;

struct memory_region {
    uint8_t *position;
    uint8_t *end;
};

/*
 * Unlinked blocks, all of them before `epoch` was read. Those of a small class have a list of their
 * own, which becomes part of the free list without being walked: the blocks are long out of the
 * processor's caches. List 0 is mixed.
 */
#define LIMBO_LISTS 65u
struct memory_limbo {
    uint64_t epoch;
    bool has_blocks;
    uintptr_t first[LIMBO_LISTS];
    struct overlay_block *last[LIMBO_LISTS];
};

struct overlay_memory {
    const tern_allocator *allocator;
    struct budget *budget;
    struct epoch_domain *epoch;
    struct page_pool *pool; /* where huge chunks come from and go to; may be NULL */
    struct memory_chunk *chunks;
    struct memory_region current;
    struct memory_region spare;
    struct overlay_block *remnants; /* ends of earlier chunks, at least MEMORY_REMNANT_BYTES each */
    size_t next_chunk_bytes;
    size_t guaranteed_bytes;     /* outstanding reservation: opportunistic use leaves it alone */
    _Atomic uint64_t used_bytes; /* of all chunks and filters, without what was spilled */
    uint64_t spilled_bytes;
    bool is_spilling;
    struct memory_chunk *next_spilled; /* those before it are in files */
    size_t retired_bytes;              /* since epochs were last asked, which is not for free */
    struct memory_limbo filling;
    struct memory_limbo waiting;
    struct overlay_block *free_lists[MEMORY_CLASSES];
};

void overlay_memory_init(struct overlay_memory *memory, const tern_allocator *allocator,
                         struct budget *budget, struct epoch_domain *epoch, struct page_pool *pool);
void overlay_memory_release(struct overlay_memory *memory);

/* Counts memory that somebody else allocated for the overlay. */
void overlay_memory_count(struct overlay_memory *memory, size_t bytes);

/*
 * Moves chunks to a file until that has `limit_bytes`; *out_is_whole: none is left. No applier
 * comes here any more; readers may be inside.
 */
TERN_MUST_CHECK tern_status overlay_memory_spill(struct overlay_memory *memory,
                                                 struct page_spill *spill, uint64_t limit_bytes,
                                                 bool *out_is_whole, tern_error *error);
/* Counts memory that somebody else spilled. */
void overlay_memory_note_spilled(struct overlay_memory *memory, size_t bytes);

/* After true, allocations that sum up to `bytes` (rooms) will not fail. False: out of memory. */
bool overlay_memory_guarantee(struct overlay_memory *memory, size_t bytes);

/* Out of what was guaranteed; aligned to 8. */
void *overlay_memory_take(struct overlay_memory *memory, size_t size_bytes,
                          uint32_t *out_size_class);
/* Fetches, for writing, what will be taken next. */
static inline void overlay_memory_prefetch(const struct overlay_memory *memory) {
    for (size_t at = 0; at < MEMORY_PREFETCH_BYTES; at += 64) {
        __builtin_prefetch(memory->current.position + at, 1);
    }
}

/* The same without a size class, zeroed, aligned to 64; takes up to 56 bytes more. */
void *overlay_memory_take_node(struct overlay_memory *memory, size_t size_bytes);
/* Only when neither the guarantee nor the budget suffers: NULL otherwise. */
void *overlay_memory_try(struct overlay_memory *memory, size_t size_bytes,
                         uint32_t *out_size_class);

/* Takes back what readers may still stand on; it is reused after an epoch. */
void overlay_memory_retire(struct overlay_memory *memory, struct overlay_block *block);
/* Now and then moves what an epoch has passed to the free lists. */
void overlay_memory_collect(struct overlay_memory *memory);

#endif
