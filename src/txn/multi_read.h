/* SPDX-License-Identifier: Apache-2.0 */
/* Reading many keys of a keyspace at one moment, interleaved by the engine. */
#ifndef TERN_TXN_MULTI_READ_H
#define TERN_TXN_MULTI_READ_H

#include <tern/txn.h>

#include "txn/point_read.h"

/* Says whether a request has been answered otherwise; false: it is read. */
typedef bool (*multi_read_filter)(void *context, tern_get_request *request, uint64_t key_hash);

/*
 * Answers `requests` at the snapshot, or (NULL) at one moment of now. `is_answered` may be NULL; it
 * can be asked about a request again.
 */
TERN_MUST_CHECK tern_status multi_read(struct txn_manager *manager, const struct snapshot *snapshot,
                                       const tern_keyspace *keyspace, tern_get_request *requests,
                                       size_t count, multi_read_filter is_answered, void *context,
                                       tern_error *error);

#endif
