/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 * ctest: more=release TERN_FAULTS=all 3000
 *
 * Every byte of every file of a small database is flipped. Each flip is either detected and named,
 * or harmless for a reason that this file lists; never is wrong data returned, and repair saves all
 * that can be read. TERN_FAULTS=all visits every byte, of a smaller database.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fault_body.h"
#include "support/check.h"
#include "support/cmocka_test.h"

#define KEYSPACES        5
#define KEYS             140u
#define KEYS_OF_SMALL    24u
#define VALUE_BYTES_MAX  24000u
#define FILES_MAX        64
#define SECONDS          14.0
#define RECORDS_PER_PAGE 120u

/* Why a flip may change nothing. */
enum harmless {
    HARMLESS_LOCK_FILE, /* "LOCK" holds a text for people */
    HARMLESS_ROOT_GAP,  /* between bodies of manifests, where no slot points */
    HARMLESS_LOG_SPARE, /* segments prepared or let go, and what follows the end of the log */
    HARMLESS_BASE_FREE, /* free blocks, padding of blocks, what follows the header's fields */
    HARMLESS_REASONS
};
static const char *const harmless_names[HARMLESS_REASONS] = {
    "lock file", "gap in the root file", "unused log space", "free space of a base"};

struct image {
    char name[64];
    uint8_t *bytes;
    size_t size;
};

struct flip_test {
    struct step_machine machine;
    struct image files[FILES_MAX];
    size_t file_count;
    uint64_t harmless[HARMLESS_REASONS];
    uint64_t detected;
    uint64_t refused;
    uint64_t repaired;
    unsigned keys; /* in each keyspace */
    bool is_small;
    char context[160];
};

static const char *const keyspace_names[KEYSPACES] = {"plain", "packed", "squeezed", "hashed",
                                                      "levels"};

static void complain(const struct flip_test *test, const char *what) {
    print_error("%s: %s\n", test->context, what);
    fail();
}

/* ---- the database ---- */

static tern_slice key_of(unsigned number, char key[32]) {
    (void)snprintf(key, 32, "key/%05u", number);
    return tern_slice_str(key);
}

/* The version is in the first byte; everything else follows from key and version. */
static tern_slice value_of(unsigned keyspace, unsigned number, unsigned version, uint8_t *value) {
    size_t size = 20 + (number * 37 + version) % 400;
    if (number % 41 == 7) {
        size = 7000; /* several pages */
    } else if (number % 61 == 11 && version == 1) {
        size = 21000 + number; /* streamed apart; in the log it would keep read-only open away */
    }
    uint32_t mixed = number * 2654435761u ^ keyspace * 97u ^ version * 40503u;
    for (size_t i = 0; i < size; i++) {
        mixed = mixed * 1664525u + 1013904223u;
        value[i] = (uint8_t)(i % 3 == 0 ? mixed >> 24 : 'v');
    }
    value[0] = (uint8_t)version;
    return tern_slice_of(value, size);
}

/* What the database holds: every ninth key is deleted, every fourth written again after the
 * checkpoint. */
static unsigned version_of(unsigned number) {
    return number % 9 == 0 ? 0 : number % 4 == 0 ? 2 : 1;
}

static void put_all(const struct flip_test *test, tern_db *db, tern_keyspace *keyspaces[KEYSPACES],
                    unsigned version) {
    uint8_t *value = check_allocate(VALUE_BYTES_MAX);
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    for (unsigned i = 0; i < test->keys; i++) {
        char key[32];
        if (version == 2 && version_of(i) == 1) {
            continue;
        }
        assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
        for (unsigned k = 0; k < KEYSPACES; k++) {
            tern_status status = version == 2 && version_of(i) == 0
                                     ? tern_txn_delete(txn, keyspaces[k], key_of(i, key))
                                     : tern_txn_put(txn, keyspaces[k], key_of(i, key),
                                                    value_of(k, i, version, value), NULL);
            assert_ok(status, *tern_txn_error(txn));
        }
        assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
        tern_txn_free(txn);
    }
    free(value);
}

