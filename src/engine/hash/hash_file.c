/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of the header, one unit:
 *    0  magic "TERNHASH"
 *    8  u32  format version (1)
 *   12  u32  unit in bytes (4096)
 *   16  u64  partition id
 *   24  u32  incarnation that created the file
 *   28  u32  zero
 *   32  u64  XXH3 of bytes 0..31
 *
 * Free space is a sorted array of intervals; the lowest that is large enough is taken. (The B+tree
 * has a set of intervals of its own for much smaller units; the two may become one.)
 *
 * Invariants:
 *   F1 a unit below the end of the file is header, free, pending or in use
 *   F2 cached frames of a place are dropped before it is handed out again
 *   F3 the name of the file is durable before a manifest can refer to a block in it
 */
#include "engine/hash/hash_file.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "cache/cache.h"
#include "os/file.h"
#include "os/mutex.h"
#include "simd/hash.h"

#define HEADER_MAGIC     "TERNHASH"
#define FORMAT_VERSION   1u
#define GROWTH_UNITS_MIN 16u
#define GROWTH_UNITS_MAX 8192u

struct interval {
    uint32_t place;
    uint32_t units;
};

struct hash_file {
    const struct engine_environment *environment;
    partition_id id;
    uint32_t space;
    bool header_is_valid;
    bool name_is_durable;
    _Atomic(tern_file *) handle;
    struct mutex lock;
    struct interval *free;
    size_t free_count, free_capacity;
    uint64_t free_units;
    uint32_t held_end;          /* nothing below is allocated; 0: anything */
    _Atomic uint32_t end_units; /* written under the lock */
    _Atomic int64_t pending_units;
    _Atomic uint64_t written_bytes, read_bytes, reads;
    char path[FILE_PATH_BYTES];
};

void hash_file_name(partition_id id, char out_name[32]) {
    (void)snprintf(out_name, 32, "p-%016" PRIx64 ".hash", (uint64_t)id);
}

const char *hash_file_path(const struct hash_file *file) {
    return file->path;
}

uint32_t hash_file_space(const struct hash_file *file) {
    return file->space;
}

bool hash_file_has_valid_header(const struct hash_file *file) {
    return file->header_is_valid;
}

static tern_file *handle_of(const struct hash_file *file) {
    return atomic_load_explicit(&file->handle, memory_order_acquire);
}

/* ---- intervals, under the lock ---- */

