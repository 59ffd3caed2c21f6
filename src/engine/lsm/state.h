/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a partition in a manifest: which tables, in which runs. */
#ifndef TERN_ENGINE_LSM_STATE_H
#define TERN_ENGINE_LSM_STATE_H

#include "engine/lsm/version.h"

/* Appends the bytes, about a dozen a table. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status lsm_state_encode(const struct lsm_version *version,
                                             struct buffer *out_state, tern_error *error);
/* Is told of a table that cannot be opened: its keys lie between those of the tables `before` and
 * `after` it in its run, of which each may be NULL. */
typedef void (*lsm_lost_function)(void *context, uint64_t number, const tern_error *detail,
                                  const struct lsm_table *before, const struct lsm_table *after);

/* Opens the tables that a state names. With on_lost those that cannot be opened are left out and
 * told of. */
TERN_MUST_CHECK tern_status lsm_state_open(struct lsm *lsm, tern_slice bytes,
                                           lsm_lost_function on_lost, void *context,
                                           struct lsm_version **out_version, tern_error *error);

#endif
