/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include <stdlib.h>

#include "cache/cache_internal.h"
#include "cache_fixture.h"
#include "support/fault_allocator.h"
#include "support/seeded_random.h"

#define MIB  ((uint64_t)1 << 20)
#define PAGE ((size_t)8192)

static cache_tag tag_at(const struct cache_fixture *fixture, uint64_t place) {
    return cache_tag_of(fixture->space, place + 8);
}

static uint64_t used(const struct cache_fixture *fixture) {
    struct cache_stats stats;
    cache_get_stats(fixture->cache, &stats);
    assert_int_equal(stats.used_bytes, budget_used(&fixture->budget, BUDGET_CACHE));
    return stats.used_bytes;
}

/* One page in an epoch of its own. */
static bool load_one(struct cache_fixture *fixture, size_t size, uint64_t place) {
    struct epoch_slot *slot = epoch_enter(fixture->epoch);
    struct cache_frame *frame = page_load(fixture, size, tag_at(fixture, place));
    bool loaded = frame != NULL && page_is_right(frame, size, tag_at(fixture, place), true);
    epoch_exit(slot);
    return loaded;
}

static void finds_a_page_by_tag_and_by_hint(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 4 * MIB, NULL);
    struct epoch_slot *slot = epoch_enter(fixture.epoch);
    cache_tag tag = tag_at(&fixture, 5);
    assert_null(cache_lookup(fixture.cache, tag));
    struct cache_frame *frame = page_load(&fixture, PAGE, tag);
    assert_non_null(frame);
    assert_ptr_equal(cache_lookup(fixture.cache, tag), frame);
    cache_hint hint = cache_hint_of(fixture.cache, frame);
    assert_int_not_equal(hint, 0);
    struct cache_frame *by_hint = cache_frame_at(cache_base(fixture.cache), hint);
    assert_ptr_equal(by_hint, frame);
    assert_true(cache_frame_holds(by_hint, tag));
    assert_false(cache_frame_holds(by_hint, tag + 1));
    assert_true(page_is_right(frame, PAGE, tag, false));
    epoch_exit(slot);
    cache_fixture_close(&fixture);
}

static void gives_the_first_frame_to_whoever_publishes_second(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 4 * MIB, NULL);
    struct epoch_slot *slot = epoch_enter(fixture.epoch);
    cache_tag tag = tag_at(&fixture, 1);
    struct cache_frame *first = page_load(&fixture, PAGE, tag);
    struct cache_frame *second = page_load(&fixture, PAGE, tag);
    assert_ptr_equal(first, second);
    struct cache_stats stats;
    cache_get_stats(fixture.cache, &stats);
    assert_int_equal(stats.frames, 1);
    epoch_exit(slot);
    cache_fixture_close(&fixture);
}

static void keeps_the_limit_to_the_byte_while_four_times_as_much_is_filled(void **state) {
    (void)state;
    const uint64_t limits[] = {1 * MIB, 3 * MIB + 4321, 32 * MIB};
    for (size_t i = 0; i < 3; i++) {
        struct cache_fixture fixture;
        cache_fixture_open(&fixture, limits[i], NULL);
        uint64_t pages = 4 * limits[i] / PAGE;
        for (uint64_t page = 0; page < pages; page++) {
            assert_true(load_one(&fixture, PAGE, page));
            assert_true(budget_used(&fixture.budget, BUDGET_CACHE) <= limits[i]);
        }
        struct cache_stats stats;
        cache_get_stats(fixture.cache, &stats);
        assert_int_equal(stats.acquire_failures, 0);
        /* Most of the limit is frames. */
        assert_true(stats.frames * PAGE > limits[i] * 3 / 4);
        assert_null(cache_check(fixture.cache));
        cache_fixture_close(&fixture);
    }
}

static void takes_memory_only_when_pages_come(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 1024 * MIB, NULL);
    uint64_t at_open = used(&fixture);
    assert_true(at_open < 1024 * MIB / 64);
    assert_true(load_one(&fixture, PAGE, 1));
    assert_true(used(&fixture) - at_open < 3 * MIB);
    cache_fixture_close(&fixture);
}

static void moves_memory_to_a_class_that_has_none(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 8 * MIB, NULL);
    for (uint64_t page = 0; page < 1500; page++) {
        assert_true(load_one(&fixture, PAGE, page));
    }
    size_t loaded = 0;
    for (uint64_t page = 0; page < 8; page++) {
        loaded += load_one(&fixture, 65536, 10000 + page);
        assert_true(used(&fixture) <= 8 * MIB);
    }
    assert_true(loaded >= 7);
    assert_null(cache_check(fixture.cache));
    cache_fixture_close(&fixture);
}

