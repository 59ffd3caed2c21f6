/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging. The inputs become a version of their own, and a raw cursor over it gives one record a
 * key. A delete stays as long as anything older may hold its key; operand lists are finished where
 * nothing does. Values stored apart are referred to as before, or copied when their file is mostly
 * garbage.
 */
#include "engine/lsm/compaction.h"

#include <stdlib.h>

#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/drain.h"
#include "engine/lsm/file_registry.h"
#include "engine/lsm/lsm_cursor.h"
#include "engine/lsm/operand_list.h"

#define KEY_WORK_BYTES 32u
/* A step does at least this much, however little was asked for. */
#define QUANTUM_BYTES_MIN ((size_t)64 << 10)
/* Values leave a file of which less than this part is still referred to. */
#define VALUES_LIVE_PERCENT 60u

static int compare_ranges(const void *left, const void *right) {
    return slice_compare(((const struct lsm_range *)left)->begin,
                         ((const struct lsm_range *)right)->begin);
}

/* The range deletes of all inputs as one disjoint list, if there is anything older. */
static tern_status prepare_ranges(struct compaction *compaction, uint32_t *out_count,
                                  tern_error *error) {
    const struct lsm_version *inputs = compaction->inputs;
    size_t count = 0;
    uint32_t joined = 0;
    *out_count = 0;
    for (uint32_t i = 0; i < inputs->run_count; i++) {
        count += inputs->runs[i].range_count;
    }
    if (count == 0 || compaction->plan->first_older_run >= compaction->version->run_count) {
        return TERN_OK;
    }
    struct lsm_range *ranges =
        memory_allocate(lsm_allocator(compaction->lsm), count * sizeof(ranges[0]));
    if (ranges == NULL) {
        return ERROR_NO_MEMORY(error, "range deletes");
    }
    count = 0;
    for (uint32_t i = 0; i < inputs->run_count; i++) {
        const struct lsm_run *run = &inputs->runs[i];
        memcpy(&ranges[count], run->ranges, run->range_count * sizeof(ranges[0]));
        count += run->range_count;
    }
    qsort(ranges, count, sizeof(ranges[0]), compare_ranges);
    for (size_t i = 0; i < count; i++) {
        struct lsm_range *last = joined > 0 ? &ranges[joined - 1] : NULL;
        if (last != NULL && (!last->has_end || slice_compare(ranges[i].begin, last->end) <= 0)) {
            if (last->has_end &&
                (!ranges[i].has_end || slice_compare(ranges[i].end, last->end) > 0)) {
                last->end = ranges[i].end;
                last->has_end = ranges[i].has_end;
            }
        } else {
            ranges[joined++] = ranges[i];
        }
    }
    compaction->ranges = ranges;
    *out_count = joined;
    return TERN_OK;
}

static bool is_input(const struct compaction_plan *plan, const struct lsm_table *table) {
    for (uint32_t i = 0; i < plan->input_count; i++) {
        if (plan->inputs[i] == table) {
            return true;
        }
    }
    return false;
}

/* Tables that are newer than the inputs, or beside them, may hold operands. */
static bool has_newer_operands(const struct lsm_version *version,
                               const struct compaction_plan *plan) {
    for (uint32_t i = 0; i < plan->first_older_run; i++) {
        const struct lsm_run *run = &version->runs[i];
        for (uint32_t j = 0; j < run->count; j++) {
            if (run->tables[j]->numbers.merges > 0 && !is_input(plan, run->tables[j])) {
                return true;
            }
        }
    }
    return false;
}

tern_status compaction_start(struct lsm_version *version, struct compaction_plan *plan,
                             struct compaction **out_compaction, tern_error *error) {
    struct lsm *lsm = version->lsm;
    uint64_t age_seq = 0;
    uint32_t range_count = 0;
    struct compaction *compaction = memory_allocate_zeroed(lsm_allocator(lsm), sizeof(*compaction));
    if (compaction == NULL) {
        compaction_plan_destroy(lsm, plan);
        return ERROR_NO_MEMORY(error, "a compaction");
    }
    compaction->lsm = lsm;
    compaction->plan = plan;
    compaction->version = version;
    version_retain(version);
    engine_scratch_init(&compaction->scratch, lsm_allocator(lsm));
    tern_status status =
        version_build(lsm, plan->shapes, plan->run_count, plan->inputs, version->complete_seq,
                      version->base_time_ms, &compaction->inputs, error);
    if (status == TERN_OK) {
        status = prepare_ranges(compaction, &range_count, error);
    }
    for (uint32_t i = 0; i < plan->input_count; i++) {
        uint64_t age = plan->inputs[i]->numbers.age_seq;
        age_seq = age > age_seq ? age : age_seq;
    }
    output_init(&compaction->output, lsm, plan->level, version_table_bytes(version), age_seq,
                compaction->ranges, range_count);
    if (status == TERN_OK && !plan->is_move && !plan->is_drop) {
        status = lsm_cursor_open_raw(compaction->inputs, version->base_time_ms, &compaction->cursor,
                                     error);
    }
    compaction->keeps_expired = has_newer_operands(version, plan);
    compaction->is_done = plan->is_move || plan->is_drop;
    if (status != TERN_OK) {
        compaction_destroy(compaction);
        return status;
    }
    *out_compaction = compaction;
    return TERN_OK;
}

void compaction_destroy(struct compaction *compaction) {
    if (compaction == NULL) {
        return;
    }
    const tern_allocator *allocator = lsm_allocator(compaction->lsm);
    struct lsm *lsm = compaction->lsm;
    if (compaction->cursor != NULL) {
        compaction->cursor->methods->close(compaction->cursor);
    }
    output_release(&compaction->output);
    engine_scratch_release(&compaction->scratch);
    memory_release(allocator, compaction->ranges);
    version_release(compaction->inputs);
    version_release(compaction->version);
    compaction_plan_destroy(lsm, compaction->plan);
    memory_release(allocator, compaction);
}

