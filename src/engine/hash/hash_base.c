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
#include "engine/hash/hash_value.h"

#define CHUNK_SHIFT  9u
#define CHUNK_BLOCKS ((uint32_t)1 << CHUNK_SHIFT)

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
                      partition_id id, const tern_keyspace_options *options,
                      const struct key_hasher *hasher, tern_error *error) {
    *base = (struct hash_base){.environment = environment, .building = BLOCK_NONE};
    mutex_init(&base->lock);
    base->hasher = *hasher;
    base->compression = options->compression;
    base->page_bytes = options->page_bytes;
    ASSERT(base->page_bytes > 0); /* whoever opens a partition has filled in defaults */
    return hash_file_open(environment, id, &base->file, error);
}

void base_count_map(struct hash_base *base, int64_t bytes) {
    struct budget *budget = base->environment->budget;
    atomic_fetch_add_explicit(&base->map_bytes, (uint64_t)bytes, memory_order_relaxed);
    if (budget != NULL && bytes >= 0) {
        budget_add(budget, BUDGET_INDEX, (uint64_t)bytes);
    } else if (budget != NULL) {
        budget_subtract(budget, BUDGET_INDEX, (uint64_t)-bytes);
    }
}

void base_count_segment(struct hash_base *base, struct hash_segment *segment) {
    uint64_t bytes = sizeof(*segment) + (uint64_t)segment->block_capacity * sizeof(uint32_t) +
                     segment->record_capacity / 8;
    if (segment->listed != NULL) {
        bytes += (uint64_t)segment->block_capacity * sizeof(struct block_info);
    }
    if (segment->hash_list != NULL) {
        bytes += (uint64_t)segment->record_capacity * sizeof(uint64_t);
    }
    base_count_map(base, (int64_t)(bytes - segment->memory_bytes));
    segment->memory_bytes = bytes;
}

