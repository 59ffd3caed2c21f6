/* SPDX-License-Identifier: Apache-2.0 */
#include "support/step_machine.h"

#include "support/random_workload.h"

void step_machine_init(struct step_machine *machine, uint64_t seed) {
    *machine = (struct step_machine){.seed = seed, .options = TERN_DB_OPTIONS_INIT};
    random_workload_options(&machine->options);
    machine->disk = power_cut_create(seed);
    machine->faults = fault_file_system_create(power_cut_interface(machine->disk));
    virtual_clock_init(&machine->clock);
    machine->executor = step_executor_create(seed, &machine->clock);
    machine->random = seeded_random_source_create(seed);
}

void step_machine_release(struct step_machine *machine) {
    seeded_random_source_destroy(machine->random);
    step_executor_destroy(machine->executor);
    fault_file_system_destroy(machine->faults);
    power_cut_destroy(machine->disk);
    *machine = (struct step_machine){0};
}

tern_db_options step_machine_options(struct step_machine *machine) {
    tern_db_options options = machine->options;
    options.allocator = machine->allocator;
    options.file_system = fault_file_system_interface(machine->faults);
    options.clock = virtual_clock_interface(&machine->clock);
    options.random = seeded_random_source_interface(machine->random);
    options.executor = step_executor_interface(machine->executor);
    return options;
}

tern_status step_machine_open(struct step_machine *machine, tern_db **out_db, tern_error *error) {
    tern_db_options options = step_machine_options(machine);
    return tern_open(STEP_MACHINE_DIRECTORY, &options, out_db, error);
}

void step_machine_cut(struct step_machine *machine, enum power_cut_keep keep, uint64_t seed) {
    struct power_cut_file_system *found = power_cut_keeping(machine->disk, keep, seed);
    fault_file_system_destroy(machine->faults);
    power_cut_destroy(machine->disk);
    machine->disk = found;
    machine->faults = fault_file_system_create(power_cut_interface(found));
}

void step_machine_idle(struct step_machine *machine, unsigned rounds) {
    for (unsigned i = 0; i < rounds; i++) {
        (void)step_executor_run(machine->executor, 200);
        (void)step_executor_pass_time(machine->executor);
    }
}
