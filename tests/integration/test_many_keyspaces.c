/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 *
 * Keyspaces that come and go all day, and many that are dirty at a time: what has gone costs its
 * handle and nothing else, and a checkpoint writes a manifest for several.
 */
#include <stdlib.h>

#include "api_fixture.h"
#include "db/database_internal.h"

#define ROUNDS      300u
#define SLOTS_MAX   24u
#define DIRTY       200u
#define HANDLES_MAX 24u

static tern_keyspace *create(struct api_fixture *fixture, const char *name) {
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_keyspace_create(fixture->db, name, NULL, &keyspace, &error), error);
    return keyspace;
}

static void drop(struct api_fixture *fixture, const char *name) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_keyspace_drop(fixture->db, name, &error), error);
}

static uint32_t slot_of(const tern_keyspace *keyspace) {
    return atomic_load(&keyspace->slot);
}

/* Lets the collector come to all that was dropped. */
static void collect(struct api_fixture *fixture) {
    for (int i = 0; i < 5; i++) {
        api_fixture_pass_ms(fixture, 200);
    }
}

static unsigned count_handles(const struct api_fixture *fixture) {
    unsigned count = 0;
    for (const tern_keyspace *keyspace = fixture->db->keyspaces; keyspace != NULL;
         keyspace = keyspace->next) {
        count++;
    }
    return count;
}

static void slots_of_dropped_keyspaces_are_given_again(void **state) {
    (void)state;
    struct api_fixture fixture;
    static tern_keyspace *stale[ROUNDS];
    char name[32];
    api_fixture_init(&fixture, true);
    api_put(fixture.keyspace, "k", "kept");
    for (unsigned i = 0; i < ROUNDS; i++) {
        tern_txn *txn = api_begin(&fixture);
        tern_keyspace *never;
        (void)snprintf(name, sizeof(name), "of-%u", i);
        stale[i] = create(&fixture, name);
        api_put(stale[i], "k", name);
        if (i % 5 == 0) {
            tern_error error = TERN_ERROR_INIT;
            assert_ok(tern_checkpoint(fixture.db, &error), error);
        }
        drop(&fixture, name);
        assert_ok(tern_txn_keyspace_create(txn, "never", NULL, &never), *tern_txn_error(txn));
        tern_txn_free(txn); /* rolled back */
        if (i % 3 == 0) {
            collect(&fixture);
        }
    }
    collect(&fixture);
    assert_true(fixture.db->slot_count <= SLOTS_MAX);
    assert_true(count_handles(&fixture) <= HANDLES_MAX);
    tern_keyspace *last = create(&fixture, "last");
    api_put(last, "k", "new");
    for (unsigned i = 0; i < ROUNDS; i++) {
        tern_error error = TERN_ERROR_INIT;
        assert_int_equal(tern_get(stale[i], tern_slice_str("k"), NULL, 0, NULL, &error),
                         TERN_NOT_FOUND);
        assert_int_equal(tern_put(stale[i], tern_slice_str("k"), tern_slice_str("v"), NULL, &error),
                         TERN_NOT_FOUND);
    }
    api_assert_value(last, "k", "new");
    api_fixture_reopen(&fixture);
    api_assert_value(fixture.keyspace, "k", "kept");
    api_assert_sound(fixture.db);
    api_fixture_release(&fixture);
}

