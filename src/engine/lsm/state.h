/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a partition in a manifest: which tables, in which runs. */
#ifndef TERN_ENGINE_LSM_STATE_H
#define TERN_ENGINE_LSM_STATE_H

#include "engine/lsm/version.h"

/* Appends the bytes, about a dozen a table. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status lsm_state_encode(const struct lsm_version *version,
                                             struct buffer *out_state, tern_error *error);
/*
 * Opens the tables that a state names. With `is_lenient` tables that cannot be opened are left out
 * and told to on_lost.
 */
TERN_MUST_CHECK tern_status lsm_state_open(struct lsm *lsm, tern_slice bytes, bool is_lenient,
                                           void (*on_lost)(void *context, uint64_t number,
                                                           const tern_error *detail),
                                           void *context, struct lsm_version **out_version,
                                           tern_error *error);

#endif
