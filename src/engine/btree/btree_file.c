/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a partition and the space in it.
 *
 * Bytes of the header, 4 KiB at the beginning of the file:
 *    0  magic "TERNBTRE"
 *    8  u32  format version (1)
 *   12  u32  page size in bytes
 *   16  u64  partition id
 *   24  u32  granule in units: places and lengths handed out are multiples of it
 *   28  u32  incarnation that created the file
 *   32  u64  XXH3 of bytes 0..31
 *   then zeros
 *
 * Invariants:
 *   F1 a unit below the end of the file is exactly one of: header, free, pending, or in use
 *   F2 a place is handed out only from free space, and a cached frame of an older block at the same
 *      place is dropped before
 *   F3 the file's name is made durable by the first sync of this process, before any manifest can
 *      name a block in it (the file may be there and yet not be durable after a process crash)
 *   F4 the header is written before the first block, and never again once a root refers to blocks
 *
 * Locks: `lock` guards the free space, what is pending, the end of the file and its creation.
 * Reading and writing blocks takes no lock: a block is written by whom it was handed out to, and
 * read by whoever has a reference to it.
 *
 * Space of a block that cannot be noted as free for want of memory is lost until the next open,
 * when free space is derived anew; `lost_units` counts it.
 */
#include "engine/btree/btree_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "cache/cache.h"
#include "engine/btree/btree_file_internal.h"
#include "engine/btree/btree_map.h"
#include "os/file.h"
#include "os/mutex.h"
#include "simd/hash.h"

#define FILE_MAGIC             "TERNBTRE"
#define FILE_FORMAT_VERSION    1u
#define FILE_HEADER_BYTES      ((size_t)FILE_HEADER_UNITS * UNIT_BYTES)
#define HEADER_CHECKSUM_OFFSET 32u

#define GROWTH_UNITS_MIN ((uint64_t)64 * 1024 / UNIT_BYTES)
#define GROWTH_UNITS_MAX ((uint64_t)64 * 1024 * 1024 / UNIT_BYTES)
/* Cut off at once: file systems take their time, and whoever wants space waits meanwhile. */
#define SHRINK_UNITS_MAX    ((uint64_t)64 * 1024 * 1024 / UNIT_BYTES)
#define RUN_UNITS_PREFERRED ((uint64_t)64 * 1024 / UNIT_BYTES)
/* Blocks up to this size may have frames in the cache. */
#define CACHED_UNITS_MAX ((uint64_t)64 * 1024 / UNIT_BYTES)

struct pending_block {
    uint64_t place;
    uint64_t units;
    uint64_t born;
};

/* Blocks that one published root superseded. */
struct pending_batch {
    struct pending_block *blocks;
    size_t count;
    size_t capacity;
    uint64_t superseded;
    bool is_sorted; /* by born, ascending */
};

struct btree_file {
    const struct engine_environment *environment;
    uint32_t page_bytes;
    partition_id id;
    uint32_t space;
    bool header_is_valid;
    bool may_be_mapped;
    bool name_is_durable; /* maintenance role */
    _Atomic(tern_file *) handle;
    _Atomic(struct btree_map *) map; /* NULL: pages come from the cache */
    bool map_failed;                 /* it was wanted */
    _Atomic uint64_t granule_units;

    struct mutex lock;
    struct extents free;
    uint64_t end_units; /* of the file; 0 while it is missing */
    struct pending_batch *batches;
    size_t batch_count;
    size_t batch_capacity;
    struct pending_batch building;
    uint64_t pending_units;
    uint64_t lost_units;

    _Atomic uint64_t written_bytes;
    _Atomic uint64_t read_bytes;
    _Atomic uint64_t reads;
    _Atomic uint64_t ahead_runs, ahead_pages, ahead_strided_runs;
    char path[FILE_PATH_BYTES];
};

void btree_file_name(partition_id id, char out_name[BTREE_FILE_NAME_BYTES]) {
    (void)snprintf(out_name, BTREE_FILE_NAME_BYTES, "p-%016" PRIx64 ".btree", (uint64_t)id);
}

