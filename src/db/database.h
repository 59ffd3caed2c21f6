/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open database as the public API sees it (public type tern_db).
 */
#ifndef TERN_DB_DATABASE_H
#define TERN_DB_DATABASE_H

#include <tern/db.h>
#include <tern/keyspace.h>

#include "txn/txn_manager.h"

/* Borrowed; lives as long as the database. */
struct txn_manager *database_manager(tern_db *db);

static inline tern_db *database_of(const tern_keyspace *keyspace) {
    return keyspace->manager->database;
}

/*
 * A handle for a keyspace that a transaction is about to create: checks name and options, gives it
 * an id that is never used again and an empty engine. State PENDING; becomes LIVE by the commit
 * (see txn_callbacks.catalog_apply). TERN_INVALID, TERN_NO_MEMORY, TERN_UNSUPPORTED. Names already
 * taken are found at commit (TERN_EXISTS); `database_keyspace_find` tells earlier.
 */
TERN_MUST_CHECK tern_status database_keyspace_pending(tern_db *db, const char *name,
                                                      const tern_keyspace_options *options,
                                                      tern_keyspace **out_keyspace,
                                                      tern_error *error);
/* The creation was rolled back: the handle stays (dropped), its engine goes. */
void database_keyspace_forget(tern_keyspace *keyspace);

/* The live keyspace of a name; TERN_NOT_FOUND without detail. Any thread. */
TERN_MUST_CHECK tern_status database_keyspace_find(tern_db *db, const char *name,
                                                   tern_keyspace **out_keyspace);

#endif
