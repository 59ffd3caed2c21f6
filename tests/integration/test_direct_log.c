/* SPDX-License-Identifier: Apache-2.0 */
/* On the real disk: commits that ask to be durable one after another, and how the log does it. */
#include <stdlib.h>
#include <tern/sys/file_system.h>

#include "api_fixture.h"

#define SYNCS 8u

static uint64_t stat_of(struct api_fixture *fixture, const char *name) {
    uint64_t value = 0;
    assert_int_equal(tern_stat_get(fixture->db, name, &value), TERN_OK);
    return value;
}

static bool can_write_directly(const char *directory) {
    const tern_file_system *files = tern_file_system_default();
    char path[4200];
    tern_file *file = NULL;
    (void)snprintf(path, sizeof(path), "%s/probe", directory);
    assert_int_equal(
        files->open(files->context, path, TERN_OPEN_CREATE | TERN_OPEN_DIRECT, &file, NULL),
        TERN_OK);
    bool can = (file->flags & TERN_OPEN_DIRECT) != 0;
    assert_int_equal(file->methods->close(file, NULL), TERN_OK);
    assert_int_equal(files->remove(files->context, path, NULL), TERN_OK);
    return can;
}

static void put(struct api_fixture *fixture, unsigned number, tern_durability durability) {
    tern_error error = TERN_ERROR_INIT;
    char key[16];
    tern_write_options options = {.size = sizeof(options), .durability = durability};
    (void)snprintf(key, sizeof(key), "%08u", number);
    assert_ok(
        tern_put(fixture->keyspace, tern_slice_str(key), tern_slice_str(key), &options, &error),
        error);
}

static void expect(struct api_fixture *fixture, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        tern_error error = TERN_ERROR_INIT;
        char key[16];
        char found[16];
        size_t size = 0;
        (void)snprintf(key, sizeof(key), "%08u", i);
        assert_ok(
            tern_get(fixture->keyspace, tern_slice_str(key), found, sizeof(found), &size, &error),
            error);
        assert_int_equal(size, 8);
        assert_memory_equal(found, key, 8);
    }
}

/* Durable commits, then others, then durable ones again, and a second life. */
static void run(tern_io_mode mode, uint32_t direct_log_syncs) {
    struct api_fixture fixture;
    unsigned number = 0;
    api_fixture_init_closed(&fixture, false);
    fixture.options.io_mode = mode;
    fixture.options.direct_log_syncs = direct_log_syncs;
    bool is_direct = direct_log_syncs != TERN_DIRECT_LOG_OFF && can_write_directly(fixture.path);
    api_fixture_open(&fixture);
    /* The log becomes direct as soon as a segment is ready. */
    for (; number < 300 ||
           (is_direct && stat_of(&fixture, "log_direct_syncs") < 100 && number < 100000);
         number++) {
        put(&fixture, number, TERN_DURABILITY_FULL);
    }
    assert_int_equal(stat_of(&fixture, "log_direct_syncs") > 0, is_direct);
    for (unsigned i = 0; i < 500; i++) {
        put(&fixture, number++, TERN_DURABILITY_NONE);
    }
    for (unsigned i = 0; i < 100; i++) {
        put(&fixture, number++, TERN_DURABILITY_FULL);
    }
    expect(&fixture, number);
    api_fixture_reopen(&fixture);
    expect(&fixture, number);
    api_fixture_release(&fixture);
}

static void durable_commits_in_a_row_are_written_past_the_page_cache(void **state) {
    (void)state;
    run(TERN_IO_MODE_DEFAULT, SYNCS);
}

static void so_they_are_without_a_ring(void **state) {
    (void)state;
    run(TERN_IO_MODE_PLAIN, SYNCS);
}

static void the_option_turns_that_off(void **state) {
    (void)state;
    run(TERN_IO_MODE_DEFAULT, TERN_DIRECT_LOG_OFF);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durable_commits_in_a_row_are_written_past_the_page_cache),
        cmocka_unit_test(so_they_are_without_a_ring),
        cmocka_unit_test(the_option_turns_that_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
