/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "support/cmocka_test.h"
#include "support/power_cut_file_system.h"

#define SECTOR POWER_CUT_SECTOR_BYTES

static tern_file *open_file(struct power_cut_file_system *system, const char *path,
                            uint32_t flags) {
    const tern_file_system *files = power_cut_interface(system);
    tern_error error = TERN_ERROR_INIT;
    tern_file *file = NULL;
    assert_ok(files->open(files->context, path, flags, &file, &error), error);
    return file;
}

static void write_at(tern_file *file, uint64_t offset, const void *bytes, size_t size) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(file_write(file, offset, bytes, size, &error), error);
}

static void sync_file(tern_file *file) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(file_sync(file, &error), error);
}

static void sync_root(struct power_cut_file_system *system) {
    const tern_file_system *files = power_cut_interface(system);
    tern_error error = TERN_ERROR_INIT;
    assert_ok(files->sync_directory(files->context, ".", &error), error);
}

static void close_file(tern_file *file) {
    /* After a cut closing says that the power is off. */
    tern_status status = file_close(file, NULL);
    assert_true(status == TERN_OK || status == TERN_IO);
}

static bool has_file(struct power_cut_file_system *system, const char *path) {
    const tern_file_system *files = power_cut_interface(system);
    return files->exists(files->context, path, NULL) == TERN_OK;
}

static uint64_t size_of(tern_file *file) {
    tern_error error = TERN_ERROR_INIT;
    uint64_t size = 0;
    assert_ok(file->methods->size(file, &size, &error), error);
    return size;
}

/* The first byte of a sector of a file. */
static int sector_byte(struct power_cut_file_system *system, const char *path, uint64_t sector) {
    tern_file *file = open_file(system, path, TERN_OPEN_READ);
    uint8_t byte = 0;
    size_t size = 0;
    assert_int_equal(file_read(file, sector * SECTOR, &byte, 1, &size, NULL), TERN_OK);
    close_file(file);
    return size == 1 ? byte : -1;
}

/* A file of `sectors` sectors full of 'a', durable with its name. */
static tern_file *durable_file(struct power_cut_file_system *system, const char *path,
                               size_t sectors) {
    tern_file *file = open_file(system, path, TERN_OPEN_CREATE);
    uint8_t *bytes = malloc(sectors * SECTOR);
    memset(bytes, 'a', sectors * SECTOR);
    write_at(file, 0, bytes, sectors * SECTOR);
    free(bytes);
    sync_file(file);
    sync_root(system);
    return file;
}

static void keeps_what_was_synced_whatever_the_seed(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *file = durable_file(system, "f", 4);
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct power_cut_file_system *found = power_cut(system, seed);
        for (uint64_t i = 0; i < 4; i++) {
            assert_int_equal(sector_byte(found, "f", i), 'a');
        }
        assert_int_equal(sector_byte(found, "f", 4), -1);
        power_cut_destroy(found);
    }
    close_file(file);
    power_cut_destroy(system);
}

static void drops_reorders_and_tears_what_was_not_synced(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *file = durable_file(system, "f", 2);
    uint8_t bytes[2 * SECTOR];
    memset(bytes, 'b', sizeof(bytes));
    write_at(file, 0, bytes, sizeof(bytes)); /* one write of two sectors */
    unsigned seen[4] = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct power_cut_file_system *found = power_cut(system, seed);
        unsigned first = sector_byte(found, "f", 0) == 'b';
        unsigned second = sector_byte(found, "f", 1) == 'b';
        seen[first + 2 * second]++;
        power_cut_destroy(found);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_true(seen[i] > 5); /* none, either alone, both */
    }
    close_file(file);
    power_cut_destroy(system);
}

