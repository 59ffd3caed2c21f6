/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/run_cursor.h"

#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/index_block.h"

/* Read at once beside the cache; a compaction has some dozens of cursors at most. */
#define AHEAD_BYTES ((size_t)64 << 10)
/* Decoded at once, in records. */
#define PART_RECORDS 16u
/* Lines fetched ahead of the block that a scan will need next. */
#define AHEAD_LINES 4u
#define LINE_BYTES  64u

void run_cursor_init(struct run_cursor *cursor, struct lsm *lsm, struct lsm_table *const *tables,
                     uint32_t table_count, bool beside_cache) {
    const tern_allocator *allocator = lsm_allocator(lsm);
    *cursor = (struct run_cursor){.lsm = lsm,
                                  .tables = tables,
                                  .table_count = table_count,
                                  .beside_cache = beside_cache || lsm->environment->cache == NULL};
    buffer_init(&cursor->index, allocator);
    buffer_init(&cursor->copy, allocator);
    buffer_init(&cursor->ahead, allocator);
    buffer_init(&cursor->keys, allocator);
    cursor->pins = !cursor->beside_cache &&
                   cache_pin_reserve(lsm->environment->cache, lsm->config.options.page_bytes);
}

static void let_go(struct run_cursor *cursor) {
    if (cursor->held != NULL) {
        cache_unpin(cursor->held);
        cursor->held = NULL;
    }
    cursor->count = cursor->position = cursor->first = cursor->decoded = 0;
}

void run_cursor_release(struct run_cursor *cursor) {
    let_go(cursor);
    if (cursor->pins) {
        cache_pin_unreserve(cursor->lsm->environment->cache,
                            cursor->lsm->config.options.page_bytes);
    }
    buffer_release(&cursor->index);
    buffer_release(&cursor->copy);
    buffer_release(&cursor->ahead);
    buffer_release(&cursor->keys);
    memory_release(lsm_allocator(cursor->lsm), cursor->entries);
    cursor->entries = NULL;
}

void run_cursor_end(struct run_cursor *cursor) {
    let_go(cursor);
}

/* ---- blocks ---- */

/* Of the partition; readable in the caller's epoch. A frame that the cache does not keep is copied:
 * else it would be read again for each block. */
static tern_status find_index(struct run_cursor *cursor, const uint8_t **out_payload,
                              tern_error *error) {
    struct lsm_table *table = cursor->tables[cursor->table];
    const struct table_partition *partition = &table->partitions[cursor->partition];
    if (cursor->has_index && cursor->index_table == cursor->table &&
        cursor->index_partition == cursor->partition) {
        *out_payload = cursor->index.data;
        return TERN_OK;
    }
    const uint8_t *payload = NULL;
    bool is_copied = true;
    tern_status status = TERN_OK;
    cursor->has_index = false;
    if (cursor->beside_cache) {
        status =
            table_read_block(table, partition->index, LSM_PAYLOAD_INDEX, &cursor->index, error);
    } else {
        struct cache_frame *frame = NULL;
        status = table_index_frame(table, cursor->partition, &frame, error);
        if (status == TERN_OK) {
            payload = frame_payload(frame);
            is_copied = cache_frame_is_private(frame);
        }
        if (status == TERN_OK && is_copied) {
            cursor->index.size = 0;
            status = buffer_append(&cursor->index, payload, index_block_size(payload)) == TERN_OK
                         ? TERN_OK
                         : ERROR_NO_MEMORY(error, "a cursor");
        }
    }
    if (status != TERN_OK) {
        return status;
    }
    payload = is_copied ? cursor->index.data : payload;
    if (index_block_count(payload) != partition->block_count) {
        return ERROR_SET(error, TERN_CORRUPTION,
                         "index.count: table %llu disagrees with its meta block",
                         (unsigned long long)table->number);
    }
    if (is_copied) {
        cursor->index_table = cursor->table;
        cursor->index_partition = cursor->partition;
        cursor->has_index = true;
    }
    *out_payload = payload;
    return TERN_OK;
}

