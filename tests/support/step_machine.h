/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that a database takes from outside, made deterministic by one seed: a power-cut file
 * system with faults in front of it, virtual time, stepped background work, seeded salts.
 */
#ifndef TERN_TESTS_STEP_MACHINE_H
#define TERN_TESTS_STEP_MACHINE_H

#include <tern/sys/allocator.h>
#include <tern/tern.h>

#include "support/fault_file_system.h"
#include "support/power_cut_file_system.h"
#include "support/seeded_random.h"
#include "support/step_executor.h"

#define STEP_MACHINE_DIRECTORY "/db"

struct step_machine {
    struct power_cut_file_system *disk;
    struct fault_file_system *faults; /* in front of the disk */
    struct virtual_clock clock;
    struct step_executor *executor;
    struct seeded_random_source *random;
    const tern_allocator *allocator; /* NULL: the default */
    uint64_t seed;
    tern_db_options options; /* before the seams are put in; small budgets */
};

void step_machine_init(struct step_machine *machine, uint64_t seed);
void step_machine_release(struct step_machine *machine);
/* The machine's options with its seams. */
tern_db_options step_machine_options(struct step_machine *machine);
tern_status step_machine_open(struct step_machine *machine, tern_db **out_db, tern_error *error);
/* Cuts the power, comes up again with what `keep` says. No file may be open. */
void step_machine_cut(struct step_machine *machine, enum power_cut_keep keep, uint64_t seed);
/* Lets background work run, and time pass where nothing is runnable, `rounds` times. */
void step_machine_idle(struct step_machine *machine, unsigned rounds);

#endif
