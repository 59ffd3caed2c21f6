/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers by hint and by tag beside threads that fill four times the limit, move the limit and
 * invalidate: bytes found under a tag are that page's until the epoch is left.
 */
#include "support/cmocka_test.h"

#include <pthread.h>
#include <string.h>

#include "cache_fixture.h"
#include "support/seeded_random.h"

#define THREADS    4u
#define PLACES     1024u
#define OPERATIONS 30000u
#define LIMIT      ((uint64_t)2 << 20)

struct shared {
    struct cache_fixture fixture;
    uint64_t seed;
    _Atomic cache_hint hints[PLACES];
    _Atomic uint32_t wrong;
    _Atomic uint32_t hits;
};

struct worker {
    struct shared *shared;
    uint64_t index;
    pthread_t thread;
};

static size_t size_of_place(uint64_t place) {
    return place % 4 == 0 ? 4096 : 8192;
}

static struct cache_frame *find(struct shared *shared, uint64_t place, cache_tag tag) {
    struct cache *cache = shared->fixture.cache;
    cache_hint hint = atomic_load_explicit(&shared->hints[place], memory_order_relaxed);
    if (hint != 0) {
        struct cache_frame *frame = cache_frame_at(cache_base(cache), hint);
        if (cache_frame_holds(frame, tag)) {
            atomic_fetch_add_explicit(&shared->hits, 1, memory_order_relaxed);
            return frame;
        }
    }
    struct cache_frame *frame = cache_lookup(cache, tag);
    if (frame == NULL) {
        frame = page_load(&shared->fixture, size_of_place(place), tag);
    }
    if (frame != NULL) {
        atomic_store_explicit(&shared->hints[place], cache_hint_of(cache, frame),
                              memory_order_relaxed);
    }
    return frame;
}

static void *work(void *argument) {
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    struct seeded_random random;
    seeded_random_init(&random, shared->seed + worker->index);
    struct cache_frame *pinned = NULL;
    uint64_t pinned_place = 0;
    for (unsigned i = 0; i < OPERATIONS; i++) {
        struct epoch_slot *slot = epoch_enter(shared->fixture.epoch);
        for (unsigned j = 0; j < 3; j++) {
            uint64_t place = seeded_random_below(&random, PLACES);
            if (seeded_random_chance(&random, 1, 2)) {
                place %= 64; /* some are hot */
            }
            cache_tag tag = cache_tag_of(shared->fixture.space, place + 8);
            struct cache_frame *frame = find(shared, place, tag);
            if (frame != NULL && !page_is_right(frame, size_of_place(place), tag, true)) {
                atomic_fetch_add(&shared->wrong, 1);
            }
            if (frame != NULL && pinned == NULL && seeded_random_chance(&random, 1, 50)) {
                cache_pin(frame);
                pinned = frame;
                pinned_place = place;
            }
            if (seeded_random_chance(&random, 1, 200)) {
                cache_invalidate(shared->fixture.cache, tag);
            }
        }
        epoch_exit(slot);
        if (pinned != NULL && seeded_random_chance(&random, 1, 20)) {
            cache_tag tag = cache_tag_of(shared->fixture.space, pinned_place + 8);
            if (!page_is_right(pinned, size_of_place(pinned_place), tag, false)) {
                atomic_fetch_add(&shared->wrong, 1);
            }
            cache_unpin(pinned);
            pinned = NULL;
        }
        if (worker->index == 0 && i % 2000 == 1999) {
            cache_set_limit(shared->fixture.cache, LIMIT + seeded_random_below(&random, LIMIT));
        }
    }
    if (pinned != NULL) {
        cache_unpin(pinned);
    }
    return NULL;
}

static void readers_never_see_another_pages_bytes(void **state) {
    (void)state;
    static struct shared shared;
    memset(&shared, 0, sizeof(shared));
    shared.seed = seeded_random_seed("cache threads");
    cache_fixture_open(&shared.fixture, LIMIT, NULL);
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.shared = &shared, .index = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    }
    assert_int_equal(atomic_load(&shared.wrong), 0);
    assert_true(atomic_load(&shared.hits) > 0);
    struct cache_stats stats;
    cache_get_stats(shared.fixture.cache, &stats);
    assert_true(stats.evictions > 1000);
    assert_int_equal(stats.pinned_frames, 0);
    cache_fixture_close(&shared.fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_never_see_another_pages_bytes),
    };
    int failures = 0;
    for (int policy = TERN_CACHE_POLICY_CLOCK; policy <= TERN_CACHE_POLICY_LRU; policy++) {
        cache_fixture_set_policy((tern_cache_policy)policy);
        failures += cmocka_run_group_tests_name(cache_policy_name((tern_cache_policy)policy), tests,
                                                NULL, NULL);
    }
    return failures;
}
