/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <tern/sys/file_system.h>

#include "base/compare.h"
#include "dataset.h"
#include "engine/btree/btree_lookup.h"
#include "engine/resolution.h"
#include "os/file.h"
#include "support/fault_allocator.h"

#define MIB ((uint64_t)1 << 20)

static struct fixture_options small_pages(void) {
    struct fixture_options options = FIXTURE_OPTIONS;
    options.page_bytes = 4096;
    options.fan_out = 16;
    return options;
}

/* The variant for any machine must say what the best one for this machine says. */
static void check_base_variant(struct dataset *dataset, tern_slice key,
                               const struct resolution *resolution) {
    struct tree_fixture *fixture = &dataset->fixture;
    struct record record;
    void *frame = NULL;
    assert_int_equal(
        btree_lookup_base.find(&fixture->tree, fixture->root, key, &record, &frame, NULL), TERN_OK);
    assert_int_equal(record.kind, resolution->terminal.kind);
    if (record.kind != RECORD_NONE) {
        assert_non_null(frame);
        assert_true(dataset_record_is_right(key, &record));
    }
}

/* TERN_OK with *out_found and the record checked, or what btree_lookup says. */
static tern_status look_up(struct dataset *dataset, tern_slice key, bool *out_found,
                           tern_error *error) {
    struct tree_fixture *fixture = &dataset->fixture;
    struct resolution resolution;
    resolution_init(&resolution, fixture->allocator);
    struct epoch_slot *slot = epoch_enter(fixture->epoch);
    tern_status status = btree_lookup(&fixture->tree, fixture->root, key, &resolution, error);
    if (status == TERN_OK) {
        *out_found = resolution.is_complete;
        if (resolution.is_complete) {
            assert_int_equal(resolution.source, ENGINE_SOURCE_FRAME);
            assert_non_null(resolution.frame);
            assert_true(dataset_record_is_right(key, &resolution.terminal));
        }
        check_base_variant(dataset, key, &resolution);
    }
    epoch_exit(slot);
    resolution_release(&resolution);
    return status;
}

static bool is_member(const struct dataset *dataset, tern_slice key) {
    uint32_t index = key_set_lower_bound(&dataset->set, key);
    return index < dataset->set.count && slice_equal(dataset->set.keys[index], key);
}

static void finds_every_key_and_no_other_in_every_family(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("read");
    static struct dataset dataset;
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        const uint32_t counts[] = {0, 1, 30, 12000};
        for (unsigned c = 0; c < 4; c++) {
            struct fixture_options options = small_pages();
            options.compression = c % 2 == 1 ? TERN_COMPRESSION_LZ4 : TERN_COMPRESSION_NONE;
            dataset_open(&dataset, (enum key_family)family, counts[c], seed + family, &options,
                         NULL);
            tern_error error = TERN_ERROR_INIT;
            for (uint32_t i = 0; i < dataset.set.count; i++) {
                bool found = false;
                assert_ok(look_up(&dataset, dataset.set.keys[i], &found, &error), error);
                assert_true(found);
            }
            for (unsigned i = 0; i < 1000; i++) {
                uint8_t memory[256];
                tern_slice key = key_make((enum key_family)family, &dataset.random, memory);
                bool found = false;
                assert_ok(look_up(&dataset, key, &found, &error), error);
                assert_int_equal(found, is_member(&dataset, key));
            }
            dataset_close(&dataset);
        }
    }
}

static void many_at_once_find_what_one_by_one_finds(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("read many");
    static struct dataset dataset;
    static struct resolution resolutions[200];
    static struct btree_lookup_request requests[200];
    static uint8_t memory[200][256];
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        struct fixture_options options = small_pages();
        options.cache_bytes = family % 2 == 0 ? MIB : 32 * MIB;
        dataset_open(&dataset, (enum key_family)family, 8000, seed + family, &options, NULL);
        struct tree_fixture *fixture = &dataset.fixture;
        for (unsigned round = 0; round < 60; round++) {
            size_t count = seeded_random_below(&dataset.random, 201);
            for (size_t i = 0; i < count; i++) {
                resolution_init(&resolutions[i], fixture->allocator);
                tern_slice key =
                    seeded_random_chance(&dataset.random, 1, 3)
                        ? key_make((enum key_family)family, &dataset.random, memory[i])
                        : dataset.set.keys[seeded_random_below(&dataset.random, dataset.set.count)];
                requests[i] = (struct btree_lookup_request){
                    .key = key,
                    .resolution = &resolutions[i],
                    .status = TERN_UNKNOWN,
                    .skip = seeded_random_chance(&dataset.random, 1, 10),
                };
            }
            struct epoch_slot *slot = epoch_enter(fixture->epoch);
            tern_error error = TERN_ERROR_INIT;
            assert_ok(btree_lookup_many(&fixture->tree, fixture->root, requests, count, &error),
                      error);
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(requests[i].status, TERN_OK);
                assert_int_equal(resolutions[i].is_complete,
                                 !requests[i].skip && is_member(&dataset, requests[i].key));
                if (resolutions[i].is_complete) {
                    assert_true(dataset_record_is_right(requests[i].key, &resolutions[i].terminal));
                }
            }
            epoch_exit(slot);
        }
        dataset_close(&dataset);
    }
}

