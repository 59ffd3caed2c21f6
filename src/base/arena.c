/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#define ARENA_CHUNK_BYTES_MAX ((size_t)1 << 20)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size_bytes;
};

_Static_assert(sizeof(struct arena_chunk) % 8 == 0, "keeps allocations aligned to 8");

void arena_init(struct arena *arena, const tern_allocator *allocator, size_t first_chunk_bytes) {
    *arena = (struct arena){.allocator = allocator, .chunk_bytes = first_chunk_bytes};
}

static void use_chunk(struct arena *arena, struct arena_chunk *chunk) {
    arena->position = (uint8_t *)(chunk + 1);
    arena->end = (uint8_t *)chunk + chunk->size_bytes;
}

static void release_chunks(struct arena *arena, struct arena_chunk *chunk) {
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        arena->allocated_bytes -= chunk->size_bytes;
        memory_release(arena->allocator, chunk);
        chunk = next;
    }
}

void arena_release(struct arena *arena) {
    release_chunks(arena, arena->chunks);
    arena->chunks = NULL;
    arena->position = arena->end = NULL;
}

void arena_reset(struct arena *arena) {
    if (arena->chunks == NULL) {
        return;
    }
    release_chunks(arena, arena->chunks->next);
    arena->chunks->next = NULL;
    use_chunk(arena, arena->chunks);
}

void *arena_allocate(struct arena *arena, size_t size_bytes) {
    if (size_bytes > SIZE_MAX / 2) {
        return NULL;
    }
    size_t size = size_bytes == 0 ? 8 : (size_bytes + 7) & ~(size_t)7;
    if (size > (size_t)(arena->end - arena->position)) {
        size_t whole = size + sizeof(struct arena_chunk);
        size_t chunk_bytes = arena->chunk_bytes > whole ? arena->chunk_bytes : whole;
        struct arena_chunk *chunk = memory_allocate(arena->allocator, chunk_bytes);
        if (chunk == NULL) {
            return NULL;
        }
        *chunk = (struct arena_chunk){arena->chunks, chunk_bytes};
        arena->chunks = chunk;
        arena->allocated_bytes += chunk_bytes;
        if (arena->chunk_bytes < ARENA_CHUNK_BYTES_MAX) {
            arena->chunk_bytes *= 2;
        }
        use_chunk(arena, chunk);
    }
    void *memory = arena->position;
    arena->position += size;
    return memory;
}

tern_slice arena_copy(struct arena *arena, tern_slice bytes) {
    if (bytes.size == 0) {
        return tern_slice_of(NULL, 0);
    }
    void *copy = arena_allocate(arena, bytes.size);
    if (copy == NULL) {
        return tern_slice_of(NULL, 0);
    }
    memcpy(copy, bytes.data, bytes.size);
    return tern_slice_of(copy, bytes.size);
}
