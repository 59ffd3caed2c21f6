/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that are transactions of their own. Reads take no snapshot, blind writes validate
 * nothing and go to the commit queue from the stack.
 */
#ifndef TERN_TXN_SINGLE_OPERATION_H
#define TERN_TXN_SINGLE_OPERATION_H

#include <tern/txn.h>

#include "txn/txn_manager.h"

TERN_MUST_CHECK tern_status single_get(tern_keyspace *keyspace, tern_slice key, void *buffer,
                                       size_t capacity, size_t *out_size, tern_error *error);
TERN_MUST_CHECK tern_status single_get_pinned(tern_keyspace *keyspace, tern_slice key,
                                              tern_value *out_value, tern_error *error);
TERN_MUST_CHECK tern_status single_multi_get(tern_keyspace *keyspace, tern_get_request *requests,
                                             size_t count, tern_error *error);

/* `durability` TERN_DURABILITY_DEFAULT: of the database. */
TERN_MUST_CHECK tern_status single_put(tern_keyspace *keyspace, tern_slice key, tern_slice value,
                                       uint64_t ttl_ms, tern_durability durability,
                                       tern_error *error);
TERN_MUST_CHECK tern_status single_delete(tern_keyspace *keyspace, tern_slice key,
                                          tern_durability durability, tern_error *error);
TERN_MUST_CHECK tern_status single_delete_range(tern_keyspace *keyspace, const tern_slice *begin,
                                                const tern_slice *end, tern_durability durability,
                                                tern_error *error);
TERN_MUST_CHECK tern_status single_merge(tern_keyspace *keyspace, tern_slice key,
                                         tern_merge_kind kind, tern_slice operand,
                                         tern_durability durability, tern_error *error);
TERN_MUST_CHECK tern_status single_compare_and_set(tern_keyspace *keyspace, tern_slice key,
                                                   const tern_slice *expected,
                                                   const tern_slice *desired, uint64_t ttl_ms,
                                                   tern_durability durability,
                                                   tern_value *out_current, tern_error *error);

#endif
