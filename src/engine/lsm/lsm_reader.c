/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a view: the overlays first, then the runs from newest to oldest, then what expiry and
 * merge operands make of it.
 *
 * Batches go through each run together, in three passes: filters, index blocks, data blocks; what
 * the next pass touches is fetched ahead by the one before.
 */
#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/data_block.h"
#include "engine/lsm/filter_block.h"
#include "engine/lsm/index_block.h"
#include "engine/lsm/lsm_cursor.h"
#include "engine/lsm/lsm_engine_internal.h"

/* Keys of a batch that are searched together. */
#define BATCH 32u

static tern_status no_memory(tern_status status, tern_error *error) {
    if (status == TERN_NO_MEMORY) {
        return ERROR_NO_MEMORY(error, "reading a key");
    }
    return status;
}

tern_status lsm_get(struct engine_view *engine_view, tern_slice key, uint64_t key_hash,
                    const struct engine_moment *moment, struct engine_scratch *scratch,
                    struct engine_result *out_result, tern_error *error) {
    struct lsm_view *view = lsm_view_of(engine_view);
    struct lsm *lsm = &lsm_of(engine_view->engine)->lsm;
    struct resolution resolution;
    resolution_init(&resolution, lsm_allocator(lsm));
    tern_status status = TERN_OK;
    if (!overlay_stack_misses(&view->stack, key, key_hash)) {
        status = no_memory(
            overlay_stack_lookup(&view->stack, key, key_hash, moment->seq, &resolution), error);
    }
    if (status == TERN_OK && !resolution.is_complete) {
        status = version_lookup(view->version, 0, key, key_hash, &resolution, error);
    }
    if (status != TERN_OK) {
        resolution_release(&resolution);
        return status;
    }
    return resolution_finish(&resolution, moment->time_ms, scratch, lsm_value_load, lsm, out_result,
                             error);
}

/* ---- batches ---- */

/* One key of a group on its way through a run. */
struct probe {
    struct engine_get *get;
    struct resolution *resolution;
    struct lsm_table *table; /* NULL: not in this run */
    uint64_t key_hash;
    uint32_t partition;
    uint32_t block;
    struct lsm_ref ref;
    struct cache_frame *frame;
};

static bool is_open(const struct probe *probe) {
    return probe->get->status == TERN_OK && !probe->resolution->is_complete;
}

static void find_partitions(const struct lsm_run *run, struct probe *probes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct probe *probe = &probes[i];
        probe->table = is_open(probe) ? run_table(run, probe->get->key) : NULL;
        if (probe->table == NULL) {
            continue;
        }
        probe->partition = key_directory_find(&probe->table->directory, probe->get->key);
        if (probe->partition == UINT32_MAX) {
            probe->table = NULL;
            continue;
        }
        if (!partition_has_filter(&probe->table->partitions[probe->partition])) {
            continue;
        }
        const void *hinted = table_filter_hinted(probe->table, probe->partition);
        if (hinted != NULL) {
            __builtin_prefetch(hinted);
            __builtin_prefetch((const uint8_t *)hinted + 16);
        }
    }
}

static void probe_filters(struct probe *probes, size_t count, tern_error *error) {
    for (size_t i = 0; i < count; i++) {
        struct probe *probe = &probes[i];
        if (probe->table == NULL) {
            continue;
        }
        probe->key_hash = table_key_hash(probe->table, probe->get->key, probe->get->key_hash);
        probe->frame = NULL;
        if (!partition_has_filter(&probe->table->partitions[probe->partition])) {
            continue;
        }
        probe->get->status =
            table_filter_frame(probe->table, probe->partition, &probe->frame, error);
        if (probe->get->status != TERN_OK) {
            probe->table = NULL;
            continue;
        }
        __builtin_prefetch(filter_line(frame_payload(probe->frame), probe->key_hash));
    }
    for (size_t i = 0; i < count; i++) {
        struct probe *probe = &probes[i];
        if (probe->table != NULL && probe->frame != NULL &&
            !bloom_line_may_contain(filter_line(frame_payload(probe->frame), probe->key_hash),
                                    probe->key_hash)) {
            probe->table = NULL;
        }
    }
}

static void find_blocks(struct probe *probes, size_t count, tern_error *error) {
    for (size_t i = 0; i < count; i++) {
        struct probe *probe = &probes[i];
        if (probe->table == NULL) {
            continue;
        }
        probe->get->status =
            table_index_frame(probe->table, probe->partition, &probe->frame, error);
        if (probe->get->status != TERN_OK) {
            probe->table = NULL;
            continue;
        }
        const struct table_partition *partition = &probe->table->partitions[probe->partition];
        uint32_t index = index_block_find(frame_payload(probe->frame), probe->get->key);
        if (index >= partition->block_count) {
            probe->get->status = ERROR_SET(error, TERN_CORRUPTION,
                                           "index.count: table %llu disagrees with its meta block",
                                           (unsigned long long)probe->table->number);
            probe->table = NULL;
            continue;
        }
        probe->ref = index_block_ref(frame_payload(probe->frame), index);
        probe->block = partition->first_block + index;
        table_data_prefetch(probe->table, probe->block, probe->ref);
    }
}

