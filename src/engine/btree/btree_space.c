/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The space in the file of a partition: what is free, and what is free once its last reader has
 * gone.
 *
 * Invariants:
 *   S1 a unit below the end of the file is exactly one of: header, free, pending, or in use
 *   S2 a place is handed out only from free space, and a cached frame of an older block at the same
 *      place is dropped before
 *
 * Space of a block that cannot be noted as free for want of memory is lost until the next open,
 * when free space is derived anew; `lost_units` counts it.
 */
#include "engine/btree/btree_space.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/error.h"
#include "cache/cache.h"
#include "engine/btree/btree_map.h"

#define GROWTH_UNITS_MIN ((uint64_t)64 * 1024 / UNIT_BYTES)
#define GROWTH_UNITS_MAX ((uint64_t)64 * 1024 * 1024 / UNIT_BYTES)
/* Cut off at once: file systems take their time, and whoever wants space waits meanwhile. */
#define SHRINK_UNITS_MAX    ((uint64_t)64 * 1024 * 1024 / UNIT_BYTES)
#define RUN_UNITS_PREFERRED ((uint64_t)64 * 1024 / UNIT_BYTES)
/* Blocks up to this size may have frames in the cache. */
#define CACHED_UNITS_MAX ((uint64_t)64 * 1024 / UNIT_BYTES)

tern_status btree_space_derive(struct btree_file *file, uint64_t size_bytes, tern_error *error) {
    file->end_units = size_bytes / UNIT_BYTES / FILE_HEADER_UNITS * FILE_HEADER_UNITS;
    if (file->end_units <= FILE_HEADER_UNITS) {
        return TERN_OK;
    }
    tern_status status =
        extents_add(&file->free, FILE_HEADER_UNITS, file->end_units - FILE_HEADER_UNITS);
    return status == TERN_OK ? TERN_OK : ERROR_NO_MEMORY(error, "the free space of a file");
}

static void drop_batch(struct btree_file *file, struct pending_batch *batch) {
    if (file->environment->budget != NULL) {
        budget_subtract(file->environment->budget, BUDGET_INDEX,
                        batch->capacity * sizeof(batch->blocks[0]));
    }
    memory_release(file->environment->allocator, batch->blocks);
}

void btree_space_release(struct btree_file *file) {
    for (size_t i = 0; i < file->batch_count; i++) {
        drop_batch(file, &file->batches[i]);
    }
    memory_release(file->environment->allocator, file->batches);
    memory_release(file->environment->allocator, file->building.blocks);
    extents_release(&file->free);
}

/* ---- what is free ---- */

tern_status btree_file_mark_used(struct btree_file *file, uint64_t place, uint64_t units,
                                 tern_error *error) {
    mutex_lock(&file->lock);
    tern_status status = TERN_OK;
    if (!file->header_is_valid) {
        status = ERROR_AT(error, TERN_CORRUPTION, file->path, 0, 0,
                          handle_of(file) == NULL
                              ? "the file of the partition is missing; restore it or repair"
                              : "the header of the file is damaged; repair the database");
    } else if (place % granule_of(file) != 0) {
        status = ERROR_AT(error, TERN_CORRUPTION, file->path, place * UNIT_BYTES, 0,
                          "a reference points to where no block can lie");
    } else {
        status = extents_remove(&file->free, place, whole_granules(file, units));
        if (status == TERN_NOT_FOUND) {
            status = ERROR_AT(error, TERN_CORRUPTION, file->path, place * UNIT_BYTES, 0,
                              "a block of %llu bytes overlaps another one or the file's end",
                              (unsigned long long)units * UNIT_BYTES);
        } else if (status == TERN_NO_MEMORY) {
            status = ERROR_NO_MEMORY(error, "the free space of a file");
        }
    }
    mutex_unlock(&file->lock);
    return status;
}

void btree_file_forget_free(struct btree_file *file) {
    mutex_lock(&file->lock);
    file->lost_units += file->free.total_units;
    extents_release(&file->free);
    mutex_unlock(&file->lock);
}

/* Under the lock: adds to the free space; what cannot be noted is lost until the next open. */
static void give_back(struct btree_file *file, uint64_t place, uint64_t units) {
    if (extents_add(&file->free, place, units) != TERN_OK) {
        file->lost_units += units;
    }
}

