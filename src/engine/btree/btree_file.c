/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a partition: its header, reading and writing. The space in it is of btree_space.c.
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
 *   F1 the file's name is made durable by the first sync of this process, before any manifest can
 *      name a block in it (the file may be there and yet not be durable after a process crash)
 *   F2 the header is written before the first block, and never again once a root refers to blocks
 *
 * Locks: `lock` guards the space, the end of the file and its creation.
 * Reading and writing blocks takes no lock: a block is written by whom it was handed out to, and
 * read by whoever has a reference to it.
 */
#include "engine/btree/btree_file.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "cache/cache.h"
#include "engine/btree/btree_file_internal.h"
#include "engine/btree/btree_map.h"
#include "engine/btree/btree_space.h"
#include "os/file.h"
#include "os/mutex.h"
#include "simd/hash.h"

#define FILE_MAGIC             "TERNBTRE"
#define FILE_FORMAT_VERSION    1u
#define FILE_HEADER_BYTES      ((size_t)FILE_HEADER_UNITS * UNIT_BYTES)
#define HEADER_CHECKSUM_OFFSET 32u

void btree_file_name(partition_id id, char out_name[BTREE_FILE_NAME_BYTES]) {
    (void)snprintf(out_name, BTREE_FILE_NAME_BYTES, "p-%016" PRIx64 ".btree", (uint64_t)id);
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
        status = btree_space_derive(file, size_bytes, error);
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
    btree_space_release(file);
    mutex_destroy(&file->lock);
    memory_release(allocator, file);
}

tern_status btree_file_create(struct btree_file *file, tern_error *error) {
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
    tern_status status = btree_file_create(file, error);
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

void btree_file_distrust_header(struct btree_file *file) {
    mutex_lock(&file->lock);
    file->header_is_valid = false;
    mutex_unlock(&file->lock);
}

uint64_t btree_file_known_granule(const struct btree_file *file) {
    return granule_of(file);
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