static void moves_memory_towards_the_class_under_pressure(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 16 * MIB, NULL);
    for (uint64_t page = 0; page < 4000; page++) {
        assert_true(load_one(&fixture, PAGE, page));
    }
    for (uint64_t page = 0; page < 12000; page++) {
        (void)load_one(&fixture, 4096, 10000 + page);
    }
    uint64_t resident = 0;
    for (uint64_t page = 10000; page < 22000; page++) {
        struct epoch_slot *slot = epoch_enter(fixture.epoch);
        resident += cache_lookup(fixture.cache, tag_at(&fixture, page)) != NULL;
        epoch_exit(slot);
    }
    assert_true(resident * 4096 > 10 * MIB);
    assert_null(cache_check(fixture.cache));
    cache_fixture_close(&fixture);
}

static void gives_memory_back_when_the_limit_is_lowered(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 32 * MIB, NULL);
    for (uint64_t page = 0; page < 6000; page++) {
        assert_true(load_one(&fixture, PAGE, page));
    }
    assert_true(used(&fixture) > 24 * MIB);
    struct epoch_slot *slot = epoch_enter(fixture.epoch);
    struct cache_frame *frame = NULL;
    for (uint64_t page = 5999; frame == NULL; page--) {
        frame = cache_lookup(fixture.cache, tag_at(&fixture, page));
    }
    cache_tag tag = atomic_load(&frame->tag);
    cache_pin(frame);
    epoch_exit(slot);
    cache_set_limit(fixture.cache, 7 * MIB);
    assert_true(page_is_right(frame, PAGE, tag, false));
    /* The chunk of the pinned frame alone may be left over. */
    assert_true(used(&fixture) <= 7 * MIB + 3 * MIB);
    cache_unpin(frame);
    cache_set_limit(fixture.cache, 7 * MIB);
    assert_true(used(&fixture) <= 7 * MIB);
    for (uint64_t page = 0; page < 2000; page++) {
        assert_true(load_one(&fixture, PAGE, page));
        assert_true(budget_used(&fixture.budget, BUDGET_CACHE) <= 7 * MIB);
    }
    cache_set_limit(fixture.cache, 40 * MIB);
    for (uint64_t page = 0; page < 6000; page++) {
        assert_true(load_one(&fixture, PAGE, page));
    }
    assert_true(used(&fixture) > 30 * MIB);
    cache_fixture_close(&fixture);
}

#define SMALL CACHE_FRAME_BYTES_MIN

/* What is found of the first `count` pages, all of it right. */
static uint64_t count_found(struct cache_fixture *fixture, uint64_t count) {
    uint64_t found = 0;
    for (uint64_t page = 0; page < count; page++) {
        struct epoch_slot *slot = epoch_enter(fixture->epoch);
        struct cache_frame *frame = cache_lookup(fixture->cache, tag_at(fixture, page));
        assert_true(frame == NULL || page_is_right(frame, SMALL, tag_at(fixture, page), true));
        found += frame != NULL;
        epoch_exit(slot);
    }
    return found;
}

static void nobody_waits_for_work_that_grows_with_the_cache(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 96 * MIB, NULL);
    const struct cache_work *work = &fixture.cache->work;
    uint64_t pages = 96 * MIB / SMALL;
    for (uint64_t page = 0; page < 2 * pages; page++) {
        assert_true(load_one(&fixture, SMALL, page));
    }
    /* Frames of all chunks come free at once... */
    cache_space_close(fixture.cache, fixture.space);
    fixture.space = cache_space_open(fixture.cache);
    for (uint64_t page = 0; page < pages; page++) {
        assert_true(load_one(&fixture, SMALL, page));
    }
    assert_true(work->most <= CACHE_WORK_MOST);
    /* ... most chunks go, with their ghosts ... */
    cache_set_limit(fixture.cache, 8 * MIB);
    assert_true(used(&fixture) <= 8 * MIB);
    assert_true(work->most <= CACHE_WORK_MOST);
    assert_null(cache_check(fixture.cache));
    /* ... and the table of tags is replaced under its entries. */
    cache_set_limit(fixture.cache, 96 * MIB);
    for (uint64_t page = 0; page < pages / 2; page++) {
        assert_true(load_one(&fixture, SMALL, page));
    }
    uint64_t found = count_found(&fixture, pages / 2);
    assert_true(found > pages / 4);
    cache_set_limit(fixture.cache, 400 * MIB);
    assert_int_equal(count_found(&fixture, pages / 2), found);
    assert_true(used(&fixture) <= 400 * MIB);
    assert_null(cache_check(fixture.cache));
    for (uint64_t page = 0; page < 2 * pages; page++) {
        assert_true(load_one(&fixture, SMALL, page));
    }
    assert_int_equal(count_found(&fixture, 2 * pages), 2 * pages);
    assert_true(work->most <= CACHE_WORK_MOST);
    cache_fixture_close(&fixture);
}

