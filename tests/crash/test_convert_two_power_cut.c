/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * Two keyspaces are converted at the same time: the second one from begin to end amid the first,
 * between its build and its switch, with writes to both. The power is cut at each write and sync.
 * Either is as before or converted, holds what was acknowledged, and nothing else is left.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/cmocka_test.h"
#include "support/seeded_random.h"
#include "support/step_machine.h"

#define KEYS         60u
#define KEYSPACES    2u
#define CUTS_OF_PAIR 25u

static const tern_engine_kind kinds[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_LSM};
static const char *const names[KEYSPACES] = {"outer", "inner"};

struct world {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspaces[KEYSPACES];
    tern_engine_kind from[KEYSPACES], to[KEYSPACES];
    uint32_t acknowledged[KEYSPACES][KEYS]; /* versions */
    uint32_t tried[KEYSPACES][KEYS];
    uint32_t next_version;
    bool is_off, is_inside;
    tern_status inner_status;
};

static tern_slice key_of(unsigned number, char key[16]) {
    (void)snprintf(key, 16, "%06u", number * 7919u % 100000u);
    return tern_slice_str(key);
}

static void write_some(struct world *world, unsigned count) {
    static const tern_write_options durably = {.size = sizeof(durably),
                                               .durability = TERN_DURABILITY_FULL};
    for (unsigned i = 0; i < count && !world->is_off; i++) {
        for (unsigned k = 0; k < KEYSPACES && !world->is_off; k++) {
            char key[16];
            uint32_t version = ++world->next_version;
            unsigned number = version * 37u % KEYS;
            world->tried[k][number] = version;
            tern_slice value = tern_slice_of(&version, sizeof(version));
            if (tern_put(world->keyspaces[k], key_of(number, key), value, &durably, NULL) ==
                TERN_OK) {
                world->acknowledged[k][number] = version;
            } else {
                world->is_off = true;
            }
        }
    }
}

static tern_status convert(struct world *world, unsigned k, tern_progress_function progress) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.engine = world->to[k];
    return tern_keyspace_convert(world->keyspaces[k], &options, progress, world, &error);
}

static bool write_amid(void *context, const char *phase, uint64_t done, uint64_t total) {
    (void)phase;
    (void)done;
    (void)total;
    write_some(context, 3);
    return true;
}

static bool convert_amid(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct world *world = context;
    (void)phase;
    (void)total;
    write_some(world, 3);
    if (done > 0 && !world->is_inside) {
        world->is_inside = true;
        world->inner_status = convert(world, 1, write_amid);
    }
    return true;
}

static void begin(struct world *world, unsigned pair, uint64_t seed) {
    tern_error error = TERN_ERROR_INIT;
    *world = (struct world){.inner_status = TERN_CANCELLED};
    step_machine_init(&world->machine, seed);
    world->machine.options.durability = TERN_DURABILITY_FULL;
    assert_ok(step_machine_open(&world->machine, &world->db, &error), error);
    for (unsigned k = 0; k < KEYSPACES; k++) {
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        options.engine = world->from[k] = kinds[(pair + k) % 3];
        world->to[k] = kinds[(pair + 1 + 2 * k) % 3];
        assert_true(world->from[k] != world->to[k]);
        assert_ok(tern_keyspace_create(world->db, names[k], &options, &world->keyspaces[k], &error),
                  error);
    }
    write_some(world, KEYS);
    assert_ok(tern_checkpoint(world->db, &error), error);
}

/* Only files of two partitions are left. */
struct leftovers {
    char partitions[KEYSPACES][20];
    bool is_clean;
};

static bool look_at(void *context, const char *name) {
    struct leftovers *leftovers = context;
    bool is_known = strncmp(name, "p-", 2) != 0;
    for (unsigned k = 0; k < KEYSPACES && !is_known; k++) {
        if (leftovers->partitions[k][0] == '\0') {
            memcpy(leftovers->partitions[k], name, 18);
        }
        is_known = strncmp(leftovers->partitions[k], name, 18) == 0;
    }
    if (!is_known || strcmp(name, "convert.tmp") == 0) {
        leftovers->is_clean = false;
        print_error("%s is left\n", name);
    }
    return true;
}

