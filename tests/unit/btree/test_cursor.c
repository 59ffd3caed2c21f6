/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include <stdlib.h>

#include "base/compare.h"
#include "dataset.h"
#include "support/fault_allocator.h"

#define MIB     ((uint64_t)1 << 20)
#define NOWHERE UINT32_MAX

static struct fixture_options small_pages(void) {
    struct fixture_options options = FIXTURE_OPTIONS;
    options.page_bytes = 4096;
    options.fan_out = 16;
    return options;
}

static struct base_cursor *open_cursor(struct dataset *dataset) {
    struct base_cursor *cursor = NULL;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(btree_cursor_open(&dataset->fixture.tree, dataset->fixture.root, &cursor, &error),
              error);
    return cursor;
}

static void assert_stands_at(const struct dataset *dataset, const struct base_cursor *cursor,
                             uint32_t index) {
    tern_slice key = cursor->methods->key(cursor);
    assert_true(slice_equal(key, dataset->set.keys[index]));
    struct record record;
    cursor->methods->record(cursor, &record);
    assert_true(dataset_record_is_right(key, &record));
    tern_slice fence;
    if (cursor->methods->leaf_fence(cursor, &fence)) {
        assert_true(slice_compare(fence, key) > 0);
    }
}

/* The status must fit where the model stands. */
static void assert_moved(const struct dataset *dataset, const struct base_cursor *cursor,
                         tern_status status, uint32_t index) {
    if (index == NOWHERE) {
        assert_int_equal(status, TERN_NOT_FOUND);
    } else {
        assert_int_equal(status, TERN_OK);
        assert_stands_at(dataset, cursor, index);
    }
}

static uint32_t model_seek(const struct dataset *dataset, tern_slice key, bool backward) {
    uint32_t index = key_set_lower_bound(&dataset->set, key);
    bool equal = index < dataset->set.count && slice_equal(dataset->set.keys[index], key);
    if (!backward) {
        return index < dataset->set.count ? index : NOWHERE;
    }
    return equal ? index : index > 0 ? index - 1 : NOWHERE;
}

static void walks_both_ways_over_every_family(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("cursor walk");
    static struct dataset dataset;
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        struct fixture_options options = small_pages();
        dataset_open(&dataset, (enum key_family)family, 6000, seed + family, &options, NULL);
        struct base_cursor *cursor = open_cursor(&dataset);
        uint32_t count = dataset.set.count;
        tern_status status = cursor->methods->seek(cursor, NULL, false, NULL);
        for (uint32_t i = 0; i < count; i++) {
            assert_moved(&dataset, cursor, status, i);
            status = cursor->methods->next(cursor, NULL);
        }
        assert_int_equal(status, TERN_NOT_FOUND);
        status = cursor->methods->seek(cursor, NULL, true, NULL);
        for (uint32_t i = count; i-- > 0;) {
            assert_moved(&dataset, cursor, status, i);
            status = cursor->methods->previous(cursor, NULL);
        }
        assert_int_equal(status, TERN_NOT_FOUND);
        cursor->methods->close(cursor);
        dataset_close(&dataset);
    }
}

static void seeks_and_steps_as_a_model(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("cursor model");
    static struct dataset dataset;
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        struct fixture_options options = small_pages();
        options.cache_bytes = family % 2 == 0 ? MIB : 16 * MIB;
        dataset_open(&dataset, (enum key_family)family, 5000, seed + family, &options, NULL);
        struct base_cursor *cursor = open_cursor(&dataset);
        struct seeded_random *random = &dataset.random;
        uint32_t at = NOWHERE;
        for (unsigned i = 0; i < 6000; i++) {
            uint64_t what = seeded_random_below(random, 10);
            if (at == NOWHERE || what < 3) {
                uint8_t memory[256];
                bool backward = seeded_random_chance(random, 1, 2);
                tern_slice key = key_make((enum key_family)family, random, memory);
                if (seeded_random_chance(random, 1, 3)) {
                    key = dataset.set.keys[seeded_random_below(random, dataset.set.count)];
                }
                at = model_seek(&dataset, key, backward);
                assert_moved(&dataset, cursor, cursor->methods->seek(cursor, &key, backward, NULL),
                             at);
            } else if (what < 7) {
                at = at + 1 < dataset.set.count ? at + 1 : NOWHERE;
                assert_moved(&dataset, cursor, cursor->methods->next(cursor, NULL), at);
            } else {
                at = at > 0 ? at - 1 : NOWHERE;
                assert_moved(&dataset, cursor, cursor->methods->previous(cursor, NULL), at);
            }
        }
        cursor->methods->close(cursor);
        dataset_close(&dataset);
    }
}

