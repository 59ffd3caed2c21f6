/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epoch-based reclamation (Fraser, "Practical lock-freedom", 2004): readers announce that they are
 * inside, writers put what they unlinked into limbo, and it is released once every reader that was
 * inside at that time has left. Entering takes no lock and no shared counter: each thread has a
 * slot of its own cache line per domain, found through a thread-local cache and given back when the
 * thread ends.
 */
#ifndef TERN_OS_EPOCH_H
#define TERN_OS_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <tern/error.h>

#include "base/memory.h"

struct epoch_domain;

/* One thread's announcement. `local` is 0 outside, else the epoch at entry. */
struct epoch_slot {
    _Atomic uint64_t local;
    uint32_t depth; /* enters nest */
    uint32_t reserved;
    struct epoch_domain *domain;
    _Atomic uint64_t owner; /* private: 0 when the slot is free */
} __attribute__((aligned(64)));

/* A thing in limbo; embedded in it. */
struct epoch_node {
    struct epoch_node *next;
    uint64_t epoch;
    void (*release)(struct epoch_node *node);
};

TERN_MUST_CHECK tern_status epoch_domain_create(const tern_allocator *allocator,
                                                struct epoch_domain **out_domain,
                                                tern_error *error);
/* Releases all limbo. No thread may be inside. Accepts NULL. */
void epoch_domain_destroy(struct epoch_domain *domain);

/*
 * Enters; nests. Never fails: when no slot can be had (out of memory) a shared overflow slot with a
 * lock is used. Must be left on the same thread.
 */
struct epoch_slot *epoch_enter(struct epoch_domain *domain);
void epoch_exit(struct epoch_slot *slot);

/* Puts a node into limbo; `release` is called later, outside of locks, from epoch_reclaim. */
void epoch_retire(struct epoch_domain *domain, struct epoch_node *node,
                  void (*release)(struct epoch_node *node));

/* The current epoch: things unlinked before this call are unreachable once epoch_is_past(value). */
uint64_t epoch_current(struct epoch_domain *domain);
bool epoch_is_past(struct epoch_domain *domain, uint64_t epoch);

/* Tries to advance and releases what it can; cheap when there is nothing. Any thread, also inside
 * (then it cannot advance past the caller). Returns how many nodes were released. */
uint64_t epoch_reclaim(struct epoch_domain *domain);

/* Waits until everyone inside now has left. Must not be called inside. */
void epoch_synchronize(struct epoch_domain *domain);

/*
 * Waits until all that was retired before has been released, by this thread or another that is at
 * it, and what these releases retired. Called by who takes away what releases need. Neither inside
 * nor in a release.
 */
void epoch_drain(struct epoch_domain *domain);

#endif
