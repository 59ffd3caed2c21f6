/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file tern.h
 * The whole public API of Tern, an embedded transactional key-value database.
 *
 * @code
 * tern_db *db;
 * tern_error error = TERN_ERROR_INIT;
 * tern_db_options options = TERN_DB_OPTIONS_INIT;
 * options.create_if_missing = true;
 * if (tern_open("data", &options, &db, &error) != TERN_OK) ...
 * @endcode
 *
 * What holds everywhere:
 * - A handle, name, path or output that is missing (NULL) where nothing says that it may be, is
 *   TERN_INVALID in calls that return a status. Calls that close, release or free accept NULL; the
 *   few that return something else (tern_keyspace_name() and the like) need a valid handle.
 * - Outputs are untouched when a call fails, and `error`, which may be NULL, when it succeeds.
 * - Options are structs that begin with their size: initialise them with their _INIT macro. One of
 *   an older release is understood, a larger one than the library knows is TERN_INVALID.
 * - Paths are strings as open(2) takes them, names UTF-8; keys and values are any bytes.
 */
#ifndef TERN_TERN_H
#define TERN_TERN_H

#include <tern/cursor.h>
#include <tern/db.h>
#include <tern/error.h>
#include <tern/hook.h>
#include <tern/keyspace.h>
#include <tern/slice.h>
#include <tern/stats.h>
#include <tern/status.h>
#include <tern/txn.h>
#include <tern/value.h>

#endif