static void keeps_nothing_or_everything_when_told(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *file = durable_file(system, "f", 1);
    uint8_t bytes[3 * SECTOR];
    memset(bytes, 'b', sizeof(bytes));
    write_at(file, 0, bytes, sizeof(bytes));
    tern_file *other = open_file(system, "g", TERN_OPEN_CREATE);
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct power_cut_file_system *found =
            power_cut_keeping(system, POWER_CUT_KEEP_NOTHING, seed);
        assert_int_equal(sector_byte(found, "f", 0), 'a');
        assert_int_equal(sector_byte(found, "f", 1), -1);
        assert_false(has_file(found, "g"));
        power_cut_destroy(found);
        found = power_cut_keeping(system, POWER_CUT_KEEP_EVERYTHING, seed);
        assert_int_equal(sector_byte(found, "f", 0), 'b');
        assert_int_equal(sector_byte(found, "f", 2), 'b');
        assert_true(has_file(found, "g"));
        power_cut_destroy(found);
    }
    close_file(file);
    close_file(other);
    power_cut_destroy(system);
}

static void may_keep_an_older_of_two_unsynced_contents(void **state) {
    (void)state;
    unsigned seen_older = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct power_cut_file_system *system = power_cut_create(seed);
        tern_file *file = durable_file(system, "f", 1);
        uint8_t bytes[SECTOR];
        memset(bytes, 'b', sizeof(bytes));
        write_at(file, 0, bytes, sizeof(bytes));
        memset(bytes, 'c', sizeof(bytes));
        write_at(file, 0, bytes, sizeof(bytes));
        struct power_cut_file_system *found = power_cut(system, seed);
        seen_older += sector_byte(found, "f", 0) == 'b';
        power_cut_destroy(found);
        close_file(file);
        power_cut_destroy(system);
    }
    assert_true(seen_older > 2);
}

static void forgets_names_until_the_directory_is_synced(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *first = open_file(system, "a", TERN_OPEN_CREATE);
    tern_file *second = open_file(system, "b", TERN_OPEN_CREATE);
    write_at(first, 0, "x", 1);
    sync_file(first); /* the data is durable, the name is not */
    sync_file(second);
    unsigned seen[4] = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct power_cut_file_system *found = power_cut(system, seed);
        unsigned has_first = has_file(found, "a");
        seen[has_first + 2u * has_file(found, "b")]++;
        if (has_first) {
            assert_int_equal(sector_byte(found, "a", 0), 'x');
        }
        power_cut_destroy(found);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_true(seen[i] > 5); /* also the later without the earlier */
    }
    close_file(first);
    close_file(second);
    power_cut_destroy(system);
}

static void renames_as_a_whole_or_not_at_all(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    const tern_file_system *files = power_cut_interface(system);
    tern_file *old = durable_file(system, "current", 1);
    tern_file *new = open_file(system, "new", TERN_OPEN_CREATE);
    write_at(new, 0, "n", 1);
    sync_file(new);
    sync_root(system);
    tern_error error = TERN_ERROR_INIT;
    assert_ok(files->rename(files->context, "new", "current", &error), error);
    assert_false(has_file(system, "new"));
    unsigned renamed = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct power_cut_file_system *found = power_cut(system, seed);
        int byte = sector_byte(found, "current", 0);
        assert_true(byte == 'a' || byte == 'n');
        assert_true(has_file(found, "new") == (byte == 'a'));
        renamed += byte == 'n';
        power_cut_destroy(found);
    }
    assert_true(renamed > 5 && renamed < 95);
    close_file(old);
    close_file(new);
    power_cut_destroy(system);
}

static void may_bring_back_a_removed_file_until_synced(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    const tern_file_system *files = power_cut_interface(system);
    close_file(durable_file(system, "f", 1));
    tern_error error = TERN_ERROR_INIT;
    assert_ok(files->remove(files->context, "f", &error), error);
    unsigned back = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct power_cut_file_system *found = power_cut(system, seed);
        back += has_file(found, "f");
        power_cut_destroy(found);
    }
    assert_true(back > 5 && back < 95);
    power_cut_destroy(system);
}

