/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views of a database: publishing, pinning, letting go.
 *
 * Invariants:
 *  V1 a view is on the live list from its publication until its parts have been released.
 *  V2 the current view holds one reference for being current.
 *  V3 a view whose references fell to 0 is never retained again; its memory and its parts go
 *     through the epoch, so a reader that found it current may finish its operation.
 */
#include "txn/txn_manager.h"

#include "base/assert.h"
#include "base/error.h"

tern_status database_view_create(struct txn_manager *manager, uint32_t slot_count,
                                 struct database_view **out_view, tern_error *error) {
    size_t size = sizeof(struct database_view) + slot_count * sizeof(struct engine_view *);
    struct database_view *view = memory_allocate_zeroed(manager->allocator, size);
    if (view == NULL) {
        return ERROR_NO_MEMORY(error, "a view");
    }
    atomic_init(&view->references, 1);
    view->manager = manager;
    view->slot_count = slot_count;
    *out_view = view;
    return TERN_OK;
}

static void link_view(struct database_view *view) {
    struct txn_manager *manager = view->manager;
    mutex_lock(&manager->views_mutex);
    view->next_live = manager->live_views;
    if (view->next_live != NULL) {
        view->next_live->previous_live = view;
    }
    manager->live_views = view;
    mutex_unlock(&manager->views_mutex);
}

static void unlink_view(struct database_view *view) {
    struct txn_manager *manager = view->manager;
    mutex_lock(&manager->views_mutex);
    if (view->previous_live != NULL) {
        view->previous_live->next_live = view->next_live;
    } else {
        manager->live_views = view->next_live;
    }
    if (view->next_live != NULL) {
        view->next_live->previous_live = view->previous_live;
    }
    mutex_unlock(&manager->views_mutex);
}

static void destroy_view(struct epoch_node *node) {
    struct database_view *view =
        (struct database_view *)((char *)node - offsetof(struct database_view, limbo));
    struct txn_manager *manager = view->manager;
    for (uint32_t i = 0; i < view->slot_count; i++) {
        engine_view_release(view->parts[i], manager->epoch);
    }
    unlink_view(view);
    memory_release(manager->allocator, view);
}

void database_view_release(struct database_view *view) {
    if (view == NULL) {
        return;
    }
    if (atomic_fetch_sub_explicit(&view->references, 1, memory_order_acq_rel) == 1) {
        epoch_retire(view->manager->epoch, &view->limbo, destroy_view);
    }
}

void txn_manager_publish_view(struct txn_manager *manager, struct database_view *view) {
    ASSERT(atomic_load_explicit(&manager->visible_seq, memory_order_relaxed) >= view->floor_seq);
    link_view(view);
    struct database_view *old =
        atomic_exchange_explicit(&manager->view, view, memory_order_seq_cst);
    ASSERT(old == NULL || old->generation < view->generation);
    database_view_release(old);
}

size_t txn_manager_live_generations(struct txn_manager *manager, uint64_t *out, size_t capacity) {
    size_t count = 0;
    mutex_lock(&manager->views_mutex);
    for (struct database_view *view = manager->live_views; view != NULL; view = view->next_live) {
        count++;
    }
    if (count <= capacity) {
        /* The list is in order of publication, newest first. */
        size_t index = count;
        for (struct database_view *view = manager->live_views; view != NULL;
             view = view->next_live) {
            out[--index] = view->generation;
        }
    }
    mutex_unlock(&manager->views_mutex);
    return count;
}