static void batches_hand_out_all_and_stay_until_the_leaf_is_left(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("cursor batch");
    static struct dataset dataset;
    static struct engine_entry entries[4000];
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        struct fixture_options options = small_pages();
        dataset_open(&dataset, (enum key_family)family, 6000, seed + family, &options, NULL);
        struct base_cursor *cursor = open_cursor(&dataset);
        tern_status status = cursor->methods->seek(cursor, NULL, false, NULL);
        uint32_t done = 0;
        while (status == TERN_OK) {
            /* One leaf in several batches; all of them live until it is left. */
            uint32_t in_leaf = 0;
            uint32_t first = done;
            tern_slice fence;
            bool has_fence = cursor->methods->leaf_fence(cursor, &fence);
            for (;;) {
                size_t capacity = 1 + seeded_random_below(&dataset.random, 20);
                size_t got = cursor->methods->leaf_batch(cursor, NULL, entries + in_leaf, capacity);
                assert_true(got > 0 && got <= capacity);
                assert_true(
                    slice_equal(cursor->methods->key(cursor), entries[in_leaf + got - 1].key));
                in_leaf += (uint32_t)got;
                done += (uint32_t)got;
                if (done == dataset.set.count) {
                    break;
                }
                if (has_fence && slice_compare(dataset.set.keys[done], fence) >= 0) {
                    break;
                }
                assert_int_equal(cursor->methods->next(cursor, NULL), TERN_OK);
            }
            for (uint32_t i = 0; i < in_leaf; i++) {
                assert_true(slice_equal(entries[i].key, dataset.set.keys[first + i]));
                assert_true(dataset_record_is_right(entries[i].key, &entries[i].record));
            }
            status = cursor->methods->next(cursor, NULL);
        }
        assert_int_equal(done, dataset.set.count);
        cursor->methods->close(cursor);
        dataset_close(&dataset);
    }
}

static void a_batch_ends_below_its_bound(void **state) {
    (void)state;
    static struct dataset dataset;
    static struct engine_entry entries[1000];
    struct fixture_options options = small_pages();
    dataset_open(&dataset, KEYS_WORDS, 3000, 3, &options, NULL);
    struct base_cursor *cursor = open_cursor(&dataset);
    for (uint32_t i = 0; i + 40 < dataset.set.count; i += 13) {
        for (uint32_t ahead = 0; ahead < 40; ahead += 3) {
            assert_int_equal(cursor->methods->seek(cursor, &dataset.set.keys[i], false, NULL),
                             TERN_OK);
            size_t got =
                cursor->methods->leaf_batch(cursor, &dataset.set.keys[i + ahead], entries, 1000);
            assert_true(got <= ahead);
            assert_true(got > 0 || ahead == 0);
            assert_true(got == 0 ||
                        slice_equal(entries[got - 1].key, dataset.set.keys[i + got - 1]));
            tern_slice fence;
            if (got < ahead && cursor->methods->leaf_fence(cursor, &fence)) {
                assert_true(slice_compare(dataset.set.keys[i + got], fence) >= 0);
            }
        }
    }
    cursor->methods->close(cursor);
    dataset_close(&dataset);
}

static void an_empty_tree_has_nowhere_to_stand(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fixture_options options = small_pages();
    dataset_open(&dataset, KEYS_RANDOM, 0, 3, &options, NULL);
    struct base_cursor *cursor = open_cursor(&dataset);
    tern_slice key = tern_slice_str("a");
    assert_int_equal(cursor->methods->seek(cursor, NULL, false, NULL), TERN_NOT_FOUND);
    assert_int_equal(cursor->methods->seek(cursor, NULL, true, NULL), TERN_NOT_FOUND);
    assert_int_equal(cursor->methods->seek(cursor, &key, false, NULL), TERN_NOT_FOUND);
    cursor->methods->close(cursor);
    dataset_close(&dataset);
}

