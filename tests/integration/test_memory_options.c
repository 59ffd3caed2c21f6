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

/* As make_record has it, but with 40 bytes of `first`. */
static void read_one_like(tern_keyspace *keyspace, uint32_t number, char first) {
    char key[16];
    char value[VALUE_BYTES];
    char found[VALUE_BYTES];
    size_t size = 0;
    tern_error error = TERN_ERROR_INIT;
    make_record(number, key, value);
    memset(value, first, 40);
    assert_ok(tern_get(keyspace, tern_slice_str(key), found, sizeof(found), &size, &error), error);
    assert_memory_equal(found, value, VALUE_BYTES);
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
    options.numa = TERN_NUMA_DEFAULT;
    options.page_source = (tern_page_source)3;
    assert_int_equal(tern_open(path, &options, &db, &error), TERN_INVALID);
    options.page_source = TERN_PAGE_SOURCE_DEFAULT;
    options.read_ahead_bytes = 4096;
    assert_int_equal(tern_open(path, &options, &db, &error), TERN_INVALID);
    assert_null(db);
    temporary_directory_remove(path);
}

/* ---- where pages come from ---- */

/* Resident kilobytes of read-only mappings of the file in this process. */
static uint64_t mapped_resident_kb(const char *path) {
    char line[1024];
    unsigned long long total = 0;
    bool is_inside = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        unsigned long long kb;
        if (strchr(line, '-') != NULL && strchr(line, '-') < line + 17 && line[0] != 'V') {
            is_inside = strstr(line, path) != NULL && strstr(line, " r--s ") != NULL;
        } else if (is_inside && sscanf(line, "Rss: %llu", &kb) == 1) {
            total += kb;
        }
    }
    (void)fclose(file);
    return total;
}

static void check_value(tern_cursor *cursor, const char value[VALUE_BYTES]) {
    tern_slice found;
    assert_int_equal(tern_cursor_value(cursor, &found), TERN_OK);
    assert_int_equal(found.size, VALUE_BYTES);
    assert_memory_equal(found.data, value, VALUE_BYTES);
}

static void scan_all(tern_db *db, tern_keyspace *keyspace, bool backward) {
    char key[16];
    char value[VALUE_BYTES];
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn = NULL;
    tern_cursor *cursor = NULL;
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    assert_ok(tern_cursor_open(txn, keyspace, NULL, &cursor), *tern_txn_error(txn));
    uint32_t count = 0;
    tern_status status = backward ? tern_cursor_seek_previous(cursor, tern_slice_str("z"))
                                  : tern_cursor_seek(cursor, tern_slice_str("a"));
    for (; status == TERN_OK;
         status = backward ? tern_cursor_previous(cursor) : tern_cursor_next(cursor)) {
        make_record(backward ? RECORDS - 1 - count : count, key, value);
        check_value(cursor, value);
        count++;
    }
    assert_int_equal(count, RECORDS);
    tern_cursor_close(cursor);
    tern_txn_free(txn);
}

static void reads_in_place_out_of_a_mapping(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    char file[512];
    tern_keyspace *keyspace;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.page_source = TERN_PAGE_SOURCE_MAPPING;
    tern_db *db = open_with(path, options, &keyspace);
    fill(db, keyspace);
    find_file(path, ".btree", file);
    close_db(db);
    db = open_with(path, options, &keyspace);
    assert_int_equal(keyspace_stat(keyspace, "page_source"), TERN_PAGE_SOURCE_MAPPING);
    uint64_t reads = keyspace_stat(keyspace, "reads");
    read_all(keyspace);
    scan_all(db, keyspace, false);
    scan_all(db, keyspace, true);
    uint64_t leaves = keyspace_stat(keyspace, "leaf_pages");
    assert_int_equal(stat_of(db, "cache_frames"), 0);
    assert_true(keyspace_stat(keyspace, "reads") - reads <= keyspace_stat(keyspace, "inner_pages"));
    assert_int_equal(keyspace_stat(keyspace, "mapped_pages_checked"), leaves);
    assert_true(mapped_resident_kb(file) * 1024 >= (uint64_t)RECORDS * VALUE_BYTES);
    close_db(db);
    temporary_directory_remove(path);
}

