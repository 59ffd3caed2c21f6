/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 *
 * Ten threads, a thousand operations each, of every kind, on a database with small budgets. What
 * must hold: a sum that transfers keep, counters that nobody loses, pairs that are always equal,
 * scans in order whatever is written meanwhile. TERN_OPERATIONS says how many.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "api_fixture.h"
#include "support/seeded_random.h"

#define THREADS  10
#define ACCOUNTS 40u
#define DEPOSIT  1000

struct crowd {
    struct api_fixture fixture;
    tern_keyspace *accounts;
    tern_keyspace *mirror;
    _Atomic int64_t increments;
    _Atomic uint64_t failures;
    uint64_t operations;
    uint64_t seed;
};

struct member {
    struct crowd *crowd;
    struct seeded_random random;
    pthread_t thread;
    uint32_t number;
};

static tern_slice account_key(uint64_t account, char key[16]) {
    (void)snprintf(key, 16, "%05u", (unsigned)account);
    return tern_slice_str(key);
}

static bool is_expected(tern_status status) {
    return status == TERN_OK || status == TERN_CONFLICT || status == TERN_DEADLOCK ||
           status == TERN_TIMEOUT || status == TERN_LOCKED;
}

static void note(struct member *member, tern_status status, const tern_error *error) {
    if (!is_expected(status)) {
        atomic_fetch_add(&member->crowd->failures, 1);
        print_error("thread %u: %s: %s\n", member->number, tern_status_name(status),
                    error->message);
    }
}

/* The accounts and their mirror change together. */
static tern_status add_to(struct member *member, tern_txn *txn, uint64_t account, int64_t amount) {
    char key[16];
    int64_t balance = 0;
    struct crowd *crowd = member->crowd;
    tern_slice name = account_key(account, key);
    tern_status status =
        seeded_random_below(&member->random, 2) == 0
            ? tern_txn_get_for_update(txn, crowd->accounts, name, &balance, 8, NULL)
            : tern_txn_get(txn, crowd->accounts, name, &balance, 8, NULL);
    balance += amount;
    if (status == TERN_OK) {
        status = tern_txn_put(txn, crowd->accounts, name, tern_slice_of(&balance, 8), NULL);
    }
    return status == TERN_OK
               ? tern_txn_put(txn, crowd->mirror, name, tern_slice_of(&balance, 8), NULL)
               : status;
}

static void transfer(struct member *member) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    options.pessimistic = seeded_random_below(&member->random, 2) == 0;
    options.isolation = seeded_random_below(&member->random, 2) == 0 ? TERN_ISOLATION_SNAPSHOT
                                                                     : TERN_ISOLATION_SERIALIZABLE;
    options.durability = (tern_durability)(1 + seeded_random_below(&member->random, 3));
    tern_status status = tern_txn_begin(member->crowd->fixture.db, &options, &txn, &error);
    if (status != TERN_OK) {
        note(member, status, &error);
        return;
    }
    int64_t amount = 1 + (int64_t)seeded_random_below(&member->random, 50);
    status = add_to(member, txn, seeded_random_below(&member->random, ACCOUNTS), -amount);
    if (status == TERN_OK) {
        status = add_to(member, txn, seeded_random_below(&member->random, ACCOUNTS), amount);
    }
    if (status == TERN_OK) {
        status = tern_txn_commit(txn);
    }
    note(member, status, tern_txn_error(txn));
    tern_txn_free(txn);
}

/* Both keyspaces at one moment: equal, and the sum is what it always was. */
static void audit(struct member *member) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    struct crowd *crowd = member->crowd;
    tern_txn *txn;
    tern_cursor *cursor;
    int64_t sum = 0;
    options.read_only = true;
    assert_ok(tern_txn_begin(crowd->fixture.db, &options, &txn, &error), error);
    assert_ok(tern_cursor_open(txn, crowd->accounts, NULL, &cursor), *tern_txn_error(txn));
    bool is_backward = seeded_random_below(&member->random, 2) == 0;
    unsigned count = 0;
    while ((is_backward ? tern_cursor_previous(cursor) : tern_cursor_next(cursor)) == TERN_OK) {
        int64_t balance = 0;
        int64_t mirrored = 0;
        tern_slice value;
        assert_ok(tern_cursor_value(cursor, &value), *tern_cursor_error(cursor));
        memcpy(&balance, value.data, 8);
        assert_ok(tern_txn_get(txn, crowd->mirror, tern_cursor_key(cursor), &mirrored, 8, NULL),
                  *tern_txn_error(txn));
        assert_true(balance == mirrored);
        sum += balance;
        count++;
    }
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    assert_int_equal(count, ACCOUNTS);
    assert_true(sum == (int64_t)ACCOUNTS * DEPOSIT);
}

