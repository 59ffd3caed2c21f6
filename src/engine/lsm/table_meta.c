/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payload of the meta block:
 *   u8 type (LSM_PAYLOAD_META), u8 format version (1), u8 level, u8 compression
 *   u64 hash seed
 *   varints: age seq, records, deletes, merges, expiring records, lowest and highest expiry, raw
 *            bytes, data blocks
 *   first key, last key (each: varint size, bytes)
 *   varint partitions, each: lower key, u64 place and u64 checksum of the index, the same of the
 *            filter (zeros: none), varint first block, varint blocks, varint records
 *   varint range deletes, each: begin key, u8 has end, end key
 *   varint files of values, each: varint number, varint references, varint bytes
 *
 * Footer (64 bytes): u8[8] magic "TERNSST1", u64 partition id, u64 number of the file, u64 place
 * and u64 checksum of the meta block, u64 zero, u64 zero, u64 XXH3 of the 56 bytes before.
 */
#include "engine/lsm/table_meta.h"

#include "base/bytes.h"
#include "base/compare.h"
#include "base/varint.h"
#include "engine/lsm/index_block.h"
#include "simd/hash.h"

#define META_VERSION 1u

static const uint8_t magic[8] = {'T', 'E', 'R', 'N', 'S', 'S', 'T', '1'};

void table_meta_init(struct table_meta *meta, const tern_allocator *allocator) {
    *meta = (struct table_meta){.allocator = allocator};
    buffer_init(&meta->first, allocator);
    buffer_init(&meta->last, allocator);
    buffer_init(&meta->partitions, allocator);
    buffer_init(&meta->payload, allocator);
}

void table_meta_release(struct table_meta *meta) {
    buffer_release(&meta->first);
    buffer_release(&meta->last);
    buffer_release(&meta->partitions);
    buffer_release(&meta->payload);
    memory_release(meta->allocator, meta->uses);
    meta->uses = NULL;
}

