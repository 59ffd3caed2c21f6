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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_takes_any_number_of_tables),
        cmocka_unit_test(tables_grow_with_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
