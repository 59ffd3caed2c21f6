/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change feed: a commit hook is told every committed batch, in order, once it is durable. It
 * keeps the number of the last one it has worked off, and goes on from there after a restart.
 */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <tern/tern.h>
#include <time.h>

static void check(tern_status status, const tern_error *error) {
    if (status != TERN_OK) {
        char line[1024];
        (void)tern_error_format(error, line, sizeof(line));
        (void)fprintf(stderr, "%s\n", line);
        exit(1);
    }
}

/* Written by the hook, read by main. */
struct feed {
    _Atomic uint64_t last_seq;
    _Atomic int batches;
};

static const char *kind_name(tern_change_kind kind) {
    switch (kind) {
    case TERN_CHANGE_PUT:
        return "put";
    case TERN_CHANGE_DELETE:
        return "delete";
    case TERN_CHANGE_DELETE_RANGE:
        return "delete range";
    case TERN_CHANGE_MERGE:
        return "merge";
    case TERN_CHANGE_KEYSPACE_CREATE:
        return "create keyspace";
    case TERN_CHANGE_KEYSPACE_DROP:
        return "drop keyspace";
    default:
        return "?";
    }
}

/* Runs on the executor, one call at a time. Bytes live during the call. */
static tern_status on_batch(void *context, const tern_batch *batch) {
    struct feed *feed = context;
    for (size_t i = 0; i < batch->change_count; i++) {
        const tern_change *change = &batch->changes[i];
        printf("  #%llu %s %.*s\n", (unsigned long long)batch->seq, kind_name(change->kind),
               (int)change->key.size, (const char *)change->key.data);
    }
    atomic_store(&feed->last_seq, batch->seq);
    atomic_fetch_add(&feed->batches, 1);
    return TERN_OK; /* any other code: told again later */
}

static void wait_for(const struct feed *feed, int batches) {
    const struct timespec pause = {0, 10000000};
    for (int i = 0; i < 1000 && atomic_load(&feed->batches) < batches; i++) {
        (void)nanosleep(&pause, NULL);
    }
    if (atomic_load(&feed->batches) != batches) {
        (void)fprintf(stderr, "%d batches were told\n", atomic_load(&feed->batches));
        exit(1);
    }
}

int main(void) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    struct feed feed = {0, 0};
    tern_commit_hook *hook;
    tern_db *db;
    tern_keyspace *birds;
    tern_txn *txn;
    options.create_if_missing = true;
    options.sync_interval_ms = 20;
    check(tern_open("feed.tern", &options, &db, &error), &error);
    if (tern_keyspace_open(db, "birds", &birds, &error) != TERN_OK) {
        check(tern_keyspace_create(db, "birds", NULL, &birds, &error), &error);
    }

    printf("first session, from now on:\n");
    check(tern_commit_hook_add(db, UINT64_MAX, on_batch, &feed, &hook, &error), &error);
    check(tern_put(birds, tern_slice_str("arctic tern"), tern_slice_str("70000 km"), NULL, &error),
          &error);
    check(tern_txn_begin(db, NULL, &txn, &error), &error);
    check(tern_txn_put(txn, birds, tern_slice_str("swift"), tern_slice_str("aloft"), NULL),
          tern_txn_error(txn));
    check(tern_txn_delete(txn, birds, tern_slice_str("dodo")), tern_txn_error(txn));
    check(tern_txn_commit(txn), tern_txn_error(txn));
    tern_txn_free(txn);
    wait_for(&feed, 2);
    tern_commit_hook_remove(hook);

    printf("second session, from #%llu on:\n", (unsigned long long)atomic_load(&feed.last_seq) + 1);
    check(tern_put(birds, tern_slice_str("wren"), tern_slice_str("9 g"), NULL, &error), &error);
    check(tern_commit_hook_add(db, atomic_load(&feed.last_seq), on_batch, &feed, &hook, &error),
          &error);
    wait_for(&feed, 3);
    tern_commit_hook_remove(hook);
    check(tern_close(db, &error), &error);
    return 0;
}
