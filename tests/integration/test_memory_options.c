/* SPDX-License-Identifier: Apache-2.0 */
/* Options about memory and the page cache, by what the system shows of them. */
#include "support/cmocka_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tern/tern.h>
#include <unistd.h>

#include "support/temporary_directory.h"

#define VALUE_BYTES 400u
#define RECORDS     20000u

static tern_db *open_with(const char *path, tern_db_options options, tern_keyspace **out_keyspace) {
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = NULL;
    options.create_if_missing = true;
    options.memory_bytes = options.memory_bytes != 0 ? options.memory_bytes : (uint64_t)64 << 20;
    assert_ok(tern_open(path, &options, &db, &error), error);
    if (tern_keyspace_open(db, "test", out_keyspace, &error) != TERN_OK) {
        assert_ok(tern_keyspace_create(db, "test", NULL, out_keyspace, &error), error);
    }
    return db;
}

static void close_db(tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(db, &error), error);
}

static uint64_t stat_of(tern_db *db, const char *name) {
    uint64_t value = 0;
    assert_int_equal(tern_stat_get(db, name, &value), TERN_OK);
    return value;
}

struct wanted_stat {
    const char *name;
    uint64_t value;
};

static bool match(void *context, const tern_stat *stat) {
    struct wanted_stat *wanted = context;
    if (strcmp(stat->name, wanted->name) == 0) {
        wanted->value = stat->value;
    }
    return true;
}

static uint64_t keyspace_stat(tern_keyspace *keyspace, const char *name) {
    tern_error error = TERN_ERROR_INIT;
    struct wanted_stat wanted = {name, UINT64_MAX};
    assert_ok(tern_keyspace_stats(keyspace, match, &wanted, &error), error);
    assert_int_not_equal(wanted.value, UINT64_MAX);
    return wanted.value;
}

static void make_record(uint32_t number, char key[16], char value[VALUE_BYTES]) {
    (void)snprintf(key, 16, "key%010u", number);
    for (unsigned i = 0; i < VALUE_BYTES; i++) {
        value[i] = (char)('a' + (number * 7 + i) % 26);
    }
}

static void fill(tern_db *db, tern_keyspace *keyspace) {
    char key[16];
    char value[VALUE_BYTES];
    tern_error error = TERN_ERROR_INIT;
    for (uint32_t i = 0; i < RECORDS; i++) {
        make_record(i, key, value);
        assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, VALUE_BYTES), NULL,
                           &error),
                  error);
    }
    assert_ok(tern_checkpoint(db, &error), error);
}

static void read_all(tern_keyspace *keyspace) {
    char key[16];
    char value[VALUE_BYTES];
    char found[VALUE_BYTES];
    tern_error error = TERN_ERROR_INIT;
    for (uint32_t i = 0; i < RECORDS; i++) {
        size_t size = 0;
        make_record(i, key, value);
        assert_ok(tern_get(keyspace, tern_slice_str(key), found, sizeof(found), &size, &error),
                  error);
        assert_int_equal(size, VALUE_BYTES);
        assert_memory_equal(found, value, VALUE_BYTES);
    }
}

/* Path of the first file whose name ends so. */
static void find_file(const char *directory, const char *ending, char out_path[512]) {
    DIR *entries = opendir(directory);
    struct dirent *entry;
    out_path[0] = '\0';
    assert_non_null(entries);
    while ((entry = readdir(entries)) != NULL) {
        size_t size = strlen(entry->d_name);
        if (size > strlen(ending) && strcmp(entry->d_name + size - strlen(ending), ending) == 0) {
            (void)snprintf(out_path, 512, "%s/%s", directory, entry->d_name);
        }
    }
    (void)closedir(entries);
    assert_true(out_path[0] != '\0');
}

static void drop_from_page_cache(const char *path) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(descriptor >= 0);
    assert_int_equal(fsync(descriptor), 0);
    assert_int_equal(posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED), 0);
    assert_int_equal(close(descriptor), 0);
}

