/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/hash/hash_memory.h"

#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"
#include "os/page_pool.h"
#include "os/pages.h"

#define CHUNK_BYTES_MIN ((size_t)32 << 10)
#define CHUNK_BYTES_MAX HUGE_PAGE_BYTES

tern_status hash_memory_create(const tern_allocator *allocator, struct budget *budget,
                               struct page_pool *pool, struct hash_memory **out_memory,
                               tern_error *error) {
    struct hash_memory *memory = memory_allocate_zeroed(allocator, sizeof(*memory));
    if (memory == NULL) {
        return ERROR_NO_MEMORY(error, "recent changes");
    }
    atomic_init(&memory->references, 1);
    memory->allocator = allocator;
    memory->budget = budget;
    memory->pool = pool;
    *out_memory = memory;
    return TERN_OK;
}

static void free_pages(struct hash_memory *memory, void *pages, size_t bytes) {
    uint64_t used = memory->budget != NULL ? budget_used(memory->budget, BUDGET_OVERLAY) : 0;
    if (bytes != HUGE_PAGE_BYTES || !page_pool_put(memory->pool, pages, used)) {
        pages_release(pages, bytes);
    }
}

static void free_chunk(struct hash_memory *memory, struct memory_chunk *chunk) {
    if (memory->budget != NULL) {
        budget_subtract(memory->budget, BUDGET_OVERLAY, chunk->capacity);
    }
    if (chunk->mapped_bytes != 0) {
        free_pages(memory, chunk->data, chunk->mapped_bytes);
    } else {
        memory_release_aligned(memory->allocator, chunk->data);
    }
    memory_release(memory->allocator, chunk);
}

void hash_memory_release(struct hash_memory *memory) {
    if (memory == NULL ||
        atomic_fetch_sub_explicit(&memory->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    while (memory->first != NULL) {
        struct memory_chunk *chunk = memory->first;
        memory->first = chunk->next;
        free_chunk(memory, chunk);
    }
    memory_release(memory->allocator, memory);
}

size_t hash_memory_room(const struct hash_memory *memory) {
    return memory->last == NULL ? 0 : memory->last->capacity - memory->last->used;
}

tern_status hash_memory_reserve(struct hash_memory *memory, size_t bytes, tern_error *error) {
    if (hash_memory_room(memory) >= bytes) {
        return TERN_OK;
    }
    size_t capacity = memory->last == NULL ? CHUNK_BYTES_MIN : memory->last->capacity * 2;
    capacity = capacity > CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX : capacity;
    while (capacity < bytes) {
        capacity *= 2;
    }
    struct memory_chunk *chunk = memory_allocate_zeroed(memory->allocator, sizeof(*chunk));
    if (chunk == NULL) {
        return ERROR_NO_MEMORY(error, "recent changes");
    }
    if (capacity >= HUGE_PAGE_BYTES) {
        void *pages = capacity == HUGE_PAGE_BYTES ? page_pool_take(memory->pool) : NULL;
        tern_status status =
            pages == NULL ? pages_allocate(capacity, true, &pages, error) : TERN_OK;
        if (status != TERN_OK) {
            memory_release(memory->allocator, chunk);
            return status;
        }
        chunk->data = pages;
        chunk->mapped_bytes = capacity;
    } else {
        chunk->data = memory_allocate_aligned(memory->allocator, 64, capacity);
        if (chunk->data == NULL) {
            memory_release(memory->allocator, chunk);
            return ERROR_NO_MEMORY(error, "recent changes");
        }
    }
    ASSERT((uintptr_t)chunk->data + capacity < (uintptr_t)1 << 48);
    chunk->capacity = capacity;
    if (memory->last == NULL) {
        memory->first = chunk;
    } else {
        memory->last->next = chunk;
    }
    memory->last = chunk;
    atomic_fetch_add_explicit(&memory->bytes, capacity, memory_order_relaxed);
    if (memory->budget != NULL) {
        budget_add(memory->budget, BUDGET_OVERLAY, capacity);
    }
    return TERN_OK;
}

struct hash_version *hash_memory_push(struct hash_memory *memory, tern_slice key,
                                      const struct record *record, uint64_t hash, seq_no seq) {
    struct memory_chunk *chunk = memory->last;
    size_t bytes = version_bytes_for(key.size, record->value.size);
    ASSERT(chunk != NULL && chunk->capacity - chunk->used >= bytes);
    if (memory->commit_seq != seq) {
        memory->commit_seq = seq;
        memory->commit_chunk = chunk;
        memory->commit_offset = chunk->used;
    }
    struct hash_version *version = (struct hash_version *)(void *)(chunk->data + chunk->used);
    atomic_init(&version->older, LINK_NONE);
    version->seq = seq;
    atomic_init(&version->cut, seq);
    version->hash = hash;
    version->expires_ms = record->expires_ms;
    version->key_size = (uint32_t)key.size;
    version->value_size = (uint32_t)record->value.size;
    version->bytes = (uint32_t)bytes;
    version->kind = (uint8_t)record->kind;
    version->merge_kind = (uint8_t)record->merge_kind;
    version->flags = 0;
    version->operands = 0;
    if (key.size > 0) {
        memcpy(version->data, key.data, key.size);
    }
    if (record->value.size > 0) {
        memcpy(version->data + key.size, record->value.data, record->value.size);
    }
    chunk->used += bytes;
    atomic_fetch_add_explicit(&memory->used, bytes, memory_order_relaxed);
    return version;
}

bool hash_memory_is_empty(const struct hash_memory *memory) {
    return atomic_load_explicit(&memory->used, memory_order_relaxed) == 0;
}

struct hash_version *memory_walk_next(struct memory_walk *walk) {
    while (walk->chunk != NULL && walk->offset >= walk->chunk->used) {
        walk->chunk = walk->chunk->next;
        walk->offset = 0;
    }
    if (walk->chunk == NULL) {
        return NULL;
    }
    struct hash_version *version =
        (struct hash_version *)(void *)(walk->chunk->data + walk->offset);
    walk->offset += version->bytes;
    return version;
}

bool hash_range_covers(const struct hash_version *range, tern_slice key) {
    return slice_compare(version_key(range), key) <= 0 &&
           ((range->flags & VERSION_HAS_END) == 0 || slice_compare(key, version_value(range)) < 0);
}

seq_no hash_memory_range_seq(const struct hash_memory *memory, tern_slice key, seq_no seq) {
    const struct hash_version *range = atomic_load_explicit(&memory->ranges, memory_order_acquire);
    while (range != NULL) {
        if (range->seq <= seq && hash_range_covers(range, key)) {
            return range->seq;
        }
        range = link_version(version_older(range));
    }
    return SEQ_NONE;
}