static void find_records(struct probe *probes, size_t count, tern_error *error) {
    for (size_t i = 0; i < count; i++) {
        struct probe *probe = &probes[i];
        if (probe->table == NULL) {
            continue;
        }
        probe->get->status =
            table_data_frame(probe->table, probe->block, probe->ref, &probe->frame, error);
        if (probe->get->status != TERN_OK) {
            probe->table = NULL;
            continue;
        }
        data_block_prefetch(frame_payload(probe->frame), probe->key_hash);
    }
    for (size_t i = 0; i < count; i++) {
        struct probe *probe = &probes[i];
        struct record record;
        if (probe->table != NULL && data_block_find(frame_payload(probe->frame), probe->get->key,
                                                    probe->key_hash, &record)) {
            probe->get->status = table_add_record(probe->resolution, &record, probe->frame, error);
        }
    }
}

static void apply_ranges(const struct lsm_run *run, struct probe *probes, size_t count,
                         tern_error *error) {
    const struct record gone = {.kind = RECORD_DELETE};
    for (size_t i = 0; run->range_count > 0 && i < count; i++) {
        if (is_open(&probes[i]) && run_range(run, probes[i].get->key) != NULL) {
            probes[i].get->status = table_add_record(probes[i].resolution, &gone, NULL, error);
        }
    }
}

/* One group of a batch, at most BATCH keys. */
static void get_group(struct lsm_view *view, struct engine_get *gets, size_t count,
                      const struct engine_moment *moment, struct resolution *resolutions,
                      tern_error *error) {
    const struct lsm_version *version = view->version;
    struct probe probes[BATCH];
    for (size_t i = 0; i < count; i++) {
        struct engine_get *get = &gets[i];
        resolution_init(&resolutions[i], lsm_allocator(version->lsm));
        get->status = TERN_OK;
        if (!overlay_stack_misses(&view->stack, get->key, get->key_hash)) {
            get->status = no_memory(overlay_stack_lookup(&view->stack, get->key, get->key_hash,
                                                         moment->seq, &resolutions[i]),
                                    error);
        }
        probes[i] = (struct probe){.get = get, .resolution = &resolutions[i]};
    }
    for (uint32_t i = 0; i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        find_partitions(run, probes, count);
        probe_filters(probes, count, error);
        find_blocks(probes, count, error);
        find_records(probes, count, error);
        apply_ranges(run, probes, count, error);
    }
}

tern_status lsm_multi_get(struct engine_view *engine_view, struct engine_get *gets, size_t count,
                          const struct engine_moment *moment, struct engine_scratch *scratch,
                          void (*on_result)(void *context, size_t index), void *context,
                          tern_error *error) {
    struct lsm_view *view = lsm_view_of(engine_view);
    struct lsm *lsm = &lsm_of(engine_view->engine)->lsm;
    struct resolution resolutions[BATCH];
    for (size_t first = 0; first < count; first += BATCH) {
        size_t group = count - first < BATCH ? count - first : BATCH;
        for (size_t i = 0; i < group; i++) {
            overlay_prefetch_filter(view->stack.active->overlay, gets[first + i].key_hash);
        }
        get_group(view, gets + first, group, moment, resolutions, error);
        for (size_t i = 0; i < group; i++) {
            struct engine_get *get = &gets[first + i];
            if (get->status == TERN_OK) {
                get->status = resolution_finish(&resolutions[i], moment->time_ms, scratch,
                                                lsm_value_load, lsm, &get->result, error);
            } else {
                resolution_release(&resolutions[i]);
            }
            on_result(context, first + i);
        }
    }
    return TERN_OK;
}

void lsm_pin(struct engine_view *view, const struct engine_result *result) {
    (void)view;
    if (result->source == ENGINE_SOURCE_FRAME && result->frame != NULL) {
        cache_pin(result->frame);
    }
}

void lsm_unpin(struct engine_view *view, void *frame) {
    (void)view;
    if (frame != NULL) {
        cache_unpin(frame);
    }
}

/* ---- cursors ---- */

tern_status lsm_engine_cursor_open(struct engine_view *engine_view,
                                   const struct engine_moment *moment,
                                   const struct engine_cursor_bounds *bounds, bool keys_only,
                                   struct engine_cursor **out_cursor, tern_error *error) {
    struct lsm_view *view = lsm_view_of(engine_view);
    struct lsm *lsm = &lsm_of(engine_view->engine)->lsm;
    struct base_cursor *base = NULL;
    tern_status status = TERN_OK;
    if (view->version->run_count > 0) {
        status = lsm_cursor_open(view->version, moment->time_ms, false, &base, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    const struct merge_cursor_options options = {
        .allocator = lsm_allocator(lsm),
        .epoch = lsm->environment->epoch,
        .stack = &view->stack,
        .base = base,
        .moment = *moment,
        .bounds = *bounds,
        .keys_only = keys_only,
        .read_large = lsm_value_load,
        .large_context = lsm,
    };
    return merge_cursor_open(&options, out_cursor, error);
}

bool lsm_changed_since(struct engine_view *engine_view, const struct engine_cursor_bounds *bounds,
                       seq_no since) {
    const struct lsm_view *view = lsm_view_of(engine_view);
    const struct overlay_stack *stack = &view->stack;
    if (since < view->version->complete_seq ||
        overlay_changed_since(stack->active->overlay, bounds, since)) {
        return true;
    }
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        if (overlay_changed_since(stack->frozen[i]->overlay, bounds, since)) {
            return true;
        }
    }
    return false;
}