static tern_file *handle_of(const struct btree_file *file) {
    return atomic_load_explicit(&file->handle, memory_order_acquire);
}

static uint64_t granule_of(const struct btree_file *file) {
    return atomic_load_explicit(&file->granule_units, memory_order_relaxed);
}

static uint64_t whole_granules(const struct btree_file *file, uint64_t units) {
    return round_up_u64(units, granule_of(file));
}

struct btree_map *btree_file_map(const struct btree_file *file) {
    return atomic_load_explicit(&file->map, memory_order_acquire);
}

const char *btree_file_path(const struct btree_file *file) {
    return file->path;
}

uint32_t btree_file_space(const struct btree_file *file) {
    return file->space;
}

bool btree_file_exists(const struct btree_file *file) {
    return handle_of(file) != NULL;
}

/* ---- the header ---- */

static void encode_header(const struct btree_file *file, uint8_t *header) {
    memset(header, 0, FILE_HEADER_BYTES);
    memcpy(header, FILE_MAGIC, 8);
    put_u32(header + 8, FILE_FORMAT_VERSION);
    put_u32(header + 12, file->page_bytes);
    put_u64(header + 16, file->id);
    put_u32(header + 24, (uint32_t)granule_of(file));
    put_u32(header + 28, file->environment->incarnation);
    put_u64(header + HEADER_CHECKSUM_OFFSET, hash_u64(header, HEADER_CHECKSUM_OFFSET, 0));
}

static bool header_is_ours(const struct btree_file *file, const uint8_t *header) {
    uint32_t granule = get_u32(header + 24);
    return memcmp(header, FILE_MAGIC, 8) == 0 &&
           get_u64(header + HEADER_CHECKSUM_OFFSET) ==
               hash_u64(header, HEADER_CHECKSUM_OFFSET, 0) &&
           get_u32(header + 8) == FILE_FORMAT_VERSION && get_u32(header + 12) == file->page_bytes &&
           get_u64(header + 16) == file->id && granule > 0 && granule <= FILE_HEADER_UNITS &&
           FILE_HEADER_UNITS % granule == 0;
}

static uint32_t open_flags(const struct btree_file *file, bool buffered) {
    const struct engine_environment *environment = file->environment;
    uint32_t flags = environment->read_only ? (uint32_t)TERN_OPEN_READ : 0u;
    return flags | (environment->buffered_io || buffered ? 0u : (uint32_t)TERN_OPEN_DIRECT);
}

static uint64_t granule_for(const tern_file *handle) {
    uint64_t granule = (handle->alignment_bytes + UNIT_BYTES - 1) / UNIT_BYTES;
    return granule == 0 ? 1 : granule;
}

static tern_status open_handle(struct btree_file *file, uint32_t flags, tern_file **out_handle,
                               tern_error *error) {
    const tern_file_system *system = file->environment->file_system;
    return system->open(system->context, file->path, flags, out_handle, error);
}

/* Reads the header into aligned memory; a short file gives an invalid one. */
static tern_status read_header(tern_file *handle, uint8_t *header, tern_error *error) {
    size_t got = 0;
    memset(header, 0, FILE_HEADER_BYTES);
    return file_read(handle, 0, header, FILE_HEADER_BYTES, &got, error);
}

/* What is free before blocks in use have been taken out: everything behind the header. */
static tern_status derive_space(struct btree_file *file, uint64_t size_bytes, tern_error *error) {
    file->end_units = size_bytes / UNIT_BYTES / FILE_HEADER_UNITS * FILE_HEADER_UNITS;
    if (file->end_units <= FILE_HEADER_UNITS) {
        return TERN_OK;
    }
    tern_status status =
        extents_add(&file->free, FILE_HEADER_UNITS, file->end_units - FILE_HEADER_UNITS);
    return status == TERN_OK ? TERN_OK : ERROR_NO_MEMORY(error, "the free space of a file");
}

