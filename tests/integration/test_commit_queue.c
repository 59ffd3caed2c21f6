/* SPDX-License-Identifier: Apache-2.0 */
/* Who leads, who waits, and what is committed together. */
#include <pthread.h>
#include <sched.h>

#include "api_fixture.h"
#include "db/database_internal.h"
#include "log/log_internal.h"
#include "txn/commit_queue.h"

#define WRITERS 8u

static int set_up(void **state) {
    static struct api_fixture fixture;
    api_fixture_init(&fixture, false);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    api_fixture_release(*state);
    return 0;
}

struct writer {
    tern_keyspace *keyspace;
    struct txn_manager *manager;
    unsigned number;
    unsigned rounds;
    uint64_t *unprotected; /* touched in the applier role only */
    pthread_t thread;
};

static void put_number(struct writer *writer, unsigned round, tern_durability durability) {
    char key[32];
    tern_error error = TERN_ERROR_INIT;
    tern_write_options options = {.size = sizeof(options)};
    options.durability = durability;
    (void)snprintf(key, sizeof(key), "%u-%u", writer->number, round);
    assert_ok(
        tern_put(writer->keyspace, tern_slice_str(key), tern_slice_str("value"), &options, &error),
        error);
}

static void *put_one(void *context) {
    put_number(context, 0, TERN_DURABILITY_FULL);
    return NULL;
}

static void start(struct api_fixture *fixture, struct writer *writers, void *(*body)(void *),
                  unsigned rounds, uint64_t *unprotected) {
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.keyspace = fixture->keyspace,
                                     .manager = &fixture->db->manager,
                                     .number = i,
                                     .rounds = rounds,
                                     .unprotected = unprotected};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, body, &writers[i]), 0);
    }
}

static void join(struct writer *writers) {
    for (unsigned i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
    }
}

/* Requests are only pushed while the caller leads, so the stack may be walked. */
static unsigned count_waiting(struct commit_queue *queue) {
    uintptr_t head = atomic_load(&queue->head);
    unsigned count = 0;
    for (const struct commit_request *request = (struct commit_request *)(head & ~QUEUE_LED);
         request != NULL; request = request->next) {
        count += (request->flags & COMMIT_ROLE) == 0; /* background work may wait, too */
    }
    return count;
}

static void all_who_wait_are_committed_in_one_group(void **state) {
    struct api_fixture *fixture = *state;
    struct txn_manager *manager = &fixture->db->manager;
    struct writer writers[WRITERS];
    commit_applier_lock(manager);
    start(fixture, writers, put_one, 1, NULL);
    while (count_waiting(manager->queue) < WRITERS) {
        (void)sched_yield();
    }
    uint64_t commits = api_stat(fixture->db, "commits");
    uint64_t groups = api_stat(fixture->db, "commit_groups");
    uint64_t syncs = api_stat(fixture->db, "log_syncs");
    commit_applier_unlock(manager);
    join(writers);
    assert_int_equal(api_stat(fixture->db, "commits"), commits + WRITERS);
    assert_int_equal(api_stat(fixture->db, "commit_groups"), groups + 1);
    assert_true(api_stat(fixture->db, "log_syncs") < syncs + WRITERS / 2); /* background: some */
    api_assert_value(fixture->keyspace, "0-0", "value");
    api_assert_value(fixture->keyspace, "7-0", "value");
}

static void *write_and_take_the_role(void *context) {
    struct writer *writer = context;
    for (unsigned i = 0; i < writer->rounds; i++) {
        if ((i + writer->number) % 3 == 0) {
            commit_applier_lock(writer->manager);
            (*writer->unprotected)++;
            commit_applier_unlock(writer->manager);
        } else {
            put_number(writer, i, i % 16 == 1 ? TERN_DURABILITY_FULL : TERN_DURABILITY_NONE);
        }
    }
    return NULL;
}

static void one_at_a_time_has_the_role_and_everybody_gets_it(void **state) {
    struct api_fixture *fixture = *state;
    struct writer writers[WRITERS];
    const unsigned rounds = 900;
    uint64_t unprotected = 0;
    uint64_t commits = api_stat(fixture->db, "commits");
    start(fixture, writers, write_and_take_the_role, rounds, &unprotected);
    join(writers);
    assert_int_equal(unprotected, WRITERS * rounds / 3);
    assert_int_equal(api_stat(fixture->db, "commits"), commits + WRITERS * rounds / 3 * 2);
    assert_int_equal(atomic_load(&fixture->db->manager.queue->head), 0);
    api_assert_sound(fixture->db);
}

/* ---- asynchronous commits among those who want the role ---- */

#define TURNS_MAX 1000u

struct role_taker {
    struct txn_manager *manager;
    seq_no wanted_seq;      /* shows that the commit was done */
    _Atomic unsigned turns; /* of all */
    _Atomic bool is_over;
};

/* Keeps the role until somebody else waits for it, so that it is never free. */
static void *pass_the_role_around(void *context) {
    struct role_taker *taker = context;
    struct commit_queue *queue = taker->manager->queue;
    while (!atomic_load(&taker->is_over)) {
        commit_applier_lock(taker->manager);
        while (!atomic_load(&taker->is_over) && queue->roles.first == NULL) {
            (void)commit_queue_take(queue);
            (void)sched_yield();
        }
        if (atomic_load(&taker->manager->visible_seq) >= taker->wanted_seq ||
            atomic_fetch_add(&taker->turns, 1) >= TURNS_MAX) {
            atomic_store(&taker->is_over, true);
        }
        commit_applier_unlock(taker->manager);
    }
    return NULL;
}

