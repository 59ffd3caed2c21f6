/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "txn/lock_manager.h"

#define SHARED    TERN_LOCK_SHARED
#define EXCLUSIVE TERN_LOCK_EXCLUSIVE
/* Long enough never to be reached by a test that passes. */
#define LONG_MS 60000

static struct budget budget;

static struct lock_manager *create_limited(uint64_t bytes_max) {
    tern_error error = TERN_ERROR_INIT;
    struct lock_manager *manager;
    const struct lock_manager_options options = {.allocator = tern_allocator_default(),
                                                 .clock = tern_clock_default(),
                                                 .budget = &budget,
                                                 .bytes_max = bytes_max};
    assert_ok(lock_manager_create(&options, &manager, &error), error);
    return manager;
}

static struct lock_manager *create(void) {
    return create_limited((uint64_t)64 << 20);
}

static tern_status lock(struct lock_manager *manager, struct lock_owner *owner, const char *key,
                        tern_lock_mode mode, uint32_t timeout_ms) {
    return lock_manager_lock(manager, owner, 1, tern_slice_str(key), mode, timeout_ms, NULL);
}

static struct lock_manager_stats stats_of(const struct lock_manager *manager) {
    struct lock_manager_stats stats;
    lock_manager_get_stats(manager, &stats);
    return stats;
}

/* A request on a thread of its own. */
struct request {
    struct lock_manager *manager;
    struct lock_owner *owner;
    const char *key;
    tern_lock_mode mode;
    tern_status status;
    tern_error error;
    pthread_t thread;
};

static void *run_request(void *argument) {
    struct request *request = argument;
    request->status =
        lock_manager_lock(request->manager, request->owner, 1, tern_slice_str(request->key),
                          request->mode, LONG_MS, &request->error);
    return NULL;
}

/* Returns once the request waits. */
static void start_waiting(struct request *request, struct lock_manager *manager,
                          struct lock_owner *owner, const char *key, tern_lock_mode mode) {
    uint64_t waits = stats_of(manager).waits;
    *request = (struct request){
        .manager = manager, .owner = owner, .key = key, .mode = mode, .error = TERN_ERROR_INIT};
    assert_int_equal(pthread_create(&request->thread, NULL, run_request, request), 0);
    while (stats_of(manager).waits == waits) {
        sched_yield();
    }
}

static tern_status finish(struct request *request) {
    assert_int_equal(pthread_join(request->thread, NULL), 0);
    return request->status;
}

static void shared_locks_go_together_and_exclusive_ones_do_not(void **state) {
    (void)state;
    struct lock_manager *manager = create();
    struct lock_owner a = {.id = 1};
    struct lock_owner b = {.id = 2};
    assert_int_equal(lock(manager, &a, "k", SHARED, 0), TERN_OK);
    assert_int_equal(lock(manager, &b, "k", SHARED, 0), TERN_OK);
    assert_int_equal(lock(manager, &b, "k", EXCLUSIVE, 0), TERN_TIMEOUT);
    lock_manager_release_all(manager, &a);
    assert_int_equal(lock(manager, &b, "k", EXCLUSIVE, 0), TERN_OK);
    assert_int_equal(lock(manager, &b, "k", SHARED, 0), TERN_OK);
    assert_int_equal(b.held_count, 1);
    assert_int_equal(lock(manager, &a, "k", SHARED, 0), TERN_TIMEOUT);
    assert_int_equal(lock(manager, &a, "l", EXCLUSIVE, 0), TERN_OK);
    assert_int_equal(lock_manager_held(manager), 2);
    lock_manager_release_all(manager, &a);
    lock_manager_release_all(manager, &b);
    assert_int_equal(lock_manager_held(manager), 0);
    lock_manager_destroy(manager);
}

static void a_timeout_names_the_holder(void **state) {
    (void)state;
    struct lock_manager *manager = create();
    struct lock_owner a = {.id = 4711};
    struct lock_owner b = {.id = 5000};
    tern_error error = TERN_ERROR_INIT;
    assert_int_equal(lock(manager, &a, "k", EXCLUSIVE, 0), TERN_OK);
    assert_int_equal(lock_manager_lock(manager, &b, 1, tern_slice_str("k"), SHARED, 20, &error),
                     TERN_TIMEOUT);
    assert_non_null(strstr(error.message, "4711"));
    assert_non_null(strstr(error.message, "'k'"));
    assert_int_equal(stats_of(manager).timeouts, 1);
    lock_manager_release_all(manager, &a);
    lock_manager_destroy(manager);
}

