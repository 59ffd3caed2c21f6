/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous commits in a program with its own event loop: commits are handed over without
 * waiting, the loop waits on one descriptor, and callbacks run in it, in commit order.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <tern/tern.h>

#define ORDERS 500

static void check(tern_status status, const tern_error *error) {
    if (status != TERN_OK) {
        char line[1024];
        (void)tern_error_format(error, line, sizeof(line));
        (void)fprintf(stderr, "%s\n", line);
        exit(1);
    }
}

struct shop {
    int acknowledged;
    int failed;
};

/* Runs inside tern_poll(), on the loop's own thread: no lock is needed. */
static void on_commit(void *context, tern_status status, const tern_error *error) {
    struct shop *shop = context;
    (void)error;
    shop->acknowledged++;
    shop->failed += status != TERN_OK;
}

static void submit(tern_db *db, tern_keyspace *orders, int number, struct shop *shop) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    char key[32];
    options.durability = TERN_DURABILITY_FULL;
    (void)snprintf(key, sizeof(key), "order/%06d", number);
    check(tern_txn_begin(db, &options, &txn, &error), &error);
    check(tern_txn_put(txn, orders, tern_slice_str(key), tern_slice_str("paid"), NULL),
          tern_txn_error(txn));
    /* From here on the transaction belongs to the database. */
    check(tern_txn_commit_async(txn, on_commit, shop), tern_txn_error(txn));
}

int main(void) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_db *db;
    tern_keyspace *orders;
    struct shop shop = {0, 0};
    struct pollfd descriptor = {-1, POLLIN, 0};
    options.create_if_missing = true;
    check(tern_open("shop.tern", &options, &db, &error), &error);
    if (tern_keyspace_open(db, "orders", &orders, &error) != TERN_OK) {
        check(tern_keyspace_create(db, "orders", NULL, &orders, &error), &error);
    }
    check(tern_poll_descriptor(db, &descriptor.fd, &error), &error);

    for (int i = 0; i < ORDERS; i++) {
        submit(db, orders, i, &shop);
    }
    while (shop.acknowledged < ORDERS) {
        if (poll(&descriptor, 1, 10000) <= 0) {
            (void)fprintf(stderr, "no answer\n");
            return 1;
        }
        (void)tern_poll(db);
    }
    uint64_t syncs = 0;
    if (tern_stat_get(db, "log_syncs", &syncs) != TERN_OK) {
        return 1;
    }
    printf("%d durable commits (%d failed), fewer syncs than commits: %s\n", shop.acknowledged,
           shop.failed, syncs < ORDERS ? "yes" : "no");
    check(tern_close(db, &error), &error);
    return shop.failed == 0 ? 0 : 1;
}
