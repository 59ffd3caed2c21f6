/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading blocks of a table. A block is looked for where it was last seen (its hint), then in the
 * cache's table, then in the file. Its bytes are checked when they come from the file: the checksum
 * that the index keeps, then the structure, so that searches need not look out for damage.
 */
#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "base/varint.h"
#include "engine/lsm/data_block.h"
#include "engine/lsm/filter_block.h"
#include "engine/lsm/index_block.h"
#include "engine/lsm/table.h"

/* The longest payload that a block may have, cached or not: a meta block. */
#define PAYLOAD_BYTES_MAX ((size_t)64 << 20)
#define LINE_BYTES        64u
/* Tables of more than so many times the cache are read block by block. */
#define AHEAD_FACTOR 2u

static const char *check_payload(enum lsm_payload_type type, const uint8_t *payload, size_t size) {
    switch (type) {
    case LSM_PAYLOAD_DATA:
        return data_block_check(payload, size);
    case LSM_PAYLOAD_INDEX:
        return index_block_check(payload, size);
    case LSM_PAYLOAD_FILTER:
        return filter_block_check(payload, size);
    default:
        return size > 0 && payload[0] == type ? NULL : "block.type";
    }
}

static tern_status damaged(struct lsm_table *table, struct lsm_ref ref, const char *wrong,
                           tern_error *error) {
    char name[LSM_FILE_NAME_BYTES];
    lsm_file_name(table->lsm->config.id, table->number, LSM_FILE_TABLE, name);
    return ERROR_AT(error, TERN_CORRUPTION, name, lsm_place_offset(ref.place), 0,
                    "%s: a block of a table is damaged; verify and repair", wrong);
}

tern_status table_read_bytes(struct lsm_table *table, uint64_t offset, size_t size, void *target,
                             tern_error *error) {
    char name[LSM_FILE_NAME_BYTES];
    lsm_file_name(table->lsm->config.id, table->number, LSM_FILE_TABLE, name);
    tern_status status = file_read_exact(table->file, name, offset, target, size, error);
    if (status == TERN_OK) {
        atomic_fetch_add_explicit(&table->lsm->reads, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&table->lsm->read_bytes, size, memory_order_relaxed);
    }
    return status;
}

static tern_status read_stored(struct lsm_table *table, struct lsm_ref ref, void *target,
                               tern_error *error) {
    return table_read_bytes(table, lsm_place_offset(ref.place), lsm_place_bytes(ref.place), target,
                            error);
}

/* Decodes a stored block into `target` of `capacity` bytes, and checks its structure. */
static tern_status decode(struct lsm_table *table, struct lsm_ref ref, const void *stored,
                          enum lsm_payload_type type, uint8_t *target, size_t capacity,
                          const uint8_t **out_payload, size_t *out_size, tern_error *error) {
    char name[LSM_FILE_NAME_BYTES];
    const void *in_place = NULL;
    size_t size = 0;
    lsm_file_name(table->lsm->config.id, table->number, LSM_FILE_TABLE, name);
    tern_status status =
        block_decode(stored, lsm_place_bytes(ref.place), ref.checksum, name,
                     lsm_place_offset(ref.place), target, capacity, &in_place, &size, error);
    if (status != TERN_OK) {
        return status;
    }
    const char *wrong = check_payload(type, in_place, size);
    if (wrong != NULL) {
        return damaged(table, ref, wrong, error);
    }
    *out_payload = in_place;
    *out_size = size;
    return TERN_OK;
}

tern_status table_decode_block(struct lsm_table *table, struct lsm_ref ref, const void *stored,
                               enum lsm_payload_type type, struct buffer *target,
                               const uint8_t **out_payload, size_t *out_size, tern_error *error) {
    if (lsm_place_bytes(ref.place) <= BLOCK_HEADER_BYTES) {
        return damaged(table, ref, "block.size", error);
    }
    size_t raw = get_u32((const uint8_t *)stored + 4);
    target->size = 0;
    if (raw > PAYLOAD_BYTES_MAX) {
        return damaged(table, ref, "block.size", error);
    }
    if (buffer_reserve(target, raw + 1) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a block of a table");
    }
    return decode(table, ref, stored, type, target->data, raw, out_payload, out_size, error);
}

