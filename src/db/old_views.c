/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What long readers hold in memory, and how the memory is had back from them.
 *
 * A view keeps the overlays that it was published with: drained long ago, but their base is newer
 * than the snapshots of that view. They are spilled (engine_methods.spill): moved to temporary
 * files where they stand, so that a reader costs disk, at most an overlay's worth besides the pages
 * that its base shares with nobody, and no memory.
 *
 * It is done late, when the room is wanted: most readers are gone by then.
 */
#include "base/error.h"
#include "db/database_internal.h"
#include "os/pages.h"
#include "txn/point_read.h"

#define SPILL_RETRY_NS ((uint64_t)1000000000)
/* So few page faults have not brought back much: up to 64 KiB each. */
#define FAULTS_MIN ((uint64_t)16)

uint64_t old_views_held(struct tern_db *db) {
    uint64_t current = 0;
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        uint64_t bytes = 0;
        uint64_t active_bytes;
        if (db->slots[i] != NULL) {
            db->slots[i]->methods->overlay_usage(db->slots[i]->engine, &bytes, &active_bytes);
        }
        current += bytes;
    }
    mutex_unlock(&db->catalog_mutex);
    uint64_t used = budget_used(&db->budget, BUDGET_OVERLAY);
    return used > current ? used - current : 0;
}

/* The oldest view above generation `after`, with a reference; NULL: none but the current one. */
static struct database_view *next_view(struct tern_db *db, uint64_t after) {
    struct database_view *found;
    mutex_lock(&db->manager.views_mutex);
    do {
        found = NULL;
        struct database_view *view = db->manager.live_views; /* newest first */
        for (view = view != NULL ? view->next_live : NULL; view != NULL && view->generation > after;
             view = view->next_live) {
            found = view;
        }
        after = found != NULL ? found->generation : after;
    } while (found != NULL && !database_view_try_retain(found));
    mutex_unlock(&db->manager.views_mutex);
    return found;
}

static tern_status spill_view(struct database_view *view, size_t quantum_bytes, uint64_t *bytes) {
    tern_status status = TERN_OK;
    for (uint32_t i = 0; status == TERN_OK && i < view->slot_count && *bytes < quantum_bytes; i++) {
        struct engine_view *part = view->parts[i];
        uint64_t moved = 0;
        if (part != NULL && part->methods->spill != NULL) {
            status = part->methods->spill(part, quantum_bytes - (size_t)*bytes, &moved, NULL);
            *bytes += moved;
        }
    }
    return status;
}

bool old_views_have_spilled(const struct tern_db *db) {
    return atomic_load_explicit(&db->budget.spilled_bytes, memory_order_relaxed) != 0;
}

static void forget_all(struct tern_db *db) {
    uint64_t after = 0;
    for (;;) {
        struct database_view *view = next_view(db, after);
        if (view == NULL) {
            return;
        }
        after = view->generation;
        for (uint32_t i = 0; i < view->slot_count; i++) {
            struct engine_view *part = view->parts[i];
            uint64_t moved;
            if (part != NULL && part->methods->spill != NULL) {
                tern_status status = part->methods->spill(part, 0, &moved, NULL);
                (void)status; /* nothing is moved, nothing can fail */
            }
        }
        database_view_release(view);
    }
}

void old_views_forget(struct tern_db *db) {
    if (!mutex_try_lock(&db->spill_mutex)) {
        return;
    }
    uint64_t faults = pages_fault_count();
    if (faults - db->faults_seen >= FAULTS_MIN) {
        db->faults_seen = faults;
        forget_all(db);
    }
    mutex_unlock(&db->spill_mutex);
}

void old_views_spill(struct tern_db *db, size_t quantum_bytes, uint64_t *out_bytes) {
    uint64_t bytes = 0;
    uint64_t after = 0;
    tern_status status = TERN_OK;
    uint64_t now_ns = database_now_ns(db);
    *out_bytes = 0;
    if (now_ns < db->maintenance.spill_after_ns) {
        return;
    }
    mutex_lock(&db->spill_mutex);
    while (status == TERN_OK && bytes < quantum_bytes) {
        struct database_view *view = next_view(db, after);
        if (view == NULL) {
            break;
        }
        after = view->generation;
        status = spill_view(view, quantum_bytes, &bytes);
        database_view_release(view);
    }
    mutex_unlock(&db->spill_mutex);
    if (status != TERN_OK) {
        db->maintenance.spill_after_ns = now_ns + SPILL_RETRY_NS;
        atomic_fetch_add_explicit(&db->counters.spill_failures, 1, memory_order_relaxed);
    }
    *out_bytes = bytes;
}
