/* SPDX-License-Identifier: Apache-2.0 */
/* What policies promise: near to what they are named after, never above the optimum, bounded. */
#include "support/cmocka_test.h"

#include <stdlib.h>
#include <string.h>

#include "cache/cache_internal.h"
#include "cache/frequency_sketch.h"
#include "cache/policy_nodes.h"
#include "cache_fixture.h"
#include "reference_policies.h"
#include "support/seeded_random.h"

#define MIB    ((uint64_t)1 << 20)
#define PAGE   ((size_t)4096)
#define PAGES  8192u
#define LENGTH 120000u
#define FRAMES 1024u

/* ---- traces ---- */

/* Some pages are read a hundred times as often as others. */
static uint32_t skewed(struct seeded_random *random) {
    uint64_t bound = PAGES >> seeded_random_below(random, 8);
    return (uint32_t)(seeded_random_below(random, bound) * 2654435761u % PAGES);
}

static struct page_trace make_trace(struct seeded_random *random, unsigned kind) {
    struct page_trace trace = {malloc(LENGTH * sizeof(uint32_t)), LENGTH, PAGES};
    assert_non_null(trace.pages);
    for (uint32_t i = 0; i < LENGTH; i++) {
        bool is_scan = kind == 1 && i % 100 >= 70;
        trace.pages[i] = kind == 2 ? i % (FRAMES + FRAMES / 8)
                         : is_scan ? i * 7 % PAGES
                                   : skewed(random);
    }
    return trace;
}

static uint64_t hits_of(tern_cache_policy policy, const struct page_trace *trace,
                        uint64_t *out_frames_max, uint64_t *out_ghost_hits) {
    struct cache_fixture fixture;
    uint64_t hits = 0;
    uint64_t frames_max = 0;
    cache_fixture_set_policy(policy);
    cache_fixture_open(&fixture, FRAMES * PAGE, NULL);
    struct cache_stats stats;
    for (size_t i = 0; i < trace->length; i++) {
        cache_tag tag = cache_tag_of(fixture.space, (uint64_t)trace->pages[i] + 1);
        struct epoch_slot *slot = epoch_enter(fixture.epoch);
        if (cache_lookup(fixture.cache, tag) != NULL) {
            hits++;
        } else {
            struct cache_frame *frame = cache_acquire(fixture.cache, PAGE);
            assert_non_null(frame);
            (void)cache_publish(fixture.cache, frame, tag);
        }
        epoch_exit(slot);
        if (i % 1000 == 0) {
            cache_get_stats(fixture.cache, &stats);
            frames_max = stats.frames > frames_max ? stats.frames : frames_max;
            assert_true(stats.ghosts <= FRAMES);
            assert_true(stats.used_bytes <= FRAMES * PAGE);
        }
    }
    cache_get_stats(fixture.cache, &stats);
    *out_frames_max = frames_max;
    *out_ghost_hits = stats.ghost_hits;
    cache_fixture_close(&fixture);
    return hits;
}

static void assert_near(uint64_t hits, uint64_t reference, const char *what) {
    double difference = ((double)hits - (double)reference) / LENGTH;
    if (difference > 0.02 || difference < -0.02) {
        fail_msg("%s: %llu hits, exactly %llu", what, (unsigned long long)hits,
                 (unsigned long long)reference);
    }
}

static void hits_are_those_of_exact_lru_and_clock_and_below_the_optimum(void **state) {
    (void)state;
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("cache policies"));
    for (unsigned kind = 0; kind < 3; kind++) {
        struct page_trace trace = make_trace(&random, kind);
        uint64_t best = reference_belady_hits(&trace, FRAMES);
        for (int policy = TERN_CACHE_POLICY_CLOCK; policy <= TERN_CACHE_POLICY_LRU; policy++) {
            uint64_t frames = 0;
            uint64_t ghost_hits = 0;
            uint64_t hits = hits_of((tern_cache_policy)policy, &trace, &frames, &ghost_hits);
            assert_true(hits <= best);
            assert_true(frames <= FRAMES && frames > FRAMES * 8 / 10);
            bool has_ghosts =
                policy == TERN_CACHE_POLICY_ARC || policy == TERN_CACHE_POLICY_CLOCK_PRO;
            assert_true(ghost_hits > 0 ? has_ghosts : !has_ghosts || kind > 0);
            if (policy == TERN_CACHE_POLICY_CLOCK) {
                assert_near(hits, reference_clock_hits(&trace, (uint32_t)frames), "clock");
            } else if (policy == TERN_CACHE_POLICY_LRU) {
                assert_near(hits, reference_lru_hits(&trace, (uint32_t)frames), "lru");
            }
        }
        free(trace.pages);
    }
}