/* The mapping page source, where it is wanted and can be had. */
static void map_file(struct btree_file *file, tern_file *handle) {
    struct btree_map *map = NULL;
    if (file->environment->page_source != TERN_PAGE_SOURCE_MAPPING || !file->may_be_mapped ||
        btree_file_map(file) != NULL) {
        return;
    }
    file->map_failed = btree_map_create(file->environment->allocator, handle, file->end_units, &map,
                                        NULL) != TERN_OK;
    atomic_store_explicit(&file->map, map, memory_order_release);
}

/* Opens the file when it is there. */
static tern_status open_existing(struct btree_file *file, tern_error *error) {
    const struct engine_environment *environment = file->environment;
    const tern_allocator *allocator = environment->allocator;
    tern_file *handle = NULL;
    uint8_t *header = NULL;
    uint64_t size_bytes = 0;
    const tern_file_system *system = environment->file_system;
    tern_error failure = TERN_ERROR_INIT;
    tern_status status = system->exists(system->context, file->path, &failure);
    if (status != TERN_OK) {
        if (status != TERN_NOT_FOUND) {
            error_copy(error, &failure);
        }
        return status == TERN_NOT_FOUND ? TERN_OK : status;
    }
    header = memory_allocate_aligned(allocator, BTREE_FILE_MEMORY_ALIGNMENT, FILE_HEADER_BYTES);
    if (header == NULL) {
        return ERROR_NO_MEMORY(error, "the header of a file");
    }
    status = open_handle(file, open_flags(file, false), &handle, error);
    if (status == TERN_OK) {
        status = read_header(handle, header, error);
    }
    if (status != TERN_OK) {
        goto done;
    }
    file->header_is_valid = header_is_ours(file, header);
    uint64_t granule = file->header_is_valid ? get_u32(header + 24) : granule_for(handle);
    if (granule_for(handle) > granule) {
        /* Made where direct I/O was finer: go through the page cache here. */
        (void)file_close(handle, NULL);
        handle = NULL;
        status = open_handle(file, open_flags(file, true), &handle, error);
        if (status != TERN_OK) {
            goto done;
        }
    }
    atomic_store_explicit(&file->granule_units, granule, memory_order_relaxed);
    status = handle->methods->size(handle, &size_bytes, error);
    if (status == TERN_OK) {
        status = derive_space(file, size_bytes, error);
    }
done:
    if (status == TERN_OK) {
        map_file(file, handle);
        atomic_store_explicit(&file->handle, handle, memory_order_release);
    } else {
        (void)file_close(handle, NULL);
    }
    memory_release_aligned(allocator, header);
    return status;
}

tern_status btree_file_open(const struct engine_environment *environment,
                            const struct engine_config *config, struct btree_file **out_file,
                            tern_error *error) {
    struct btree_file *file = memory_allocate_zeroed(environment->allocator, sizeof(*file));
    if (file == NULL) {
        return ERROR_NO_MEMORY(error, "a partition's file");
    }
    file->environment = environment;
    file->page_bytes = config->options.page_bytes;
    file->may_be_mapped = config->options.compression == TERN_COMPRESSION_NONE;
    file->id = config->id;
    atomic_init(&file->granule_units, 1);
    mutex_init(&file->lock);
    extents_init(&file->free, environment->allocator);
    char name[BTREE_FILE_NAME_BYTES];
    btree_file_name(config->id, name);
    tern_status status = path_join(file->path, environment->directory, name, error);
    if (status == TERN_OK) {
        status = open_existing(file, error);
    }
    if (status != TERN_OK) {
        btree_file_close(file);
        return status;
    }
    if (environment->cache != NULL) {
        file->space = cache_space_open(environment->cache);
    }
    *out_file = file;
    return TERN_OK;
}

static void drop_batch(struct btree_file *file, struct pending_batch *batch) {
    if (file->environment->budget != NULL) {
        budget_subtract(file->environment->budget, BUDGET_INDEX,
                        batch->capacity * sizeof(batch->blocks[0]));
    }
    memory_release(file->environment->allocator, batch->blocks);
}

