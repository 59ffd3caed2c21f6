/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: a moment and the view that fits it, registered so that pruning, drains and space keep
 * what it may select. Registering takes no lock: a free slot is claimed by one compare-and-swap,
 * announces "pending" (which stops pruning), then its seq.
 */
#ifndef TERN_TXN_SNAPSHOT_H
#define TERN_TXN_SNAPSHOT_H

#include "engine/engine.h"

struct txn_manager;
struct database_view;
struct snapshot_registry;
struct snapshot_slot;

/* A registered snapshot; embedded in a transaction. */
struct snapshot {
    struct engine_moment moment;
    struct database_view *view; /* one reference */
    struct snapshot_slot *slot;
};

TERN_MUST_CHECK tern_status snapshot_registry_create(const tern_allocator *allocator,
                                                     struct snapshot_registry **out_registry,
                                                     tern_error *error);
/* No snapshot may be registered. Accepts NULL. */
void snapshot_registry_destroy(struct snapshot_registry *registry);

/* Takes a snapshot of now. Any thread. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status snapshot_take(struct txn_manager *manager,
                                          struct snapshot *out_snapshot, tern_error *error);
/* Lets it go and empties it; harmless on an empty one. Any thread. */
void snapshot_drop(struct txn_manager *manager, struct snapshot *snapshot);

/*
 * Moves it to now; it stays registered, so nothing can fail. Returns the view that it was on, with
 * the reference, when that is another one now: to be released once nothing is read there any more.
 */
struct database_view *snapshot_renew(struct txn_manager *manager, struct snapshot *snapshot);

/* True once the space policy has ended it: its reads give TERN_SNAPSHOT_TOO_OLD. */
bool snapshot_is_ended(const struct snapshot *snapshot);

/*
 * The live snapshots, ascending, into an array owned by the registry, valid until the next
 * call (one caller at a time: the applier). While one is pending, the list is 0 alone and
 * out_horizon->visible_seq is 0: nothing may be pruned.
 */
void snapshot_registry_horizon(struct snapshot_registry *registry, seq_no visible_seq,
                               struct engine_horizon *out_horizon);

/* The oldest live seq, or SEQ_MAX; and how many there are. Any thread. */
seq_no snapshot_registry_oldest(struct snapshot_registry *registry, size_t *out_count);

/* Marks the oldest snapshots with seq < `below` as ended (space policy). Returns how many. Their
 * views stay referenced until the owners drop them. */
size_t snapshot_registry_end(struct snapshot_registry *registry, seq_no below);

#endif