/* The first interval that ends behind `place`. */
static size_t find_interval(const struct hash_file *file, uint32_t place) {
    size_t low = 0;
    size_t high = file->free_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (file->free[middle].place + file->free[middle].units <= place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool grow_intervals(struct hash_file *file) {
    if (file->free_count + 1 < file->free_capacity) {
        return true;
    }
    size_t capacity = file->free_capacity == 0 ? 32 : file->free_capacity * 2;
    void *grown =
        memory_resize(file->environment->allocator, file->free, capacity * sizeof(file->free[0]));
    if (grown == NULL) {
        return false;
    }
    file->free = grown;
    file->free_capacity = capacity;
    return true;
}

static void remove_interval(struct hash_file *file, size_t at) {
    file->free_count--;
    memmove(&file->free[at], &file->free[at + 1], (file->free_count - at) * sizeof(file->free[0]));
}

/* Units that cannot be noted for want of memory are lost until the next open. */
static void add_free(struct hash_file *file, uint32_t place, uint32_t units) {
    size_t at = find_interval(file, place);
    bool joins_left = at > 0 && file->free[at - 1].place + file->free[at - 1].units == place;
    bool joins_right = at < file->free_count && file->free[at].place == place + units;
    if (joins_left) {
        file->free[at - 1].units += units;
        if (joins_right) {
            file->free[at - 1].units += file->free[at].units;
            remove_interval(file, at);
        }
    } else if (joins_right) {
        file->free[at].place = place;
        file->free[at].units += units;
    } else {
        if (!grow_intervals(file)) {
            return;
        }
        memmove(&file->free[at + 1], &file->free[at],
                (file->free_count - at) * sizeof(file->free[0]));
        file->free[at] = (struct interval){place, units};
        file->free_count++;
    }
    file->free_units += units;
}

/* False: not wholly free, or no memory. */
static bool take_at(struct hash_file *file, uint32_t place, uint32_t units) {
    size_t at = find_interval(file, place);
    if (at == file->free_count || file->free[at].place > place ||
        file->free[at].place + file->free[at].units < place + units || !grow_intervals(file)) {
        return false;
    }
    struct interval old = file->free[at];
    uint32_t left = place - old.place;
    uint32_t right = old.place + old.units - (place + units);
    if (left == 0 && right == 0) {
        remove_interval(file, at);
    } else if (left == 0 || right == 0) {
        file->free[at] = left == 0 ? (struct interval){place + units, right}
                                   : (struct interval){old.place, left};
    } else {
        memmove(&file->free[at + 1], &file->free[at],
                (file->free_count - at) * sizeof(file->free[0]));
        file->free[at] = (struct interval){old.place, left};
        file->free[at + 1] = (struct interval){place + units, right};
        file->free_count++;
    }
    file->free_units -= units;
    return true;
}

/* ---- opening ---- */

static bool header_is_ours(const struct hash_file *file, const uint8_t *header) {
    return memcmp(header, HEADER_MAGIC, 8) == 0 && get_u32(header + 8) == FORMAT_VERSION &&
           get_u32(header + 12) == HASH_UNIT_BYTES && get_u64(header + 16) == file->id &&
           get_u64(header + 32) == hash_u64(header, 32, 0);
}

static tern_status open_handle(struct hash_file *file, uint32_t extra, tern_file **out_handle,
                               tern_error *error) {
    const struct engine_environment *environment = file->environment;
    const tern_file_system *system = environment->file_system;
    uint32_t flags = extra | (environment->read_only ? (uint32_t)TERN_OPEN_READ : 0u) |
                     (environment->buffered_io ? 0u : (uint32_t)TERN_OPEN_DIRECT);
    tern_status status = system->open(system->context, file->path, flags, out_handle, error);
    if (status == TERN_OK && HASH_UNIT_BYTES % (*out_handle)->alignment_bytes != 0) {
        (void)file_close(*out_handle, NULL);
        flags &= ~(uint32_t)TERN_OPEN_DIRECT;
        status = system->open(system->context, file->path, flags, out_handle, error);
    }
    return status;
}

static tern_status open_existing(struct hash_file *file, tern_error *error) {
    const struct engine_environment *environment = file->environment;
    const tern_file_system *system = environment->file_system;
    tern_error failure = TERN_ERROR_INIT;
    tern_status status = system->exists(system->context, file->path, &failure);
    if (status == TERN_NOT_FOUND) {
        return TERN_OK;
    }
    if (status != TERN_OK) {
        error_copy(error, &failure);
        return status;
    }
    tern_file *handle = NULL;
    uint64_t size = 0;
    size_t got = 0;
    uint8_t *header =
        memory_allocate_aligned(environment->allocator, HASH_UNIT_BYTES, HASH_UNIT_BYTES);
    if (header == NULL) {
        return ERROR_NO_MEMORY(error, "the header of a file");
    }
    memset(header, 0, HASH_UNIT_BYTES);
    status = open_handle(file, 0, &handle, error);
    if (status == TERN_OK) {
        status = file_read(handle, 0, header, HASH_UNIT_BYTES, &got, error);
    }
    if (status == TERN_OK) {
        status = handle->methods->size(handle, &size, error);
    }
    if (status == TERN_OK && size / HASH_UNIT_BYTES > UINT32_MAX) {
        status = ERROR_AT(error, TERN_CORRUPTION, file->path, -1, 0, "the file is too large");
    }
    if (status == TERN_OK) {
        /* What a short write left of the header is written anew, as a whole unit. */
        file->header_is_valid = size >= HASH_UNIT_BYTES && header_is_ours(file, header);
        file->end_units = (uint32_t)(size / HASH_UNIT_BYTES);
        if (file->end_units > 1) {
            add_free(file, 1, file->end_units - 1);
        }
        atomic_store_explicit(&file->handle, handle, memory_order_release);
    } else {
        (void)file_close(handle, NULL);
    }
    memory_release_aligned(environment->allocator, header);
    return status;
}

tern_status hash_file_open(const struct engine_environment *environment, partition_id id,
                           struct hash_file **out_file, tern_error *error) {
    struct hash_file *file = memory_allocate_zeroed(environment->allocator, sizeof(*file));
    if (file == NULL) {
        return ERROR_NO_MEMORY(error, "a partition's file");
    }
    file->environment = environment;
    file->id = id;
    mutex_init(&file->lock);
    char name[32];
    hash_file_name(id, name);
    tern_status status = path_join(file->path, environment->directory, name, error);
    if (status == TERN_OK && !grow_intervals(file)) {
        status = ERROR_NO_MEMORY(error, "a partition's file");
    }
    if (status == TERN_OK) {
        status = open_existing(file, error);
    }
    if (status != TERN_OK) {
        hash_file_close(file);
        return status;
    }
    if (environment->cache != NULL) {
        file->space = cache_space_open(environment->cache);
    }
    *out_file = file;
    return TERN_OK;
}

void hash_file_close(struct hash_file *file) {
    if (file == NULL) {
        return;
    }
    (void)file_close(handle_of(file), NULL);
    if (file->space != 0) {
        cache_space_close(file->environment->cache, file->space);
    }
    memory_release(file->environment->allocator, file->free);
    mutex_destroy(&file->lock);
    memory_release(file->environment->allocator, file);
}

/* Under the lock. */
static tern_status ensure_created(struct hash_file *file, tern_error *error) {
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
    uint8_t *header = memory_allocate_aligned(allocator, HASH_UNIT_BYTES, HASH_UNIT_BYTES);
    if (header == NULL) {
        return ERROR_NO_MEMORY(error, "the header of a file");
    }
    memset(header, 0, HASH_UNIT_BYTES);
    memcpy(header, HEADER_MAGIC, 8);
    put_u32(header + 8, FORMAT_VERSION);
    put_u32(header + 12, HASH_UNIT_BYTES);
    put_u64(header + 16, file->id);
    put_u32(header + 24, file->environment->incarnation);
    put_u64(header + 32, hash_u64(header, 32, 0));
    tern_status status = TERN_OK;
    if (is_new) {
        status = open_handle(file, TERN_OPEN_CREATE, &handle, error);
    }
    if (status == TERN_OK) {
        status = file_write(handle, 0, header, HASH_UNIT_BYTES, error);
        if (status == TERN_OK) {
            file->header_is_valid = true;
            if (file->end_units == 0) {
                file->end_units = 1;
            }
            atomic_store_explicit(&file->handle, handle, memory_order_release);
        } else if (is_new) {
            (void)file_close(handle, NULL);
        }
    }
    memory_release_aligned(allocator, header);
    return status;
}

/* ---- space ---- */

static tern_status grow_file(struct hash_file *file, uint32_t units, tern_error *error) {
    tern_file *handle = handle_of(file);
    uint32_t tail = 0;
    if (file->free_count > 0) {
        const struct interval *last = &file->free[file->free_count - 1];
        bool reaches_end =
            last->place + last->units == file->end_units && last->place >= file->held_end;
        tail = reaches_end ? last->units : 0;
    }
    uint32_t growth = file->end_units / 8;
    growth = growth < GROWTH_UNITS_MIN ? GROWTH_UNITS_MIN : growth;
    growth = growth > GROWTH_UNITS_MAX ? GROWTH_UNITS_MAX : growth;
    growth = growth < units - tail ? units - tail : growth;
    tern_status status = TERN_DISK_FULL;
    for (;;) {
        if (growth > UINT32_MAX - file->end_units) {
            return ERROR_AT(error, TERN_DISK_FULL, file->path, -1, 0, "the file is at its limit");
        }
        status = handle->methods->allocate(handle, (uint64_t)file->end_units * HASH_UNIT_BYTES,
                                           (uint64_t)growth * HASH_UNIT_BYTES, error);
        if (status != TERN_DISK_FULL || growth == units - tail) {
            break;
        }
        growth = units - tail;
    }
    if (status == TERN_OK) {
        if (!grow_intervals(file)) {
            return ERROR_NO_MEMORY(error, "the free space of a file");
        }
        uint32_t place = file->end_units;
        file->end_units += growth;
        add_free(file, place, growth);
    }
    return status;
}

void hash_file_hold_free(struct hash_file *file, bool holds) {
    mutex_lock(&file->lock);
    file->held_end = holds ? file->end_units : 0;
    mutex_unlock(&file->lock);
}

/* Where so many units fit behind what is held; 0: nowhere. */
static uint32_t find_place(const struct hash_file *file, uint32_t units) {
    for (size_t at = find_interval(file, file->held_end); at < file->free_count; at++) {
        const struct interval *interval = &file->free[at];
        uint32_t place = interval->place > file->held_end ? interval->place : file->held_end;
        if (interval->place + interval->units - place >= units) {
            return place;
        }
    }
    return 0;
}

tern_status hash_file_allocate(struct hash_file *file, uint32_t units, uint32_t *out_place,
                               tern_error *error) {
    mutex_lock(&file->lock);
    tern_status status = ensure_created(file, error);
    for (unsigned attempt = 0; status == TERN_OK; attempt++) {
        uint32_t place = find_place(file, units);
        if (place > 0) {
            if (!take_at(file, place, units)) {
                status = ERROR_NO_MEMORY(error, "the free space of a file");
            } else {
                *out_place = place;
            }
            break;
        }
        ASSERT(attempt == 0);
        status = grow_file(file, units, error);
    }
    mutex_unlock(&file->lock);
    return status;
}

void hash_file_free(struct hash_file *file, uint32_t place, uint32_t units) {
    struct cache *cache = file->environment->cache;
    if (cache != NULL) {
        cache_invalidate(cache, cache_tag_of(file->space, place));
    }
    mutex_lock(&file->lock);
    add_free(file, place, units);
    mutex_unlock(&file->lock);
}

void hash_file_count_pending(struct hash_file *file, int64_t units) {
    atomic_fetch_add_explicit(&file->pending_units, units, memory_order_relaxed);
}

tern_status hash_file_mark_used(struct hash_file *file, uint32_t place, uint32_t units,
                                tern_error *error) {
    mutex_lock(&file->lock);
    bool has_memory = grow_intervals(file);
    bool is_taken = has_memory && units > 0 && place > 0 && units < UINT32_MAX - place &&
                    take_at(file, place, units);
    mutex_unlock(&file->lock);
    if (!has_memory) {
        return ERROR_NO_MEMORY(error, "the free space of a file");
    }
    return is_taken
               ? TERN_OK
               : ERROR_AT(error, TERN_CORRUPTION, file->path, (uint64_t)place * HASH_UNIT_BYTES, 0,
                          "a block lies outside of the file or over another one");
}

/* ---- blocks ---- */

tern_status hash_file_read_raw(struct hash_file *file, uint32_t place, void *target, size_t size,
                               size_t *out_size, tern_error *error) {
    tern_file *handle = handle_of(file);
    if (handle == NULL) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, (uint64_t)place * HASH_UNIT_BYTES, 0,
                        "the file of the partition is missing; restore it or repair the database");
    }
    tern_status status =
        file_read(handle, (uint64_t)place * HASH_UNIT_BYTES, target, size, out_size, error);
    if (status == TERN_OK) {
        atomic_fetch_add_explicit(&file->read_bytes, *out_size, memory_order_relaxed);
        atomic_fetch_add_explicit(&file->reads, 1, memory_order_relaxed);
    }
    return status;
}

