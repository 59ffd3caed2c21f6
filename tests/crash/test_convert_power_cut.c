/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * The power is cut at every write and sync of a conversion, one after the other, with writes amid
 * it; and now and then again while the database comes up. The keyspace is as before or converted,
 * holds what was acknowledged, and no file of the losing engine is left. TERN_CRASHES=all visits
 * every boundary of every pair of engines, else some of each.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/cmocka_test.h"
#include "support/seeded_random.h"
#include "support/step_machine.h"

#define KEYS         400u
#define WRITES       40u
#define LARGE_BYTES  30000u
#define CUTS_OF_PAIR 14u

static const tern_engine_kind kinds[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_LSM};

struct world {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    unsigned written; /* of WRITES, acknowledged */
    unsigned tried;
};

static tern_slice key_of(unsigned number, char key[16]) {
    (void)snprintf(key, 16, "%06u", number * 7919u % 100000u);
    return tern_slice_str(key);
}

/* Write `number` of those amid the conversion: puts, deletes, large values, ranges, merges. */
static tern_status write_one(tern_keyspace *keyspace, unsigned number) {
    static uint8_t large[LARGE_BYTES];
    static const tern_write_options durably = {.size = sizeof(durably),
                                               .durability = TERN_DURABILITY_FULL};
    char key[16];
    char end_key[16];
    const uint8_t one[8] = {1};
    tern_slice name = key_of(number * 5, key);
    switch (number % 5) {
    case 0:
        return tern_put(keyspace, name, tern_slice_str("changed"), &durably, NULL);
    case 1:
        return tern_delete(keyspace, name, &durably, NULL);
    case 2:
        memset(large, (int)number, sizeof(large));
        return tern_put(keyspace, name, tern_slice_of(large, sizeof(large)), &durably, NULL);
    case 3: {
        (void)snprintf(end_key, sizeof(end_key), "%.*s~", (int)name.size, key);
        tern_slice end = tern_slice_str(end_key);
        return tern_delete_range(keyspace, &name, &end, &durably, NULL);
    }
    default:
        return tern_merge(keyspace, tern_slice_str("sum"), TERN_MERGE_ADD,
                          tern_slice_of(one, sizeof(one)), &durably, NULL);
    }
}

static bool write_amid(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct world *world = context;
    (void)phase;
    (void)done;
    (void)total;
    for (unsigned i = 0; i < 14 && world->tried < WRITES && world->tried == world->written; i++) {
        world->tried++;
        if (write_one(world->keyspace, world->tried - 1) == TERN_OK) {
            world->written++;
        }
    }
    return true;
}

static void begin(struct world *world, tern_engine_kind engine, uint64_t seed) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_txn *txn;
    char key[16];
    *world = (struct world){.db = NULL};
    step_machine_init(&world->machine, seed);
    world->machine.options.durability = TERN_DURABILITY_FULL;
    assert_ok(step_machine_open(&world->machine, &world->db, &error), error);
    options.engine = engine;
    assert_ok(tern_keyspace_create(world->db, "k", &options, &world->keyspace, &error), error);
    assert_ok(tern_txn_begin(world->db, NULL, &txn, &error), error);
    for (unsigned i = 0; i < KEYS; i++) {
        tern_slice name = key_of(i, key);
        assert_ok(tern_txn_put(txn, world->keyspace, name, name, NULL), *tern_txn_error(txn));
    }
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    tern_txn_free(txn);
    assert_ok(tern_checkpoint(world->db, &error), error);
}

static tern_status convert(struct world *world, tern_engine_kind engine, tern_error *error) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = engine;
    return tern_keyspace_convert(world->keyspace, &options, write_amid, world, error);
}

/* Does the keyspace hold what `writes` of them leave? */
static bool holds(struct world *world, unsigned writes) {
    static uint8_t bytes[LARGE_BYTES];
    tern_error error = TERN_ERROR_INIT;
    uint64_t sum = 0;
    size_t size = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        unsigned number = i / 5;
        unsigned kind = i % 5 != 0 || number >= writes || number % 5 == 4 ? 5 : number % 5;
        tern_status status =
            tern_get(world->keyspace, key_of(i, key), bytes, sizeof(bytes), &size, &error);
        bool is_gone = kind == 1 || kind == 3;
        if (status != (is_gone ? TERN_NOT_FOUND : TERN_OK)) {
            return false;
        }
        const char *expected = kind == 0 ? "changed" : key;
        if (!is_gone &&
            (kind == 2 ? size != LARGE_BYTES || bytes[size - 1] != (uint8_t)number
                       : size != strlen(expected) || memcmp(bytes, expected, size) != 0)) {
            return false;
        }
    }
    tern_status status =
        tern_get(world->keyspace, tern_slice_str("sum"), &sum, sizeof(sum), &size, &error);
    return sum == writes / 5 && (status == TERN_OK || sum == 0);
}

struct leftovers {
    char partition[20]; /* of the one that may be there */
    bool is_clean;
};

