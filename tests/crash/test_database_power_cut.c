/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 * ctest: more=release TERN_CRASHES=10000 1800
 *
 * The power is cut at a random file-system call under random work (see random_workload.h), again
 * and again during recovery, during a repair into another directory, and after a clone. The
 * database must be in a state that was: every acknowledged durable commit in it, all or nothing of
 * each transaction, nothing out of order. What was repaired goes on as the database; what was
 * cloned is what it was a copy of.
 *
 * TERN_CRASHES says how many cuts (default 400).
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/cmocka_test.h"
#include "support/power_cut_file_system.h"
#include "support/random_workload.h"

#define LIVES_MAX     4
#define CUTS_IN_A_ROW 3

/* A copy that was acknowledged. */
struct copy {
    bool exists;
    char directory[32];
    struct model_state state;
};

struct machine {
    struct power_cut_file_system *disk;
    struct virtual_clock clock;
    struct step_executor *executor;
    struct seeded_random_source *random;
    struct random_workload work;
    uint64_t seed;
    uint64_t cuts;
    char directory[32]; /* of the database; a repair moves it */
    unsigned directories;
    struct copy copy;
};

/* What all machines of a run did. */
struct tally {
    uint64_t cuts;
    uint64_t cuts_in_recovery;
    uint64_t cuts_in_repair;
    uint64_t repairs;
    uint64_t copies;
    uint64_t conversions;
};

static void report(const struct machine *machine, const char *what) {
    print_error("TERN_SEED=%llu, cut %llu: %s\n", (unsigned long long)machine->seed,
                (unsigned long long)machine->cuts, what);
}

static uint64_t below(struct machine *machine, uint64_t bound) {
    return seeded_random_below(&machine->work.random, bound);
}

static tern_db_options options_of(struct machine *machine) {
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    random_workload_options(&options);
    options.file_system = power_cut_interface(machine->disk);
    options.clock = virtual_clock_interface(&machine->clock);
    options.random = seeded_random_source_interface(machine->random);
    options.executor = step_executor_interface(machine->executor);
    options.direct_log_syncs = machine->seed % 4 != 0 ? (uint32_t)(machine->seed % 4) : 0;
    return options;
}

static tern_status open_database(struct machine *machine, tern_db **out_db, tern_error *error) {
    tern_db_options options = options_of(machine);
    return tern_open(machine->directory, &options, out_db, error);
}

static void new_directory(struct machine *machine, char out_name[32]) {
    (void)snprintf(out_name, 32, "/db%u", machine->directories++);
}