static void reads_go_on_when_no_frame_can_be_had(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fixture_options options = FIXTURE_OPTIONS;
    options.cache_bytes = MIB;
    dataset_open(&dataset, KEYS_RANDOM, 40000, 5, &options, NULL);
    struct tree_fixture *fixture = &dataset.fixture;
    /* All frames there are, held by the test. */
    struct cache_frame *held[512];
    size_t count = 0;
    while (count < 512 && (held[count] = cache_acquire(fixture->cache, 8192)) != NULL) {
        count++;
    }
    assert_true(count > 50 && count < 512);
    struct resolution resolution;
    resolution_init(&resolution, fixture->allocator);
    tern_error error = TERN_ERROR_INIT;
    struct epoch_slot *slot = epoch_enter(fixture->epoch);
    assert_ok(
        btree_lookup(&fixture->tree, fixture->root, dataset.set.keys[77], &resolution, &error),
        error);
    assert_true(resolution.is_complete);
    cache_pin(resolution.frame);
    epoch_exit(slot);
    epoch_synchronize(fixture->epoch);
    (void)epoch_reclaim(fixture->epoch);
    assert_true(dataset_record_is_right(dataset.set.keys[77], &resolution.terminal));
    cache_unpin(resolution.frame);
    for (uint32_t i = 0; i < dataset.set.count; i += 50) {
        bool found = false;
        assert_ok(look_up(&dataset, dataset.set.keys[i], &found, &error), error);
        assert_true(found);
    }
    (void)epoch_reclaim(fixture->epoch);
    while (count > 0) {
        cache_discard(fixture->cache, held[--count]);
    }
    dataset_close(&dataset);
}

/* A frame is found again by its hint: no reads, no misses. */
static void a_second_read_touches_no_file(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fixture_options options = FIXTURE_OPTIONS;
    dataset_open(&dataset, KEYS_RANDOM, 5000, 6, &options, NULL);
    tern_error error = TERN_ERROR_INIT;
    struct btree_file_stats before;
    struct cache_stats cache_before;
    for (unsigned pass = 0; pass < 2; pass++) {
        btree_file_get_stats(dataset.fixture.tree.file, &before);
        cache_get_stats(dataset.fixture.cache, &cache_before);
        for (uint32_t i = 0; i < dataset.set.count; i++) {
            bool found = false;
            assert_ok(look_up(&dataset, dataset.set.keys[i], &found, &error), error);
        }
    }
    struct btree_file_stats after;
    struct cache_stats cache_after;
    btree_file_get_stats(dataset.fixture.tree.file, &after);
    cache_get_stats(dataset.fixture.cache, &cache_after);
    assert_int_equal(after.reads, before.reads);
    assert_int_equal(cache_after.misses, cache_before.misses);
    assert_int_equal(cache_after.frames, dataset.fixture.leaves);
    dataset_close(&dataset);
}

static void flip_byte(struct tree_fixture *fixture, uint64_t offset) {
    char path[FILE_PATH_BYTES];
    const tern_file_system *system = tern_file_system_default();
    tern_file *file = NULL;
    assert_int_equal(snprintf(path, sizeof(path), "%s", btree_file_path(fixture->tree.file)) > 0,
                     1);
    assert_int_equal(system->open(system->context, path, 0, &file, NULL), TERN_OK);
    uint8_t byte = 0;
    size_t got = 0;
    assert_int_equal(file_read(file, offset, &byte, 1, &got, NULL), TERN_OK);
    byte ^= 0x20;
    assert_int_equal(file_write(file, offset, &byte, 1, NULL), TERN_OK);
    assert_int_equal(file_close(file, NULL), TERN_OK);
}

