/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 *
 * What the options of a keyspace of sorted tables do: filters, and a codec for each level.
 */
#include <stdio.h>

#include "support/cmocka_test.h"
#include "support/keyspace_stat.h"
#include "support/step_machine.h"

#define KEYS 4000u

struct fixture {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
};

static void set_up(struct fixture *fixture, const tern_keyspace_options *options) {
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&fixture->machine, 1);
    assert_ok(step_machine_open(&fixture->machine, &fixture->db, &error), error);
    assert_ok(tern_keyspace_create(fixture->db, "k", options, &fixture->keyspace, &error), error);
}

static void tear_down(struct fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(fixture->db, &error), error);
    step_machine_release(&fixture->machine);
}

static tern_keyspace_options small_tables(void) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = TERN_ENGINE_LSM;
    options.page_bytes = 4096;
    options.fan_out = 16;
    return options;
}

static tern_slice key_of(uint64_t number, char key[24]) {
    (void)snprintf(key, 24, "%08llu", (unsigned long long)(number * 2654435761u % 100000000u));
    return tern_slice_str(key);
}

/* Values that every codec makes shorter. */
static void put_keys(struct fixture *fixture, uint64_t first, uint64_t count) {
    char value[200];
    memset(value, 'v', sizeof(value));
    for (uint64_t i = first; i < first + count; i++) {
        char key[24];
        tern_error error = TERN_ERROR_INIT;
        assert_ok(tern_put(fixture->keyspace, key_of(i, key), tern_slice_of(value, sizeof(value)),
                           NULL, &error),
                  error);
    }
}

static void compact(struct fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_compact(fixture->db, NULL, NULL, &error), error);
}

/* Those below KEYS are there, those from there on are not. */
static void check_reads(struct fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report report = {0};
    char value[256];
    for (uint64_t i = 0; i < 2 * KEYS; i += 64) {
        tern_get_request requests[64];
        char keys[64][24];
        char values[64][200];
        for (uint64_t j = 0; j < 64; j++) {
            requests[j] = (tern_get_request){
                .key = key_of(i + j, keys[j]), .buffer = values[j], .capacity = sizeof(values[j])};
        }
        assert_ok(tern_multi_get(fixture->keyspace, requests, 64, &error), error);
        for (uint64_t j = 0; j < 64; j++) {
            char key[24];
            size_t size = 0;
            tern_status wanted = i + j < KEYS ? TERN_OK : TERN_NOT_FOUND;
            assert_int_equal(requests[j].status, wanted);
            assert_int_equal(tern_get(fixture->keyspace, key_of(i + j, key), value, sizeof(value),
                                      &size, &error),
                             wanted);
        }
    }
    assert_ok(tern_verify(fixture->db, NULL, NULL, NULL, NULL, &report, &error), error);
    assert_int_equal(report.findings, 0);
}

/* Bytes of the tables when each key's filter has so many bits. */
static uint64_t bytes_with_filter(uint32_t bits) {
    struct fixture fixture;
    tern_keyspace_options options = small_tables();
    options.filter_bits = bits;
    set_up(&fixture, &options);
    put_keys(&fixture, 0, KEYS);
    compact(&fixture);
    check_reads(&fixture);
    uint64_t bytes = keyspace_stat(fixture.keyspace, "level_7_bytes");
    tear_down(&fixture);
    return bytes;
}

static void filters_have_as_many_bits_as_asked_for(void **state) {
    (void)state;
    uint64_t none = bytes_with_filter(TERN_FILTER_OFF);
    uint64_t usual = bytes_with_filter(0);
    uint64_t twice = bytes_with_filter(20);
    const uint64_t bits = (uint64_t)8 * (usual - none) / KEYS;
    assert_in_range(bits, 10, 12); /* lines are whole */
    assert_in_range(8 * (twice - none) / KEYS, 20, 22);
}

static void a_filter_of_many_small_records_is_not_cut_short(void **state) {
    (void)state;
    struct fixture fixture;
    tern_keyspace_options options = small_tables();
    options.page_bytes = 65536;
    options.filter_bits = 64;
    set_up(&fixture, &options);
    for (uint64_t i = 0; i < 20000; i++) {
        char key[24];
        tern_error error = TERN_ERROR_INIT;
        assert_ok(tern_put(fixture.keyspace, key_of(i, key), tern_slice_of("", 0), NULL, &error),
                  error);
    }
    compact(&fixture);
    /* All of it in one filter would be 160,000 bytes, of which a block has room for 65,504. */
    assert_true(keyspace_stat(fixture.keyspace, "level_7_bytes") > 160000 + 20000 * 9);
    tear_down(&fixture);
}

