/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draining a frozen memory, in phases, each in slices:
 *
 *   versions  the newest version of every key is written as a record, in the order of the hashes
 *             (hash_order.h). Merge operands are resolved against what lies below, if need be on
 *             disk. When the blocks are written, the entries are pointed at them and the records
 *             they supersede die.
 *   ranges    records on disk that a range delete of this memory covers die. The engine knows no
 *             order: all blocks are read (a clear of everything, too).
 *   values    values stored apart of versions that were not written are given up
 *   garbage   where more is dead than lives, the sparsest segments are written anew
 *
 * A record can be read, and is found, as soon as its block is written; whether a root refers to it
 * does not matter to readers. So a failure half way gives up what has not been linked, nothing
 * else, and the next attempt begins again: what is linked already is no version of this memory any
 * more.
 */
#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/hash/hash_engine_internal.h"

#define FLUSH_BYTES ((size_t)256 << 10)
#define FLUSH_MOVES ((size_t)4096)
/* Merged values above this are stored apart. */
#define INLINE_BYTES_MAX  ((size_t)64 << 10)
#define QUANTUM_BYTES_MIN ((size_t)64 << 10)
#define STUBS_PER_STEP    ((size_t)2000)
/* Of a version, about. */
#define VERSION_BYTES 128u
/* From so many keys that fall into a group of the cold part on it is read as a whole. */
#define KEYS_A_GROUP 4u
/* Versions that are drained in one epoch, and looked up under one lock. */
#define BATCH_VERSIONS 32u

tern_status hash_need_output(struct hash_engine *engine, tern_error *error) {
    return engine->drain.output != NULL
               ? TERN_OK
               : output_create(&engine->base, &engine->drain.output, error);
}

void hash_abandon_moves(struct hash_engine *engine) {
    struct hash_drain *drain = &engine->drain;
    for (size_t i = 0; i < drain->move_count; i++) {
        hash_stub_discard(engine, drain->moves[i].stub);
    }
    for (size_t i = 0; i < drain->made_count; i++) {
        hash_file_free(engine->base.file, drain->made[i].place, drain->made[i].units);
    }
    drain->move_count = 0;
    drain->extent_count = 0;
    drain->made_count = 0;
    if (drain->output != NULL) {
        output_discard(drain->output);
    }
}

static void count_scratch(struct hash_engine *engine, uint64_t bytes, bool is_more) {
    struct budget *budget = engine->environment->budget;
    if (budget != NULL && is_more) {
        budget_add(budget, BUDGET_OTHER, bytes);
    } else if (budget != NULL) {
        budget_subtract(budget, BUDGET_OTHER, bytes);
    }
}

void hash_drain_rest(struct hash_engine *engine) {
    struct hash_drain *drain = &engine->drain;
    hash_abandon_moves(engine);
    output_destroy(drain->output);
    drain->output = NULL;
    version_order_release(&drain->order);
    count_scratch(engine, drain->move_capacity * sizeof(drain->moves[0]), false);
    memory_release(hash_allocator(engine), drain->moves);
    memory_release(hash_allocator(engine), drain->extents);
    memory_release(hash_allocator(engine), drain->made);
    drain->moves = NULL;
    drain->extents = drain->made = NULL;
    drain->move_capacity = drain->extent_capacity = drain->made_capacity = 0;
    buffer_release(&drain->payload);
    hash_cold_reader_release(&engine->cold, &drain->cold_reader);
    engine_scratch_release(&drain->scratch);
    buffer_init(&drain->payload, hash_allocator(engine));
    engine_scratch_init(&drain->scratch, hash_allocator(engine));
}

void hash_drain_release(struct hash_engine *engine) {
    hash_drain_rest(engine);
    hash_memory_release(engine->drain.memory);
}

