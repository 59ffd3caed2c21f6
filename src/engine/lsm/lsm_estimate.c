/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Estimates. How many records of a run lie within bounds is known but for the blocks at the ends,
 * and there it is looked up. What runs and overlays have in common is found by sampling: of some
 * records of each, spread over the bounds, it is looked up whether something older has the key.
 */
#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/data_block.h"
#include "engine/lsm/index_block.h"
#include "engine/lsm/lsm_engine_internal.h"
#include "engine/lsm/run_cursor.h"

#define OVERLAY_SAMPLES 256u
#define WALK_MAX        200000u
#define BLOCK_SAMPLES   32u
#define ENTRY_SAMPLES   8u

/* What a source adds to what is older than it. */
struct sample_totals {
    double keys;    /* within bounds */
    double samples; /* of them looked at */
    double count;   /* of the samples: new keys less deleted ones */
    double bytes;
};

static uint64_t value_bytes(const struct resolution *resolution) {
    switch (resolution->terminal.kind) {
    case RECORD_PUT:
        return resolution->terminal.value.size;
    case RECORD_LARGE:
        return resolution->terminal.value_size;
    default:
        return resolution->operand_count > 0 ? resolution->inline_operands[0].value.size : 0;
    }
}

static bool has_value(const struct resolution *resolution) {
    return resolution->terminal.kind == RECORD_PUT || resolution->terminal.kind == RECORD_LARGE ||
           resolution->operand_count > 0;
}

/* Compares a key's newer versions with what the runs from `first_run` on have of it. */
static tern_status compare_with_older(struct lsm_version *version, uint32_t first_run,
                                      tern_slice key, const struct resolution *above,
                                      struct sample_totals *totals, tern_error *error) {
    struct resolution below;
    resolution_init(&below, lsm_allocator(version->lsm));
    tern_status status = version_lookup(
        version, first_run, key, key_hasher_hash(&version->lsm->config.hasher, key), &below, error);
    if (status == TERN_OK) {
        bool was_there = has_value(&below);
        bool is_there = has_value(above);
        totals->samples += 1;
        if (was_there && !is_there) {
            totals->count -= 1;
            totals->bytes -= (double)(key.size + value_bytes(&below));
        } else if (is_there && !was_there) {
            totals->count += 1;
            totals->bytes += (double)(key.size + value_bytes(above));
        }
    }
    resolution_release(&below);
    return status;
}

static bool is_inside(tern_slice key, const struct engine_cursor_bounds *bounds) {
    return (!bounds->has_begin || slice_compare(key, bounds->begin) >= 0) &&
           (!bounds->has_end || slice_compare(key, bounds->end) < 0);
}

/* ---- runs ---- */

/* Records of a table below the key. */
static tern_status rank_in_table(struct lsm_table *table, tern_slice key, double *out_rank,
                                 tern_error *error) {
    struct cache_frame *frame = NULL;
    uint32_t partition = key_directory_find(&table->directory, key);
    double rank = 0;
    *out_rank = 0;
    if (partition == UINT32_MAX) {
        return TERN_OK;
    }
    for (uint32_t i = 0; i < partition; i++) {
        rank += (double)table->partitions[i].records;
    }
    const struct table_partition *part = &table->partitions[partition];
    tern_status status = table_index_frame(table, partition, &frame, error);
    if (status == TERN_OK) {
        uint32_t index = index_block_find(frame_payload(frame), key);
        rank += (double)part->records * index / part->block_count;
        /* Within the block: half of it, but all when the key is above the table. */
        double share = slice_compare(key, table->last) > 0 ? 1.0 : 0.5;
        rank += share * (double)part->records / part->block_count;
        *out_rank = rank;
    }
    return status;
}

