/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An executor that runs nothing by itself: a test steps it, and which of the runnable tasks runs
 * next is drawn from a seed. Sleeping tasks wake by a virtual clock.
 *
 * Post and cancel may come from any thread; steps from one at a time.
 */
#ifndef TERN_TESTS_STEP_EXECUTOR_H
#define TERN_TESTS_STEP_EXECUTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/sys/executor.h>

#include "support/virtual_clock.h"

struct step_executor;

/* The clock must outlive the executor. */
struct step_executor *step_executor_create(uint64_t seed, struct virtual_clock *clock);
const tern_executor *step_executor_interface(struct step_executor *executor);
/* Tasks that still wait are forgotten. Accepts NULL. */
void step_executor_destroy(struct step_executor *executor);

/* Runs one slice of one runnable task; false when there is none. Time stands still. */
bool step_executor_step(struct step_executor *executor);
/* Runs slices until nothing is runnable, or `steps_max` were run; returns how many. */
uint64_t step_executor_run(struct step_executor *executor, uint64_t steps_max);
/* Moves the clock to when the next sleeper is due; false when nobody sleeps. */
bool step_executor_pass_time(struct step_executor *executor);

size_t step_executor_runnable(struct step_executor *executor);
size_t step_executor_sleeping(struct step_executor *executor);
/* Slices run so far. */
uint64_t step_executor_steps(struct step_executor *executor);

#endif