tern_status table_read_block(struct lsm_table *table, struct lsm_ref ref,
                             enum lsm_payload_type type, struct buffer *target, tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(table->lsm);
    uint32_t stored_bytes = lsm_place_bytes(ref.place);
    const uint8_t *payload = NULL;
    size_t size = 0;
    if (stored_bytes <= BLOCK_HEADER_BYTES) {
        return damaged(table, ref, "block.size", error);
    }
    uint8_t *stored = memory_allocate(allocator, stored_bytes);
    if (stored == NULL) {
        return ERROR_NO_MEMORY(error, "a block of a table");
    }
    tern_status status = read_stored(table, ref, stored, error);
    if (status == TERN_OK) {
        status = table_decode_block(table, ref, stored, type, target, &payload, &size, error);
    }
    if (status == TERN_OK) {
        if (payload != target->data) {
            memcpy(target->data, payload, size);
        }
        target->size = size;
    }
    memory_release(allocator, stored);
    return status;
}

/* ---- cached blocks ---- */

static size_t frame_bytes_for(size_t payload_bytes) {
    size_t bytes = CACHE_FRAME_BYTES_MIN;
    while (bytes < payload_bytes + BLOCK_HEADER_BYTES) {
        bytes *= 2;
    }
    return bytes;
}

/* An empty frame of the cache, or a private one. */
static struct cache_frame *get_frame(struct cache *cache, size_t bytes, bool *out_is_private) {
    struct cache_frame *frame = cache_acquire(cache, bytes);
    *out_is_private = frame == NULL;
    return frame != NULL ? frame : cache_private_create(cache, bytes);
}

static void drop_frame(struct cache *cache, struct cache_frame *frame, bool is_private) {
    if (is_private) {
        cache_private_release(frame);
    } else {
        cache_discard(cache, frame);
    }
}

/* Reads a block into a frame. */
static tern_status load(struct lsm_table *table, struct lsm_ref ref, enum lsm_payload_type type,
                        cache_tag tag, struct cache_frame **out_frame, tern_error *error) {
    struct cache *cache = table->lsm->environment->cache;
    const tern_allocator *allocator = lsm_allocator(table->lsm);
    size_t stored_bytes = lsm_place_bytes(ref.place);
    uint8_t *stored = NULL;
    if (stored_bytes <= BLOCK_HEADER_BYTES) {
        return damaged(table, ref, "block.size", error);
    }
    size_t payload_bytes = stored_bytes - BLOCK_HEADER_BYTES;
    tern_status status = TERN_OK;
    if (table->numbers.compression != TERN_COMPRESSION_NONE) {
        stored = memory_allocate(allocator, stored_bytes);
        if (stored == NULL) {
            return ERROR_NO_MEMORY(error, "a block of a table");
        }
        status = read_stored(table, ref, stored, error);
        payload_bytes = status == TERN_OK ? get_u32(stored + 4) : 0;
    }
    if (status == TERN_OK && payload_bytes > LSM_PAYLOAD_BYTES_MAX) {
        status = damaged(table, ref, "block.size", error);
    }
    if (status != TERN_OK) {
        memory_release(allocator, stored);
        return status;
    }
    bool is_private = false;
    struct cache_frame *frame = get_frame(cache, frame_bytes_for(payload_bytes), &is_private);
    if (frame == NULL) {
        memory_release(allocator, stored);
        return ERROR_NO_MEMORY(error, "a block of a table");
    }
    uint8_t *payload = (uint8_t *)frame + BLOCK_HEADER_BYTES;
    const uint8_t *decoded = NULL;
    size_t size = 0;
    if (stored == NULL) {
        /* The head of the frame takes the block's header for a moment. */
        uint8_t head[BLOCK_HEADER_BYTES];
        memcpy(head, frame, sizeof(head));
        status = read_stored(table, ref, frame, error);
        if (status == TERN_OK && ((const uint8_t *)frame)[1] != TERN_COMPRESSION_NONE) {
            status = damaged(table, ref, "block.compression", error);
        }
        if (status == TERN_OK) {
            status = decode(table, ref, frame, type, NULL, payload_bytes, &decoded, &size, error);
        }
        memcpy(frame, head, sizeof(head));
    } else {
        status = decode(table, ref, stored, type, payload, payload_bytes, &decoded, &size, error);
        if (status == TERN_OK && decoded != payload) {
            memcpy(payload, decoded, size);
        }
        memory_release(allocator, stored);
    }
    if (status != TERN_OK) {
        drop_frame(cache, frame, is_private);
        return status;
    }
    if (is_private) {
        cache_private_release_later(frame);
    } else {
        frame = cache_publish(cache, frame, tag);
    }
    *out_frame = frame;
    return TERN_OK;
}

