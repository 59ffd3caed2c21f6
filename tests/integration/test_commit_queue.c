/* SPDX-License-Identifier: Apache-2.0 */
/* Who leads, who waits, and what is committed together. */
#include <pthread.h>
#include <sched.h>

#include "api_fixture.h"
#include "db/database_internal.h"
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_who_wait_are_committed_in_one_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_at_a_time_has_the_role_and_everybody_gets_it, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