/* ---- records ---- */

/* Operands of a key that nothing in the inputs completes. */
static tern_status add_operands(struct compaction *compaction, tern_slice key,
                                struct record *record, bool is_below, tern_error *error) {
    if (is_below && record->value.size <= lsm_inline_bytes_max(compaction->lsm) &&
        operand_list_count(record->value) <= OPERAND_LIST_MAX) {
        return TERN_OK; /* as it is */
    }
    struct resolution resolution;
    resolution_init(&resolution, lsm_allocator(compaction->lsm));
    tern_status status = table_add_record(&resolution, record, NULL, error);
    if (status != TERN_OK) {
        resolution_release(&resolution);
        return status;
    }
    return lsm_fold_below(compaction->version, compaction->plan->first_older_run, key, &resolution,
                          compaction->version->base_time_ms, &compaction->scratch, record, error);
}

static bool is_mostly_garbage(const struct compaction *compaction, tern_slice bytes) {
    struct value_reference reference;
    if (value_reference_decode(bytes, &reference, NULL) != TERN_OK) {
        return false;
    }
    uint64_t all = file_registry_file_bytes(compaction->lsm->files, reference.number);
    const struct value_use *use = version_use(compaction->version, reference.number);
    uint64_t live = use != NULL ? use->bytes : 0;
    return live < all / 100 * VALUES_LIVE_PERCENT;
}

/*
 * What stands for a value that has expired. Operands in newer tables that were committed before its
 * expiry go with it, so as long as there may be any, they must find when that was.
 */
static void replace_expired(const struct compaction *compaction, struct record *record) {
    *record = (struct record){.kind = compaction->keeps_expired ? RECORD_PUT : RECORD_DELETE,
                              .expires_ms = compaction->keeps_expired ? record->expires_ms : 0};
}

static tern_status merge_record(struct compaction *compaction, tern_error *error) {
    struct base_cursor *cursor = compaction->cursor;
    tern_slice key = cursor->methods->key(cursor);
    struct record record;
    cursor->methods->record(cursor, &record);
    compaction->work_bytes += key.size + record.value.size + KEY_WORK_BYTES;
    if (record.kind == RECORD_MERGE) {
        bool is_below =
            version_may_hold(compaction->version, compaction->plan->first_older_run, key);
        tern_status status = add_operands(compaction, key, &record, is_below, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    if ((record.kind == RECORD_PUT || record.kind == RECORD_LARGE) &&
        record_has_expired(&record, compaction->version->base_time_ms)) {
        replace_expired(compaction, &record);
    }
    if (record.kind == RECORD_DELETE &&
        !version_may_hold(compaction->version, compaction->plan->first_older_run, key)) {
        return TERN_OK;
    }
    if (record.kind == RECORD_LARGE && is_mostly_garbage(compaction, record.value)) {
        compaction->work_bytes += record.value_size;
        return output_add_copy(&compaction->output, compaction->lsm, key, &record, error);
    }
    return output_add(&compaction->output, key, &record, error);
}

/* Bytes of tables and of values apart so far. */
static uint64_t bytes_written(const struct compaction *compaction) {
    const struct lsm_output *output = &compaction->output;
    return output->written_bytes +
           (output->writer != NULL ? table_writer_bytes(output->writer) : 0);
}

/* A rate limit goes by this, so it is told as it happens. */
static void tell_written(const struct compaction *compaction, uint64_t before) {
    _Atomic uint64_t *told = compaction->lsm->environment->compacted_bytes;
    uint64_t now = bytes_written(compaction);
    if (told != NULL && now > before) {
        atomic_fetch_add_explicit(told, now - before, memory_order_relaxed);
    }
}

tern_status compaction_run(struct compaction *compaction, size_t quantum_bytes, tern_error *error) {
    struct base_cursor *cursor = compaction->cursor;
    tern_status status = TERN_OK;
    if (compaction->is_done) {
        return TERN_OK;
    }
    uint64_t before = bytes_written(compaction);
    compaction->work_bytes = 0;
    quantum_bytes = quantum_bytes > QUANTUM_BYTES_MIN ? quantum_bytes : QUANTUM_BYTES_MIN;
    if (!compaction->has_begun) {
        status = cursor->methods->seek(cursor, NULL, false, error);
        compaction->has_begun = true;
    }
    while (status == TERN_OK && compaction->work_bytes < quantum_bytes) {
        status = merge_record(compaction, error);
        if (status == TERN_OK) {
            status = cursor->methods->next(cursor, error);
        } else if (status == TERN_NOT_FOUND) {
            status = TERN_CORRUPTION;
        }
    }
    if (status == TERN_NOT_FOUND) {
        status = output_finish(&compaction->output, error);
        compaction->is_done = status == TERN_OK;
    }
    tell_written(compaction, before);
    return status;
}

void compaction_edit(const struct compaction *compaction, const struct lsm_version *current,
                     struct version_edit *out_edit) {
    const struct compaction_plan *plan = compaction->plan;
    *out_edit = (struct version_edit){.removed = plan->inputs,
                                      .removed_count = plan->input_count,
                                      .added = compaction->output.tables,
                                      .added_count = compaction->output.table_count,
                                      .level = plan->level,
                                      .joins_run = plan->joins_run,
                                      .takes_place = plan->takes_place,
                                      .complete_seq = current->complete_seq,
                                      .base_time_ms = current->base_time_ms};
    if (plan->is_move) {
        out_edit->added = plan->inputs;
        out_edit->added_count = plan->input_count;
    }
}
