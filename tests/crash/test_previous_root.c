/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise 4: what recovery may choose stays whole. The root before the newest one may be chosen
 * when the newest cannot be read, so the log from where that root's replay begins, and every block
 * that it refers to, must still be there. Here the newest root is damaged on purpose, again and
 * again, after rounds of work that would let go of both as early as they can; nothing committed may
 * be missing.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <tern/tern.h>
#include <unistd.h>

#include "db/manifest_codec.h"
#include "support/cmocka_test.h"
#include "support/fault_file_system.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

#define KEYS        4000u /* more than three slices of a checkpoint */
#define VALUE_BYTES 900u
#define ROUNDS      10u

struct store {
    char *path;
    struct fault_file_system *faults;
    tern_db *db;
    tern_keyspace *keyspace;
    struct seeded_random random;
    uint32_t versions[KEYS]; /* 0: missing */
    uint32_t next_version;
};

static void open_store(struct store *store) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)16 << 20;
    options.overlay_bytes = (uint64_t)8 << 20;
    options.segment_bytes = (uint64_t)64 << 10;
    options.file_system = fault_file_system_interface(store->faults);
    assert_ok(tern_open(store->path, &options, &store->db, &error), error);
    tern_status status = tern_keyspace_open(store->db, "test", &store->keyspace, &error);
    if (status == TERN_NOT_FOUND) {
        assert_ok(tern_keyspace_create(store->db, "test", NULL, &store->keyspace, &error), error);
    }
}

static tern_slice name_key(uint32_t key, char buffer[16]) {
    return tern_slice_of(buffer, (size_t)snprintf(buffer, 16, "key-%05u", key));
}

static void fill_value(uint32_t key, uint32_t version, uint8_t value[VALUE_BYTES]) {
    memset(value, (int)(key + version), VALUE_BYTES);
    memcpy(value, &version, sizeof(version));
}

/* Rewrites about half of the keys, so that blocks and segments are superseded. */
static void work(struct store *store) {
    for (uint32_t key = 0; key < KEYS; key++) {
        char name[16];
        uint8_t value[VALUE_BYTES];
        tern_error error = TERN_ERROR_INIT;
        if (seeded_random_chance(&store->random, 1, 2)) {
            continue;
        }
        if (seeded_random_chance(&store->random, 1, 10)) {
            store->versions[key] = 0;
            assert_ok(tern_delete(store->keyspace, name_key(key, name), NULL, &error), error);
            continue;
        }
        store->versions[key] = ++store->next_version;
        fill_value(key, store->versions[key], value);
        assert_ok(tern_put(store->keyspace, name_key(key, name),
                           tern_slice_of(value, sizeof(value)), NULL, &error),
                  error);
    }
}

static void check_all(struct store *store) {
    for (uint32_t key = 0; key < KEYS; key++) {
        char name[16];
        uint8_t found[VALUE_BYTES];
        uint8_t expected[VALUE_BYTES];
        size_t size = 0;
        tern_error error = TERN_ERROR_INIT;
        tern_status status =
            tern_get(store->keyspace, name_key(key, name), found, sizeof(found), &size, &error);
        if (store->versions[key] == 0) {
            assert_int_equal(status, TERN_NOT_FOUND);
            continue;
        }
        assert_ok(status, error);
        fill_value(key, store->versions[key], expected);
        assert_int_equal(size, VALUE_BYTES);
        assert_memory_equal(found, expected, VALUE_BYTES);
    }
}

/* Flips a bit in the newest of the two slots of the root file. */
static void damage_newest_root(const struct store *store) {
    char path[600];
    uint8_t bytes[MANIFEST_SLOTS][MANIFEST_SLOT_BYTES];
    unsigned newest = 0;
    uint64_t generation = 0;
    (void)snprintf(path, sizeof(path), "%s/%s", store->path, MANIFEST_FILE_NAME);
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        struct manifest_slot slot;
        uint32_t version;
        assert_int_equal(pread(file, bytes[i], MANIFEST_SLOT_BYTES, (off_t)i * MANIFEST_SLOT_BYTES),
                         MANIFEST_SLOT_BYTES);
        if (manifest_slot_decode(bytes[i], &slot, &version) == NULL &&
            slot.generation > generation) {
            generation = slot.generation;
            newest = i;
        }
    }
    bytes[newest][24] ^= 1;
    assert_int_equal(
        pwrite(file, bytes[newest], MANIFEST_SLOT_BYTES, (off_t)newest * MANIFEST_SLOT_BYTES),
        MANIFEST_SLOT_BYTES);
    (void)close(file);
}

static void checkpoint(struct store *store) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_checkpoint(store->db, &error), error);
}

/*
 * A checkpoint that comes to an end in one of its slices, with blocks written where it found room,
 * as if the process had ended there. The root before the newest one is then that of the slice
 * before.
 */
static void break_off_checkpoint(struct store *store) {
    const struct fault_plan plan = {
        .kinds = FAULT_SYNC, .nth = 1 + seeded_random_below(&store->random, 9), .sticky = true};
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_sync(store->db, &error), error); /* so that it is a slice's sync that fails */
    fault_file_system_arm(store->faults, &plan);
    tern_status status = tern_checkpoint(store->db, &error);
    assert_true(status == TERN_OK || fault_file_system_failures(store->faults) > 0);
}

static void nothing_is_lost_with_the_newest_root(void **state) {
    struct store *store = *state;
    tern_error error = TERN_ERROR_INIT;
    for (unsigned round = 0; round < ROUNDS; round++) {
        open_store(store);
        check_all(store);
        /* Both slots are written again, then work follows that uses what was let go. */
        for (uint64_t i = 2 + seeded_random_below(&store->random, 3); i > 0; i--) {
            work(store);
            checkpoint(store);
        }
        bool breaks_off = seeded_random_chance(&store->random, 2, 3);
        if (breaks_off || seeded_random_chance(&store->random, 1, 2)) {
            work(store);
        }
        if (breaks_off) {
            break_off_checkpoint(store);
        }
        tern_status status = tern_close(store->db, &error);
        assert_true(status == TERN_OK || breaks_off);
        fault_file_system_disarm(store->faults);
        damage_newest_root(store);
        open_store(store);
        check_all(store);
        tern_verify_report report;
        checkpoint(store);
        checkpoint(store); /* the damaged slot has been written over */
        assert_ok(tern_verify(store->db, NULL, NULL, NULL, NULL, &report, &error), error);
        assert_int_equal(report.findings, 0);
        assert_ok(tern_close(store->db, &error), error);
    }
}

static int set_up(void **state) {
    static struct store store;
    store = (struct store){.path = temporary_directory_create(),
                           .faults = fault_file_system_create(tern_file_system_default())};
    seeded_random_init(&store.random, seeded_random_seed("crash.previous_root"));
    *state = &store;
    return 0;
}

static int tear_down(void **state) {
    struct store *store = *state;
    fault_file_system_destroy(store->faults);
    temporary_directory_remove(store->path);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_lost_with_the_newest_root, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
