/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 *
 * Promise 8 on a real file system that is really full: a small tmpfs in a mount namespace of our
 * own. Skipped where such a namespace is not permitted.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tern/tern.h>

#include "support/cmocka_test.h"
#include "support/temporary_directory.h"

#define DISK          "size=72m"
#define BALLAST_BYTES (32u << 20)
#define VALUE_BYTES   2000u
#define COUNT_MIN     2000u

static bool write_text(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    bool written = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    if (file >= 0) {
        (void)close(file);
    }
    return written;
}

/* Before there are threads. */
static bool mount_small_disk(const char *directory) {
    char users[64];
    char groups[64];
    (void)snprintf(users, sizeof(users), "0 %u 1", (unsigned)geteuid());
    (void)snprintf(groups, sizeof(groups), "0 %u 1", (unsigned)getegid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
        return false;
    }
    (void)write_text("/proc/self/setgroups", "deny");
    return write_text("/proc/self/uid_map", users) && write_text("/proc/self/gid_map", groups) &&
           mount("none", directory, "tmpfs", 0, DISK) == 0;
}

static void make_ballast(const char *path) {
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    assert_int_equal(posix_fallocate(file, 0, BALLAST_BYTES), 0);
    (void)close(file);
}

static tern_status put(tern_keyspace *keyspace, unsigned number, unsigned round,
                       tern_error *error) {
    char key[16];
    uint8_t value[VALUE_BYTES];
    memset(value, (int)((number + round) % 251), sizeof(value));
    (void)snprintf(key, sizeof(key), "%08u", number * 2654435761u % 100000000u);
    return tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, sizeof(value)), NULL,
                    error);
}

static void check(tern_keyspace *keyspace, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        uint8_t value[VALUE_BYTES];
        size_t size = 0;
        tern_error error = TERN_ERROR_INIT;
        (void)snprintf(key, sizeof(key), "%08u", i * 2654435761u % 100000000u);
        assert_ok(tern_get(keyspace, tern_slice_str(key), value, sizeof(value), &size, &error),
                  error);
        assert_int_equal(size, VALUE_BYTES);
        assert_int_equal(value[0], i % 251);
    }
}

/* A full disk may be found by a drain first: then writers go on until the overlays are full. */
static unsigned fill(tern_keyspace *keyspace, unsigned first, tern_error *error) {
    unsigned count = first;
    tern_status status = TERN_OK;
    while (status == TERN_OK) {
        assert_true(count < 100000);
        status = put(keyspace, count, 0, error);
        count += status == TERN_OK ? 1 : 0;
    }
    assert_int_equal(status, TERN_DISK_FULL);
    assert_true(error->message[0] != '\0');
    return count;
}

static void writes_go_on_once_a_real_disk_has_space_again(void **state) {
    const char *directory = *state;
    char path[256];
    char ballast[256];
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    if (!mount_small_disk(directory)) {
        print_message("no mount namespace here\n");
        skip();
    }
    (void)snprintf(path, sizeof(path), "%s/db", directory);
    (void)snprintf(ballast, sizeof(ballast), "%s/ballast", directory);
    make_ballast(ballast);
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)16 << 20;
    options.durability = TERN_DURABILITY_FULL;
    assert_ok(tern_open(path, &options, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "k", NULL, &keyspace, &error), error);
    unsigned count = fill(keyspace, 0, &error);
    assert_true(count > COUNT_MIN);
    check(keyspace, count);
    tern_status status = tern_checkpoint(db, &error);
    assert_true(status == TERN_OK || status == TERN_DISK_FULL);
    check(keyspace, count);
    assert_int_equal(unlink(ballast), 0);
    for (unsigned i = 0; i < 1000; i++) {
        assert_ok(put(keyspace, count + i, 0, &error), error);
    }
    assert_ok(tern_checkpoint(db, &error), error);
    check(keyspace, count + 1000);
    assert_ok(tern_close(db, &error), error);
    assert_ok(tern_open(path, &options, &db, &error), error);
    assert_ok(tern_keyspace_open(db, "k", &keyspace, &error), error);
    check(keyspace, count + 1000);
    assert_ok(tern_close(db, &error), error);
    assert_int_equal(umount(directory), 0);
}

int main(void) {
    char *directory = temporary_directory_create();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(writes_go_on_once_a_real_disk_has_space_again, directory),
    };
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    temporary_directory_remove(directory);
    return result;
}