static void keeps_pinned_frames_and_fails_when_all_are_pinned(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 1 * MIB, NULL);
    struct cache_frame *pinned[256];
    size_t count = 0;
    for (;; count++) {
        assert_true(count < 256);
        struct epoch_slot *slot = epoch_enter(fixture.epoch);
        pinned[count] = page_load(&fixture, PAGE, tag_at(&fixture, count));
        if (pinned[count] != NULL) {
            cache_pin(pinned[count]);
        }
        epoch_exit(slot);
        if (pinned[count] == NULL) {
            break;
        }
    }
    assert_true(count > 100);
    for (size_t i = 0; i < count; i++) {
        assert_true(page_is_right(pinned[i], PAGE, tag_at(&fixture, i), false));
        cache_unpin(pinned[i]);
    }
    /* The first may find all in limbo. */
    (void)load_one(&fixture, PAGE, 1000);
    for (uint64_t page = 1; page < 500; page++) {
        assert_true(load_one(&fixture, PAGE, 1000 + page));
    }
    cache_fixture_close(&fixture);
}

static void an_evicted_page_stays_readable_until_the_epoch_is_left(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 1 * MIB, NULL);
    struct epoch_slot *slot = epoch_enter(fixture.epoch);
    struct cache_frame *frame = page_load(&fixture, PAGE, tag_at(&fixture, 0));
    assert_non_null(frame);
    cache_invalidate(fixture.cache, tag_at(&fixture, 0));
    assert_null(cache_lookup(fixture.cache, tag_at(&fixture, 0)));
    for (uint64_t page = 1; page < 400; page++) {
        (void)page_load(&fixture, PAGE, tag_at(&fixture, page));
        assert_true(page_is_right(frame, PAGE, tag_at(&fixture, 0), true));
    }
    epoch_exit(slot);
    cache_fixture_close(&fixture);
}

static void a_scan_does_not_push_out_what_is_hit(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 4 * MIB, NULL);
    uint64_t hits = 0;
    uint64_t tries = 0;
    for (uint64_t round = 0; round < 4000; round++) {
        for (uint64_t hot = 0; hot < 4; hot++) {
            uint64_t page = (round * 4 + hot) % 100;
            struct epoch_slot *slot = epoch_enter(fixture.epoch);
            bool is_hit = cache_lookup(fixture.cache, tag_at(&fixture, page)) != NULL;
            epoch_exit(slot);
            if (!is_hit) {
                assert_true(load_one(&fixture, PAGE, page));
            }
            if (round >= 200) {
                hits += is_hit;
                tries++;
            }
        }
        assert_true(load_one(&fixture, PAGE, 1000 + round));
    }
    assert_true(hits * 100 > tries * 95);
    cache_fixture_close(&fixture);
}

static void closing_a_space_drops_its_frames_alone(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 4 * MIB, NULL);
    uint32_t other = cache_space_open(fixture.cache);
    assert_int_not_equal(other, fixture.space);
    struct epoch_slot *slot = epoch_enter(fixture.epoch);
    for (uint64_t page = 0; page < 50; page++) {
        assert_non_null(page_load(&fixture, PAGE, tag_at(&fixture, page)));
        assert_non_null(page_load(&fixture, 4096, cache_tag_of(other, page + 8)));
    }
    epoch_exit(slot);
    cache_space_close(fixture.cache, other);
    slot = epoch_enter(fixture.epoch);
    for (uint64_t page = 0; page < 50; page++) {
        assert_non_null(cache_lookup(fixture.cache, tag_at(&fixture, page)));
        assert_null(cache_lookup(fixture.cache, cache_tag_of(other, page + 8)));
    }
    epoch_exit(slot);
    cache_fixture_close(&fixture);
}

