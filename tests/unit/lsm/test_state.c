/* SPDX-License-Identifier: Apache-2.0 */
/* What a manifest keeps of a partition, and how many tables that are. */
#include "engine/lsm/state.h"

#include <stdlib.h>

#include "support/cmocka_test.h"

#define TABLES 20000u

struct fixture {
    struct engine_environment environment;
    struct lsm lsm;
    struct lsm_run run;
    struct lsm_version version;
};

static void set_up(struct fixture *fixture) {
    *fixture = (struct fixture){.environment = {.allocator = tern_allocator_default()}};
    fixture->lsm.environment = &fixture->environment;
    fixture->lsm.config.options.page_bytes = 4096;
    fixture->lsm.config.options.fan_out = 16;
    fixture->version.lsm = &fixture->lsm;
    fixture->version.runs = &fixture->run;
    fixture->version.run_count = 1;
}

static void a_state_takes_any_number_of_tables(void **state) {
    (void)state;
    struct fixture fixture;
    struct buffer bytes;
    tern_error error = TERN_ERROR_INIT;
    set_up(&fixture);
    struct lsm_table *tables = calloc(TABLES, sizeof(tables[0]));
    struct lsm_table **list = calloc(TABLES, sizeof(list[0]));
    for (unsigned i = 0; i < TABLES; i++) {
        tables[i].number = (uint64_t)i + 1000000;
        tables[i].meta_checksum = i;
        list[i] = &tables[i];
    }
    fixture.run.tables = list;
    fixture.run.count = TABLES;
    buffer_init(&bytes, fixture.environment.allocator);
    assert_ok(lsm_state_encode(&fixture.version, &bytes, &error), error);
    assert_in_range(bytes.size, TABLES * 11u, TABLES * 11u + 50);
    buffer_release(&bytes);
    free(list);
    free(tables);
}

static void tables_grow_with_the_data(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    const uint64_t least = lsm_table_bytes(&fixture.lsm);
    assert_int_equal(least, 64 << 10);
    assert_int_equal(version_table_bytes(&fixture.version), least);
    fixture.run.file_bytes = least * LSM_TABLES_WANTED;
    assert_int_equal(version_table_bytes(&fixture.version), least);
    fixture.run.file_bytes *= 1000;
    assert_int_equal(version_table_bytes(&fixture.version), least * 1000);
}

static tern_status open_levels(tern_compaction compaction, const uint8_t *levels, uint8_t count) {
    struct fixture fixture;
    struct lsm_version *version = NULL;
    tern_error error = TERN_ERROR_INIT;
    uint8_t bytes[32] = {1, 0, 0, 1, count};
    size_t size = 5;
    set_up(&fixture);
    fixture.lsm.config.options.compaction = compaction;
    for (uint8_t i = 0; i < count; i++) {
        bytes[size++] = levels[i];
        bytes[size++] = 0; /* tables */
    }
    tern_status status =
        lsm_state_open(&fixture.lsm, tern_slice_of(bytes, size), NULL, NULL, &version, &error);
    assert_int_equal(status, error.status);
    if (status == TERN_OK) {
        version_release(version);
    }
    return status;
}

static void runs_out_of_order_are_refused(void **state) {
    (void)state;
    static const uint8_t ordered[] = {0, 0, 1, 7};
    static const uint8_t descending[] = {7, 0};
    static const uint8_t repeated[] = {0, 3, 3};
    static const uint8_t too_deep[] = {0, 8};
    assert_int_equal(open_levels(TERN_COMPACTION_LEVELED, ordered, 4), TERN_OK);
    assert_int_equal(open_levels(TERN_COMPACTION_LEVELED, descending, 2), TERN_CORRUPTION);
    assert_int_equal(open_levels(TERN_COMPACTION_TIERED, descending, 2), TERN_CORRUPTION);
    /* Another style may have left them. */
    assert_int_equal(open_levels(TERN_COMPACTION_LEVELED, repeated, 3), TERN_OK);
    assert_int_equal(open_levels(TERN_COMPACTION_TIERED, repeated, 3), TERN_OK);
    assert_int_equal(open_levels(TERN_COMPACTION_FIFO, too_deep, 2), TERN_CORRUPTION);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_takes_any_number_of_tables),
        cmocka_unit_test(tables_grow_with_the_data),
        cmocka_unit_test(runs_out_of_order_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
