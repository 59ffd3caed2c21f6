/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The anomalies that Kleppmann's Hermitage collects (after Adya, "Weak Consistency", 1999), tried
 * on each isolation level, over each engine. The table at the end says what may happen where; both
 * a prevented anomaly that happens and an allowed one that does not are failures, for then the
 * table lies.
 *
 * The keyspace holds "1" -> "10" and "2" -> "20" before each.
 */
#include "integration/txn_fixture.h"

#include <stdlib.h>

/* One try at one level: `levels` transactions are begun by the anomaly itself. */
struct attempt {
    struct txn_fixture *fixture;
    tern_isolation isolation;
};

static tern_txn *start(const struct attempt *attempt) {
    return begin(attempt->fixture, attempt->isolation, false);
}

static bool reads(const struct attempt *attempt, tern_txn *txn, const char *key,
                  const char *value) {
    char buffer[64];
    return strcmp(get(attempt->fixture, txn, key, buffer), value) == 0;
}

/* Keys in a scan of everything whose value is a multiple of 3. */
static int count_multiples_of_three(const struct attempt *attempt, tern_txn *txn) {
    tern_cursor *cursor;
    int count = 0;
    assert_ok(tern_cursor_open(txn, attempt->fixture->keyspace, NULL, &cursor),
              *tern_txn_error(txn));
    tern_status status;
    while ((status = tern_cursor_next(cursor)) == TERN_OK) {
        tern_slice value;
        char text[16] = "";
        assert_ok(tern_cursor_value(cursor, &value), *tern_cursor_error(cursor));
        assert_true(value.size < sizeof(text));
        memcpy(text, value.data, value.size);
        count += strtol(text, NULL, 10) % 3 == 0;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    tern_cursor_close(cursor);
    return count;
}

/* G0: writes of two transactions are ordered differently on two keys. */
static bool write_cycle(const struct attempt *attempt) {
    struct txn_fixture *fixture = attempt->fixture;
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    put(fixture, t1, "1", "11");
    put(fixture, t2, "1", "12");
    put(fixture, t1, "2", "21");
    assert_int_equal(commit(t1), TERN_OK);
    expect_now(fixture, "1", "11");
    expect_now(fixture, "2", "21");
    put(fixture, t2, "2", "22");
    bool both = commit(t2) == TERN_OK;
    tern_txn *t3 = start(attempt);
    bool mixed = !reads(attempt, t3, "1", both ? "12" : "11") ||
                 !reads(attempt, t3, "2", both ? "22" : "21");
    tern_txn_free(t3);
    return mixed;
}

/* G1a: reads what is rolled back later. */
static bool aborted_read(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    put(attempt->fixture, t1, "1", "101");
    bool happened = !reads(attempt, t2, "1", "10");
    tern_txn_rollback(t1);
    happened = happened || !reads(attempt, t2, "1", "10");
    tern_txn_free(t1);
    tern_txn_free(t2);
    return happened;
}

/* G1b: reads a value that its writer replaced before it committed. */
static bool intermediate_read(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    put(attempt->fixture, t1, "1", "101");
    bool happened = reads(attempt, t2, "1", "101");
    put(attempt->fixture, t1, "1", "11");
    assert_int_equal(commit(t1), TERN_OK);
    happened = happened || reads(attempt, t2, "1", "101");
    tern_txn_free(t2);
    return happened;
}

/* G1c: two transactions read what the other wrote. */
static bool circular_information_flow(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    put(attempt->fixture, t1, "1", "11");
    put(attempt->fixture, t2, "2", "22");
    bool happened = reads(attempt, t1, "2", "22") && reads(attempt, t2, "1", "11");
    assert_int_equal(commit(t1), TERN_OK);
    tern_status status = commit(t2);
    assert_true(status == TERN_OK || status == TERN_CONFLICT);
    return happened;
}

/* OTV: sees one write of a transaction, then misses another of the same. */
static bool observed_transaction_vanishes(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    put(attempt->fixture, t1, "1", "11");
    put(attempt->fixture, t1, "2", "19");
    put(attempt->fixture, t2, "1", "12");
    assert_int_equal(commit(t1), TERN_OK);
    tern_txn *t3 = start(attempt);
    assert_true(reads(attempt, t3, "1", "11"));
    put(attempt->fixture, t2, "2", "18");
    assert_true(reads(attempt, t3, "2", "19"));
    (void)commit(t2);
    bool saw_second = reads(attempt, t3, "2", "18");
    bool happened = saw_second != reads(attempt, t3, "1", "12");
    tern_txn_free(t3);
    return happened;
}

/* PMP: a predicate selects more when it is asked again. */
static bool predicate_many_preceders(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    assert_int_equal(count_multiples_of_three(attempt, t1), 0);
    put_now(attempt->fixture, "3", "30");
    bool happened = count_multiples_of_three(attempt, t1) != 0;
    tern_txn_free(t1);
    return happened;
}

/* PMP for a writer: deletes what a predicate selected after somebody changed it. */
static bool predicate_write_misses(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    put(attempt->fixture, t1, "2", "30");
    assert_true(reads(attempt, t2, "2", "20"));
    assert_int_equal(commit(t1), TERN_OK);
    assert_ok(tern_txn_delete(t2, attempt->fixture->keyspace, tern_slice_str("2")),
              *tern_txn_error(t2));
    return commit(t2) == TERN_OK;
}

/* P4: two transactions read a value and write what they made of it. */
static bool lost_update(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    assert_true(reads(attempt, t1, "1", "10"));
    assert_true(reads(attempt, t2, "1", "10"));
    put(attempt->fixture, t1, "1", "11");
    put(attempt->fixture, t2, "1", "11");
    assert_int_equal(commit(t1), TERN_OK);
    return commit(t2) == TERN_OK;
}

/* G-single: read skew. */
static bool read_skew(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    assert_true(reads(attempt, t1, "1", "10"));
    put(attempt->fixture, t2, "1", "12");
    put(attempt->fixture, t2, "2", "18");
    assert_int_equal(commit(t2), TERN_OK);
    bool happened = reads(attempt, t1, "2", "18");
    tern_txn_free(t1);
    return happened;
}

/* G-single over a predicate: the second look, by another predicate, sees the change. */
static bool read_skew_by_predicate(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    assert_int_equal(count_multiples_of_three(attempt, t1), 0);
    put_now(attempt->fixture, "1", "12");
    bool happened = count_multiples_of_three(attempt, t1) == 1;
    tern_txn_free(t1);
    return happened;
}

/* G-single with a write: what was read is deleted though it has changed. */
static bool read_skew_with_write(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    assert_true(reads(attempt, t1, "1", "10"));
    put(attempt->fixture, t2, "1", "12");
    put(attempt->fixture, t2, "2", "18");
    assert_int_equal(commit(t2), TERN_OK);
    assert_ok(tern_txn_delete(t1, attempt->fixture->keyspace, tern_slice_str("2")),
              *tern_txn_error(t1));
    return commit(t1) == TERN_OK;
}

/* G2-item: write skew. */
static bool write_skew(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    assert_true(reads(attempt, t1, "1", "10") && reads(attempt, t1, "2", "20"));
    assert_true(reads(attempt, t2, "1", "10") && reads(attempt, t2, "2", "20"));
    put(attempt->fixture, t1, "1", "11");
    put(attempt->fixture, t2, "2", "21");
    assert_int_equal(commit(t1), TERN_OK);
    return commit(t2) == TERN_OK;
}

/* The same where what was read is that a key is missing. */
static bool write_skew_on_missing_keys(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    assert_true(reads(attempt, t1, "4", "-"));
    assert_true(reads(attempt, t2, "3", "-"));
    put(attempt->fixture, t1, "3", "30");
    put(attempt->fixture, t2, "4", "42");
    assert_int_equal(commit(t1), TERN_OK);
    return commit(t2) == TERN_OK;
}

/* G2: write skew over predicates. */
static bool predicate_write_skew(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    tern_txn *t2 = start(attempt);
    assert_int_equal(count_multiples_of_three(attempt, t1), 0);
    assert_int_equal(count_multiples_of_three(attempt, t2), 0);
    put(attempt->fixture, t1, "3", "30");
    put(attempt->fixture, t2, "4", "42");
    assert_int_equal(commit(t1), TERN_OK);
    return commit(t2) == TERN_OK;
}

/* G2 with two anti-dependencies: the reader in between makes the order impossible (Fekete, O'Neil,
 * O'Neil, "A read-only transaction anomaly under snapshot isolation", 2004). */
static bool read_only_anomaly(const struct attempt *attempt) {
    tern_txn *t1 = start(attempt);
    assert_true(reads(attempt, t1, "1", "10") && reads(attempt, t1, "2", "20"));
    tern_txn *t2 = start(attempt);
    put(attempt->fixture, t2, "2", "25");
    assert_int_equal(commit(t2), TERN_OK);
    tern_txn *t3 = start(attempt);
    assert_true(reads(attempt, t3, "1", "10") && reads(attempt, t3, "2", "25"));
    assert_int_equal(commit(t3), TERN_OK);
    put(attempt->fixture, t1, "1", "0");
    return commit(t1) == TERN_OK;
}

struct anomaly {
    const char *name;
    bool (*happens)(const struct attempt *attempt);
    bool allowed[3]; /* read committed, snapshot, serializable */
};

#define MAY true
#define NOT false

static const struct anomaly anomalies[] = {
    {"G0 write cycle", write_cycle, {NOT, NOT, NOT}},
    {"G1a aborted read", aborted_read, {NOT, NOT, NOT}},
    {"G1b intermediate read", intermediate_read, {NOT, NOT, NOT}},
    {"G1c circular information flow", circular_information_flow, {NOT, NOT, NOT}},
    {"OTV observed transaction vanishes", observed_transaction_vanishes, {NOT, NOT, NOT}},
    {"PMP predicate-many-preceders", predicate_many_preceders, {MAY, NOT, NOT}},
    {"PMP for writers", predicate_write_misses, {MAY, NOT, NOT}},
    {"P4 lost update", lost_update, {MAY, NOT, NOT}},
    {"G-single read skew", read_skew, {MAY, NOT, NOT}},
    {"G-single by predicate", read_skew_by_predicate, {MAY, NOT, NOT}},
    {"G-single with a write", read_skew_with_write, {MAY, NOT, NOT}},
    {"G2-item write skew", write_skew, {MAY, MAY, NOT}},
    {"G2-item on missing keys", write_skew_on_missing_keys, {MAY, MAY, NOT}},
    {"G2 predicate write skew", predicate_write_skew, {MAY, MAY, NOT}},
    {"G2 read-only anomaly", read_only_anomaly, {MAY, MAY, NOT}},
};

static void restore(struct txn_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_delete_range(fixture->keyspace, NULL, NULL, NULL, &error), error);
    put_now(fixture, "1", "10");
    put_now(fixture, "2", "20");
}

