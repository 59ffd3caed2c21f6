/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a new root: drain_step builds beside what readers see, seal ends it at a boundary,
 * sync makes its blocks durable, state describes it for the manifest, publish shows it.
 *
 *   idle --drain_step--> building --seal--> sealed --publish--> idle
 *                           |  failure: everything built is given up, the overlay stays
 *
 * A sealed root stays until it is published, however often the manifest has to be tried: until then
 * drain_step does nothing but ask for that (SLICE).
 */
#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/btree/btree_engine_internal.h"

/* A seal has to end what it began; it works in these portions. */
#define SEAL_QUANTUM_BYTES     ((size_t)64 << 20)
#define PROGRESS_QUANTUM_BYTES ((size_t)64 << 10)

tern_status btree_need_drain(struct btree_engine *engine, tern_error *error) {
    if (engine->drain != NULL) {
        return TERN_OK;
    }
    return drain_create(&engine->tree, &engine->generations, &engine->drain, error);
}

static void give_up_drain(struct btree_engine *engine) {
    drain_destroy(engine->drain);
    engine->drain = NULL;
}

/* ---- what is left to do ---- */

void btree_update_debt(struct btree_engine *engine) {
    struct btree_view *view = btree_view_current(engine);
    const struct overlay_stack *stack = &view->stack;
    uint64_t debt = 0;
    uint64_t keys_done = engine->source_keys;
    if (engine->sealed.root != NULL) {
        keys_done = engine->sealed.source_keys;
    } else if (engine->drain != NULL && engine->drain->is_active) {
        keys_done += engine->drain->merged_keys;
    }
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        const struct overlay *overlay = stack->frozen[i]->overlay;
        uint64_t bytes = overlay_bytes(overlay);
        uint64_t keys = overlay_key_count(overlay);
        if (i + 1 == stack->frozen_count && keys > 0) {
            uint64_t left = keys_done < keys ? keys - keys_done : 0;
            bytes = (uint64_t)((double)bytes * (double)left / (double)keys);
        }
        debt += bytes;
    }
    atomic_store_explicit(&engine->drain_debt_bytes, debt, memory_order_relaxed);
    engine_view_release(&view->head, engine->tree.environment->epoch);
}

uint64_t btree_drain_debt(struct engine *engine) {
    return atomic_load_explicit(&btree_of(engine)->drain_debt_bytes, memory_order_relaxed);
}

/* ---- building ---- */

/* Begins with the oldest frozen overlay; *out_found false: there is none. */
static tern_status start_drain(struct btree_engine *engine, bool *out_found, tern_error *error) {
    struct btree_view *view = btree_view_current(engine);
    const struct overlay_stack *stack = &view->stack;
    tern_status status = TERN_OK;
    *out_found = stack->frozen_count > 0;
    if (*out_found) {
        status = btree_need_drain(engine, error);
    }
    if (*out_found && status == TERN_OK) {
        status = drain_start(engine->drain, view->root, stack->frozen[stack->frozen_count - 1],
                             stack->has_boundary ? &stack->boundary : NULL, NULL, error);
    }
    engine_view_release(&view->head, engine->tree.environment->epoch);
    return status;
}

tern_status btree_drain_step(struct engine *base, size_t quantum_bytes,
                             enum engine_drain_state *out_state, tern_error *error) {
    struct btree_engine *engine = btree_of(base);
    if (engine->sealed.root != NULL) {
        *out_state = ENGINE_DRAIN_SLICE;
        return TERN_OK;
    }
    if (engine->drain == NULL || !engine->drain->is_active) {
        bool found = false;
        tern_status status = start_drain(engine, &found, error);
        if (status != TERN_OK) {
            return status;
        }
        if (!found) {
            give_up_drain(engine);
            *out_state = ENGINE_DRAIN_IDLE;
            return TERN_OK;
        }
    }
    struct drain *drain = engine->drain;
    tern_status status = drain_run(drain, quantum_bytes, error);
    if (status != TERN_OK) {
        drain_abandon(drain);
        btree_update_debt(engine);
        return status;
    }
    btree_update_debt(engine);
    bool is_slice = drain->is_done || drain->builder->output.written_bytes >= engine->slice_bytes;
    *out_state = is_slice ? ENGINE_DRAIN_SLICE : ENGINE_DRAIN_MORE;
    return TERN_OK;
}