static void a_private_frame_lives_until_its_last_pin(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 1 * MIB, fault_allocator_interface(allocator));
    struct epoch_slot *slot = epoch_enter(fixture.epoch);
    struct cache_frame *frame = cache_private_create(fixture.cache, PAGE);
    assert_non_null(frame);
    assert_true(cache_frame_is_private(frame));
    assert_true(budget_used(&fixture.budget, BUDGET_OTHER) >= PAGE);
    page_fill(frame, PAGE, 77);
    cache_private_release_later(frame);
    cache_pin(frame);
    epoch_exit(slot);
    epoch_synchronize(fixture.epoch);
    (void)epoch_reclaim(fixture.epoch);
    assert_true(page_is_right(frame, PAGE, 77, false));
    cache_unpin(frame);
    assert_int_equal(budget_used(&fixture.budget, BUDGET_OTHER), 0);
    cache_fixture_close(&fixture);
    fault_allocator_destroy(allocator);
}

static void long_pins_get_a_quarter_of_the_cache(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open(&fixture, 1 * MIB, NULL);
    size_t count = 0;
    while (cache_pin_reserve(fixture.cache, PAGE)) {
        count++;
    }
    assert_int_equal(count, MIB / 4 / PAGE);
    cache_pin_unreserve(fixture.cache, PAGE);
    assert_true(cache_pin_reserve(fixture.cache, PAGE));
    cache_fixture_close(&fixture);
}

static void failing_allocations_leave_nothing_behind(void **state) {
    (void)state;
    struct budget budget = {0};
    struct epoch_domain *epoch = NULL;
    assert_int_equal(epoch_domain_create(tern_allocator_default(), &epoch, NULL), TERN_OK);
    for (uint64_t nth = 1;; nth++) {
        struct fault_allocator *allocator = fault_allocator_create();
        fault_allocator_fail(allocator, nth, true);
        const struct cache_options options = {.allocator = fault_allocator_interface(allocator),
                                              .epoch = epoch,
                                              .budget = &budget,
                                              .limit_bytes = 4 * MIB,
                                              .policy = cache_fixture_policy()};
        struct cache *cache = NULL;
        tern_error error = TERN_ERROR_INIT;
        tern_status status = cache_create(&options, &cache, &error);
        uint64_t failures = fault_allocator_failures(allocator);
        if (failures == 0) {
            assert_int_equal(status, TERN_OK);
        } else {
            assert_int_equal(status, TERN_NO_MEMORY);
            assert_int_equal(error.status, TERN_NO_MEMORY);
            assert_null(cache);
            assert_int_equal(budget_used(&budget, BUDGET_CACHE), 0);
        }
        cache_destroy(cache);
        fault_allocator_destroy(allocator);
        if (failures == 0) {
            break;
        }
    }
    epoch_domain_destroy(epoch);
}

static void more_than_hints_can_name_is_refused(void **state) {
    (void)state;
    struct budget budget = {0};
    struct epoch_domain *epoch = NULL;
    struct cache *cache = NULL;
    tern_error error = TERN_ERROR_INIT;
    assert_int_equal(epoch_domain_create(tern_allocator_default(), &epoch, NULL), TERN_OK);
    const struct cache_options options = {.allocator = tern_allocator_default(),
                                          .epoch = epoch,
                                          .budget = &budget,
                                          .limit_bytes = MIB << 22,
                                          .policy = TERN_CACHE_POLICY_CLOCK};
    assert_int_equal(cache_create(&options, &cache, &error), TERN_INVALID);
    assert_null(cache);
    assert_int_equal(budget_used(&budget, BUDGET_CACHE), 0);
    epoch_domain_destroy(epoch);
}

/* ---- against a model ---- */

#define MODEL_PLACES 600u
#define MODEL_PINS   12u

struct model {
    struct cache_fixture fixture;
    struct seeded_random random;
    uint64_t version[MODEL_PLACES]; /* goes into the pattern: what the place holds now */
    struct {
        struct cache_frame *frame;
        size_t size;
        cache_tag pattern;
    } pins[MODEL_PINS];
};

static size_t size_of_place(uint64_t place) {
    return (size_t)4096 << (place % 5);
}

static cache_tag pattern_of(const struct model *model, uint64_t place) {
    return tag_at(&model->fixture, place) + model->version[place] * 1000003;
}

