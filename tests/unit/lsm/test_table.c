/* SPDX-License-Identifier: Apache-2.0 */
/* Tables whose bytes say what no table writer wrote. */
#include <stdio.h>

#include "base/bytes.h"
#include "engine/lsm/index_block.h"
#include "engine/lsm/lsm_engine_internal.h"
#include "engine/lsm/run_cursor.h"
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

static tern_status write_keys(struct fixture *fixture, const char *const *keys, unsigned count,
                              struct lsm_table **out_table) {
    struct table_writer *writer = NULL;
    tern_error error = TERN_ERROR_INIT;
    tern_status status = table_writer_create(&fixture->lsm, 0, &writer, &error);
    assert_ok(status, error);
    for (unsigned i = 0; status == TERN_OK && i < count; i++) {
        const struct record record = {.kind = RECORD_PUT, .value = tern_slice_str("value")};
        status = table_writer_add(writer, tern_slice_str(keys[i]), &record, &error);
    }
    if (status != TERN_OK) {
        table_writer_abandon(writer);
        return status;
    }
    return table_writer_finish(writer, NULL, 0, 1, out_table, &error);
}

static void keys_out_of_order_are_not_written(void **state) {
    (void)state;
    static const char *const ordered[] = {"a", "ab", "b"};
    static const char *const descending[] = {"b", "a"};
    static const char *const repeated[] = {"a", "b", "b"};
    struct fixture fixture;
    struct lsm_table *table = NULL;
    set_up(&fixture);
    assert_int_equal(write_keys(&fixture, ordered, 3, &table), TERN_OK);
    table_release(table);
    assert_int_equal(write_keys(&fixture, descending, 2, &table), TERN_CORRUPTION);
    assert_int_equal(write_keys(&fixture, repeated, 3, &table), TERN_CORRUPTION);
    tear_down(&fixture);
}

/* Makes the second key of the first block smaller than the first one, and all checksums fit. */
static void swap_keys(struct fixture *fixture, struct lsm_table *table) {
    const tern_file_system *system = fixture->environment.file_system;
    const struct block_context context = {TERN_COMPRESSION_NONE, 1};
    char path[FILE_PATH_BYTES];
    uint8_t block[256];
    tern_file *file = NULL;
    tern_error error = TERN_ERROR_INIT;
    struct buffer index;
    buffer_init(&index, lsm_allocator(&fixture->lsm));
    assert_ok(
        table_read_block(table, table->partitions[0].index, LSM_PAYLOAD_INDEX, &index, &error),
        error);
    struct lsm_ref ref = index_block_ref(index.data, 0);
    uint32_t size = lsm_place_bytes(ref.place);
    assert_true(size <= sizeof(block));
    assert_ok(lsm_file_path(&fixture->lsm, table->number, LSM_FILE_TABLE, path, &error), error);
    assert_ok(system->open(system->context, path, 0, &file, &error), error);
    assert_ok(file_read_exact(file, path, lsm_place_offset(ref.place), block, size, &error), error);
    uint8_t *key = memchr(block + BLOCK_HEADER_BYTES + 16, 'b', size - BLOCK_HEADER_BYTES - 16);
    assert_non_null(key);
    *key = 'd';
    ref.checksum = block_seal(&context, block, size - BLOCK_HEADER_BYTES);
    assert_ok(file_write(file, lsm_place_offset(ref.place), block, size, &error), error);
    /* The index keeps the checksum of the block, the meta block in memory that of the index. */
    struct index_block_builder builder;
    tern_slice payload;
    index_block_builder_init(&builder, lsm_allocator(&fixture->lsm));
    assert_int_equal(index_block_builder_add(&builder, tern_slice_str("b"), ref), TERN_OK);
    assert_int_equal(index_block_builder_finish(&builder, &payload), TERN_OK);
    struct lsm_ref *index_ref = &table->partitions[0].index;
    size = lsm_place_bytes(index_ref->place);
    assert_int_equal(size, BLOCK_HEADER_BYTES + payload.size);
    memcpy(block + BLOCK_HEADER_BYTES, payload.data, payload.size);
    index_ref->checksum = block_seal(&context, block, payload.size);
    assert_ok(file_write(file, lsm_place_offset(index_ref->place), block, size, &error), error);
    assert_ok(file_close(file, &error), error);
    index_block_builder_release(&builder);
    buffer_release(&index);
}

static void a_block_of_keys_out_of_order_is_not_walked(void **state) {
    (void)state;
    static const char *const keys[] = {"b", "c"};
    struct fixture fixture;
    struct lsm_table *table = NULL;
    struct run_cursor cursor;
    tern_error error = TERN_ERROR_INIT;
    set_up(&fixture);
    assert_int_equal(write_keys(&fixture, keys, 2, &table), TERN_OK);
    run_cursor_init(&cursor, &fixture.lsm, &table, 1, true);
    assert_ok(run_cursor_enter(&cursor, 0, 0, 0, &error), error);
    run_cursor_release(&cursor);
    swap_keys(&fixture, table);
    run_cursor_init(&cursor, &fixture.lsm, &table, 1, true);
    assert_int_equal(run_cursor_enter(&cursor, 0, 0, 0, &error), TERN_CORRUPTION);
    assert_non_null(strstr(error.message, "data.order"));
    run_cursor_release(&cursor);
    table_release(table);
    tear_down(&fixture);
}

