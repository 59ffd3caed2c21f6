/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include <pthread.h>
#include <sched.h>

#include "txn/txn_manager.h"

static struct txn_manager *create_manager(void) {
    const tern_allocator *allocator = tern_allocator_default();
    tern_error error = TERN_ERROR_INIT;
    struct database_view *view;
    struct txn_manager *manager = memory_allocate_aligned(allocator, 64, sizeof(*manager));
    assert_non_null(manager);
    memset(manager, 0, sizeof(*manager));
    manager->allocator = allocator;
    mutex_init(&manager->views_mutex);
    assert_ok(epoch_domain_create(allocator, &manager->epoch, &error), error);
    assert_ok(snapshot_registry_create(allocator, &manager->snapshots, &error), error);
    assert_ok(database_view_create(manager, 0, &view, &error), error);
    view->generation = 1;
    txn_manager_publish_view(manager, view);
    return manager;
}

static void destroy_manager(struct txn_manager *manager) {
    database_view_release(atomic_load(&manager->view));
    snapshot_registry_destroy(manager->snapshots);
    epoch_domain_destroy(manager->epoch);
    mutex_destroy(&manager->views_mutex);
    memory_release_aligned(manager->allocator, manager);
}

static struct snapshot take(struct txn_manager *manager) {
    tern_error error = TERN_ERROR_INIT;
    struct snapshot snapshot;
    assert_ok(snapshot_take(manager, &snapshot, &error), error);
    return snapshot;
}

static void the_horizon_lists_live_snapshots_in_order(void **state) {
    (void)state;
    struct txn_manager *manager = create_manager();
    struct engine_horizon horizon;
    atomic_store(&manager->visible_seq, 30);
    struct snapshot late = take(manager);
    atomic_store(&manager->visible_seq, 10);
    struct snapshot early = take(manager);
    snapshot_registry_horizon(manager->snapshots, 30, &horizon);
    assert_int_equal(horizon.live_count, 2);
    assert_int_equal(horizon.live[0], 10);
    assert_int_equal(horizon.live[1], 30);
    assert_int_equal(horizon.visible_seq, 30);
    snapshot_drop(manager, &early);
    snapshot_drop(manager, &early);
    size_t count;
    assert_int_equal(snapshot_registry_oldest(manager->snapshots, &count), 30);
    assert_int_equal(count, 1);
    snapshot_drop(manager, &late);
    assert_int_equal(snapshot_registry_oldest(manager->snapshots, &count), SEQ_MAX);
    assert_int_equal(count, 0);
    destroy_manager(manager);
}

static void thousands_of_snapshots_fit(void **state) {
    (void)state;
    static struct snapshot snapshots[3000];
    struct txn_manager *manager = create_manager();
    struct engine_horizon horizon;
    for (size_t i = 0; i < 3000; i++) {
        atomic_store(&manager->visible_seq, (i * 7919) % 3000);
        snapshots[i] = take(manager);
    }
    snapshot_registry_horizon(manager->snapshots, 3000, &horizon);
    assert_int_equal(horizon.live_count, 3000);
    for (size_t i = 0; i < 3000; i++) {
        assert_int_equal(horizon.live[i], i);
        snapshot_drop(manager, &snapshots[i]);
    }
    snapshot_registry_horizon(manager->snapshots, 3000, &horizon);
    assert_int_equal(horizon.live_count, 0);
    destroy_manager(manager);
}

static void ended_snapshots_know_it_and_select_nothing(void **state) {
    (void)state;
    struct txn_manager *manager = create_manager();
    struct engine_horizon horizon;
    struct snapshot first = take(manager);
    atomic_store(&manager->visible_seq, 5);
    struct snapshot second = take(manager);
    assert_int_equal(snapshot_registry_end(manager->snapshots, 5), 1);
    assert_int_equal(snapshot_registry_end(manager->snapshots, 5), 0);
    assert_true(snapshot_is_ended(&first));
    assert_false(snapshot_is_ended(&second));
    snapshot_registry_horizon(manager->snapshots, 5, &horizon);
    assert_int_equal(horizon.live_count, 1);
    assert_int_equal(horizon.live[0], 5);
    snapshot_drop(manager, &first);
    snapshot_drop(manager, &second);
    destroy_manager(manager);
}

static void publish_new_view(struct txn_manager *manager, uint64_t generation) {
    tern_error error = TERN_ERROR_INIT;
    struct database_view *view;
    assert_ok(database_view_create(manager, 0, &view, &error), error);
    view->generation = generation;
    txn_manager_publish_view(manager, view);
    (void)epoch_reclaim(manager->epoch);
}

