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