static bool look_at(void *context, const char *name) {
    struct leftovers *leftovers = context;
    bool is_base = strncmp(name, "p-", 2) == 0 && strlen(name) > 18;
    if (is_base && leftovers->partition[0] == '\0') {
        memcpy(leftovers->partition, name, 18);
    }
    if (strcmp(name, "convert.tmp") == 0 ||
        (is_base && strncmp(name, leftovers->partition, 18) != 0)) {
        leftovers->is_clean = false;
        print_error("%s is left\n", name);
    }
    return true;
}

static void check(struct world *world, uint64_t cut) {
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report report;
    assert_ok(tern_keyspace_open(world->db, "k", &world->keyspace, &error), error);
    if (!holds(world, world->written) && !holds(world, world->tried)) {
        print_error("cut %llu: neither %u nor %u writes\n", (unsigned long long)cut, world->written,
                    world->tried);
        fail();
    }
    assert_ok(tern_verify(world->db, NULL, NULL, NULL, NULL, &report, &error), error);
    assert_int_equal(report.findings, 0);
    assert_ok(tern_checkpoint(world->db, &error), error);
    step_machine_idle(&world->machine, 20);
    struct leftovers leftovers = {.is_clean = true};
    const tern_file_system *files = fault_file_system_interface(world->machine.faults);
    assert_ok(files->list(files->context, STEP_MACHINE_DIRECTORY, look_at, &leftovers, &error),
              error);
    assert_true(leftovers.is_clean);
}

/* Comes up, maybe with the power cut again on the way. */
static void come_up(struct world *world, struct seeded_random *random) {
    tern_error error = TERN_ERROR_INIT;
    step_machine_cut(&world->machine, POWER_CUT_KEEP_RANDOM, seeded_random_next(random));
    if (seeded_random_below(random, 3) == 0) {
        power_cut_arm(world->machine.disk,
                      power_cut_calls(world->machine.disk) + 1 + seeded_random_below(random, 20));
        if (step_machine_open(&world->machine, &world->db, &error) == TERN_OK) {
            power_cut_now(world->machine.disk);
            (void)tern_close(world->db, NULL);
        }
        step_machine_cut(&world->machine, POWER_CUT_KEEP_RANDOM, seeded_random_next(random));
    }
    assert_ok(step_machine_open(&world->machine, &world->db, &error), error);
}

/* Returns the calls of a conversion that nothing disturbs. */
static uint64_t count_calls(tern_engine_kind from, tern_engine_kind to, uint64_t seed) {
    struct world world;
    tern_error error = TERN_ERROR_INIT;
    begin(&world, from, seed);
    uint64_t before = power_cut_calls(world.machine.disk);
    assert_ok(convert(&world, to, &error), error);
    uint64_t calls = power_cut_calls(world.machine.disk) - before;
    assert_int_equal(world.written, WRITES);
    check(&world, 0);
    assert_ok(tern_close(world.db, &error), error);
    step_machine_release(&world.machine);
    return calls;
}

static bool cut_at(tern_engine_kind from, tern_engine_kind to, uint64_t seed, uint64_t cut) {
    struct world world;
    struct seeded_random random;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    seeded_random_init(&random, seed + cut);
    begin(&world, from, seed);
    power_cut_arm(world.machine.disk, power_cut_calls(world.machine.disk) + cut);
    tern_status status = convert(&world, to, &error);
    (void)status; /* the power may have been cut after the switch */
    if (!power_cut_is_off(world.machine.disk)) {
        power_cut_now(world.machine.disk);
    }
    (void)tern_close(world.db, NULL);
    come_up(&world, &random);
    check(&world, cut);
    tern_keyspace_get_options(world.keyspace, &options);
    bool is_converted = options.engine == to;
    assert_true(is_converted || options.engine == from);
    assert_true(is_converted || status != TERN_OK);
    /* It can be begun again. */
    assert_ok(convert(&world, to, &error), error);
    check(&world, cut);
    assert_ok(tern_close(world.db, &error), error);
    step_machine_release(&world.machine);
    return is_converted;
}

static void a_power_cut_leaves_a_keyspace_as_it_was_or_converted(void **state) {
    (void)state;
    const char *wanted = getenv("TERN_CRASHES");
    bool is_all = wanted != NULL && strcmp(wanted, "all") == 0;
    uint64_t seed = seeded_random_seed("convert_power_cut");
    unsigned cuts = 0;
    unsigned converted = 0;
    for (unsigned i = 0; i < 9; i++) {
        tern_engine_kind from = kinds[i / 3];
        tern_engine_kind to = kinds[i % 3];
        if (from == to) {
            continue;
        }
        uint64_t calls = count_calls(from, to, seed);
        uint64_t stride = is_all ? 1 : calls / CUTS_OF_PAIR + 1;
        for (uint64_t cut = 1 + seed % stride; cut <= calls; cut += stride) {
            converted += cut_at(from, to, seed, cut) ? 1 : 0;
            cuts++;
        }
    }
    print_message("%u cuts, %u of them found it converted\n", cuts, converted);
    assert_true(converted > 0 && converted < cuts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_leaves_a_keyspace_as_it_was_or_converted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
