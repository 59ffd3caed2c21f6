/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting the current views of all keyspaces together into one of the database.
 *
 * What changes a keyspace's current view (freeze, publish, creation) must be followed by a new
 * database view, or later commits would go where no reader looks. So the memory for the view is
 * taken before, and publishing cannot fail.
 */
#include "base/assert.h"
#include "db/database_internal.h"

tern_status views_prepare(struct tern_db *db, uint32_t slot_count, tern_error *error) {
    if (db->spare_view != NULL && db->spare_slots >= slot_count) {
        return TERN_OK;
    }
    struct database_view *view;
    uint32_t capacity = slot_count + 8;
    tern_status status = database_view_create(&db->manager, capacity, &view, error);
    if (status == TERN_OK) {
        memory_release(db->allocator, db->spare_view);
        db->spare_view = view;
        db->spare_slots = capacity;
    }
    return status;
}

void views_refresh(struct tern_db *db) {
    struct database_view *view = db->spare_view;
    ASSERT(view != NULL && db->spare_slots >= db->slot_count);
    db->spare_view = NULL;
    mutex_lock(&db->catalog_mutex);
    view->generation = ++db->view_generation;
    view->slot_count = db->slot_count;
    for (uint32_t i = 0; i < db->slot_count; i++) {
        const tern_keyspace *keyspace = db->slots[i];
        if (keyspace == NULL) {
            continue;
        }
        view->parts[i] = keyspace->methods->current_view(keyspace->engine);
        if (view->parts[i]->floor_seq > view->floor_seq) {
            view->floor_seq = view->parts[i]->floor_seq;
        }
    }
    /* Keyspaces that have left their slots are in no view from this one on. */
    for (tern_keyspace *keyspace = db->keyspaces; keyspace != NULL; keyspace = keyspace->next) {
        if (keyspace->gone_view_generation == 0 &&
            atomic_load_explicit(&keyspace->state, memory_order_relaxed) == KEYSPACE_DROPPED) {
            keyspace->gone_view_generation = view->generation;
        }
    }
    mutex_unlock(&db->catalog_mutex);
    txn_manager_publish_view(&db->manager, view);
}