static void a_damaged_page_of_a_mapping_is_an_error(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    char file[512];
    char key[16];
    char value[VALUE_BYTES];
    char found[VALUE_BYTES];
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.page_source = TERN_PAGE_SOURCE_MAPPING;
    tern_db *db = open_with(path, options, &keyspace);
    fill(db, keyspace);
    find_file(path, ".btree", file);
    close_db(db);
    /* A byte of a value that only one page has: found by what stands there. */
    make_record(RECORDS / 2, key, value);
    FILE *stream = fopen(file, "r+be");
    assert_non_null(stream);
    struct stat information;
    assert_int_equal(fstat(fileno(stream), &information), 0);
    size_t size = (size_t)information.st_size;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, size, stream), size);
    char *place = memmem(bytes, size, key + 3, strlen(key + 3));
    assert_non_null(place);
    assert_int_equal(fseek(stream, (long)(place - bytes), SEEK_SET), 0);
    assert_int_not_equal(fputc(*place ^ 1, stream), EOF);
    assert_int_equal(fclose(stream), 0);
    free(bytes);
    db = open_with(path, options, &keyspace);
    size_t got = 0;
    assert_int_equal(tern_get(keyspace, tern_slice_str(key), found, sizeof(found), &got, &error),
                     TERN_CORRUPTION);
    close_db(db);
    temporary_directory_remove(path);
}

/* Overwrites and deletes move pages and cut the file, while readers hold what they have. */
static void a_mapping_survives_overwrites_and_shrinking(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    char key[16];
    char value[VALUE_BYTES];
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.page_source = TERN_PAGE_SOURCE_MAPPING;
    tern_db *db = open_with(path, options, &keyspace);
    fill(db, keyspace);
    tern_txn *txn = NULL;
    tern_cursor *cursor = NULL;
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    assert_ok(tern_cursor_open(txn, keyspace, NULL, &cursor), *tern_txn_error(txn));
    assert_int_equal(tern_cursor_seek(cursor, tern_slice_str("a")), TERN_OK);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < RECORDS; i++) {
            make_record(i, key, value);
            memset(value, (int)('A' + round), 40);
            assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, VALUE_BYTES),
                               NULL, &error),
                      error);
        }
        assert_ok(tern_checkpoint(db, &error), error);
        /* Every page is a new one, and checked, also where an old one has been. */
        uint64_t checked = keyspace_stat(keyspace, "mapped_pages_checked");
        for (uint32_t i = 0; i < RECORDS; i++) {
            read_one_like(keyspace, i, (char)('A' + round));
        }
        assert_int_equal(keyspace_stat(keyspace, "mapped_pages_checked") - checked,
                         keyspace_stat(keyspace, "leaf_pages"));
    }
    uint64_t size_before = keyspace_stat(keyspace, "file_bytes");
    for (uint32_t i = 1000; i < RECORDS; i++) {
        make_record(i, key, value);
        assert_ok(tern_delete(keyspace, tern_slice_str(key), NULL, &error), error);
    }
    assert_ok(tern_checkpoint(db, &error), error);
    uint32_t count = 0;
    for (tern_status status = TERN_OK; status == TERN_OK; status = tern_cursor_next(cursor)) {
        make_record(count, key, value);
        check_value(cursor, value);
        count++;
    }
    assert_int_equal(count, RECORDS);
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    assert_ok(tern_compact(db, NULL, NULL, &error), error);
    assert_true(keyspace_stat(keyspace, "file_bytes") < size_before);
    for (uint32_t i = 0; i < 1000; i++) {
        read_one_like(keyspace, i, 'C');
    }
    close_db(db);
    temporary_directory_remove(path);
}

static void tells_that_compressed_pages_are_not_mapped(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.page_source = TERN_PAGE_SOURCE_MAPPING;
    tern_db *db = open_with(path, options, &keyspace);
    tern_keyspace_options packed = TERN_KEYSPACE_OPTIONS_INIT;
    packed.compression = TERN_COMPRESSION_LZ4;
    assert_ok(tern_keyspace_create(db, "packed", &packed, &keyspace, &error), error);
    fill(db, keyspace);
    read_all(keyspace);
    assert_int_equal(keyspace_stat(keyspace, "page_source"), TERN_PAGE_SOURCE_CACHE);
    assert_int_equal(keyspace_stat(keyspace, "mapped_bytes"), 0);
    close_db(db);
    temporary_directory_remove(path);
}

/* ---- reading ahead ---- */

