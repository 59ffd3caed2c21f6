/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks begin at 1 KiB and double: those of less than a page, and the first one, come from the
 * allocator given at open, all others are pages straight from the system, from 2 MiB on huge ones.
 * Pages can be spilled: moved to a temporary file where they stand (os/page_spill.h).
 *
 * Invariants
 *  1. The current region or the spare one holds at least `guaranteed_bytes`. What does not fit into
 *     the current region is taken from the spare, so a sequence of takes within the guarantee
 *     never fails, however it is cut.
 *  2. A block in limbo keeps its contents but for the link, until the epoch has passed.
 */
#include "engine/overlay/overlay_memory.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "os/pages.h"

#define PAGE_BYTES             ((size_t)4 << 10)
#define MEMORY_CHUNK_BYTES_MIN ((size_t)1 << 10)
#define MEMORY_REMNANT_BYTES   ((size_t)4 << 10)
#define MEMORY_EXHAUSTED_BYTES ((size_t)1 << 10)
/* Epochs are asked once in so many bytes: at least, at most, and in between a part of all memory.
 * Asking interrupts every other processor; what waits long falls out of this one's caches. */
#define COLLECT_BYTES_MIN ((size_t)16 << 10)
#define COLLECT_BYTES_MAX ((size_t)128 << 10)
#define COLLECT_PART      64

/* Where a chunk comes from and goes to. */
enum chunk_source { CHUNK_ALLOCATOR, CHUNK_PAGES, CHUNK_HUGE_PAGES };

struct memory_chunk {
    struct memory_chunk *next;
    size_t size_bytes;
    enum chunk_source source;
};

struct memory_remnant {
    struct overlay_block block;
    size_t size_bytes;
};

uint32_t overlay_memory_class(size_t size_bytes) {
    if (size_bytes <= 1024) {
        return (uint32_t)((size_bytes + 7) / 8);
    }
    uint32_t doubling = 63u - (uint32_t)__builtin_clzll(size_bytes - 1) - 10u;
    size_t base = (size_t)1024 << doubling;
    size_t step = base / 8;
    return 128u + doubling * 8u + (uint32_t)((size_bytes - base + step - 1) / step);
}

size_t overlay_memory_class_bytes(uint32_t size_class) {
    if (size_class <= 128) {
        return (size_t)size_class * 8;
    }
    uint32_t doubling = (size_class - 129u) / 8u;
    size_t base = (size_t)1024 << doubling;
    return base + (base / 8) * (size_class - 128u - doubling * 8u);
}

void overlay_memory_init(struct overlay_memory *memory, const tern_allocator *allocator,
                         struct budget *budget, struct epoch_domain *epoch,
                         struct page_pool *pool) {
    memset(memory, 0, sizeof(*memory));
    memory->allocator = allocator;
    memory->budget = budget;
    memory->epoch = epoch;
    memory->pool = pool;
    memory->next_chunk_bytes = MEMORY_CHUNK_BYTES_MIN;
}

void overlay_memory_count(struct overlay_memory *memory, size_t bytes) {
    uint64_t used = atomic_load_explicit(&memory->used_bytes, memory_order_relaxed);
    atomic_store_explicit(&memory->used_bytes, used + bytes, memory_order_relaxed);
    if (memory->budget != NULL) {
        budget_add(memory->budget, BUDGET_OVERLAY, bytes);
    }
}

static void release_chunk(struct overlay_memory *memory, struct memory_chunk *chunk,
                          bool is_spilled) {
    size_t size_bytes = chunk->size_bytes;
    if (chunk->source == CHUNK_ALLOCATOR) {
        memory_release_aligned(memory->allocator, chunk);
        return;
    }
    if (chunk->source == CHUNK_PAGES) {
        pages_release_small(chunk, size_bytes);
        return;
    }
    uint64_t used = memory->budget != NULL ? budget_used(memory->budget, BUDGET_OVERLAY) : 0;
    if (is_spilled || size_bytes != HUGE_PAGE_BYTES || !page_pool_put(memory->pool, chunk, used)) {
        pages_release(chunk, size_bytes);
    }
}

