/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing records: they are gathered into blocks, the blocks into runs, and a run goes to the file
 * in as few writes as its places allow. Only then the segment that is being built lists them.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/varint.h"
#include "engine/hash/hash_base.h"

static const tern_allocator *allocator_of(const struct hash_base *base) {
    return base->environment->allocator;
}

#define SEGMENT_BLOCKS_MAX  1024u
#define SEGMENT_RECORDS_MAX 65536u

/* A block that waits to be written. */
struct output_block {
    size_t offset; /* in `bytes` */
    uint32_t number;
    uint32_t first_hash;
    struct block_info info;
};

struct hash_output {
    struct hash_base *base;
    /* the block being built */
    struct buffer records;
    uint16_t offsets[LINK_SLOTS_MAX];
    uint32_t count;
    uint16_t flags;
    seq_no min_seq, max_seq;
    uint64_t *hashes; /* of all records since the last flush */
    size_t hash_count, hash_capacity, first_hash;
    /* finished blocks */
    struct output_block *blocks;
    size_t block_count, block_capacity;
    uint8_t *bytes;
    size_t size, capacity;
    struct buffer payload;
    uint64_t counted_bytes;
};

/* What it takes counts as BUDGET_OTHER. */
static void count_memory(struct hash_output *output, bool is_there) {
    struct budget *budget = output->base->environment->budget;
    uint64_t bytes = output->capacity + output->hash_capacity * sizeof(output->hashes[0]) +
                     output->block_capacity * sizeof(output->blocks[0]) + output->records.capacity +
                     output->payload.capacity + sizeof(*output);
    bytes = is_there ? bytes : 0;
    if (budget != NULL) {
        budget_add(budget, BUDGET_OTHER, bytes - output->counted_bytes); /* either way */
    }
    output->counted_bytes = bytes;
}

tern_status output_create(struct hash_base *base, struct hash_output **out_output,
                          tern_error *error) {
    struct hash_output *output = memory_allocate_zeroed(allocator_of(base), sizeof(*output));
    if (output == NULL) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    output->base = base;
    buffer_init(&output->records, allocator_of(base));
    buffer_init(&output->payload, allocator_of(base));
    output_discard(output);
    *out_output = output;
    return TERN_OK;
}

void output_destroy(struct hash_output *output) {
    if (output == NULL) {
        return;
    }
    const tern_allocator *allocator = allocator_of(output->base);
    count_memory(output, false);
    buffer_release(&output->records);
    buffer_release(&output->payload);
    memory_release(allocator, output->hashes);
    memory_release(allocator, output->blocks);
    memory_release_aligned(allocator, output->bytes);
    memory_release(allocator, output);
}

void output_discard(struct hash_output *output) {
    output->records.size = 0;
    output->count = 0;
    output->flags = 0;
    output->min_seq = SEQ_MAX;
    output->max_seq = 0;
    output->hash_count = output->first_hash = 0;
    output->block_count = 0;
    output->size = 0;
}

size_t output_bytes(const struct hash_output *output) {
    return output->size + output->records.size;
}

uint32_t output_block(const struct hash_output *output, uint32_t index) {
    return output->blocks[index].number;
}

static tern_status grow_bytes(struct hash_output *output, size_t extra) {
    if (output->size + extra <= output->capacity) {
        return TERN_OK;
    }
    size_t capacity = output->capacity == 0 ? (size_t)256 << 10 : output->capacity;
    while (capacity < output->size + extra) {
        capacity *= 2;
    }
    const tern_allocator *allocator = allocator_of(output->base);
    uint8_t *grown = memory_allocate_aligned(allocator, HASH_UNIT_BYTES, capacity);
    if (grown == NULL) {
        return TERN_NO_MEMORY;
    }
    if (output->size > 0) {
        memcpy(grown, output->bytes, output->size);
    }
    memory_release_aligned(allocator, output->bytes);
    output->bytes = grown;
    output->capacity = capacity;
    return TERN_OK;
}

/* Room for one more block's entry. */
static tern_status grow_blocks(struct hash_output *output) {
    if (output->block_count < output->block_capacity) {
        return TERN_OK;
    }
    size_t capacity = output->block_capacity == 0 ? 64 : output->block_capacity * 2;
    void *grown = memory_resize(allocator_of(output->base), output->blocks,
                                capacity * sizeof(output->blocks[0]));
    if (grown == NULL) {
        return TERN_NO_MEMORY;
    }
    output->blocks = grown;
    output->block_capacity = capacity;
    return TERN_OK;
}

