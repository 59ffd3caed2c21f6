/* SPDX-License-Identifier: Apache-2.0 */
/* Asynchronous commits: order, outcomes, the descriptor, and closing with some under way. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "api_fixture.h"

#define COMMITS 400

/* What callbacks told; `numbers` in the order of the calls. */
struct outcome {
    _Atomic unsigned count;
    unsigned numbers[COMMITS];
    tern_status statuses[COMMITS];
    pthread_t thread;
};

struct submission {
    struct outcome *outcome;
    unsigned number;
};

static void on_done(void *context, tern_status status, const tern_error *error) {
    struct submission *submission = context;
    struct outcome *outcome = submission->outcome;
    unsigned place = atomic_load(&outcome->count);
    assert_true(status == TERN_OK || error->status == status);
    outcome->numbers[place] = submission->number;
    outcome->statuses[place] = status;
    outcome->thread = pthread_self();
    atomic_store(&outcome->count, place + 1);
    free(submission);
}

static void submit_txn(tern_txn *txn, struct outcome *outcome, unsigned number) {
    struct submission *submission = malloc(sizeof(*submission));
    assert_non_null(submission);
    *submission = (struct submission){outcome, number};
    assert_ok(tern_txn_commit_async(txn, on_done, submission), *tern_txn_error(txn));
}

static void submit(struct api_fixture *fixture, struct outcome *outcome, unsigned number) {
    char key[16];
    tern_txn *txn = api_begin(fixture);
    (void)snprintf(key, sizeof(key), "%06u", number);
    assert_ok(tern_txn_put(txn, fixture->keyspace, tern_slice_str(key), tern_slice_str("v"), NULL),
              *tern_txn_error(txn));
    submit_txn(txn, outcome, number);
}

static void assert_in_order(const struct outcome *outcome, unsigned count) {
    assert_int_equal(outcome->count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(outcome->numbers[i], i);
        assert_int_equal(outcome->statuses[i], TERN_OK);
    }
}

static void callbacks_wait_for_poll_once_there_is_a_descriptor(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct outcome outcome = {0};
    tern_error error = TERN_ERROR_INIT;
    struct pollfd descriptor = {-1, POLLIN, 0};
    api_fixture_init(&fixture, false);
    assert_ok(tern_poll_descriptor(fixture.db, &descriptor.fd, &error), error);
    assert_int_equal(poll(&descriptor, 1, 0), 0);
    for (unsigned i = 0; i < COMMITS; i++) {
        submit(&fixture, &outcome, i);
    }
    while (outcome.count < COMMITS) {
        unsigned before = outcome.count;
        assert_int_equal(poll(&descriptor, 1, 10000), 1);
        assert_int_equal(outcome.count, before); /* nobody but us calls back */
        (void)tern_poll(fixture.db);
        assert_true(pthread_equal(outcome.thread, pthread_self()));
    }
    assert_in_order(&outcome, COMMITS);
    assert_int_equal(tern_poll(fixture.db), 0);
    assert_int_equal(poll(&descriptor, 1, 0), 0);
    api_fixture_release(&fixture);
}

static void callbacks_run_on_the_executor_else(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct outcome outcome = {0};
    api_fixture_init(&fixture, true);
    for (unsigned i = 0; i < 20; i++) {
        submit(&fixture, &outcome, i);
    }
    assert_int_equal(outcome.count, 0); /* nobody has stepped */
    api_assert_missing(fixture.keyspace, "000000");
    api_fixture_pass_ms(&fixture, 10);
    assert_in_order(&outcome, 20);
    api_assert_value(fixture.keyspace, "000019", "v");
    api_fixture_release(&fixture);
}

static void close_waits_for_what_was_submitted(void **state) {
    (void)state;
    for (int is_stepped = 0; is_stepped < 2; is_stepped++) {
        struct api_fixture fixture;
        struct outcome outcome = {0};
        api_fixture_init(&fixture, is_stepped != 0);
        for (unsigned i = 0; i < 100; i++) {
            submit(&fixture, &outcome, i);
        }
        api_fixture_close(&fixture);
        assert_in_order(&outcome, 100);
        api_fixture_open(&fixture);
        api_assert_value(fixture.keyspace, "000000", "v");
        api_assert_value(fixture.keyspace, "000099", "v");
        api_fixture_release(&fixture);
    }
}

static void a_conflict_is_told_to_the_callback(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct outcome outcome = {0};
    api_fixture_init(&fixture, true);
    tern_txn *first = api_begin(&fixture);
    tern_txn *second = api_begin(&fixture);
    tern_slice key = tern_slice_str("k");
    assert_int_equal(tern_txn_put(first, fixture.keyspace, key, tern_slice_str("1"), NULL), 0);
    assert_int_equal(tern_txn_put(second, fixture.keyspace, key, tern_slice_str("2"), NULL), 0);
    submit_txn(first, &outcome, 0);
    submit_txn(second, &outcome, 1);
    submit_txn(api_begin(&fixture), &outcome, 2); /* has nothing to commit */
    api_fixture_pass_ms(&fixture, 10);
    assert_int_equal(outcome.count, 3);
    assert_int_equal(outcome.numbers[0], 0);
    assert_int_equal(outcome.statuses[0], TERN_OK);
    assert_int_equal(outcome.numbers[1], 1);
    assert_int_equal(outcome.statuses[1], TERN_CONFLICT);
    assert_int_equal(outcome.numbers[2], 2);
    assert_int_equal(outcome.statuses[2], TERN_OK);
    api_assert_value(fixture.keyspace, "k", "1");
    api_fixture_release(&fixture);
}

/* A synchronous committer leads those that were submitted before it. */
static void synchronous_commits_keep_their_place_among_others(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct outcome outcome = {0};
    api_fixture_init(&fixture, true);
    for (unsigned i = 0; i < 10; i++) {
        submit(&fixture, &outcome, i);
    }
    api_put(fixture.keyspace, "000003", "later");
    api_fixture_pass_ms(&fixture, 10);
    assert_in_order(&outcome, 10);
    api_assert_value(fixture.keyspace, "000003", "later");
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callbacks_wait_for_poll_once_there_is_a_descriptor),
        cmocka_unit_test(callbacks_run_on_the_executor_else),
        cmocka_unit_test(close_waits_for_what_was_submitted),
        cmocka_unit_test(a_conflict_is_told_to_the_callback),
        cmocka_unit_test(synchronous_commits_keep_their_place_among_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