/* Bytes of level 0 and of the last one, with the same records in each. */
static void measure_levels(const tern_keyspace_options *options, uint64_t *out_upper,
                           uint64_t *out_last) {
    struct fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    set_up(&fixture, options);
    put_keys(&fixture, 0, KEYS);
    compact(&fixture);
    *out_last = keyspace_stat(fixture.keyspace, "level_7_bytes");
    put_keys(&fixture, 0, KEYS / 8);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    assert_true(keyspace_stat(fixture.keyspace, "level_0_runs") > 0);
    *out_upper = keyspace_stat(fixture.keyspace, "level_0_bytes") * 8;
    check_reads(&fixture);
    tear_down(&fixture);
}

static void each_level_has_its_codec(void **state) {
    (void)state;
    static const tern_compression codecs[] = {TERN_COMPRESSION_LZ4, TERN_COMPRESSION_ZSTD,
                                              TERN_COMPRESSION_SNAPPY};
    uint64_t upper, last;
    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        tern_keyspace_options options = small_tables();
        options.compression = codecs[i];
        measure_levels(&options, &upper, &last);
        assert_true(upper < KEYS * 100);
        assert_true(last < KEYS * 100);
        options.level_compression[0] = TERN_LEVEL_COMPRESSION(TERN_COMPRESSION_NONE);
        measure_levels(&options, &upper, &last);
        assert_true(upper > KEYS * 200);
        assert_true(last < KEYS * 100);
        options = small_tables();
        options.level_compression[7] = TERN_LEVEL_COMPRESSION(codecs[i]);
        measure_levels(&options, &upper, &last);
        assert_true(upper > KEYS * 200);
        assert_true(last < KEYS * 100);
    }
}

static void options_outlive_the_log_and_the_checkpoint(void **state) {
    (void)state;
    struct fixture fixture;
    tern_keyspace_options options = small_tables();
    options.compaction = TERN_COMPACTION_TIERED;
    options.filter_bits = TERN_FILTER_OFF;
    options.level_compression[0] = TERN_LEVEL_COMPRESSION(TERN_COMPRESSION_NONE);
    options.level_compression[6] = TERN_LEVEL_COMPRESSION(TERN_COMPRESSION_SNAPPY);
    set_up(&fixture, &options);
    for (int round = 0; round < 3; round++) {
        tern_error error = TERN_ERROR_INIT;
        tern_keyspace_options found = TERN_KEYSPACE_OPTIONS_INIT;
        if (round == 1) {
            put_keys(&fixture, 0, 100);
            assert_ok(tern_checkpoint(fixture.db, &error), error);
        }
        if (round == 0) { /* the log alone knows */
            power_cut_now(fixture.machine.disk);
        }
        tern_status status = tern_close(fixture.db, &error);
        assert_int_equal(status == TERN_OK, round != 0);
        if (round == 0) {
            step_machine_cut(&fixture.machine, POWER_CUT_KEEP_EVERYTHING, 1);
        }
        assert_ok(step_machine_open(&fixture.machine, &fixture.db, &error), error);
        assert_ok(tern_keyspace_open(fixture.db, "k", &fixture.keyspace, &error), error);
        tern_keyspace_get_options(fixture.keyspace, &found);
        assert_int_equal(found.compaction, TERN_COMPACTION_TIERED);
        assert_true(found.filter_bits == TERN_FILTER_OFF);
        assert_memory_equal(found.level_compression, options.level_compression,
                            sizeof(found.level_compression));
    }
    tear_down(&fixture);
}

static void levels_tell_what_is_in_them_and_what_was_written(void **state) {
    (void)state;
    struct fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = small_tables();
    set_up(&fixture, &options);
    put_keys(&fixture, 0, KEYS);
    compact(&fixture);
    assert_int_equal(keyspace_stat(fixture.keyspace, "level_7_records"), KEYS);
    assert_int_equal(keyspace_stat(fixture.keyspace, "level_7_written_bytes") +
                         keyspace_stat(fixture.keyspace, "level_0_written_bytes"),
                     keyspace_stat(fixture.keyspace, "written_bytes"));
    assert_true(keyspace_stat(fixture.keyspace, "level_7_written_bytes") >=
                keyspace_stat(fixture.keyspace, "level_7_bytes"));
    put_keys(&fixture, 0, 10);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    assert_int_equal(keyspace_stat(fixture.keyspace, "level_0_records"), 10);
    tear_down(&fixture);
}

