/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payload of a block of records:
 *    0  u16  records
 *    2  u16  zero
 *    4  u16  offset of each record from the begin of the payload
 *   then the records, each:
 *       u8      bits 0..2 kind, bit 3 expires, bit 4 first version of its key
 *       varint  size of the key, size of the value, seq, incarnation
 *       varint  expires_ms, when it expires
 *       varint  size of the whole value, of kind LARGE
 *       key, value
 */
#include "engine/hash/hash_base.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/varint.h"

#define CHUNK_SHIFT           9u
#define CHUNK_BLOCKS          ((uint32_t)1 << CHUNK_SHIFT)
#define RECORD_HAS_EXPIRY     8u
#define RECORD_IS_FIRST       16u
#define PAGE_BYTES_DEFAULT    4096u
#define PAGE_BYTES_COMPRESSED 16384u

struct block_chunks {
    struct epoch_node limbo;
    const tern_allocator *allocator;
    uint32_t count;
    struct block_info *chunks[];
};

static const tern_allocator *allocator_of(const struct hash_base *base) {
    return base->environment->allocator;
}

tern_status base_corrupt(const struct hash_base *base, uint32_t place, const char *what,
                         tern_error *error) {
    return ERROR_AT(error, TERN_CORRUPTION, hash_file_path(base->file),
                    (uint64_t)place * HASH_UNIT_BYTES, 0, "%s; run verify and repair", what);
}

tern_status base_open(struct hash_base *base, const struct engine_environment *environment,
                      partition_id id, const tern_keyspace_options *options, tern_error *error) {
    *base = (struct hash_base){.environment = environment, .building = BLOCK_NONE};
    mutex_init(&base->lock);
    base->compression = options->compression;
    base->page_bytes = options->page_bytes;
    if (base->page_bytes == 0) {
        base->page_bytes =
            base->compression != TERN_COMPRESSION_NONE ? PAGE_BYTES_COMPRESSED : PAGE_BYTES_DEFAULT;
    }
    return hash_file_open(environment, id, &base->file, error);
}

void base_free_segment(const struct hash_base *base, struct hash_segment *segment) {
    if (segment != NULL) {
        memory_release(allocator_of(base), segment->blocks);
        memory_release(allocator_of(base), segment->live);
        memory_release(allocator_of(base), segment->hash_list);
        memory_release(allocator_of(base), segment->listed);
        memory_release(allocator_of(base), segment);
    }
}

void base_close(struct hash_base *base) {
    if (base->environment == NULL) {
        return;
    }
    const tern_allocator *allocator = allocator_of(base);
    struct block_chunks *chunks = atomic_load(&base->chunks);
    for (uint32_t i = 0; chunks != NULL && i < chunks->count; i++) {
        memory_release(allocator, chunks->chunks[i]);
    }
    memory_release(allocator, chunks);
    for (uint32_t i = 0; i < base->segment_count; i++) {
        base_free_segment(base, base->segments[i]);
    }
    memory_release(allocator, base->segments);
    memory_release(allocator, base->free_blocks);
    memory_release(allocator, base->superseding.items);
    for (size_t i = 0; i < base->batch_count; i++) {
        memory_release(allocator, base->batches[i].items);
    }
    memory_release(allocator, base->batches);
    mutex_destroy(&base->lock);
    hash_file_close(base->file);
}

/* ---- numbers of blocks ---- */

struct block_info *base_block(const struct hash_base *base, uint32_t block) {
    const struct block_chunks *chunks = atomic_load_explicit(&base->chunks, memory_order_acquire);
    return &chunks->chunks[block >> CHUNK_SHIFT][block & (CHUNK_BLOCKS - 1)];
}

static void release_chunks(struct epoch_node *node) {
    struct block_chunks *chunks =
        (struct block_chunks *)(void *)((char *)node - offsetof(struct block_chunks, limbo));
    memory_release(chunks->allocator, chunks);
}

