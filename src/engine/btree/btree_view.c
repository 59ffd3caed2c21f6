/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: immutable, reference counted. The last reference goes through an epoch (engine.c), so
 * readers need no reference while they are inside one.
 */
#include "base/error.h"
#include "engine/btree/btree_engine_internal.h"

tern_status btree_view_create(struct btree_engine *engine, struct overlay_stack *stack,
                              struct btree_root *root, struct drained_map *drained,
                              seq_no floor_seq, struct btree_view **out_view, tern_error *error) {
    struct btree_view *view = memory_allocate_zeroed(btree_allocator(engine), sizeof(*view));
    if (view == NULL) {
        return ERROR_NO_MEMORY(error, "a view");
    }
    view->head.methods = engine->head.methods;
    view->head.engine = &engine->head;
    atomic_init(&view->head.references, 1);
    view->head.floor_seq = floor_seq;
    view->stack = *stack;
    view->root = root;
    view->drained = drained;
    btree_root_retain(root);
    drained_map_retain(drained);
    atomic_fetch_add_explicit(&engine->view_count, 1, memory_order_relaxed);
    *out_view = view;
    return TERN_OK;
}

void btree_view_destroy(struct engine_view *engine_view) {
    struct btree_view *view = btree_view_of(engine_view);
    struct btree_engine *engine = btree_of(engine_view->engine);
    overlay_stack_release(&view->stack);
    btree_root_release(&engine->tree, view->root);
    drained_map_release(view->drained);
    memory_release(btree_allocator(engine), view);
    atomic_fetch_sub_explicit(&engine->view_count, 1, memory_order_release);
}

struct btree_view *btree_view_current(struct btree_engine *engine) {
    mutex_lock(&engine->lock);
    struct btree_view *view = engine->current;
    engine_view_retain(&view->head);
    mutex_unlock(&engine->lock);
    return view;
}

void btree_view_install(struct btree_engine *engine, struct btree_view *view) {
    mutex_lock(&engine->lock);
    struct btree_view *old = engine->current;
    engine->current = view;
    mutex_unlock(&engine->lock);
    if (old != NULL) {
        engine_view_release(&old->head, engine->tree.environment->epoch);
    }
}

tern_status btree_spill(struct engine_view *view, size_t quantum_bytes, uint64_t *out_bytes,
                        tern_error *error) {
    struct btree_engine *engine = btree_of(view->engine);
    if (quantum_bytes == 0) {
        overlay_stack_forget(&btree_view_of(view)->stack);
        *out_bytes = 0;
        return TERN_OK;
    }
    bool is_dropped = atomic_load_explicit(&view->engine->is_dropped, memory_order_acquire);
    struct btree_view *current = btree_view_current(engine);
    tern_status status =
        overlay_stack_spill(&btree_view_of(view)->stack, is_dropped ? NULL : &current->stack,
                            engine->tree.environment, quantum_bytes, out_bytes, error);
    engine_view_release(&current->head, engine->tree.environment->epoch);
    return status;
}

bool btree_is_held(struct engine *base) {
    struct btree_engine *engine = btree_of(base);
    mutex_lock(&engine->lock);
    bool is_held = engine_views_are_held(&engine->current->head, &engine->view_count);
    mutex_unlock(&engine->lock);
    return is_held;
}