/* Under the lock: grows the file so that `units` consecutive ones are free at its end. */
static tern_status grow(struct btree_file *file, uint64_t units, tern_error *error) {
    tern_file *handle = handle_of(file);
    struct extent last = {0, 0};
    uint64_t tail_units = 0;
    if (extents_last(&file->free, &last) && last.place + last.units == file->end_units) {
        tail_units = last.units;
    }
    uint64_t needed = round_up_u64(units - tail_units, FILE_HEADER_UNITS);
    uint64_t step = file->end_units / 8;
    step = step < GROWTH_UNITS_MIN ? GROWTH_UNITS_MIN : step;
    step = step > GROWTH_UNITS_MAX ? GROWTH_UNITS_MAX : step;
    uint64_t wanted = round_up_u64(needed > step ? needed : step, FILE_HEADER_UNITS);
    for (;;) {
        uint64_t offset = file->end_units * UNIT_BYTES;
        tern_status status = handle->methods->allocate(handle, offset, wanted * UNIT_BYTES, error);
        if (status == TERN_UNSUPPORTED) {
            status = handle->methods->truncate(handle, offset + wanted * UNIT_BYTES, error);
        }
        if (status == TERN_OK) {
            break;
        }
        if (status != TERN_DISK_FULL || wanted == needed) {
            return status;
        }
        wanted = needed;
    }
    if (extents_add(&file->free, file->end_units, wanted) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "the free space of a file");
    }
    file->end_units += wanted;
    btree_map_set_end(btree_file_map(file), file->end_units);
    return TERN_OK;
}

tern_status btree_file_allocate_run(struct btree_file *file, uint64_t units_min, uint64_t units_max,
                                    bool takes_scraps, struct extent *out_run, tern_error *error) {
    mutex_lock(&file->lock);
    tern_status status = btree_file_create(file, error);
    if (status == TERN_OK) {
        uint64_t least = whole_granules(file, units_min);
        uint64_t most = whole_granules(file, units_max);
        uint64_t preferred = least > RUN_UNITS_PREFERRED ? least : RUN_UNITS_PREFERRED;
        preferred = preferred > most ? most : preferred;
        preferred = takes_scraps ? least : preferred;
        bool is_loose = file->free.total_units > file->end_units / 4;
        if (!extents_take(&file->free, preferred, most, out_run) &&
            !(is_loose && extents_take(&file->free, least, most, out_run))) {
            status = grow(file, preferred, error);
            if (status == TERN_DISK_FULL && extents_take(&file->free, least, most, out_run)) {
                status = TERN_OK;
            } else if (status == TERN_OK) {
                ASSERT(extents_take(&file->free, preferred, most, out_run));
            }
        }
    }
    mutex_unlock(&file->lock);
    return status;
}

tern_status btree_file_allocate(struct btree_file *file, uint64_t units, uint64_t *out_place,
                                tern_error *error) {
    mutex_lock(&file->lock);
    struct extent extent = {0, 0};
    tern_status status = btree_file_create(file, error);
    if (status == TERN_OK) {
        uint64_t whole = whole_granules(file, units);
        if (!extents_take(&file->free, whole, whole, &extent)) {
            status = grow(file, whole, error);
            if (status == TERN_OK) {
                ASSERT(extents_take(&file->free, whole, whole, &extent));
            }
        }
    }
    mutex_unlock(&file->lock);
    if (status == TERN_OK) {
        *out_place = extent.place;
    }
    return status;
}

static void drop_frame(const struct btree_file *file, uint64_t place, uint64_t units) {
    btree_map_forget(btree_file_map(file), place);
    if (file->environment->cache != NULL && units <= CACHED_UNITS_MAX) {
        cache_invalidate(file->environment->cache, cache_tag_of(file->space, place));
    }
}

void btree_file_release_now(struct btree_file *file, uint64_t place, uint64_t units) {
    mutex_lock(&file->lock);
    btree_map_forget(btree_file_map(file), place);
    give_back(file, place, whole_granules(file, units));
    mutex_unlock(&file->lock);
}

tern_status btree_file_shrink(struct btree_file *file, uint64_t *out_freed_bytes,
                              tern_error *error) {
    uint64_t freed_units = 0;
    tern_status status = TERN_OK;
    mutex_lock(&file->lock);
    tern_file *handle = handle_of(file);
    struct extent last;
    if (handle != NULL && extents_last(&file->free, &last) &&
        last.place + last.units == file->end_units) {
        uint64_t end = round_up_u64(last.place, FILE_HEADER_UNITS);
        freed_units = file->end_units - end;
        freed_units = freed_units > SHRINK_UNITS_MAX ? SHRINK_UNITS_MAX : freed_units;
        end = file->end_units - freed_units;
        if (freed_units > 0) {
            status = extents_remove(&file->free, end, freed_units);
            if (status != TERN_OK) {
                status = ERROR_NO_MEMORY(error, "the free space of a file");
                goto done;
            }
            btree_map_set_end(btree_file_map(file), end);
            status = handle->methods->truncate(handle, end * UNIT_BYTES, error);
            if (status != TERN_OK) {
                btree_map_set_end(btree_file_map(file), file->end_units);
                give_back(file, end, freed_units);
                goto done;
            }
            file->end_units = end;
        }
    }
done:
    mutex_unlock(&file->lock);
    if (status == TERN_OK) {
        *out_freed_bytes = freed_units * UNIT_BYTES;
    }
    return status;
}