static void make_database(struct flip_test *test) {
    static const tern_compression compressions[KEYSPACES] = {
        TERN_COMPRESSION_NONE, TERN_COMPRESSION_LZ4, TERN_COMPRESSION_ZSTD, TERN_COMPRESSION_NONE,
        TERN_COMPRESSION_NONE};
    static const tern_engine_kind engines[KEYSPACES] = {
        TERN_ENGINE_BTREE, TERN_ENGINE_BTREE, TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_LSM};
    tern_db *db;
    tern_keyspace *keyspaces[KEYSPACES];
    tern_error error = TERN_ERROR_INIT;
    test->machine.options.segment_bytes = 65536;
    test->machine.options.overlay_bytes = (uint64_t)1 << 20;
    assert_ok(step_machine_open(&test->machine, &db, &error), error);
    for (unsigned k = 0; k < KEYSPACES; k++) {
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        options.page_bytes = 4096;
        options.fan_out = engines[k] != TERN_ENGINE_HASH ? 16 : 0;
        options.compression = compressions[k];
        options.engine = engines[k];
        assert_ok(tern_keyspace_create(db, keyspace_names[k], &options, &keyspaces[k], &error),
                  error);
    }
    put_all(test, db, keyspaces, 1);
    assert_ok(tern_checkpoint(db, &error), error);
    put_all(test, db, keyspaces, 2);
    assert_ok(tern_close(db, &error), error);
}

/* ---- images of its files ---- */

static bool take_name(void *context, const char *name) {
    struct flip_test *test = context;
    assert_true(test->file_count < FILES_MAX);
    (void)snprintf(test->files[test->file_count++].name, sizeof(test->files[0].name), "%s", name);
    return true;
}

static tern_file *open_file(const struct step_machine *machine, const char *name, uint32_t flags) {
    char path[128];
    tern_file *file = NULL;
    const tern_file_system *disk = power_cut_interface(machine->disk);
    (void)snprintf(path, sizeof(path), "%s/%s", STEP_MACHINE_DIRECTORY, name);
    assert_int_equal(disk->open(disk->context, path, flags, &file, NULL), TERN_OK);
    return file;
}

static void take_images(struct flip_test *test) {
    const tern_file_system *disk = power_cut_interface(test->machine.disk);
    assert_int_equal(disk->list(disk->context, STEP_MACHINE_DIRECTORY, take_name, test, NULL),
                     TERN_OK);
    for (size_t i = 0; i < test->file_count; i++) {
        struct image *image = &test->files[i];
        tern_file *file = open_file(&test->machine, image->name, TERN_OPEN_READ);
        uint64_t size;
        assert_int_equal(file->methods->size(file, &size, NULL), TERN_OK);
        image->bytes = check_allocate((size_t)size + 1);
        assert_int_equal(
            file->methods->read(file, 0, image->bytes, (size_t)size, &image->size, NULL), TERN_OK);
        assert_int_equal(image->size, size);
        (void)file->methods->close(file, NULL);
    }
}

/* All files as they were, the byte at `position` of file `index` flipped. */
static void lay_out(const struct flip_test *test, struct step_machine *machine, size_t index,
                    size_t position, uint8_t flip) {
    const tern_file_system *disk = power_cut_interface(machine->disk);
    tern_status status = disk->make_directory(disk->context, STEP_MACHINE_DIRECTORY, NULL);
    assert_true(status == TERN_OK || status == TERN_EXISTS);
    for (size_t i = 0; i < test->file_count; i++) {
        const struct image *image = &test->files[i];
        tern_file *file = open_file(machine, image->name, TERN_OPEN_CREATE | TERN_OPEN_TRUNCATE);
        assert_int_equal(file->methods->write(file, 0, image->bytes, image->size, NULL), TERN_OK);
        if (i == index) {
            uint8_t byte = (uint8_t)(image->bytes[position] ^ flip);
            assert_int_equal(file->methods->write(file, position, &byte, 1, NULL), TERN_OK);
        }
        (void)file->methods->close(file, NULL);
    }
}

static void set_byte(const struct flip_test *test, size_t index, size_t position, uint8_t flip) {
    const struct image *image = &test->files[index];
    uint8_t byte = (uint8_t)(image->bytes[position] ^ flip);
    tern_file *file = open_file(&test->machine, image->name, 0);
    assert_int_equal(file->methods->write(file, position, &byte, 1, NULL), TERN_OK);
    (void)file->methods->close(file, NULL);
}

/* ---- one flip ---- */

/* Reads all keys. A read may fail with TERN_CORRUPTION and a place; what it gives is right. Returns
 * how many failed. `any_version`: also an older version will do (after a repair), or none. */