/* ---- sealing ---- */

/* Runs to the end of the tree; stops merging first unless that would make the state too long. */
static tern_status end_drain(struct btree_engine *engine, const struct drained_map *drained,
                             tern_error *error) {
    struct drain *drain = engine->drain;
    size_t key_bytes_max = (size_t)engine->tree.config.options.page_bytes * 5 / 8;
    bool can_stop = drained->count == 0 ||
                    drained_map_key_bytes(drained) + key_bytes_max + 32 <= DRAINED_KEY_BYTES_MAX;
    tern_status status = TERN_OK;
    /* However small the steps were: a sealed drain has moved on, or it would never end. */
    while (status == TERN_OK && drain->source != NULL && !drain->is_done && !drain->has_merged) {
        status = drain_run(drain, PROGRESS_QUANTUM_BYTES, error);
    }
    if (status == TERN_OK && !drain->is_done && can_stop) {
        status = drain_stop(drain, error);
    }
    while (status == TERN_OK && !drain->is_done) {
        status = drain_run(drain, SEAL_QUANTUM_BYTES, error);
    }
    return status;
}

/* Nothing was merged: the root would equal the old one. */
static bool has_progress(const struct drain *drain) {
    if (drain->source == NULL) {
        return tree_builder_has_output(drain->builder);
    }
    if (!drain->has_boundary) {
        return true;
    }
    return drain->has_start
               ? !slice_equal(buffer_slice(&drain->boundary), buffer_slice(&drain->start))
               : drain->boundary.size > 0;
}

