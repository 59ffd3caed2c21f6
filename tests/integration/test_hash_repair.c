/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a repair tells of a damaged hash partition: which segment and bytes are lost, and the key of
 * every record that can still be made out there, so that somebody can look for it elsewhere.
 */
#include <stdlib.h>
#include <unistd.h>

#include "api_fixture.h"

#define RECORDS     3000u
#define LARGE_BYTES 700000u

/* What a repair has told, and what it left. */
struct mending {
    struct api_fixture fixture;
    bool is_named[RECORDS];
    unsigned named;
    unsigned blocks;       /* that were told to be lost */
    long long first, last; /* bytes of the last of them */
    unsigned values;       /* stored apart, that were told to be lost */
    char message[512];     /* of the last one */
    tern_repair_report report;
};

static bool take_finding(void *context, const tern_finding *finding) {
    struct mending *mending = context;
    unsigned key;
    unsigned segment;
    const char *found = strstr(finding->message, "; segment ");
    assert_true(strcmp(finding->file, "p-0000000000000002.hash") == 0);
    if (strcmp(finding->invariant, "checksum") == 0) {
        assert_non_null(found);
        assert_int_equal(sscanf(found, "; segment %u, bytes %lld to %lld", &segment,
                                &mending->first, &mending->last),
                         3);
        assert_int_equal(finding->offset, mending->first);
        mending->blocks++;
    } else if (strcmp(finding->invariant, "H-record") == 0) {
        assert_int_equal(sscanf(finding->message, "the record of key \"%u\" is lost", &key), 1);
        assert_true(key < RECORDS && !mending->is_named[key]);
        mending->is_named[key] = true;
        mending->named++;
    } else {
        assert_string_equal(finding->invariant, "value");
        (void)snprintf(mending->message, sizeof(mending->message), "%s", finding->message);
        mending->values++;
    }
    return true;
}

static void value_of(unsigned key, char value[64]) {
    (void)snprintf(value, 64, "the value of record %06u, as it was stored", key);
}

static void set_up(struct mending *mending, tern_compression compression) {
    char key[16];
    char value[64];
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    memset(mending, 0, sizeof(*mending));
    struct api_fixture *fixture = &mending->fixture;
    api_fixture_init(fixture, false);
    options.engine = TERN_ENGINE_HASH;
    options.compression = compression;
    assert_ok(tern_keyspace_create(fixture->db, "hash", &options, &fixture->keyspace, &error),
              error);
    for (unsigned i = 0; i < RECORDS; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        value_of(i, value);
        api_put(fixture->keyspace, key, value);
    }
    assert_ok(tern_checkpoint(fixture->db, &error), error);
}

/* The one file of a hash partition. */
static void path_of_partition(const struct mending *mending, char path[512]) {
    (void)snprintf(path, 512, "%s/p-0000000000000002.hash", mending->fixture.path);
}

/* Flips a bit of the first byte of `text` in the file; returns its place. */
static long long damage(const struct mending *mending, const char *text) {
    char path[512];
    path_of_partition(mending, path);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    char *bytes = malloc(size);
    assert_non_null(bytes);
    rewind(file);
    assert_int_equal(fread(bytes, 1, size, file), size);
    const char *place = memmem(bytes, size, text, strlen(text));
    assert_non_null(place);
    long long offset = place - bytes;
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_not_equal(fputc(*place ^ 0x10, file), EOF);
    assert_int_equal(fclose(file), 0);
    free(bytes);
    return offset;
}

/* Repairs and opens the result as the database of the fixture. */
static void mend(struct mending *mending) {
    char target[512];
    tern_error error = TERN_ERROR_INIT;
    struct api_fixture *fixture = &mending->fixture;
    (void)snprintf(target, sizeof(target), "%s/mended", fixture->path);
    assert_ok(tern_repair(fixture->path, target, &fixture->options, take_finding, mending, NULL,
                          NULL, &mending->report, &error),
              error);
    assert_ok(tern_open(target, NULL, &fixture->db, &error), error);
    assert_ok(tern_keyspace_open(fixture->db, "hash", &fixture->keyspace, &error), error);
}