struct hash_move *hash_add_move(struct hash_engine *engine) {
    struct hash_drain *drain = &engine->drain;
    if (drain->move_count == drain->move_capacity) {
        size_t capacity = drain->move_capacity == 0 ? 256 : drain->move_capacity * 2;
        void *grown =
            memory_resize(hash_allocator(engine), drain->moves, capacity * sizeof(drain->moves[0]));
        if (grown == NULL) {
            return NULL;
        }
        count_scratch(engine, (capacity - drain->move_capacity) * sizeof(drain->moves[0]), true);
        drain->moves = grown;
        drain->move_capacity = capacity;
    }
    struct hash_move *move = &drain->moves[drain->move_count++];
    *move = (struct hash_move){0};
    return move;
}

static tern_status append_extent(struct hash_engine *engine, struct value_extent **extents,
                                 size_t *count, size_t *capacity, struct value_extent extent) {
    if (*count == *capacity) {
        size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
        void *grown =
            memory_resize(hash_allocator(engine), *extents, wanted * sizeof((*extents)[0]));
        if (grown == NULL) {
            return TERN_NO_MEMORY;
        }
        *extents = grown;
        *capacity = wanted;
    }
    (*extents)[(*count)++] = extent;
    return TERN_OK;
}

static tern_status add_extent(void *context, uint32_t place, uint32_t units) {
    struct hash_engine *engine = context;
    struct hash_drain *drain = &engine->drain;
    return append_extent(engine, &drain->extents, &drain->extent_count, &drain->extent_capacity,
                         (struct value_extent){place, units});
}

static tern_status add_made(void *context, uint32_t place, uint32_t units) {
    struct hash_engine *engine = context;
    struct hash_drain *drain = &engine->drain;
    return append_extent(engine, &drain->made, &drain->made_count, &drain->made_capacity,
                         (struct value_extent){place, units});
}

tern_status hash_add_value(struct hash_engine *engine, tern_slice reference, tern_error *error) {
    size_t before = engine->drain.extent_count;
    tern_error failure = TERN_ERROR_INIT;
    tern_status status = hash_value_extents(engine->base.file, hash_allocator(engine), reference,
                                            add_extent, engine, &failure);
    if (status == TERN_CORRUPTION) {
        /* What a damaged value took cannot be known; it comes back when the file is rewritten. */
        engine->drain.extent_count = before;
        return TERN_OK;
    }
    if (status == TERN_NO_MEMORY) {
        return ERROR_NO_MEMORY(error, "superseded blocks");
    }
    error_copy(error, &failure);
    return status;
}

tern_status hash_flush(struct hash_engine *engine, tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    if (drain->move_count == 0 && drain->extent_count == 0) {
        return TERN_OK;
    }
    tern_status status =
        base_reserve_waiting(&engine->base, drain->move_count + drain->extent_count, error);
    if (status == TERN_OK && drain->output != NULL) {
        status = output_flush(drain->output, error);
    }
    if (status == TERN_OK) {
        return hash_link_moves(engine, error);
    }
    hash_abandon_moves(engine);
    return status;
}

/* ---- versions ---- */

/* Is it the newest version of its key in the memory that is drained, and still linked? */
static bool is_newest(struct hash_engine *engine, const struct hash_version *version,
                      seq_no frozen_seq) {
    struct hash_version *head = NULL;
    hash_link disk;
    (void)hash_find_head(engine, version_key(version), version->hash, &head, &disk);
    while (head != NULL && head->seq > frozen_seq) {
        hash_link older = version_older(head);
        head = link_is_version(older) ? link_version(older) : NULL;
    }
    return head == version;
}

/* The record on disk that the chain below leads to first. */
static tern_status find_predecessor(struct hash_engine *engine, struct hash_move *move,
                                    tern_slice key, hash_link link, tern_error *error) {
    struct hash_record record;
    struct cache_frame *frame = NULL;
    while (link_is_version(link)) {
        const struct hash_version *version = link_version(link);
        if ((version->flags & VERSION_STUB) != 0) {
            link = version_stub(version)->disk;
            break;
        }
        link = version_older(version);
    }
    if (link == LINK_NONE) {
        return TERN_OK;
    }
    tern_status status = TERN_OK;
    if (link == LINK_UNKNOWN) {
        status = hash_find_in_order(engine, key, move->hash, &move->from, &record, &frame, error);
        move->is_separate = move->from != LINK_NONE;
    } else {
        move->from = link;
        const struct block_info *info = base_block(&engine->base, link_block(link));
        if ((info->flags & BLOCK_HAS_LARGE) == 0) {
            return TERN_OK;
        }
        status = base_read_record(&engine->base, link, &record, &frame, error);
    }
    if (status == TERN_OK && move->from != LINK_NONE && record.record.kind == RECORD_LARGE) {
        status = hash_add_value(engine, record.record.value, error);
    }
    return status;
}

