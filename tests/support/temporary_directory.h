/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of its own for a test on the real file system. */
#ifndef TERN_TESTS_TEMPORARY_DIRECTORY_H
#define TERN_TESTS_TEMPORARY_DIRECTORY_H

/* Makes an empty directory under TMPDIR (else /tmp); the path is the caller's, see remove. */
char *temporary_directory_create(void);

/* Removes the directory with all that is in it, and releases the path. Accepts NULL. */
void temporary_directory_remove(char *path);

#endif
