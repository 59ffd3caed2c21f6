/* SPDX-License-Identifier: Apache-2.0 */
#include "os/epoch.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "support/cmocka_test.h"
#include "support/fault_allocator.h"

struct item {
    struct epoch_node node;
    _Atomic uint32_t *released;
};

static void release_item(struct epoch_node *node) {
    struct item *item = (struct item *)node;
    atomic_fetch_add(item->released, 1);
    free(item);
}

static void retire_one(struct epoch_domain *domain, _Atomic uint32_t *released) {
    struct item *item = malloc(sizeof(*item));
    item->released = released;
    epoch_retire(domain, &item->node, release_item);
}

static struct epoch_domain *create_domain(const tern_allocator *allocator) {
    struct epoch_domain *domain = NULL;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(epoch_domain_create(allocator, &domain, &error), error);
    return domain;
}

static void releases_at_once_when_nobody_is_inside(void **state) {
    (void)state;
    _Atomic uint32_t released = 0;
    struct epoch_domain *domain = create_domain(tern_allocator_default());
    assert_int_equal(epoch_reclaim(domain), 0);
    retire_one(domain, &released);
    retire_one(domain, &released);
    assert_int_equal(released, 0); /* never from retire itself */
    assert_int_equal(epoch_reclaim(domain), 2);
    assert_int_equal(released, 2);
    epoch_domain_destroy(domain);
    epoch_domain_destroy(NULL);
}

static void holds_what_was_retired_while_a_reader_is_inside(void **state) {
    (void)state;
    _Atomic uint32_t released = 0;
    struct epoch_domain *domain = create_domain(tern_allocator_default());
    struct epoch_slot *slot = epoch_enter(domain);
    retire_one(domain, &released);
    struct epoch_slot *nested = epoch_enter(domain);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(epoch_reclaim(domain), 0);
    }
    epoch_exit(nested);
    assert_int_equal(epoch_reclaim(domain), 0); /* the outer one still holds */
    epoch_exit(slot);
    assert_int_equal(epoch_reclaim(domain), 1);
    epoch_domain_destroy(domain);
}

static void a_reader_that_came_later_does_not_hold_earlier_things(void **state) {
    (void)state;
    _Atomic uint32_t released = 0;
    struct epoch_domain *domain = create_domain(tern_allocator_default());
    uint64_t before = epoch_current(domain);
    retire_one(domain, &released);
    assert_true(epoch_is_past(domain, before));
    struct epoch_slot *slot = epoch_enter(domain);
    uint64_t inside = epoch_current(domain);
    assert_false(epoch_is_past(domain, inside));
    assert_true(epoch_is_past(domain, before));
    assert_int_equal(epoch_reclaim(domain), 1);
    epoch_exit(slot);
    assert_true(epoch_is_past(domain, inside));
    epoch_domain_destroy(domain);
}

static void destroy_releases_limbo_and_all_memory(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct epoch_domain *domain = create_domain(fault_allocator_interface(allocator));
    _Atomic uint32_t released = 0;
    epoch_exit(epoch_enter(domain));
    retire_one(domain, &released);
    epoch_domain_destroy(domain);
    assert_int_equal(released, 1);
    fault_allocator_destroy(allocator);
}

static void serves_readers_when_out_of_memory(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct epoch_domain *domain = NULL;
    fault_allocator_fail(allocator, 1, true);
    assert_int_equal(epoch_domain_create(fault_allocator_interface(allocator), &domain, NULL),
                     TERN_NO_MEMORY);
    assert_null(domain);
    fault_allocator_fail(allocator, 0, false);
    domain = create_domain(fault_allocator_interface(allocator));
    fault_allocator_fail(allocator, 1, true);
    _Atomic uint32_t released = 0;
    struct epoch_slot *slot = epoch_enter(domain);
    struct epoch_slot *nested = epoch_enter(domain);
    retire_one(domain, &released);
    assert_int_equal(epoch_reclaim(domain), 0);
    epoch_exit(nested);
    assert_int_equal(epoch_reclaim(domain), 0);
    epoch_exit(slot);
    assert_int_equal(epoch_reclaim(domain), 1);
    epoch_domain_destroy(domain);
    fault_allocator_destroy(allocator);
}

