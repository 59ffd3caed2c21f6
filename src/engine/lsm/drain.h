/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a frozen overlay as a run of tables, a quantum at a time. Maintenance role. */
#ifndef TERN_ENGINE_LSM_DRAIN_H
#define TERN_ENGINE_LSM_DRAIN_H

#include "engine/lsm/output.h"
#include "engine/lsm/version.h"
#include "engine/overlay/overlay_stack.h"

struct lsm_drain {
    struct lsm *lsm;
    struct shared_overlay *source;
    struct lsm_version *below; /* what older data there is */
    struct overlay_iterator keys;
    struct lsm_range *ranges;
    uint32_t range_count;
    struct lsm_output output;
    struct engine_scratch scratch;
    struct buffer garbage; /* u64 numbers of value files that nothing needs any more */
    uint64_t merged_keys;
    bool is_done;
};

TERN_MUST_CHECK tern_status lsm_drain_start(struct lsm *lsm, struct shared_overlay *source,
                                            struct lsm_version *below, struct lsm_drain **out_drain,
                                            tern_error *error);
TERN_MUST_CHECK tern_status lsm_drain_run(struct lsm_drain *drain, size_t quantum_bytes,
                                          tern_error *error);
/* Removes what was written unless output.is_kept. Accepts NULL. */
void lsm_drain_destroy(struct lsm_drain *drain);

/* Finishes a resolution that its source does not complete, with what the runs of `below` from
 * `first_run` on have. What merges to nothing is a DELETE, or an empty PUT that has expired, when
 * the operands went with a value that has. Releases the resolution. */
TERN_MUST_CHECK tern_status lsm_fold_below(struct lsm_version *below, uint32_t first_run,
                                           tern_slice key, struct resolution *resolution,
                                           uint64_t time_ms, struct engine_scratch *scratch,
                                           struct record *out_record, tern_error *error);

#endif