/* How many keys are not there and have not been named; none that is there may have been. */
static unsigned count_unnamed(const struct mending *mending) {
    unsigned unnamed = 0;
    for (unsigned i = 0; i < RECORDS; i++) {
        char key[16];
        char value[64];
        char found[64];
        size_t size = 0;
        tern_error error = TERN_ERROR_INIT;
        (void)snprintf(key, sizeof(key), "%06u", i);
        value_of(i, value);
        tern_status status = tern_get(mending->fixture.keyspace, tern_slice_str(key), found,
                                      sizeof(found), &size, &error);
        if (status == TERN_OK) {
            assert_int_equal(size, strlen(value));
            assert_memory_equal(found, value, size);
            assert_false(mending->is_named[i]);
        } else {
            assert_int_equal(status, TERN_NOT_FOUND);
            unnamed += mending->is_named[i] ? 0 : 1;
        }
    }
    return unnamed;
}

static void tear_down(struct mending *mending) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(mending->fixture.db, &error), error);
    mending->fixture.db = NULL;
    api_fixture_release(&mending->fixture);
}

static void every_key_of_a_damaged_block_is_named(void **state) {
    (void)state;
    struct mending mending;
    char value[64];
    set_up(&mending, TERN_COMPRESSION_NONE);
    api_fixture_close(&mending.fixture);
    value_of(1234, value);
    long long offset = damage(&mending, value);
    mend(&mending);
    assert_int_equal(mending.blocks, 1);
    assert_int_equal(mending.report.lost_pages, 1);
    assert_in_range(offset, mending.first, mending.last);
    assert_true(mending.named > 20 && mending.is_named[1234]);
    assert_int_equal(count_unnamed(&mending), 0);
    tear_down(&mending);
}

static void a_key_that_is_damaged_itself_is_not_guessed(void **state) {
    (void)state;
    struct mending mending;
    set_up(&mending, TERN_COMPRESSION_NONE);
    api_fixture_close(&mending.fixture);
    (void)damage(&mending, "001234the value of record 001234");
    mend(&mending);
    assert_int_equal(mending.blocks, 1);
    assert_true(mending.named > 20 && !mending.is_named[1234]);
    assert_int_equal(count_unnamed(&mending), 1);
    tear_down(&mending);
}

static void of_a_compressed_block_only_what_is_legible_is_named(void **state) {
    (void)state;
    struct mending mending;
    char path[512];
    set_up(&mending, TERN_COMPRESSION_LZ4);
    api_fixture_close(&mending.fixture);
    path_of_partition(&mending, path);
    /* The first block lies behind the header of the file. */
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 4096 + 1500, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, 4096 + 1500, SEEK_SET), 0);
    assert_int_not_equal(fputc(byte ^ 0x01, file), EOF);
    assert_int_equal(fclose(file), 0);
    mend(&mending);
    assert_int_equal(mending.blocks, 1);
    assert_in_range(4096 + 1500, mending.first, mending.last);
    (void)count_unnamed(&mending);
    tear_down(&mending);
}

static void a_lost_value_is_told_with_its_key(void **state) {
    (void)state;
    struct mending mending;
    tern_error error = TERN_ERROR_INIT;
    set_up(&mending, TERN_COMPRESSION_NONE);
    char *value = malloc(LARGE_BYTES);
    assert_non_null(value);
    memset(value, 'x', LARGE_BYTES);
    memcpy(value + 300000, "look here", 9);
    assert_ok(tern_put(mending.fixture.keyspace, tern_slice_str("large"),
                       tern_slice_of(value, LARGE_BYTES), NULL, &error),
              error);
    free(value);
    assert_ok(tern_checkpoint(mending.fixture.db, &error), error);
    api_fixture_close(&mending.fixture);
    (void)damage(&mending, "look here");
    mend(&mending);
    assert_int_equal(mending.values, 1);
    assert_int_equal(mending.blocks, 0);
    assert_non_null(strstr(mending.message, "the value of 700000 bytes of key \"large\" is lost"));
    assert_int_equal(count_unnamed(&mending), 0);
    api_assert_missing(mending.fixture.keyspace, "large");
    tear_down(&mending);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_a_damaged_block_is_named),
        cmocka_unit_test(a_key_that_is_damaged_itself_is_not_guessed),
        cmocka_unit_test(of_a_compressed_block_only_what_is_legible_is_named),
        cmocka_unit_test(a_lost_value_is_told_with_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
