/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyspaces that are set aside: their drain fails, and everybody else goes on. Maintenance role,
 * where nothing else is said.
 */
#ifndef TERN_DB_ASIDE_H
#define TERN_DB_ASIDE_H

#include "log/log.h"
#include "txn/keyspace.h"

struct tern_db;

/* A step of the keyspace's drain has failed. True: it is set aside, the checkpoint goes on without
 * it; false: the checkpoint waits, and tries again. */
bool aside_take(struct tern_db *db, tern_keyspace *keyspace, tern_status status,
                const tern_error *failure);
/* A whole checkpoint has ended: who was drained in it is not aside any more. */
void aside_settle(struct tern_db *db);
/* The log from here on is kept for those that the checkpoint under way could not drain. */
log_position aside_kept_from(struct tern_db *db);
/* Why one of them is; TERN_OK when there is none. Any thread. */
TERN_MUST_CHECK tern_status aside_tell(struct tern_db *db, tern_error *error);
/* How many there are, and what their overlays take. Any thread. */
uint32_t aside_count(const struct tern_db *db);
uint64_t aside_bytes(const struct tern_db *db);

#endif