/* Reads the units of a block into new aligned memory. */
static tern_status read_units(struct hash_file *file, const struct hash_ref *ref,
                              uint8_t **out_bytes, size_t *out_stored, tern_error *error) {
    const tern_allocator *allocator = file->environment->allocator;
    uint64_t offset = (uint64_t)ref->place * HASH_UNIT_BYTES;
    size_t size = (size_t)ref->units * HASH_UNIT_BYTES;
    size_t got = 0;
    if (ref->units == 0 || ref->place == 0 ||
        (handle_of(file) != NULL && (uint64_t)ref->place + ref->units > file->end_units)) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, offset, 0,
                        "a reference points to where no block can lie");
    }
    uint8_t *bytes = memory_allocate_aligned(allocator, HASH_UNIT_BYTES, size);
    if (bytes == NULL) {
        return ERROR_NO_MEMORY(error, "reading a block");
    }
    tern_status status = hash_file_read_raw(file, ref->place, bytes, size, &got, error);
    if (status == TERN_OK) {
        size_t stored =
            got < BLOCK_HEADER_BYTES ? SIZE_MAX : BLOCK_HEADER_BYTES + (size_t)get_u32(bytes + 8);
        if (stored > got || hash_units_for(stored) != ref->units) {
            status = ERROR_AT(error, TERN_CORRUPTION, file->path, offset, 0,
                              "the size in a block's header is not that of the reference to it");
        } else {
            *out_stored = stored;
        }
    }
    if (status != TERN_OK) {
        memory_release_aligned(allocator, bytes);
        return status;
    }
    *out_bytes = bytes;
    return TERN_OK;
}

