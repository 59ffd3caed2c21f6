/* SPDX-License-Identifier: Apache-2.0 */
/* Tables whose bytes say what no table writer wrote. */
#include <stdio.h>

#include "base/bytes.h"
#include "engine/lsm/lsm_engine_internal.h"
#include "engine/lsm/table_meta.h"
#include "engine/lsm/table_writer.h"
#include "support/cmocka_test.h"
#include "support/power_cut_file_system.h"

struct fixture {
    struct power_cut_file_system *disk;
    struct engine_environment environment;
    struct lsm lsm;
};

static void set_up(struct fixture *fixture) {
    const struct engine_config config = {.id = 7};
    tern_error error = TERN_ERROR_INIT;
    fixture->disk = power_cut_create(1);
    fixture->environment = (struct engine_environment){
        .allocator = tern_allocator_default(),
        .file_system = power_cut_interface(fixture->disk),
        .directory = "/",
        .incarnation = 1,
    };
    assert_ok(lsm_enter(&fixture->lsm, &fixture->environment, &config, &error), error);
}

static void tear_down(struct fixture *fixture) {
    lsm_leave(&fixture->lsm);
    power_cut_destroy(fixture->disk);
}

/* What a meta block of that many partitions, of a block each, is taken for. */
static const char *decode_partitions(struct lsm *lsm, uint32_t count) {
    struct table_meta meta;
    tern_slice payload;
    table_meta_init(&meta, lsm_allocator(lsm));
    for (uint32_t i = 0; i < count; i++) {
        uint8_t key[4];
        put_u32(key, __builtin_bswap32(i));
        const struct lsm_ref ref = {lsm_place_of(i, 1000), 1};
        const struct table_partition partition = {.lower = tern_slice_of(key, 4),
                                                  .index = ref,
                                                  .filter = ref,
                                                  .first_block = i,
                                                  .block_count = 1,
                                                  .records = 1};
        assert_int_equal(table_meta_add_partition(&meta, &partition), TERN_OK);
    }
    assert_int_equal(table_meta_note_key(&meta, tern_slice_str("key")), TERN_OK);
    meta.numbers.records = meta.numbers.blocks = count;
    assert_int_equal(table_meta_encode(&meta, NULL, 0, &payload), TERN_OK);
    struct lsm_table table = {.lsm = lsm, .meta = (uint8_t *)(uintptr_t)payload.data};
    const char *wrong = table_meta_decode(&table, payload.size, (uint64_t)1 << 30);
    key_directory_release(&table.directory);
    memory_release(lsm_allocator(lsm), table.partitions);
    memory_release(lsm_allocator(lsm), table.ranges);
    memory_release(lsm_allocator(lsm), table.uses);
    table_meta_release(&meta);
    return wrong;
}

static void more_partitions_than_the_cache_numbers_are_refused(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    assert_null(decode_partitions(&fixture.lsm, LSM_TABLE_PARTITIONS_MAX));
    const char *wrong = decode_partitions(&fixture.lsm, LSM_TABLE_PARTITIONS_MAX + 1);
    assert_non_null(wrong);
    assert_string_equal(wrong, "meta.partitions");
    tear_down(&fixture);
}

/* A file whose footer leads to a meta block of that many bytes. */
static void write_file(struct fixture *fixture, uint64_t number, uint32_t stored_bytes) {
    const tern_file_system *system = fixture->environment.file_system;
    char path[FILE_PATH_BYTES];
    uint8_t bytes[BLOCK_HEADER_BYTES + LSM_FOOTER_BYTES] = {0};
    tern_file *file = NULL;
    tern_error error = TERN_ERROR_INIT;
    const struct lsm_ref meta = {lsm_place_of(0, stored_bytes), 1};
    table_footer_encode(meta, fixture->lsm.config.id, number, bytes + stored_bytes);
    assert_ok(lsm_file_path(&fixture->lsm, number, LSM_FILE_TABLE, path, &error), error);
    assert_ok(system->open(system->context, path, TERN_OPEN_CREATE, &file, &error), error);
    assert_ok(file_write(file, 0, bytes, stored_bytes + LSM_FOOTER_BYTES, &error), error);
    assert_ok(file_close(file, &error), error);
}

static void a_block_shorter_than_its_header_is_not_read(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    for (uint32_t size = 0; size <= BLOCK_HEADER_BYTES; size++) {
        struct lsm_table *table = NULL;
        tern_error error = TERN_ERROR_INIT;
        write_file(&fixture, size + 1, size);
        assert_int_equal(table_open(&fixture.lsm, size + 1, 0, &table, &error), TERN_CORRUPTION);
        assert_non_null(strstr(error.message, "block.size"));
    }
    tear_down(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_partitions_than_the_cache_numbers_are_refused),
        cmocka_unit_test(a_block_shorter_than_its_header_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