static void serves_more_domains_at_once_than_a_thread_caches(void **state) {
    (void)state;
    enum { DOMAINS = 40 };
    struct epoch_domain *domains[DOMAINS];
    struct epoch_slot *slots[DOMAINS];
    _Atomic uint32_t released = 0;
    for (unsigned i = 0; i < DOMAINS; i++) {
        domains[i] = create_domain(tern_allocator_default());
    }
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < DOMAINS; i++) {
            slots[i] = epoch_enter(domains[i]);
            retire_one(domains[i], &released);
        }
        for (unsigned i = 0; i < DOMAINS; i++) {
            assert_int_equal(epoch_reclaim(domains[i]), 0);
            epoch_exit(slots[i]);
            assert_int_equal(epoch_reclaim(domains[i]), 1);
        }
        for (unsigned i = 0; i < DOMAINS; i++) { /* one by one: slots are taken over */
            epoch_exit(epoch_enter(domains[i]));
        }
    }
    for (unsigned i = 0; i < DOMAINS; i++) {
        epoch_domain_destroy(domains[i]);
    }
}

static void *enter_and_leave(void *domain) {
    epoch_exit(epoch_enter(domain));
    return NULL;
}

static void gives_slots_back_when_threads_end(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct epoch_domain *domain = create_domain(fault_allocator_interface(allocator));
    epoch_exit(epoch_enter(domain));
    uint64_t blocks = fault_allocator_live_blocks(allocator);
    for (unsigned i = 0; i < 200; i++) { /* one chunk would not do for as many */
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, enter_and_leave, domain), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    assert_int_equal(fault_allocator_live_blocks(allocator), blocks);
    epoch_domain_destroy(domain);
    fault_allocator_destroy(allocator);
}

struct outliving {
    struct epoch_domain *domain;
    _Atomic uint32_t stage;
};

static void *outlive_domain(void *argument) {
    struct outliving *outliving = argument;
    epoch_exit(epoch_enter(outliving->domain));
    atomic_store(&outliving->stage, 1);
    while (atomic_load(&outliving->stage) != 2) {
        (void)sched_yield();
    }
    epoch_exit(epoch_enter(outliving->domain)); /* another one by now */
    return NULL;
}

static void a_domain_may_end_while_threads_still_cache_it(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct outliving outliving = {create_domain(fault_allocator_interface(allocator)), 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, outlive_domain, &outliving), 0);
    while (atomic_load(&outliving.stage) != 1) {
        (void)sched_yield();
    }
    epoch_domain_destroy(outliving.domain);
    outliving.domain = create_domain(fault_allocator_interface(allocator));
    atomic_store(&outliving.stage, 2);
    assert_int_equal(pthread_join(thread, NULL), 0);
    epoch_domain_destroy(outliving.domain);
    fault_allocator_destroy(allocator);
}

/* Readers follow a pointer that writers replace; what they see must not have been released. */
#define LIVE         0x11fe11feu
#define DEAD         0xdeaddeadu
#define REPLACEMENTS 2000u

struct target {
    struct epoch_node node;
    uint32_t mark; /* plain: a race on it is what ThreadSanitizer would report */
};

struct contest {
    struct epoch_domain *domain;
    _Atomic(struct target *) current;
    _Atomic bool is_over;
    _Atomic uint64_t reads;
    _Atomic uint64_t bad_reads;
};

static void release_target(struct epoch_node *node) {
    struct target *target = (struct target *)node;
    target->mark = DEAD;
    free(target);
}

static struct target *create_target(void) {
    struct target *target = malloc(sizeof(*target));
    target->mark = LIVE;
    return target;
}

static void *read_targets(void *argument) {
    struct contest *contest = argument;
    uint64_t reads = 0;
    while (!atomic_load_explicit(&contest->is_over, memory_order_relaxed) || reads == 0) {
        struct epoch_slot *slot = epoch_enter(contest->domain);
        struct target *target = atomic_load_explicit(&contest->current, memory_order_acquire);
        if (reads % 16 == 0) {
            (void)sched_yield();
        }
        if (target->mark != LIVE) {
            atomic_fetch_add(&contest->bad_reads, 1);
        }
        epoch_exit(slot);
        reads++;
    }
    atomic_fetch_add(&contest->reads, reads);
    return NULL;
}

static void *replace_targets(void *argument) {
    struct contest *contest = argument;
    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        struct target *old = atomic_exchange(&contest->current, create_target());
        epoch_retire(contest->domain, &old->node, release_target);
        if (i % 3 == 0) {
            (void)epoch_reclaim(contest->domain);
        }
        if (i % 500 == 0) {
            epoch_synchronize(contest->domain);
        }
    }
    return NULL;
}