static void waiters_are_served_in_order_of_arrival(void **state) {
    (void)state;
    struct lock_manager *manager = create();
    struct lock_owner owners[4] = {{.id = 1}, {.id = 2}, {.id = 3}, {.id = 4}};
    struct request requests[3];
    assert_int_equal(lock(manager, &owners[0], "k", SHARED, 0), TERN_OK);
    start_waiting(&requests[0], manager, &owners[1], "k", EXCLUSIVE);
    /* Would fit beside the holder, but may not overtake the exclusive waiter. */
    start_waiting(&requests[1], manager, &owners[2], "k", SHARED);
    start_waiting(&requests[2], manager, &owners[3], "k", SHARED);
    lock_manager_release_all(manager, &owners[0]);
    assert_int_equal(finish(&requests[0]), TERN_OK);
    assert_int_equal(lock_manager_held(manager), 1);
    lock_manager_release_all(manager, &owners[1]);
    assert_int_equal(finish(&requests[1]), TERN_OK);
    assert_int_equal(finish(&requests[2]), TERN_OK);
    assert_int_equal(lock_manager_held(manager), 2);
    lock_manager_release_all(manager, &owners[2]);
    lock_manager_release_all(manager, &owners[3]);
    lock_manager_destroy(manager);
}

static void an_upgrade_goes_before_newcomers(void **state) {
    (void)state;
    struct lock_manager *manager = create();
    struct lock_owner owners[3] = {{.id = 1}, {.id = 2}, {.id = 3}};
    struct request newcomer;
    struct request upgrade;
    assert_int_equal(lock(manager, &owners[0], "k", SHARED, 0), TERN_OK);
    assert_int_equal(lock(manager, &owners[1], "k", SHARED, 0), TERN_OK);
    start_waiting(&newcomer, manager, &owners[2], "k", EXCLUSIVE);
    start_waiting(&upgrade, manager, &owners[0], "k", EXCLUSIVE);
    lock_manager_release_all(manager, &owners[1]);
    assert_int_equal(finish(&upgrade), TERN_OK);
    lock_manager_release_all(manager, &owners[0]);
    assert_int_equal(finish(&newcomer), TERN_OK);
    lock_manager_release_all(manager, &owners[2]);
    lock_manager_destroy(manager);
}

static void the_youngest_gives_way_when_it_closes_the_circle(void **state) {
    (void)state;
    struct lock_manager *manager = create();
    struct lock_owner older = {.id = 1};
    struct lock_owner younger = {.id = 2};
    struct request waiting;
    tern_error error = TERN_ERROR_INIT;
    assert_int_equal(lock(manager, &older, "a", EXCLUSIVE, 0), TERN_OK);
    assert_int_equal(lock(manager, &younger, "b", EXCLUSIVE, 0), TERN_OK);
    start_waiting(&waiting, manager, &older, "b", EXCLUSIVE);
    assert_int_equal(
        lock_manager_lock(manager, &younger, 1, tern_slice_str("a"), EXCLUSIVE, LONG_MS, &error),
        TERN_DEADLOCK);
    assert_non_null(strstr(error.message, "transaction 2"));
    lock_manager_release_all(manager, &younger);
    assert_int_equal(finish(&waiting), TERN_OK);
    lock_manager_release_all(manager, &older);
    assert_int_equal(stats_of(manager).deadlocks, 1);
    lock_manager_destroy(manager);
}

static void the_youngest_gives_way_when_another_closes_the_circle(void **state) {
    (void)state;
    struct lock_manager *manager = create();
    struct lock_owner owners[3] = {{.id = 1}, {.id = 3}, {.id = 2}};
    struct request requests[3];
    assert_int_equal(lock(manager, &owners[0], "a", EXCLUSIVE, 0), TERN_OK);
    assert_int_equal(lock(manager, &owners[1], "b", EXCLUSIVE, 0), TERN_OK);
    assert_int_equal(lock(manager, &owners[2], "c", EXCLUSIVE, 0), TERN_OK);
    start_waiting(&requests[1], manager, &owners[1], "c", EXCLUSIVE);
    start_waiting(&requests[2], manager, &owners[2], "a", SHARED);
    start_waiting(&requests[0], manager, &owners[0], "b", EXCLUSIVE);
    assert_int_equal(finish(&requests[1]), TERN_DEADLOCK);
    assert_non_null(strstr(requests[1].error.message, "transaction 3"));
    lock_manager_release_all(manager, &owners[1]);
    assert_int_equal(finish(&requests[0]), TERN_OK);
    lock_manager_release_all(manager, &owners[0]);
    assert_int_equal(finish(&requests[2]), TERN_OK);
    lock_manager_release_all(manager, &owners[2]);
    lock_manager_destroy(manager);
}

