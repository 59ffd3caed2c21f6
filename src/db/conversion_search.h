/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking into a log for the end of a conversion, as repair must, which cannot wait for it: bases
 * are saved before the log is read.
 */
#ifndef TERN_DB_CONVERSION_SEARCH_H
#define TERN_DB_CONVERSION_SEARCH_H

#include "log/log.h"
#include "txn/commit_codec.h"

/*
 * Whether the log says that a keyspace has become partition `target`: by the commit of the
 * conversion, or by a later one that writes to it. Goes on behind damage.
 */
TERN_MUST_CHECK tern_status conversion_search(const struct log_options *options, log_position start,
                                              partition_id target, bool *out_found,
                                              tern_error *error);

#endif
