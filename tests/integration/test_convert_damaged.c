/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 *
 * What a crash in the midst of a conversion leaves, damaged.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api_fixture.h"

#define IMAGES_MAX 64u

struct images {
    struct api_fixture *fixture;
    char *paths[IMAGES_MAX];
    unsigned count;
};

/* The directory as a process that ends now would leave it. */
static bool keep_image(void *context, const char *name, uint64_t done, uint64_t total) {
    struct images *images = context;
    char command[600];
    (void)name;
    (void)done;
    (void)total;
    if (images->count < IMAGES_MAX) {
        char *path = temporary_directory_create();
        (void)snprintf(command, sizeof(command), "cp -r '%s/.' '%s'", images->fixture->path, path);
        assert_int_equal(system(command), 0);
        images->paths[images->count++] = path;
    }
    return true;
}

/* Overwrites the files of the partition with the highest number; false: there is only one. */
static bool damage_newest_partition(const char *path) {
    DIR *directory = opendir(path);
    struct dirent *entry = NULL;
    char newest[300] = "";
    unsigned count = 0;
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, "p-", 2) == 0) {
            count++;
            if (strcmp(entry->d_name, newest) > 0) {
                (void)snprintf(newest, sizeof(newest), "%s", entry->d_name);
            }
        }
    }
    assert_int_equal(closedir(directory), 0);
    if (count > 1) {
        char whole[600];
        (void)snprintf(whole, sizeof(whole), "%s/%s", path, newest);
        assert_int_equal(truncate(whole, 0), 0);
    }
    return count > 1;
}

static void an_unfinished_conversion_that_cannot_be_read_is_undone(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct images images = {.fixture = &fixture};
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    char key[16];
    options.engine = TERN_ENGINE_LSM;
    api_fixture_init(&fixture, false);
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(key, sizeof(key), "%u", i);
        api_put(fixture.keyspace, key, "v");
    }
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    assert_ok(tern_keyspace_convert(fixture.keyspace, &options, keep_image, &images, &error),
              error);
    api_fixture_close(&fixture);
    char *path = fixture.path;
    uint64_t undone = 0;
    for (unsigned i = 0; i < images.count; i++) {
        fixture.path = images.paths[i];
        if (damage_newest_partition(fixture.path)) {
            api_fixture_open(&fixture);
            undone += api_stat(fixture.db, "conversions_undone");
            tern_keyspace_options now = TERN_KEYSPACE_OPTIONS_INIT;
            tern_keyspace_get_options(fixture.keyspace, &now);
            assert_int_equal(now.engine, TERN_ENGINE_BTREE);
            api_assert_value(fixture.keyspace, "0", "v");
            api_assert_value(fixture.keyspace, "2999", "v");
            api_put(fixture.keyspace, "later", "v");
            api_fixture_reopen(&fixture);
            assert_int_equal(api_stat(fixture.db, "conversions_undone"), 0);
            api_assert_value(fixture.keyspace, "later", "v");
            api_assert_sound(fixture.db);
            api_fixture_close(&fixture);
        }
        temporary_directory_remove(fixture.path);
    }
    assert_true(undone > 0);
    fixture.path = path;
    api_fixture_open(&fixture);
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unfinished_conversion_that_cannot_be_read_is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
