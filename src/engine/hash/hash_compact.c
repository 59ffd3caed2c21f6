/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction by liveness: what lives in the sparsest segments is written to new blocks, and the old
 * ones are superseded by the next root. The old record stays what recovery finds until then.
 */
#include "base/error.h"
#include "engine/hash/hash_engine_internal.h"

/* A segment is sparse when less of it lives: in the background, and when asked for. */
#define SPARSE_PERCENT   60u
#define THOROUGH_PERCENT 95u
#define SLICE_BYTES_MAX  ((uint64_t)32 << 20)
#define PASSES_MAX       4u
/* Whoever publishes after each step makes new small segments: an end must come nevertheless. */
#define BUDGET_FACTOR      4u
#define SMALL_RECORDS      2048u
#define SMALL_SEGMENTS_MAX 16u

static bool is_building(const struct hash_base *base, uint32_t at) {
    return at == base->building || !base->segments[at]->is_closed;
}

/* Units in use, as if everything were packed. */
static uint32_t packed_end(const struct hash_base *base) {
    struct hash_file_stats stats;
    hash_file_get_stats(base->file, &stats);
    uint64_t used = stats.file_bytes - stats.free_bytes - stats.pending_bytes;
    return (uint32_t)(used / HASH_UNIT_BYTES);
}

static bool has_tail(const struct hash_base *base, const struct hash_segment *segment,
                     uint32_t end) {
    for (uint32_t i = 0; i < segment->block_count; i++) {
        if (segment->blocks[i] != BLOCK_NONE &&
            base_block(base, segment->blocks[i])->place >= end) {
            return true;
        }
    }
    return segment->directory.place >= end || segment->hashes.place >= end;
}

/* The segment that is most worth it, or BLOCK_NONE. */
static uint32_t pick_segment(struct hash_engine *engine, bool is_thorough) {
    const struct hash_base *base = &engine->base;
    uint32_t best = BLOCK_NONE;
    uint64_t best_percent = is_thorough ? THOROUGH_PERCENT : SPARSE_PERCENT;
    uint32_t small = 0;
    uint32_t smallest = BLOCK_NONE;
    uint32_t tail = BLOCK_NONE;
    uint32_t end = is_thorough && engine->drain.compact_passes < PASSES_MAX ? packed_end(base) + 1
                                                                            : UINT32_MAX;
    for (uint32_t i = 0; i < base->segment_count; i++) {
        const struct hash_segment *segment = base->segments[i];
        if (segment == NULL || segment->live_count == 0 || is_building(base, i)) {
            continue;
        }
        uint64_t percent = (uint64_t)segment->live_count * 100 / segment->record_count;
        if (percent < best_percent) {
            best = i;
            best_percent = percent;
        }
        if (segment->record_count < SMALL_RECORDS) {
            small++;
            if (smallest == BLOCK_NONE ||
                segment->record_count < base->segments[smallest]->record_count) {
                smallest = i;
            }
        }
        if (end != UINT32_MAX && tail == BLOCK_NONE && has_tail(base, segment, end)) {
            tail = i;
        }
    }
    if (!is_thorough && best != BLOCK_NONE) {
        /* One sparse segment is nothing: as much must be dead as lives. */
        uint64_t live = atomic_load(&base->live_records);
        if (base->total_records - live < live / 2 + 64 && best_percent > 10) {
            best = BLOCK_NONE;
        }
    }
    if (best == BLOCK_NONE && small > (is_thorough ? 1u : SMALL_SEGMENTS_MAX)) {
        best = smallest;
    }
    return best != BLOCK_NONE ? best : tail;
}

static tern_status move_block(struct hash_engine *engine, uint32_t number, tern_error *error) {
    struct hash_base *base = &engine->base;
    struct hash_drain *drain = &engine->drain;
    const struct block_info info = {.place = base_block(base, number)->place,
                                    .units = base_block(base, number)->units,
                                    .checksum = base_block(base, number)->checksum,
                                    .records = base_block(base, number)->records};
    const struct hash_ref ref = {info.place, info.units, info.checksum};
    tern_status status = hash_file_read(base->file, &ref, &drain->payload, error);
    for (uint32_t i = 0; status == TERN_OK && i < info.records; i++) {
        hash_link link = link_to_record(number, i);
        struct hash_record record;
        if (!base_is_live(base, link)) {
            continue;
        }
        if (!record_decode(drain->payload.data, drain->payload.size, i, &record)) {
            return base_corrupt(base, info.place, "a record is malformed", error);
        }
        uint64_t hash = hash_of_key(engine, record.key);
        bool is_indexed = false;
        struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
        status = hash_is_indexed(engine, record.key, hash, link, &is_indexed, error);
        epoch_exit(slot);
        if (status != TERN_OK) {
            return status;
        }
        if (!is_indexed) {
            return base_corrupt(base, info.place, "a record is not in the list of hashes", error);
        }
        struct hash_move *move = hash_add_move(engine);
        if (move == NULL) {
            return ERROR_NO_MEMORY(error, "compaction");
        }
        move->kind = MOVE_RECORD;
        move->is_written = true;
        move->hash = hash;
        move->second = hash_index_second(engine->index, record.key);
        move->from = link;
        status = hash_output_add(drain->output, record.key, &record.record, move->hash, record.seq,
                                 record.is_first, &move->block, &move->slot, error);
    }
    return status;
}