static void a_renewed_snapshot_is_that_of_now_and_the_only_one(void **state) {
    (void)state;
    struct txn_manager *manager = create_manager();
    struct engine_horizon horizon;
    size_t count;
    atomic_store(&manager->visible_seq, 3);
    struct snapshot snapshot = take(manager);
    struct snapshot_slot *slot = snapshot.slot;
    assert_null(snapshot_renew(manager, &snapshot));
    atomic_store(&manager->visible_time_ms, 77);
    assert_null(snapshot_renew(manager, &snapshot));
    assert_int_equal(snapshot.moment.time_ms, 77);
    atomic_store(&manager->visible_seq, 8);
    assert_null(snapshot_renew(manager, &snapshot));
    assert_int_equal(snapshot.moment.seq, 8);
    snapshot_registry_horizon(manager->snapshots, 8, &horizon);
    assert_int_equal(horizon.live_count, 1);
    assert_int_equal(horizon.live[0], 8);
    struct database_view *former = snapshot.view;
    publish_new_view(manager, 2);
    assert_ptr_equal(snapshot_renew(manager, &snapshot), former);
    assert_int_equal(snapshot.view->generation, 2);
    database_view_release(former);
    assert_int_equal(snapshot_registry_end(manager->snapshots, 9), 1);
    assert_true(snapshot_is_ended(&snapshot));
    assert_null(snapshot_renew(manager, &snapshot));
    assert_false(snapshot_is_ended(&snapshot));
    assert_ptr_equal(snapshot.slot, slot);
    assert_int_equal(snapshot_registry_oldest(manager->snapshots, &count), 8);
    assert_int_equal(count, 1);
    snapshot_drop(manager, &snapshot);
    assert_int_equal(snapshot_registry_oldest(manager->snapshots, &count), SEQ_MAX);
    destroy_manager(manager);
}

/*
 * A writer makes versions visible and prunes, as overlays do, each that is older than visible_seq
 * and that no live snapshot selects; readers check that the version of their snapshot is still
 * there.
 */
#define RACE_SEQS   20000
#define RACE_WINDOW 40
static _Atomic bool pruned[RACE_SEQS + 1];
static _Atomic bool writer_is_done;

static void *race_reader(void *argument) {
    struct txn_manager *manager = argument;
    size_t broken = 0;
    while (!atomic_load(&writer_is_done)) {
        struct snapshot snapshot;
        if (snapshot_take(manager, &snapshot, NULL) != TERN_OK) {
            return argument;
        }
        for (int i = 0; i < 80; i++) {
            if (i % 20 == 19) {
                database_view_release(snapshot_renew(manager, &snapshot));
            }
            broken += atomic_load_explicit(&pruned[snapshot.moment.seq], memory_order_relaxed);
        }
        snapshot_drop(manager, &snapshot);
    }
    return broken == 0 ? NULL : argument;
}

static void prune(const struct engine_horizon *horizon, seq_no visible_seq) {
    for (seq_no seq = visible_seq > RACE_WINDOW ? visible_seq - RACE_WINDOW : 0;
         seq + 1 <= horizon->visible_seq; seq++) {
        bool is_selected = false;
        for (size_t i = 0; i < horizon->live_count; i++) {
            is_selected = is_selected || horizon->live[i] == seq;
        }
        if (!is_selected) {
            atomic_store_explicit(&pruned[seq], true, memory_order_relaxed);
        }
    }
}

static void pruning_never_passes_a_snapshot_being_taken(void **state) {
    (void)state;
    struct txn_manager *manager = create_manager();
    pthread_t threads[3];
    atomic_store(&writer_is_done, false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race_reader, manager), 0);
    }
    for (seq_no seq = 1; seq <= RACE_SEQS; seq++) {
        struct engine_horizon horizon;
        if (seq % 16 == 0) {
            publish_new_view(manager, seq);
        }
        atomic_store_explicit(&manager->visible_seq, seq, memory_order_release);
        snapshot_registry_horizon(manager->snapshots, seq, &horizon);
        prune(&horizon, seq);
        if (seq % 64 == 0) {
            sched_yield();
        }
    }
    atomic_store(&writer_is_done, true);
    for (int i = 0; i < 3; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    destroy_manager(manager);
}

static void *take_and_drop(void *argument) {
    struct txn_manager *manager = argument;
    struct snapshot snapshot;
    if (snapshot_take(manager, &snapshot, NULL) != TERN_OK) {
        return argument;
    }
    snapshot_drop(manager, &snapshot);
    return NULL;
}

/* A view on its way out cannot be retained, so whoever takes a snapshot stays pending. */
static void nothing_may_be_pruned_while_a_snapshot_is_pending(void **state) {
    (void)state;
    struct txn_manager *manager = create_manager();
    struct database_view *view = atomic_load(&manager->view);
    struct engine_horizon horizon;
    pthread_t thread;
    size_t count = 0;
    void *failed;
    atomic_store(&manager->visible_seq, 70);
    struct snapshot other = take(manager);
    atomic_store(&view->references, 0);
    assert_int_equal(pthread_create(&thread, NULL, take_and_drop, manager), 0);
    while (count != 2) {
        (void)snapshot_registry_oldest(manager->snapshots, &count);
        sched_yield();
    }
    snapshot_registry_horizon(manager->snapshots, 70, &horizon);
    assert_int_equal(horizon.visible_seq, 0);
    assert_int_equal(horizon.live_count, 1);
    assert_int_equal(horizon.live[0], 0);
    atomic_store(&view->references, 2);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    snapshot_registry_horizon(manager->snapshots, 70, &horizon);
    assert_int_equal(horizon.visible_seq, 70);
    assert_int_equal(horizon.live[0], 70);
    snapshot_drop(manager, &other);
    destroy_manager(manager);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_horizon_lists_live_snapshots_in_order),
        cmocka_unit_test(thousands_of_snapshots_fit),
        cmocka_unit_test(ended_snapshots_know_it_and_select_nothing),
        cmocka_unit_test(a_renewed_snapshot_is_that_of_now_and_the_only_one),
        cmocka_unit_test(nothing_may_be_pruned_while_a_snapshot_is_pending),
        cmocka_unit_test(pruning_never_passes_a_snapshot_being_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