static void two_upgrades_of_one_key_are_a_deadlock(void **state) {
    (void)state;
    struct lock_manager *manager = create();
    struct lock_owner older = {.id = 1};
    struct lock_owner younger = {.id = 2};
    struct request waiting;
    assert_int_equal(lock(manager, &older, "k", SHARED, 0), TERN_OK);
    assert_int_equal(lock(manager, &younger, "k", SHARED, 0), TERN_OK);
    start_waiting(&waiting, manager, &older, "k", EXCLUSIVE);
    assert_int_equal(lock(manager, &younger, "k", EXCLUSIVE, LONG_MS), TERN_DEADLOCK);
    lock_manager_release_all(manager, &younger);
    assert_int_equal(finish(&waiting), TERN_OK);
    lock_manager_release_all(manager, &older);
    lock_manager_destroy(manager);
}

static void others_are_told_apart_from_oneself(void **state) {
    (void)state;
    struct lock_manager *manager = create();
    struct lock_owner a = {.id = 1};
    tern_slice end = tern_slice_str("n");
    assert_int_equal(lock(manager, &a, "m", SHARED, 0), TERN_OK);
    assert_true(lock_manager_is_locked(manager, 0, 1, tern_slice_str("m")));
    assert_true(lock_manager_is_locked(manager, 2, 1, tern_slice_str("m")));
    assert_false(lock_manager_is_locked(manager, 1, 1, tern_slice_str("m")));
    assert_false(lock_manager_is_locked(manager, 0, 2, tern_slice_str("m")));
    assert_false(lock_manager_is_locked(manager, 0, 1, tern_slice_str("n")));
    assert_true(lock_manager_is_range_locked(manager, 0, 1, tern_slice_str("a"), &end));
    assert_true(lock_manager_is_range_locked(manager, 0, 1, tern_slice_of(NULL, 0), NULL));
    assert_false(lock_manager_is_range_locked(manager, 0, 1, tern_slice_str("n"), NULL));
    assert_false(lock_manager_is_range_locked(manager, 1, 1, tern_slice_str("a"), &end));
    lock_manager_release_all(manager, &a);
    assert_false(lock_manager_is_locked(manager, 0, 1, tern_slice_str("m")));
    lock_manager_destroy(manager);
}

/* ---- many threads on few keys ---- */

static void the_newest_lock_can_be_given_back_alone(void **state) {
    (void)state;
    struct lock_manager *manager = create();
    struct lock_owner owner = {.id = 1};
    struct lock_owner other = {.id = 2};
    struct request request;
    assert_int_equal(lock(manager, &owner, "a", EXCLUSIVE, 0), TERN_OK);
    assert_int_equal(lock(manager, &owner, "b", EXCLUSIVE, 0), TERN_OK);
    start_waiting(&request, manager, &other, "b", EXCLUSIVE);
    lock_manager_release_newest(manager, &owner);
    assert_int_equal(pthread_join(request.thread, NULL), 0);
    assert_int_equal(request.status, TERN_OK);
    assert_int_equal(owner.held_count, 1);
    assert_int_equal(lock_manager_held(manager), 2);
    assert_int_equal(lock(manager, &other, "a", SHARED, 1), TERN_TIMEOUT);
    lock_manager_release_newest(manager, &owner);
    assert_null(owner.held);
    assert_int_equal(lock(manager, &other, "a", SHARED, 1), TERN_OK);
    lock_manager_release_all(manager, &other);
    lock_manager_destroy(manager);
}

#define THREADS 6
#define ROUNDS  400
#define KEYS    5

struct crowd {
    struct lock_manager *manager;
    _Atomic uint64_t next_id;
    int guarded[KEYS]; /* written under exclusive locks only */
    _Atomic uint64_t failures;
};