void overlay_memory_release(struct overlay_memory *memory) {
    if (memory->budget != NULL) {
        budget_subtract(memory->budget, BUDGET_OVERLAY,
                        atomic_load_explicit(&memory->used_bytes, memory_order_relaxed));
        budget_note_spilled(memory->budget, -(int64_t)memory->spilled_bytes);
    }
    atomic_store_explicit(&memory->used_bytes, 0, memory_order_relaxed);
    bool is_spilled = memory->is_spilling;
    while (memory->chunks != NULL) {
        struct memory_chunk *chunk = memory->chunks;
        is_spilled = is_spilled && chunk != memory->next_spilled;
        memory->chunks = chunk->next;
        release_chunk(memory, chunk, is_spilled);
    }
}

void overlay_memory_note_spilled(struct overlay_memory *memory, size_t bytes) {
    uint64_t used = atomic_load_explicit(&memory->used_bytes, memory_order_relaxed);
    atomic_store_explicit(&memory->used_bytes, used - bytes, memory_order_relaxed);
    memory->spilled_bytes += bytes;
    if (memory->budget != NULL) {
        budget_subtract(memory->budget, BUDGET_OVERLAY, bytes);
        budget_note_spilled(memory->budget, (int64_t)bytes);
    }
}

tern_status overlay_memory_spill(struct overlay_memory *memory, struct page_spill *spill,
                                 uint64_t limit_bytes, bool *out_is_whole, tern_error *error) {
    if (!memory->is_spilling) {
        memory->is_spilling = true;
        memory->next_spilled = memory->chunks;
    }
    while (memory->next_spilled != NULL && spill->size_bytes < limit_bytes) {
        struct memory_chunk *chunk = memory->next_spilled;
        struct memory_chunk *next = chunk->next; /* looking at it later would bring it back */
        size_t size_bytes = chunk->size_bytes;
        if (chunk->source != CHUNK_ALLOCATOR) {
            tern_status status = page_spill_put(spill, chunk, size_bytes, error);
            if (status != TERN_OK) {
                return status;
            }
            overlay_memory_note_spilled(memory, size_bytes);
        }
        memory->next_spilled = next;
    }
    *out_is_whole = memory->next_spilled == NULL;
    return TERN_OK;
}

static size_t region_bytes(const struct memory_region *region) {
    return (size_t)(region->end - region->position);
}

static void keep_remnant(struct overlay_memory *memory, const struct memory_region *region) {
    if (region_bytes(region) >= MEMORY_REMNANT_BYTES) {
        struct memory_remnant *remnant = (struct memory_remnant *)(void *)region->position;
        remnant->size_bytes = region_bytes(region);
        atomic_init(&remnant->block.link, (uintptr_t)memory->remnants);
        memory->remnants = &remnant->block;
    }
}

/* No chunk adds more than half of what is used, so that a small budget is not overrun. */
static size_t chunk_bytes(const struct overlay_memory *memory) {
    uint64_t used = atomic_load_explicit(&memory->used_bytes, memory_order_relaxed);
    size_t size = memory->next_chunk_bytes;
    while (size > MEMORY_CHUNK_BYTES_MIN && size > used / 2) {
        size /= 2;
    }
    return size;
}