void btree_file_close(struct btree_file *file) {
    if (file == NULL) {
        return;
    }
    const tern_allocator *allocator = file->environment->allocator;
    btree_map_destroy(btree_file_map(file));
    (void)file_close(handle_of(file), NULL);
    if (file->space != 0) {
        cache_space_close(file->environment->cache, file->space);
    }
    for (size_t i = 0; i < file->batch_count; i++) {
        drop_batch(file, &file->batches[i]);
    }
    memory_release(allocator, file->batches);
    memory_release(allocator, file->building.blocks);
    extents_release(&file->free);
    mutex_destroy(&file->lock);
    memory_release(allocator, file);
}

/* Under the lock: makes the file and its header. */
static tern_status ensure_created(struct btree_file *file, tern_error *error) {
    tern_file *handle = handle_of(file);
    if (handle != NULL && file->header_is_valid) {
        return TERN_OK;
    }
    const tern_allocator *allocator = file->environment->allocator;
    if (file->environment->read_only) {
        return ERROR_AT(error, TERN_READ_ONLY, file->path, -1, 0,
                        "the database was opened read-only");
    }
    bool is_new = handle == NULL;
    uint8_t *header =
        memory_allocate_aligned(allocator, BTREE_FILE_MEMORY_ALIGNMENT, FILE_HEADER_BYTES);
    if (header == NULL) {
        return ERROR_NO_MEMORY(error, "the header of a file");
    }
    tern_status status = TERN_OK;
    if (is_new) {
        status = open_handle(file, open_flags(file, false) | TERN_OPEN_CREATE, &handle, error);
        if (status != TERN_OK) {
            goto done;
        }
        atomic_store_explicit(&file->granule_units, granule_for(handle), memory_order_relaxed);
    }
    encode_header(file, header);
    status = file_write(handle, 0, header, FILE_HEADER_BYTES, error);
    if (status != TERN_OK) {
        goto done;
    }
    file->header_is_valid = true;
    if (file->end_units < FILE_HEADER_UNITS) {
        file->end_units = FILE_HEADER_UNITS;
        btree_map_set_end(btree_file_map(file), file->end_units);
    }
    atomic_fetch_add_explicit(&file->written_bytes, FILE_HEADER_BYTES, memory_order_relaxed);
done:
    if (is_new) {
        if (status == TERN_OK) {
            map_file(file, handle);
            atomic_store_explicit(&file->handle, handle, memory_order_release);
        } else {
            (void)file_close(handle, NULL);
        }
    }
    memory_release_aligned(allocator, header);
    return status;
}

tern_status btree_file_granule(struct btree_file *file, uint64_t *out_units, tern_error *error) {
    mutex_lock(&file->lock);
    tern_status status = ensure_created(file, error);
    if (status == TERN_OK) {
        *out_units = granule_of(file);
    }
    mutex_unlock(&file->lock);
    return status;
}

uint64_t btree_file_end(struct btree_file *file) {
    mutex_lock(&file->lock);
    uint64_t end = file->end_units;
    mutex_unlock(&file->lock);
    return end;
}

/* ---- reading ---- */

tern_status btree_file_read_units(struct btree_file *file, uint64_t place, uint64_t units,
                                  void *aligned, tern_error *error) {
    tern_file *handle = handle_of(file);
    if (handle == NULL) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, place * UNIT_BYTES, 0,
                        "the file of the partition is missing; restore it or repair the database");
    }
    if (place < FILE_HEADER_UNITS || place % granule_of(file) != 0) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, place * UNIT_BYTES, 0,
                        "a reference points to where no block can lie");
    }
    size_t wanted = (size_t)units * UNIT_BYTES;
    size_t asked = (size_t)whole_granules(file, units) * UNIT_BYTES;
    size_t got = 0;
    tern_status status = file_read(handle, place * UNIT_BYTES, aligned, asked, &got, error);
    if (status != TERN_OK) {
        return status;
    }
    atomic_fetch_add_explicit(&file->read_bytes, got, memory_order_relaxed);
    atomic_fetch_add_explicit(&file->reads, 1, memory_order_relaxed);
    if (got < wanted) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, place * UNIT_BYTES, 0,
                        "the file ends inside a block of %zu bytes", wanted);
    }
    return TERN_OK;
}

