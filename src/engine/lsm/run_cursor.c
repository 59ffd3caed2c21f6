/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/run_cursor.h"

#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/data_block.h"
#include "engine/lsm/index_block.h"

/* Read at once beside the cache; a compaction has some dozens of cursors at most. */
#define AHEAD_BYTES ((size_t)64 << 10)

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
    cursor->count = cursor->position = 0;
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

static tern_status load_index(struct run_cursor *cursor, tern_error *error) {
    struct lsm_table *table = cursor->tables[cursor->table];
    if (cursor->has_index && cursor->index_table == cursor->table &&
        cursor->index_partition == cursor->partition) {
        return TERN_OK;
    }
    cursor->has_index = false;
    const struct table_partition *partition = &table->partitions[cursor->partition];
    tern_status status = TERN_OK;
    if (cursor->beside_cache) {
        status =
            table_read_block(table, partition->index, LSM_PAYLOAD_INDEX, &cursor->index, error);
    } else {
        struct cache_frame *frame = NULL;
        status = table_index_frame(table, cursor->partition, &frame, error);
        if (status == TERN_OK) {
            size_t size = index_block_size(frame_payload(frame));
            cursor->index.size = 0;
            status = buffer_append(&cursor->index, frame_payload(frame), size) == TERN_OK
                         ? TERN_OK
                         : ERROR_NO_MEMORY(error, "a cursor");
        }
    }
    if (status == TERN_OK && index_block_count(cursor->index.data) != partition->block_count) {
        status = ERROR_SET(error, TERN_CORRUPTION,
                           "index.count: table %llu disagrees with its meta block",
                           (unsigned long long)table->number);
    }
    if (status == TERN_OK) {
        cursor->index_table = cursor->table;
        cursor->index_partition = cursor->partition;
        cursor->has_index = true;
    }
    return status;
}

/* Decodes the block at `payload`. */
static tern_status decode_block(struct run_cursor *cursor, const uint8_t *payload,
                                tern_error *error) {
    uint32_t count = data_block_count(payload);
    cursor->keys.size = 0;
    if (buffer_reserve(&cursor->keys, data_block_key_bytes(payload) + 1) != TERN_OK) {
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
    data_block_decode(payload, cursor->entries, cursor->keys.data);
    cursor->count = count;
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
static tern_status hold(struct run_cursor *cursor, struct cache_frame *frame,
                        const uint8_t **out_payload, tern_error *error) {
    if (cursor->pins || cache_frame_is_private(frame)) {
        cache_pin(frame);
        cursor->held = frame;
        *out_payload = frame_payload(frame);
        return TERN_OK;
    }
    size_t size = data_block_size(frame_payload(frame));
    cursor->copy.size = 0;
    if (buffer_append(&cursor->copy, frame_payload(frame), size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    *out_payload = cursor->copy.data;
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
static tern_status read_beside(struct run_cursor *cursor, struct lsm_ref ref,
                               const uint8_t **out_payload, tern_error *error) {
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
    return table_decode_block(table, ref, stored, LSM_PAYLOAD_DATA, &cursor->copy, out_payload,
                              &size, error);
}

/* Opens the block that (table, partition, block) name. */
static tern_status open_block(struct run_cursor *cursor, tern_error *error) {
    struct lsm_table *table = cursor->tables[cursor->table];
    const uint8_t *payload = NULL;
    let_go(cursor);
    tern_status status = load_index(cursor, error);
    if (status != TERN_OK) {
        return status;
    }
    struct lsm_ref ref = index_block_ref(cursor->index.data, cursor->block);
    if (cursor->beside_cache) {
        status = read_beside(cursor, ref, &payload, error);
    } else {
        struct cache_frame *frame = NULL;
        uint32_t block = table->partitions[cursor->partition].first_block + cursor->block;
        status = table_data_frame(table, block, ref, &frame, error);
        if (status == TERN_OK) {
            status = hold(cursor, frame, &payload, error);
        }
    }
    if (status == TERN_OK) {
        status = decode_block(cursor, payload, error);
    }
    if (status == TERN_OK && cursor->beside_cache) {
        status = check_order(cursor, ref, error);
    }
    if (status != TERN_OK) {
        let_go(cursor);
    }
    return status;
}

tern_status run_cursor_enter(struct run_cursor *cursor, uint32_t table, uint32_t partition,
                             uint32_t block, tern_error *error) {
    cursor->table = table;
    cursor->partition = partition;
    cursor->block = block;
    return open_block(cursor, error);
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
    tern_status status = open_block(cursor, error);
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
    tern_status status = open_block(cursor, error);
    cursor->position = status == TERN_OK && backward ? cursor->count - 1 : 0;
    return status;
}

tern_status run_cursor_step(struct run_cursor *cursor, bool backward, tern_error *error) {
    if (run_cursor_stays(cursor, backward)) {
        cursor->position += backward ? UINT32_MAX : 1u;
        return TERN_OK;
    }
    return leave_block(cursor, backward, error);
}

tern_status run_cursor_skip_block(struct run_cursor *cursor, tern_error *error) {
    return leave_block(cursor, false, error);
}

/* First entry of the block with a key >= `key`; count when there is none. */
static uint32_t lower_bound(const struct run_cursor *cursor, tern_slice key) {
    uint32_t low = 0;
    uint32_t high = cursor->count;
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

static tern_status seek_in_table(struct run_cursor *cursor, tern_slice key, bool backward,
                                 tern_error *error) {
    const struct lsm_table *table = cursor->tables[cursor->table];
    uint32_t partition = key_directory_find(&table->directory, key);
    if (partition == UINT32_MAX) {
        return backward ? enter_table(cursor, cursor->table - 1, true, error)
                        : enter_table(cursor, cursor->table, false, error);
    }
    cursor->partition = partition;
    tern_status status = load_index(cursor, error);
    if (status == TERN_OK) {
        cursor->block = index_block_find(cursor->index.data, key);
        status = open_block(cursor, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    uint32_t position = lower_bound(cursor, key);
    if (!backward) {
        if (position < cursor->count) {
            cursor->position = position;
            return TERN_OK;
        }
        return leave_block(cursor, false, error);
    }
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
    uint32_t table = last_table_from(cursor, *key);
    if (table == UINT32_MAX) {
        let_go(cursor);
        return backward ? TERN_OK : enter_table(cursor, 0, false, error);
    }
    cursor->table = table;
    if (cursor->tables[table]->partition_count == 0) {
        return enter_table(cursor, backward ? table - 1 : table + 1, backward, error);
    }
    return seek_in_table(cursor, *key, backward, error);
}