/* Adds a chunk with room for `bytes` as the spare region. */
static bool add_chunk(struct overlay_memory *memory, size_t bytes) {
    size_t size = chunk_bytes(memory);
    size_t wanted = bytes + sizeof(struct memory_chunk) + 64;
    enum chunk_source source = CHUNK_ALLOCATOR;
    if (wanted < bytes) {
        return false;
    }
    if (size < wanted) {
        size = round_up_u64(wanted, 4096);
    }
    void *place = NULL;
    if (size >= HUGE_PAGE_BYTES) {
        size = round_up_u64(size, HUGE_PAGE_BYTES);
        if (size == HUGE_PAGE_BYTES) {
            place = page_pool_take(memory->pool);
        }
        if (size < wanted ||
            (place == NULL && pages_allocate(size, true, &place, NULL) != TERN_OK)) {
            return false;
        }
        source = CHUNK_HUGE_PAGES;
    } else if (memory->chunks != NULL && size % PAGE_BYTES == 0) {
        place = pages_allocate_small(size);
        source = CHUNK_PAGES;
    }
    if (place == NULL) {
        place = memory_allocate_aligned(memory->allocator, 64, size);
        source = CHUNK_ALLOCATOR;
    }
    if (place == NULL) {
        return false;
    }
    struct memory_chunk *chunk = place;
    chunk->next = memory->chunks;
    chunk->size_bytes = size;
    chunk->source = source;
    memory->chunks = chunk;
    overlay_memory_count(memory, size);
    if (memory->next_chunk_bytes < HUGE_PAGE_BYTES) {
        memory->next_chunk_bytes *= 2;
    }
    if (region_bytes(&memory->current) < region_bytes(&memory->spare)) {
        keep_remnant(memory, &memory->current);
        memory->current = memory->spare;
    } else {
        keep_remnant(memory, &memory->spare);
    }
    memory->spare.position = (uint8_t *)place + sizeof(struct memory_chunk);
    memory->spare.end = (uint8_t *)place + size;
    return true;
}

bool overlay_memory_guarantee(struct overlay_memory *memory, size_t bytes) {
    if (region_bytes(&memory->current) < bytes && region_bytes(&memory->spare) < bytes &&
        !add_chunk(memory, bytes)) {
        return false;
    }
    memory->guaranteed_bytes = bytes;
    return true;
}

/* The current region has run dry: goes on in what earlier chunks left, or in the spare. */
static void refill_current(struct overlay_memory *memory) {
    if (memory->remnants != NULL) {
        struct memory_remnant *remnant = (struct memory_remnant *)memory->remnants;
        memory->remnants = (struct overlay_block *)atomic_load_explicit(&remnant->block.link,
                                                                        memory_order_relaxed);
        memory->current.position = (uint8_t *)remnant;
        memory->current.end = memory->current.position + remnant->size_bytes;
    } else {
        memory->current = memory->spare;
        memory->spare.position = memory->spare.end = NULL;
    }
}

static void *bump(struct overlay_memory *memory, size_t room) {
    if (region_bytes(&memory->current) < room &&
        region_bytes(&memory->current) < MEMORY_EXHAUSTED_BYTES) {
        refill_current(memory);
    }
    struct memory_region *region = &memory->current;
    if (region_bytes(region) < room) {
        region = &memory->spare;
        ASSERT(region_bytes(region) >= room);
    }
    void *place = region->position;
    region->position += room;
    return place;
}

static void *pop_free(struct overlay_memory *memory, uint32_t size_class) {
    struct overlay_block *block = memory->free_lists[size_class];
    if (block != NULL) {
        uintptr_t link = atomic_load_explicit(&block->link, memory_order_relaxed);
        memory->free_lists[size_class] = (struct overlay_block *)(link & ~BLOCK_RETIRED);
        const char *next = (const char *)memory->free_lists[size_class];
        size_t bytes = overlay_memory_class_bytes(size_class);
        for (size_t at = 0; at < bytes && at < MEMORY_PREFETCH_BYTES; at += 64) {
            __builtin_prefetch(next + at, 1);
        }
    }
    return block;
}

void *overlay_memory_take(struct overlay_memory *memory, size_t size_bytes,
                          uint32_t *out_size_class) {
    uint32_t size_class = overlay_memory_class(size_bytes);
    *out_size_class = size_class;
    void *place = pop_free(memory, size_class);
    return place != NULL ? place : bump(memory, overlay_memory_class_bytes(size_class));
}

