/* SPDX-License-Identifier: Apache-2.0 */
/* The commit hook: every committed batch, in order, once; and from where it was left. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "api_fixture.h"
#include "db/database.h"
#include "log/log.h"

#define THREADS            4
#define COMMITS_PER_THREAD 300

/* What a hook was told. Filled on the executor's thread. */
struct feed {
    _Atomic uint64_t batches;
    _Atomic uint64_t changes;
    _Atomic uint64_t last_seq;
    _Atomic uint64_t disorders;
    _Atomic uint64_t refusals; /* how many calls are still to be refused */
    tern_change kinds[32];     /* of the first changes; keys and values are gone */
    char keys[32][16];
    _Atomic uint64_t value_bytes;
};

static tern_status on_batch(void *context, const tern_batch *batch) {
    struct feed *feed = context;
    if (atomic_load(&feed->refusals) > 0) {
        atomic_fetch_sub(&feed->refusals, 1);
        return TERN_IO;
    }
    if (batch->seq <= atomic_load(&feed->last_seq) || batch->time_ms == 0) {
        atomic_fetch_add(&feed->disorders, 1);
    }
    atomic_store(&feed->last_seq, batch->seq);
    for (size_t i = 0; i < batch->change_count; i++) {
        const tern_change *change = &batch->changes[i];
        uint64_t number = atomic_fetch_add(&feed->changes, 1);
        atomic_fetch_add(&feed->value_bytes, change->value_size);
        if (number < 32) {
            feed->kinds[number] = *change;
            (void)snprintf(feed->keys[number], sizeof(feed->keys[0]), "%.*s", (int)change->key.size,
                           change->key.data != NULL ? (const char *)change->key.data : "");
        }
    }
    atomic_fetch_add(&feed->batches, 1);
    return TERN_OK;
}

static tern_commit_hook *add(struct api_fixture *fixture, uint64_t after_seq, struct feed *feed) {
    tern_commit_hook *hook = NULL;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_commit_hook_add(fixture->db, after_seq, on_batch, feed, &hook, &error), error);
    return hook;
}

static void every_kind_of_change_is_told(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct feed feed = {0};
    unsigned char one[8] = {1};
    tern_write_options expiring = {.size = sizeof(expiring), .ttl_ms = 1000000};
    api_fixture_init(&fixture, true);
    tern_commit_hook *hook = add(&fixture, 0, &feed);
    tern_keyspace *keyspace = fixture.keyspace;
    tern_txn *txn = api_begin(&fixture);
    tern_slice begin = tern_slice_str("m");
    assert_ok(tern_txn_delete_range(txn, keyspace, &begin, NULL), *tern_txn_error(txn));
    assert_ok(tern_txn_put(txn, keyspace, tern_slice_str("a"), tern_slice_str("1"), NULL),
              *tern_txn_error(txn));
    assert_ok(tern_txn_put(txn, keyspace, tern_slice_str("b"), tern_slice_str("2"), &expiring),
              *tern_txn_error(txn));
    assert_ok(tern_txn_delete(txn, keyspace, tern_slice_str("c")), *tern_txn_error(txn));
    assert_ok(
        tern_txn_merge(txn, keyspace, tern_slice_str("d"), TERN_MERGE_ADD, tern_slice_of(one, 8)),
        *tern_txn_error(txn));
    api_commit(txn);
    assert_int_equal(tern_keyspace_drop(fixture.db, "test", NULL), TERN_OK);
    assert_int_equal(tern_sync(fixture.db, NULL), TERN_OK);
    api_fixture_pass_ms(&fixture, 1000);

    assert_int_equal(feed.batches, 3);
    assert_int_equal(feed.changes, 7);
    bool seen[TERN_CHANGE_KEYSPACE_DROP + 1] = {false};
    for (int i = 0; i < 7; i++) {
        const tern_change *change = &feed.kinds[i];
        seen[change->kind] = true;
        if (change->kind == TERN_CHANGE_PUT && strcmp(feed.keys[i], "b") == 0) {
            assert_true(change->expires_ms > 0);
        }
        if (change->kind == TERN_CHANGE_MERGE) {
            assert_int_equal(change->merge_kind, TERN_MERGE_ADD);
        }
        if (change->kind == TERN_CHANGE_DELETE_RANGE) {
            assert_int_equal(change->open_bounds, 2);
            assert_string_equal(feed.keys[i], "m");
        }
        assert_int_equal(change->keyspace_id, feed.kinds[0].keyspace_id);
    }
    for (int kind = TERN_CHANGE_PUT; kind <= TERN_CHANGE_KEYSPACE_DROP; kind++) {
        assert_true(seen[kind]);
    }
    assert_string_equal(feed.keys[0], "test");
    tern_commit_hook_remove(hook);
    api_fixture_release(&fixture);
}

