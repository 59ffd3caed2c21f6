/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in the directory of a database, and copies of databases in the making.
 *
 * A copy (of a clone, of a repair) is written into an empty directory. Its root file gets its name
 * last, when everything else of it is durable: what is cut short before is no database, and cannot
 * be taken for a whole copy.
 */
#ifndef TERN_DB_DATABASE_DIRECTORY_H
#define TERN_DB_DATABASE_DIRECTORY_H

#include <tern/db.h>
#include <tern/sys/file_system.h>

/* Whether there are files that only a database has, besides its root file. A directory that cannot
 * be read has none. */
bool database_directory_is_used(const tern_file_system *file_system, const char *path);

/* TERN_CORRUPTION, for such a directory without a root file. */
tern_status database_directory_say_rootless(const char *path, tern_error *error);

/*
 * Opens a new database for a copy. TERN_EXISTS when the directory is not empty.
 * @param out_db ended with database_copy_end, which publishes it or removes its files.
 */
TERN_MUST_CHECK tern_status database_copy_begin(const char *path, const tern_db_options *options,
                                                tern_db **out_db, tern_error *error);

/* Closes the copy; makes it a database when `status` and the close are TERN_OK, otherwise removes
 * its files. Returns what became of it. */
TERN_MUST_CHECK tern_status database_copy_end(tern_db *db, const char *path,
                                              const tern_file_system *file_system,
                                              tern_status status, tern_error *error);

#endif