/* A merged value that is too long for a record. */
static tern_status store_apart(struct hash_engine *engine, struct record *record,
                               uint8_t *reference, tern_error *error) {
    struct engine_large_writer *writer = NULL;
    size_t size = 0;
    tern_status status = hash_value_begin(engine->base.file, engine->environment,
                                          engine->base.compression, &writer, error);
    if (status == TERN_OK) {
        status = hash_value_append(writer, record->value.data, record->value.size, error);
        if (status == TERN_OK) {
            size_t before = engine->drain.made_count;
            status = hash_value_finish_listed(writer, add_made, engine, reference, &size, error);
            engine->drain.made_count = status == TERN_OK ? engine->drain.made_count : before;
        } else {
            hash_value_abandon(writer);
        }
    }
    if (status == TERN_OK) {
        record->kind = RECORD_LARGE;
        record->value_size = record->value.size;
        record->value = tern_slice_of(reference, size);
    }
    return status;
}

/* What a chain of operands amounts to. */
static tern_status resolve(struct hash_engine *engine, const struct hash_version *version,
                           struct record *out_record, uint8_t *reference, tern_error *error) {
    struct resolution resolution;
    const struct hash_memory *memory = engine->drain.memory;
    tern_slice key = version_key(version);
    const struct hash_lookup lookup = {engine, NULL, key, version->hash, version->seq, &resolution};
    seq_no range_seq = hash_memory_range_seq(memory, key, version->seq);
    struct engine_result result;
    bool unknown = false;
    resolution_init(&resolution, hash_allocator(engine));
    tern_status status =
        hash_collect(&lookup, link_to_version(version), range_seq, &unknown, error);
    if (status == TERN_OK && unknown) {
        struct hash_record record;
        struct cache_frame *frame = NULL;
        hash_link link;
        status = hash_find_on_disk(engine, key, version->hash, &link, &record, &frame, error);
        if (status == TERN_OK && link != LINK_NONE && record.seq >= range_seq) {
            status = resolution_add(&resolution, &record.record, ENGINE_SOURCE_FRAME, frame);
        }
    }
    if (status != TERN_OK) {
        resolution_release(&resolution);
        return status;
    }
    /* As of its own time: what expires later expires later. */
    status = resolution_finish(&resolution, version->expires_ms, &engine->drain.scratch,
                               hash_load_large, engine, &result, error);
    if (status == TERN_OK) {
        *out_record = result.record;
        if (out_record->value.size > INLINE_BYTES_MAX && out_record->kind == RECORD_PUT) {
            status = store_apart(engine, out_record, reference, error);
        }
    }
    return status;
}

/* Of versions that are drained together. */
struct drain_batch {
    struct hash_version *versions[BATCH_VERSIONS];
    bool is_newest[BATCH_VERSIONS];
    bool needs_older[BATCH_VERSIONS];
    size_t count;
};

/* The next few versions; what is looked at for each is on its way before the first is looked at. */
static tern_status next_batch(struct hash_engine *engine, struct drain_batch *batch,
                              tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    seq_no frozen_seq = drain->memory->frozen_seq;
    batch->count = 0;
    while (batch->count < BATCH_VERSIONS) {
        struct hash_version *version = NULL;
        tern_status status = version_order_next(&drain->order, &version, error);
        if (status != TERN_OK) {
            return status;
        }
        if (version == NULL) {
            break;
        }
        batch->versions[batch->count++] = version;
    }
    for (size_t i = 0; i < batch->count; i++) {
        hash_index_prefetch(engine->index, batch->versions[i]->hash);
    }
    mutex_lock(&engine->index_lock);
    for (size_t i = 0; i < batch->count; i++) {
        const struct hash_version *version = batch->versions[i];
        seq_no range_seq = hash_memory_range_seq(drain->memory, version_key(version), frozen_seq);
        batch->is_newest[i] = is_newest(engine, version, frozen_seq);
        batch->needs_older[i] =
            hash_needs_older(engine, version->seq < range_seq ? range_seq : version->seq);
    }
    mutex_unlock(&engine->index_lock);
    return TERN_OK;
}