static tern_status rank_in_run(const struct lsm_run *run, tern_slice key, double *out_rank,
                               tern_error *error) {
    double rank = 0;
    tern_status status = TERN_OK;
    for (uint32_t i = 0; status == TERN_OK && i < run->count; i++) {
        struct lsm_table *table = run->tables[i];
        int order = table_compare_extent(table, key);
        double inside = 0;
        if (order > 0) {
            inside = (double)table->numbers.records;
        } else if (order == 0 && table->numbers.records > 0) {
            status = rank_in_table(table, key, &inside, error);
        }
        rank += inside;
        if (order < 0) {
            break;
        }
    }
    *out_rank = rank;
    return status;
}

static tern_status count_in_run(const struct lsm_run *run,
                                const struct engine_cursor_bounds *bounds, double *out_count,
                                tern_error *error) {
    double begin = 0;
    double end = (double)run->records;
    tern_status status = TERN_OK;
    if (bounds->has_begin) {
        status = rank_in_run(run, bounds->begin, &begin, error);
    }
    if (status == TERN_OK && bounds->has_end) {
        status = rank_in_run(run, bounds->end, &end, error);
    }
    *out_count = end > begin ? end - begin : 0;
    return status;
}

/* Some records of the block where the cursor stands. */
static tern_status sample_block(struct lsm_version *version, uint32_t run_index,
                                const struct run_cursor *cursor,
                                const struct engine_cursor_bounds *bounds,
                                struct sample_totals *totals, tern_error *error) {
    uint32_t stride = cursor->count / ENTRY_SAMPLES + 1;
    tern_status status = TERN_OK;
    for (uint32_t i = stride / 2; status == TERN_OK && i < cursor->count; i += stride) {
        const struct engine_entry *entry = &cursor->entries[i];
        struct resolution above;
        if (!is_inside(entry->key, bounds)) {
            continue;
        }
        resolution_init(&above, lsm_allocator(version->lsm));
        status = table_add_record(&above, &entry->record, NULL, error);
        if (status == TERN_OK) {
            status = compare_with_older(version, run_index + 1, entry->key, &above, totals, error);
        }
        resolution_release(&above);
    }
    return status;
}

/* The partition may hold keys within bounds. */
static bool touches(const struct lsm_table *table, uint32_t partition,
                    const struct engine_cursor_bounds *bounds) {
    tern_slice upper = partition + 1 < table->partition_count
                           ? table->partitions[partition + 1].lower
                           : table->last;
    return (!bounds->has_begin || slice_compare(upper, bounds->begin) >= 0) &&
           (!bounds->has_end || slice_compare(table->partitions[partition].lower, bounds->end) < 0);
}

static uint64_t blocks_in_bounds(const struct lsm_run *run,
                                 const struct engine_cursor_bounds *bounds) {
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < run->count; i++) {
        for (uint32_t j = 0; j < run->tables[i]->partition_count; j++) {
            blocks +=
                touches(run->tables[i], j, bounds) ? run->tables[i]->partitions[j].block_count : 0;
        }
    }
    return blocks;
}

static tern_status sample_run(struct lsm_version *version, uint32_t run_index,
                              const struct engine_cursor_bounds *bounds,
                              struct sample_totals *totals, tern_error *error) {
    const struct lsm_run *run = &version->runs[run_index];
    uint64_t stride = blocks_in_bounds(run, bounds) / BLOCK_SAMPLES + 1;
    uint64_t at = stride / 2;
    struct run_cursor cursor;
    run_cursor_init(&cursor, version->lsm, run->tables, run->count, false);
    tern_status status = count_in_run(run, bounds, &totals->keys, error);
    for (uint32_t i = 0; status == TERN_OK && i < run->count; i++) {
        const struct lsm_table *table = run->tables[i];
        for (uint32_t j = 0; status == TERN_OK && j < table->partition_count; j++) {
            uint32_t blocks = touches(table, j, bounds) ? table->partitions[j].block_count : 0;
            for (; status == TERN_OK && at < blocks; at += stride) {
                status = run_cursor_enter(&cursor, i, j, (uint32_t)at, error);
                if (status == TERN_OK) {
                    status = sample_block(version, run_index, &cursor, bounds, totals, error);
                }
            }
            at -= blocks;
        }
    }
    run_cursor_release(&cursor);
    return status;
}

