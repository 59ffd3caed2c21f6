/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a partition and how long each is needed. A file lives over an interval [born,
 * superseded) of view generations and is removed when no live one lies inside. Value files are
 * pending until a version refers to them. Any thread.
 */
#ifndef TERN_ENGINE_LSM_FILE_REGISTRY_H
#define TERN_ENGINE_LSM_FILE_REGISTRY_H

#include "engine/lsm/lsm.h"

TERN_MUST_CHECK tern_status file_registry_create(struct lsm *lsm,
                                                 struct file_registry **out_registry,
                                                 tern_error *error);
/* Forgets; files stay. Accepts NULL. */
void file_registry_destroy(struct file_registry *registry);

/* `is_new`: has to be synced before a manifest may name it. */
TERN_MUST_CHECK tern_status file_registry_add(struct file_registry *registry, uint64_t number,
                                              enum lsm_file_kind kind, uint64_t bytes, bool is_new,
                                              tern_error *error);
/* A file that nothing names: goes at the next release. */
TERN_MUST_CHECK tern_status file_registry_add_orphan(struct file_registry *registry,
                                                     uint64_t number, enum lsm_file_kind kind,
                                                     tern_error *error);
bool file_registry_knows(struct file_registry *registry, uint64_t number);
void file_registry_forget(struct file_registry *registry, uint64_t number);
void file_registry_set_bytes(struct file_registry *registry, uint64_t number, uint64_t bytes);
uint64_t file_registry_file_bytes(struct file_registry *registry, uint64_t number);
/* Is not needed by views of `generation` and later. */
void file_registry_supersede(struct file_registry *registry, uint64_t number, uint64_t generation);
/* Generation from which on files created now may be seen. */
void file_registry_set_generation(struct file_registry *registry, uint64_t generation);
/* Makes all new files durable, and their names; `out_in_doubt` as in the engine's `sync`. */
TERN_MUST_CHECK tern_status file_registry_sync(struct file_registry *registry, bool *out_in_doubt,
                                               tern_error *error);
/* Removes files that no live generation needs, some hundreds at most; true: there may be more. */
bool file_registry_release(struct file_registry *registry, const uint64_t *live, size_t live_count);

struct file_registry_totals {
    uint64_t files, bytes, pending_bytes, value_bytes;
};
void file_registry_get_totals(struct file_registry *registry,
                              struct file_registry_totals *out_totals);

#endif
