/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each key of the overlay becomes one record: a value, a delete, or a list of operands. What lies
 * below is read only where a list would be long, or was folded in memory already (then it cannot be
 * taken apart again if a value below expires between its operands).
 *
 * Values stored apart: every version in the overlay but the one that is written is garbage once the
 * drain is published; views before that still read it.
 */
#include "engine/lsm/drain.h"

#include <stdlib.h>

#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/operand_list.h"

#define KEY_OVERHEAD 16u
/* Work that a key counts for at least, in bytes, so that a step ends. */
#define KEY_WORK_BYTES 64u
/* A step does at least this much, however little was asked for. */
#define QUANTUM_BYTES_MIN ((size_t)64 << 10)

static int compare_ranges(const void *left, const void *right) {
    return slice_compare(((const struct lsm_range *)left)->begin,
                         ((const struct lsm_range *)right)->begin);
}

/* Joins the overlay's range deletes into disjoint ones. They end with what they are for: without
 * anything older there is nothing to delete. */
static tern_status prepare_ranges(struct lsm_drain *drain, tern_error *error) {
    const struct overlay_range *source;
    struct overlay_range_walk walk;
    size_t count = overlay_range_count(drain->source->overlay);
    if (count == 0 || drain->below->run_count == 0) {
        return TERN_OK;
    }
    drain->ranges = memory_allocate(lsm_allocator(drain->lsm), count * sizeof(drain->ranges[0]));
    if (drain->ranges == NULL) {
        return ERROR_NO_MEMORY(error, "range deletes");
    }
    struct lsm_range *ranges = drain->ranges;
    size_t kept = 0;
    overlay_range_walk_begin(drain->source->overlay, &walk);
    while ((source = overlay_range_walk_next(&walk)) != NULL) {
        if (source->seq <= drain->source->frozen_seq) {
            ranges[kept++] = (struct lsm_range){source->begin, source->end, source->has_end};
        }
    }
    qsort(ranges, kept, sizeof(ranges[0]), compare_ranges);
    for (size_t i = 0; i < kept; i++) {
        struct lsm_range *last = drain->range_count > 0 ? &ranges[drain->range_count - 1] : NULL;
        if (ranges[i].has_end && slice_compare(ranges[i].begin, ranges[i].end) >= 0) {
            continue;
        }
        if (last != NULL && (!last->has_end || slice_compare(ranges[i].begin, last->end) <= 0)) {
            if (last->has_end &&
                (!ranges[i].has_end || slice_compare(ranges[i].end, last->end) > 0)) {
                last->end = ranges[i].end;
                last->has_end = ranges[i].has_end;
            }
        } else {
            ranges[drain->range_count++] = ranges[i];
        }
    }
    return TERN_OK;
}

tern_status lsm_drain_start(struct lsm *lsm, struct shared_overlay *source,
                            struct lsm_version *below, struct lsm_drain **out_drain,
                            tern_error *error) {
    struct lsm_drain *drain = memory_allocate_zeroed(lsm_allocator(lsm), sizeof(*drain));
    if (drain == NULL) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    drain->lsm = lsm;
    drain->source = source;
    drain->below = below;
    shared_overlay_retain(source);
    version_retain(below);
    engine_scratch_init(&drain->scratch, lsm_allocator(lsm));
    buffer_init(&drain->garbage, lsm_allocator(lsm));
    tern_status status = prepare_ranges(drain, error);
    output_init(&drain->output, lsm, 0, version_table_bytes(below), source->frozen_seq,
                drain->ranges, drain->range_count);
    overlay_iterator_init(&drain->keys, source->overlay);
    (void)overlay_iterator_first(&drain->keys, false);
    if (status != TERN_OK) {
        lsm_drain_destroy(drain);
        return status;
    }
    *out_drain = drain;
    return TERN_OK;
}

void lsm_drain_destroy(struct lsm_drain *drain) {
    if (drain == NULL) {
        return;
    }
    const tern_allocator *allocator = lsm_allocator(drain->lsm);
    output_release(&drain->output);
    engine_scratch_release(&drain->scratch);
    buffer_release(&drain->garbage);
    memory_release(allocator, drain->ranges);
    shared_overlay_release(allocator, drain->source);
    version_release(drain->below);
    memory_release(allocator, drain);
}

