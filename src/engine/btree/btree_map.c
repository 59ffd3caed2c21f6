/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A read-only mapping of a partition's file, and a bit for each unit of 512 bytes at which a block
 * begins that has been checked:
 *
 *   addresses  | file ... end | reserved for growth ... |
 *   bits       | one for each unit, zeroed pages that become memory where they are written |
 *
 * Invariants:
 *   M1 only blocks that a live root refers to are looked at, and their places are not handed out
 *      again before no view needs them; so mapped bytes do not change under a reader
 *   M2 a bit is set after checksum and structure of the block at its place were right, and cleared
 *      when the block is released, before the place can be handed out
 *   M3 nothing at or beyond the end of the file is looked at: the end is lowered before the file is
 *      cut, and raised after it has grown. What is cut off was free, so no reader is there (M1)
 *
 * The promise is weaker than the cache's: a page is checked once, and what the system reads again
 * later is not; a device that fails then, or another process that cuts the file, ends this process
 * with a signal.
 *
 * The addresses are reserved once, with room for growth; blocks beyond them are read through the
 * cache.
 */
#include "engine/btree/btree_map.h"

#include "base/error.h"
#include "os/pages.h"

#define RESERVE_BYTES_MIN ((uint64_t)16 << 30)
#define RESERVE_FACTOR    8u
#define BITS              64u

struct btree_map {
    const tern_allocator *allocator;
    tern_file *handle;
    uint8_t *memory;
    uint64_t reserved_bytes;
    _Atomic uint64_t end_units;
    _Atomic uint64_t checked_pages;
    _Atomic uint64_t *checked;
    size_t checked_bytes;
};

/* As many addresses as the system gives: at least those of the file. */
static tern_status reserve(struct btree_map *map, uint64_t file_bytes, tern_error *error) {
    uint64_t least = (file_bytes / HUGE_PAGE_BYTES + 1) * HUGE_PAGE_BYTES;
    uint64_t wanted = least * RESERVE_FACTOR;
    wanted = wanted > RESERVE_BYTES_MIN ? wanted : RESERVE_BYTES_MIN;
    for (;; wanted = wanted / 4 > least ? wanted / 4 : least) {
        void *memory = NULL;
        tern_status status = map->handle->methods->map_read(map->handle, wanted, &memory,
                                                            wanted == least ? error : NULL);
        if (status == TERN_OK) {
            map->memory = memory;
            map->reserved_bytes = wanted;
        }
        if (status == TERN_OK || wanted == least) {
            return status;
        }
    }
}

tern_status btree_map_create(const tern_allocator *allocator, tern_file *handle, uint64_t end_units,
                             struct btree_map **out_map, tern_error *error) {
    if (handle->methods->map_read == NULL || handle->methods->populate == NULL) {
        return ERROR_SET(error, TERN_UNSUPPORTED, "this file system does not map files");
    }
    struct btree_map *map = memory_allocate_zeroed(allocator, sizeof(*map));
    if (map == NULL) {
        return ERROR_NO_MEMORY(error, "the mapping of a file");
    }
    map->allocator = allocator;
    map->handle = handle;
    atomic_init(&map->end_units, end_units);
    tern_status status = reserve(map, end_units * UNIT_BYTES, error);
    if (status != TERN_OK) {
        memory_release(allocator, map);
        return status;
    }
    void *bits = NULL;
    map->checked_bytes = (size_t)(map->reserved_bytes / UNIT_BYTES / 8);
    status = pages_allocate(map->checked_bytes, false, &bits, error);
    if (status != TERN_OK) {
        handle->methods->unmap(handle, map->memory, (size_t)map->reserved_bytes);
        memory_release(allocator, map);
        return status;
    }
    map->checked = bits;
    *out_map = map;
    return TERN_OK;
}

void btree_map_destroy(struct btree_map *map) {
    if (map == NULL) {
        return;
    }
    pages_release((void *)map->checked, map->checked_bytes);
    map->handle->methods->unmap(map->handle, map->memory, (size_t)map->reserved_bytes);
    memory_release(map->allocator, map);
}

void btree_map_set_end(struct btree_map *map, uint64_t end_units) {
    if (map != NULL) {
        atomic_store_explicit(&map->end_units, end_units, memory_order_release);
    }
}

static bool reaches(const struct btree_map *map, uint64_t place, uint64_t units) {
    uint64_t end = atomic_load_explicit(&map->end_units, memory_order_acquire);
    uint64_t reserved = map->reserved_bytes / UNIT_BYTES;
    end = end < reserved ? end : reserved;
    return place < end && units <= end - place;
}

void btree_map_forget(struct btree_map *map, uint64_t place) {
    if (map != NULL && place < map->reserved_bytes / UNIT_BYTES) {
        _Atomic uint64_t *word = &map->checked[place / BITS];
        uint64_t bit = UINT64_C(1) << place % BITS;
        if ((atomic_load_explicit(word, memory_order_relaxed) & bit) != 0) {
            atomic_fetch_and_explicit(word, ~bit, memory_order_release);
        }
    }
}

const uint8_t *btree_map_block(const struct btree_map *map, uint64_t place, uint64_t units) {
    return reaches(map, place, units) ? map->memory + place * UNIT_BYTES : NULL;
}

bool btree_map_is_checked(const struct btree_map *map, uint64_t place) {
    uint64_t word = atomic_load_explicit(&map->checked[place / BITS], memory_order_acquire);
    return (word >> place % BITS & 1) != 0;
}

void btree_map_set_checked(struct btree_map *map, uint64_t place) {
    atomic_fetch_or_explicit(&map->checked[place / BITS], UINT64_C(1) << place % BITS,
                             memory_order_release);
    atomic_fetch_add_explicit(&map->checked_pages, 1, memory_order_relaxed);
}

tern_status btree_map_populate(struct btree_map *map, uint64_t place, uint64_t units,
                               tern_error *error) {
    return map->handle->methods->populate(map->handle, map->memory, place * UNIT_BYTES,
                                          (size_t)units * UNIT_BYTES, error);
}

bool btree_map_contains(const struct btree_map *map, const void *address) {
    return (uintptr_t)address - (uintptr_t)map->memory < map->reserved_bytes;
}

void btree_map_get_stats(const struct btree_map *map, struct btree_map_stats *out_stats) {
    uint64_t end = atomic_load_explicit(&map->end_units, memory_order_relaxed) * UNIT_BYTES;
    *out_stats = (struct btree_map_stats){
        .mapped_bytes = end < map->reserved_bytes ? end : map->reserved_bytes,
        .checked_pages = atomic_load_explicit(&map->checked_pages, memory_order_relaxed)};
}