/* Pages of the file that the system's page cache holds, in percent. */
static unsigned page_cache_percent(const char *path) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct stat information;
    assert_true(descriptor >= 0);
    assert_int_equal(fstat(descriptor, &information), 0);
    size_t size = (size_t)information.st_size;
    size_t pages = (size + 4095) / 4096;
    void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, descriptor, 0);
    assert_true(memory != MAP_FAILED);
    unsigned char *resident = malloc(pages);
    assert_non_null(resident);
    assert_int_equal(mincore(memory, size, resident), 0);
    size_t count = 0;
    for (size_t i = 0; i < pages; i++) {
        count += resident[i] & 1;
    }
    free(resident);
    (void)munmap(memory, size);
    (void)close(descriptor);
    return (unsigned)(count * 100 / pages);
}

/* True when a descriptor of this process on the file has O_DIRECT set. */
static bool is_open_directly(const char *path) {
    struct stat wanted;
    assert_int_equal(stat(path, &wanted), 0);
    for (int descriptor = 0; descriptor < 1024; descriptor++) {
        struct stat found;
        if (fstat(descriptor, &found) == 0 && found.st_ino == wanted.st_ino &&
            found.st_dev == wanted.st_dev) {
            return (fcntl(descriptor, F_GETFL) & O_DIRECT) != 0;
        }
    }
    fail_msg("%s is not open", path);
    return false;
}

static void direct_reads_leave_nothing_in_the_page_cache_and_buffered_ones_do(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    char file[512];
    tern_keyspace *keyspace;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_db *db = open_with(path, options, &keyspace);
    fill(db, keyspace);
    find_file(path, ".btree", file);
    bool is_direct = keyspace_stat(keyspace, "direct_io") == 1;
    assert_int_equal(is_open_directly(file), is_direct);
    close_db(db);
    if (is_direct) {
        drop_from_page_cache(file);
        db = open_with(path, options, &keyspace);
        read_all(keyspace);
        assert_in_range(page_cache_percent(file), 0, 5);
        close_db(db);
    } else {
        print_message("this file system refuses direct I/O: only its report was tested\n");
    }
    drop_from_page_cache(file);
    options.buffered_io = true;
    db = open_with(path, options, &keyspace);
    assert_int_equal(keyspace_stat(keyspace, "direct_io"), 0);
    assert_false(is_open_directly(file));
    read_all(keyspace);
    assert_in_range(page_cache_percent(file), 60, 100);
    close_db(db);
    temporary_directory_remove(path);
}

static uint64_t status_kb(const char *name) {
    char line[256];
    unsigned long long kb = 0;
    FILE *file = fopen("/proc/self/status", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            (void)sscanf(line + strlen(name), ": %llu", &kb);
        }
    }
    (void)fclose(file);
    return kb;
}

static void tells_what_of_the_memory_options_is_in_force(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    tern_keyspace *keyspace;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.huge_pages = TERN_HUGE_PAGES_OFF;
    options.numa = TERN_NUMA_INTERLEAVE;
    options.lock_cache = true;
    uint64_t locked_before_kb = status_kb("VmLck");
    tern_db *db = open_with(path, options, &keyspace);
    fill(db, keyspace);
    read_all(keyspace);
    assert_int_equal(stat_of(db, "cache_huge_pages"), TERN_HUGE_PAGES_OFF);
    assert_int_equal(stat_of(db, "cache_reserved_huge_bytes"), 0);
    uint64_t numa = stat_of(db, "cache_numa");
    assert_true(numa == TERN_NUMA_INTERLEAVE || numa == TERN_NUMA_DEFAULT);
    assert_int_equal((status_kb("VmLck") - locked_before_kb) * 1024,
                     stat_of(db, "cache_locked_bytes"));
    close_db(db);
    assert_int_equal(status_kb("VmLck"), locked_before_kb);
    temporary_directory_remove(path);
}

static void refuses_kinds_that_are_not_there(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_db *db = NULL;
    char *path = temporary_directory_create();
    options.create_if_missing = true;
    options.huge_pages = (tern_huge_pages)4;
    assert_int_equal(tern_open(path, &options, &db, &error), TERN_INVALID);
    options.huge_pages = TERN_HUGE_PAGES_DEFAULT;
    options.numa = (tern_numa_placement)4;
    assert_int_equal(tern_open(path, &options, &db, &error), TERN_INVALID);
    assert_null(db);
    temporary_directory_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(direct_reads_leave_nothing_in_the_page_cache_and_buffered_ones_do),
        cmocka_unit_test(tells_what_of_the_memory_options_is_in_force),
        cmocka_unit_test(refuses_kinds_that_are_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