/* ---- overlays ---- */

static tern_status sample_key(struct lsm_view *view, const struct overlay_iterator *keys,
                              struct sample_totals *totals, tern_error *error) {
    struct resolution above;
    resolution_init(&above, lsm_allocator(view->version->lsm));
    tern_status status = overlay_iterator_resolve(keys, SEQ_MAX, &above);
    if (status == TERN_NO_MEMORY) {
        status = ERROR_NO_MEMORY(error, "an estimate");
    }
    if (status == TERN_OK) {
        status =
            compare_with_older(view->version, 0, overlay_iterator_key(keys), &above, totals, error);
    }
    resolution_release(&above);
    return status;
}

static tern_status sample_overlay(struct lsm_view *view, const struct overlay *overlay,
                                  const struct engine_cursor_bounds *bounds,
                                  struct sample_totals *totals, tern_error *error) {
    struct overlay_iterator keys;
    uint64_t total = overlay_key_count(overlay);
    uint64_t stride = total / OVERLAY_SAMPLES + 1;
    uint64_t seen = 0;
    tern_status status = TERN_OK;
    overlay_iterator_init(&keys, overlay);
    bool stands = bounds->has_begin ? overlay_iterator_seek(&keys, bounds->begin, false, true)
                                    : overlay_iterator_first(&keys, false);
    while (stands && status == TERN_OK && is_inside(overlay_iterator_key(&keys), bounds)) {
        if (seen % stride == 0 || totals->samples < OVERLAY_SAMPLES / 8) {
            status = sample_key(view, &keys, totals, error);
        }
        seen++;
        if (seen == WALK_MAX && total > seen) {
            seen = total; /* the bounds hold more than can be counted here */
            break;
        }
        stands = overlay_iterator_next(&keys);
    }
    totals->keys = (double)seen;
    return status;
}

/* ---- the whole ---- */

static void add(const struct sample_totals *totals, double *count, double *bytes) {
    if (totals->samples > 0) {
        *count += totals->count * totals->keys / totals->samples;
        *bytes += totals->bytes * totals->keys / totals->samples;
        *count = *count > 0 ? *count : 0;
        *bytes = *bytes > 0 ? *bytes : 0;
    }
}

static tern_status estimate(struct lsm_view *view, const struct engine_cursor_bounds *bounds,
                            double *count, double *bytes, tern_error *error) {
    const struct overlay_stack *stack = &view->stack;
    struct lsm_version *version = view->version;
    tern_status status = TERN_OK;
    for (uint32_t i = version->run_count; status == TERN_OK && i-- > 0;) {
        struct sample_totals totals = {0};
        status = sample_run(version, i, bounds, &totals, error);
        add(&totals, count, bytes);
    }
    for (uint32_t i = 0; status == TERN_OK && i <= stack->frozen_count; i++) {
        const struct shared_overlay *overlay = i == 0 ? stack->active : stack->frozen[i - 1];
        struct sample_totals totals = {0};
        status = sample_overlay(view, overlay->overlay, bounds, &totals, error);
        add(&totals, count, bytes);
    }
    return status;
}

tern_status lsm_estimate(struct engine_view *engine_view, const struct engine_cursor_bounds *bounds,
                         uint64_t *out_count, uint64_t *out_bytes, tern_error *error) {
    struct lsm *lsm = &lsm_of(engine_view->engine)->lsm;
    double count = 0;
    double bytes = 0;
    struct epoch_slot *slot = epoch_enter(lsm->environment->epoch);
    tern_status status = estimate(lsm_view_of(engine_view), bounds, &count, &bytes, error);
    epoch_exit(slot);
    if (status == TERN_OK) {
        *out_count = (uint64_t)(count + 0.5);
        *out_bytes = (uint64_t)(bytes + 0.5);
    }
    return status;
}