static void a_hook_goes_on_from_where_it_was_left(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct feed feed = {0};
    api_fixture_init(&fixture, true);
    tern_commit_hook *hook = add(&fixture, 0, &feed);
    for (int i = 0; i < 20; i++) {
        api_put(fixture.keyspace, "k", "v");
    }
    assert_int_equal(tern_sync(fixture.db, NULL), TERN_OK);
    api_fixture_pass_ms(&fixture, 500);
    tern_commit_hook_remove(hook);
    uint64_t told = feed.batches;
    assert_int_equal(told, 21);
    for (int i = 0; i < 20; i++) {
        api_put(fixture.keyspace, "k", "w");
    }
    assert_int_equal(tern_sync(fixture.db, NULL), TERN_OK);
    api_fixture_pass_ms(&fixture, 500);
    assert_int_equal(feed.batches, told);

    /* The rest, also after the database was closed. */
    api_fixture_reopen(&fixture);
    hook = add(&fixture, feed.last_seq, &feed);
    api_fixture_pass_ms(&fixture, 500);
    assert_int_equal(feed.batches, 41);
    assert_int_equal(feed.disorders, 0);
    tern_commit_hook_remove(hook);

    /* Only what is new. */
    struct feed later = {0};
    hook = add(&fixture, UINT64_MAX, &later);
    api_put(fixture.keyspace, "k", "x");
    assert_int_equal(tern_sync(fixture.db, NULL), TERN_OK);
    api_fixture_pass_ms(&fixture, 500);
    assert_int_equal(later.batches, 1);
    tern_commit_hook_remove(hook);
    api_fixture_release(&fixture);
}

static void a_batch_that_was_refused_is_told_again(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct feed feed = {.refusals = 3};
    api_fixture_init(&fixture, true);
    tern_commit_hook *hook = add(&fixture, 0, &feed);
    api_put(fixture.keyspace, "a", "1");
    assert_int_equal(tern_sync(fixture.db, NULL), TERN_OK);
    api_fixture_pass_ms(&fixture, 5000);
    assert_int_equal(feed.refusals, 0);
    assert_int_equal(feed.batches, 2);
    assert_int_equal(feed.disorders, 0);
    tern_commit_hook_remove(hook);
    api_fixture_release(&fixture);
}

/* Larger than a log record, so that it lies in the log in parts; and a value stored apart. */
static void a_large_transaction_is_one_batch(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct feed feed = {.refusals = 2};
    char *value = calloc(1, 200000);
    api_fixture_init(&fixture, true);
    tern_commit_hook *hook = add(&fixture, 0, &feed);
    tern_txn *txn = api_begin(&fixture);
    for (int i = 0; i < 3000; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06d", i);
        assert_ok(tern_txn_put(txn, fixture.keyspace, tern_slice_str(key),
                               tern_slice_of(value, 100), NULL),
                  *tern_txn_error(txn));
    }
    assert_ok(tern_txn_put(txn, fixture.keyspace, tern_slice_str("large"),
                           tern_slice_of(value, 200000), NULL),
              *tern_txn_error(txn));
    api_commit(txn);
    assert_int_equal(tern_sync(fixture.db, NULL), TERN_OK);
    api_fixture_pass_ms(&fixture, 5000);
    assert_int_equal(feed.batches, 2);
    assert_int_equal(feed.changes, 3002);
    assert_int_equal(feed.value_bytes, 3000 * 100 + 200000);
    tern_commit_hook_remove(hook);
    free(value);
    api_fixture_release(&fixture);
}

static void what_the_log_no_longer_holds_cannot_be_told(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct feed feed = {0};
    char value[2000] = {0};
    tern_commit_hook *hook;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, false);
    for (int i = 0; i < 2000; i++) {
        assert_ok(tern_put(fixture.keyspace, tern_slice_str("k"),
                           tern_slice_of(value, sizeof(value)), NULL, &error),
                  error);
    }
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    api_put(fixture.keyspace, "k", "v");
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    assert_int_equal(tern_commit_hook_add(fixture.db, 5, on_batch, &feed, &hook, &error),
                     TERN_SNAPSHOT_TOO_OLD);
    assert_int_equal(error.status, TERN_SNAPSHOT_TOO_OLD);
    api_fixture_release(&fixture);
}