/* ---- merges ---- */

tern_status lsm_fold_below(struct lsm_version *below, uint32_t first_run, tern_slice key,
                           struct resolution *resolution, uint64_t time_ms,
                           struct engine_scratch *scratch, struct record *out_record,
                           tern_error *error) {
    struct lsm *lsm = below->lsm;
    struct engine_result result = {0};
    struct epoch_slot *slot = epoch_enter(lsm->environment->epoch);
    tern_status status = version_lookup(
        below, first_run, key, key_hasher_hash(&lsm->config.hasher, key), resolution, error);
    if (status == TERN_OK) {
        status =
            resolution_finish(resolution, time_ms, scratch, lsm_value_load, lsm, &result, error);
    } else {
        resolution_release(resolution);
    }
    epoch_exit(slot);
    if (status == TERN_OK) {
        /* With operands the result lies in the scratch. */
        *out_record = result.record;
        if (result.record.kind == RECORD_NONE) {
            uint64_t expires_ms = resolution->terminal.expires_ms;
            *out_record = (struct record){.kind = expires_ms != 0 ? RECORD_PUT : RECORD_DELETE,
                                          .expires_ms = expires_ms};
        }
    }
    return status;
}

/* A key without a terminal version in the overlay. */
static tern_status write_operands(struct lsm_drain *drain, tern_slice key,
                                  struct resolution *resolution, struct record *out_record,
                                  tern_error *error) {
    bool can_list = resolution->pile_count == 0 &&
                    resolution->operand_count <= RESOLUTION_INLINE_OPERANDS &&
                    version_may_hold(drain->below, 0, key);
    size_t bytes = 0;
    for (size_t i = 0; can_list && i < resolution->operand_count; i++) {
        bytes += resolution->inline_operands[i].value.size + KEY_OVERHEAD;
    }
    tern_status status = TERN_OK;
    if (!can_list || bytes > lsm_inline_bytes_max(drain->lsm)) {
        uint64_t time_ms = drain->source->frozen_time_ms;
        status = lsm_fold_below(drain->below, 0, key, resolution, time_ms, &drain->scratch,
                                out_record, error);
        if (status == TERN_OK && record_has_expired(out_record, time_ms)) {
            /* Whatever is committed from now on comes after the expiry. */
            *out_record = (struct record){.kind = RECORD_DELETE};
        }
        return status;
    }
    status = operand_list_encode(resolution, &drain->scratch.value);
    resolution_release(resolution);
    *out_record =
        (struct record){.kind = RECORD_MERGE, .value = buffer_slice(&drain->scratch.value)};
    return status == TERN_OK ? TERN_OK : ERROR_NO_MEMORY(error, "merge operands");
}

/* ---- values that go ---- */

struct garbage_visit {
    struct lsm_drain *drain;
    tern_status status;
    tern_error *error;
};

static void visit_garbage(void *context, tern_slice bytes) {
    struct garbage_visit *visit = context;
    struct value_reference reference;
    if (visit->status != TERN_OK) {
        return;
    }
    visit->status = value_reference_decode(bytes, &reference, visit->error);
    if (visit->status == TERN_OK && buffer_append(&visit->drain->garbage, &reference.number,
                                                  sizeof(reference.number)) != TERN_OK) {
        visit->status = ERROR_NO_MEMORY(visit->error, "a drain");
    }
}

/* The newest value stored apart that lies below the range deletes over the current key. */
static tern_status find_covered(struct lsm_drain *drain, struct record *out_record,
                                tern_error *error) {
    const struct overlay *overlay = drain->source->overlay;
    tern_slice key = overlay_iterator_key(&drain->keys);
    out_record->kind = RECORD_NONE;
    seq_no seq = overlay_range_seq(overlay, key, drain->source->frozen_seq);
    while (seq != SEQ_NONE) {
        struct resolution resolution;
        resolution_init(&resolution, lsm_allocator(drain->lsm));
        tern_status status = overlay_iterator_resolve(&drain->keys, seq - 1, &resolution);
        struct record terminal = resolution.terminal;
        bool is_complete = resolution.is_complete;
        resolution_release(&resolution);
        if (status == TERN_NO_MEMORY) {
            return ERROR_NO_MEMORY(error, "a drain");
        }
        if (status != TERN_OK || !is_complete || terminal.kind == RECORD_PUT) {
            return TERN_OK;
        }
        if (terminal.kind == RECORD_LARGE) {
            *out_record = terminal;
            return TERN_OK;
        }
        seq = overlay_range_seq(overlay, key, seq - 1);
    }
    return TERN_OK;
}

