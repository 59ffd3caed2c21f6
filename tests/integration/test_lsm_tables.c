/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * A keyspace of sorted tables does not get too many of them, however short they begin; and many
 * files of values go without keeping the maintenance role for long.
 */
#include <stdio.h>

#include "support/cmocka_test.h"
#include "support/step_machine.h"

#define VALUE_BYTES 900u
#define KEYS        60000u
#define TABLE_BYTES (64u << 10) /* while they are few */
#define TABLES_MAX  700u
#define VALUES      3000u
#define LARGE_BYTES 9000u

static bool add_tables(void *context, const tern_stat *stat) {
    uint64_t *sum = context;
    unsigned level;
    int end = 0;
    if (sscanf(stat->name, "level_%u_tables%n", &level, &end) == 1 && end > 0) {
        *sum += stat->value;
    }
    return true;
}

static bool go_on(void *context, const char *what, uint64_t done, uint64_t total) {
    (void)context;
    (void)what;
    (void)done;
    (void)total;
    return true;
}

static void there_are_hundreds_of_tables_and_not_thousands(void **state) {
    (void)state;
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    char value[VALUE_BYTES] = {0};
    uint64_t tables = 0;
    options.engine = TERN_ENGINE_LSM;
    options.page_bytes = 4096;
    options.fan_out = 16;
    options.compression = TERN_COMPRESSION_NONE;
    step_machine_init(&machine, 1);
    machine.options.overlay_bytes = (uint64_t)4 << 20;
    machine.options.memory_bytes = (uint64_t)32 << 20;
    machine.options.segment_bytes = (uint64_t)4 << 20;
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "k", &options, &keyspace, &error), error);
    for (uint64_t i = 0; i < KEYS; i++) {
        char key[24];
        (void)snprintf(key, sizeof(key), "%08llu",
                       (unsigned long long)(i * 2654435761u % 100000000u));
        assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, sizeof(value)), NULL,
                           &error),
                  error);
    }
    assert_ok(tern_compact(db, go_on, NULL, &error), error);
    assert_ok(tern_keyspace_stats(keyspace, add_tables, &tables, &error), error);
    assert_true((uint64_t)KEYS * VALUE_BYTES > (uint64_t)TABLES_MAX * TABLE_BYTES);
    assert_in_range(tables, TABLES_MAX / 4, TABLES_MAX);
    assert_ok(tern_close(db, &error), error);
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

static bool find_files(void *context, const tern_stat *stat) {
    uint64_t *count = context;
    *count = strcmp(stat->name, "files") == 0 ? stat->value : *count;
    return true;
}

static uint64_t files_of(tern_keyspace *keyspace) {
    uint64_t count = UINT64_MAX;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_keyspace_stats(keyspace, find_files, &count, &error), error);
    return count;
}

static void thousands_of_files_of_values_go_step_by_step(void **state) {
    (void)state;
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    static char value[LARGE_BYTES];
    options.engine = TERN_ENGINE_LSM;
    options.page_bytes = 4096;
    step_machine_init(&machine, 1);
    machine.options.large_value_bytes = LARGE_BYTES - 1;
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "k", &options, &keyspace, &error), error);
    for (unsigned i = 0; i < VALUES; i++) {
        char key[24];
        (void)snprintf(key, sizeof(key), "%08u", i);
        assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, sizeof(value)), NULL,
                           &error),
                  error);
    }
    assert_ok(tern_compact(db, NULL, NULL, &error), error);
    assert_true(files_of(keyspace) > VALUES);
    assert_ok(tern_delete_range(keyspace, NULL, NULL, NULL, &error), error);
    assert_ok(tern_compact(db, NULL, NULL, &error), error);
    assert_in_range(files_of(keyspace), 1000, VALUES); /* it does not wait for all of them */
    step_machine_idle(&machine, 1);
    assert_in_range(files_of(keyspace), 0, 10);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thousands_of_files_of_values_go_step_by_step),
        cmocka_unit_test(there_are_hundreds_of_tables_and_not_thousands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