tern_status table_meta_note_key(struct table_meta *meta, tern_slice key) {
    if (meta->numbers.records == 0 && buffer_append(&meta->first, key.data, key.size) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    meta->last.size = 0;
    return buffer_append(&meta->last, key.data, key.size);
}

tern_status table_meta_note_use(struct table_meta *meta, uint64_t number, uint64_t bytes) {
    uint32_t at = meta->use_count;
    while (at > 0 && meta->uses[at - 1].number > number) {
        at--;
    }
    if (at > 0 && meta->uses[at - 1].number == number) {
        meta->uses[at - 1].references++;
        meta->uses[at - 1].bytes += bytes;
        return TERN_OK;
    }
    if (meta->use_count == meta->use_capacity) {
        uint32_t capacity = meta->use_capacity * 2 + 16;
        struct value_use *grown =
            memory_resize(meta->allocator, meta->uses, capacity * sizeof(grown[0]));
        if (grown == NULL) {
            return TERN_NO_MEMORY;
        }
        meta->uses = grown;
        meta->use_capacity = capacity;
    }
    memmove(&meta->uses[at + 1], &meta->uses[at], (meta->use_count - at) * sizeof(meta->uses[0]));
    meta->uses[at] = (struct value_use){number, 1, bytes};
    meta->use_count++;
    return TERN_OK;
}

/* ---- encoding ---- */

static tern_status put_number(struct buffer *target, uint64_t value) {
    if (buffer_reserve(target, VARINT_BYTES_MAX) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    target->size = (size_t)(varint_put(target->data + target->size, value) - target->data);
    return TERN_OK;
}

static tern_status put_fixed(struct buffer *target, uint64_t value) {
    uint8_t bytes[8];
    put_u64(bytes, value);
    return buffer_append(target, bytes, sizeof(bytes));
}

static tern_status put_key(struct buffer *target, tern_slice key) {
    tern_status status = put_number(target, key.size);
    return status == TERN_OK ? buffer_append(target, key.data, key.size) : status;
}

static tern_status put_ref(struct buffer *target, struct lsm_ref ref) {
    tern_status status = put_fixed(target, ref.place);
    return status == TERN_OK ? put_fixed(target, ref.checksum) : status;
}

tern_status table_meta_add_partition(struct table_meta *meta,
                                     const struct table_partition *partition) {
    struct buffer *target = &meta->partitions;
    tern_status status = put_key(target, partition->lower);
    status = status == TERN_OK ? put_ref(target, partition->index) : status;
    status = status == TERN_OK ? put_ref(target, partition->filter) : status;
    status = status == TERN_OK ? put_number(target, partition->first_block) : status;
    status = status == TERN_OK ? put_number(target, partition->block_count) : status;
    status = status == TERN_OK ? put_number(target, partition->records) : status;
    meta->partition_count += status == TERN_OK ? 1 : 0;
    return status;
}

static tern_status put_head(struct buffer *target, const struct table_numbers *numbers) {
    const uint8_t head[4] = {LSM_PAYLOAD_META, META_VERSION, (uint8_t)numbers->level,
                             (uint8_t)numbers->compression};
    const uint64_t values[] = {numbers->age_seq,     numbers->records,   numbers->deletes,
                               numbers->merges,      numbers->expiring,  numbers->expires_min,
                               numbers->expires_max, numbers->raw_bytes, numbers->blocks};
    tern_status status = buffer_append(target, head, sizeof(head));
    status = status == TERN_OK ? put_fixed(target, numbers->hash_seed) : status;
    for (size_t i = 0; status == TERN_OK && i < sizeof(values) / sizeof(values[0]); i++) {
        status = put_number(target, values[i]);
    }
    return status;
}

static tern_status put_range(struct buffer *target, const struct lsm_range *range) {
    const uint8_t has_end = range->has_end ? 1 : 0;
    tern_status status = put_key(target, range->begin);
    status = status == TERN_OK ? buffer_append(target, &has_end, 1) : status;
    return status == TERN_OK ? put_key(target, range->has_end ? range->end : tern_slice_of(NULL, 0))
                             : status;
}

tern_status table_meta_encode(struct table_meta *meta, const struct lsm_range *ranges,
                              uint32_t range_count, tern_slice *out_payload) {
    struct buffer *target = &meta->payload;
    target->size = 0;
    tern_status status = put_head(target, &meta->numbers);
    status = status == TERN_OK ? put_key(target, buffer_slice(&meta->first)) : status;
    status = status == TERN_OK ? put_key(target, buffer_slice(&meta->last)) : status;
    status = status == TERN_OK ? put_number(target, meta->partition_count) : status;
    status = status == TERN_OK ? buffer_append(target, meta->partitions.data, meta->partitions.size)
                               : status;
    status = status == TERN_OK ? put_number(target, range_count) : status;
    for (uint32_t i = 0; status == TERN_OK && i < range_count; i++) {
        status = put_range(target, &ranges[i]);
    }
    status = status == TERN_OK ? put_number(target, meta->use_count) : status;
    for (uint32_t i = 0; status == TERN_OK && i < meta->use_count; i++) {
        const struct value_use *use = &meta->uses[i];
        status = put_number(target, use->number);
        status = status == TERN_OK ? put_number(target, use->references) : status;
        status = status == TERN_OK ? put_number(target, use->bytes) : status;
    }
    *out_payload = buffer_slice(target);
    return status;
}

/* ---- decoding ---- */

/* Reads on until something does not fit; then `source` is NULL and all further reads give zero. */
struct reader {
    const uint8_t *source;
    const uint8_t *end;
};

static uint64_t get_number(struct reader *reader) {
    uint64_t value = 0;
    if (reader->source != NULL) {
        reader->source = varint_get(reader->source, reader->end, &value);
    }
    return reader->source != NULL ? value : 0;
}

static uint64_t get_fixed(struct reader *reader) {
    if (reader->source == NULL || reader->end - reader->source < 8) {
        reader->source = NULL;
        return 0;
    }
    reader->source += 8;
    return get_u64(reader->source - 8);
}

static tern_slice get_key(struct reader *reader) {
    uint64_t size = get_number(reader);
    if (reader->source == NULL || size > (uint64_t)(reader->end - reader->source)) {
        reader->source = NULL;
        return tern_slice_of(NULL, 0);
    }
    reader->source += size;
    return tern_slice_of(reader->source - size, (size_t)size);
}

/* A count of things of at least `bytes_min` bytes each. */
static uint32_t get_count(struct reader *reader, size_t bytes_min) {
    uint64_t count = get_number(reader);
    if (reader->source == NULL || count > (uint64_t)(reader->end - reader->source) / bytes_min) {
        reader->source = NULL;
        return 0;
    }
    return (uint32_t)count;
}

static struct lsm_ref get_ref(struct reader *reader, uint64_t data_end, bool may_be_none) {
    struct lsm_ref ref = {get_fixed(reader), 0};
    ref.checksum = get_fixed(reader);
    if (may_be_none && ref.place == 0 && ref.checksum == 0) {
        return ref;
    }
    if (lsm_place_bytes(ref.place) <= BLOCK_HEADER_BYTES ||
        lsm_place_offset(ref.place) + lsm_place_bytes(ref.place) > data_end) {
        reader->source = NULL;
    }
    return ref;
}

static const char *decode_partitions(struct lsm_table *table, struct reader *reader,
                                     uint64_t data_end) {
    const tern_allocator *allocator = lsm_allocator(table->lsm);
    uint32_t count = get_count(reader, 36);
    /* Beyond this the cache would take one's index for a block of another table. */
    if (reader->source == NULL || count > LSM_TABLE_PARTITIONS_MAX) {
        return "meta.partitions";
    }
    table->partitions =
        memory_allocate_zeroed(allocator, (count + 1u) * sizeof(table->partitions[0]));
    tern_slice *lowers = memory_allocate(allocator, (count + 1u) * sizeof(lowers[0]));
    if (table->partitions == NULL || lowers == NULL) {
        memory_release(allocator, lowers);
        return "memory";
    }
    uint64_t blocks = 0;
    const char *wrong = NULL;
    for (uint32_t i = 0; wrong == NULL && i < count; i++) {
        struct table_partition *partition = &table->partitions[i];
        partition->lower = lowers[i] = get_key(reader);
        partition->index = get_ref(reader, data_end, false);
        partition->filter = get_ref(reader, data_end, true);
        partition->first_block = (uint32_t)get_number(reader);
        partition->block_count = (uint32_t)get_number(reader);
        partition->records = get_number(reader);
        bool fits = reader->source != NULL && partition->first_block == blocks &&
                    partition->block_count > 0 && partition->block_count <= INDEX_BLOCKS_MAX &&
                    (i == 0 || slice_compare(lowers[i - 1], lowers[i]) < 0);
        wrong = fits ? NULL : "meta.partitions";
        blocks += partition->block_count;
    }
    table->partition_count = count;
    if (wrong == NULL && blocks != table->numbers.blocks) {
        wrong = "meta.partitions";
    }
    if (wrong == NULL &&
        key_directory_create(&table->directory, allocator, lowers, count) != TERN_OK) {
        wrong = "memory";
    }
    memory_release(allocator, lowers);
    return wrong;
}

static const char *decode_ranges(struct lsm_table *table, struct reader *reader) {
    uint32_t count = get_count(reader, 3);
    table->ranges =
        memory_allocate(lsm_allocator(table->lsm), (count + 1u) * sizeof(table->ranges[0]));
    if (table->ranges == NULL) {
        return "memory";
    }
    for (uint32_t i = 0; i < count; i++) {
        struct lsm_range *range = &table->ranges[i];
        range->begin = get_key(reader);
        if (reader->source == NULL || reader->source == reader->end || *reader->source > 1) {
            return "meta.ranges";
        }
        range->has_end = *reader->source++ == 1;
        range->end = get_key(reader);
        const struct lsm_range *before = i > 0 ? range - 1 : NULL;
        if (reader->source == NULL ||
            (range->has_end && slice_compare(range->begin, range->end) >= 0) ||
            (before != NULL &&
             (!before->has_end || slice_compare(before->end, range->begin) > 0))) {
            return "meta.ranges";
        }
    }
    table->range_count = count;
    return NULL;
}

static const char *decode_uses(struct lsm_table *table, struct reader *reader) {
    uint32_t count = get_count(reader, 3);
    table->uses = memory_allocate(lsm_allocator(table->lsm), (count + 1u) * sizeof(table->uses[0]));
    if (table->uses == NULL) {
        return "memory";
    }
    for (uint32_t i = 0; i < count; i++) {
        struct value_use *use = &table->uses[i];
        use->number = get_number(reader);
        use->references = get_number(reader);
        use->bytes = get_number(reader);
        if (reader->source == NULL || (i > 0 && use[-1].number >= use->number)) {
            return "meta.values";
        }
    }
    table->use_count = count;
    return NULL;
}

/* [lower, upper] of records and range deletes. */
static void set_extent(struct lsm_table *table) {
    bool has_records = table->numbers.records > 0;
    table->lower = table->first;
    table->upper = table->last;
    table->has_upper = table->is_upper_inclusive = true;
    if (table->range_count == 0) {
        return;
    }
    const struct lsm_range *first = &table->ranges[0];
    const struct lsm_range *last = &table->ranges[table->range_count - 1];
    if (!has_records || slice_compare(first->begin, table->lower) < 0) {
        table->lower = first->begin;
    }
    if (!last->has_end) {
        table->has_upper = false;
    } else if (!has_records || slice_compare(last->end, table->upper) > 0) {
        table->upper = last->end;
        table->is_upper_inclusive = false;
    }
}

const char *table_meta_decode(struct lsm_table *table, size_t size, uint64_t data_end) {
    struct reader reader = {table->meta, table->meta + size};
    struct table_numbers *numbers = &table->numbers;
    if (size < 12 || table->meta[0] != LSM_PAYLOAD_META) {
        return "meta.header";
    }
    if (table->meta[1] != META_VERSION) {
        return "meta.version";
    }
    numbers->level = table->meta[2];
    numbers->compression = table->meta[3];
    reader.source += 4;
    numbers->hash_seed = get_fixed(&reader);
    numbers->age_seq = get_number(&reader);
    numbers->records = get_number(&reader);
    numbers->deletes = get_number(&reader);
    numbers->merges = get_number(&reader);
    numbers->expiring = get_number(&reader);
    numbers->expires_min = get_number(&reader);
    numbers->expires_max = get_number(&reader);
    numbers->raw_bytes = get_number(&reader);
    numbers->blocks = get_number(&reader);
    table->first = get_key(&reader);
    table->last = get_key(&reader);
    if (reader.source == NULL || numbers->blocks > LSM_TABLE_BLOCKS_MAX ||
        numbers->level >= LSM_LEVELS || (numbers->records > 0) != (numbers->blocks > 0) ||
        (numbers->records > 0) != (table->first.size > 0) ||
        slice_compare(table->first, table->last) > 0) {
        return "meta.header";
    }
    const char *wrong = decode_partitions(table, &reader, data_end);
    wrong = wrong == NULL ? decode_ranges(table, &reader) : wrong;
    wrong = wrong == NULL ? decode_uses(table, &reader) : wrong;
    if (wrong == NULL && reader.source != reader.end) {
        wrong = "meta.size";
    }
    if (wrong == NULL) {
        set_extent(table);
    }
    return wrong;
}

/* ---- footer ---- */

void table_footer_encode(struct lsm_ref meta, partition_id id, uint64_t number,
                         uint8_t out_footer[LSM_FOOTER_BYTES]) {
    memset(out_footer, 0, LSM_FOOTER_BYTES);
    memcpy(out_footer, magic, sizeof(magic));
    put_u64(out_footer + 8, id);
    put_u64(out_footer + 16, number);
    put_u64(out_footer + 24, meta.place);
    put_u64(out_footer + 32, meta.checksum);
    put_u64(out_footer + 56, hash_u64(out_footer, 56, 0));
}

const char *table_footer_decode(const uint8_t footer[LSM_FOOTER_BYTES], partition_id *out_id,
                                uint64_t *out_number, struct lsm_ref *out_meta) {
    if (memcmp(footer, magic, sizeof(magic)) != 0) {
        return "footer.magic";
    }
    if (get_u64(footer + 56) != hash_u64(footer, 56, 0)) {
        return "footer.checksum";
    }
    *out_id = get_u64(footer + 8);
    *out_number = get_u64(footer + 16);
    *out_meta = (struct lsm_ref){get_u64(footer + 24), get_u64(footer + 32)};
    return NULL;
}
