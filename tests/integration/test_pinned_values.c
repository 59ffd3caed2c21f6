/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=120
 *
 * Values that are held in place while their keyspace goes, or becomes another partition's: they
 * stay, and nobody waits for them.
 */
#include <tern/sys/file_system.h>
#include <unistd.h>

#include "api_fixture.h"

#define ENGINES 3

static const tern_engine_kind kinds[ENGINES] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH,
                                                TERN_ENGINE_LSM};

static tern_keyspace *create(struct api_fixture *fixture, tern_engine_kind engine) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    options.engine = engine;
    assert_ok(tern_keyspace_create(fixture->db, "going", &options, &keyspace, &error), error);
    return keyspace;
}

static void checkpoint(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_checkpoint(fixture->db, &error), error);
}

/* Of what the base has in the cache. */
static void pin(tern_keyspace *keyspace, tern_value *out_value) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_get_pinned(keyspace, tern_slice_str("k"), out_value, &error), error);
}

static void assert_held(const tern_value *value) {
    assert_int_equal(value->bytes.size, strlen("held"));
    assert_memory_equal(value->bytes.data, "held", strlen("held"));
}

static bool count_file(void *context, const char *name) {
    *(unsigned *)context += strncmp(name, "p-", 2) == 0 ? 1 : 0;
    return true;
}

/* Files of partitions that are left once background work has come to its end. */
static unsigned count_files(struct api_fixture *fixture) {
    const tern_file_system *files = tern_file_system_default();
    unsigned count = 0;
    for (int i = 0; i < 5; i++) {
        api_fixture_pass_ms(fixture, 300);
    }
    assert_int_equal(files->list(files->context, fixture->path, count_file, &count, NULL), TERN_OK);
    return count;
}

/* What is left to be held of two values: of the view that is current to the end, and of an older
 * one. */
static void hold_two(struct api_fixture *fixture, tern_keyspace *keyspace, tern_value *old,
                     tern_value *current) {
    api_put(keyspace, "k", "held");
    checkpoint(fixture);
    pin(keyspace, old);
    api_put(keyspace, "other", "value");
    checkpoint(fixture);
    pin(keyspace, current);
}

static void a_held_value_outlives_its_keyspace(void **state) {
    (void)state;
    for (unsigned i = 0; i < ENGINES; i++) {
        struct api_fixture fixture;
        tern_error error = TERN_ERROR_INIT;
        tern_value old = TERN_VALUE_INIT;
        tern_value current = TERN_VALUE_INIT;
        alarm(60); /* nobody may wait for who holds a value */
        api_fixture_init(&fixture, true);
        checkpoint(&fixture);
        unsigned before = count_files(&fixture);
        hold_two(&fixture, create(&fixture, kinds[i]), &old, &current);
        assert_ok(tern_keyspace_drop(fixture.db, "going", &error), error);
        assert_true(count_files(&fixture) > before);
        api_put(fixture.keyspace, "k", "goes on");
        checkpoint(&fixture);
        assert_held(&old);
        assert_held(&current);
        tern_value_release(&current);
        assert_true(count_files(&fixture) > before);
        assert_held(&old);
        tern_value_release(&old);
        assert_true(count_files(&fixture) <= before + 1); /* that of "test" has come */
        api_assert_value(fixture.keyspace, "k", "goes on");
        api_assert_sound(fixture.db);
        api_fixture_release(&fixture);
        alarm(0);
    }
}

static void a_held_value_outlives_a_conversion(void **state) {
    (void)state;
    for (unsigned i = 0; i < ENGINES; i++) {
        struct api_fixture fixture;
        tern_error error = TERN_ERROR_INIT;
        tern_value old = TERN_VALUE_INIT;
        tern_value current = TERN_VALUE_INIT;
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        options.engine = kinds[(i + 1) % ENGINES];
        alarm(60);
        api_fixture_init(&fixture, true);
        tern_keyspace *keyspace = create(&fixture, kinds[i]);
        hold_two(&fixture, keyspace, &old, &current);
        assert_ok(tern_keyspace_convert(keyspace, &options, NULL, NULL, &error), error);
        unsigned held = count_files(&fixture);
        api_put(keyspace, "k", "another");
        checkpoint(&fixture);
        assert_held(&old);
        assert_held(&current);
        tern_value_release(&old);
        tern_value_release(&current);
        assert_true(count_files(&fixture) < held + 1);
        api_assert_value(keyspace, "k", "another");
        api_assert_sound(fixture.db);
        api_fixture_release(&fixture);
        alarm(0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_held_value_outlives_its_keyspace),
        cmocka_unit_test(a_held_value_outlives_a_conversion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