static void readers_never_see_what_was_released(void **state) {
    (void)state;
    struct contest contest = {.domain = create_domain(tern_allocator_default())};
    atomic_store(&contest.current, create_target());
    pthread_t readers[4];
    pthread_t writers[2];
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_targets, &contest), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&writers[i], NULL, replace_targets, &contest), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(writers[i], NULL), 0);
    }
    atomic_store(&contest.is_over, true);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    }
    assert_int_equal(contest.bad_reads, 0);
    assert_true(contest.reads > 0);
    epoch_domain_destroy(contest.domain);
    free(atomic_load(&contest.current));
}

static void *wait_inside(void *argument) {
    struct outliving *waiting = argument;
    struct epoch_slot *slot = epoch_enter(waiting->domain);
    atomic_store(&waiting->stage, 1);
    for (unsigned i = 0; i < 100; i++) {
        (void)sched_yield();
    }
    atomic_store(&waiting->stage, 2);
    epoch_exit(slot);
    return NULL;
}

static void synchronize_waits_for_those_inside(void **state) {
    (void)state;
    struct outliving waiting = {create_domain(tern_allocator_default()), 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_inside, &waiting), 0);
    while (atomic_load(&waiting.stage) == 0) {
        (void)sched_yield();
    }
    epoch_synchronize(waiting.domain);
    assert_int_equal(atomic_load(&waiting.stage), 2);
    assert_int_equal(pthread_join(thread, NULL), 0);
    epoch_domain_destroy(waiting.domain);
}

/* A release that takes its time, in another thread. */
struct slow_item {
    struct epoch_node node;
    _Atomic bool has_begun;
    _Atomic bool is_through;
};

static void release_slowly(struct epoch_node *node) {
    struct slow_item *item = (struct slow_item *)node;
    atomic_store(&item->has_begun, true);
    for (int i = 0; i < 200; i++) {
        const struct timespec pause = {0, 100000};
        (void)nanosleep(&pause, NULL);
    }
    atomic_store(&item->is_through, true);
}

static void *reclaim(void *domain) {
    (void)epoch_reclaim(domain);
    return NULL;
}

static void drain_waits_for_releases_of_other_threads(void **state) {
    (void)state;
    pthread_t thread;
    struct slow_item item = {.has_begun = false};
    struct epoch_domain *domain = create_domain(tern_allocator_default());
    epoch_retire(domain, &item.node, release_slowly);
    assert_int_equal(pthread_create(&thread, NULL, reclaim, domain), 0);
    while (!atomic_load(&item.has_begun)) {
        (void)sched_yield();
    }
    epoch_drain(domain);
    assert_true(atomic_load(&item.is_through));
    assert_int_equal(pthread_join(thread, NULL), 0);
    epoch_domain_destroy(domain);
}

struct chained_item {
    struct epoch_node node;
    struct epoch_domain *domain;
    _Atomic uint32_t *released;
};

static void release_and_retire(struct epoch_node *node) {
    struct chained_item *item = (struct chained_item *)node;
    retire_one(item->domain, item->released);
}

static void drain_releases_what_releases_retire(void **state) {
    (void)state;
    _Atomic uint32_t released = 0;
    struct chained_item item = {.domain = create_domain(tern_allocator_default()),
                                .released = &released};
    epoch_retire(item.domain, &item.node, release_and_retire);
    epoch_drain(item.domain);
    assert_int_equal(released, 1);
    epoch_domain_destroy(item.domain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(releases_at_once_when_nobody_is_inside),
        cmocka_unit_test(holds_what_was_retired_while_a_reader_is_inside),
        cmocka_unit_test(a_reader_that_came_later_does_not_hold_earlier_things),
        cmocka_unit_test(destroy_releases_limbo_and_all_memory),
        cmocka_unit_test(serves_readers_when_out_of_memory),
        cmocka_unit_test(serves_more_domains_at_once_than_a_thread_caches),
        cmocka_unit_test(gives_slots_back_when_threads_end),
        cmocka_unit_test(a_domain_may_end_while_threads_still_cache_it),
        cmocka_unit_test(readers_never_see_what_was_released),
        cmocka_unit_test(synchronize_waits_for_those_inside),
        cmocka_unit_test(drain_waits_for_releases_of_other_threads),
        cmocka_unit_test(drain_releases_what_releases_retire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
