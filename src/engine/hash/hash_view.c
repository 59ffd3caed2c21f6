/* SPDX-License-Identifier: Apache-2.0 */
/* Views: which memories a reader may meet, and keeps alive. */
#include "base/error.h"
#include "engine/hash/hash_engine.h"
#include "engine/hash/hash_engine_internal.h"

tern_status hash_view_create(struct hash_engine *engine, struct hash_memory *const *memories,
                             uint32_t count, seq_no floor_seq, struct hash_view **out_view,
                             tern_error *error) {
    struct hash_view *view = memory_allocate_zeroed(hash_allocator(engine), sizeof(*view));
    if (view == NULL) {
        return ERROR_NO_MEMORY(error, "a view");
    }
    view->head.methods = &hash_engine_methods;
    view->head.engine = &engine->head;
    view->head.floor_seq = floor_seq;
    view->generation = engine->base.generation;
    atomic_init(&view->head.references, 1);
    view->count = count;
    for (uint32_t i = 0; i < count; i++) {
        view->memories[i] = memories[i];
        hash_memory_retain(memories[i]);
    }
    atomic_fetch_add_explicit(&engine->view_count, 1, memory_order_relaxed);
    *out_view = view;
    return TERN_OK;
}

void hash_view_destroy(struct engine_view *engine_view) {
    struct hash_view *view = hash_view_of(engine_view);
    struct hash_engine *engine = hash_of(engine_view->engine);
    for (uint32_t i = 0; i < view->count; i++) {
        hash_memory_release(view->memories[i]);
    }
    memory_release(hash_allocator(engine), view);
    atomic_fetch_sub_explicit(&engine->view_count, 1, memory_order_release);
}

struct hash_view *hash_view_current(struct hash_engine *engine) {
    mutex_lock(&engine->lock);
    struct hash_view *view = engine->current;
    engine_view_retain(&view->head);
    mutex_unlock(&engine->lock);
    return view;
}

void hash_view_install(struct hash_engine *engine, struct hash_view *view) {
    mutex_lock(&engine->lock);
    struct hash_view *old = engine->current;
    engine->current = view;
    mutex_unlock(&engine->lock);
    if (old != NULL) {
        engine_view_release(&old->head, engine->environment->epoch);
    }
}

bool hash_is_held(struct engine *base) {
    struct hash_engine *engine = hash_of(base);
    mutex_lock(&engine->lock);
    bool is_held = engine_views_are_held(&engine->current->head, &engine->view_count);
    mutex_unlock(&engine->lock);
    return is_held;
}