static void policies_that_promise_it_withstand_a_scan(void **state) {
    (void)state;
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("cache scan"));
    struct page_trace trace = make_trace(&random, 1);
    uint64_t frames = 0;
    uint64_t ghost_hits = 0;
    uint64_t lru = hits_of(TERN_CACHE_POLICY_LRU, &trace, &frames, &ghost_hits);
    for (int policy = TERN_CACHE_POLICY_ARC; policy <= TERN_CACHE_POLICY_SLRU; policy++) {
        uint64_t hits = hits_of((tern_cache_policy)policy, &trace, &frames, &ghost_hits);
        assert_true(hits > lru + LENGTH / 50);
    }
    free(trace.pages);
    trace = make_trace(&random, 2);
    assert_true(hits_of(TERN_CACHE_POLICY_CLOCK_PRO, &trace, &frames, &ghost_hits) > LENGTH / 3);
    assert_true(hits_of(TERN_CACHE_POLICY_TINYLFU, &trace, &frames, &ghost_hits) > LENGTH / 3);
    free(trace.pages);
}

static void a_page_that_was_given_up_is_no_ghost(void **state) {
    (void)state;
    for (int policy = TERN_CACHE_POLICY_ARC; policy <= TERN_CACHE_POLICY_CLOCK_PRO; policy++) {
        struct cache_fixture fixture;
        cache_fixture_set_policy((tern_cache_policy)policy);
        cache_fixture_open(&fixture, FRAMES * PAGE, NULL);
        for (uint64_t round = 0; round < 2; round++) {
            for (uint64_t page = 1; page < FRAMES * 3 / 2; page++) {
                struct epoch_slot *slot = epoch_enter(fixture.epoch);
                if (round == 1) {
                    cache_invalidate(fixture.cache, cache_tag_of(fixture.space, page));
                }
                (void)page_load(&fixture, PAGE, cache_tag_of(fixture.space, page));
                epoch_exit(slot);
            }
        }
        struct cache_stats stats;
        cache_get_stats(fixture.cache, &stats);
        assert_int_equal(stats.ghost_hits, 0);
        cache_fixture_close(&fixture);
    }
}

static void names_and_numbers_of_policies_belong_together(void **state) {
    (void)state;
    for (int policy = TERN_CACHE_POLICY_CLOCK; policy <= TERN_CACHE_POLICY_LRU; policy++) {
        tern_cache_policy found = TERN_CACHE_POLICY_DEFAULT;
        assert_true(cache_policy_parse(cache_policy_name((tern_cache_policy)policy), &found));
        assert_int_equal(found, policy);
    }
    tern_cache_policy found = TERN_CACHE_POLICY_DEFAULT;
    assert_false(cache_policy_parse("mru", &found));
    assert_null(cache_policy_name((tern_cache_policy)7));
    assert_null(cache_policy_name((tern_cache_policy)-1));
}

static void lists_what_a_space_has_cached_hot_pages_first(void **state) {
    (void)state;
    for (int policy = TERN_CACHE_POLICY_CLOCK; policy <= TERN_CACHE_POLICY_LRU; policy++) {
        struct cache_fixture fixture;
        uint64_t places[64];
        cache_fixture_set_policy((tern_cache_policy)policy);
        cache_fixture_open(&fixture, 4 * MIB, NULL);
        uint32_t other = cache_space_open(fixture.cache);
        struct epoch_slot *slot = epoch_enter(fixture.epoch);
        for (uint64_t page = 1; page <= 40; page++) {
            (void)page_load(&fixture, PAGE, cache_tag_of(fixture.space, page));
            (void)page_load(&fixture, PAGE << page % 3, cache_tag_of(other, page));
        }
        for (uint64_t page = 31; page <= 40; page++) {
            assert_non_null(cache_lookup(fixture.cache, cache_tag_of(fixture.space, page)));
        }
        epoch_exit(slot);
        assert_int_equal(cache_list_space(fixture.cache, fixture.space, places, 64), 40);
        for (unsigned i = 0; i < 10; i++) {
            assert_true(places[i] >= 31 && places[i] <= 40);
        }
        assert_int_equal(cache_list_space(fixture.cache, other, places, 64), 40);
        assert_int_equal(cache_list_space(fixture.cache, other, places, 7), 7);
        cache_fixture_close(&fixture);
    }
}