static tern_status drain_version(struct hash_engine *engine, struct hash_version *version,
                                 bool needs_older, tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    const struct hash_memory *memory = drain->memory;
    tern_slice key = version_key(version);
    struct hash_move *move = hash_add_move(engine);
    if (move == NULL) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    size_t at = drain->move_count - 1;
    seq_no range_seq = hash_memory_range_seq(memory, key, memory->frozen_seq);
    move->kind = MOVE_VERSION;
    move->version = version;
    move->hash = version->hash;
    move->is_covered = version->seq < range_seq;
    move->seq = move->is_covered ? range_seq : version->seq;
    tern_status status = find_predecessor(engine, move, key, version_older(version), error);
    if (status != TERN_OK) {
        return status;
    }
    hash_link older = version_older(version);
    bool is_alone = (older == LINK_NONE || (older == LINK_UNKNOWN && move->from == LINK_NONE)) &&
                    atomic_load(&version->cut) == version->seq;
    move->is_first = is_alone && !move->is_covered;
    bool is_deleted = move->is_covered || version->kind == RECORD_DELETE;
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    struct record record = {.kind = (enum record_kind)version->kind,
                            .expires_ms = version->expires_ms,
                            .value = version_value(version)};
    if (!is_deleted && version->kind == RECORD_MERGE) {
        status = resolve(engine, version, &record, reference, error);
        is_deleted = record.kind != RECORD_PUT && record.kind != RECORD_LARGE;
    } else if (version->kind == RECORD_LARGE) {
        record.value_size = hash_value_size(record.value);
    }
    drain->moves[at].is_kept = needs_older && (!is_alone || move->is_covered);
    if (status == TERN_OK && (drain->moves[at].is_kept || is_deleted)) {
        drain->moves[at].stub = hash_stub_create(engine, key, version->hash, move->seq);
        if (drain->moves[at].stub == NULL) {
            status = ERROR_NO_MEMORY(error, "a drain");
        }
    }
    if (status == TERN_OK && !is_deleted) {
        move->is_written = true;
        status = hash_output_add(drain->output, key, &record, version->hash, version->seq, is_alone,
                                 &move->block, &move->slot, error);
    }
    drain->drained_bytes += version->bytes;
    return status;
}

bool hash_wants_flush(const struct hash_engine *engine) {
    const struct hash_drain *drain = &engine->drain;
    return drain->move_count >= FLUSH_MOVES ||
           (drain->output != NULL && output_bytes(drain->output) >= FLUSH_BYTES);
}

static tern_status drain_versions(struct hash_engine *engine, size_t quantum_bytes,
                                  tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    size_t done = 0;
    tern_status status = TERN_OK;
    struct drain_batch batch = {.count = BATCH_VERSIONS};
    struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
    while (status == TERN_OK && done < quantum_bytes && batch.count == BATCH_VERSIONS) {
        /* What has been read may leave the cache. */
        epoch_exit(slot);
        slot = epoch_enter(engine->environment->epoch);
        status = next_batch(engine, &batch, error);
        for (size_t i = 0; i < batch.count && status == TERN_OK; i++) {
            done += batch.versions[i]->bytes;
            if (batch.is_newest[i]) {
                status = drain_version(engine, batch.versions[i], batch.needs_older[i], error);
            }
            if (status == TERN_OK && hash_wants_flush(engine)) {
                status = hash_flush(engine, error);
            }
        }
    }
    if (status == TERN_OK && done < quantum_bytes && !drain->order.is_gathering) {
        status = hash_flush(engine, error);
        if (status == TERN_OK) {
            drain->phase = DRAIN_RANGES;
            drain->segment = drain->block = 0;
            version_order_release(&drain->order);
            drain->garbage_budget = atomic_load(&drain->memory->used);
        }
    }
    epoch_exit(slot);
    return status;
}