static tern_status make_sealed(struct btree_engine *engine, const struct btree_view *view,
                               tern_error *error) {
    struct drain *drain = engine->drain;
    struct sealed_root sealed = {.source_keys = engine->source_keys + drain->merged_keys};
    tern_status status;
    if (drain->source == NULL) {
        sealed.drained = view->drained;
        drained_map_retain(sealed.drained);
    } else {
        tern_slice boundary = buffer_slice(&drain->boundary);
        status = drained_map_advance(view->drained, drain->has_boundary ? &boundary : NULL,
                                     drain->source->frozen_seq, &sealed.drained, error);
        if (status != TERN_OK) {
            return status;
        }
        sealed.is_finished = !drain->has_boundary;
        if (drain->has_boundary) {
            sealed.boundary = sealed.drained->marks[0].below;
        }
    }
    status = drain_finish(drain, &sealed.root, error);
    if (status != TERN_OK) {
        drained_map_release(sealed.drained);
        return status;
    }
    sealed.source = drain->source;
    if (sealed.source != NULL) {
        shared_overlay_retain(sealed.source);
        atomic_fetch_add_explicit(&engine->slices, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&engine->drains, sealed.is_finished ? 1 : 0,
                                  memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&engine->drained_leaves, drain->builder->leaf_count,
                              memory_order_relaxed);
    engine->sealed = sealed;
    drain_keep(drain);
    return TERN_OK;
}

tern_status btree_seal(struct engine *base, bool *out_changed, tern_error *error) {
    struct btree_engine *engine = btree_of(base);
    if (engine->sealed.root != NULL) {
        *out_changed = true;
        return TERN_OK;
    }
    if (engine->drain == NULL || !engine->drain->is_active) {
        *out_changed = false;
        return TERN_OK;
    }
    struct btree_view *view = btree_view_current(engine);
    tern_status status = end_drain(engine, view->drained, error);
    bool changed = status == TERN_OK && has_progress(engine->drain);
    if (changed) {
        status = make_sealed(engine, view, error);
    }
    if (status != TERN_OK || !changed) {
        drain_abandon(engine->drain);
    }
    engine_view_release(&view->head, engine->tree.environment->epoch);
    btree_update_debt(engine);
    if (status == TERN_OK) {
        *out_changed = changed;
    }
    return status;
}

tern_status btree_sync(struct engine *base, bool *out_in_doubt, tern_error *error) {
    tern_status status = btree_file_sync(btree_of(base)->tree.file, error);
    *out_in_doubt = status != TERN_OK;
    return status;
}

tern_status btree_state(struct engine *base, struct buffer *out_state,
                        struct engine_drained *out_drained, tern_error *error) {
    struct btree_engine *engine = btree_of(base);
    const struct sealed_root *sealed = &engine->sealed;
    struct btree_view *view = btree_view_current(engine);
    const struct btree_root *root = sealed->root != NULL ? sealed->root : view->root;
    const struct drained_map *drained = sealed->root != NULL ? sealed->drained : view->drained;
    tern_status status = btree_state_encode(root, drained, out_state, error);
    if (status == TERN_OK) {
        out_drained->complete_seq = drained->complete_seq;
    }
    engine_view_release(&view->head, engine->tree.environment->epoch);
    return status;
}

/* ---- publishing ---- */

static void drop_sealed(struct btree_engine *engine) {
    struct sealed_root *sealed = &engine->sealed;
    btree_root_release(&engine->tree, sealed->root);
    drained_map_release(sealed->drained);
    if (sealed->source != NULL) {
        shared_overlay_release(btree_allocator(engine), sealed->source);
    }
    *sealed = (struct sealed_root){0};
}

void btree_forget_sealed(struct btree_engine *engine) {
    if (engine->drain != NULL && engine->drain->is_active) {
        drain_abandon(engine->drain);
    }
    give_up_drain(engine);
    drop_sealed(engine);
}

/* The stack of the new view: without the finished overlay, or with the new boundary. */
static tern_status next_stack(const struct btree_engine *engine, struct overlay_stack *out_stack,
                              tern_error *error) {
    const struct sealed_root *sealed = &engine->sealed;
    const tern_allocator *allocator = btree_allocator(engine);
    struct overlay_stack stack;
    tern_status status = overlay_stack_copy(&engine->current->stack, &stack, error);
    if (status != TERN_OK) {
        return status;
    }
    if (sealed->source != NULL) {
        ASSERT(stack.frozen_count > 0 && stack.frozen[stack.frozen_count - 1] == sealed->source);
        memory_release(allocator, (void *)(uintptr_t)stack.boundary.data);
        stack.has_boundary = false;
        stack.boundary = tern_slice_of(NULL, 0);
        if (sealed->is_finished) {
            stack.frozen_count--;
            shared_overlay_release(allocator, sealed->source);
        } else {
            void *bytes = memory_allocate(allocator, sealed->boundary.size);
            if (bytes == NULL) {
                overlay_stack_release(&stack);
                return ERROR_NO_MEMORY(error, "a view");
            }
            memcpy(bytes, sealed->boundary.data, sealed->boundary.size);
            stack.has_boundary = true;
            stack.boundary = tern_slice_of(bytes, sealed->boundary.size);
        }
    }
    *out_stack = stack;
    return TERN_OK;
}

tern_status btree_publish(struct engine *base, uint64_t generation, tern_error *error) {
    struct btree_engine *engine = btree_of(base);
    struct sealed_root *sealed = &engine->sealed;
    if (sealed->root == NULL) {
        return TERN_OK;
    }
    struct overlay_stack stack;
    struct btree_view *view = NULL;
    tern_status status = next_stack(engine, &stack, error);
    if (status != TERN_OK) {
        return status;
    }
    status = btree_view_create(engine, &stack, sealed->root, sealed->drained,
                               engine->current->head.floor_seq, &view, error);
    if (status != TERN_OK) {
        overlay_stack_release(&stack);
        return status;
    }
    btree_file_supersede_at(engine->tree.file, generation, true);
    generation_publish(&engine->generations, sealed->root->generation, generation);
    if (sealed->source != NULL) {
        engine->source_keys = sealed->is_finished ? 0 : sealed->source_keys;
    }
    drop_sealed(engine);
    btree_view_install(engine, view);
    btree_update_debt(engine);
    return TERN_OK;
}

bool btree_release(struct engine *base, const uint64_t *live, size_t live_count) {
    btree_file_release_generations(btree_of(base)->tree.file, live, live_count);
    return false;
}

tern_status btree_shrink(struct engine *base, uint64_t *out_freed_bytes, tern_error *error) {
    return btree_file_shrink(btree_of(base)->tree.file, out_freed_bytes, error);
}

void btree_space(struct engine *base, struct engine_space *out_space) {
    struct btree_file_stats stats;
    btree_file_get_stats(btree_of(base)->tree.file, &stats);
    *out_space = (struct engine_space){.file_bytes = stats.file_bytes,
                                       .free_bytes = stats.free_bytes,
                                       .tail_bytes = stats.tail_bytes,
                                       .pending_bytes = stats.pending_bytes};
}