bool btree_file_begin(struct btree_file *file, tern_io_kind kind, uint64_t place, uint64_t units,
                      void *aligned, struct io_queue *queue, struct io_operation *operation) {
    tern_file *handle = handle_of(file);
    if (handle == NULL || place < FILE_HEADER_UNITS || place % granule_of(file) != 0) {
        return false;
    }
    operation->io.kind = kind;
    operation->io.file = handle;
    operation->io.offset = place * UNIT_BYTES;
    operation->io.buffer = aligned;
    operation->io.size = (size_t)whole_granules(file, units) * UNIT_BYTES;
    if (kind == TERN_IO_WRITE) {
        atomic_fetch_add_explicit(&file->written_bytes, operation->io.size, memory_order_relaxed);
    }
    io_queue_submit(queue, operation);
    return true;
}

tern_status btree_file_end_read(struct btree_file *file, uint64_t units, struct io_queue *queue,
                                struct io_operation *read) {
    tern_status status = io_queue_wait(queue, read);
    if (status == TERN_OK) {
        atomic_fetch_add_explicit(&file->read_bytes, read->io.done_bytes, memory_order_relaxed);
        atomic_fetch_add_explicit(&file->reads, 1, memory_order_relaxed);
        status = read->io.done_bytes < (size_t)units * UNIT_BYTES ? TERN_CORRUPTION : TERN_OK;
    }
    return status;
}

tern_status btree_file_decode(const struct btree_file *file, const uint8_t *bytes, uint64_t place,
                              uint64_t units, uint64_t checksum, void *target, size_t capacity,
                              const void **in_place, size_t *out_payload_size, tern_error *error) {
    uint64_t stored_bytes = BLOCK_HEADER_BYTES + (uint64_t)get_u32(bytes + 8);
    if (stored_bytes > units * UNIT_BYTES || stored_bytes + UNIT_BYTES <= units * UNIT_BYTES) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, place * UNIT_BYTES, 0,
                        "the size in a block's header is not that of the reference to it");
    }
    return block_decode(bytes, (size_t)stored_bytes, checksum, file->path, place * UNIT_BYTES,
                        target, capacity, in_place, out_payload_size, error);
}

tern_status btree_file_read_block(struct btree_file *file, packed_ref ref, uint64_t checksum,
                                  uint8_t *target, size_t capacity, size_t *out_payload_size,
                                  tern_error *error) {
    const tern_allocator *allocator = file->environment->allocator;
    uint64_t place = ref_place(ref);
    uint64_t units = ref_units(ref);
    if (units == 0) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, place * UNIT_BYTES, 0,
                        "a reference to a block of no size");
    }
    /* Not into the target: in a frame the block header would overwrite the frame's tag, which
     * others look at. */
    uint8_t *stored = memory_allocate_aligned(allocator, BTREE_FILE_MEMORY_ALIGNMENT,
                                              (size_t)whole_granules(file, units) * UNIT_BYTES);
    if (stored == NULL) {
        return ERROR_NO_MEMORY(error, "reading a block");
    }
    tern_status status = btree_file_read_units(file, place, units, stored, error);
    if (status == TERN_OK) {
        status = btree_file_decode(file, stored, place, units, checksum, target, capacity, NULL,
                                   out_payload_size, error);
    }
    memory_release_aligned(allocator, stored);
    return status;
}

void btree_file_will_need(struct btree_file *file, uint64_t place, uint64_t units) {
    tern_file *handle = handle_of(file);
    if (handle != NULL && handle->methods->advise != NULL) {
        handle->methods->advise(handle, place * UNIT_BYTES, units * UNIT_BYTES, true);
    }
}

