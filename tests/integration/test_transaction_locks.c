/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of transactions, and the bank whose tellers must not make or lose money. */
#include "integration/txn_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SNAPSHOT       TERN_ISOLATION_SNAPSHOT
#define SERIALIZABLE   TERN_ISOLATION_SERIALIZABLE
#define READ_COMMITTED TERN_ISOLATION_READ_COMMITTED

static tern_slice text(const char *string) {
    return tern_slice_str(string);
}

/* ---- locks ---- */

/* A lock wanted on a thread of its own. */
struct wish {
    struct txn_fixture *fixture;
    tern_txn *txn;
    const char *key;
    tern_status status;
    pthread_t thread;
};

static void *run_wish(void *argument) {
    struct wish *wish = argument;
    wish->status =
        tern_txn_lock(wish->txn, wish->fixture->keyspace, text(wish->key), TERN_LOCK_EXCLUSIVE);
    return NULL;
}

static void start_wish(struct wish *wish, struct txn_fixture *fixture, tern_txn *txn,
                       const char *key) {
    *wish = (struct wish){.fixture = fixture, .txn = txn, .key = key};
    assert_int_equal(pthread_create(&wish->thread, NULL, run_wish, wish), 0);
}

static tern_status end_wish(struct wish *wish) {
    assert_int_equal(pthread_join(wish->thread, NULL), 0);
    return wish->status;
}

static void lock(struct txn_fixture *fixture, tern_txn *txn, const char *key, tern_lock_mode mode) {
    assert_ok(tern_txn_lock(txn, fixture->keyspace, text(key), mode), *tern_txn_error(txn));
}

static void a_deadlock_ends_the_youngest(void **state) {
    struct txn_fixture *fixture = *state;
    tern_txn *older = begin(fixture, SNAPSHOT, true);
    tern_txn *younger = begin(fixture, SNAPSHOT, true);
    struct wish first;
    struct wish second;
    lock(fixture, older, "a", TERN_LOCK_EXCLUSIVE);
    lock(fixture, younger, "b", TERN_LOCK_EXCLUSIVE);
    /* Whichever closes the circle. */
    start_wish(&first, fixture, younger, "a");
    start_wish(&second, fixture, older, "b");
    assert_int_equal(end_wish(&first), TERN_DEADLOCK);
    assert_int_equal(tern_txn_error(younger)->status, TERN_DEADLOCK);
    /* It can only be ended, and lets the older go on. */
    assert_int_equal(tern_txn_put(younger, fixture->keyspace, text("x"), text("y"), NULL),
                     TERN_DEADLOCK);
    tern_txn_rollback(younger);
    assert_int_equal(end_wish(&second), TERN_OK);
    put(fixture, older, "b", "1");
    assert_int_equal(commit(older), TERN_OK);
    assert_ok(tern_txn_restart(younger), *tern_txn_error(younger));
    put(fixture, younger, "b", "2");
    assert_int_equal(commit(younger), TERN_OK);
    expect_now(fixture, "b", "2");
}

static void two_upgrades_are_a_deadlock(void **state) {
    struct txn_fixture *fixture = *state;
    tern_txn *older = begin(fixture, SNAPSHOT, false);
    tern_txn *younger = begin(fixture, SNAPSHOT, false);
    struct wish first;
    struct wish second;
    lock(fixture, older, "k", TERN_LOCK_SHARED);
    lock(fixture, younger, "k", TERN_LOCK_SHARED);
    start_wish(&first, fixture, older, "k");
    start_wish(&second, fixture, younger, "k");
    assert_int_equal(end_wish(&second), TERN_DEADLOCK);
    tern_txn_free(younger);
    assert_int_equal(end_wish(&first), TERN_OK);
    tern_txn_free(older);
}

static void a_lock_times_out_and_the_transaction_goes_on(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *waiter;
    options.lock_timeout_ms = 30;
    tern_txn *holder = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_txn_begin(fixture->db, &options, &waiter, &error), error);
    lock(fixture, holder, "k", TERN_LOCK_EXCLUSIVE);
    assert_int_equal(tern_txn_lock(waiter, fixture->keyspace, text("k"), TERN_LOCK_SHARED),
                     TERN_TIMEOUT);
    put(fixture, waiter, "other", "1");
    assert_int_equal(commit(waiter), TERN_OK);
    tern_txn_free(holder);
}

static void an_optimistic_commit_respects_a_lock(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_slice begin_key = text("a");
    tern_slice end_key = text("z");
    tern_txn *holder = begin(fixture, SNAPSHOT, false);
    lock(fixture, holder, "k", TERN_LOCK_SHARED);
    assert_int_equal(tern_put(fixture->keyspace, text("k"), text("1"), NULL, &error), TERN_LOCKED);
    assert_int_equal(tern_delete_range(fixture->keyspace, &begin_key, &end_key, NULL, &error),
                     TERN_LOCKED);
    put(fixture, holder, "k", "own");
    assert_int_equal(commit(holder), TERN_OK);
    put_now(fixture, "k", "1");
    expect_now(fixture, "k", "1");
}

static void a_lock_on_what_changed_is_a_conflict_at_once(void **state) {
    struct txn_fixture *fixture = *state;
    put_now(fixture, "k", "1");
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    put_now(fixture, "k", "2");
    char buffer[8];
    size_t size;
    assert_int_equal(
        tern_txn_get_for_update(txn, fixture->keyspace, text("k"), buffer, sizeof(buffer), &size),
        TERN_CONFLICT);
    assert_int_equal(tern_txn_commit(txn), TERN_CONFLICT);
    tern_txn_free(txn);
    txn = begin(fixture, READ_COMMITTED, false);
    put_now(fixture, "k", "3");
    assert_ok(
        tern_txn_get_for_update(txn, fixture->keyspace, text("k"), buffer, sizeof(buffer), &size),
        *tern_txn_error(txn));
    assert_memory_equal(buffer, "3", 1);
    tern_txn_free(txn);
}