static void damage_on_disk_is_named_with_file_and_offset(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fixture_options options = small_pages();
    dataset_open(&dataset, KEYS_RANDOM, 3000, 7, &options, NULL);
    struct tree_fixture *fixture = &dataset.fixture;
    struct inner_node *node = fixture->root->top;
    while (node->level > 1) {
        assert_int_equal(btree_child_node(&fixture->tree, node, 0, &node, NULL), TERN_OK);
    }
    uint64_t offset = ref_place(node->refs[0]) * UNIT_BYTES;
    flip_byte(fixture, offset + 700);
    tern_error error = TERN_ERROR_INIT;
    bool found = false;
    assert_int_equal(look_up(&dataset, dataset.set.keys[0], &found, &error), TERN_CORRUPTION);
    assert_int_equal(error.offset, (int64_t)offset);
    assert_non_null(strstr(error.file, ".btree"));
    /* In a batch the others are found. */
    struct resolution resolutions[2];
    struct btree_lookup_request requests[2];
    for (unsigned i = 0; i < 2; i++) {
        resolution_init(&resolutions[i], fixture->allocator);
        requests[i] = (struct btree_lookup_request){
            .key = dataset.set.keys[i == 0 ? 0 : dataset.set.count - 1],
            .resolution = &resolutions[i]};
    }
    struct epoch_slot *slot = epoch_enter(fixture->epoch);
    assert_ok(btree_lookup_many(&fixture->tree, fixture->root, requests, 2, &error), error);
    epoch_exit(slot);
    assert_int_equal(requests[0].status, TERN_CORRUPTION);
    assert_int_equal(requests[1].status, TERN_OK);
    assert_true(resolutions[1].is_complete);
    dataset_close(&dataset);
}

static void failing_allocations_are_reported_and_leave_nothing_behind(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fault_allocator *allocator = fault_allocator_create();
    struct fixture_options options = small_pages();
    options.cache_bytes = MIB;
    dataset_open(&dataset, KEYS_RANDOM, 6000, 8, &options, fault_allocator_interface(allocator));
    uint64_t failed = 0;
    uint64_t done = 0;
    for (uint32_t i = 0; i < dataset.set.count; i += 7) {
        fault_allocator_fail(allocator, 1 + i % 9, i % 2 == 0);
        bool found = false;
        tern_error error = TERN_ERROR_INIT;
        tern_status status = look_up(&dataset, dataset.set.keys[i], &found, &error);
        fault_allocator_fail(allocator, 0, false);
        assert_true(status == TERN_OK || status == TERN_NO_MEMORY);
        assert_true(status != TERN_OK || found);
        failed += status != TERN_OK;
        done += status == TERN_OK;
    }
    assert_true(failed > 0 && done > 0);
    dataset_close(&dataset);
    fault_allocator_destroy(allocator);
}

/* ---- threads ---- */

struct reader {
    struct dataset *dataset;
    uint64_t seed;
    uint32_t wrong;
    pthread_t thread;
};

static void *read_many(void *argument) {
    struct reader *reader = argument;
    struct dataset *dataset = reader->dataset;
    struct tree_fixture *fixture = &dataset->fixture;
    struct seeded_random random;
    seeded_random_init(&random, reader->seed);
    for (unsigned i = 0; i < 4000; i++) {
        struct resolution resolutions[4];
        tern_slice keys[4];
        struct epoch_slot *slot = epoch_enter(fixture->epoch);
        for (unsigned j = 0; j < 4; j++) {
            keys[j] = dataset->set.keys[seeded_random_below(&random, dataset->set.count)];
            resolution_init(&resolutions[j], fixture->allocator);
            reader->wrong += btree_lookup(&fixture->tree, fixture->root, keys[j], &resolutions[j],
                                          NULL) != TERN_OK;
        }
        /* All of them are readable until here, whatever was evicted meanwhile. */
        for (unsigned j = 0; j < 4; j++) {
            reader->wrong += !dataset_record_is_right(keys[j], &resolutions[j].terminal);
        }
        epoch_exit(slot);
    }
    return NULL;
}

static void threads_read_the_same_tree_through_a_small_cache(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fixture_options options = small_pages();
    options.cache_bytes = MIB;
    uint64_t seed = seeded_random_seed("read threads");
    dataset_open(&dataset, KEYS_RANDOM, 40000, seed, &options, NULL);
    struct reader readers[4];
    for (unsigned i = 0; i < 4; i++) {
        readers[i] = (struct reader){.dataset = &dataset, .seed = seed + i};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_many, &readers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_int_equal(readers[i].wrong, 0);
    }
    struct cache_stats stats;
    cache_get_stats(dataset.fixture.cache, &stats);
    assert_true(stats.evictions > 100);
    dataset_close(&dataset);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_every_key_and_no_other_in_every_family),
        cmocka_unit_test(many_at_once_find_what_one_by_one_finds),
        cmocka_unit_test(reads_go_on_when_no_frame_can_be_had),
        cmocka_unit_test(a_second_read_touches_no_file),
        cmocka_unit_test(damage_on_disk_is_named_with_file_and_offset),
        cmocka_unit_test(failing_allocations_are_reported_and_leave_nothing_behind),
        cmocka_unit_test(threads_read_the_same_tree_through_a_small_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