/* About a thousand bytes a key, in one transaction. */
static void put_many(struct api_fixture *fixture, int keys) {
    static const char value[1000];
    tern_txn *txn = api_begin(fixture);
    for (int i = 0; i < keys; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06d", i);
        assert_ok(tern_txn_put(txn, fixture->keyspace, tern_slice_str(key),
                               tern_slice_of(value, sizeof(value)), NULL),
                  *tern_txn_error(txn));
    }
    api_commit(txn);
}

/* The log is let go by segments: what it holds may begin amid the parts of a transaction. */
static void a_transaction_whose_first_parts_are_gone_is_passed_over(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct feed first = {0};
    struct feed all = {0};
    struct feed later = {0};
    tern_commit_hook *hook;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, true);
    hook = add(&fixture, 0, &first);
    put_many(&fixture, 900); /* several segments */
    assert_int_equal(tern_sync(fixture.db, NULL), TERN_OK);
    api_fixture_pass_ms(&fixture, 5000);
    assert_int_equal(first.batches, 2);
    tern_commit_hook_remove(hook);
    api_fixture_pass_ms(&fixture, 1000); /* what it alone has kept goes, too */
    assert_true(log_start_position(database_manager(fixture.db)->log) >> 32 > 1);
    api_put(fixture.keyspace, "a", "1");
    assert_int_equal(tern_sync(fixture.db, NULL), TERN_OK);

    hook = add(&fixture, 0, &all); /* from the oldest that is held */
    tern_commit_hook *second = add(&fixture, first.last_seq, &later);
    api_fixture_pass_ms(&fixture, 5000);
    assert_int_equal(all.batches, 1);
    assert_int_equal(all.changes, 1);
    assert_int_equal(later.batches, 1);
    assert_int_equal(later.last_seq, first.last_seq + 1);
    tern_commit_hook_remove(hook);
    tern_commit_hook_remove(second);
    assert_int_equal(
        tern_commit_hook_add(fixture.db, first.last_seq - 1, on_batch, &all, &hook, &error),
        TERN_SNAPSHOT_TOO_OLD);
    api_fixture_release(&fixture);
}

/* ---- with real threads ---- */

struct writer {
    struct api_fixture *fixture;
    unsigned number;
    pthread_t thread;
};

static void *write_many(void *context) {
    const struct writer *writer = context;
    char value[500] = {0};
    for (int i = 0; i < COMMITS_PER_THREAD; i++) {
        char key[32];
        tern_write_options options = {.size = sizeof(options)};
        options.durability = i % 50 == 0 ? TERN_DURABILITY_FULL : TERN_DURABILITY_DEFAULT;
        (void)snprintf(key, sizeof(key), "%u/%d", writer->number, i);
        if (tern_put(writer->fixture->keyspace, tern_slice_str(key),
                     tern_slice_of(value, sizeof(value)), &options, NULL) != TERN_OK) {
            abort();
        }
    }
    return NULL;
}

static void commits_of_many_threads_are_told_once_and_in_order(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct feed feed = {0};
    struct writer writers[THREADS];
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, false);
    tern_commit_hook *hook = add(&fixture, 0, &feed);
    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.fixture = &fixture, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_many, &writers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(writers[i].thread, NULL);
    }
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    const struct timespec pause = {0, 5000000};
    for (int i = 0; i < 4000 && feed.batches < THREADS * COMMITS_PER_THREAD + 1; i++) {
        (void)nanosleep(&pause, NULL);
    }
    assert_int_equal(feed.batches, THREADS * COMMITS_PER_THREAD + 1);
    assert_int_equal(feed.changes, THREADS * COMMITS_PER_THREAD + 1);
    assert_int_equal(feed.disorders, 0);
    tern_commit_hook_remove(hook);
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_change_is_told),
        cmocka_unit_test(a_hook_goes_on_from_where_it_was_left),
        cmocka_unit_test(a_batch_that_was_refused_is_told_again),
        cmocka_unit_test(a_large_transaction_is_one_batch),
        cmocka_unit_test(what_the_log_no_longer_holds_cannot_be_told),
        cmocka_unit_test(a_transaction_whose_first_parts_are_gone_is_passed_over),
        cmocka_unit_test(commits_of_many_threads_are_told_once_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
