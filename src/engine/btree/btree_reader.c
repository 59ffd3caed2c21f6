/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a view: the overlays first, then the tree, then what expiry and merge operands make of
 * it. A key that no overlay's filter knows goes straight to the tree.
 */
#include "base/compare.h"
#include "base/error.h"
#include "engine/btree/btree_engine_internal.h"
#include "engine/btree/btree_value.h"

/* Keys of a batch that are searched together. */
#define BATCH 32u
/* Keys of an overlay that an estimate looks at. */
#define ESTIMATE_SAMPLES  256u
#define ESTIMATE_WALK_MAX 200000u

static tern_status no_memory(tern_status status, tern_error *error) {
    if (status == TERN_NO_MEMORY) {
        return ERROR_NO_MEMORY(error, "reading a key");
    }
    return status;
}

/* What is left to do when no overlay knows the key. */
static tern_status get_below(struct btree_view *view, struct btree *tree, tern_slice key,
                             uint64_t time_ms, struct engine_result *out_result,
                             tern_error *error) {
    tern_status status =
        btree_find(tree, view->root, key, &out_result->record, &out_result->frame, error);
    if (status != TERN_OK) {
        return status;
    }
    if (out_result->record.kind == RECORD_NONE ||
        record_has_expired(&out_result->record, time_ms)) {
        memset(out_result, 0, sizeof(*out_result));
    } else {
        out_result->source = btree_source_of(out_result->frame);
    }
    return status;
}

tern_status btree_get(struct engine_view *engine_view, tern_slice key, uint64_t key_hash,
                      const struct engine_moment *moment, struct engine_scratch *scratch,
                      struct engine_result *out_result, tern_error *error) {
    struct btree_view *view = btree_view_of(engine_view);
    struct btree *tree = &btree_of(engine_view->engine)->tree;
    if (overlay_stack_misses(&view->stack, key, key_hash)) {
        return get_below(view, tree, key, moment->time_ms, out_result, error);
    }
    struct resolution resolution;
    resolution_init(&resolution, tree->environment->allocator);
    tern_status status = no_memory(
        overlay_stack_lookup(&view->stack, key, key_hash, moment->seq, &resolution), error);
    if (status == TERN_OK && !resolution.is_complete) {
        status = btree_lookup(tree, view->root, key, &resolution, error);
    }
    if (status != TERN_OK) {
        resolution_release(&resolution);
        return status;
    }
    return resolution_finish(&resolution, moment->time_ms, scratch, btree_value_load, tree,
                             out_result, error);
}

/* One group of a batch, at most BATCH keys. */
static tern_status get_group(struct btree_view *view, struct engine_get *gets, size_t count,
                             size_t first, const struct engine_moment *moment,
                             struct engine_scratch *scratch,
                             void (*on_result)(void *context, size_t index), void *context,
                             tern_error *error) {
    struct btree *tree = &btree_of(view->head.engine)->tree;
    struct resolution resolutions[BATCH];
    struct btree_lookup_request requests[BATCH];
    for (size_t i = 0; i < count; i++) {
        struct engine_get *get = &gets[first + i];
        resolution_init(&resolutions[i], tree->environment->allocator);
        get->status = TERN_OK;
        if (!overlay_stack_misses(&view->stack, get->key, get->key_hash)) {
            get->status = no_memory(overlay_stack_lookup(&view->stack, get->key, get->key_hash,
                                                         moment->seq, &resolutions[i]),
                                    error);
        }
        requests[i] = (struct btree_lookup_request){.key = get->key,
                                                    .resolution = &resolutions[i],
                                                    .skip = resolutions[i].is_complete ||
                                                            get->status != TERN_OK};
    }
    tern_status status = btree_lookup_many(tree, view->root, requests, count, error);
    for (size_t i = 0; i < count; i++) {
        struct engine_get *get = &gets[first + i];
        if (get->status == TERN_OK && !requests[i].skip) {
            get->status = requests[i].status;
        }
        if (status == TERN_OK && get->status == TERN_OK) {
            get->status = resolution_finish(&resolutions[i], moment->time_ms, scratch,
                                            btree_value_load, tree, &get->result, error);
        } else {
            resolution_release(&resolutions[i]);
        }
        if (status == TERN_OK) {
            on_result(context, first + i);
        }
    }
    return status;
}