tern_status hash_file_decode(const struct hash_file *file, const struct hash_ref *ref,
                             const uint8_t *units, void *target, size_t capacity,
                             size_t *out_payload_size, tern_error *error) {
    uint64_t offset = (uint64_t)ref->place * HASH_UNIT_BYTES;
    size_t stored = BLOCK_HEADER_BYTES + (size_t)get_u32(units + 8);
    if (hash_units_for(stored) != ref->units) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, offset, 0,
                        "the size in a block's header is not that of the reference to it");
    }
    return block_decode(units, stored, ref->checksum, file->path, offset, target, capacity, NULL,
                        out_payload_size, error);
}

tern_status hash_file_decode_in_place(const struct hash_file *file, const struct hash_ref *ref,
                                      const uint8_t *units, const uint8_t **out_payload,
                                      size_t *out_payload_size, tern_error *error) {
    uint64_t offset = (uint64_t)ref->place * HASH_UNIT_BYTES;
    size_t stored = BLOCK_HEADER_BYTES + (size_t)get_u32(units + 8);
    size_t room = (size_t)ref->units * HASH_UNIT_BYTES;
    const void *payload = NULL;
    if (hash_units_for(stored) != ref->units || units[1] != TERN_COMPRESSION_NONE) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, offset, 0,
                        "a block's header is not that of what the reference to it names");
    }
    tern_status status = block_decode(units, stored, ref->checksum, file->path, offset, NULL, room,
                                      &payload, out_payload_size, error);
    if (status == TERN_OK) {
        *out_payload = payload;
    }
    return status;
}