/* Until the last reader has gone, the keyspace's partition may be another one meanwhile. */
static void a_slot_is_given_away_when_no_snapshot_has_anything_in_it(void **state) {
    (void)state;
    for (int converts = 0; converts < 2; converts++) {
        struct api_fixture fixture;
        tern_error error = TERN_ERROR_INIT;
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        options.engine = TERN_ENGINE_LSM;
        api_fixture_init(&fixture, true);
        tern_keyspace *old = create(&fixture, "old");
        api_put(old, "k", "old");
        uint32_t slot = slot_of(old);
        tern_txn *reader = api_begin_reading(&fixture);
        api_assert_txn_value(reader, old, "k", "old");
        if (converts != 0) {
            assert_ok(tern_keyspace_convert(old, &options, NULL, NULL, &error), error);
        }
        drop(&fixture, "old");
        collect(&fixture);
        tern_keyspace *amid = create(&fixture, "amid");
        api_put(amid, "k", "amid");
        assert_true(slot_of(amid) != slot);
        api_assert_txn_value(reader, old, "k", "old");
        assert_int_equal(tern_txn_get(reader, amid, tern_slice_str("k"), NULL, 0, NULL),
                         TERN_NOT_FOUND);
        tern_txn_free(reader);
        collect(&fixture);
        bool is_given = false;
        for (int i = 0; i < 4; i++) {
            char name[24];
            (void)snprintf(name, sizeof(name), "after-%d", i);
            tern_keyspace *after = create(&fixture, name);
            api_put(after, "k", name);
            is_given = is_given || slot_of(after) == slot;
            api_assert_value(after, "k", name);
        }
        assert_true(is_given);
        assert_int_equal(slot_of(old), KEYSPACE_NO_SLOT);
        api_assert_value(amid, "k", "amid");
        assert_int_equal(tern_get(old, tern_slice_str("k"), NULL, 0, NULL, &error), TERN_NOT_FOUND);
        api_assert_sound(fixture.db);
        api_fixture_release(&fixture);
    }
}

static void a_checkpoint_writes_one_manifest_for_several_keyspaces(void **state) {
    (void)state;
    static const tern_engine_kind kinds[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_LSM};
    struct api_fixture fixture;
    tern_keyspace *keyspaces[DIRTY];
    tern_error error = TERN_ERROR_INIT;
    char name[16];
    api_fixture_init_closed(&fixture, true);
    fixture.options.memory_bytes = (uint64_t)256 << 20;
    fixture.options.overlay_bytes = (uint64_t)64 << 20;
    api_fixture_open(&fixture);
    for (unsigned i = 0; i < DIRTY; i++) {
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        options.engine = kinds[i % 3];
        (void)snprintf(name, sizeof(name), "%u", i);
        assert_ok(tern_keyspace_create(fixture.db, name, &options, &keyspaces[i], &error), error);
        api_put(keyspaces[i], "k", name);
    }
    uint64_t before = api_stat(fixture.db, "manifests_written");
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    uint64_t written = api_stat(fixture.db, "manifests_written") - before;
    print_message("%llu manifests for %u keyspaces\n", (unsigned long long)written, DIRTY);
    assert_true(written <= DIRTY / 5);
    api_fixture_reopen(&fixture);
    for (unsigned i = 0; i < DIRTY; i++) {
        (void)snprintf(name, sizeof(name), "%u", i);
        assert_ok(tern_keyspace_open(fixture.db, name, &keyspaces[i], &error), error);
        api_assert_value(keyspaces[i], "k", name);
    }
    assert_int_equal(api_stat(fixture.db, "recovered_changes"), 0);
    api_assert_sound(fixture.db);
    api_fixture_release(&fixture);
}

/* ---- a clone in the moments between what is visible and the view that shows it ---- */

struct cloning {
    tern_allocator head;
    const tern_allocator *inner;
    struct api_fixture *fixture;
    char target[512];
    bool is_armed;
    bool wants_visible; /* else the commit that is applied is not visible yet */
    tern_status status;
};

/* Inside of catalog_published, which asks for memory for a view, or of catalog_prepare for the next
 * commit of a group. */
static void clone_now(struct cloning *cloning) {
    struct tern_db *db = cloning->fixture->db;
    bool is_visible = atomic_load(&db->manager.visible_seq) == db->manager.next_seq - 1;
    if (cloning->is_armed && is_visible == cloning->wants_visible) {
        tern_error error = TERN_ERROR_INIT;
        cloning->is_armed = false;
        cloning->status = tern_clone(db, cloning->target, NULL, NULL, &error);
    }
}

static void *allocate(void *context, size_t size) {
    struct cloning *cloning = context;
    if (cloning->is_armed && size > sizeof(struct database_view) &&
        cloning->fixture->db->catalog_seq == cloning->fixture->db->manager.next_seq - 1) {
        clone_now(cloning);
    }
    return cloning->inner->allocate(cloning->inner->context, size);
}

static void *resize(void *context, void *memory, size_t size) {
    const struct cloning *cloning = context;
    return cloning->inner->resize(cloning->inner->context, memory, size);
}

static void release(void *context, void *memory) {
    const struct cloning *cloning = context;
    cloning->inner->release(cloning->inner->context, memory);
}