tern_status btree_multi_get(struct engine_view *view, struct engine_get *gets, size_t count,
                            const struct engine_moment *moment, struct engine_scratch *scratch,
                            void (*on_result)(void *context, size_t index), void *context,
                            tern_error *error) {
    const struct overlay_stack *stack = &btree_view_of(view)->stack;
    for (size_t first = 0; first < count; first += BATCH) {
        size_t group = count - first < BATCH ? count - first : BATCH;
        for (size_t i = 0; i < group; i++) {
            overlay_prefetch_filter(stack->active->overlay, gets[first + i].key_hash);
        }
        tern_status status = get_group(btree_view_of(view), gets, group, first, moment, scratch,
                                       on_result, context, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

void btree_pin(struct engine_view *view, const struct engine_result *result) {
    (void)view;
    if (result->source == ENGINE_SOURCE_FRAME && result->frame != NULL) {
        cache_pin(result->frame);
    }
}

void btree_unpin(struct engine_view *view, void *frame) {
    (void)view;
    if (frame != NULL) {
        cache_unpin(frame);
    }
}

/* ---- cursors ---- */

tern_status btree_engine_cursor_open(struct engine_view *engine_view,
                                     const struct engine_moment *moment,
                                     const struct engine_cursor_bounds *bounds, bool keys_only,
                                     struct engine_cursor **out_cursor, tern_error *error) {
    struct btree_view *view = btree_view_of(engine_view);
    struct btree *tree = &btree_of(engine_view->engine)->tree;
    struct base_cursor *base = NULL;
    tern_status status = TERN_OK;
    if (view->root->height > 0) {
        status = btree_cursor_open(tree, view->root, &base, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    const struct merge_cursor_options options = {
        .allocator = tree->environment->allocator,
        .epoch = tree->environment->epoch,
        .stack = &view->stack,
        .base = base,
        .moment = *moment,
        .bounds = *bounds,
        .keys_only = keys_only,
        .read_large = btree_value_load,
        .large_context = tree,
    };
    return merge_cursor_open(&options, out_cursor, error);
}

/* ---- estimates ---- */

/* What one overlay adds to the base. */
struct sample_totals {
    uint64_t keys;
    uint64_t samples;
    int64_t count; /* of the samples: new keys less deleted ones */
    int64_t bytes;
};

static bool is_inside(tern_slice key, const struct engine_cursor_bounds *bounds) {
    return !bounds->has_end || slice_compare(key, bounds->end) < 0;
}

/* About how large the value of a resolution is: a terminal that was not found holds nothing. */
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

/* Looks at one key: is it new, or gone, compared to the base? */
static tern_status sample_key(struct btree_view *view, const struct overlay_iterator *keys,
                              struct sample_totals *totals, tern_error *error) {
    struct btree *tree = &btree_of(view->head.engine)->tree;
    struct resolution above;
    struct resolution below;
    tern_slice key = overlay_iterator_key(keys);
    resolution_init(&above, tree->environment->allocator);
    resolution_init(&below, tree->environment->allocator);
    tern_status status = no_memory(overlay_iterator_resolve(keys, SEQ_MAX, &above), error);
    if (status == TERN_OK) {
        status = btree_lookup(tree, view->root, key, &below, error);
    }
    if (status == TERN_OK) {
        bool is_deleted =
            above.is_complete && above.terminal.kind == RECORD_DELETE && above.operand_count == 0;
        bool was_there = below.terminal.kind != RECORD_NONE;
        int64_t bytes = (int64_t)(key.size + value_bytes(&above));
        totals->samples++;
        if (is_deleted && was_there) {
            totals->count--;
            totals->bytes -= (int64_t)(key.size + value_bytes(&below));
        } else if (!is_deleted && !was_there) {
            totals->count++;
            totals->bytes += bytes;
        }
    }
    resolution_release(&above);
    resolution_release(&below);
    return status;
}

/* The keys of one overlay within bounds, of which a spread is looked at. */
static tern_status sample_overlay(struct btree_view *view, const struct overlay *overlay,
                                  const struct engine_cursor_bounds *bounds,
                                  struct sample_totals *totals, tern_error *error) {
    struct overlay_iterator keys;
    uint64_t total = overlay_key_count(overlay);
    uint64_t stride = total / ESTIMATE_SAMPLES + 1;
    tern_status status = TERN_OK;
    overlay_iterator_init(&keys, overlay);
    bool stands = bounds->has_begin ? overlay_iterator_seek(&keys, bounds->begin, false, true)
                                    : overlay_iterator_first(&keys, false);
    while (stands && status == TERN_OK && is_inside(overlay_iterator_key(&keys), bounds)) {
        if (totals->keys % stride == 0 || totals->samples < ESTIMATE_SAMPLES / 8) {
            status = sample_key(view, &keys, totals, error);
        }
        totals->keys++;
        if (totals->keys == ESTIMATE_WALK_MAX && total > totals->keys) {
            totals->keys = total; /* the bounds hold more than can be counted here */
            break;
        }
        stands = overlay_iterator_next(&keys);
    }
    return status;
}

static uint64_t add_clamped(uint64_t base, int64_t change, uint64_t keys, uint64_t samples) {
    if (samples == 0) {
        return base;
    }
    double moved = (double)change * (double)keys / (double)samples;
    double sum = (double)base + moved;
    return sum > 0 ? (uint64_t)sum : 0;
}

tern_status btree_engine_estimate(struct engine_view *engine_view,
                                  const struct engine_cursor_bounds *bounds, uint64_t *out_count,
                                  uint64_t *out_bytes, tern_error *error) {
    struct btree_view *view = btree_view_of(engine_view);
    struct btree *tree = &btree_of(engine_view->engine)->tree;
    const struct overlay_stack *stack = &view->stack;
    uint64_t count = 0;
    uint64_t bytes = 0;
    tern_status status = TERN_OK;
    struct epoch_slot *slot = epoch_enter(tree->environment->epoch);
    if (view->root->height > 0) {
        status = btree_estimate(tree, view->root, bounds, &count, &bytes, error);
    }
    for (uint32_t i = 0; status == TERN_OK && i <= stack->frozen_count; i++) {
        const struct shared_overlay *overlay = i == 0 ? stack->active : stack->frozen[i - 1];
        struct sample_totals totals = {0};
        status = sample_overlay(view, overlay->overlay, bounds, &totals, error);
        count = add_clamped(count, totals.count, totals.keys, totals.samples);
        bytes = add_clamped(bytes, totals.bytes, totals.keys, totals.samples);
    }
    epoch_exit(slot);
    if (status == TERN_OK) {
        *out_count = count;
        *out_bytes = bytes;
    }
    return status;
}

bool btree_changed_since(struct engine_view *engine_view, const struct engine_cursor_bounds *bounds,
                         seq_no since) {
    const struct btree_view *view = btree_view_of(engine_view);
    const struct overlay_stack *stack = &view->stack;
    if (since < view->drained->complete_seq) {
        return true;
    }
    if (overlay_changed_since(stack->active->overlay, bounds, since)) {
        return true;
    }
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        if (overlay_changed_since(stack->frozen[i]->overlay, bounds, since)) {
            return true;
        }
    }
    return false;
}