static _Atomic unsigned done_count;

static void count_done(void *context, tern_status status, const tern_error *error) {
    (void)context;
    (void)error;
    assert_int_equal(status, TERN_OK);
    atomic_fetch_add(&done_count, 1);
}

static tern_txn *begin_with_a_put(struct api_fixture *fixture, const char *key) {
    tern_txn *txn = api_begin(fixture);
    assert_ok(tern_txn_put(txn, fixture->keyspace, tern_slice_str(key), tern_slice_str("v"), NULL),
              *tern_txn_error(txn));
    return txn;
}

static void asynchronous_commits_are_not_starved_by_those_who_want_the_role(void **state) {
    (void)state;
    struct api_fixture fixture;
    pthread_t threads[3];
    api_fixture_init(&fixture, true); /* the log task does not run */
    struct role_taker taker = {.manager = &fixture.db->manager};
    taker.wanted_seq = atomic_load(&fixture.db->manager.visible_seq) + 1;
    tern_txn *txn = begin_with_a_put(&fixture, "k");
    assert_ok(tern_txn_commit_async(txn, count_done, NULL), *tern_txn_error(txn));
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, pass_the_role_around, &taker), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(atomic_load(&taker.turns) <= 2);
    api_assert_value(fixture.keyspace, "k", "v");
    api_fixture_release(&fixture);
}

/* ---- what happens between the log and the end of a group ---- */

/* Methods of the keyspace with another apply; tests run one after the other. */
static struct {
    struct engine_methods methods;
    const struct engine_methods *real;
    struct api_fixture *fixture;
    tern_txn *txns[8];
    unsigned submitted;
} applied;

static void apply_with(struct api_fixture *fixture,
                       void (*apply)(struct engine *engine, const struct engine_change *changes,
                                     size_t count, seq_no seq,
                                     const struct engine_horizon *horizon)) {
    applied.real = fixture->keyspace->methods;
    applied.fixture = fixture;
    applied.submitted = 0;
    applied.methods = *applied.real;
    applied.methods.apply = apply;
    fixture->keyspace->methods = &applied.methods;
}

/* As when the sync of another thread fails just then. */
static void apply_and_poison(struct engine *engine, const struct engine_change *changes,
                             size_t count, seq_no seq, const struct engine_horizon *horizon) {
    applied.real->apply(engine, changes, count, seq, horizon);
    log_poison(applied.fixture->db->manager.log);
}

static void no_commit_is_acknowledged_once_the_log_has_failed(void **state) {
    (void)state;
    const tern_durability durabilities[] = {TERN_DURABILITY_NONE, TERN_DURABILITY_INTERVAL,
                                            TERN_DURABILITY_FULL};
    for (unsigned i = 0; i < 3; i++) {
        struct api_fixture fixture;
        tern_error error = TERN_ERROR_INIT;
        tern_write_options options = {.size = sizeof(options)};
        options.durability = durabilities[i];
        api_fixture_init(&fixture, true);
        apply_with(&fixture, apply_and_poison);
        assert_int_equal(
            tern_put(fixture.keyspace, tern_slice_str("k"), tern_slice_str("v"), &options, &error),
            TERN_UNKNOWN);
        fixture.keyspace->methods = applied.real;
        api_assert_missing(fixture.keyspace, "k");
        assert_true(tern_close(fixture.db, NULL) != TERN_OK);
        fixture.db = NULL;
        api_fixture_release(&fixture);
    }
}

/* Each commit finds that another came while it was under way. */
static void apply_and_submit(struct engine *engine, const struct engine_change *changes,
                             size_t count, seq_no seq, const struct engine_horizon *horizon) {
    applied.real->apply(engine, changes, count, seq, horizon);
    if (applied.submitted < 8) {
        tern_txn *txn = applied.txns[applied.submitted++];
        assert_ok(tern_txn_commit_async(txn, count_done, NULL), *tern_txn_error(txn));
    }
}

static void a_durable_leader_waits_for_the_device_once_for_others(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init_closed(&fixture, true);
    fixture.options.durability = TERN_DURABILITY_FULL;
    api_fixture_open(&fixture);
    for (unsigned i = 0; i < 8; i++) {
        const char key[2] = {(char)('a' + i), '\0'};
        applied.txns[i] = begin_with_a_put(&fixture, key);
    }
    apply_with(&fixture, apply_and_submit);
    atomic_store(&done_count, 0);
    uint64_t groups = api_stat(fixture.db, "commit_groups");
    assert_ok(tern_put(fixture.keyspace, tern_slice_str("k"), tern_slice_str("v"), NULL, &error),
              error);
    assert_int_equal(api_stat(fixture.db, "commit_groups"), groups + 2);
    api_fixture_pass_ms(&fixture, 10);
    assert_int_equal(atomic_load(&done_count), 8);
    fixture.keyspace->methods = applied.real;
    api_assert_value(fixture.keyspace, "h", "v");
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_who_wait_are_committed_in_one_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_at_a_time_has_the_role_and_everybody_gets_it, set_up,
                                        tear_down),
        cmocka_unit_test(asynchronous_commits_are_not_starved_by_those_who_want_the_role),
        cmocka_unit_test(no_commit_is_acknowledged_once_the_log_has_failed),
        cmocka_unit_test(a_durable_leader_waits_for_the_device_once_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