/* ---- the bank ---- */

#define THREADS       10
#define TRANSFERS     1000
#define ACCOUNTS      20
#define START_BALANCE 1000

struct bank {
    struct txn_fixture *fixture;
    tern_isolation isolation;
    bool pessimistic;
    _Atomic uint64_t failures;
    _Atomic uint64_t transfers;
    _Atomic unsigned next_thread;
};

static void account_key(unsigned account, char buffer[16]) {
    (void)snprintf(buffer, 16, "account-%02u", account);
}

/* Moves one unit; TERN_OK, or what makes it worth trying again. */
static tern_status transfer(struct bank *bank, tern_txn *txn, unsigned from, unsigned to) {
    tern_keyspace *keyspace = bank->fixture->keyspace;
    unsigned accounts[2] = {from, to};
    int64_t balances[2];
    for (int i = 0; i < 2; i++) {
        char key[16];
        size_t size;
        account_key(accounts[i], key);
        tern_status status =
            bank->pessimistic
                ? tern_txn_get_for_update(txn, keyspace, text(key), &balances[i], 8, &size)
                : tern_txn_get(txn, keyspace, text(key), &balances[i], 8, &size);
        if (status != TERN_OK) {
            return status;
        }
    }
    balances[0] -= 1;
    balances[1] += 1;
    for (int i = 0; i < 2; i++) {
        char key[16];
        account_key(accounts[i], key);
        tern_status status =
            tern_txn_put(txn, keyspace, text(key), tern_slice_of(&balances[i], 8), NULL);
        if (status != TERN_OK) {
            return status;
        }
    }
    return tern_txn_commit(txn);
}

static int64_t sum_of(struct txn_fixture *fixture, tern_txn *txn) {
    int64_t sum = 0;
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char key[16];
        int64_t balance = 0;
        size_t size;
        account_key(i, key);
        if (tern_txn_get(txn, fixture->keyspace, text(key), &balance, 8, &size) != TERN_OK) {
            return -1;
        }
        sum += balance;
    }
    return sum;
}

static void *run_teller(void *argument) {
    struct bank *bank = argument;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    unsigned random = atomic_fetch_add(&bank->next_thread, 1) * 2654435761u + 1;
    options.isolation = bank->isolation;
    options.pessimistic = bank->pessimistic;
    if (tern_txn_begin(bank->fixture->db, &options, &txn, NULL) != TERN_OK) {
        atomic_fetch_add(&bank->failures, 1);
        return NULL;
    }
    for (int done = 0; done < TRANSFERS;) {
        random = random * 1664525 + 1013904223;
        unsigned from = random >> 8 & 0xff;
        unsigned to = from + 1 + (random >> 16 & 0xff) % (ACCOUNTS - 1);
        tern_status status = transfer(bank, txn, from % ACCOUNTS, to % ACCOUNTS);
        done += status == TERN_OK;
        if (status != TERN_OK && status != TERN_CONFLICT && status != TERN_DEADLOCK &&
            status != TERN_LOCKED) {
            print_error("%s: %s\n", tern_status_name(status), tern_txn_error(txn)->message);
            atomic_fetch_add(&bank->failures, 1);
            break;
        }
        if (tern_txn_restart(txn) != TERN_OK) {
            atomic_fetch_add(&bank->failures, 1);
            break;
        }
        if (done % 100 == 0 && bank->isolation != READ_COMMITTED &&
            sum_of(bank->fixture, txn) != ACCOUNTS * START_BALANCE) {
            atomic_fetch_add(&bank->failures, 1);
        }
    }
    tern_txn_free(txn);
    return NULL;
}

static void run_bank(struct txn_fixture *fixture, tern_isolation isolation, bool pessimistic) {
    tern_error error = TERN_ERROR_INIT;
    struct bank bank = {.fixture = fixture, .isolation = isolation, .pessimistic = pessimistic};
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char key[16];
        int64_t balance = START_BALANCE;
        account_key(i, key);
        assert_ok(tern_put(fixture->keyspace, text(key), tern_slice_of(&balance, 8), NULL, &error),
                  error);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_teller, &bank), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&bank.failures), 0);
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    assert_int_equal(sum_of(fixture, txn), ACCOUNTS * START_BALANCE);
    tern_txn_free(txn);
}

static void money_is_neither_made_nor_lost_optimistically(void **state) {
    run_bank(*state, SNAPSHOT, false);
}

static void money_is_neither_made_nor_lost_serializably(void **state) {
    run_bank(*state, SERIALIZABLE, false);
}

static void money_is_neither_made_nor_lost_pessimistically(void **state) {
    run_bank(*state, SNAPSHOT, true);
}

static void locks_alone_keep_money_under_read_committed(void **state) {
    run_bank(*state, READ_COMMITTED, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, txn_fixture_set_up, txn_fixture_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_deadlock_ends_the_youngest),
        TEST(two_upgrades_are_a_deadlock),
        TEST(a_lock_times_out_and_the_transaction_goes_on),
        TEST(an_optimistic_commit_respects_a_lock),
        TEST(a_lock_on_what_changed_is_a_conflict_at_once),
        TEST(money_is_neither_made_nor_lost_optimistically),
        TEST(money_is_neither_made_nor_lost_serializably),
        TEST(money_is_neither_made_nor_lost_pessimistically),
        TEST(locks_alone_keep_money_under_read_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