static void more_cursors_than_may_pin_stand_on_copies(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fixture_options options = FIXTURE_OPTIONS;
    options.cache_bytes = MIB;
    dataset_open(&dataset, KEYS_RANDOM, 30000, 4, &options, NULL);
    struct base_cursor *cursors[200];
    uint32_t at[200];
    for (unsigned i = 0; i < 200; i++) {
        cursors[i] = open_cursor(&dataset);
        at[i] = (uint32_t)seeded_random_below(&dataset.random, dataset.set.count - 100);
        assert_int_equal(
            cursors[i]->methods->seek(cursors[i], &dataset.set.keys[at[i]], false, NULL), TERN_OK);
    }
    for (unsigned step = 0; step < 90; step++) {
        for (unsigned i = 0; i < 200; i++) {
            assert_int_equal(cursors[i]->methods->next(cursors[i], NULL), TERN_OK);
            assert_stands_at(&dataset, cursors[i], ++at[i]);
        }
    }
    struct cache_stats stats;
    cache_get_stats(dataset.fixture.cache, &stats);
    assert_true(stats.pinned_frames > 0 && stats.pinned_frames <= MIB / 4 / 8192);
    for (unsigned i = 0; i < 200; i++) {
        cursors[i]->methods->close(cursors[i]);
    }
    (void)epoch_reclaim(dataset.fixture.epoch);
    cache_get_stats(dataset.fixture.cache, &stats);
    assert_int_equal(stats.pinned_frames, 0);
    assert_true(cache_pin_reserve(dataset.fixture.cache, MIB / 4));
    dataset_close(&dataset);
}

static void a_cold_scan_reads_ahead_in_both_directions(void **state) {
    (void)state;
    for (unsigned backward = 0; backward < 2; backward++) {
        static struct dataset dataset;
        struct fixture_options options = FIXTURE_OPTIONS;
        options.compression = backward == 1 ? TERN_COMPRESSION_LZ4 : TERN_COMPRESSION_NONE;
        dataset_open(&dataset, KEYS_RANDOM, 40000, 9, &options, NULL);
        struct base_cursor *cursor = open_cursor(&dataset);
        tern_status status = cursor->methods->seek(cursor, NULL, backward == 1, NULL);
        uint32_t count = 0;
        for (; status == TERN_OK; count++) {
            uint32_t index = backward == 1 ? dataset.set.count - 1 - count : count;
            assert_true(slice_equal(cursor->methods->key(cursor), dataset.set.keys[index]));
            status = backward == 1 ? cursor->methods->previous(cursor, NULL)
                                   : cursor->methods->next(cursor, NULL);
        }
        assert_int_equal(count, dataset.set.count);
        struct btree_file_stats stats;
        btree_file_get_stats(dataset.fixture.tree.file, &stats);
        assert_true(dataset.fixture.leaves > 200);
        assert_true(stats.reads < dataset.fixture.leaves / 4);
        cursor->methods->close(cursor);
        dataset_close(&dataset);
    }
}

static void failing_allocations_end_nowhere_and_leave_nothing_behind(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fault_allocator *allocator = fault_allocator_create();
    struct fixture_options options = small_pages();
    options.cache_bytes = MIB;
    dataset_open(&dataset, KEYS_SEQUENTIAL, 20000, 8, &options,
                 fault_allocator_interface(allocator));
    uint64_t failed = 0;
    for (uint64_t nth = 1; nth < 60; nth++) {
        fault_allocator_fail(allocator, nth, nth % 2 == 0);
        struct base_cursor *cursor = NULL;
        tern_status status =
            btree_cursor_open(&dataset.fixture.tree, dataset.fixture.root, &cursor, NULL);
        if (status == TERN_OK) {
            status = cursor->methods->seek(cursor, NULL, false, NULL);
            for (uint32_t i = 0; status == TERN_OK && i < 3000; i++) {
                assert_stands_at(&dataset, cursor, i);
                status = cursor->methods->next(cursor, NULL);
            }
            cursor->methods->close(cursor);
        }
        assert_true(status == TERN_OK || status == TERN_NO_MEMORY);
        failed += status == TERN_NO_MEMORY;
        fault_allocator_fail(allocator, 0, false);
        (void)epoch_reclaim(dataset.fixture.epoch);
    }
    assert_true(failed > 0);
    dataset_close(&dataset);
    fault_allocator_destroy(allocator);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_both_ways_over_every_family),
        cmocka_unit_test(seeks_and_steps_as_a_model),
        cmocka_unit_test(batches_hand_out_all_and_stay_until_the_leaf_is_left),
        cmocka_unit_test(a_batch_ends_below_its_bound),
        cmocka_unit_test(an_empty_tree_has_nowhere_to_stand),
        cmocka_unit_test(more_cursors_than_may_pin_stand_on_copies),
        cmocka_unit_test(a_cold_scan_reads_ahead_in_both_directions),
        cmocka_unit_test(failing_allocations_end_nowhere_and_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