static cache_tag tag_of(const struct lsm_table *table, uint32_t ordinal) {
    return cache_tag_of(table->space, (uint64_t)table->serial << 20 | ordinal);
}

static uint32_t partition_of(const struct lsm_table *table, uint32_t block) {
    uint32_t low = 0;
    uint32_t high = table->partition_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->partitions[middle].first_block <= block) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - 1;
}

/*
 * Tables are written past the system's page cache. Who begins to read them needs most of their
 * blocks soon, if they are not much more than what fits into memory: block by block from the device
 * that would take a hundred times as long. So with the first block of a partition the system is
 * told to read the others, about a MiB, once.
 */
static void read_ahead(struct lsm_table *table, uint32_t block) {
    const struct lsm *lsm = table->lsm;
    uint32_t index = partition_of(table, block);
    struct table_partition *partition = &table->partitions[index];
    if (table->file->methods->advise == NULL ||
        atomic_load_explicit(&lsm->table_bytes, memory_order_relaxed) >
            AHEAD_FACTOR * cache_limit(lsm->environment->cache) ||
        atomic_exchange_explicit(&partition->is_read_ahead, true, memory_order_relaxed)) {
        return;
    }
    lsm_place before = index > 0 ? table->partitions[index - 1].index.place : 0;
    uint64_t begin = lsm_place_offset(before) + lsm_place_bytes(before);
    uint64_t end = lsm_place_offset(partition->index.place);
    if (begin < end && end <= table->file_bytes) {
        table->file->methods->advise(table->file, begin, end - begin, true);
    }
}

static tern_status fetch_slowly(struct lsm_table *table, uint32_t ordinal, struct lsm_ref ref,
                                enum lsm_payload_type type, _Atomic cache_hint *hint,
                                struct cache_frame **out_frame, tern_error *error) {
    struct cache *cache = table->lsm->environment->cache;
    cache_tag tag = tag_of(table, ordinal);
    struct cache_frame *frame = cache_lookup(cache, tag);
    if (frame == NULL) {
        tern_status status = load(table, ref, type, tag, &frame, error);
        if (status != TERN_OK) {
            return status;
        }
        if (type == LSM_PAYLOAD_DATA) {
            read_ahead(table, ordinal);
        }
    }
    if (!cache_frame_is_private(frame)) {
        atomic_store_explicit(hint, cache_hint_of(cache, frame), memory_order_relaxed);
    }
    *out_frame = frame;
    return TERN_OK;
}

static inline tern_status fetch(struct lsm_table *table, uint32_t ordinal, struct lsm_ref ref,
                                enum lsm_payload_type type, _Atomic cache_hint *hint,
                                struct cache_frame **out_frame, tern_error *error) {
    cache_tag tag = tag_of(table, ordinal);
    cache_hint known = atomic_load_explicit(hint, memory_order_relaxed);
    if (__builtin_expect(known != 0, 1)) {
        struct cache_frame *frame =
            cache_frame_at(cache_base(table->lsm->environment->cache), known);
        if (__builtin_expect(cache_frame_holds(frame, tag), 1)) {
            *out_frame = frame;
            return TERN_OK;
        }
    }
    return fetch_slowly(table, ordinal, ref, type, hint, out_frame, error);
}

tern_status table_index_frame(struct lsm_table *table, uint32_t partition,
                              struct cache_frame **out_frame, tern_error *error) {
    struct table_partition *part = &table->partitions[partition];
    return fetch(table, LSM_TABLE_BLOCKS_MAX + 2 * partition, part->index, LSM_PAYLOAD_INDEX,
                 &part->index_hint, out_frame, error);
}

tern_status table_filter_frame(struct lsm_table *table, uint32_t partition,
                               struct cache_frame **out_frame, tern_error *error) {
    struct table_partition *part = &table->partitions[partition];
    return fetch(table, LSM_TABLE_BLOCKS_MAX + 2 * partition + 1, part->filter, LSM_PAYLOAD_FILTER,
                 &part->filter_hint, out_frame, error);
}

