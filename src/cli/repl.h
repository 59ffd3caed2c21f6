/* SPDX-License-Identifier: Apache-2.0 */
/* Reading commands, from a terminal or from a file, until the end. */
#ifndef TERN_CLI_REPL_H
#define TERN_CLI_REPL_H

#include "cli/session.h"

/* The database is open. Returns the status of the first command that failed, when commands do not
 * come from a terminal; TERN_OK otherwise. */
tern_status repl_run(struct session *session, bool keeps_going);

#endif
