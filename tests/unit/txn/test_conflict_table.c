/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include "support/seeded_random.h"
#include "txn/conflict_table.h"

#define KEYS    4000
#define ENTRIES 1024

static struct conflict_table *create(void) {
    tern_error error = TERN_ERROR_INIT;
    struct conflict_table *table;
    assert_ok(conflict_table_create(tern_allocator_default(), NULL, ENTRIES, &table, &error),
              error);
    return table;
}

static void a_key_never_written_does_not_conflict(void **state) {
    (void)state;
    struct conflict_table *table = create();
    assert_int_equal(conflict_table_check(table, 0x1234567890abcdef, 0, false), CONFLICT_NO);
    conflict_table_destroy(table);
}

static void a_write_conflicts_with_older_snapshots_only(void **state) {
    (void)state;
    struct conflict_table *table = create();
    uint64_t hash = 0xfedcba9876543210;
    conflict_table_record(table, hash, 10, false);
    assert_int_equal(conflict_table_check(table, hash, 9, false), CONFLICT_YES);
    assert_int_equal(conflict_table_check(table, hash, 9, true), CONFLICT_YES);
    assert_int_equal(conflict_table_check(table, hash, 10, false), CONFLICT_NO);
    assert_int_equal(conflict_table_check(table, hash, 11, false), CONFLICT_NO);
    conflict_table_destroy(table);
}

static void merges_conflict_with_plain_writes_but_not_with_merges(void **state) {
    (void)state;
    struct conflict_table *table = create();
    uint64_t hash = 0x00ff00ff00ff00ff;
    conflict_table_record(table, hash, 10, false);
    conflict_table_record(table, hash, 20, true);
    assert_int_equal(conflict_table_check(table, hash, 15, false), CONFLICT_YES);
    assert_int_equal(conflict_table_check(table, hash, 15, true), CONFLICT_NO);
    assert_int_equal(conflict_table_check(table, hash, 5, true), CONFLICT_YES);
    conflict_table_record(table, hash, 30, false);
    assert_int_equal(conflict_table_check(table, hash, 25, true), CONFLICT_YES);
    assert_int_equal(conflict_table_check(table, hash, 30, false), CONFLICT_NO);
    conflict_table_destroy(table);
}

static void a_full_bucket_answers_possible_for_what_it_forgot(void **state) {
    (void)state;
    struct conflict_table *table = create();
    /* Equal low bits: one bucket. */
    for (uint64_t i = 0; i < 8; i++) {
        conflict_table_record(table, (i + 1) << 49, i + 1, false);
    }
    assert_int_equal(conflict_table_check(table, (uint64_t)1 << 49, 0, false), CONFLICT_POSSIBLE);
    assert_int_equal(conflict_table_check(table, (uint64_t)1 << 49, 1, false), CONFLICT_NO);
    assert_int_equal(conflict_table_check(table, (uint64_t)8 << 49, 7, false), CONFLICT_YES);
    conflict_table_destroy(table);
}

static void snapshots_below_the_horizon_cannot_be_told(void **state) {
    (void)state;
    struct conflict_table *table = create();
    conflict_table_set_horizon(table, 100);
    conflict_table_set_horizon(table, 50);
    assert_int_equal(conflict_table_horizon(table), 100);
    assert_int_equal(conflict_table_check(table, 7, 99, false), CONFLICT_POSSIBLE);
    assert_int_equal(conflict_table_check(table, 7, 100, false), CONFLICT_NO);
    conflict_table_destroy(table);
}

/* Against the full truth: never "no" where there was a write; few false alarms. */
static void never_misses_a_conflict(void **state) {
    (void)state;
    static uint64_t hashes[KEYS];
    static seq_no plain[KEYS];
    static seq_no merged[KEYS];
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("conflict_table"));
    struct conflict_table *table = create();
    uint64_t false_alarms = 0;
    uint64_t checks = 0;
    for (size_t i = 0; i < KEYS; i++) {
        hashes[i] = seeded_random_next(&random);
    }
    for (seq_no seq = 1; seq < 20000; seq++) {
        size_t key = seeded_random_below(&random, KEYS);
        bool is_merge = seeded_random_chance(&random, 1, 4);
        conflict_table_record(table, hashes[key], seq, is_merge);
        *(is_merge ? &merged[key] : &plain[key]) = seq;
        size_t other = seeded_random_below(&random, KEYS);
        bool ignores = seeded_random_chance(&random, 1, 2);
        seq_no since = seq - seeded_random_below(&random, seq < 200 ? seq : 200);
        bool changed = plain[other] > since || (!ignores && merged[other] > since);
        enum conflict_answer answer = conflict_table_check(table, hashes[other], since, ignores);
        if (changed) {
            assert_int_not_equal(answer, CONFLICT_NO);
        }
        checks += !changed;
        false_alarms += !changed && answer != CONFLICT_NO;
    }
    assert_true(false_alarms * 20 < checks);
    conflict_table_destroy(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_never_written_does_not_conflict),
        cmocka_unit_test(a_write_conflicts_with_older_snapshots_only),
        cmocka_unit_test(merges_conflict_with_plain_writes_but_not_with_merges),
        cmocka_unit_test(a_full_bucket_answers_possible_for_what_it_forgot),
        cmocka_unit_test(snapshots_below_the_horizon_cannot_be_told),
        cmocka_unit_test(never_misses_a_conflict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