static tern_status add_chunk(struct hash_base *base) {
    const tern_allocator *allocator = allocator_of(base);
    struct block_chunks *old = atomic_load_explicit(&base->chunks, memory_order_relaxed);
    uint32_t count = old != NULL ? old->count : 0;
    struct block_chunks *grown = memory_allocate(
        allocator, sizeof(*grown) + sizeof(struct block_info *) * ((size_t)count + 1));
    struct block_info *chunk =
        memory_allocate_zeroed(allocator, CHUNK_BLOCKS * sizeof(struct block_info));
    if (grown == NULL || chunk == NULL) {
        memory_release(allocator, grown);
        memory_release(allocator, chunk);
        return TERN_NO_MEMORY;
    }
    grown->allocator = allocator;
    grown->count = count + 1;
    for (uint32_t i = 0; i < count; i++) {
        grown->chunks[i] = old->chunks[i];
    }
    grown->chunks[count] = chunk;
    atomic_store_explicit(&base->chunks, grown, memory_order_release);
    if (old != NULL) {
        epoch_retire(base->environment->epoch, &old->limbo, release_chunks);
    }
    return TERN_OK;
}

/* A number for a new block; also room to give it back without memory. */
tern_status base_take_block(struct hash_base *base, uint32_t *out_block) {
    if (base->free_block_count > 0) {
        *out_block = base->free_blocks[--base->free_block_count];
        return TERN_OK;
    }
    const struct block_chunks *chunks = atomic_load_explicit(&base->chunks, memory_order_relaxed);
    uint32_t have = chunks != NULL ? chunks->count * CHUNK_BLOCKS : 0;
    if (base->block_limit >= BLOCK_IDS_MAX) {
        return TERN_NO_MEMORY;
    }
    if (base->free_block_capacity <= base->block_limit) {
        size_t capacity = base->free_block_capacity == 0 ? 256 : base->free_block_capacity * 2;
        void *grown =
            memory_resize(allocator_of(base), base->free_blocks, capacity * sizeof(uint32_t));
        if (grown == NULL) {
            return TERN_NO_MEMORY;
        }
        base->free_blocks = grown;
        base->free_block_capacity = capacity;
    }
    if (base->block_limit == have && add_chunk(base) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    *out_block = base->block_limit++;
    return TERN_OK;
}

static void give_block(struct hash_base *base, uint32_t block) {
    base->free_blocks[base->free_block_count++] = block;
}

/* ---- reading ---- */

uint32_t payload_count(const uint8_t *payload, size_t size) {
    uint32_t count = size >= 4 ? get_u16(payload) : 0;
    return 4 + 2 * (size_t)count <= size ? count : 0;
}

bool record_decode(const uint8_t *payload, size_t size, uint32_t slot,
                   struct hash_record *out_record) {
    if (slot >= payload_count(payload, size)) {
        return false;
    }
    const uint8_t *end = payload + size;
    const uint8_t *source = payload + get_u16(payload + 4 + 2 * (size_t)slot);
    if (source >= end) {
        return false;
    }
    uint8_t head = *source++;
    uint64_t key_size = 0;
    uint64_t value_size = 0;
    uint64_t incarnation = 0;
    struct hash_record record = {0};
    source = varint_get(source, end, &key_size);
    source = source != NULL ? varint_get(source, end, &value_size) : NULL;
    source = source != NULL ? varint_get(source, end, &record.seq) : NULL;
    source = source != NULL ? varint_get(source, end, &incarnation) : NULL;
    if (source != NULL && (head & RECORD_HAS_EXPIRY) != 0) {
        source = varint_get(source, end, &record.record.expires_ms);
    }
    record.record.kind = (enum record_kind)(head & 7);
    record.record.value_size = value_size;
    if (source != NULL && record.record.kind == RECORD_LARGE) {
        source = varint_get(source, end, &record.record.value_size);
    }
    if (source == NULL || key_size > (uint64_t)(end - source) ||
        value_size > (uint64_t)(end - source) - key_size ||
        (record.record.kind != RECORD_PUT && record.record.kind != RECORD_LARGE)) {
        return false;
    }
    record.key = tern_slice_of(source, (size_t)key_size);
    record.record.value = tern_slice_of(source + key_size, (size_t)value_size);
    record.incarnation = (uint32_t)incarnation;
    record.is_first = (head & RECORD_IS_FIRST) != 0;
    *out_record = record;
    return true;
}

static size_t frame_bytes_for(size_t raw_bytes) {
    size_t size = CACHE_FRAME_BYTES_MIN;
    while (size < raw_bytes + BLOCK_HEADER_BYTES) {
        size *= 2;
    }
    return size;
}

static tern_status fill_frame(struct hash_base *base, struct block_info *info, cache_tag tag,
                              struct cache_frame **out_frame, tern_error *error) {
    struct cache *cache = base->environment->cache;
    const struct hash_ref ref = {info->place, info->units, info->checksum};
    size_t bytes = frame_bytes_for(info->raw_bytes);
    size_t size = 0;
    struct cache_frame *frame = bytes <= CACHE_FRAME_BYTES_MAX ? cache_acquire(cache, bytes) : NULL;
    bool is_private = frame == NULL;
    if (is_private) {
        frame = cache_private_create(cache, bytes);
        if (frame == NULL) {
            return ERROR_NO_MEMORY(error, "a block");
        }
    }
    tern_status status =
        hash_file_read_into(base->file, &ref, (uint8_t *)frame + BLOCK_HEADER_BYTES,
                            bytes - BLOCK_HEADER_BYTES, &size, error);
    if (status == TERN_OK && size != info->raw_bytes) {
        status = base_corrupt(base, info->place, "a block has another size than its directory says",
                              error);
    }
    if (status != TERN_OK) {
        if (is_private) {
            cache_private_release(frame);
        } else {
            cache_discard(cache, frame);
        }
        return status;
    }
    if (is_private) {
        cache_private_release_later(frame);
    } else {
        frame = cache_publish(cache, frame, tag);
        atomic_store_explicit(&info->hint, cache_hint_of(cache, frame), memory_order_relaxed);
    }
    *out_frame = frame;
    return TERN_OK;
}

tern_status base_read_block(struct hash_base *base, uint32_t block, const uint8_t **out_payload,
                            struct cache_frame **out_frame, tern_error *error) {
    struct cache *cache = base->environment->cache;
    struct block_info *info = base_block(base, block);
    cache_tag tag = cache_tag_of(hash_file_space(base->file), info->place);
    cache_hint hint = atomic_load_explicit(&info->hint, memory_order_relaxed);
    struct cache_frame *frame = hint != 0 ? cache_frame_at(cache_base(cache), hint) : NULL;
    if (frame == NULL || !cache_frame_holds(frame, tag)) {
        frame = info->raw_bytes + BLOCK_HEADER_BYTES <= CACHE_FRAME_BYTES_MAX
                    ? cache_lookup(cache, tag)
                    : NULL;
        if (frame != NULL) {
            atomic_store_explicit(&info->hint, cache_hint_of(cache, frame), memory_order_relaxed);
        } else {
            tern_status status = fill_frame(base, info, tag, &frame, error);
            if (status != TERN_OK) {
                return status;
            }
        }
    }
    *out_payload = (const uint8_t *)frame + BLOCK_HEADER_BYTES;
    *out_frame = frame;
    return TERN_OK;
}

tern_status base_read_record(struct hash_base *base, hash_link link, struct hash_record *out_record,
                             struct cache_frame **out_frame, tern_error *error) {
    const uint8_t *payload = NULL;
    uint32_t block = link_block(link);
    tern_status status = base_read_block(base, block, &payload, out_frame, error);
    if (status != TERN_OK) {
        return status;
    }
    const struct block_info *info = base_block(base, block);
    if (!record_decode(payload, info->raw_bytes, link_slot(link), out_record)) {
        return base_corrupt(base, info->place, "a record is malformed", error);
    }
    return TERN_OK;
}

void base_prefetch(const struct hash_base *base, hash_link link, bool is_second) {
    const struct block_info *info = base_block(base, link_block(link));
    if (!is_second) {
        __builtin_prefetch(info);
        return;
    }
    cache_hint hint = atomic_load_explicit(&info->hint, memory_order_relaxed);
    if (hint != 0) {
        const uint8_t *frame =
            (const uint8_t *)cache_frame_at(cache_base(base->environment->cache), hint);
        __builtin_prefetch(frame);
        /* Where the record is if they are all of one size. */
        uint32_t records = info->records == 0 ? 1 : info->records;
        __builtin_prefetch(frame + BLOCK_HEADER_BYTES + 4 + 2 * (size_t)records +
                           (size_t)link_slot(link) * (info->raw_bytes / records));
    }
}

/* ---- liveness ---- */

static tern_status reserve_items(const struct hash_base *base, struct waiting_batch *batch,
                                 size_t count) {
    if (batch->count + count <= batch->capacity) {
        return TERN_OK;
    }
    size_t capacity = batch->capacity == 0 ? 64 : batch->capacity;
    while (capacity < batch->count + count) {
        capacity *= 2;
    }
    void *grown =
        memory_resize(allocator_of(base), batch->items, capacity * sizeof(batch->items[0]));
    if (grown == NULL) {
        return TERN_NO_MEMORY;
    }
    batch->items = grown;
    batch->capacity = capacity;
    return TERN_OK;
}

tern_status base_reserve_waiting(struct hash_base *base, size_t count, tern_error *error) {
    return reserve_items(base, &base->superseding, count) == TERN_OK
               ? TERN_OK
               : ERROR_NO_MEMORY(error, "superseded blocks");
}

static void wait_for(struct hash_base *base, struct hash_waiting item) {
    ASSERT(base->superseding.count < base->superseding.capacity);
    base->superseding.items[base->superseding.count++] = item;
    hash_file_count_pending(base->file, item.units);
}

void base_supersede(struct hash_base *base, uint32_t place, uint32_t units, uint64_t born) {
    if (units > 0) {
        wait_for(base, (struct hash_waiting){place, units, born, BLOCK_NONE});
        base->is_dirty = true;
    }
}

static uint32_t record_index(const struct hash_base *base, hash_link link) {
    return base_block(base, link_block(link))->first_record + link_slot(link);
}

bool base_is_live(const struct hash_base *base, hash_link link) {
    const struct block_info *info = base_block(base, link_block(link));
    const struct hash_segment *segment = base->segments[info->segment];
    uint32_t at = record_index(base, link);
    return segment != NULL && (segment->live[at / 64] >> (at % 64) & 1) != 0;
}

void base_kill(struct hash_base *base, hash_link link) {
    uint32_t block = link_block(link);
    struct block_info *info = base_block(base, block);
    struct hash_segment *segment = base->segments[info->segment];
    uint32_t at = record_index(base, link);
    ASSERT(base_is_live(base, link));
    mutex_lock(&base->lock);
    segment->live[at / 64] &= ~((uint64_t)1 << (at % 64));
    segment->live_count--;
    segment->is_bitmap_dirty = true;
    base->is_dirty = true;
    atomic_fetch_sub_explicit(&base->live_records, 1, memory_order_relaxed);
    if (--info->live == 0) {
        uint32_t i = 0;
        while (segment->blocks[i] != block) {
            i++;
        }
        segment->blocks[i] = BLOCK_NONE;
        atomic_fetch_sub_explicit(&base->block_bytes, (uint64_t)info->units * HASH_UNIT_BYTES,
                                  memory_order_relaxed);
        wait_for(base, (struct hash_waiting){info->place, info->units, info->born, block});
    }
    mutex_unlock(&base->lock);
}

/* ---- publishing and release ---- */

void base_published(struct hash_base *base, uint64_t generation) {
    base->generation = generation;
    if (base->superseding.count == 0) {
        return;
    }
    ASSERT(base->batch_count < base->batch_capacity);
    base->superseding.superseded = generation;
    base->superseding.epoch = epoch_current(base->environment->epoch);
    base->batches[base->batch_count++] = base->superseding;
    base->superseding = (struct waiting_batch){0};
}

/* True when no live generation lies in [born, superseded). */
static bool is_unread(const uint64_t *live, size_t count, uint64_t born, uint64_t superseded) {
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
    return low == 0 || live[low - 1] < born;
}

void base_release(struct hash_base *base, const uint64_t *live, size_t live_count) {
    size_t kept_batches = 0;
    for (size_t i = 0; i < base->batch_count; i++) {
        struct waiting_batch *batch = &base->batches[i];
        bool is_past = epoch_is_past(base->environment->epoch, batch->epoch);
        size_t kept = 0;
        for (size_t j = 0; j < batch->count; j++) {
            const struct hash_waiting item = batch->items[j];
            bool is_free =
                is_past && is_unread(live, live_count, item.born, batch->superseded) &&
                (item.block == BLOCK_NONE || base_block(base, item.block)->chain_refs == 0);
            if (!is_free) {
                batch->items[kept++] = item;
                continue;
            }
            hash_file_count_pending(base->file, -(int64_t)item.units);
            hash_file_free(base->file, item.place, item.units);
            if (item.block != BLOCK_NONE) {
                give_block(base, item.block);
            }
        }
        batch->count = kept;
        if (kept > 0) {
            base->batches[kept_batches++] = *batch;
        } else {
            memory_release(allocator_of(base), batch->items);
        }
    }
    base->batch_count = kept_batches;
}

/* ---- writing blocks ---- */

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
};

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