static unsigned read_all(const struct flip_test *test, tern_db *db, bool any_version,
                         unsigned *out_right) {
    uint8_t *value = check_allocate(VALUE_BYTES_MAX);
    uint8_t *expected = check_allocate(VALUE_BYTES_MAX);
    unsigned failed = 0;
    unsigned right = 0;
    for (unsigned k = 0; k < KEYSPACES; k++) {
        tern_keyspace *keyspace;
        tern_error error = TERN_ERROR_INIT;
        tern_status status = tern_keyspace_open(db, keyspace_names[k], &keyspace, &error);
        if (status == TERN_NOT_FOUND && any_version) {
            continue;
        }
        assert_ok(status, error);
        for (unsigned i = 0; i < test->keys; i++) {
            char key[32];
            size_t size = 0;
            status = tern_get(keyspace, key_of(i, key), value, VALUE_BYTES_MAX, &size, &error);
            unsigned version = status == TERN_OK ? value[0] : 0;
            if (status == TERN_CORRUPTION && !any_version) {
                failed += error.file[0] != '\0' ? 1 : 0;
                if (error.file[0] == '\0') {
                    complain(test, "a read failed without naming the file");
                }
                continue;
            }
            if (status != TERN_OK && status != TERN_NOT_FOUND) {
                complain(test, error.message);
            }
            bool is_right = version == version_of(i) || (any_version && version <= 2);
            if (is_right && version != 0) {
                tern_slice wanted = value_of(k, i, version, expected);
                is_right = wanted.size == size && memcmp(wanted.data, value, size) == 0;
            }
            if (!is_right) {
                print_error("%s key %u: version %u of %zu bytes, expected %u\n", keyspace_names[k],
                            i, version, size, version_of(i));
                complain(test, "wrong data were returned");
            }
            right += version == version_of(i) ? 1 : 0;
        }
    }
    *out_right = right;
    free(expected);
    free(value);
    return failed;
}

struct findings {
    uint64_t count;
    uint64_t named; /* with the flipped file's name */
    const char *file;
};

static bool take_finding(void *context, const tern_finding *finding) {
    struct findings *findings = context;
    findings->count++;
    findings->named += strstr(finding->file, findings->file) != NULL ? 1 : 0;
    return true;
}

/* Opens read-only, which changes nothing. True when open refused or a read failed. Where the newest
 * root is damaged the older one serves; but large values in its log need a writable open. */
static bool is_noticed_by_reading(struct flip_test *test, const char *file) {
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = step_machine_options(&test->machine);
    unsigned right;
    options.read_only = true;
    options.create_if_missing = false;
    tern_status status = tern_open(STEP_MACHINE_DIRECTORY, &options, &db, &error);
    if (status != TERN_OK) {
        bool is_told = status == TERN_CORRUPTION || status == TERN_VERSION;
        bool is_older_root = status == TERN_UNSUPPORTED && strcmp(file, "tern.root") == 0;
        if ((!is_told || error.file[0] == '\0') && !is_older_root) {
            print_error("%s (%s)\n", tern_status_name(status), error.message);
            complain(test, "open refused without naming the damage");
        }
        test->refused++;
        return true;
    }
    unsigned failed = read_all(test, db, false, &right);
    (void)tern_close(db, NULL);
    return failed > 0;
}

static bool is_noticed_by_verify(struct flip_test *test, const char *file) {
    struct findings findings = {0, 0, file};
    tern_verify_report report = {0};
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = step_machine_options(&test->machine);
    tern_status status = tern_verify_directory(STEP_MACHINE_DIRECTORY, &options, take_finding,
                                               &findings, NULL, NULL, &report, &error);
    if (status != TERN_OK) {
        if (error.file[0] == '\0') {
            complain(test, error.message);
        }
        return true;
    }
    assert_int_equal(report.findings, findings.count);
    if (findings.count > 0 && findings.named == 0) {
        complain(test, "no finding names the damaged file");
    }
    return findings.count > 0;
}

static enum harmless reason_of(const char *file) {
    if (strcmp(file, "LOCK") == 0) {
        return HARMLESS_LOCK_FILE;
    }
    if (strncmp(file, "tern.root", 9) == 0) {
        return HARMLESS_ROOT_GAP;
    }
    return strncmp(file, "p-", 2) == 0 ? HARMLESS_BASE_FREE : HARMLESS_LOG_SPARE;
}

/* Places where nothing is harmless: both slots of the root file. */
static bool must_be_detected(const char *file, size_t position) {
    return strcmp(file, "tern.root") == 0 && position < 8192;
}

/* On a copy, with writing allowed: opens or refuses, and what is read is right. */
static void open_for_writing(struct flip_test *test, size_t index, size_t position, uint8_t flip) {
    struct step_machine machine;
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    unsigned right;
    step_machine_init(&machine, position);
    machine.options = test->machine.options;
    lay_out(test, &machine, index, position, flip);
    tern_status status = step_machine_open(&machine, &db, &error);
    if (status == TERN_OK) {
        (void)read_all(test, db, false, &right);
        status = tern_checkpoint(db, &error);
        assert_true(status == TERN_OK || status == TERN_CORRUPTION);
        (void)read_all(test, db, false, &right);
        (void)tern_close(db, NULL);
    } else if (status != TERN_CORRUPTION && status != TERN_VERSION) {
        complain(test, error.message);
    }
    step_machine_release(&machine);
}