void base_free_segment(struct hash_base *base, struct hash_segment *segment) {
    if (segment != NULL) {
        base_count_map(base, -(int64_t)segment->memory_bytes);
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
    memory_release(allocator, base->kept_blocks);
    base_count_map(base, -(int64_t)atomic_load(&base->map_bytes));
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
    base_count_map(base, CHUNK_BLOCKS * sizeof(struct block_info) + sizeof(struct block_info *));
    if (old != NULL) {
        epoch_retire(base->environment->epoch, &old->limbo, release_chunks);
    }
    return TERN_OK;
}

static bool grow_kept(struct hash_base *base) {
    size_t capacity = base->free_block_capacity;
    if (base->kept_capacity < capacity) {
        void *grown =
            memory_resize(allocator_of(base), base->kept_blocks, capacity * sizeof(uint32_t));
        if (grown == NULL) {
            return false;
        }
        base_count_map(base, (int64_t)((capacity - base->kept_capacity) * sizeof(uint32_t)));
        base->kept_blocks = grown;
        base->kept_capacity = capacity;
    }
    return true;
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
        base_count_map(base, (int64_t)((capacity - base->free_block_capacity) * sizeof(uint32_t)));
        base->free_blocks = grown;
        base->free_block_capacity = capacity;
    }
    if (base->keeps_numbers && !grow_kept(base)) {
        return TERN_NO_MEMORY;
    }
    if (base->block_limit == have && add_chunk(base) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    *out_block = base->block_limit++;
    return TERN_OK;
}

void base_give_block(struct hash_base *base, uint32_t block) {
    base->free_blocks[base->free_block_count++] = block;
}

tern_status base_keep_numbers(struct hash_base *base, tern_error *error) {
    if (!grow_kept(base)) {
        return ERROR_NO_MEMORY(error, "an index");
    }
    base->keeps_numbers = true;
    return TERN_OK;
}

void base_give_kept(struct hash_base *base, size_t count, bool keeps_on) {
    for (size_t i = 0; i < count; i++) {
        base_give_block(base, base->kept_blocks[i]);
    }
    base->kept_count -= count;
    if (base->kept_count > 0) {
        memmove(base->kept_blocks, base->kept_blocks + count,
                base->kept_count * sizeof(base->kept_blocks[0]));
    }
    base->keeps_numbers = keeps_on || base->kept_count > 0;
}

/* ---- reading ---- */

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
    source = get_number(source, end, &key_size);
    source = source != NULL ? get_number(source, end, &value_size) : NULL;
    source = source != NULL ? varint_get(source, end, &record.seq) : NULL;
    source = source != NULL ? get_number(source, end, &incarnation) : NULL;
    if (source != NULL && (head & RECORD_HAS_EXPIRY) != 0) {
        source = varint_get(source, end, &record.record.expires_ms);
    }
    record.record.kind = (enum record_kind)(head & RECORD_KIND_MASK);
    record.record.value_size = value_size;
    if (source != NULL && record.record.kind == RECORD_LARGE) {
        source = varint_get(source, end, &record.record.value_size);
    }
    if (source == NULL || head > (RECORD_KIND_MASK | RECORD_HAS_EXPIRY | RECORD_IS_FIRST) ||
        key_size > (uint64_t)(end - source) || value_size > (uint64_t)(end - source) - key_size ||
        (record.record.kind != RECORD_PUT && record.record.kind != RECORD_LARGE)) {
        return false;
    }
    record.key = tern_slice_of(source, (size_t)key_size);
    record.record.value = tern_slice_of(source + key_size, (size_t)value_size);
    if (record.record.kind == RECORD_LARGE &&
        !hash_value_is_reference(record.record.value, record.record.value_size)) {
        return false;
    }
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

static tern_status fill_frame(struct hash_base *base, const struct hash_ref *ref,
                              uint32_t raw_bytes, _Atomic cache_hint *hint,
                              struct cache_frame **out_frame, tern_error *error) {
    struct cache *cache = base->environment->cache;
    size_t bytes = frame_bytes_for(raw_bytes);
    size_t size = 0;
    struct cache_frame *frame = bytes <= CACHE_FRAME_BYTES_MAX ? cache_acquire(cache, bytes) : NULL;
    bool is_private = frame == NULL;
    if (is_private) {
        frame = cache_private_create(cache, bytes);
        if (frame == NULL) {
            return ERROR_NO_MEMORY(error, "a block");
        }
    }
    tern_status status = hash_file_read_into(base->file, ref, (uint8_t *)frame + BLOCK_HEADER_BYTES,
                                             bytes - BLOCK_HEADER_BYTES, &size, error);
    if (status == TERN_OK && size != raw_bytes) {
        status = base_corrupt(base, ref->place, "a block has another size than its directory says",
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
        frame = cache_publish(cache, frame, cache_tag_of(hash_file_space(base->file), ref->place));
        atomic_store_explicit(hint, cache_hint_of(cache, frame), memory_order_relaxed);
    }
    *out_frame = frame;
    return TERN_OK;
}

tern_status base_read_cached(struct hash_base *base, const struct hash_ref *ref, uint32_t raw_bytes,
                             _Atomic cache_hint *hint, struct base_cached *out_cached,
                             tern_error *error) {
    struct cache *cache = base->environment->cache;
    cache_tag tag = cache_tag_of(hash_file_space(base->file), ref->place);
    cache_hint last = atomic_load_explicit(hint, memory_order_relaxed);
    struct cache_frame *frame = last != 0 ? cache_frame_at(cache_base(cache), last) : NULL;
    out_cached->is_miss = false;
    if (frame == NULL || !cache_frame_holds(frame, tag)) {
        frame = raw_bytes + BLOCK_HEADER_BYTES <= CACHE_FRAME_BYTES_MAX ? cache_lookup(cache, tag)
                                                                        : NULL;
        if (frame != NULL) {
            atomic_store_explicit(hint, cache_hint_of(cache, frame), memory_order_relaxed);
        } else {
            tern_status status = fill_frame(base, ref, raw_bytes, hint, &frame, error);
            if (status != TERN_OK) {
                return status;
            }
            out_cached->is_miss = true;
        }
    }
    out_cached->payload = (const uint8_t *)frame + BLOCK_HEADER_BYTES;
    out_cached->frame = frame;
    return TERN_OK;
}

tern_status base_read_block(struct hash_base *base, uint32_t block, const uint8_t **out_payload,
                            struct cache_frame **out_frame, tern_error *error) {
    struct block_info *info = base_block(base, block);
    const struct hash_ref ref = {info->place, info->units, info->checksum};
    struct base_cached cached;
    tern_status status = base_read_cached(base, &ref, info->raw_bytes, &info->hint, &cached, error);
    if (status == TERN_OK) {
        *out_payload = cached.payload;
        *out_frame = cached.frame;
    }
    return status;
}

/*
 * Fetches what reading a record will touch, all of it at once: the frame's head, the slot, and the
 * record where it lies if all records of the block are of one size.
 */
static void fetch_record(const struct hash_base *base, const struct block_info *info,
                         uint32_t slot) {
    cache_hint hint = atomic_load_explicit(&info->hint, memory_order_relaxed);
    if (hint == 0) {
        return;
    }
    const uint8_t *frame =
        (const uint8_t *)cache_frame_at(cache_base(base->environment->cache), hint);
    const uint8_t *payload = frame + BLOCK_HEADER_BYTES;
    uint32_t records = info->records == 0 ? 1 : info->records;
    uint32_t head = 4 + 2 * records;
    uint32_t mean = (info->raw_bytes - (head < info->raw_bytes ? head : 0)) / records;
    const uint8_t *guess = payload + head + (size_t)slot * mean;
    __builtin_prefetch(frame);
    __builtin_prefetch(payload + 4 + 2 * (size_t)slot);
    __builtin_prefetch(guess);
    __builtin_prefetch(guess + 64);
    __builtin_prefetch(guess + mean - 1);
}

struct cache_frame *base_cached_frame(const struct hash_base *base, struct block_info *info,
                                      uint32_t slot) {
    fetch_record(base, info, slot);
    cache_hint hint = atomic_load_explicit(&info->hint, memory_order_relaxed);
    if (hint == 0) {
        return NULL;
    }
    struct cache_frame *frame = cache_frame_at(cache_base(base->environment->cache), hint);
    cache_tag tag = cache_tag_of(hash_file_space(base->file), info->place);
    return cache_frame_holds(frame, tag) ? frame : NULL;
}

tern_status base_read_record(struct hash_base *base, hash_link link, struct hash_record *out_record,
                             struct cache_frame **out_frame, tern_error *error) {
    const uint8_t *payload = NULL;
    uint32_t block = link_block(link);
    const struct block_info *info = base_block(base, block);
    fetch_record(base, info, link_slot(link));
    tern_status status = base_read_block(base, block, &payload, out_frame, error);
    if (status != TERN_OK) {
        return status;
    }
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
    fetch_record(base, info, link_slot(link));
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

bool base_holds_live(const struct hash_base *base, hash_link link) {
    uint32_t block = link_block(link);
    const struct block_info *info = base_block(base, block);
    return info->live > 0 && link_slot(link) < info->records && base_is_live(base, link);
}

bool base_lives(struct hash_base *base, hash_link link) {
    mutex_lock(&base->lock);
    bool lives = base_holds_live(base, link);
    mutex_unlock(&base->lock);
    return lives;
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

void base_note_dropped(struct hash_base *base, struct block_info *info) {
    info->was_referenced = true;
    atomic_store_explicit(&base->dropped_epoch, epoch_current(base->environment->epoch),
                          memory_order_release);
}

/* Could a reader still be on its way to what dead records of the block hold? */
static bool is_led_to(const struct hash_base *base, uint32_t block, bool drops_are_past) {
    const struct block_info *info = base_block(base, block);
    return info->chain_refs > 0 || (info->was_referenced && !drops_are_past);
}

void base_release(struct hash_base *base, const uint64_t *live, size_t live_count) {
    uint64_t dropped_epoch = atomic_load_explicit(&base->dropped_epoch, memory_order_acquire);
    bool drops_are_past = epoch_is_past(base->environment->epoch, dropped_epoch);
    size_t kept_batches = 0;
    for (size_t i = 0; i < base->batch_count; i++) {
        struct waiting_batch *batch = &base->batches[i];
        bool is_past = epoch_is_past(base->environment->epoch, batch->epoch);
        size_t kept = 0;
        for (size_t j = 0; j < batch->count; j++) {
            const struct hash_waiting item = batch->items[j];
            bool is_free =
                is_past && is_unread(live, live_count, item.born, batch->superseded) &&
                (item.block == BLOCK_NONE || !is_led_to(base, item.block, drops_are_past));
            if (!is_free) {
                batch->items[kept++] = item;
                continue;
            }
            hash_file_count_pending(base->file, -(int64_t)item.units);
            hash_file_free(base->file, item.place, item.units);
            if (item.block != BLOCK_NONE && base->keeps_numbers) {
                base->kept_blocks[base->kept_count++] = item.block;
            } else if (item.block != BLOCK_NONE) {
                base_give_block(base, item.block);
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