static void decode(struct run_cursor *cursor, uint32_t count) {
    data_block_walk_take(&cursor->walk, cursor->entries + cursor->decoded, count);
    cursor->decoded += count;
}

void run_cursor_decode_more(struct run_cursor *cursor) {
    uint32_t left = cursor->count - cursor->decoded;
    decode(cursor, left < PART_RECORDS ? left : PART_RECORDS);
}

tern_slice run_cursor_last_key(struct run_cursor *cursor) {
    decode(cursor, cursor->count - cursor->decoded);
    return cursor->entries[cursor->count - 1].key;
}

/* Makes room for all of the block that is held, and decodes `records` from a restart point on. */
static tern_status begin_block(struct run_cursor *cursor, uint32_t restart, uint32_t records,
                               tern_error *error) {
    uint32_t count = data_block_count(cursor->payload);
    cursor->keys.size = 0;
    if (buffer_reserve(&cursor->keys, data_block_key_bytes(cursor->payload)) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    if (count > cursor->entry_capacity) {
        uint32_t capacity = count + 64;
        struct engine_entry *grown =
            memory_resize(lsm_allocator(cursor->lsm), cursor->entries, capacity * sizeof(grown[0]));
        if (grown == NULL) {
            return ERROR_NO_MEMORY(error, "a cursor");
        }
        cursor->entries = grown;
        cursor->entry_capacity = capacity;
    }
    data_block_walk_begin(&cursor->walk, cursor->payload, restart, cursor->keys.data);
    cursor->first = cursor->decoded = cursor->position = restart * DATA_BLOCK_INTERVAL;
    cursor->count = count;
    decode(cursor, records < count - cursor->first ? records : count - cursor->first);
    return TERN_OK;
}

/* The check of a block does not put keys together. What is written on from here must be in order.
 */
static tern_status check_order(const struct run_cursor *cursor, struct lsm_ref ref,
                               tern_error *error) {
    char name[LSM_FILE_NAME_BYTES];
    for (uint32_t i = 1; i < cursor->count; i++) {
        if (slice_compare(cursor->entries[i - 1].key, cursor->entries[i].key) >= 0) {
            lsm_file_name(cursor->lsm->config.id, cursor->tables[cursor->table]->number,
                          LSM_FILE_TABLE, name);
            return ERROR_AT(error, TERN_CORRUPTION, name, lsm_place_offset(ref.place), 0,
                            "data.order: the keys of a block are out of order; verify and repair");
        }
    }
    return TERN_OK;
}

/* Holds a frame found in the caller's epoch, by a pin or a copy of its payload. */
static tern_status hold(struct run_cursor *cursor, struct cache_frame *frame, tern_error *error) {
    if (cursor->pins || cache_frame_is_private(frame)) {
        cache_pin(frame);
        cursor->held = frame;
        cursor->payload = frame_payload(frame);
        return TERN_OK;
    }
    size_t size = data_block_size(frame_payload(frame));
    cursor->copy.size = 0;
    if (buffer_append(&cursor->copy, frame_payload(frame), size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    cursor->payload = cursor->copy.data;
    return TERN_OK;
}

static bool is_ahead(const struct run_cursor *cursor, const struct lsm_table *table,
                     uint64_t offset, uint64_t size) {
    return cursor->ahead_table == table && offset >= cursor->ahead_offset &&
           offset - cursor->ahead_offset + size <= cursor->ahead.size;
}

/* Reads from `offset` on, some blocks at once; of what cannot be read whole only `size` bytes. */
static tern_status fill_ahead(struct run_cursor *cursor, struct lsm_table *table, uint64_t offset,
                              size_t size, tern_error *error) {
    uint64_t left = table->file_bytes > offset ? table->file_bytes - offset : 0;
    size_t wanted = left < AHEAD_BYTES ? (size_t)left : AHEAD_BYTES;
    wanted = wanted < size ? size : wanted;
    cursor->ahead_table = NULL;
    cursor->ahead.size = 0;
    if (buffer_reserve(&cursor->ahead, wanted) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    tern_status status = TERN_IO;
    if (wanted > size) {
        status = table_read_bytes(table, offset, wanted, cursor->ahead.data, NULL);
    }
    if (status != TERN_OK) {
        wanted = size;
        status = table_read_bytes(table, offset, wanted, cursor->ahead.data, error);
    }
    if (status == TERN_OK) {
        cursor->ahead_table = table;
        cursor->ahead_offset = offset;
        cursor->ahead.size = wanted;
    }
    return status;
}

/* A data block beside the cache. */
static tern_status read_beside(struct run_cursor *cursor, struct lsm_ref ref, tern_error *error) {
    struct lsm_table *table = cursor->tables[cursor->table];
    uint64_t offset = lsm_place_offset(ref.place);
    size_t stored_bytes = lsm_place_bytes(ref.place);
    size_t size = 0;
    tern_status status = TERN_OK;
    if (!is_ahead(cursor, table, offset, stored_bytes)) {
        status = fill_ahead(cursor, table, offset, stored_bytes, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    const uint8_t *stored = cursor->ahead.data + (offset - cursor->ahead_offset);
    return table_decode_block(table, ref, stored, LSM_PAYLOAD_DATA, &cursor->copy, &cursor->payload,
                              &size, error);
}

/* The cached block behind the one that was found: a scan needs its head first. */
static void prefetch_next(const struct run_cursor *cursor) {
    struct lsm_table *table = cursor->tables[cursor->table];
    const struct table_partition *partition = &table->partitions[cursor->partition];
    if (cursor->block + 1 == partition->block_count) {
        return;
    }
    const uint8_t *frame = table_data_hinted(table, partition->first_block + cursor->block + 1);
    for (uint32_t i = 0; frame != NULL && i < AHEAD_LINES; i++) {
        __builtin_prefetch(frame + (size_t)i * LINE_BYTES);
    }
}

/* Holds the block that (table, partition, block) name. */
static tern_status hold_block(struct run_cursor *cursor, struct lsm_ref *out_ref,
                              tern_error *error) {
    struct lsm_table *table = cursor->tables[cursor->table];
    const uint8_t *index = NULL;
    let_go(cursor);
    tern_status status = find_index(cursor, &index, error);
    if (status != TERN_OK) {
        return status;
    }
    struct lsm_ref ref = index_block_ref(index, cursor->block);
    *out_ref = ref;
    if (cursor->beside_cache) {
        return read_beside(cursor, ref, error);
    }
    struct cache_frame *frame = NULL;
    uint32_t block = table->partitions[cursor->partition].first_block + cursor->block;
    status = table_data_frame(table, block, ref, &frame, error);
    return status == TERN_OK ? hold(cursor, frame, error) : status;
}

/* Opens that block at its first record. */
static tern_status open_block(struct run_cursor *cursor, bool is_whole, tern_error *error) {
    struct lsm_ref ref = {0};
    tern_status status = hold_block(cursor, &ref, error);
    if (status == TERN_OK) {
        bool needs_all = is_whole || cursor->beside_cache;
        status = begin_block(cursor, 0, needs_all ? UINT32_MAX : PART_RECORDS, error);
    }
    if (status == TERN_OK && cursor->beside_cache) {
        status = check_order(cursor, ref, error);
    }
    if (status != TERN_OK) {
        let_go(cursor);
    } else if (!is_whole && !cursor->beside_cache) {
        prefetch_next(cursor);
    }
    return status;
}

tern_status run_cursor_enter(struct run_cursor *cursor, uint32_t table, uint32_t partition,
                             uint32_t block, tern_error *error) {
    cursor->table = table;
    cursor->partition = partition;
    cursor->block = block;
    return open_block(cursor, true, error);
}

/* ---- moving ---- */

/* From table `table` on in the direction, the first that has records. */
static bool find_table(struct run_cursor *cursor, uint32_t table, bool backward) {
    while (table < cursor->table_count) {
        if (cursor->tables[table]->partition_count > 0) {
            cursor->table = table;
            return true;
        }
        table = backward ? table - 1 : table + 1; /* below 0 it is beyond the count */
    }
    return false;
}

/* The first or last block of the table `table`, or of the next one that has any. */
static tern_status enter_table(struct run_cursor *cursor, uint32_t table, bool backward,
                               tern_error *error) {
    let_go(cursor);
    if (!find_table(cursor, table, backward)) {
        return TERN_OK;
    }
    const struct lsm_table *entered = cursor->tables[cursor->table];
    cursor->partition = backward ? entered->partition_count - 1 : 0;
    cursor->block = backward ? entered->partitions[cursor->partition].block_count - 1 : 0;
    tern_status status = open_block(cursor, backward, error);
    cursor->position = status == TERN_OK && backward ? cursor->count - 1 : 0;
    return status;
}

static tern_status leave_block(struct run_cursor *cursor, bool backward, tern_error *error) {
    const struct lsm_table *table = cursor->tables[cursor->table];
    if (backward) {
        if (cursor->block > 0) {
            cursor->block--;
        } else if (cursor->partition > 0) {
            cursor->partition--;
            cursor->block = table->partitions[cursor->partition].block_count - 1;
        } else {
            return enter_table(cursor, cursor->table - 1, true, error);
        }
    } else if (cursor->block + 1 < table->partitions[cursor->partition].block_count) {
        cursor->block++;
    } else if (cursor->partition + 1 < table->partition_count) {
        cursor->partition++;
        cursor->block = 0;
    } else {
        return enter_table(cursor, cursor->table + 1, false, error);
    }
    tern_status status = open_block(cursor, backward, error);
    cursor->position = status == TERN_OK && backward ? cursor->count - 1 : 0;
    return status;
}

tern_status run_cursor_step(struct run_cursor *cursor, bool backward, tern_error *error) {
    if (!run_cursor_stays(cursor, backward)) {
        return leave_block(cursor, backward, error);
    }
    if (backward) {
        ASSERT(cursor->position > cursor->first);
        cursor->position--;
    } else {
        run_cursor_advance(cursor);
    }
    return TERN_OK;
}

tern_status run_cursor_skip_block(struct run_cursor *cursor, tern_error *error) {
    return leave_block(cursor, false, error);
}

/* First entry with a key >= `key` of those decoded; `decoded` when there is none. */
static uint32_t lower_bound(const struct run_cursor *cursor, tern_slice key) {
    uint32_t low = cursor->first;
    uint32_t high = cursor->decoded;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slice_compare(cursor->entries[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Last table whose lower bound is not above the key; UINT32_MAX: none. */
static uint32_t last_table_from(const struct run_cursor *cursor, tern_slice key) {
    if (cursor->directory != NULL) {
        return key_directory_find(cursor->directory, key);
    }
    uint32_t low = 0;
    uint32_t high = cursor->table_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slice_compare(cursor->tables[middle]->lower, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - 1;
}

/* The block of the table where the key must be; false: all of the table is above it. */
static tern_status find_block(struct run_cursor *cursor, tern_slice key, bool *out_found,
                              tern_error *error) {
    const struct lsm_table *table = cursor->tables[cursor->table];
    const uint8_t *index = NULL;
    uint32_t partition = key_directory_find(&table->directory, key);
    if (partition == UINT32_MAX) {
        *out_found = false;
        return TERN_OK;
    }
    cursor->partition = partition;
    tern_status status = find_index(cursor, &index, error);
    if (status == TERN_OK) {
        cursor->block = index_block_find(index, key);
        *out_found = true;
    }
    return status;
}

/* ---- forwards to a key ---- */

tern_status run_cursor_aim(struct run_cursor *cursor, tern_slice key, tern_error *error) {
    let_go(cursor);
    cursor->is_aimed = false;
    uint32_t table = last_table_from(cursor, key);
    if (table == UINT32_MAX || cursor->tables[table]->partition_count == 0) {
        return TERN_OK;
    }
    cursor->table = table;
    tern_status status = find_block(cursor, key, &cursor->is_aimed, error);
    if (status != TERN_OK || !cursor->is_aimed || cursor->beside_cache) {
        return status;
    }
    const struct table_partition *partition = &cursor->tables[table]->partitions[cursor->partition];
    const void *frame =
        table_data_hinted(cursor->tables[table], partition->first_block + cursor->block);
    if (frame != NULL) {
        __builtin_prefetch(frame);
    }
    return TERN_OK;
}

tern_status run_cursor_hold(struct run_cursor *cursor, tern_error *error) {
    struct lsm_ref ref = {0};
    if (!cursor->is_aimed || cursor->beside_cache) {
        return TERN_OK;
    }
    tern_status status = hold_block(cursor, &ref, error);
    if (status != TERN_OK) {
        let_go(cursor);
        return status;
    }
    data_block_prefetch_restarts(cursor->payload);
    prefetch_next(cursor);
    return TERN_OK;
}

tern_status run_cursor_land(struct run_cursor *cursor, tern_slice key, tern_error *error) {
    tern_status status = TERN_OK;
    if (!cursor->is_aimed) {
        uint32_t table = last_table_from(cursor, key);
        bool is_above = table == UINT32_MAX || cursor->tables[table]->partition_count > 0;
        table = table == UINT32_MAX ? 0 : table;
        return enter_table(cursor, is_above ? table : table + 1, false, error);
    }
    if (cursor->beside_cache) {
        status = open_block(cursor, true, error);
    } else {
        uint32_t restart = data_block_restart(cursor->payload, key);
        status = begin_block(cursor, restart, DATA_BLOCK_INTERVAL, error);
    }
    if (status != TERN_OK) {
        let_go(cursor);
        return status;
    }
    cursor->position = lower_bound(cursor, key);
    if (cursor->position == cursor->count) {
        return leave_block(cursor, false, error);
    }
    if (cursor->position == cursor->decoded) {
        run_cursor_decode_more(cursor); /* the next restart point is above the key */
    }
    return TERN_OK;
}

static tern_status seek_forward(struct run_cursor *cursor, tern_slice key, tern_error *error) {
    tern_status status = run_cursor_aim(cursor, key, error);
    status = status == TERN_OK ? run_cursor_hold(cursor, error) : status;
    return status == TERN_OK ? run_cursor_land(cursor, key, error) : status;
}

/* ---- backwards to a key ---- */

static tern_status seek_backward(struct run_cursor *cursor, tern_slice key, tern_error *error) {
    bool is_found = false;
    let_go(cursor);
    uint32_t table = last_table_from(cursor, key);
    if (table == UINT32_MAX) {
        return TERN_OK;
    }
    if (cursor->tables[table]->partition_count == 0) {
        return enter_table(cursor, table - 1, true, error);
    }
    cursor->table = table;
    tern_status status = find_block(cursor, key, &is_found, error);
    if (status == TERN_OK && !is_found) {
        return enter_table(cursor, table - 1, true, error);
    }
    status = status == TERN_OK ? open_block(cursor, true, error) : status;
    if (status != TERN_OK) {
        return status;
    }
    uint32_t position = lower_bound(cursor, key);
    if (position < cursor->count && slice_equal(cursor->entries[position].key, key)) {
        cursor->position = position;
        return TERN_OK;
    }
    if (position > 0) {
        cursor->position = position - 1;
        return TERN_OK;
    }
    return leave_block(cursor, true, error);
}

tern_status run_cursor_seek(struct run_cursor *cursor, const tern_slice *key, bool backward,
                            tern_error *error) {
    if (key == NULL) {
        return enter_table(cursor, backward ? cursor->table_count - 1 : 0, backward, error);
    }
    return backward ? seek_backward(cursor, *key, error) : seek_forward(cursor, *key, error);
}
