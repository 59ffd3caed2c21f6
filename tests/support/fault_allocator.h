/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocator that fails when told to, and that knows what is live: leaks, foreign pointers and
 * double releases show.
 */
#ifndef TERN_TESTS_FAULT_ALLOCATOR_H
#define TERN_TESTS_FAULT_ALLOCATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <tern/sys/allocator.h>

struct fault_allocator;

struct fault_allocator *fault_allocator_create(void);
const tern_allocator *fault_allocator_interface(struct fault_allocator *allocator);
/* Aborts, naming sizes, when something is live or was misused. Accepts NULL. */
void fault_allocator_destroy(struct fault_allocator *allocator);

/*
 * Lets the `nth` allocation from now (1: the next) fail, and all after it when `sticky`. Resizing
 * counts as an allocation. 0: none fails any more.
 */
void fault_allocator_fail(struct fault_allocator *allocator, uint64_t nth, bool sticky);

/* Allocations and resizings asked for so far, failed ones too. */
uint64_t fault_allocator_calls(struct fault_allocator *allocator);
/* Those that were made to fail. */
uint64_t fault_allocator_failures(struct fault_allocator *allocator);
uint64_t fault_allocator_live_blocks(struct fault_allocator *allocator);
uint64_t fault_allocator_live_bytes(struct fault_allocator *allocator);
/* Most bytes that were ever live at once. */
uint64_t fault_allocator_peak_bytes(struct fault_allocator *allocator);
/* Releases and resizings of what is not live; they are refused and otherwise harmless. */
uint64_t fault_allocator_misuses(struct fault_allocator *allocator);
void fault_allocator_forgive_misuses(struct fault_allocator *allocator);

#endif
