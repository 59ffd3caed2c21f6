/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyspace dropped while a manifest that names it is on its way: its file stays until both
 * manifests are past it, so that the older one can be recovered from.
 */
#include "db/database_internal.h"
#include "support/cmocka_test.h"
#include "support/step_machine.h"

/* Files of bases whose sync drops a keyspace, once. */
struct hook {
    tern_file_system head;
    const tern_file_system *inner;
    tern_file_methods methods;
    const tern_file_methods *original;
    tern_db *db;
    const char *drops;   /* NULL: nothing */
    uint64_t generation; /* of the manifest on its way when that was dropped */
};

static struct hook hook; /* file methods have no context of their own */

static tern_status hooked_sync(tern_file *file, tern_error *error) {
    if (hook.drops != NULL) {
        const char *name = hook.drops;
        tern_error detail = TERN_ERROR_INIT;
        hook.drops = NULL;
        hook.generation = hook.db->maintenance.manifest_generation + 1;
        assert_ok(tern_keyspace_drop(hook.db, name, &detail), detail);
    }
    return hook.original->sync(file, error);
}

static tern_status hooked_open(void *context, const char *path, uint32_t flags,
                               tern_file **out_file, tern_error *error) {
    (void)context;
    tern_status status = hook.inner->open(hook.inner->context, path, flags, out_file, error);
    if (status == TERN_OK && strstr(path, "/p-") != NULL) {
        hook.original = (*out_file)->methods;
        hook.methods = *hook.original;
        hook.methods.sync = hooked_sync;
        (*out_file)->methods = &hook.methods;
    }
    return status;
}

static tern_status hooked_remove(void *context, const char *path, tern_error *error) {
    (void)context;
    if (strstr(path, "/p-") != NULL) {
        assert_true(hook.db->maintenance.manifest_generation >= hook.generation + MANIFEST_SLOTS);
    }
    return hook.inner->remove(hook.inner->context, path, error);
}

static bool count_base(void *context, const char *name) {
    *(unsigned *)context += strncmp(name, "p-", 2) == 0 ? 1 : 0;
    return true;
}

static unsigned count_bases(void) {
    unsigned count = 0;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(
        hook.inner->list(hook.inner->context, STEP_MACHINE_DIRECTORY, count_base, &count, &error),
        error);
    return count;
}

static void put(tern_keyspace *keyspace, const char *key) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_str("value"), NULL, &error),
              error);
}

static void a_base_stays_while_the_older_manifest_names_it(void **state) {
    (void)state;
    struct step_machine machine;
    tern_keyspace *dropped;
    tern_keyspace *kept;
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&machine, 1);
    tern_db_options options = step_machine_options(&machine);
    hook = (struct hook){.inner = options.file_system};
    hook.head = *options.file_system;
    hook.head.open = hooked_open;
    hook.head.remove = hooked_remove;
    options.file_system = &hook.head;
    options.durability = TERN_DURABILITY_NONE;
    assert_ok(tern_open(STEP_MACHINE_DIRECTORY, &options, &hook.db, &error), error);
    assert_ok(tern_keyspace_create(hook.db, "dropped", NULL, &dropped, &error), error);
    assert_ok(tern_keyspace_create(hook.db, "kept", NULL, &kept, &error), error);
    put(dropped, "a");
    put(kept, "a");
    assert_ok(tern_checkpoint(hook.db, &error), error);
    assert_int_equal(count_bases(), 2);

    put(kept, "b");
    hook.drops = "dropped";
    assert_ok(tern_checkpoint(hook.db, &error), error);
    assert_null(hook.drops);
    assert_int_equal(tern_keyspace_open(hook.db, "dropped", &dropped, NULL), TERN_NOT_FOUND);
    for (unsigned i = 0; i < 3; i++) {
        put(kept, "c");
        assert_ok(tern_checkpoint(hook.db, &error), error);
    }
    assert_int_equal(count_bases(), 1);
    assert_ok(tern_close(hook.db, &error), error);
    step_machine_release(&machine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_base_stays_while_the_older_manifest_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
