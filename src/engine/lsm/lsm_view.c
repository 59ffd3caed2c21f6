/* SPDX-License-Identifier: Apache-2.0 */
/* Views: immutable, reference counted; the last reference goes through an epoch (engine.c). */
#include "base/error.h"
#include "engine/lsm/lsm_engine_internal.h"

tern_status lsm_view_create(struct lsm_engine *engine, struct overlay_stack *stack,
                            struct lsm_version *version, seq_no floor_seq,
                            struct lsm_view **out_view, tern_error *error) {
    struct lsm_view *view = memory_allocate_zeroed(lsm_allocator(&engine->lsm), sizeof(*view));
    if (view == NULL) {
        return ERROR_NO_MEMORY(error, "a view");
    }
    view->head.methods = engine->head.methods;
    view->head.engine = &engine->head;
    atomic_init(&view->head.references, 1);
    view->head.floor_seq = floor_seq;
    view->stack = *stack;
    view->version = version;
    version_retain(version);
    atomic_fetch_add_explicit(&engine->view_count, 1, memory_order_relaxed);
    *out_view = view;
    return TERN_OK;
}

void lsm_view_destroy(struct engine_view *engine_view) {
    struct lsm_view *view = lsm_view_of(engine_view);
    struct lsm_engine *engine = lsm_of(engine_view->engine);
    overlay_stack_release(&view->stack);
    version_release(view->version);
    memory_release(lsm_allocator(&engine->lsm), view);
    atomic_fetch_sub_explicit(&engine->view_count, 1, memory_order_release);
}

struct lsm_view *lsm_view_current(struct lsm_engine *engine) {
    mutex_lock(&engine->lock);
    struct lsm_view *view = engine->current;
    engine_view_retain(&view->head);
    mutex_unlock(&engine->lock);
    return view;
}

void lsm_view_install(struct lsm_engine *engine, struct lsm_view *view) {
    mutex_lock(&engine->lock);
    struct lsm_view *old = engine->current;
    engine->current = view;
    mutex_unlock(&engine->lock);
    if (old != NULL) {
        engine_view_release(&old->head, engine->lsm.environment->epoch);
    }
}

tern_status lsm_spill(struct engine_view *view, size_t quantum_bytes, uint64_t *out_bytes,
                      tern_error *error) {
    struct lsm_engine *engine = lsm_of(view->engine);
    if (quantum_bytes == 0) {
        overlay_stack_forget(&lsm_view_of(view)->stack);
        *out_bytes = 0;
        return TERN_OK;
    }
    bool is_dropped = atomic_load_explicit(&view->engine->is_dropped, memory_order_acquire);
    struct lsm_view *current = lsm_view_current(engine);
    tern_status status =
        overlay_stack_spill(&lsm_view_of(view)->stack, is_dropped ? NULL : &current->stack,
                            engine->lsm.environment, quantum_bytes, out_bytes, error);
    engine_view_release(&current->head, engine->lsm.environment->epoch);
    return status;
}

bool lsm_is_held(struct engine *base) {
    struct lsm_engine *engine = lsm_of(base);
    mutex_lock(&engine->lock);
    bool is_held = engine_views_are_held(&engine->current->head, &engine->view_count);
    mutex_unlock(&engine->lock);
    return is_held;
}