/* With `checkpoints` the start is in the base instead of the overlay. */
static void try_all(struct txn_fixture *fixture, tern_isolation isolation, bool checkpoints) {
    tern_error error = TERN_ERROR_INIT;
    struct attempt attempt = {fixture, isolation};
    for (size_t i = 0; i < sizeof(anomalies) / sizeof(anomalies[0]); i++) {
        restore(fixture);
        if (checkpoints) {
            assert_ok(tern_checkpoint(fixture->db, &error), error);
        }
        bool allowed = anomalies[i].allowed[isolation - TERN_ISOLATION_READ_COMMITTED];
        bool happened = anomalies[i].happens(&attempt);
        if (happened != allowed) {
            print_error("%s: %s\n", anomalies[i].name, happened ? "happened" : "did not happen");
        }
        assert_int_equal(happened, allowed);
    }
}

static void read_committed_prevents_g0_g1_and_otv(void **state) {
    try_all(*state, TERN_ISOLATION_READ_COMMITTED, false);
    try_all(*state, TERN_ISOLATION_READ_COMMITTED, true);
}

static void snapshot_prevents_also_pmp_p4_and_g_single(void **state) {
    try_all(*state, TERN_ISOLATION_SNAPSHOT, false);
    try_all(*state, TERN_ISOLATION_SNAPSHOT, true);
}

