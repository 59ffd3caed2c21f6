/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 *
 * A keyspace whose file is damaged is set aside: the others are checkpointed as ever.
 */
#include <string.h>

#include <tern/sys/file_system.h>

#include "api_fixture.h"
#include "base/error.h"
#include "engine/engine.h"
#include "txn/keyspace.h"

#define RECORDS 3000u

/* The default file system, but that reads of one partition's files give garbage when armed. */
static struct {
    tern_file_system file_system;
    tern_file_methods methods;
    const tern_file_methods *plain;
    char part[32]; /* of the paths; "" before it is known */
    bool is_armed;
} damage;

static tern_status read_damaged(tern_file *file, uint64_t offset, void *buffer, size_t size,
                                size_t *out_size, tern_error *error) {
    tern_status status = damage.plain->read(file, offset, buffer, size, out_size, error);
    if (status == TERN_OK && damage.is_armed) {
        memset(buffer, 0xaa, *out_size);
    }
    return status;
}

static tern_status open_damaged(void *context, const char *path, uint32_t flags,
                                tern_file **out_file, tern_error *error) {
    const tern_file_system *inner = tern_file_system_default();
    tern_status status = inner->open(inner->context, path, flags, out_file, error);
    (void)context;
    if (status == TERN_OK && strstr(path, damage.part) != NULL) {
        damage.plain = (*out_file)->methods;
        damage.methods = *damage.plain;
        damage.methods.read = read_damaged;
        (*out_file)->methods = &damage.methods;
    }
    return status;
}

static tern_keyspace *open_good(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *good = NULL;
    tern_status status = tern_keyspace_open(fixture->db, "good", &good, &error);
    if (status == TERN_NOT_FOUND) {
        status = tern_keyspace_create(fixture->db, "good", NULL, &good, &error);
    }
    assert_ok(status, error);
    return good;
}

static void put_all(tern_keyspace *keyspace, const char *value) {
    for (unsigned i = 0; i < RECORDS; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06u", i);
        api_put(keyspace, key, value);
    }
}

/* Two keyspaces with a base each, of which "test" is the one to be damaged; returns the other. */
static tern_keyspace *set_up(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    memset(&damage, 0, sizeof(damage));
    damage.file_system = *tern_file_system_default();
    damage.file_system.open = open_damaged;
    /* The keyspace of the fixture is the first partition. */
    (void)snprintf(damage.part, sizeof(damage.part), "/p-%016x", 1u);
    api_fixture_init_closed(fixture, false);
    fixture->options.file_system = &damage.file_system;
    fixture->options.io_mode = TERN_IO_MODE_PLAIN;
    fixture->options.buffered_io = true;
    api_fixture_open(fixture);
    put_all(fixture->keyspace, "of the base");
    put_all(open_good(fixture), "of the base");
    assert_ok(tern_checkpoint(fixture->db, &error), error);
    assert_int_equal(api_stat(fixture->db, "keyspaces_aside"), 0);
    /* Nothing is cached. */
    api_fixture_reopen(fixture);
    return open_good(fixture);
}

static tern_status put_one(tern_keyspace *keyspace, tern_error *error) {
    return tern_put(keyspace, tern_slice_str("one"), tern_slice_str("more"), NULL, error);
}

/* From now on its file cannot be read, and there is something that a drain has to add to it. */
static void damage_it(struct api_fixture *fixture) {
    damage.is_armed = true;
    api_put(fixture->keyspace, "000010", "of the log");
}

/* Its file can be read again, and all is as if nothing had been. */
static void assert_healed(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_checkpoint(fixture->db, &error), error);
    assert_int_equal(api_stat(fixture->db, "keyspaces_aside"), 0);
    assert_ok(put_one(fixture->keyspace, &error), error);
    api_assert_sound(fixture->db);
}