static void check(struct world *world, uint64_t cut) {
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report report;
    struct leftovers leftovers = {.is_clean = true};
    for (unsigned k = 0; k < KEYSPACES; k++) {
        assert_ok(tern_keyspace_open(world->db, names[k], &world->keyspaces[k], &error), error);
        for (unsigned i = 0; i < KEYS; i++) {
            char key[16];
            uint32_t version = 0;
            size_t size = 0;
            tern_status status = tern_get(world->keyspaces[k], key_of(i, key), &version,
                                          sizeof(version), &size, &error);
            assert_true(status == TERN_OK || status == TERN_NOT_FOUND);
            if (version != world->acknowledged[k][i] && version != world->tried[k][i]) {
                print_error("cut %llu: '%s' key %u has version %u, not %u or %u\n",
                            (unsigned long long)cut, names[k], i, version,
                            world->acknowledged[k][i], world->tried[k][i]);
                fail();
            }
        }
    }
    assert_ok(tern_verify(world->db, NULL, NULL, NULL, NULL, &report, &error), error);
    assert_int_equal(report.findings, 0);
    assert_ok(tern_checkpoint(world->db, &error), error);
    step_machine_idle(&world->machine, 20);
    const tern_file_system *files = fault_file_system_interface(world->machine.faults);
    assert_ok(files->list(files->context, STEP_MACHINE_DIRECTORY, look_at, &leftovers, &error),
              error);
    assert_true(leftovers.is_clean);
}

static void check_engine(const struct world *world, unsigned k, bool must_be_new) {
    tern_keyspace_options options;
    tern_keyspace_get_options(world->keyspaces[k], &options);
    assert_true(options.engine == world->to[k] ||
                (!must_be_new && options.engine == world->from[k]));
}

static uint64_t count_calls(unsigned pair, uint64_t seed) {
    struct world world;
    tern_error error = TERN_ERROR_INIT;
    begin(&world, pair, seed);
    uint64_t before = power_cut_calls(world.machine.disk);
    assert_int_equal(convert(&world, 0, convert_amid), TERN_OK);
    assert_int_equal(world.inner_status, TERN_OK);
    uint64_t calls = power_cut_calls(world.machine.disk) - before;
    check(&world, 0);
    check_engine(&world, 0, true);
    check_engine(&world, 1, true);
    assert_ok(tern_close(world.db, &error), error);
    step_machine_release(&world.machine);
    return calls;
}

static void cut_at(unsigned pair, uint64_t seed, uint64_t cut) {
    struct world world;
    tern_error error = TERN_ERROR_INIT;
    begin(&world, pair, seed);
    power_cut_arm(world.machine.disk, power_cut_calls(world.machine.disk) + cut);
    tern_status status = convert(&world, 0, convert_amid);
    power_cut_now(world.machine.disk);
    (void)tern_close(world.db, NULL);
    step_machine_cut(&world.machine, POWER_CUT_KEEP_RANDOM, seed + cut);
    assert_ok(step_machine_open(&world.machine, &world.db, &error), error);
    check(&world, cut);
    check_engine(&world, 0, status == TERN_OK);
    check_engine(&world, 1, world.inner_status == TERN_OK);
    assert_ok(tern_close(world.db, &error), error);
    step_machine_release(&world.machine);
}

static void a_power_cut_amid_two_conversions_leaves_each_as_it_was_or_converted(void **state) {
    (void)state;
    const char *wanted = getenv("TERN_CRASHES");
    bool is_all = wanted != NULL && strcmp(wanted, "all") == 0;
    uint64_t seed = seeded_random_seed("convert_two_power_cut");
    for (unsigned pair = 0; pair < 3; pair++) {
        uint64_t calls = count_calls(pair, seed);
        uint64_t stride = is_all ? 1 : calls / CUTS_OF_PAIR + 1;
        for (uint64_t cut = 1 + seed % stride; cut <= calls; cut += stride) {
            cut_at(pair, seed, cut);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_amid_two_conversions_leaves_each_as_it_was_or_converted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
