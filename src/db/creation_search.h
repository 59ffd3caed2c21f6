/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking ahead in a log for the creation of a keyspace. Chunks of a large value come before the
 * commit that they belong to; when the same transaction created the keyspace, they are met before
 * it is known.
 */
#ifndef TERN_DB_CREATION_SEARCH_H
#define TERN_DB_CREATION_SEARCH_H

#include "log/log.h"
#include "txn/commit_codec.h"

/*
 * Finds the commit later than `after` that creates keyspace `id`. The change's name lies in
 * `arena`. With `is_salvage` the search goes on behind damage, as repair does. TERN_NOT_FOUND when
 * no commit creates it: its transaction never ended.
 */
TERN_MUST_CHECK tern_status creation_search(const struct log_options *options, log_position start,
                                            bool is_salvage, partition_id id, seq_no after,
                                            struct arena *arena,
                                            struct decoded_catalog_change *out_change,
                                            tern_error *error);

#endif