static void one_round(struct crowd *crowd, unsigned *random) {
    struct lock_owner owner = {.id = atomic_fetch_add(&crowd->next_id, 1)};
    for (int i = 0; i < 3; i++) {
        *random = *random * 1664525 + 1013904223;
        int number = (int)(*random >> 16) % KEYS;
        char key[2] = {(char)('a' + number), 0};
        bool exclusive = (*random >> 28 & 1) != 0;
        tern_status status =
            lock(crowd->manager, &owner, key, exclusive ? EXCLUSIVE : SHARED, LONG_MS);
        if (status == TERN_DEADLOCK) {
            break;
        }
        atomic_fetch_add(&crowd->failures, status != TERN_OK);
        if (exclusive) {
            crowd->guarded[number]++;
        }
    }
    lock_manager_release_all(crowd->manager, &owner);
}

static void *run_crowd(void *argument) {
    struct crowd *crowd = argument;
    unsigned random = (unsigned)atomic_fetch_add(&crowd->next_id, 1) * 7919;
    for (int i = 0; i < ROUNDS; i++) {
        one_round(crowd, &random);
    }
    return NULL;
}

static void a_crowd_with_deadlocks_ends_with_nothing_held(void **state) {
    (void)state;
    static struct crowd crowd;
    pthread_t threads[THREADS];
    crowd.manager = create();
    atomic_store(&crowd.next_id, 1);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_crowd, &crowd), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&crowd.failures), 0);
    assert_int_equal(lock_manager_held(crowd.manager), 0);
    assert_int_equal(stats_of(crowd.manager).timeouts, 0);
    lock_manager_destroy(crowd.manager);
}

static void memory_of_locks_counts_and_has_a_limit_that_is_explained(void **state) {
    (void)state;
    uint64_t before = budget_used(&budget, BUDGET_OTHER);
    uint64_t limit = (uint64_t)4 << 20;
    struct lock_manager *manager = create_limited(limit);
    struct lock_owner owner = {.id = 7};
    struct lock_owner other = {.id = 8};
    tern_error error = TERN_ERROR_INIT;
    tern_status status = TERN_OK;
    char key[32];
    uint64_t count = 0;
    while (status == TERN_OK) {
        assert_true(count < 100000);
        (void)snprintf(key, sizeof(key), "key %llu", (unsigned long long)count++);
        status = lock_manager_lock(manager, &owner, 1, tern_slice_str(key), EXCLUSIVE, 0, &error);
        uint64_t used = budget_used(&budget, BUDGET_OTHER) - before;
        assert_int_equal(used, stats_of(manager).bytes);
        assert_true(used <= limit + limit / 8);
    }
    assert_int_equal(status, TERN_TOO_LARGE);
    assert_true(count > 10000);
    assert_non_null(strstr(error.message, key));
    assert_non_null(strstr(error.message, "transaction 7"));
    assert_non_null(strstr(error.message, "transaction_bytes"));
    /* What is held may still be made stronger, and others are told the same. */
    assert_int_equal(lock(manager, &owner, "key 1", EXCLUSIVE, 0), TERN_OK);
    assert_int_equal(lock(manager, &other, "another", SHARED, 0), TERN_TOO_LARGE);
    assert_int_equal(owner.held_count, count - 1);
    lock_manager_release_all(manager, &owner);
    assert_int_equal(lock(manager, &other, "another", SHARED, 0), TERN_OK);
    lock_manager_release_all(manager, &other);
    lock_manager_destroy(manager);
    assert_int_equal(budget_used(&budget, BUDGET_OTHER), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_of_locks_counts_and_has_a_limit_that_is_explained),
        cmocka_unit_test(shared_locks_go_together_and_exclusive_ones_do_not),
        cmocka_unit_test(a_timeout_names_the_holder),
        cmocka_unit_test(waiters_are_served_in_order_of_arrival),
        cmocka_unit_test(an_upgrade_goes_before_newcomers),
        cmocka_unit_test(the_youngest_gives_way_when_it_closes_the_circle),
        cmocka_unit_test(the_youngest_gives_way_when_another_closes_the_circle),
        cmocka_unit_test(two_upgrades_of_one_key_are_a_deadlock),
        cmocka_unit_test(others_are_told_apart_from_oneself),
        cmocka_unit_test(the_newest_lock_can_be_given_back_alone),
        cmocka_unit_test(a_crowd_with_deadlocks_ends_with_nothing_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