void btree_file_visit_free(const struct btree_file *file,
                           bool (*visit)(void *context, uint64_t place, uint64_t units),
                           void *context) {
    struct mutex *lock = (struct mutex *)(uintptr_t)&file->lock;
    mutex_lock(lock);
    extents_visit(&file->free, visit, context);
    mutex_unlock(lock);
}

/* ---- what is superseded ---- */

tern_status btree_file_release_later(struct btree_file *file, uint64_t place, uint64_t units,
                                     uint64_t born, tern_error *error) {
    const tern_allocator *allocator = file->environment->allocator;
    struct pending_batch *building = &file->building;
    tern_status status = TERN_OK;
    mutex_lock(&file->lock);
    if (file->batch_count == file->batch_capacity) {
        size_t capacity = file->batch_capacity == 0 ? 8 : file->batch_capacity * 2;
        void *batches =
            memory_resize(allocator, file->batches, capacity * sizeof(file->batches[0]));
        if (batches == NULL) {
            status = ERROR_NO_MEMORY(error, "superseded blocks");
            goto done;
        }
        file->batches = batches;
        file->batch_capacity = capacity;
    }
    if (building->count == building->capacity) {
        size_t capacity = building->capacity == 0 ? 64 : building->capacity * 2;
        void *blocks =
            memory_resize(allocator, building->blocks, capacity * sizeof(building->blocks[0]));
        if (blocks == NULL) {
            status = ERROR_NO_MEMORY(error, "superseded blocks");
            goto done;
        }
        building->blocks = blocks;
        building->capacity = capacity;
    }
    building->blocks[building->count++] =
        (struct pending_block){place, whole_granules(file, units), born};
done:
    mutex_unlock(&file->lock);
    return status;
}

/* Batches may live as long as their readers: no more memory than they need, and counted. */
static void fit_batch(struct btree_file *file, struct pending_batch *batch) {
    void *blocks = memory_resize(file->environment->allocator, batch->blocks,
                                 batch->count * sizeof(batch->blocks[0]));
    if (blocks != NULL) {
        batch->blocks = blocks;
        batch->capacity = batch->count;
    }
    if (file->environment->budget != NULL) {
        budget_add(file->environment->budget, BUDGET_INDEX,
                   batch->capacity * sizeof(batch->blocks[0]));
    }
}

void btree_file_supersede_at(struct btree_file *file, uint64_t generation, bool is_published) {
    mutex_lock(&file->lock);
    struct pending_batch *building = &file->building;
    if (building->count > 0 && is_published) {
        ASSERT(file->batch_count < file->batch_capacity);
        building->superseded = generation;
        building->is_sorted = false;
        for (size_t i = 0; i < building->count; i++) {
            file->pending_units += building->blocks[i].units;
        }
        fit_batch(file, building);
        file->batches[file->batch_count++] = *building;
    } else {
        memory_release(file->environment->allocator, building->blocks);
    }
    *building = (struct pending_batch){0};
    mutex_unlock(&file->lock);
}

static int compare_born(const void *left, const void *right) {
    const struct pending_block *a = left;
    const struct pending_block *b = right;
    return (a->born > b->born) - (a->born < b->born);
}

/* The largest live generation below `superseded`; false when there is none. */
static bool newest_reader(const uint64_t *live, size_t count, uint64_t superseded,
                          uint64_t *out_generation) {
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (live[middle] < superseded) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return false;
    }
    *out_generation = live[low - 1];
    return true;
}

/*
 * Whoever reads a block of the batch is older than what superseded it, so only the newest such
 * reader counts: blocks born after it are free. They are the tail of the batch sorted by birth.
 */
static void release_batch(struct btree_file *file, struct pending_batch *batch,
                          const uint64_t *live, size_t count) {
    uint64_t newest = 0;
    bool has_reader = newest_reader(live, count, batch->superseded, &newest);
    if (has_reader && !batch->is_sorted) {
        qsort(batch->blocks, batch->count, sizeof(batch->blocks[0]), compare_born);
        batch->is_sorted = true;
    }
    while (batch->count > 0) {
        const struct pending_block *block = &batch->blocks[batch->count - 1];
        if (has_reader && block->born <= newest) {
            break;
        }
        drop_frame(file, block->place, block->units);
        file->pending_units -= block->units;
        give_back(file, block->place, block->units);
        batch->count--;
    }
}

void btree_file_release_generations(struct btree_file *file, const uint64_t *live, size_t count) {
    mutex_lock(&file->lock);
    size_t kept = 0;
    for (size_t i = 0; i < file->batch_count; i++) {
        release_batch(file, &file->batches[i], live, count);
        if (file->batches[i].count > 0) {
            file->batches[kept++] = file->batches[i];
        } else {
            drop_batch(file, &file->batches[i]);
        }
    }
    file->batch_count = kept;
    mutex_unlock(&file->lock);
}
