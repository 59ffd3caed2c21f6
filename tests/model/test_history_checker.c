/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker of histories on histories written by hand: each anomaly is found under its name, and
 * nothing is found where nothing is wrong.
 *
 * Notation in comments: T1: r(x, [1 2]) a(x, 3) is a transaction that reads the list and appends.
 */
#include <string.h>

#include "support/cmocka_test.h"
#include "support/history.h"

enum { X, Y, Z };

#define LIST(...) ((const uint32_t[]){__VA_ARGS__}), sizeof((const uint32_t[]){__VA_ARGS__}) / 4
#define EMPTY     NULL, 0

/* Transactions that overlap are begun together; each has a session of its own. */
#define SESSIONS 8

struct story {
    struct history *history;
    struct history_txn *txn[SESSIONS];
};

static struct story tell(unsigned overlapping) {
    struct story story = {.history = history_create(SESSIONS)};
    for (unsigned i = 1; i <= overlapping; i++) {
        story.txn[i] = history_begin(story.history, i);
    }
    return story;
}

static void commit(struct history_txn *txn) {
    history_end(txn, HISTORY_COMMITTED);
}

static void update(struct history_txn *txn, uint32_t key, uint32_t element) {
    history_append(txn, key, element, false);
}

/* A transaction after all others that appends nothing. */
static struct history_txn *afterwards(struct story *story) {
    return history_begin(story->history, 0);
}

static void expect_under(struct story *story, struct history_rules rules, uint32_t anomalies) {
    struct history_report report;
    char expected[256];
    char names[256];
    history_check(story->history, rules, &report);
    if (report.anomalies != anomalies) {
        print_error("%s", report.detail);
    }
    assert_string_equal(history_anomaly_names(report.anomalies, names, sizeof(names)),
                        history_anomaly_names(anomalies, expected, sizeof(expected)));
    history_destroy(story->history);
}

static void expect(struct story *story, uint32_t anomalies) {
    expect_under(story, (struct history_rules){.is_complete = true}, anomalies);
}

static void finds_nothing_in_a_serial_history(void **state) {
    (void)state;
    struct story story = tell(0);
    for (uint32_t i = 1; i <= 5; i++) {
        const uint32_t list[] = {1, 2, 3, 4, 5};
        struct history_txn *txn = history_begin(story.history, i % 3);
        history_read(txn, X, list, i - 1);
        update(txn, X, i);
        history_read(txn, X, list, i);
        commit(txn);
    }
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(1, 2, 3, 4, 5));
    history_read(last, Y, EMPTY);
    commit(last);
    expect(&story, 0);
}

static void finds_an_element_that_nobody_appended(void **state) {
    (void)state;
    struct story story = tell(2);
    update(story.txn[1], Y, 7);
    commit(story.txn[1]);
    history_read(story.txn[2], X, LIST(7)); /* appended, but to another key */
    history_read(story.txn[2], Y, LIST(7));
    commit(story.txn[2]);
    expect(&story, HISTORY_GARBAGE);
}

static void finds_an_element_twice(void **state) {
    (void)state;
    struct story story = tell(2);
    update(story.txn[1], X, 1);
    commit(story.txn[1]);
    history_read(story.txn[2], X, LIST(1, 1));
    commit(story.txn[2]);
    expect(&story, HISTORY_DUPLICATE);
}

static void finds_a_lost_append(void **state) {
    (void)state;
    struct story story = tell(2);
    update(story.txn[1], X, 1);
    commit(story.txn[1]);
    history_read(story.txn[2], X, EMPTY);
    commit(story.txn[2]);
    expect(&story, HISTORY_LOST_APPEND);
}

static void finds_two_orders_of_one_list(void **state) {
    (void)state;
    struct story story = tell(4);
    history_append(story.txn[1], X, 1, true);
    commit(story.txn[1]);
    history_append(story.txn[2], X, 2, true);
    commit(story.txn[2]);
    history_read(story.txn[3], X, LIST(1, 2));
    commit(story.txn[3]);
    history_read(story.txn[4], X, LIST(2));
    commit(story.txn[4]);
    expect(&story, HISTORY_INCOMPATIBLE_ORDER);
}

static void finds_a_read_that_misses_an_own_append(void **state) {
    (void)state;
    struct story story = tell(1);
    update(story.txn[1], X, 1);
    history_read(story.txn[1], X, EMPTY);
    commit(story.txn[1]);
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(1));
    commit(last);
    expect(&story, HISTORY_INTERNAL);
}

static void finds_a_read_of_an_own_append_that_was_undone(void **state) {
    (void)state;
    struct story story = tell(1);
    size_t savepoint = history_savepoint(story.txn[1]);
    update(story.txn[1], X, 1);
    history_read(story.txn[1], X, LIST(1)); /* it stands here */
    history_undo(story.txn[1], savepoint);
    history_read(story.txn[1], X, LIST(1));
    commit(story.txn[1]);
    expect(&story, HISTORY_INTERNAL | HISTORY_UNREPEATABLE_READ);
}