static void readers_find_one_run_when_nobody_has_written_for_long(void **state) {
    (void)state;
    struct fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = small_tables();
    set_up(&fixture, &options);
    put_keys(&fixture, 0, 1200);
    compact(&fixture);
    put_keys(&fixture, 0, 400);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    assert_in_range(keyspace_stat(fixture.keyspace, "level_0_runs"), 1, 3);
    uint64_t begin = atomic_load(&fixture.machine.clock.monotonic_ns);
    uint64_t seconds = 0;
    while (keyspace_stat(fixture.keyspace, "sorted_runs") > 1) {
        step_machine_idle(&fixture.machine, 1);
        seconds = (atomic_load(&fixture.machine.clock.monotonic_ns) - begin) / 1000000000;
        assert_true(seconds < 15);
    }
    assert_true(seconds >= 9);
    assert_int_equal(keyspace_stat(fixture.keyspace, "base_keys"), 1200);
    tear_down(&fixture);
}

static bool count_progress(void *context, const char *phase, uint64_t done, uint64_t total) {
    (void)phase;
    (void)done;
    (void)total;
    ++*(unsigned *)context;
    return true;
}

static void convert_style(struct fixture *fixture, tern_compaction compaction) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = small_tables();
    unsigned told = 0;
    options.compaction = compaction;
    uint64_t written = keyspace_stat(fixture->keyspace, "written_bytes");
    assert_ok(tern_keyspace_convert(fixture->keyspace, &options, count_progress, &told, &error),
              error);
    assert_int_equal(told, 1); /* that it is done */
    assert_int_equal(keyspace_stat(fixture->keyspace, "written_bytes"), written);
    tern_keyspace_get_options(fixture->keyspace, &options);
    assert_int_equal(options.compaction, compaction);
}

/* Drains so many overlays, and merges what wants to be merged. */
static void drain(struct fixture *fixture, unsigned overlays) {
    tern_error error = TERN_ERROR_INIT;
    for (unsigned i = 0; i < overlays; i++) {
        put_keys(fixture, 0, KEYS / 40);
        assert_ok(tern_checkpoint(fixture->db, &error), error);
        step_machine_idle(&fixture->machine, 20);
    }
}

static uint64_t runs_below(struct fixture *fixture) {
    return keyspace_stat(fixture->keyspace, "sorted_runs") -
           keyspace_stat(fixture->keyspace, "level_0_runs");
}

static void a_style_of_compaction_changes_without_a_copy_and_is_followed(void **state) {
    (void)state;
    struct fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = small_tables();
    set_up(&fixture, &options);
    put_keys(&fixture, 0, KEYS);
    compact(&fixture);
    convert_style(&fixture, TERN_COMPACTION_TIERED);
    drain(&fixture, 8);
    assert_int_equal(keyspace_stat(fixture.keyspace, "level_1_runs"), 2);
    convert_style(&fixture, TERN_COMPACTION_LEVELED);
    power_cut_now(fixture.machine.disk);
    tern_status closed = tern_close(fixture.db, &error);
    (void)closed; /* there may have been nothing left to write */
    step_machine_cut(&fixture.machine, POWER_CUT_KEEP_NOTHING, 1);
    assert_ok(step_machine_open(&fixture.machine, &fixture.db, &error), error);
    assert_ok(tern_keyspace_open(fixture.db, "k", &fixture.keyspace, &error), error);
    tern_keyspace_get_options(fixture.keyspace, &options);
    assert_int_equal(options.compaction, TERN_COMPACTION_LEVELED);
    step_machine_idle(&fixture.machine, 50);
    assert_true(keyspace_stat(fixture.keyspace, "level_1_runs") <= 1);
    drain(&fixture, 8);
    assert_true(runs_below(&fixture) <= 2);
    check_reads(&fixture);
    tear_down(&fixture);
}

static void impossible_options_are_refused(void **state) {
    (void)state;
    struct fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = small_tables();
    set_up(&fixture, &options);
    options.filter_bits = 65;
    assert_int_equal(tern_keyspace_create(fixture.db, "no", &options, NULL, &error), TERN_INVALID);
    options.filter_bits = 64;
    options.level_compression[3] = TERN_LEVEL_COMPRESSION(4);
    assert_int_equal(tern_keyspace_create(fixture.db, "no", &options, NULL, &error), TERN_INVALID);
    options.level_compression[3] = 0;
    assert_ok(tern_keyspace_create(fixture.db, "yes", &options, NULL, &error), error);
    tear_down(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_have_as_many_bits_as_asked_for),
        cmocka_unit_test(a_filter_of_many_small_records_is_not_cut_short),
        cmocka_unit_test(each_level_has_its_codec),
        cmocka_unit_test(options_outlive_the_log_and_the_checkpoint),
        cmocka_unit_test(levels_tell_what_is_in_them_and_what_was_written),
        cmocka_unit_test(readers_find_one_run_when_nobody_has_written_for_long),
        cmocka_unit_test(a_style_of_compaction_changes_without_a_copy_and_is_followed),
        cmocka_unit_test(impossible_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