static void knows_the_size_of_any_moment_since_the_sync(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *file = durable_file(system, "f", 4);
    tern_error error = TERN_ERROR_INIT;
    assert_ok(file->methods->truncate(file, SECTOR, &error), error);
    assert_ok(file->methods->truncate(file, 3 * SECTOR, &error), error);
    unsigned seen[5] = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct power_cut_file_system *found = power_cut(system, seed);
        tern_file *again = open_file(found, "f", TERN_OPEN_READ);
        uint64_t sectors = size_of(again) / SECTOR;
        close_file(again);
        assert_true(sectors == 4 || sectors == 1 || sectors == 3);
        seen[sectors]++;
        assert_int_equal(sector_byte(found, "f", 0), 'a');
        if (sectors == 3) {
            /* Cut off once, never back. */
            assert_int_equal(sector_byte(found, "f", 2), 0);
        }
        power_cut_destroy(found);
    }
    assert_true(seen[1] > 2 && seen[3] > 2 && seen[4] > 2);
    close_file(file);
    power_cut_destroy(system);
}

static void maps_the_file_itself_and_syncs_stores(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *file = durable_file(system, "f", 3);
    tern_error error = TERN_ERROR_INIT;
    void *memory = NULL;
    assert_ok(file->methods->map(file, 3 * SECTOR, &memory, &error), error);
    uint8_t *bytes = memory;
    assert_int_equal(bytes[SECTOR], 'a');
    bytes[0] = 's';
    sync_file(file);
    bytes[SECTOR] = 'u';
    write_at(file, 2 * SECTOR, "w", 1);
    assert_int_equal(bytes[2 * SECTOR], 'w'); /* writes show in the mapping */
    unsigned kept = 0;
    power_cut_now(system);
    bytes[0] = 'z'; /* the machine is off: nobody will see this */
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct power_cut_file_system *found = power_cut(system, seed);
        assert_int_equal(sector_byte(found, "f", 0), 's');
        int byte = sector_byte(found, "f", 1);
        assert_true(byte == 'a' || byte == 'u');
        kept += byte == 'u';
        power_cut_destroy(found);
    }
    assert_true(kept > 5 && kept < 95);
    file->methods->unmap(file, memory, 3 * SECTOR);
    close_file(file);
    power_cut_destroy(system);
}

static void refuses_to_change_the_size_under_a_mapping(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *file = durable_file(system, "f", 3);
    tern_error error = TERN_ERROR_INIT;
    void *memory = NULL;
    assert_int_equal(file->methods->map(file, 4 * SECTOR, &memory, &error), TERN_INVALID);
    assert_ok(file->methods->map(file, 3 * SECTOR, &memory, &error), error);
    assert_int_equal(file->methods->truncate(file, SECTOR, &error), TERN_INVALID);
    file->methods->unmap(file, memory, 3 * SECTOR);
    assert_ok(file->methods->truncate(file, SECTOR, &error), error);
    close_file(file);
    power_cut_destroy(system);
}

static void cuts_in_the_armed_call_and_fails_all_later_ones(void **state) {
    (void)state;
    for (uint64_t call = 1; call <= 4; call++) {
        struct power_cut_file_system *system = power_cut_create(1);
        const tern_file_system *files = power_cut_interface(system);
        tern_error error = TERN_ERROR_INIT;
        tern_file *file = NULL;
        power_cut_arm(system, call);
        tern_status statuses[4];
        statuses[0] = files->open(files->context, "f", TERN_OPEN_CREATE, &file, &error);
        statuses[1] = file != NULL ? file_write(file, 0, "x", 1, &error) : TERN_IO;
        statuses[2] = file != NULL ? file_sync(file, &error) : TERN_IO;
        statuses[3] = files->sync_directory(files->context, ".", &error);
        for (uint64_t i = 1; i <= 4; i++) {
            assert_int_equal(statuses[i - 1], i < call ? TERN_OK : TERN_IO);
        }
        assert_string_equal(error.message, "power is off");
        assert_int_equal(power_cut_calls(system), call);
        assert_int_equal(files->exists(files->context, "f", &error), TERN_IO);
        file_close(file, NULL);
        /* The sync in which the power went off has not happened. */
        struct power_cut_file_system *found = power_cut_keeping(system, POWER_CUT_KEEP_NOTHING, 1);
        assert_false(has_file(found, "f"));
        power_cut_destroy(found);
        power_cut_destroy(system);
    }
}