static void finds_unrepeatable_reads(void **state) {
    (void)state;
    struct story story = tell(2);
    history_read(story.txn[2], X, EMPTY);
    update(story.txn[1], X, 1);
    commit(story.txn[1]);
    history_read(story.txn[2], X, LIST(1));
    commit(story.txn[2]);
    expect(&story, HISTORY_UNREPEATABLE_READ | HISTORY_G_SINGLE);
}

static void finds_a_lost_update(void **state) {
    (void)state;
    struct story story = tell(2);
    history_read(story.txn[1], X, EMPTY);
    history_read(story.txn[2], X, EMPTY);
    update(story.txn[1], X, 1);
    update(story.txn[2], X, 2);
    commit(story.txn[1]);
    commit(story.txn[2]);
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(2));
    commit(last);
    expect(&story, HISTORY_LOST_UPDATE | HISTORY_LOST_APPEND);
}

static void takes_blind_appends_of_one_version_for_no_lost_update(void **state) {
    (void)state;
    struct story story = tell(2);
    history_read(story.txn[1], Y, EMPTY);
    history_append(story.txn[1], X, 1, true);
    history_append(story.txn[2], X, 2, true);
    commit(story.txn[1]);
    commit(story.txn[2]);
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(2, 1));
    commit(last);
    expect(&story, 0);
}

static void finds_an_aborted_read(void **state) {
    (void)state;
    struct story story = tell(2);
    update(story.txn[1], X, 1);
    history_read(story.txn[2], X, LIST(1));
    history_end(story.txn[1], HISTORY_ABORTED);
    commit(story.txn[2]);
    expect(&story, HISTORY_G1A);
}

static void finds_a_read_of_what_another_undid(void **state) {
    (void)state;
    struct story story = tell(2);
    size_t savepoint = history_savepoint(story.txn[1]);
    update(story.txn[1], X, 1);
    history_read(story.txn[2], X, LIST(1));
    history_undo(story.txn[1], savepoint);
    commit(story.txn[1]);
    commit(story.txn[2]);
    expect(&story, HISTORY_G1A);
}

static void finds_an_intermediate_read(void **state) {
    (void)state;
    struct story story = tell(2);
    update(story.txn[1], X, 1);
    history_read(story.txn[2], X, LIST(1));
    update(story.txn[1], X, 2);
    commit(story.txn[1]);
    commit(story.txn[2]);
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(1, 2));
    commit(last);
    /* Having read half of T1, T2 both follows and precedes it. */
    expect(&story, HISTORY_G1B | HISTORY_G_SINGLE);
}

static void finds_a_write_cycle(void **state) {
    (void)state;
    struct story story = tell(2);
    for (uint32_t i = 1; i <= 2; i++) {
        history_append(story.txn[i], X, i, true);
        history_append(story.txn[i], Y, 10 + i, true);
        commit(story.txn[i]);
    }
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(1, 2));
    history_read(last, Y, LIST(12, 11));
    commit(last);
    expect(&story, HISTORY_G0);
}

static void allows_write_cycles_where_appends_commute(void **state) {
    (void)state;
    struct story story = tell(2);
    for (uint32_t i = 1; i <= 2; i++) {
        history_append(story.txn[i], X, i, true);
        history_append(story.txn[i], Y, 10 + i, true);
        commit(story.txn[i]);
    }
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(1, 2));
    history_read(last, Y, LIST(12, 11));
    commit(last);
    expect_under(&story, (struct history_rules){.is_complete = true, .appends_commute = true}, 0);
}

static void finds_half_a_transaction_where_appends_commute(void **state) {
    (void)state;
    struct story story = tell(3);
    for (uint32_t i = 1; i <= 2; i++) {
        history_append(story.txn[i], X, i, true);
        history_append(story.txn[i], Y, 10 + i, true);
        commit(story.txn[i]);
    }
    history_read(story.txn[3], X, LIST(1, 2)); /* of both */
    history_read(story.txn[3], Y, LIST(11));   /* of the first alone */
    commit(story.txn[3]);
    struct history_txn *last = afterwards(&story);
    history_read(last, Y, LIST(11, 12));
    commit(last);
    expect_under(&story, (struct history_rules){.is_complete = true, .appends_commute = true},
                 HISTORY_G_SINGLE);
}

static void finds_circular_information_flow(void **state) {
    (void)state;
    struct story story = tell(2);
    update(story.txn[1], X, 1);
    update(story.txn[2], Y, 2);
    history_read(story.txn[1], Y, LIST(2));
    history_read(story.txn[2], X, LIST(1));
    commit(story.txn[1]);
    commit(story.txn[2]);
    expect(&story, HISTORY_G1C);
}