/* The disk of the fixture, with what it is told about bytes that nobody will need soon, and how it
 * is written past the page cache. */
static const tern_file_system *inner_system;
static tern_file_methods inner_methods;
static tern_file_methods telling_methods;
static uint32_t needed_alignment_bytes;
static uint64_t advised_bytes;
static uint64_t direct_bytes;

static void count_advice(tern_file *file, uint64_t offset, uint64_t size, bool will_need) {
    (void)file;
    assert_int_equal(offset % 4096, 0);
    advised_bytes += will_need ? 0 : size;
}

static tern_status count_write(tern_file *file, uint64_t offset, const void *buffer, size_t size,
                               tern_error *error) {
    if ((file->flags & TERN_OPEN_DIRECT) != 0) {
        assert_int_equal(offset % needed_alignment_bytes, 0);
        assert_int_equal(size % needed_alignment_bytes, 0);
        assert_int_equal((uintptr_t)buffer % needed_alignment_bytes, 0);
        direct_bytes += size;
    }
    return inner_methods.write(file, offset, buffer, size, error);
}

static tern_status open_telling(void *context, const char *path, uint32_t flags,
                                tern_file **out_file, tern_error *error) {
    tern_status status = inner_system->open(context, path, flags, out_file, error);
    if (status == TERN_OK) {
        inner_methods = *(*out_file)->methods;
        telling_methods = inner_methods;
        telling_methods.advise = count_advice;
        telling_methods.write = count_write;
        (*out_file)->methods = &telling_methods;
        if ((flags & TERN_OPEN_DIRECT) != 0) {
            (*out_file)->alignment_bytes = needed_alignment_bytes;
        }
    }
    return status;
}

/* Some MB, in a table that reads as it was written. */
static void write_told(struct fixture *fixture, struct lsm_table **out_table) {
    struct table_writer *writer = NULL;
    struct run_cursor cursor;
    tern_error error = TERN_ERROR_INIT;
    static char value[1000];
    static tern_file_system telling;
    unsigned count = 0;
    inner_system = fixture->environment.file_system;
    telling = *inner_system;
    telling.open = open_telling;
    fixture->environment.file_system = &telling;
    advised_bytes = direct_bytes = 0;
    assert_ok(table_writer_create(&fixture->lsm, 0, &writer, &error), error);
    for (unsigned i = 0; i < 4000; i++) {
        char key[16];
        const struct record record = {.kind = RECORD_PUT,
                                      .value = tern_slice_of(value, sizeof(value) - i % 7)};
        (void)snprintf(key, sizeof(key), "%08u", i);
        assert_ok(table_writer_add(writer, tern_slice_str(key), &record, &error), error);
    }
    assert_ok(table_writer_finish(writer, NULL, 0, 1, out_table, &error), error);
    fixture->environment.file_system = inner_system;
    run_cursor_init(&cursor, &fixture->lsm, out_table, 1, true);
    assert_ok(run_cursor_seek(&cursor, NULL, false, &error), error);
    for (; run_cursor_is_valid(&cursor); count++) {
        assert_int_equal(run_cursor_entry(&cursor)->record.value.size, sizeof(value) - count % 7);
        assert_ok(run_cursor_step(&cursor, false, &error), error);
    }
    assert_int_equal(count, 4000);
    run_cursor_release(&cursor);
}

static void a_table_is_written_past_the_page_cache_in_whole_granules(void **state) {
    (void)state;
    static const uint32_t alignments[] = {512, 4096, 65536};
    for (size_t i = 0; i < sizeof(alignments) / sizeof(alignments[0]); i++) {
        struct fixture fixture;
        struct lsm_table *table = NULL;
        uint64_t size = 0;
        tern_error error = TERN_ERROR_INIT;
        set_up(&fixture);
        needed_alignment_bytes = alignments[i];
        write_told(&fixture, &table);
        assert_ok(table->file->methods->size(table->file, &size, &error), error);
        assert_int_equal(size, table->file_bytes);
        assert_in_range(direct_bytes, table->file_bytes, table->file_bytes + 65536);
        assert_int_equal(advised_bytes, 0);
        table_release(table);
        tear_down(&fixture);
    }
}

static void
a_table_in_the_page_cache_is_on_its_way_to_the_device_while_it_is_written(void **state) {
    (void)state;
    struct fixture fixture;
    struct lsm_table *table = NULL;
    set_up(&fixture);
    fixture.environment.buffered_io = true;
    write_told(&fixture, &table);
    assert_int_equal(direct_bytes, 0);
    assert_in_range(advised_bytes, table->file_bytes - (600 << 10), table->file_bytes);
    table_release(table);
    tear_down(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_partitions_than_the_cache_numbers_are_refused),
        cmocka_unit_test(a_block_shorter_than_its_header_is_not_read),
        cmocka_unit_test(keys_out_of_order_are_not_written),
        cmocka_unit_test(a_block_of_keys_out_of_order_is_not_walked),
        cmocka_unit_test(a_table_is_written_past_the_page_cache_in_whole_granules),
        cmocka_unit_test(a_table_in_the_page_cache_is_on_its_way_to_the_device_while_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