tern_status hash_file_read_into(struct hash_file *file, const struct hash_ref *ref, void *target,
                                size_t capacity, size_t *out_payload_size, tern_error *error) {
    uint8_t *bytes = NULL;
    size_t stored = 0;
    tern_status status = read_units(file, ref, &bytes, &stored, error);
    if (status == TERN_OK) {
        status = block_decode(bytes, stored, ref->checksum, file->path,
                              (uint64_t)ref->place * HASH_UNIT_BYTES, target, capacity, NULL,
                              out_payload_size, error);
        memory_release_aligned(file->environment->allocator, bytes);
    }
    return status;
}

tern_status hash_file_read(struct hash_file *file, const struct hash_ref *ref,
                           struct buffer *out_payload, tern_error *error) {
    uint8_t *bytes = NULL;
    size_t stored = 0;
    size_t size = 0;
    tern_status status = read_units(file, ref, &bytes, &stored, error);
    if (status != TERN_OK) {
        return status;
    }
    size_t raw = get_u32(bytes + 4);
    out_payload->size = 0;
    if (raw > ((size_t)1 << 30)) {
        status =
            ERROR_AT(error, TERN_CORRUPTION, file->path, (uint64_t)ref->place * HASH_UNIT_BYTES, 0,
                     "a block says that it holds %zu bytes", raw);
    } else if (buffer_reserve(out_payload, raw + 1) != TERN_OK) {
        status = ERROR_NO_MEMORY(error, "reading a block");
    } else {
        status = block_decode(bytes, stored, ref->checksum, file->path,
                              (uint64_t)ref->place * HASH_UNIT_BYTES, out_payload->data, raw, NULL,
                              &size, error);
        out_payload->size = status == TERN_OK ? size : 0;
    }
    memory_release_aligned(file->environment->allocator, bytes);
    return status;
}

