/* SPDX-License-Identifier: Apache-2.0 */
/* Readers without locks beside an applier and drains: every value read is one that was written. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/hash/hash_engine.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"

#define KEYS   600u
#define ROUNDS 40u

/* As the database publishes: the view and the newest moment, under a lock for the pair. */
struct shared {
    struct engine_world world;
    pthread_mutex_t lock;
    struct engine_view *view;
    _Atomic bool is_done;
    _Atomic uint64_t reads, retries;
};

static void show(struct shared *shared) {
    pthread_mutex_lock(&shared->lock);
    struct engine_view *old = shared->view;
    shared->view = shared->world.methods->current_view(shared->world.engine);
    pthread_mutex_unlock(&shared->lock);
    engine_view_release(old, shared->world.epoch);
}

/* An assertion of cmocka's says nothing when it fails in another thread. */
static void complain(uint32_t n, tern_status status, const tern_error *error,
                     const struct record *record, uint32_t found_key, uint64_t round,
                     uint64_t newest) {
    (void)fprintf(stderr,
                  "key %u: status %d (%s), kind %d, %zu bytes, of key %u, round %llu after %llu\n",
                  n, (int)status, error->message, (int)record->kind, record->value.size, found_key,
                  (unsigned long long)round, (unsigned long long)newest);
    abort();
}

/* Values say their key; numbers of a key never go back for one reader. */
static void *reader(void *context) {
    struct shared *shared = context;
    const struct engine_methods *methods = shared->world.methods;
    struct engine_scratch scratch;
    static _Thread_local uint64_t newest[KEYS];
    engine_scratch_init(&scratch, tern_allocator_default());
    for (uint32_t i = 0; !atomic_load(&shared->is_done); i++) {
        uint32_t n = (i * 7919) % KEYS;
        char key[32];
        int size = snprintf(key, sizeof(key), "key-%u", n);
        pthread_mutex_lock(&shared->lock);
        struct engine_view *view = shared->view;
        engine_view_retain(view);
        pthread_mutex_unlock(&shared->lock);
        const struct engine_moment moment = {SEQ_MAX - 1, 1};
        struct engine_result result;
        tern_error error = TERN_ERROR_INIT;
        tern_slice slice = tern_slice_of(key, (size_t)size);
        struct epoch_slot *slot = epoch_enter(shared->world.epoch);
        tern_status status =
            methods->get(view, slice, key_hasher_hash(&shared->world.config.hasher, slice), &moment,
                         &scratch, &result, &error);
        if (status == TERN_CANCELLED) {
            atomic_fetch_add(&shared->retries, 1);
        } else {
            uint32_t found_key = 0;
            uint64_t round = 0;
            if (status == TERN_OK && result.record.kind == RECORD_PUT &&
                result.record.value.size == 12) {
                memcpy(&found_key, result.record.value.data, 4);
                memcpy(&round, (const char *)result.record.value.data + 4, 8);
            }
            if (found_key != n || round < newest[n]) {
                complain(n, status, &error, &result.record, found_key, round, newest[n]);
            }
            newest[n] = round;
        }
        epoch_exit(slot);
        engine_view_release(view, shared->world.epoch);
        atomic_fetch_add(&shared->reads, 1);
    }
    engine_scratch_release(&scratch);
    return NULL;
}

static void put(struct shared *shared, uint32_t n, uint64_t round) {
    char key[32];
    uint8_t value[12];
    tern_error error = TERN_ERROR_INIT;
    int size = snprintf(key, sizeof(key), "key-%u", n);
    memcpy(value, &n, 4);
    memcpy(value + 4, &round, 8);
    const struct world_change change = {.kind = RECORD_PUT,
                                        .key = tern_slice_of(key, (size_t)size),
                                        .value = tern_slice_of(value, 12)};
    assert_ok(world_commit(&shared->world, &change, 1, &error), error);
}

/* `hash` NULL: as ever. */
static void check_readers(tern_hash_index layout, bool is_cold,
                          uint64_t (*hash)(const void *bytes, size_t size, uint64_t seed)) {
    static struct shared shared;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    pthread_t threads[2];
    options.page_bytes = 4096;
    options.hash_index = layout;
    memset(&shared, 0, sizeof(shared));
    world_create(&shared.world, &hash_engine_methods, &options, (uint64_t)1 << 20, 3,
                 tern_allocator_default());
    if (hash != NULL) {
        shared.world.config.hasher.hash = hash;
    }
    if (is_cold) {
        shared.world.budget.limit_bytes = 1;
    }
    assert_ok(world_open(&shared.world, 0, &error), error);
    pthread_mutex_init(&shared.lock, NULL);
    for (uint32_t n = 0; n < KEYS; n++) {
        put(&shared, n, 1);
    }
    shared.view = shared.world.methods->current_view(shared.world.engine);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, reader, &shared), 0);
    }
    for (uint64_t round = 2; round < ROUNDS; round++) {
        bool idle = false;
        for (uint32_t n = 0; n < KEYS; n += 1 + (uint32_t)(round % 3)) {
            put(&shared, n, round);
        }
        assert_ok(world_freeze(&shared.world, &error), error);
        show(&shared);
        while (!idle) {
            put(&shared, (uint32_t)(round * 31) % KEYS, round);
            assert_ok(world_drain_step(&shared.world, 4096, &idle, &error), error);
            show(&shared);
        }
        if (round % 10 == 0) {
            assert_ok(world_compact(&shared.world, &error), error);
            show(&shared);
        }
    }
    atomic_store(&shared.is_done, true);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(atomic_load(&shared.reads) > 0);
    engine_view_release(shared.view, shared.world.epoch);
    world_check_now(&shared.world);
    world_verify(&shared.world);
    world_destroy(&shared.world);
    pthread_mutex_destroy(&shared.lock);
}

static void readers_see_every_key_whatever_is_drained(void **state) {
    (void)state;
    check_readers(TERN_HASH_INDEX_BUCKETS, false, NULL);
    check_readers(TERN_HASH_INDEX_ROBIN_HOOD, false, NULL);
    check_readers(TERN_HASH_INDEX_TAG_GROUPS, false, NULL);
}

/* Entries go to the cold part of the index, and come back, while readers look for them. */
static void readers_see_every_key_beyond_memory(void **state) {
    (void)state;
    check_readers(TERN_HASH_INDEX_BUCKETS, true, NULL);
    check_readers(TERN_HASH_INDEX_ROBIN_HOOD, true, NULL);
    check_readers(TERN_HASH_INDEX_TAG_GROUPS, true, NULL);
}

static uint64_t hash_to_two(const void *bytes, size_t size, uint64_t seed) {
    return seed << 32 | (((const uint8_t *)bytes)[size - 1] & 1);
}

/* Entries go from one table of the index to the other while readers look for them. */
static void readers_see_every_key_of_those_that_collide(void **state) {
    (void)state;
    check_readers(TERN_HASH_INDEX_BUCKETS, false, hash_to_two);
    check_readers(TERN_HASH_INDEX_ROBIN_HOOD, false, hash_to_two);
    check_readers(TERN_HASH_INDEX_TAG_GROUPS, false, hash_to_two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_every_key_whatever_is_drained),
        cmocka_unit_test(readers_see_every_key_beyond_memory),
        cmocka_unit_test(readers_see_every_key_of_those_that_collide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