/* ---- ranges ---- */

static tern_status cover_record(struct hash_engine *engine, hash_link link,
                                const struct hash_record *record, tern_error *error) {
    const struct hash_memory *memory = engine->drain.memory;
    seq_no seq = hash_memory_range_seq(memory, record->key, memory->frozen_seq);
    if (record->seq >= seq) {
        return TERN_OK;
    }
    uint64_t hash = hash_of_key(engine, record->key);
    bool is_indexed = false;
    struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
    tern_status status = hash_is_indexed(engine, record->key, hash, link, &is_indexed, error);
    epoch_exit(slot);
    if (status != TERN_OK) {
        return status;
    }
    mutex_lock(&engine->index_lock);
    bool is_kept = hash_needs_older(engine, seq);
    mutex_unlock(&engine->index_lock);
    if (!is_indexed) {
        return base_corrupt(&engine->base, base_block(&engine->base, link_block(link))->place,
                            "a record is not in the list of hashes", error);
    }
    struct hash_move *move = hash_add_move(engine);
    if (move == NULL) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    move->kind = MOVE_RANGE;
    move->hash = hash;
    move->seq = seq;
    move->from = link;
    move->is_kept = is_kept;
    move->stub = hash_stub_create(engine, record->key, move->hash, seq);
    if (move->stub == NULL) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    return record->record.kind == RECORD_LARGE ? hash_add_value(engine, record->record.value, error)
                                               : TERN_OK;
}

static tern_status cover_block(struct hash_engine *engine, uint32_t number, tern_error *error) {
    struct hash_base *base = &engine->base;
    const struct block_info *info = base_block(base, number);
    const struct hash_ref ref = {info->place, info->units, info->checksum};
    struct buffer *payload = &engine->drain.payload;
    tern_status status = hash_file_read(base->file, &ref, payload, error);
    for (uint32_t i = 0; status == TERN_OK && i < info->records; i++) {
        hash_link link = link_to_record(number, i);
        struct hash_record record;
        if (!base_is_live(base, link)) {
            continue;
        }
        if (!record_decode(payload->data, payload->size, i, &record)) {
            return base_corrupt(base, info->place, "a record is malformed", error);
        }
        status = cover_record(engine, link, &record, error);
    }
    return status;
}

static tern_status drain_ranges(struct hash_engine *engine, size_t quantum_bytes,
                                tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    struct hash_base *base = &engine->base;
    size_t done = 0;
    tern_status status = TERN_OK;
    if (atomic_load(&drain->memory->ranges) == NULL) {
        drain->segment = base->segment_count;
    }
    while (status == TERN_OK && done < quantum_bytes && drain->segment < base->segment_count) {
        const struct hash_segment *segment = base->segments[drain->segment];
        if (segment == NULL || drain->block >= segment->block_count) {
            drain->segment++;
            drain->block = 0;
            continue;
        }
        uint32_t number = segment->blocks[drain->block++];
        if (number != BLOCK_NONE) {
            done += base_block(base, number)->raw_bytes;
            status = cover_block(engine, number, error);
        }
        if (status == TERN_OK && hash_wants_flush(engine)) {
            status = hash_flush(engine, error);
        }
    }
    if (status == TERN_OK && drain->segment >= base->segment_count) {
        status = hash_flush(engine, error);
        if (status == TERN_OK) {
            drain->phase = DRAIN_VALUES;
            drain->walk = memory_walk_begin(drain->memory);
        }
    }
    return status;
}

/* ---- values ---- */

