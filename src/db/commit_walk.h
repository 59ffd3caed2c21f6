/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commits of a log, one after the other, for who looks into it before (or without) replaying
 * it. What cannot be decoded is left out: whoever reads the log for good meets it again.
 */
#ifndef TERN_DB_COMMIT_WALK_H
#define TERN_DB_COMMIT_WALK_H

#include "log/log.h"
#include "txn/commit_codec.h"

/* `kind`: LOG_RECORD_COMMIT or LOG_RECORD_COPY. What `commit` holds lives during the call. */
typedef tern_status (*commit_visitor)(void *context, enum log_record_kind kind,
                                      const struct decoded_commit *commit);

/* From `start` on; `is_salvage`: goes on behind damage. Fails as log_scan() and `visit` do. */
TERN_MUST_CHECK tern_status commit_walk(const struct log_options *options, log_position start,
                                        bool is_salvage, commit_visitor visit, void *context,
                                        tern_error *error);

#endif