static void model_read(struct model *model, uint64_t place) {
    cache_tag tag = tag_at(&model->fixture, place);
    size_t size = size_of_place(place);
    struct epoch_slot *slot = epoch_enter(model->fixture.epoch);
    struct cache_frame *frame = cache_lookup(model->fixture.cache, tag);
    if (frame == NULL) {
        frame = cache_acquire(model->fixture.cache, size);
        if (frame != NULL) {
            page_fill(frame, size, pattern_of(model, place));
            frame = cache_publish(model->fixture.cache, frame, tag);
        }
    }
    if (frame != NULL) {
        assert_true(page_is_right(frame, size, pattern_of(model, place), true));
        uint64_t at = seeded_random_below(&model->random, MODEL_PINS);
        if (model->pins[at].frame == NULL && seeded_random_chance(&model->random, 1, 20)) {
            cache_pin(frame);
            model->pins[at].frame = frame;
            model->pins[at].size = size;
            model->pins[at].pattern = pattern_of(model, place);
        }
    }
    epoch_exit(slot);
}

static void model_unpin(struct model *model, uint64_t at) {
    if (model->pins[at].frame != NULL) {
        assert_true(page_is_right(model->pins[at].frame, model->pins[at].size,
                                  model->pins[at].pattern, false));
        cache_unpin(model->pins[at].frame);
        model->pins[at].frame = NULL;
    }
}

static void agrees_with_a_model_under_random_operations(void **state) {
    (void)state;
    static struct model model;
    memset(&model, 0, sizeof(model));
    seeded_random_init(&model.random, seeded_random_seed("cache model"));
    cache_fixture_open(&model.fixture, 6 * MIB, NULL);
    for (unsigned step = 0; step < 60000; step++) {
        uint64_t place = seeded_random_below(&model.random, MODEL_PLACES);
        uint64_t what = seeded_random_below(&model.random, 1000);
        if (what < 900) {
            model_read(&model, place);
        } else if (what < 960) {
            cache_invalidate(model.fixture.cache, tag_at(&model.fixture, place));
            model.version[place]++;
        } else if (what < 998) {
            model_unpin(&model, seeded_random_below(&model.random, MODEL_PINS));
        } else {
            cache_set_limit(model.fixture.cache,
                            MIB + seeded_random_below(&model.random, 12 * MIB));
        }
        if (step % 1000 == 0) {
            const char *broken = cache_check(model.fixture.cache);
            if (broken != NULL) {
                fail_msg("step %u: %s", step, broken);
            }
        }
    }
    for (uint64_t at = 0; at < MODEL_PINS; at++) {
        model_unpin(&model, at);
    }
    cache_fixture_close(&model.fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_a_page_by_tag_and_by_hint),
        cmocka_unit_test(gives_the_first_frame_to_whoever_publishes_second),
        cmocka_unit_test(keeps_the_limit_to_the_byte_while_four_times_as_much_is_filled),
        cmocka_unit_test(takes_memory_only_when_pages_come),
        cmocka_unit_test(moves_memory_to_a_class_that_has_none),
        cmocka_unit_test(moves_memory_towards_the_class_under_pressure),
        cmocka_unit_test(gives_memory_back_when_the_limit_is_lowered),
        cmocka_unit_test(nobody_waits_for_work_that_grows_with_the_cache),
        cmocka_unit_test(keeps_pinned_frames_and_fails_when_all_are_pinned),
        cmocka_unit_test(an_evicted_page_stays_readable_until_the_epoch_is_left),
        cmocka_unit_test(a_scan_does_not_push_out_what_is_hit),
        cmocka_unit_test(closing_a_space_drops_its_frames_alone),
        cmocka_unit_test(a_private_frame_lives_until_its_last_pin),
        cmocka_unit_test(long_pins_get_a_quarter_of_the_cache),
        cmocka_unit_test(failing_allocations_leave_nothing_behind),
        cmocka_unit_test(more_than_hints_can_name_is_refused),
        cmocka_unit_test(agrees_with_a_model_under_random_operations),
    };
    int failures = 0;
    for (int policy = TERN_CACHE_POLICY_CLOCK; policy <= TERN_CACHE_POLICY_LRU; policy++) {
        cache_fixture_set_policy((tern_cache_policy)policy);
        failures += cmocka_run_group_tests_name(cache_policy_name((tern_cache_policy)policy), tests,
                                                NULL, NULL);
    }
    return failures;
}