/* ---- parts ---- */

static void a_sketch_counts_up_to_its_maximum_and_forgets(void **state) {
    (void)state;
    struct frequency_sketch sketch;
    assert_int_equal(sketch_init(&sketch, 1 << 16, NULL), TERN_OK);
    sketch_resize(&sketch, 4096);
    for (unsigned seen = 0; seen < 30; seen++) {
        assert_int_equal(sketch_estimate(&sketch, 77), seen < 16 ? seen : 16);
        sketch_add(&sketch, 77);
    }
    sketch_resize(&sketch, 1 << 14);
    assert_int_equal(sketch_estimate(&sketch, 77), 16);
    sketch_resize(&sketch, 1000);
    assert_int_equal(sketch_estimate(&sketch, 77), 16);
    uint64_t over = 0;
    for (uint64_t tag = 1000; tag < 2000; tag++) {
        over += sketch_estimate(&sketch, tag) > 1;
    }
    assert_true(over < 20);
    for (uint64_t tag = 0; tag < 8 * 24 * 1024; tag++) {
        sketch_add(&sketch, 1000000 + tag % 3);
    }
    assert_true(sketch_estimate(&sketch, 77) <= 1);
    sketch_release(&sketch);
}

static struct policy_nodes *nodes_under_test;

static void drop_ghost(struct cache_policy *policy, node_id ghost) {
    (void)policy;
    nodes_ghost_remove(nodes_under_test, ghost);
}

/* Against a plain array, with a limit that moves. */
static void finds_the_ghosts_that_were_added_and_no_others(void **state) {
    (void)state;
    enum { TAGS = 600 };
    struct seeded_random random;
    struct policy_nodes nodes;
    bool is_ghost[TAGS] = {false};
    uint32_t limit = 200;
    seeded_random_init(&random, seeded_random_seed("ghosts"));
    static struct cache cache;
    struct frame_pool pool = {.cache = &cache};
    assert_int_equal(nodes_init(&nodes, &pool, 4096, true, NULL), TERN_OK);
    nodes_under_test = &nodes;
    nodes_resize(&nodes, limit, drop_ghost, NULL);
    for (unsigned i = 0; i < 60000; i++) {
        uint64_t tag = seeded_random_below(&random, TAGS);
        node_id found = nodes_ghost_find(&nodes, tag + 1);
        assert_int_equal(found != NODE_NONE, is_ghost[tag]);
        if (found != NODE_NONE) {
            nodes_ghost_remove(&nodes, found);
            is_ghost[tag] = false;
        } else {
            bool has_room = nodes.ghost_count < limit;
            node_id added = nodes_ghost_add(&nodes, tag + 1);
            assert_int_equal(added != NODE_NONE, has_room);
            if (has_room) {
                nodes_push(&nodes, 1 + (unsigned)tag % 3, added);
                is_ghost[tag] = true;
            }
        }
        if (seeded_random_chance(&random, 1, 500)) {
            uint32_t before = limit;
            limit = (uint32_t)seeded_random_below(&random, 700);
            cache.work.now = 0;
            nodes_resize(&nodes, limit, drop_ghost, NULL);
            /* What it takes away or adds, with the chains it moves; not what stays. */
            assert_true(cache.work.now <=
                        8 + 4 * (before > limit ? before - limit : limit - before));
            assert_true(nodes.ghost_count <= limit);
            for (uint64_t t = 0; t < TAGS; t++) {
                bool is_left = nodes_ghost_find(&nodes, t + 1) != NODE_NONE;
                assert_true(is_ghost[t] || !is_left);
                is_ghost[t] = is_left;
            }
        }
        if (i % 100 == 0) {
            assert_null(nodes_check(&nodes));
        }
    }
    nodes_release(&nodes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_are_those_of_exact_lru_and_clock_and_below_the_optimum),
        cmocka_unit_test(policies_that_promise_it_withstand_a_scan),
        cmocka_unit_test(a_page_that_was_given_up_is_no_ghost),
        cmocka_unit_test(names_and_numbers_of_policies_belong_together),
        cmocka_unit_test(lists_what_a_space_has_cached_hot_pages_first),
        cmocka_unit_test(a_sketch_counts_up_to_its_maximum_and_forgets),
        cmocka_unit_test(finds_the_ghosts_that_were_added_and_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
