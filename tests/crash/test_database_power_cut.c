/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * The power is cut at a random file-system call under random work, again during recovery, and the
 * database must be in a state that was: every acknowledged durable commit in it, all or nothing of
 * each transaction, nothing out of order. TERN_CRASHES says how many cuts (default 400).
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/cmocka_test.h"
#include "support/power_cut_file_system.h"
#include "support/random_workload.h"

#define LIVES_MAX 4
#define DIRECTORY "/db"

struct machine {
    struct power_cut_file_system *disk;
    struct virtual_clock clock;
    struct step_executor *executor;
    struct seeded_random_source *random;
    struct random_workload work;
    uint64_t seed;
    uint64_t cuts;
};

static void report(const struct machine *machine, const char *what) {
    print_error("TERN_SEED=%llu, cut %llu: %s\n", (unsigned long long)machine->seed,
                (unsigned long long)machine->cuts, what);
}

static tern_status open_database(struct machine *machine, tern_db **out_db, tern_error *error) {
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    random_workload_options(&options);
    options.file_system = power_cut_interface(machine->disk);
    options.clock = virtual_clock_interface(&machine->clock);
    options.random = seeded_random_source_interface(machine->random);
    options.executor = step_executor_interface(machine->executor);
    return tern_open(DIRECTORY, &options, out_db, error);
}

/* The machine comes up again. */
static void power_up(struct machine *machine) {
    struct power_cut_file_system *found =
        power_cut(machine->disk, seeded_random_next(&machine->work.random));
    power_cut_destroy(machine->disk);
    machine->disk = found;
    machine->cuts++;
}

/* Opens, cutting the power during some of the attempts. */
static tern_db *recover(struct machine *machine) {
    tern_db *db = NULL;
    tern_error error = TERN_ERROR_INIT;
    for (int attempt = 0;; attempt++) {
        if (attempt < 2 && seeded_random_below(&machine->work.random, 2) == 0) {
            power_cut_arm(machine->disk, power_cut_calls(machine->disk) + 1 +
                                             seeded_random_below(&machine->work.random, 24));
        } else {
            power_cut_arm(machine->disk, 0);
        }
        tern_status status = open_database(machine, &db, &error);
        if (status == TERN_OK) {
            if (!power_cut_is_off(machine->disk)) {
                power_cut_arm(machine->disk, 0);
                return db;
            }
            (void)tern_close(db, NULL);
        } else if (!power_cut_is_off(machine->disk)) {
            char text[600];
            (void)tern_error_format(&error, text, sizeof(text));
            report(machine, text);
            fail();
        }
        power_up(machine);
    }
}

static bool count_finding(void *context, const tern_finding *finding) {
    const struct machine *machine = context;
    char text[600];
    (void)snprintf(text, sizeof(text), "verify: %s at %lld: %s: %s", finding->file,
                   (long long)finding->offset, finding->invariant, finding->message);
    report(machine, text);
    return true;
}

static void check(struct machine *machine, tern_db *db) {
    char text[600] = "";
    tern_verify_report found;
    tern_error error = TERN_ERROR_INIT;
    if (!random_workload_find_state(&machine->work, db, text, sizeof(text))) {
        report(machine, text);
        fail();
    }
    if (tern_verify(db, count_finding, machine, NULL, NULL, &found, &error) != TERN_OK) {
        report(machine, error.message);
        fail();
    }
    assert_int_equal(found.findings, 0);
}

static void live(struct machine *machine, tern_db *db) {
    uint64_t steps = 5 + seeded_random_below(&machine->work.random, 120);
    power_cut_arm(machine->disk, power_cut_calls(machine->disk) + 1 +
                                     seeded_random_below(&machine->work.random, 160));
    while (steps-- > 0 && random_workload_step(&machine->work, db)) {
    }
    if (machine->work.error.status == TERN_CORRUPTION) {
        report(machine, machine->work.error.message);
        fail();
    }
    if (!power_cut_is_off(machine->disk)) {
        power_cut_now(machine->disk);
    }
    (void)tern_close(db, NULL);
}

static uint64_t run_machine(uint64_t seed) {
    struct machine machine = {.seed = seed};
    machine.disk = power_cut_create(seed);
    virtual_clock_init(&machine.clock);
    machine.executor = step_executor_create(seed, &machine.clock);
    machine.random = seeded_random_source_create(seed);
    random_workload_init(&machine.work, seed);
    machine.work.executor = machine.executor;
    machine.work.clock = &machine.clock;
    machine.work.allows_compact = true;
    uint64_t lives = 1 + seeded_random_below(&machine.work.random, LIVES_MAX);
    for (uint64_t life = 0; life < lives; life++) {
        tern_db *db = recover(&machine);
        check(&machine, db);
        live(&machine, db);
        power_up(&machine);
    }
    tern_db *db = recover(&machine);
    check(&machine, db);
    assert_int_equal(tern_close(db, NULL), TERN_OK);
    uint64_t cuts = machine.cuts;
    random_workload_release(&machine.work);
    seeded_random_source_destroy(machine.random);
    step_executor_destroy(machine.executor);
    power_cut_destroy(machine.disk);
    return cuts;
}

static void every_state_after_a_power_cut_is_one_that_was(void **state) {
    (void)state;
    const char *wanted_text = getenv("TERN_CRASHES");
    uint64_t wanted = wanted_text != NULL ? strtoull(wanted_text, NULL, 10) : 400;
    uint64_t seed = seeded_random_seed("database_power_cut");
    uint64_t cuts = 0;
    while (cuts < wanted) {
        cuts += run_machine(seed++);
    }
    print_message("%llu power cuts survived\n", (unsigned long long)cuts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_after_a_power_cut_is_one_that_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