tern_status hash_file_write(struct hash_file *file, uint32_t place, const void *bytes,
                            uint32_t units, tern_error *error) {
    tern_file *handle = handle_of(file);
    size_t size = (size_t)units * HASH_UNIT_BYTES;
    ASSERT(handle != NULL && place > 0);
    tern_status status = file_write(handle, (uint64_t)place * HASH_UNIT_BYTES, bytes, size, error);
    if (status == TERN_OK) {
        atomic_fetch_add_explicit(&file->written_bytes, size, memory_order_relaxed);
    }
    return status;
}

tern_status hash_file_put(struct hash_file *file, tern_compression compression, const void *payload,
                          size_t size, struct hash_ref *out_ref, tern_error *error) {
    const tern_allocator *allocator = file->environment->allocator;
    const struct block_context context = {compression, file->environment->incarnation};
    size_t bound = (size_t)hash_units_for(block_bound(size)) * HASH_UNIT_BYTES;
    size_t stored = 0;
    struct hash_ref ref = {0};
    uint8_t *bytes = memory_allocate_aligned(allocator, HASH_UNIT_BYTES, bound);
    if (bytes == NULL) {
        return ERROR_NO_MEMORY(error, "writing a block");
    }
    tern_status status =
        block_encode(&context, payload, size, bytes, &stored, &ref.checksum, error);
    if (status == TERN_OK) {
        ref.units = hash_units_for(stored);
        memset(bytes + stored, 0, (size_t)ref.units * HASH_UNIT_BYTES - stored);
        status = hash_file_allocate(file, ref.units, &ref.place, error);
    }
    if (status == TERN_OK) {
        status = hash_file_write(file, ref.place, bytes, ref.units, error);
        if (status != TERN_OK) {
            hash_file_free(file, ref.place, ref.units);
        }
    }
    memory_release_aligned(allocator, bytes);
    if (status == TERN_OK) {
        *out_ref = ref;
    }
    return status;
}

tern_status hash_file_sync(struct hash_file *file, tern_error *error) {
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

tern_status hash_file_shrink(struct hash_file *file, uint64_t *out_freed_bytes, tern_error *error) {
    tern_status status = TERN_OK;
    uint32_t freed = 0;
    mutex_lock(&file->lock);
    if (handle_of(file) != NULL && file->free_count > 0) {
        struct interval last = file->free[file->free_count - 1];
        if (last.place + last.units == file->end_units) {
            tern_file *handle = handle_of(file);
            status =
                handle->methods->truncate(handle, (uint64_t)last.place * HASH_UNIT_BYTES, error);
            if (status == TERN_OK) {
                freed = last.units;
                file->end_units = last.place;
                file->free_units -= last.units;
                file->free_count--;
            }
        }
    }
    mutex_unlock(&file->lock);
    if (status == TERN_OK) {
        *out_freed_bytes = (uint64_t)freed * HASH_UNIT_BYTES;
    }
    return status;
}

void hash_file_get_stats(struct hash_file *file, struct hash_file_stats *out_stats) {
    int64_t pending = atomic_load_explicit(&file->pending_units, memory_order_relaxed);
    mutex_lock(&file->lock);
    *out_stats = (struct hash_file_stats){
        .file_bytes = (uint64_t)file->end_units * HASH_UNIT_BYTES,
        .free_bytes = file->free_units * HASH_UNIT_BYTES,
        .pending_bytes = (uint64_t)pending * HASH_UNIT_BYTES,
        .free_extents = file->free_count,
        .written_bytes = atomic_load_explicit(&file->written_bytes, memory_order_relaxed),
        .read_bytes = atomic_load_explicit(&file->read_bytes, memory_order_relaxed),
        .reads = atomic_load_explicit(&file->reads, memory_order_relaxed),
    };
    mutex_unlock(&file->lock);
}