/* Saves all but what lies on one page or in one record. */
static void repair(struct flip_test *test, size_t index, size_t position, uint8_t flip) {
    struct step_machine machine;
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    tern_repair_report report = {0};
    unsigned right = 0;
    step_machine_init(&machine, position);
    machine.options = test->machine.options;
    lay_out(test, &machine, index, position, flip);
    tern_db_options options = step_machine_options(&machine);
    assert_ok(tern_repair(STEP_MACHINE_DIRECTORY, "/rescued", &options, NULL, NULL, NULL, NULL,
                          &report, &error),
              error);
    assert_ok(tern_open("/rescued", &options, &db, &error), error);
    (void)read_all(test, db, true, &right);
    if (right + RECORDS_PER_PAGE < test->keys * KEYSPACES) {
        print_error("only %u of %u keys are as they were\n", right, test->keys * KEYSPACES);
        complain(test, "repair lost more than a page");
    }
    assert_ok(tern_close(db, &error), error);
    test->repaired++;
    step_machine_release(&machine);
}

static void flip_byte(struct flip_test *test, size_t index, size_t position, uint8_t flip,
                      bool is_thorough) {
    const char *file = test->files[index].name;
    (void)snprintf(test->context, sizeof(test->context), "%s, byte %zu ^ 0x%02x", file, position,
                   flip);
    set_byte(test, index, position, flip);
    bool by_verify = is_noticed_by_verify(test, file);
    bool by_reading = is_noticed_by_reading(test, file);
    set_byte(test, index, position, 0);
    if (by_reading && !by_verify) {
        complain(test, "reading notices what verify does not");
    }
    if (by_verify) {
        test->detected++;
    } else if (must_be_detected(file, position)) {
        complain(test, "nothing notices the damage");
    } else {
        test->harmless[reason_of(file)]++;
    }
    if (is_thorough) {
        open_for_writing(test, index, position, flip);
        repair(test, index, position, flip);
    }
}

/* The file and position of the n-th byte of all files. */
static void locate(const struct flip_test *test, uint64_t n, size_t *out_index,
                   size_t *out_position) {
    size_t index = 0;
    while (n >= test->files[index].size) {
        n -= test->files[index++].size;
    }
    *out_index = index;
    *out_position = (size_t)n;
}

static void visit_bytes(struct flip_test *test, uint64_t seed) {
    struct fault_sample sample;
    struct seeded_random random;
    uint64_t total = 0;
    uint64_t call;
    seeded_random_init(&random, seed);
    for (size_t i = 0; i < test->file_count; i++) {
        total += test->files[i].size;
    }
    fault_sample_begin(&sample, seed, total, SECONDS);
    while (fault_sample_next(&sample, &call)) {
        size_t index;
        size_t position;
        locate(test, call - 1, &index, &position);
        flip_byte(test, index, position, (uint8_t)(1u << seeded_random_below(&random, 8)),
                  seeded_random_chance(&random, 1, test->is_small ? 200 : 12));
        if (sample.visited % 50000 == 0) {
            print_message("%llu of %llu bytes ...\n", (unsigned long long)sample.visited,
                          (unsigned long long)total);
        }
    }
    print_message("%llu of %llu bytes flipped: %llu detected (%llu keep the database shut)\n",
                  (unsigned long long)sample.visited, (unsigned long long)total,
                  (unsigned long long)test->detected, (unsigned long long)test->refused);
    for (unsigned i = 0; i < HARMLESS_REASONS; i++) {
        print_message("  harmless, %s: %llu\n", harmless_names[i],
                      (unsigned long long)test->harmless[i]);
    }
    print_message("  %llu damaged databases repaired\n", (unsigned long long)test->repaired);
}

static void a_flipped_byte_is_named_or_harmless_and_never_returned(void **state) {
    (void)state;
    const char *wanted = getenv("TERN_FAULTS");
    bool is_small = wanted != NULL && strcmp(wanted, "all") == 0;
    struct flip_test test = {.keys = is_small ? KEYS_OF_SMALL : KEYS, .is_small = is_small};
    uint64_t seed = seeded_random_seed("byte_flips");
    step_machine_init(&test.machine, 1);
    make_database(&test);
    take_images(&test);
    /* As it is: nothing is found, and everything is there. */
    assert_false(is_noticed_by_verify(&test, ""));
    assert_false(is_noticed_by_reading(&test, ""));
    visit_bytes(&test, seed);
    assert_true(test.detected > 0 && test.repaired > 0);
    for (size_t i = 0; i < test.file_count; i++) {
        free(test.files[i].bytes);
    }
    step_machine_release(&test.machine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_byte_is_named_or_harmless_and_never_returned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