tern_status hash_collect_garbage(struct hash_engine *engine, size_t quantum_bytes, bool is_thorough,
                                 bool *out_more, tern_error *error) {
    struct hash_base *base = &engine->base;
    size_t done = 0;
    tern_status status = hash_need_output(engine, error);
    *out_more = false;
    while (status == TERN_OK && done < quantum_bytes) {
        uint32_t victim = pick_segment(engine, is_thorough);
        if (victim == BLOCK_NONE) {
            break;
        }
        *out_more = true;
        /* Its list shrinks as its blocks die; whole blocks at a time. */
        const struct hash_segment *segment = base->segments[victim];
        for (uint32_t i = 0; status == TERN_OK && i < segment->block_count && done < quantum_bytes;
             i++) {
            uint32_t number = segment->blocks[i];
            if (number == BLOCK_NONE) {
                continue;
            }
            done += (size_t)base_block(base, number)->units * HASH_UNIT_BYTES;
            status = move_block(engine, number, error);
            if (status == TERN_OK && hash_wants_flush(engine)) {
                status = hash_flush(engine, error);
            }
        }
        if (status == TERN_OK) {
            status = hash_flush(engine, error);
        }
    }
    engine->drain.compacted_bytes += done;
    if (status != TERN_OK) {
        hash_abandon_moves(engine);
    }
    return status;
}

tern_status hash_compact_step(struct engine *base, size_t quantum_bytes,
                              enum engine_drain_state *out_state, tern_error *error) {
    struct hash_engine *engine = hash_of(base);
    struct hash_drain *drain = &engine->drain;
    bool more = false;
    if (engine->is_sealed || engine->has_finished) {
        *out_state = ENGINE_DRAIN_SLICE;
        return TERN_OK;
    }
    if (!drain->is_compacting) {
        drain->is_compacting = true;
        drain->mends = 0;
        drain->has_moved_cold = false;
        drain->compact_passes = 0;
        drain->compacted_bytes = 0;
        drain->compact_budget = BUDGET_FACTOR * atomic_load(&engine->base.block_bytes);
    }
    /* A drain may be half way: what it gathered is linked before. */
    tern_status status = hash_flush(engine, error);
    if (status != TERN_OK) {
        hash_rewind(engine);
    } else if (atomic_load_explicit(&engine->cold.has_damaged, memory_order_relaxed)) {
        status = hash_mend(engine, error);
    }
    if (drain->memory != NULL && drain->phase == DRAIN_RANGES) {
        drain->segment = drain->block = 0; /* records move to where the walk has been */
    }
    if (status == TERN_OK && hash_wants_pour(engine)) {
        *out_state = ENGINE_DRAIN_MORE;
        return hash_pour_step(engine, quantum_bytes, error);
    }
    uint64_t before = drain->compacted_bytes;
    if (status == TERN_OK && drain->compact_budget > 0) {
        status = hash_collect_garbage(engine, quantum_bytes, true, &more, error);
    }
    if (status != TERN_OK) {
        status = hash_mend_after(engine, status, error);
        if (status == TERN_OK) {
            *out_state = ENGINE_DRAIN_MORE;
        }
        return status;
    }
    uint64_t done = drain->compacted_bytes - before;
    drain->compact_budget -= done < drain->compact_budget ? done : drain->compact_budget;
    if (more && drain->compacted_bytes < SLICE_BYTES_MAX &&
        drain->compacted_bytes < atomic_load(&engine->base.block_bytes)) {
        *out_state = ENGINE_DRAIN_MORE;
        return TERN_OK;
    }
    if (drain->compacted_bytes > 0) {
        drain->compact_passes++;
        drain->compacted_bytes = 0;
        *out_state = ENGINE_DRAIN_SLICE;
        return TERN_OK;
    }
    if (!drain->has_moved_cold &&
        hash_cold_reaches_behind(&engine->cold, packed_end(&engine->base) + 1)) {
        /* It would keep the file from shrinking. */
        drain->has_moved_cold = true;
        *out_state = ENGINE_DRAIN_MORE;
        return hash_pour_step(engine, quantum_bytes, error);
    }
    drain->is_compacting = false;
    if (drain->memory == NULL) {
        hash_drain_rest(engine);
    }
    *out_state = ENGINE_DRAIN_IDLE;
    return TERN_OK;
}