void btree_file_note_ahead(struct btree_file *file, uint64_t pages, bool is_strided) {
    atomic_fetch_add_explicit(&file->ahead_runs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&file->ahead_pages, pages, memory_order_relaxed);
    atomic_fetch_add_explicit(&file->ahead_strided_runs, is_strided, memory_order_relaxed);
}

/* ---- space ---- */

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

void btree_file_distrust_header(struct btree_file *file) {
    mutex_lock(&file->lock);
    file->header_is_valid = false;
    mutex_unlock(&file->lock);
}

uint64_t btree_file_known_granule(const struct btree_file *file) {
    return granule_of(file);
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
    tern_status status = ensure_created(file, error);
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
    tern_status status = ensure_created(file, error);
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

/* ---- writing ---- */

tern_status btree_file_write(struct btree_file *file, uint64_t place, const void *bytes,
                             uint64_t units, tern_error *error) {
    tern_file *handle = handle_of(file);
    ASSERT(handle != NULL && place >= FILE_HEADER_UNITS);
    size_t size = (size_t)units * UNIT_BYTES;
    tern_status status = file_write(handle, place * UNIT_BYTES, bytes, size, error);
    if (status == TERN_OK) {
        atomic_fetch_add_explicit(&file->written_bytes, size, memory_order_relaxed);
    }
    return status;
}

tern_status btree_file_sync(struct btree_file *file, tern_error *error) {
    tern_file *handle = handle_of(file);
    if (handle == NULL) {
        return TERN_OK;
    }
    tern_status status = file_sync(handle, error);
    if (status == TERN_OK && !file->name_is_durable) {
        const tern_file_system *system = file->environment->file_system;
        status = system->sync_directory(system->context, file->environment->directory, error);
        file->name_is_durable = status == TERN_OK;
    }
    return status;
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

void btree_file_get_stats(const struct btree_file *file, struct btree_file_stats *out_stats) {
    struct mutex *lock = (struct mutex *)(uintptr_t)&file->lock;
    struct extent last = {0, 0};
    mutex_lock(lock);
    bool has_tail = extents_last(&file->free, &last) && last.place + last.units == file->end_units;
    *out_stats = (struct btree_file_stats){
        .file_bytes = file->end_units * UNIT_BYTES,
        .free_bytes = file->free.total_units * UNIT_BYTES,
        .pending_bytes = file->pending_units * UNIT_BYTES,
        .tail_bytes = has_tail ? last.units * UNIT_BYTES : 0,
        .free_extents = file->free.count,
        .largest_free_bytes = extents_largest(&file->free) * UNIT_BYTES,
        .written_bytes = atomic_load_explicit(&file->written_bytes, memory_order_relaxed),
        .read_bytes = atomic_load_explicit(&file->read_bytes, memory_order_relaxed),
        .reads = atomic_load_explicit(&file->reads, memory_order_relaxed),
        .ahead_runs = atomic_load_explicit(&file->ahead_runs, memory_order_relaxed),
        .ahead_pages = atomic_load_explicit(&file->ahead_pages, memory_order_relaxed),
        .ahead_strided_runs = atomic_load_explicit(&file->ahead_strided_runs, memory_order_relaxed),
        .exists = handle_of(file) != NULL,
        .is_mapped = btree_file_map(file) != NULL,
        .map_failed = file->map_failed,
        .is_direct =
            handle_of(file) != NULL && (handle_of(file)->flags & (uint32_t)TERN_OPEN_DIRECT) != 0,
    };
    if (out_stats->is_mapped) {
        struct btree_map_stats map;
        btree_map_get_stats(btree_file_map(file), &map);
        out_stats->mapped_bytes = map.mapped_bytes;
        out_stats->mapped_pages_checked = map.checked_pages;
    }
    mutex_unlock(lock);
}

void btree_file_visit_free(const struct btree_file *file,
                           bool (*visit)(void *context, uint64_t place, uint64_t units),
                           void *context) {
    struct mutex *lock = (struct mutex *)(uintptr_t)&file->lock;
    mutex_lock(lock);
    extents_visit(&file->free, visit, context);
    mutex_unlock(lock);
}