static void finds_read_skew(void **state) {
    (void)state;
    struct story story = tell(2);
    history_read(story.txn[1], X, EMPTY);
    update(story.txn[2], X, 1);
    update(story.txn[2], Y, 2);
    commit(story.txn[2]);
    history_read(story.txn[1], Y, LIST(2));
    commit(story.txn[1]);
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(1));
    commit(last);
    expect(&story, HISTORY_G_SINGLE);
}

static void finds_write_skew(void **state) {
    (void)state;
    struct story story = tell(2);
    for (unsigned i = 1; i <= 2; i++) {
        history_read(story.txn[i], X, EMPTY);
        history_read(story.txn[i], Y, EMPTY);
    }
    update(story.txn[1], X, 1);
    update(story.txn[2], Y, 2);
    commit(story.txn[1]);
    commit(story.txn[2]);
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(1));
    history_read(last, Y, LIST(2));
    commit(last);
    expect(&story, HISTORY_G2_ITEM);
}

/* Fekete, O'Neil and O'Neil, "A read-only transaction anomaly under snapshot isolation" (2004). */
static void finds_the_anomaly_of_a_read_only_transaction(void **state) {
    (void)state;
    struct story story = tell(2);
    history_read(story.txn[1], X, EMPTY);
    history_read(story.txn[1], Y, EMPTY);
    history_read(story.txn[2], Y, EMPTY);
    update(story.txn[2], Y, 2);
    commit(story.txn[2]);
    struct history_txn *reader = history_begin(story.history, 3);
    history_read(reader, X, EMPTY);
    history_read(reader, Y, LIST(2));
    commit(reader);
    update(story.txn[1], X, 1);
    commit(story.txn[1]);
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(1));
    commit(last);
    expect(&story, HISTORY_G2_ITEM);
}

/* Two observers disagree on which of two independent writers came first (long fork): T1 and T2
 * write, T3 sees only T1, T4 only T2. The two rw are apart, so that snapshots rule it out. */
static void finds_a_long_fork(void **state) {
    (void)state;
    struct story story = tell(4);
    update(story.txn[1], X, 1);
    update(story.txn[2], Y, 2);
    history_read(story.txn[3], X, LIST(1));
    history_read(story.txn[3], Y, EMPTY);
    history_read(story.txn[4], X, EMPTY);
    history_read(story.txn[4], Y, LIST(2));
    for (unsigned i = 1; i <= 4; i++) {
        commit(story.txn[i]);
    }
    expect(&story, HISTORY_G_NONADJACENT | HISTORY_G2_ITEM);
}

static void finds_a_stale_read(void **state) {
    (void)state;
    struct story story = tell(1);
    update(story.txn[1], X, 1);
    commit(story.txn[1]);
    struct history_txn *stale = history_begin(story.history, 2);
    history_read(stale, X, EMPTY);
    commit(stale);
    struct history_txn *last = afterwards(&story);
    history_read(last, X, LIST(1));
    commit(last);
    expect(&story, HISTORY_G_SINGLE | HISTORY_REALTIME);
}

static void finds_cycles_of_many_transactions(void **state) {
    (void)state;
    struct story story = tell(7);
    for (uint32_t i = 1; i <= 7; i++) { /* each reads what the one before wrote */
        update(story.txn[i], i, i);
        history_read(story.txn[i], i == 1 ? 7 : i - 1, LIST(i == 1 ? 7 : i - 1));
    }
    for (unsigned i = 1; i <= 7; i++) {
        commit(story.txn[i]);
    }
    expect(&story, HISTORY_G1C);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_nothing_in_a_serial_history),
        cmocka_unit_test(finds_an_element_that_nobody_appended),
        cmocka_unit_test(finds_an_element_twice),
        cmocka_unit_test(finds_a_lost_append),
        cmocka_unit_test(finds_two_orders_of_one_list),
        cmocka_unit_test(finds_a_read_that_misses_an_own_append),
        cmocka_unit_test(finds_a_read_of_an_own_append_that_was_undone),
        cmocka_unit_test(finds_unrepeatable_reads),
        cmocka_unit_test(finds_a_lost_update),
        cmocka_unit_test(takes_blind_appends_of_one_version_for_no_lost_update),
        cmocka_unit_test(finds_an_aborted_read),
        cmocka_unit_test(finds_a_read_of_what_another_undid),
        cmocka_unit_test(finds_an_intermediate_read),
        cmocka_unit_test(finds_a_write_cycle),
        cmocka_unit_test(allows_write_cycles_where_appends_commute),
        cmocka_unit_test(finds_half_a_transaction_where_appends_commute),
        cmocka_unit_test(finds_circular_information_flow),
        cmocka_unit_test(finds_read_skew),
        cmocka_unit_test(finds_write_skew),
        cmocka_unit_test(finds_the_anomaly_of_a_read_only_transaction),
        cmocka_unit_test(finds_a_long_fork),
        cmocka_unit_test(finds_a_stale_read),
        cmocka_unit_test(finds_cycles_of_many_transactions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