static void serializable_prevents_all(void **state) {
    try_all(*state, TERN_ISOLATION_SERIALIZABLE, false);
    try_all(*state, TERN_ISOLATION_SERIALIZABLE, true);
}

/* One transaction reads a keyspace that another drops: whether the first can be committed then. */
static tern_status commit_after_drop(struct txn_fixture *fixture, tern_isolation isolation,
                                     bool scans) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    struct txn_fixture other = *fixture;
    options.engine = txn_fixture_engine;
    assert_ok(tern_keyspace_create(fixture->db, "other", &options, &other.keyspace, &error), error);
    put_now(&other, "1", "3");
    tern_txn *txn = begin(fixture, isolation, false);
    if (scans) {
        struct attempt attempt = {&other, isolation};
        assert_int_equal(count_multiples_of_three(&attempt, txn), 1);
    } else {
        expect(&other, txn, "1", "3");
    }
    assert_ok(tern_keyspace_drop(fixture->db, "other", &error), error);
    put(fixture, txn, "3", "read before the drop");
    return commit(txn);
}

static void serializable_readers_conflict_with_a_drop(void **state) {
    for (int scans = 0; scans < 2; scans++) {
        assert_int_equal(commit_after_drop(*state, TERN_ISOLATION_SNAPSHOT, scans), TERN_OK);
        assert_int_equal(commit_after_drop(*state, TERN_ISOLATION_SERIALIZABLE, scans),
                         TERN_CONFLICT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(read_committed_prevents_g0_g1_and_otv, txn_fixture_set_up,
                                        txn_fixture_tear_down),
        cmocka_unit_test_setup_teardown(snapshot_prevents_also_pmp_p4_and_g_single,
                                        txn_fixture_set_up, txn_fixture_tear_down),
        cmocka_unit_test_setup_teardown(serializable_prevents_all, txn_fixture_set_up,
                                        txn_fixture_tear_down),
        cmocka_unit_test_setup_teardown(serializable_readers_conflict_with_a_drop,
                                        txn_fixture_set_up, txn_fixture_tear_down),
    };
    static const tern_engine_kind engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH,
                                               TERN_ENGINE_LSM};
    int failed = 0;
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        txn_fixture_engine = engines[i];
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