/* In the call that is to come within so many. */
static void arm(struct machine *machine, uint64_t calls) {
    power_cut_arm(machine->disk, power_cut_calls(machine->disk) + 1 + below(machine, calls));
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
static tern_db *recover(struct machine *machine, struct tally *tally) {
    tern_db *db = NULL;
    tern_error error = TERN_ERROR_INIT;
    for (int attempt = 0;; attempt++) {
        if (attempt < CUTS_IN_A_ROW && below(machine, 2) == 0) {
            arm(machine, below(machine, 8) == 0 ? 200 : 24);
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
        tally->cuts_in_recovery++;
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

/*
 * Saves what a cut left into a new directory, which is the database from then on. Cut short, it is
 * no loss: the source has not changed, and what was not finished is never looked at again.
 */
static void repair(struct machine *machine, struct tally *tally) {
    char target[32];
    tern_repair_report found;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = options_of(machine);
    bool is_cut = below(machine, 3) == 0;
    new_directory(machine, target);
    power_cut_arm(machine->disk, 0);
    if (is_cut) {
        arm(machine, below(machine, 2) == 0 ? 400 : 60);
    }
    tern_status status = tern_repair(machine->directory, target, &options, count_finding, machine,
                                     NULL, NULL, &found, &error);
    if (power_cut_is_off(machine->disk)) {
        power_up(machine);
        tally->cuts_in_repair++;
        return;
    }
    if (status != TERN_OK) {
        report(machine, error.message);
        fail();
    }
    if (getenv("TERN_TRACE") != NULL) {
        print_error("  repaired: %llu keyspaces, %llu records, %llu log records, lost %llu pages, "
                    "%llu records\n",
                    (unsigned long long)found.keyspaces, (unsigned long long)found.records,
                    (unsigned long long)found.log_records, (unsigned long long)found.lost_pages,
                    (unsigned long long)found.lost_records);
    }
    tally->repairs++;
    memcpy(machine->directory, target, sizeof(target));
    if (below(machine, 2) == 0) { /* what was reported as saved is on the device */
        power_cut_now(machine->disk);
        power_up(machine);
    }
}

static void copy(struct machine *machine, tern_db *db) {
    struct copy *copy = &machine->copy;
    tern_error error = TERN_ERROR_INIT;
    if (copy->exists) {
        return;
    }
    new_directory(machine, copy->directory);
    if (tern_clone(db, copy->directory, NULL, NULL, &error) == TERN_OK) {
        copy->exists = true;
        copy->state = machine->work.history.next;
    } else if (error.status == TERN_CORRUPTION) {
        report(machine, error.message);
        fail();
    }
}

/* The copy is what it was a copy of, whatever has happened since. */
static void check_copy(struct machine *machine, struct tally *tally) {
    tern_db *db;
    char text[300] = "";
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = options_of(machine);
    tern_keyspace *keyspace;
    if (!machine->copy.exists) {
        return;
    }
    machine->copy.exists = false;
    options.create_if_missing = false;
    if (tern_open(machine->copy.directory, &options, &db, &error) != TERN_OK) {
        report(machine, error.message);
        fail();
    }
    /* A commit at a later time, so that what is short-lived has expired. */
    virtual_clock_advance_ns(&machine->clock, (uint64_t)10 * MODEL_SHORT_TTL_MS * 1000000);
    assert_int_equal(tern_keyspace_create(db, "copied", NULL, &keyspace, &error), TERN_OK);
    if (!model_matches(db, &machine->copy.state, text, sizeof(text))) {
        report(machine, "a copy differs:");
        report(machine, text);
        fail();
    }
    assert_int_equal(tern_close(db, &error), TERN_OK);
    tally->copies++;
}

static void live(struct machine *machine, tern_db *db) {
    bool is_long = below(machine, 10) == 0;
    uint64_t steps = 5 + below(machine, is_long ? 900 : 120);
    arm(machine, is_long ? 1500 : 160);
    while (steps-- > 0 && random_workload_step(&machine->work, db)) {
        if (below(machine, 150) == 0) {
            copy(machine, db);
        }
    }
    if (machine->work.error.status == TERN_CORRUPTION || machine->work.saw_wrong_data) {
        report(machine, machine->work.error.message);
        fail();
    }
    if (!power_cut_is_off(machine->disk)) {
        power_cut_now(machine->disk);
    }
    random_workload_end_snapshots(&machine->work);
    (void)tern_close(db, NULL);
}

static void run_machine(uint64_t seed, struct tally *tally) {
    struct machine machine = {.seed = seed};
    machine.disk = power_cut_create(seed);
    virtual_clock_init(&machine.clock);
    machine.executor = step_executor_create(seed, &machine.clock);
    machine.random = seeded_random_source_create(seed);
    random_workload_init(&machine.work, seed);
    machine.work.executor = machine.executor;
    machine.work.clock = &machine.clock;
    machine.work.allows_compact = true;
    machine.work.allows_convert = true;
    machine.work.is_wide = true;
    new_directory(&machine, machine.directory);
    uint64_t lives = 1 + below(&machine, LIVES_MAX);
    for (uint64_t life = 0; life < lives; life++) {
        tern_db *db = recover(&machine, tally);
        check(&machine, db);
        live(&machine, db);
        power_up(&machine);
        check_copy(&machine, tally);
        if (below(&machine, 8) == 0) {
            repair(&machine, tally);
        }
    }
    tern_db *db = recover(&machine, tally);
    check(&machine, db);
    assert_int_equal(tern_close(db, NULL), TERN_OK);
    tally->cuts += machine.cuts;
    tally->conversions += machine.work.conversions;
    random_workload_release(&machine.work);
    seeded_random_source_destroy(machine.random);
    step_executor_destroy(machine.executor);
    power_cut_destroy(machine.disk);
}

static void every_state_after_a_power_cut_is_one_that_was(void **state) {
    (void)state;
    const char *wanted_text = getenv("TERN_CRASHES");
    uint64_t wanted = wanted_text != NULL ? strtoull(wanted_text, NULL, 10) : 400;
    uint64_t seed = seeded_random_seed("database_power_cut");
    struct tally tally = {0};
    for (uint64_t told = 0; tally.cuts < wanted;) {
        run_machine(seed++, &tally);
        if (tally.cuts - told >= 2000) {
            told = tally.cuts;
            print_message("%llu power cuts ...\n", (unsigned long long)told);
        }
    }
    print_message("%llu power cuts survived: %llu in recovery, %llu in a repair; %llu repaired, "
                  "%llu copies, %llu conversions\n",
                  (unsigned long long)tally.cuts, (unsigned long long)tally.cuts_in_recovery,
                  (unsigned long long)tally.cuts_in_repair, (unsigned long long)tally.repairs,
                  (unsigned long long)tally.copies, (unsigned long long)tally.conversions);
    if (wanted >= 400) { /* the mix is what it claims to be */
        assert_true(tally.cuts_in_recovery > 0 && tally.cuts_in_repair > 0);
        assert_true(tally.repairs > 0 && tally.copies > 0 && tally.conversions > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_after_a_power_cut_is_one_that_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