/* A version that went to disk gave its reference to its record: marked by the links. */
static tern_status is_on_disk(struct hash_engine *engine, const struct hash_version *version,
                              bool *out_is, tern_error *error) {
    struct hash_record record;
    struct cache_frame *frame = NULL;
    *out_is = false;
    /* Any record of this key that is live: by its own entry, below newer versions, or in a stub. */
    struct hash_version *head = NULL;
    hash_link disk;
    hash_link link;
    mutex_lock(&engine->index_lock);
    (void)hash_find_head(engine, version_key(version), version->hash, &head, &disk);
    link = head != NULL ? link_to_version(head) : LINK_UNKNOWN;
    while (link_is_version(link)) {
        const struct hash_version *at = link_version(link);
        link = (at->flags & VERSION_STUB) != 0 ? version_stub(at)->disk : version_older(at);
        if ((at->flags & VERSION_STUB) != 0) {
            break;
        }
    }
    mutex_unlock(&engine->index_lock);
    if (link == LINK_NONE) {
        return TERN_OK;
    }
    tern_status status;
    if (link == LINK_UNKNOWN) {
        status = hash_find_on_disk(engine, version_key(version), version->hash, &link, &record,
                                   &frame, error);
    } else {
        status = base_read_record(&engine->base, link, &record, &frame, error);
    }
    if (status == TERN_OK && link != LINK_NONE) {
        *out_is = record.record.kind == RECORD_LARGE &&
                  slice_equal(record.record.value, version_value(version));
    }
    return status;
}

static tern_status drain_values(struct hash_engine *engine, tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    tern_status status = TERN_OK;
    struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
    for (;;) {
        const struct hash_version *version = memory_walk_next(&drain->walk);
        if (version == NULL || status != TERN_OK) {
            break;
        }
        if (version->kind == RECORD_LARGE) {
            bool is_kept = false;
            status = is_on_disk(engine, version, &is_kept, error);
            if (status == TERN_OK && !is_kept) {
                status = hash_add_value(engine, version_value(version), error);
            }
        }
    }
    if (status == TERN_OK) {
        status = hash_flush(engine, error);
    }
    epoch_exit(slot);
    if (status == TERN_OK) {
        drain->phase = DRAIN_GARBAGE;
    }
    return status;
}

/* ---- the whole ---- */

static void update_debt(struct hash_engine *engine) {
    struct hash_view *view = hash_view_current(engine);
    uint64_t debt = 0;
    for (uint32_t i = 1; i < view->count; i++) {
        debt += atomic_load_explicit(&view->memories[i]->used, memory_order_relaxed);
    }
    engine_view_release(&view->head, engine->environment->epoch);
    const struct hash_drain *drain = &engine->drain;
    if (drain->memory != NULL) {
        uint64_t all = atomic_load_explicit(&drain->memory->used, memory_order_relaxed);
        uint64_t done = drain->phase == DRAIN_VERSIONS ? drain->drained_bytes : all;
        done = done > all ? all : done;
        debt = debt > done ? debt - done : 0;
    }
    atomic_store_explicit(&engine->debt_bytes, debt, memory_order_relaxed);
}

/* Would every other block be read, or more, if nothing but overwritten keys came? */
static bool is_dense(struct hash_engine *engine, const struct hash_memory *memory) {
    const struct hash_base *base = &engine->base;
    double bytes = (double)atomic_load_explicit(&base->block_bytes, memory_order_relaxed);
    double records = (double)atomic_load_explicit(&base->live_records, memory_order_relaxed);
    double used = (double)atomic_load_explicit(&memory->used, memory_order_relaxed);
    return 2 * used * records * base->page_bytes >= bytes * bytes;
}

static bool reads_groups(struct hash_engine *engine, const struct hash_memory *memory) {
    uint64_t versions = atomic_load_explicit(&memory->used, memory_order_relaxed) / VERSION_BYTES;
    uint64_t groups = atomic_load_explicit(&engine->cold.groups, memory_order_relaxed);
    return versions >= groups * KEYS_A_GROUP;
}