void *overlay_memory_take_node(struct overlay_memory *memory, size_t size_bytes) {
    uint8_t *place = bump(memory, size_bytes + 56);
    place += -(uintptr_t)place & 63u;
    memset(place, 0, size_bytes);
    return place;
}

void *overlay_memory_try(struct overlay_memory *memory, size_t size_bytes,
                         uint32_t *out_size_class) {
    uint32_t size_class = overlay_memory_class(size_bytes);
    size_t room = overlay_memory_class_bytes(size_class);
    void *place = pop_free(memory, size_class);
    if (place == NULL) {
        size_t current = region_bytes(&memory->current);
        size_t spare = region_bytes(&memory->spare);
        bool fits = current >= room && (current - room >= memory->guaranteed_bytes ||
                                        spare >= memory->guaranteed_bytes);
        if (!fits) {
            return NULL;
        }
        place = memory->current.position;
        memory->current.position += room;
    }
    *out_size_class = size_class;
    return place;
}

void overlay_memory_retire(struct overlay_memory *memory, struct overlay_block *block) {
    struct memory_limbo *limbo = &memory->filling;
    uint32_t list = block->size_class < LIMBO_LISTS ? block->size_class : 0;
    if (limbo->first[list] == 0) {
        limbo->last[list] = block;
    }
    atomic_store_explicit(&block->link, limbo->first[list] | BLOCK_RETIRED, memory_order_release);
    limbo->first[list] = (uintptr_t)block;
    limbo->has_blocks = true;
    memory->retired_bytes += overlay_memory_class_bytes(block->size_class);
}

static void give(struct overlay_memory *memory, struct overlay_block *block, uint32_t size_class) {
    atomic_store_explicit(&block->link, (uintptr_t)memory->free_lists[size_class],
                          memory_order_relaxed);
    memory->free_lists[size_class] = block;
}

static void free_limbo(struct overlay_memory *memory, struct memory_limbo *limbo) {
    for (uintptr_t link = limbo->first[0]; link != 0;) {
        struct overlay_block *block = (struct overlay_block *)link;
        link = atomic_load_explicit(&block->link, memory_order_relaxed) & ~BLOCK_RETIRED;
        give(memory, block, block->size_class);
    }
    limbo->first[0] = 0;
    for (uint32_t i = 1; i < LIMBO_LISTS; i++) {
        if (limbo->first[i] != 0) {
            give(memory, limbo->last[i], i);
            memory->free_lists[i] = (struct overlay_block *)limbo->first[i];
            limbo->first[i] = 0;
        }
    }
    limbo->has_blocks = false;
}

static size_t collect_bytes(const struct overlay_memory *memory) {
    uint64_t used = atomic_load_explicit(&memory->used_bytes, memory_order_relaxed);
    uint64_t part = used / COLLECT_PART;
    return part < COLLECT_BYTES_MIN   ? COLLECT_BYTES_MIN
           : part > COLLECT_BYTES_MAX ? COLLECT_BYTES_MAX
                                      : (size_t)part;
}

void overlay_memory_collect(struct overlay_memory *memory) {
    if (memory->retired_bytes < COLLECT_BYTES_MIN || memory->epoch == NULL ||
        memory->retired_bytes < collect_bytes(memory)) {
        return;
    }
    memory->retired_bytes = 0;
    if (memory->waiting.has_blocks) {
        if (!epoch_is_past(memory->epoch, memory->waiting.epoch)) {
            return;
        }
        free_limbo(memory, &memory->waiting);
    }
    if (memory->filling.has_blocks) {
        memory->waiting = memory->filling;
        memory->waiting.epoch = epoch_current(memory->epoch);
        memset(&memory->filling, 0, sizeof(memory->filling));
    }
}