static void count_up(struct member *member) {
    int64_t one = 1;
    tern_error error = TERN_ERROR_INIT;
    tern_status status = tern_merge(member->crowd->fixture.keyspace, tern_slice_str("counter"),
                                    TERN_MERGE_ADD, tern_slice_of(&one, 8), NULL, &error);
    note(member, status, &error);
    atomic_fetch_add(&member->crowd->increments, status == TERN_OK ? 1 : 0);
}

/* Bulk that makes overlays freeze and pages split, in a part of the keyspace of its own. */
static void write_bulk(struct member *member) {
    char key[32];
    char value[900];
    tern_error error = TERN_ERROR_INIT;
    memset(value, 'b', sizeof(value));
    (void)snprintf(key, sizeof(key), "bulk/%u/%04u", member->number,
                   (unsigned)seeded_random_below(&member->random, 300));
    tern_slice name = tern_slice_str(key);
    tern_status status = seeded_random_below(&member->random, 4) == 0
                             ? tern_delete(member->crowd->fixture.keyspace, name, NULL, &error)
                             : tern_put(member->crowd->fixture.keyspace, name,
                                        tern_slice_of(value, sizeof(value)), NULL, &error);
    note(member, status, &error);
}

static void *live(void *context) {
    struct member *member = context;
    for (uint64_t i = 0; i < member->crowd->operations; i++) {
        uint64_t kind = seeded_random_below(&member->random, 100);
        if (kind < 25) {
            transfer(member);
        } else if (kind < 35) {
            audit(member);
        } else if (kind < 60) {
            count_up(member);
        } else if (kind < 99) {
            write_bulk(member);
        } else {
            tern_error error = TERN_ERROR_INIT;
            note(member, tern_checkpoint(member->crowd->fixture.db, &error), &error);
        }
    }
    return NULL;
}

static void set_up(struct crowd *crowd) {
    tern_error error = TERN_ERROR_INIT;
    int64_t deposit = DEPOSIT;
    api_fixture_init(&crowd->fixture, false);
    assert_ok(tern_keyspace_create(crowd->fixture.db, "accounts", NULL, &crowd->accounts, &error),
              error);
    assert_ok(tern_keyspace_create(crowd->fixture.db, "mirror", NULL, &crowd->mirror, &error),
              error);
    for (uint64_t i = 0; i < ACCOUNTS; i++) {
        char key[16];
        tern_slice name = account_key(i, key);
        assert_ok(tern_put(crowd->accounts, name, tern_slice_of(&deposit, 8), NULL, &error), error);
        assert_ok(tern_put(crowd->mirror, name, tern_slice_of(&deposit, 8), NULL, &error), error);
    }
}

static void ten_threads_keep_what_must_hold(void **state) {
    (void)state;
    struct crowd crowd = {.operations = 1000, .seed = seeded_random_seed("threads")};
    struct member members[THREADS];
    const char *wanted = getenv("TERN_OPERATIONS");
    crowd.operations = wanted != NULL ? strtoull(wanted, NULL, 10) : crowd.operations;
    set_up(&crowd);
    for (uint32_t i = 0; i < THREADS; i++) {
        members[i] = (struct member){.crowd = &crowd, .number = i};
        seeded_random_init(&members[i].random, crowd.seed + i);
        assert_int_equal(pthread_create(&members[i].thread, NULL, live, &members[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        (void)pthread_join(members[i].thread, NULL);
    }
    assert_int_equal(crowd.failures, 0);
    for (int round = 0; round < 2; round++) {
        int64_t counter = 0;
        tern_error error = TERN_ERROR_INIT;
        assert_ok(
            tern_get(crowd.fixture.keyspace, tern_slice_str("counter"), &counter, 8, NULL, &error),
            error);
        assert_true(counter == crowd.increments);
        audit(&members[0]);
        api_assert_sound(crowd.fixture.db);
        api_fixture_reopen(&crowd.fixture);
        assert_ok(tern_keyspace_open(crowd.fixture.db, "accounts", &crowd.accounts, &error), error);
        assert_ok(tern_keyspace_open(crowd.fixture.db, "mirror", &crowd.mirror, &error), error);
    }
    api_fixture_release(&crowd.fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_threads_keep_what_must_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