tern_status table_data_frame(struct lsm_table *table, uint32_t block, struct lsm_ref ref,
                             struct cache_frame **out_frame, tern_error *error) {
    return fetch(table, block, ref, LSM_PAYLOAD_DATA, &table->hints[block], out_frame, error);
}

static const void *hinted(struct lsm_table *table, const _Atomic cache_hint *hint) {
    cache_hint known = atomic_load_explicit(hint, memory_order_relaxed);
    return known != 0 ? cache_frame_at(cache_base(table->lsm->environment->cache), known) : NULL;
}

const void *table_filter_hinted(struct lsm_table *table, uint32_t partition) {
    return hinted(table, &table->partitions[partition].filter_hint);
}

const void *table_data_hinted(struct lsm_table *table, uint32_t block) {
    return hinted(table, &table->hints[block]);
}

/* Its header and its hash index: one says where the other lies, but that is at the block's end. */
void table_data_prefetch(struct lsm_table *table, uint32_t block, struct lsm_ref ref) {
    const uint8_t *frame = table_data_hinted(table, block);
    if (frame == NULL) {
        return;
    }
    __builtin_prefetch(frame);
    if (table->numbers.compression == TERN_COMPRESSION_NONE) {
        const uint8_t *end = frame + lsm_place_bytes(ref.place);
        __builtin_prefetch(end - 1);
        __builtin_prefetch(end - LINE_BYTES);
    }
}

/* ---- one key ---- */

uint64_t table_key_hash(const struct lsm_table *table, tern_slice key, uint64_t key_hash) {
    return __builtin_expect(table->numbers.hash_seed == table->lsm->config.hasher.seed, 1)
               ? key_hash
               : engine_key_hash(table->numbers.hash_seed, key);
}

/* Operands of a list, newest first: u8 kind, varint time of the commit, varint size, bytes. */
static tern_status add_operands(struct resolution *resolution, tern_slice list) {
    const uint8_t *source = list.data;
    const uint8_t *end = source + list.size;
    tern_status status = TERN_OK;
    while (status == TERN_OK && source < end) {
        struct record operand = {.kind = RECORD_MERGE, .merge_kind = *source};
        uint64_t size = 0;
        source = varint_get(source + 1, end, &operand.expires_ms);
        source = varint_get(source, end, &size);
        operand.value = tern_slice_of(source, (size_t)size);
        operand.value_size = size;
        status = resolution_add(resolution, &operand, ENGINE_SOURCE_FRAME, NULL);
        source += size;
    }
    return status;
}

tern_status table_add_record(struct resolution *resolution, const struct record *record,
                             void *frame, tern_error *error) {
    tern_status status = record->kind == RECORD_MERGE
                             ? add_operands(resolution, record->value)
                             : resolution_add(resolution, record, ENGINE_SOURCE_FRAME, frame);
    return status == TERN_OK ? TERN_OK : ERROR_NO_MEMORY(error, "merge operands");
}

tern_status table_lookup(struct lsm_table *table, tern_slice key, uint64_t key_hash,
                         struct resolution *resolution, tern_error *error) {
    struct cache_frame *frame = NULL;
    struct record record;
    uint32_t partition = key_directory_find(&table->directory, key);
    if (partition == UINT32_MAX) {
        return TERN_OK;
    }
    key_hash = table_key_hash(table, key, key_hash);
    tern_status status = TERN_OK;
    if (__builtin_expect(partition_has_filter(&table->partitions[partition]), 1)) {
        status = table_filter_frame(table, partition, &frame, error);
        if (status != TERN_OK ||
            !bloom_line_may_contain(filter_line(frame_payload(frame), key_hash), key_hash)) {
            return status;
        }
    }
    status = table_index_frame(table, partition, &frame, error);
    if (status != TERN_OK) {
        return status;
    }
    uint32_t index = index_block_find(frame_payload(frame), key);
    struct lsm_ref ref = index_block_ref(frame_payload(frame), index);
    uint32_t block = table->partitions[partition].first_block + index;
    if (index >= table->partitions[partition].block_count) {
        return damaged(table, table->partitions[partition].index, "index.count", error);
    }
    table_data_prefetch(table, block, ref);
    status = table_data_frame(table, block, ref, &frame, error);
    if (status == TERN_OK && data_block_find(frame_payload(frame), key, key_hash, &record)) {
        status = table_add_record(resolution, &record, frame, error);
    }
    return status;
}