static void drops_dirty_data_when_a_sync_fails_but_still_shows_it(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *file = durable_file(system, "f", 2);
    tern_error error = TERN_ERROR_INIT;
    power_cut_fail_sync(system, 1);
    uint8_t bytes[SECTOR];
    memset(bytes, 'b', sizeof(bytes));
    write_at(file, 0, bytes, sizeof(bytes));
    assert_int_equal(file_sync(file, &error), TERN_IO);
    assert_int_equal(sector_byte(system, "f", 0), 'b');
    write_at(file, SECTOR, bytes, sizeof(bytes));
    sync_file(file); /* succeeds, and lies about the first sector */
    struct power_cut_file_system *found = power_cut_keeping(system, POWER_CUT_KEEP_EVERYTHING, 1);
    assert_int_equal(sector_byte(found, "f", 0), 'a');
    assert_int_equal(sector_byte(found, "f", 1), 'b');
    power_cut_destroy(found);
    close_file(file);
    power_cut_destroy(system);
}

static void a_durable_write_keeps_its_own_sectors_and_no_others(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *file = durable_file(system, "f", 4);
    tern_error error = TERN_ERROR_INIT;
    uint8_t bytes[SECTOR];
    memset(bytes, 'b', sizeof(bytes));
    write_at(file, 0, bytes, sizeof(bytes));
    assert_ok(file_write_durable(file, SECTOR, bytes, sizeof(bytes), &error), error);
    power_cut_fail_sync(system, 1);
    assert_int_equal(file_write_durable(file, 2 * SECTOR, bytes, sizeof(bytes), &error), TERN_IO);
    assert_int_equal(sector_byte(system, "f", 2), 'b');
    assert_int_equal(file_write_durable(file, 4 * SECTOR, bytes, sizeof(bytes), &error),
                     TERN_INVALID);
    struct power_cut_file_system *found = power_cut_keeping(system, POWER_CUT_KEEP_NOTHING, 1);
    assert_int_equal(sector_byte(found, "f", 0), 'a');
    assert_int_equal(sector_byte(found, "f", 1), 'b');
    assert_int_equal(sector_byte(found, "f", 2), 'a');
    power_cut_destroy(found);
    close_file(file);
    power_cut_destroy(system);
}

static void drops_mapped_stores_when_a_sync_fails(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *file = durable_file(system, "f", 2);
    tern_error error = TERN_ERROR_INIT;
    void *memory = NULL;
    assert_ok(file->methods->map(file, 2 * SECTOR, &memory, &error), error);
    power_cut_fail_sync(system, 1);
    ((uint8_t *)memory)[0] = 'b';
    assert_int_equal(file_sync(file, &error), TERN_IO);
    ((uint8_t *)memory)[SECTOR] = 'b';
    sync_file(file);
    struct power_cut_file_system *found = power_cut_keeping(system, POWER_CUT_KEEP_EVERYTHING, 1);
    assert_int_equal(sector_byte(found, "f", 0), 'a');
    assert_int_equal(sector_byte(found, "f", 1), 'b');
    power_cut_destroy(found);
    file->methods->unmap(file, memory, 2 * SECTOR);
    close_file(file);
    power_cut_destroy(system);
}

static void checks_the_alignment_of_direct_files(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    tern_file *file = open_file(system, "f", TERN_OPEN_CREATE | TERN_OPEN_DIRECT);
    uint8_t *bytes = aligned_alloc(SECTOR, 2 * SECTOR);
    memset(bytes, 0, 2 * SECTOR);
    assert_int_equal(file->alignment_bytes, SECTOR);
    assert_int_equal(file_write(file, 1, bytes, SECTOR, NULL), TERN_INVALID);
    assert_int_equal(file_write(file, 0, bytes, SECTOR - 1, NULL), TERN_INVALID);
    assert_int_equal(file_write(file, 0, bytes + 8, SECTOR, NULL), TERN_INVALID);
    write_at(file, SECTOR, bytes, SECTOR);
    size_t size = 0;
    assert_int_equal(file_read(file, 8, bytes, SECTOR, &size, NULL), TERN_INVALID);
    assert_int_equal(file_read(file, 0, bytes, 2 * SECTOR, &size, NULL), TERN_OK);
    assert_int_equal(size, 2 * SECTOR);
    free(bytes);
    close_file(file);
    power_cut_destroy(system);
}