static tern_status finish_block(struct hash_output *output, tern_error *error) {
    if (output->count == 0) {
        return TERN_OK;
    }
    size_t head = 4 + 2 * (size_t)output->count;
    size_t raw = head + output->records.size;
    size_t bound = (size_t)hash_units_for(block_bound(raw)) * HASH_UNIT_BYTES;
    output->payload.size = 0;
    if (buffer_reserve(&output->payload, raw) != TERN_OK || grow_blocks(output) != TERN_OK ||
        grow_bytes(output, bound) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    uint8_t *payload = output->payload.data;
    put_u16(payload, (uint16_t)output->count);
    put_u16(payload + 2, 0);
    for (uint32_t i = 0; i < output->count; i++) {
        put_u16(payload + 4 + 2 * (size_t)i, (uint16_t)(head + output->offsets[i]));
    }
    memcpy(payload + head, output->records.data, output->records.size);
    const struct block_context context = {output->base->compression,
                                          output->base->environment->incarnation};
    size_t stored = 0;
    uint64_t checksum = 0;
    uint8_t *target = output->bytes + output->size;
    tern_status status = block_encode(&context, payload, raw, target, &stored, &checksum, error);
    if (status != TERN_OK) {
        return status;
    }
    uint32_t units = hash_units_for(stored);
    memset(target + stored, 0, (size_t)units * HASH_UNIT_BYTES - stored);
    struct output_block *block = &output->blocks[output->block_count++];
    memset(block, 0, sizeof(*block));
    block->offset = output->size;
    block->first_hash = (uint32_t)output->first_hash;
    block->info.checksum = checksum;
    block->info.units = units;
    block->info.raw_bytes = (uint32_t)raw;
    block->info.records = block->info.live = (uint16_t)output->count;
    block->info.flags = output->flags;
    output->size += (size_t)units * HASH_UNIT_BYTES;
    output->records.size = 0;
    output->count = 0;
    output->flags = 0;
    output->first_hash = output->hash_count;
    return TERN_OK;
}

static size_t record_bytes_max(tern_slice key, const struct record *record) {
    return 1 + 6 * VARINT_BYTES_MAX + key.size + record->value.size;
}

tern_status hash_output_add(struct hash_output *output, tern_slice key, const struct record *record,
                            uint64_t hash, seq_no seq, bool is_first, uint32_t *out_block,
                            uint32_t *out_slot, tern_error *error) {
    const struct hash_base *base = output->base;
    size_t most = record_bytes_max(key, record);
    size_t room = base->page_bytes - BLOCK_HEADER_BYTES;
    if (output->count > 0 &&
        4 + 2 * ((size_t)output->count + 1) + output->records.size + most > room) {
        tern_status status = finish_block(output, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    if (output->hash_count == output->hash_capacity) {
        size_t capacity = output->hash_capacity == 0 ? 1024 : output->hash_capacity * 2;
        void *grown =
            memory_resize(allocator_of(base), output->hashes, capacity * sizeof(uint64_t));
        if (grown == NULL) {
            return ERROR_NO_MEMORY(error, "a drain");
        }
        output->hashes = grown;
        output->hash_capacity = capacity;
    }
    if (buffer_reserve(&output->records, most) != TERN_OK || grow_blocks(output) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    uint8_t *target = output->records.data + output->records.size;
    output->offsets[output->count] = (uint16_t)output->records.size;
    *target++ =
        (uint8_t)((uint8_t)record->kind | (record->expires_ms != 0 ? RECORD_HAS_EXPIRY : 0) |
                  (is_first ? RECORD_IS_FIRST : 0));
    target = varint_put(target, key.size);
    target = varint_put(target, record->value.size);
    target = varint_put(target, seq);
    target = varint_put(target, base->environment->incarnation);
    if (record->expires_ms != 0) {
        target = varint_put(target, record->expires_ms);
        output->flags |= BLOCK_HAS_EXPIRING;
    }
    if (record->kind == RECORD_LARGE) {
        target = varint_put(target, record->value_size);
        output->flags |= BLOCK_HAS_LARGE;
    }
    memcpy(target, key.data, key.size);
    target += key.size;
    if (record->value.size > 0) {
        memcpy(target, record->value.data, record->value.size);
        target += record->value.size;
    }
    output->records.size = (size_t)(target - output->records.data);
    output->hashes[output->hash_count++] = hash;
    output->min_seq = seq < output->min_seq ? seq : output->min_seq;
    output->max_seq = seq > output->max_seq ? seq : output->max_seq;
    *out_block = (uint32_t)output->block_count;
    *out_slot = output->count++;
    return TERN_OK;
}

/* ---- segments ---- */

tern_status base_new_segment(struct hash_base *base, uint32_t *out_segment) {
    if (base->segment_count == base->segment_capacity) {
        uint32_t capacity = base->segment_capacity == 0 ? 16 : base->segment_capacity * 2;
        void *grown =
            memory_resize(allocator_of(base), base->segments, capacity * sizeof(base->segments[0]));
        if (grown == NULL) {
            return TERN_NO_MEMORY;
        }
        base->segments = grown;
        base->segment_capacity = capacity;
    }
    struct hash_segment *segment = memory_allocate_zeroed(allocator_of(base), sizeof(*segment));
    if (segment == NULL) {
        return TERN_NO_MEMORY;
    }
    segment->min_seq = SEQ_MAX;
    segment->min_hash = UINT64_MAX;
    base_count_segment(base, segment);
    uint32_t at = 0;
    while (at < base->segment_count && base->segments[at] != NULL) {
        at++;
    }
    base->segments[at] = segment;
    base->segment_count = at == base->segment_count ? at + 1 : base->segment_count;
    *out_segment = at;
    return TERN_OK;
}

static bool resize_to(const struct hash_base *base, void **memory, size_t bytes) {
    void *grown = memory_resize(allocator_of(base), *memory, bytes);
    if (grown == NULL) {
        return false;
    }
    *memory = grown;
    return true;
}

static uint32_t at_most(uint64_t wanted, uint32_t needed, uint32_t most) {
    uint64_t capacity = wanted < most ? wanted : most;
    return (uint32_t)(capacity > needed ? capacity : needed);
}

static bool grow_block_list(const struct hash_base *base, struct hash_segment *segment,
                            uint32_t needed) {
    uint32_t capacity = at_most((uint64_t)needed * 2, needed, SEGMENT_BLOCKS_MAX);
    if (!resize_to(base, (void **)&segment->blocks, capacity * sizeof(uint32_t)) ||
        !resize_to(base, (void **)&segment->listed, capacity * sizeof(struct block_info))) {
        return false;
    }
    segment->block_capacity = capacity;
    return true;
}

static bool grow_record_list(const struct hash_base *base, struct hash_segment *segment,
                             uint32_t needed) {
    size_t words = (size_t)at_most((uint64_t)needed * 2, needed, SEGMENT_RECORDS_MAX) / 64 + 1;
    size_t old = segment->record_capacity / 64;
    if (!resize_to(base, (void **)&segment->live, words * 8) ||
        !resize_to(base, (void **)&segment->hash_list, words * 64 * 8)) {
        return false;
    }
    memset(segment->live + old, 0, (words - old) * 8);
    segment->record_capacity = (uint32_t)(words * 64);
    return true;
}

tern_status base_grow_segment(struct hash_base *base, struct hash_segment *segment, size_t blocks,
                              size_t records) {
    uint32_t block_count = segment->block_count + (uint32_t)blocks;
    uint32_t record_count = segment->record_count + (uint32_t)records;
    bool has_room =
        (block_count <= segment->block_capacity || grow_block_list(base, segment, block_count)) &&
        (record_count <= segment->record_capacity || grow_record_list(base, segment, record_count));
    base_count_segment(base, segment);
    return has_room ? TERN_OK : TERN_NO_MEMORY;
}

/* Places for the blocks, and the blocks written there, neighbours together. */
static tern_status write_blocks(struct hash_output *output, tern_error *error) {
    struct hash_file *file = output->base->file;
    size_t placed = 0;
    tern_status status = TERN_OK;
    for (; placed < output->block_count; placed++) {
        struct block_info *info = &output->blocks[placed].info;
        status = hash_file_allocate(file, info->units, &info->place, error);
        if (status != TERN_OK) {
            break;
        }
    }
    for (size_t i = 0; status == TERN_OK && i < output->block_count;) {
        const struct block_info *first = &output->blocks[i].info;
        uint32_t units = first->units;
        size_t end = i + 1;
        while (end < output->block_count &&
               output->blocks[end].info.place == first->place + units) {
            units += output->blocks[end++].info.units;
        }
        status = hash_file_write(file, first->place, output->bytes + output->blocks[i].offset,
                                 units, error);
        i = end;
    }
    for (size_t i = 0; status != TERN_OK && i < placed; i++) {
        hash_file_free(file, output->blocks[i].info.place, output->blocks[i].info.units);
    }
    return status;
}

/* Closes the segment that is being built when the blocks do not fit. */
static tern_status end_full_segment(struct hash_output *output, tern_error *error) {
    struct hash_base *base = output->base;
    tern_status status = TERN_OK;
    if (base->building != BLOCK_NONE) {
        const struct hash_segment *segment = base->segments[base->building];
        if (segment->block_count + output->block_count > SEGMENT_BLOCKS_MAX ||
            segment->record_count + output->hash_count > SEGMENT_RECORDS_MAX) {
            status = base_close_segment(base, base->building, error);
            base->building = status == TERN_OK ? BLOCK_NONE : base->building;
        }
    }
    return status;
}

static tern_status ready_segment(struct hash_output *output) {
    struct hash_base *base = output->base;
    if (base->building == BLOCK_NONE && base_new_segment(base, &base->building) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    return base_grow_segment(base, base->segments[base->building], output->block_count,
                             output->hash_count);
}

tern_status output_flush(struct hash_output *output, tern_error *error) {
    struct hash_base *base = output->base;
    tern_status status = finish_block(output, error);
    count_memory(output, true);
    if (status != TERN_OK || output->block_count == 0) {
        return status;
    }
    size_t numbered = 0;
    status = end_full_segment(output, error);
    if (status != TERN_OK) {
        return status;
    }
    mutex_lock(&base->lock);
    status = ready_segment(output);
    mutex_unlock(&base->lock);
    while (status == TERN_OK && numbered < output->block_count) {
        status = base_take_block(base, &output->blocks[numbered].number);
        numbered += status == TERN_OK ? 1 : 0;
    }
    if (status != TERN_OK) {
        status = ERROR_NO_MEMORY(error, "a drain");
    } else {
        status = write_blocks(output, error);
    }
    if (status != TERN_OK) {
        while (numbered > 0) {
            base_give_block(base, output->blocks[--numbered].number);
        }
        return status;
    }
    struct hash_segment *segment = base->segments[base->building];
    mutex_lock(&base->lock);
    for (size_t i = 0; i < output->block_count; i++) {
        struct output_block *block = &output->blocks[i];
        block->info.segment = base->building;
        block->info.first_record = segment->record_count;
        block->info.born = base->generation + 1;
        *base_block(base, block->number) = block->info;
        segment->listed[segment->block_count] = block->info;
        segment->blocks[segment->block_count++] = block->number;
        for (uint32_t j = 0; j < block->info.records; j++) {
            uint32_t at = segment->record_count++;
            base_note_hash(segment, output->hashes[block->first_hash + j]);
            segment->hash_list[at] = output->hashes[block->first_hash + j];
            segment->live[at / 64] |= (uint64_t)1 << (at % 64);
        }
        segment->live_count += block->info.records;
        base->total_records += block->info.records;
        atomic_fetch_add_explicit(&base->live_records, block->info.records, memory_order_relaxed);
        atomic_fetch_add_explicit(&base->block_bytes, (uint64_t)block->info.units * HASH_UNIT_BYTES,
                                  memory_order_relaxed);
    }
    segment->min_seq = output->min_seq < segment->min_seq ? output->min_seq : segment->min_seq;
    segment->max_seq = output->max_seq > segment->max_seq ? output->max_seq : segment->max_seq;
    mutex_unlock(&base->lock);
    base->is_dirty = true;
    output_discard(output); /* the numbers of the blocks can still be asked for */
    return TERN_OK;
}
