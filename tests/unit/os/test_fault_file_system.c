/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "os/file.h"
#include "support/cmocka_test.h"
#include "support/fault_file_system.h"
#include "support/power_cut_file_system.h"

struct fixture {
    struct power_cut_file_system *inner;
    struct fault_file_system *system;
    const tern_file_system *files;
    tern_error error;
};

static void set_up(struct fixture *fixture) {
    *fixture = (struct fixture){.inner = power_cut_create(1)};
    fixture->system = fault_file_system_create(power_cut_interface(fixture->inner));
    fixture->files = fault_file_system_interface(fixture->system);
}

static void tear_down(struct fixture *fixture) {
    fault_file_system_destroy(fixture->system);
    power_cut_destroy(fixture->inner);
}

static tern_file *open_file(struct fixture *fixture, const char *path) {
    tern_file *file = NULL;
    assert_ok(fixture->files->open(fixture->files->context, path, TERN_OPEN_CREATE, &file,
                                   &fixture->error),
              fixture->error);
    return file;
}

static uint64_t size_of(tern_file *file) {
    uint64_t size = 0;
    assert_int_equal(file->methods->size(file, &size, NULL), TERN_OK);
    return size;
}

static void counts_calls_by_kind(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    tern_file *file = open_file(&fixture, "f");
    char byte = 'x';
    size_t size = 0;
    assert_int_equal(file_write(file, 0, &byte, 1, NULL), TERN_OK);
    assert_int_equal(file_write(file, 1, &byte, 1, NULL), TERN_OK);
    assert_int_equal(file_read(file, 0, &byte, 1, &size, NULL), TERN_OK);
    assert_int_equal(file_sync(file, NULL), TERN_OK);
    assert_int_equal(file_close(file, NULL), TERN_OK);
    assert_int_equal(fault_file_system_calls(fixture.system, FAULT_WRITE), 2);
    assert_int_equal(fault_file_system_calls(fixture.system, FAULT_READ | FAULT_SYNC), 2);
    assert_int_equal(fault_file_system_calls(fixture.system, FAULT_ANY), 6);
    assert_int_equal(fault_file_system_failures(fixture.system), 0);
    tear_down(&fixture);
}

static void fails_once_and_then_goes_on(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    tern_file *file = open_file(&fixture, "f");
    fault_file_system_arm(fixture.system, &(struct fault_plan){.kinds = FAULT_SYNC, .nth = 2});
    assert_int_equal(file_sync(file, NULL), TERN_OK);
    assert_int_equal(file_sync(file, &fixture.error), TERN_IO);
    assert_int_equal(fixture.error.system_errno, EIO);
    assert_string_equal(fixture.error.file, "f");
    assert_int_equal(file_sync(file, NULL), TERN_OK);
    assert_int_equal(fault_file_system_failures(fixture.system), 1);
    assert_int_equal(file_close(file, NULL), TERN_OK);
    tear_down(&fixture);
}

static void fails_on_until_disarmed_when_sticky(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    tern_file *file = open_file(&fixture, "f");
    fault_file_system_arm(fixture.system, &(struct fault_plan){.kinds = FAULT_ANY,
                                                               .nth = 2,
                                                               .sticky = true,
                                                               .status = TERN_DISK_FULL});
    assert_int_equal(file_write(file, 0, "x", 1, NULL), TERN_OK);
    assert_int_equal(file_write(file, 0, "x", 1, &fixture.error), TERN_DISK_FULL);
    assert_int_equal(fixture.error.system_errno, ENOSPC);
    assert_int_equal(file_sync(file, NULL), TERN_DISK_FULL);
    assert_int_equal(fixture.files->sync_directory(fixture.files->context, ".", &fixture.error),
                     TERN_DISK_FULL);
    fault_file_system_disarm(fixture.system);
    assert_int_equal(file_sync(file, NULL), TERN_OK);
    assert_int_equal(file_close(file, NULL), TERN_OK);
    tear_down(&fixture);
}

static void a_failed_close_still_closes(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    tern_file *file = open_file(&fixture, "f");
    fault_file_system_arm(fixture.system, &(struct fault_plan){.kinds = FAULT_CLOSE, .nth = 1});
    assert_int_equal(file_close(file, &fixture.error), TERN_IO);
    tear_down(&fixture); /* checks that nothing is open */
}

static void writes_half_before_it_fails_when_asked(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    tern_file *file = open_file(&fixture, "f");
    fault_file_system_arm(
        fixture.system, &(struct fault_plan){.kinds = FAULT_WRITE, .nth = 1, .short_write = true});
    assert_int_equal(file_write(file, 0, "12345678", 8, NULL), TERN_IO);
    assert_int_equal(size_of(file), 4);
    assert_int_equal(file_close(file, NULL), TERN_OK);
    tear_down(&fixture);
}

static void is_full_at_its_capacity_until_space_is_freed(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    tern_file *file = open_file(&fixture, "f");
    tern_file *other = open_file(&fixture, "g");
    fault_file_system_set_capacity(fixture.system, 1000);
    char bytes[600] = {0};
    assert_int_equal(file_write(file, 0, bytes, 600, NULL), TERN_OK);
    assert_int_equal(file_write(file, 0, bytes, 600, NULL), TERN_OK); /* does not grow */
    uint64_t free_bytes = 0;
    assert_int_equal(fixture.files->free_space(fixture.files->context, ".", &free_bytes, NULL),
                     TERN_OK);
    assert_int_equal(free_bytes, 400);
    assert_int_equal(file_write(other, 0, bytes, 600, &fixture.error), TERN_DISK_FULL);
    assert_int_equal(size_of(other), 400);
    assert_int_equal(fault_file_system_used(fixture.system), 1000);
    assert_int_equal(file->methods->allocate(file, 0, 601, NULL), TERN_DISK_FULL);
    assert_int_equal(file->methods->truncate(file, 601, NULL), TERN_DISK_FULL);
    assert_int_equal(size_of(file), 600);
    assert_int_equal(file_write(file, 0, bytes, 600, NULL), TERN_OK); /* overwriting goes on */
    assert_int_equal(file->methods->truncate(file, 100, NULL), TERN_OK);
    assert_int_equal(file_write(other, 400, bytes, 200, NULL), TERN_OK);
    assert_int_equal(file_close(other, NULL), TERN_OK);
    assert_int_equal(fixture.files->remove(fixture.files->context, "g", NULL), TERN_OK);
    assert_int_equal(fault_file_system_used(fixture.system), 100);
    fault_file_system_set_capacity(fixture.system, 5000);
    assert_int_equal(file->methods->allocate(file, 0, 5000, NULL), TERN_OK);
    assert_int_equal(file_close(file, NULL), TERN_OK);
    tear_down(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_calls_by_kind),
        cmocka_unit_test(fails_once_and_then_goes_on),
        cmocka_unit_test(fails_on_until_disarmed_when_sticky),
        cmocka_unit_test(a_failed_close_still_closes),
        cmocka_unit_test(writes_half_before_it_fails_when_asked),
        cmocka_unit_test(is_full_at_its_capacity_until_space_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