static bool count_name(void *context, const char *name) {
    (void)name;
    ++*(unsigned *)context;
    return true;
}

static void loses_what_is_below_a_lost_directory(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    const tern_file_system *files = power_cut_interface(system);
    tern_error error = TERN_ERROR_INIT;
    assert_ok(files->make_directory(files->context, "db", &error), error);
    assert_int_equal(files->make_directory(files->context, "db/", &error), TERN_EXISTS);
    assert_int_equal(files->make_directory(files->context, "none/x", &error), TERN_NOT_FOUND);
    tern_file *file = open_file(system, "db/f", TERN_OPEN_CREATE);
    assert_ok(files->link(files->context, "db/f", "db/g", &error), error);
    assert_ok(files->sync_directory(files->context, "db", &error), error);
    unsigned count = 0;
    assert_ok(files->list(files->context, "./db", count_name, &count, &error), error);
    assert_int_equal(count, 2);
    struct power_cut_file_system *found = power_cut_keeping(system, POWER_CUT_KEEP_NOTHING, 1);
    assert_false(has_file(found, "db"));
    assert_false(has_file(found, "db/f"));
    power_cut_destroy(found);
    found = power_cut_keeping(system, POWER_CUT_KEEP_EVERYTHING, 1);
    assert_true(has_file(found, "db/f"));
    /* Two names of one file stay that. */
    tern_file *through_f = open_file(found, "db/f", 0);
    write_at(through_f, 0, "q", 1);
    assert_int_equal(sector_byte(found, "db/g", 0), 'q');
    close_file(through_f);
    power_cut_destroy(found);
    close_file(file);
    power_cut_destroy(system);
}

static void locks_once_and_unlocks_at_the_cut(void **state) {
    (void)state;
    struct power_cut_file_system *system = power_cut_create(1);
    const tern_file_system *files = power_cut_interface(system);
    tern_error error = TERN_ERROR_INIT;
    tern_file *lock = NULL;
    tern_file *other = NULL;
    assert_ok(files->lock(files->context, "lock", &lock, &error), error);
    assert_int_equal(files->lock(files->context, "lock", &other, &error), TERN_LOCKED);
    struct power_cut_file_system *found = power_cut(system, 1);
    const tern_file_system *after = power_cut_interface(found);
    assert_ok(after->lock(after->context, "lock", &other, &error), error);
    close_file(other);
    assert_ok(after->lock(after->context, "lock", &other, &error), error);
    close_file(other);
    power_cut_destroy(found);
    close_file(lock);
    power_cut_destroy(system);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_was_synced_whatever_the_seed),
        cmocka_unit_test(drops_reorders_and_tears_what_was_not_synced),
        cmocka_unit_test(keeps_nothing_or_everything_when_told),
        cmocka_unit_test(may_keep_an_older_of_two_unsynced_contents),
        cmocka_unit_test(forgets_names_until_the_directory_is_synced),
        cmocka_unit_test(renames_as_a_whole_or_not_at_all),
        cmocka_unit_test(may_bring_back_a_removed_file_until_synced),
        cmocka_unit_test(knows_the_size_of_any_moment_since_the_sync),
        cmocka_unit_test(maps_the_file_itself_and_syncs_stores),
        cmocka_unit_test(refuses_to_change_the_size_under_a_mapping),
        cmocka_unit_test(cuts_in_the_armed_call_and_fails_all_later_ones),
        cmocka_unit_test(drops_dirty_data_when_a_sync_fails_but_still_shows_it),
        cmocka_unit_test(a_durable_write_keeps_its_own_sectors_and_no_others),
        cmocka_unit_test(drops_mapped_stores_when_a_sync_fails),
        cmocka_unit_test(checks_the_alignment_of_direct_files),
        cmocka_unit_test(loses_what_is_below_a_lost_directory),
        cmocka_unit_test(locks_once_and_unlocks_at_the_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
