/* SPDX-License-Identifier: Apache-2.0 */
/* The base cursor over a version: merges its runs into one final record for each key. */
#ifndef TERN_ENGINE_LSM_CURSOR_H
#define TERN_ENGINE_LSM_CURSOR_H

#include "engine/lsm/version.h"
#include "engine/overlay/merge_cursor.h"

/* Judges expiry at time_ms, as far as merges need it; expired records without merges are handed
 * out. Holds the version. beside_cache: reads without the cache, and needs no epoch. */
TERN_MUST_CHECK tern_status lsm_cursor_open(struct lsm_version *version, uint64_t time_ms,
                                            bool beside_cache, struct base_cursor **out_cursor,
                                            tern_error *error);

/*
 * For compactions: hands out what the version has of each key as it would be stored in its place:
 * also deletes, and operand lists that no value in the version completes. Merges that one completes
 * are done as of time_ms; values that have expired by then are handed out. Reads beside the cache.
 */
TERN_MUST_CHECK tern_status lsm_cursor_open_raw(struct lsm_version *version, uint64_t time_ms,
                                                struct base_cursor **out_cursor, tern_error *error);

#endif