static void a_damaged_keyspace_takes_no_writes_and_holds_nobody_up(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    char value[900];
    tern_keyspace *good = set_up(&fixture);
    damage_it(&fixture);
    api_put(good, "000010", "of the log");
    assert_int_equal(tern_checkpoint(fixture.db, &error), TERN_CORRUPTION);
    assert_non_null(strstr(error.message, "'test'"));
    assert_non_null(strstr(error.message, "repair"));
    assert_int_equal(api_stat(fixture.db, "keyspaces_aside"), 1);
    assert_true(api_stat(fixture.db, "memory_aside_bytes") > 0);
    assert_int_equal(put_one(fixture.keyspace, &error), TERN_CORRUPTION);
    assert_non_null(strstr(error.message, "takes no writes"));
    api_assert_value(fixture.keyspace, "000010", "of the log");
    /* Many times the overlays' share. */
    uint64_t before = api_stat(fixture.db, "checkpoints");
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (unsigned i = 0; i < 12000; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06u", i);
        api_put(good, key, value);
        if (i % 1000 == 0) {
            assert_true(api_stat(fixture.db, "memory_overlay_bytes") < (uint64_t)2 << 20);
        }
    }
    uint64_t checkpoints = api_stat(fixture.db, "checkpoints") - before;
    assert_in_range(checkpoints, 5, 200);
    assert_int_equal(api_stat(fixture.db, "keyspaces_aside"), 1);
    /* The log has everything of it. */
    damage.is_armed = false;
    api_fixture_reopen(&fixture);
    api_assert_value(fixture.keyspace, "000010", "of the log");
    api_assert_value(fixture.keyspace, "000011", "of the base");
    api_assert_value(open_good(&fixture), "011999", value);
    assert_healed(&fixture);
    api_fixture_release(&fixture);
}

static void what_was_only_for_a_while_is_over_with_the_next_checkpoint(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *good = set_up(&fixture);
    damage_it(&fixture);
    assert_int_equal(tern_checkpoint(fixture.db, &error), TERN_CORRUPTION);
    put_all(good, "later"); /* twice: more than one segment, wherever the log stands */
    put_all(good, "later");
    assert_int_equal(tern_checkpoint(fixture.db, &error), TERN_CORRUPTION);
    uint64_t segments = api_stat(fixture.db, "log_segments");
    assert_true(segments > 1);
    damage.is_armed = false;
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    assert_int_equal(api_stat(fixture.db, "keyspaces_aside"), 0);
    assert_int_equal(api_stat(fixture.db, "memory_aside_bytes"), 0);
    assert_true(api_stat(fixture.db, "log_segments") < segments);
    assert_ok(put_one(fixture.keyspace, &error), error);
    api_assert_value(fixture.keyspace, "000010", "of the log");
    api_fixture_reopen(&fixture);
    api_assert_value(fixture.keyspace, "one", "more");
    api_assert_sound(fixture.db);
    api_fixture_release(&fixture);
}

static tern_status fail_to_seal(struct engine *engine, bool *out_changed, tern_error *error) {
    (void)engine;
    (void)out_changed;
    return ERROR_SET(error, TERN_CORRUPTION, "a page that the end of a drain needs is damaged");
}

/* A drain that is ended between two keys reads what lies behind them. */
static void who_cannot_be_sealed_holds_nobody_up_either(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *good = set_up(&fixture);
    struct engine_methods failing = *fixture.keyspace->methods;
    failing.seal = fail_to_seal;
    fixture.keyspace->methods = &failing;
    api_put(fixture.keyspace, "000010", "of the log");
    put_all(good, "later");
    uint64_t before = api_stat(fixture.db, "checkpoints");
    assert_int_equal(tern_checkpoint(fixture.db, &error), TERN_CORRUPTION);
    assert_int_equal(api_stat(fixture.db, "keyspaces_aside"), 1);
    assert_true(api_stat(fixture.db, "checkpoints") > before);
    assert_int_equal(put_one(fixture.keyspace, &error), TERN_CORRUPTION);
    assert_ok(put_one(good, &error), error);
    /* Its log is kept, also when the database is closed. */
    api_fixture_reopen(&fixture);
    api_assert_value(fixture.keyspace, "000010", "of the log");
    api_assert_value(open_good(&fixture), "000010", "later");
    assert_healed(&fixture);
    api_fixture_release(&fixture);
}

/* To drop it is a way out. */
static void a_damaged_keyspace_can_be_dropped(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *good = set_up(&fixture);
    damage_it(&fixture);
    put_all(good, "later");
    assert_int_equal(tern_checkpoint(fixture.db, &error), TERN_CORRUPTION);
    assert_ok(tern_keyspace_drop(fixture.db, "test", &error), error);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    assert_int_equal(api_stat(fixture.db, "keyspaces_aside"), 0);
    api_put(good, "one", "more");
    damage.is_armed = false;
    api_fixture_reopen(&fixture);
    api_assert_value(open_good(&fixture), "one", "more");
    api_assert_missing(fixture.keyspace, "000010");
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_keyspace_takes_no_writes_and_holds_nobody_up),
        cmocka_unit_test(what_was_only_for_a_while_is_over_with_the_next_checkpoint),
        cmocka_unit_test(who_cannot_be_sealed_holds_nobody_up_either),
        cmocka_unit_test(a_damaged_keyspace_can_be_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