static void begin_memory(struct hash_engine *engine) {
    struct hash_drain *drain = &engine->drain;
    struct hash_view *view = hash_view_current(engine);
    if (view->count > 1) {
        drain->memory = view->memories[view->count - 1];
        hash_memory_retain(drain->memory);
        drain->phase = DRAIN_VERSIONS;
        version_order_begin(&drain->order, drain->memory);
        drain->drained_bytes = 0;
        drain->mends = 0;
        drain->reads_ahead = is_dense(engine, drain->memory);
        drain->reads_groups = reads_groups(engine, drain->memory);
    }
    engine_view_release(&view->head, engine->environment->epoch);
}

static tern_status run_phase(struct hash_engine *engine, size_t quantum_bytes, tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    bool more = false;
    tern_status status;
    switch (drain->phase) {
    case DRAIN_VERSIONS:
        return drain_versions(engine, quantum_bytes, error);
    case DRAIN_RANGES:
        return drain_ranges(engine, quantum_bytes, error);
    case DRAIN_VALUES:
        return drain_values(engine, error);
    case DRAIN_GARBAGE:
        status = hash_collect_garbage(engine, quantum_bytes, false, &more, error);
        if (status == TERN_OK && (!more || drain->garbage_budget <= quantum_bytes)) {
            drain->phase = DRAIN_DONE;
            engine->has_finished = true;
        } else if (status == TERN_OK) {
            drain->garbage_budget -= quantum_bytes;
        }
        return status;
    default:
        return TERN_OK;
    }
}

/* Begins the phase anew; what is linked already will be passed over. */
void hash_rewind(struct hash_engine *engine) {
    struct hash_drain *drain = &engine->drain;
    hash_abandon_moves(engine);
    if (drain->memory != NULL && drain->phase != DRAIN_DONE) {
        drain->walk = memory_walk_begin(drain->memory);
        version_order_begin(&drain->order, drain->memory);
        drain->segment = drain->block = 0;
        drain->drained_bytes = 0;
    }
}

tern_status hash_drain_step(struct engine *base, size_t quantum_bytes,
                            enum engine_drain_state *out_state, tern_error *error) {
    struct hash_engine *engine = hash_of(base);
    struct hash_drain *drain = &engine->drain;
    if (engine->is_sealed || engine->has_finished) {
        *out_state = ENGINE_DRAIN_SLICE;
        return TERN_OK;
    }
    hash_trim_stubs(engine, STUBS_PER_STEP);
    hash_index_prepare(engine->index);
    if (drain->memory == NULL) {
        begin_memory(engine);
    }
    if (atomic_load_explicit(&engine->cold.has_damaged, memory_order_relaxed)) {
        tern_status status = hash_flush(engine, error);
        status = status == TERN_OK ? hash_mend(engine, error) : status;
        if (status != TERN_OK) {
            hash_rewind(engine);
            return status;
        }
    }
    if (drain->memory == NULL && hash_wants_pour(engine)) {
        *out_state = ENGINE_DRAIN_MORE;
        return hash_pour_step(engine, quantum_bytes, error);
    }
    if (drain->memory == NULL) {
        update_debt(engine);
        *out_state = ENGINE_DRAIN_IDLE;
        return TERN_OK;
    }
    size_t quantum = quantum_bytes < QUANTUM_BYTES_MIN ? QUANTUM_BYTES_MIN : quantum_bytes;
    tern_status status = hash_wants_pour(engine) ? hash_pour_step(engine, quantum, error) : TERN_OK;
    if (status == TERN_OK) {
        status = hash_need_output(engine, error);
    }
    for (enum drain_phase before = DRAIN_DONE; status == TERN_OK && before != drain->phase;) {
        before = drain->phase; /* a phase that has come to its end leaves time for the next */
        status = run_phase(engine, quantum, error);
    }
    if (status != TERN_OK) {
        hash_rewind(engine);
        update_debt(engine);
        status = hash_mend_after(engine, status, error);
        if (status == TERN_OK) {
            *out_state = ENGINE_DRAIN_MORE;
        }
        return status;
    }
    update_debt(engine);
    *out_state = engine->has_finished ? ENGINE_DRAIN_SLICE : ENGINE_DRAIN_MORE;
    return TERN_OK;
}