/* Notes values that no version of the key needs any more; a file may be noted twice. */
static tern_status note_garbage(struct lsm_drain *drain, const struct record *terminal,
                                bool is_kept, tern_error *error) {
    struct garbage_visit visit = {.drain = drain, .error = error};
    struct record newest = {.kind = RECORD_NONE};
    if (terminal->kind == RECORD_LARGE) {
        newest = is_kept ? newest : *terminal;
    } else if (drain->ranges != NULL || terminal->kind == RECORD_DELETE) {
        tern_status status = find_covered(drain, &newest, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    overlay_iterator_garbage(&drain->keys, visit_garbage, &visit);
    if (newest.kind == RECORD_LARGE) {
        visit_garbage(&visit, newest.value);
    }
    return visit.status;
}

/* ---- keys ---- */

static tern_status merge_key(struct lsm_drain *drain, tern_error *error) {
    const struct shared_overlay *source = drain->source;
    struct resolution resolution;
    struct record record = {0};
    tern_slice key = overlay_iterator_key(&drain->keys);
    resolution_init(&resolution, lsm_allocator(drain->lsm));
    tern_status status = overlay_iterator_resolve(&drain->keys, source->frozen_seq, &resolution);
    if (status != TERN_OK) {
        resolution_release(&resolution);
        return ERROR_SET(error, status, "a drain could not resolve a key: %s",
                         tern_status_text(status));
    }
    const struct record terminal = resolution.terminal;
    if (resolution.is_complete) {
        struct engine_result result;
        status = resolution_finish(&resolution, source->frozen_time_ms, &drain->scratch,
                                   lsm_value_load, drain->lsm, &result, error);
        record = status == TERN_OK ? result.record : record;
        if (status == TERN_OK && record.kind == RECORD_NONE) {
            record.kind = RECORD_DELETE;
        }
    } else if (resolution.operand_count > 0) {
        status = write_operands(drain, key, &resolution, &record, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    /* A delete is written where there may be something to delete, unless a range delete does it. */
    bool is_written = record.kind != RECORD_NONE;
    if (record.kind == RECORD_DELETE) {
        is_written = version_may_hold(drain->below, 0, key) &&
                     (drain->range_count == 0 ||
                      overlay_range_seq(source->overlay, key, source->frozen_seq) == SEQ_NONE);
    }
    drain->output.written_bytes += KEY_WORK_BYTES;
    if (is_written) {
        status = output_add(&drain->output, key, &record, error);
    }
    bool is_kept = record.kind == RECORD_LARGE && record.value.data == terminal.value.data;
    return status == TERN_OK ? note_garbage(drain, &terminal, is_kept, error) : status;
}

static uint64_t work_done(const struct lsm_drain *drain) {
    const struct lsm_output *output = &drain->output;
    return output->written_bytes +
           (output->writer != NULL ? table_writer_bytes(output->writer) : 0);
}

tern_status lsm_drain_run(struct lsm_drain *drain, size_t quantum_bytes, tern_error *error) {
    uint64_t begin = work_done(drain);
    quantum_bytes = quantum_bytes > QUANTUM_BYTES_MIN ? quantum_bytes : QUANTUM_BYTES_MIN;
    tern_status status = TERN_OK;
    while (status == TERN_OK && overlay_iterator_is_valid(&drain->keys) &&
           work_done(drain) - begin < quantum_bytes) {
        status = merge_key(drain, error);
        if (status == TERN_OK) {
            drain->merged_keys++;
            (void)overlay_iterator_next(&drain->keys);
        }
    }
    if (status == TERN_OK && !overlay_iterator_is_valid(&drain->keys)) {
        status = output_finish(&drain->output, error);
        drain->is_done = status == TERN_OK;
    }
    return status;
}