static uint64_t reads_of_a_scan(const char *path, uint64_t read_ahead_bytes, bool backward) {
    tern_keyspace *keyspace;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.read_ahead_bytes = read_ahead_bytes;
    tern_db *db = open_with(path, options, &keyspace);
    uint64_t reads = keyspace_stat(keyspace, "reads");
    scan_all(db, keyspace, backward);
    reads = keyspace_stat(keyspace, "reads") - reads;
    if (read_ahead_bytes == TERN_READ_AHEAD_OFF) {
        assert_int_equal(keyspace_stat(keyspace, "read_ahead_runs"), 0);
        assert_true(reads >= keyspace_stat(keyspace, "leaf_pages"));
    } else {
        assert_true(keyspace_stat(keyspace, "read_ahead_pages") * 10 >=
                    keyspace_stat(keyspace, "leaf_pages") * 9);
    }
    assert_int_equal(keyspace_stat(keyspace, "read_ahead_strided_runs"), 0);
    close_db(db);
    return reads;
}

static void a_scan_reads_runs_as_long_as_the_option_says(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    tern_keyspace *keyspace;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_db *db = open_with(path, options, &keyspace);
    fill(db, keyspace);
    close_db(db);
    uint64_t none = reads_of_a_scan(path, TERN_READ_AHEAD_OFF, false);
    uint64_t few = reads_of_a_scan(path, 65536, false);
    uint64_t usual = reads_of_a_scan(path, 0, false);
    uint64_t many = reads_of_a_scan(path, (uint64_t)1 << 20, false);
    assert_true(few * 3 < none);
    assert_true(usual * 2 < few);
    assert_true(many * 2 < usual);
    assert_true(reads_of_a_scan(path, 0, true) * 6 < none);
    temporary_directory_remove(path);
}

/* Seeks `count` keys, the next one as far from the last as `step` says; 0: anywhere. */
static uint64_t seek_by(tern_db *db, tern_keyspace *keyspace, uint32_t count, uint32_t step) {
    char key[16];
    char value[VALUE_BYTES];
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn = NULL;
    tern_cursor *cursor = NULL;
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    assert_ok(tern_cursor_open(txn, keyspace, NULL, &cursor), *tern_txn_error(txn));
    uint64_t reads = keyspace_stat(keyspace, "reads");
    uint64_t random = 12345;
    for (uint32_t i = 0; i < count; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        make_record(step > 0 ? i * step : (uint32_t)(random >> 33) % RECORDS, key, value);
        assert_int_equal(tern_cursor_seek(cursor, tern_slice_str(key)), TERN_OK);
        check_value(cursor, value);
    }
    reads = keyspace_stat(keyspace, "reads") - reads;
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    return reads;
}

static void even_steps_are_read_ahead_and_random_ones_are_not(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    tern_keyspace *keyspace;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_db *db = open_with(path, options, &keyspace);
    fill(db, keyspace);
    uint32_t per_leaf = RECORDS / (uint32_t)keyspace_stat(keyspace, "leaf_pages");
    close_db(db);
    db = open_with(path, options, &keyspace);
    (void)seek_by(db, keyspace, 300, 0);
    assert_int_equal(keyspace_stat(keyspace, "read_ahead_runs"), 0);
    close_db(db);
    db = open_with(path, options, &keyspace);
    uint32_t step = per_leaf * 3;
    uint32_t count = RECORDS / step;
    uint64_t reads = seek_by(db, keyspace, count, step);
    assert_true(keyspace_stat(keyspace, "read_ahead_strided_runs") > 0);
    assert_true(reads * 3 < (uint64_t)count * 2);
    close_db(db);
    temporary_directory_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(direct_reads_leave_nothing_in_the_page_cache_and_buffered_ones_do),
        cmocka_unit_test(tells_what_of_the_memory_options_is_in_force),
        cmocka_unit_test(reads_in_place_out_of_a_mapping),
        cmocka_unit_test(a_damaged_page_of_a_mapping_is_an_error),
        cmocka_unit_test(a_mapping_survives_overwrites_and_shrinking),
        cmocka_unit_test(tells_that_compressed_pages_are_not_mapped),
        cmocka_unit_test(a_scan_reads_runs_as_long_as_the_option_says),
        cmocka_unit_test(even_steps_are_read_ahead_and_random_ones_are_not),
        cmocka_unit_test(refuses_kinds_that_are_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