tern_status base_grow_segment(const struct hash_base *base, struct hash_segment *segment,
                              size_t blocks, size_t records) {
    if (segment->block_count + blocks > segment->block_capacity) {
        uint32_t capacity = (uint32_t)(segment->block_count + blocks) * 2;
        if (!resize_to(base, (void **)&segment->blocks, capacity * sizeof(uint32_t)) ||
            !resize_to(base, (void **)&segment->listed, capacity * sizeof(struct block_info))) {
            return TERN_NO_MEMORY;
        }
        segment->block_capacity = capacity;
    }
    if (segment->record_count + records > segment->record_capacity) {
        size_t words = (segment->record_count + records) * 2 / 64 + 1;
        size_t old = segment->record_capacity / 64;
        if (!resize_to(base, (void **)&segment->live, words * 8) ||
            !resize_to(base, (void **)&segment->hash_list, words * 64 * 8)) {
            return TERN_NO_MEMORY;
        }
        memset(segment->live + old, 0, (words - old) * 8);
        segment->record_capacity = (uint32_t)(words * 64);
    }
    return TERN_OK;
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

static tern_status ready_segment(struct hash_output *output) {
    struct hash_base *base = output->base;
    if (base->building != BLOCK_NONE) {
        struct hash_segment *segment = base->segments[base->building];
        if (segment->block_count + output->block_count > SEGMENT_BLOCKS_MAX ||
            segment->record_count + output->hash_count > SEGMENT_RECORDS_MAX) {
            base->building = BLOCK_NONE; /* the next root closes it */
        }
    }
    if (base->building == BLOCK_NONE && base_new_segment(base, &base->building) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    return base_grow_segment(base, base->segments[base->building], output->block_count,
                             output->hash_count);
}

tern_status output_flush(struct hash_output *output, tern_error *error) {
    struct hash_base *base = output->base;
    tern_status status = finish_block(output, error);
    if (status != TERN_OK || output->block_count == 0) {
        return status;
    }
    size_t numbered = 0;
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
            give_block(base, output->blocks[--numbered].number);
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
