/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records with right checksums that no release has written: recovery refuses them by name, and
 * nothing of the process gives way. A repair leaves them out.
 */
#include "db/database_internal.h"
#include "support/cmocka_test.h"
#include "support/step_machine.h"
#include "txn/commit_codec.h"

#define LONG_KEY_BYTES 60000u
#define RECORD_BYTES   70000u

static const tern_engine_kind kinds[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_LSM};

/* A database with two keyspaces, "a" and "b" of partitions 1 and 2, closed. */
static void make(struct step_machine *machine, unsigned kind) {
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = kinds[kind];
    step_machine_init(machine, 1);
    machine->options.segment_bytes = (uint64_t)1 << 20;
    assert_ok(step_machine_open(machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "a", &options, &keyspace, &error), error);
    options.engine = kinds[(kind + 1) % 3];
    assert_ok(tern_keyspace_create(db, "b", &options, &keyspace, &error), error);
    assert_ok(tern_put(keyspace, tern_slice_str("k"), tern_slice_str("v"), NULL, &error), error);
    assert_ok(tern_close(db, &error), error);
}

struct forger {
    struct log *log;
    struct txn_manager manager;
    tern_keyspace keyspaces[3]; /* by partition, from 1 on */
};

static void begin(struct forger *forger, struct step_machine *machine) {
    struct log_recovery recovery;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = step_machine_options(machine);
    const struct log_options log_options = {.directory = STEP_MACHINE_DIRECTORY,
                                            .allocator = tern_allocator_default(),
                                            .file_system = options.file_system,
                                            .random = options.random,
                                            .clock = options.clock,
                                            .segment_bytes = options.segment_bytes,
                                            .reserve_segments = 1};
    *forger = (struct forger){.log = NULL};
    for (unsigned i = 0; i < 3; i++) {
        forger->keyspaces[i].id = forger->keyspaces[i].partition = i + 1;
    }
    assert_ok(log_open(&log_options, 0, 1, false, NULL, NULL, &recovery, &forger->log, &error),
              error);
}

static void append(struct forger *forger, enum log_record_kind kind, const uint8_t *bytes,
                   size_t size) {
    uint8_t *payload;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(log_begin(forger->log, kind, size, &payload, &error), error);
    memcpy(payload, bytes, size);
    assert_ok(log_end(forger->log, size, NULL, &error), error);
}

static void append_commit(struct forger *forger, struct commit_part *part,
                          struct catalog_change *catalog) {
    static uint8_t bytes[RECORD_BYTES];
    const struct commit_request request = {.parts = part,
                                           .part_count = part != NULL ? 1 : 0,
                                           .catalog = catalog,
                                           .catalog_count = catalog != NULL ? 1 : 0};
    append(forger, LOG_RECORD_COMMIT, bytes, commit_encode(&request, 1000, 1, bytes));
}

static void end(struct forger *forger) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(log_close(forger->log, &error), error);
}

static void assert_refused(struct step_machine *machine, const char *invariant) {
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    assert_int_equal(step_machine_open(machine, &db, &error), TERN_CORRUPTION);
    if (strstr(error.message, invariant) == NULL) {
        print_error("%s\n", error.message);
    }
    assert_non_null(strstr(error.message, invariant));
}

static void assert_repaired(struct step_machine *machine) {
    tern_db *db;
    tern_keyspace *keyspace;
    char value[8];
    size_t size;
    tern_repair_report report;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = step_machine_options(machine);
    assert_ok(tern_repair(STEP_MACHINE_DIRECTORY, "/repaired", &options, NULL, NULL, NULL, NULL,
                          &report, &error),
              error);
    assert_ok(tern_open("/repaired", &options, &db, &error), error);
    assert_ok(tern_keyspace_open(db, "b", &keyspace, &error), error);
    assert_ok(tern_get(keyspace, tern_slice_str("k"), value, sizeof(value), &size, &error), error);
    assert_ok(tern_close(db, &error), error);
}

static void a_key_longer_than_its_keyspace_takes_is_refused(void **state) {
    (void)state;
    static uint8_t key[LONG_KEY_BYTES];
    for (unsigned i = 0; i < 3; i++) {
        struct step_machine machine;
        struct forger forger;
        make(&machine, i);
        begin(&forger, &machine);
        struct engine_change change = {.key = tern_slice_of(key, sizeof(key)),
                                       .record = {.kind = RECORD_PUT}};
        struct commit_part part = {&forger.keyspaces[0], &change, 1};
        append_commit(&forger, &part, NULL);
        end(&forger);
        assert_refused(&machine, "commit-key");
        assert_repaired(&machine);
        step_machine_release(&machine);
    }
}

static void a_value_of_another_keyspace_is_refused(void **state) {
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct step_machine machine;
        struct forger forger;
        uint8_t chunk[COMMIT_CHUNK_HEADER_BYTES + 100] = {0};
        make(&machine, i);
        begin(&forger, &machine);
        chunk[0] = 7; /* token */
        chunk[8] = 1; /* partition */
        append(&forger, LOG_RECORD_CHUNK, chunk, sizeof(chunk));
        struct engine_change change = {.key = tern_slice_str("large"),
                                       .record = {.kind = RECORD_LARGE, .value_size = 100},
                                       .large_token = 7};
        struct commit_part part = {&forger.keyspaces[1], &change, 1};
        append_commit(&forger, &part, NULL);
        end(&forger);
        assert_refused(&machine, "commit-chunk");
        assert_repaired(&machine);
        step_machine_release(&machine);
    }
}

static void a_conversion_to_what_is_none_is_refused(void **state) {
    (void)state;
    for (unsigned target = 0; target < 3; target++) {
        struct step_machine machine;
        struct forger forger;
        make(&machine, target);
        begin(&forger, &machine);
        struct catalog_change change = {.keyspace = &forger.keyspaces[0],
                                        .target = &forger.keyspaces[target]};
        append_commit(&forger, NULL, &change);
        end(&forger);
        assert_refused(&machine, "commit-convert");
        assert_repaired(&machine);
        step_machine_release(&machine);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_longer_than_its_keyspace_takes_is_refused),
        cmocka_unit_test(a_value_of_another_keyspace_is_refused),
        cmocka_unit_test(a_conversion_to_what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