static void a_clone_shows_the_keyspaces_of_its_moment(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct cloning cloning = {
        .inner = tern_allocator_default(), .fixture = &fixture, .wants_visible = true};
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    tern_db *clone;
    cloning.head = (tern_allocator){&cloning, allocate, resize, release};
    api_fixture_init_closed(&fixture, true);
    fixture.options.allocator = &cloning.head;
    api_fixture_open(&fixture);
    tern_keyspace *old = create(&fixture, "old");
    api_put(old, "k", "old");
    (void)snprintf(cloning.target, sizeof(cloning.target), "%s.clone", fixture.path);
    tern_txn *txn = api_begin(&fixture);
    assert_ok(tern_txn_keyspace_create(txn, "new", NULL, &keyspace), *tern_txn_error(txn));
    assert_ok(tern_txn_put(txn, keyspace, tern_slice_str("k"), tern_slice_str("new"), NULL),
              *tern_txn_error(txn));
    assert_ok(tern_txn_keyspace_drop(txn, old), *tern_txn_error(txn));
    cloning.is_armed = true;
    api_commit(txn);
    assert_false(cloning.is_armed);
    assert_int_equal(cloning.status, TERN_OK);
    tern_db_options options = fixture.options;
    options.allocator = NULL;
    assert_ok(tern_open(cloning.target, &options, &clone, &error), error);
    assert_ok(tern_keyspace_open(clone, "new", &keyspace, &error), error);
    api_assert_value(keyspace, "k", "new");
    assert_int_equal(tern_keyspace_open(clone, "old", &keyspace, &error), TERN_NOT_FOUND);
    assert_ok(tern_close(clone, &error), error);
    temporary_directory_remove(strdup(cloning.target));
    api_fixture_release(&fixture);
}

static void forget_outcome(void *context, tern_status status, const tern_error *error) {
    (void)context;
    assert_true(status == TERN_OK || error->status == status);
}

/* One commit of a group has put another keyspace in the place of the old one, and is not visible
 * yet: views show both, under the same name. */
static void a_clone_does_not_show_what_is_to_come(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct cloning cloning = {.inner = tern_allocator_default(), .fixture = &fixture};
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    tern_db *clone;
    tern_txn *txns[2];
    cloning.head = (tern_allocator){&cloning, allocate, resize, release};
    api_fixture_init_closed(&fixture, true);
    fixture.options.allocator = &cloning.head;
    api_fixture_open(&fixture);
    tern_keyspace *old = create(&fixture, "same");
    api_put(old, "k", "old");
    (void)snprintf(cloning.target, sizeof(cloning.target), "%s.clone", fixture.path);
    txns[0] = api_begin(&fixture);
    assert_ok(tern_txn_keyspace_drop(txns[0], old), *tern_txn_error(txns[0]));
    assert_ok(tern_txn_keyspace_create(txns[0], "same", NULL, &keyspace), *tern_txn_error(txns[0]));
    txns[1] = api_begin(&fixture);
    assert_ok(tern_txn_keyspace_create(txns[1], "next", NULL, &keyspace), *tern_txn_error(txns[1]));
    for (int i = 0; i < 2; i++) {
        assert_ok(tern_txn_commit_async(txns[i], forget_outcome, NULL), *tern_txn_error(txns[i]));
    }
    cloning.is_armed = true;
    api_fixture_pass_ms(&fixture, 10);
    assert_false(cloning.is_armed);
    assert_int_equal(cloning.status, TERN_OK);
    tern_db_options options = fixture.options;
    options.allocator = NULL;
    assert_ok(tern_open(cloning.target, &options, &clone, &error), error);
    assert_ok(tern_keyspace_open(clone, "same", &keyspace, &error), error);
    api_assert_value(keyspace, "k", "old");
    assert_int_equal(tern_keyspace_open(clone, "next", &keyspace, &error), TERN_NOT_FOUND);
    assert_ok(tern_close(clone, &error), error);
    temporary_directory_remove(strdup(cloning.target));
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_of_dropped_keyspaces_are_given_again),
        cmocka_unit_test(a_slot_is_given_away_when_no_snapshot_has_anything_in_it),
        cmocka_unit_test(a_checkpoint_writes_one_manifest_for_several_keyspaces),
        cmocka_unit_test(a_clone_shows_the_keyspaces_of_its_moment),
        cmocka_unit_test(a_clone_does_not_show_what_is_to_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
