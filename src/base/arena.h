/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is released all at once. */
#ifndef TERN_BASE_ARENA_H
#define TERN_BASE_ARENA_H

#include <tern/slice.h>

#include "base/memory.h"

struct arena_chunk;

/* One thread at a time. Zero `size_bytes` budget means unlimited. */
struct arena {
    const tern_allocator *allocator;
    struct arena_chunk *chunks; /* newest first */
    uint8_t *position;
    uint8_t *end;
    size_t chunk_bytes;     /* size of the next chunk; doubles up to 1 MiB */
    size_t allocated_bytes; /* of all chunks */
};

/* `first_chunk_bytes` is allocated at the first use. */
void arena_init(struct arena *arena, const tern_allocator *allocator, size_t first_chunk_bytes);

/* Releases all memory. The arena can be used again. */
void arena_release(struct arena *arena);

/* Forgets all allocations but keeps the newest chunk for reuse. */
void arena_reset(struct arena *arena);

/* Memory aligned to 8, or NULL. */
void *arena_allocate(struct arena *arena, size_t size_bytes);

/* A copy of bytes, or a slice with NULL data when out of memory and size is not 0. */
tern_slice arena_copy(struct arena *arena, tern_slice bytes);

#endif
