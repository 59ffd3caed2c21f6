/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that look after a database share. */
#ifndef TERN_CLI_CARE_H
#define TERN_CLI_CARE_H

#include "cli/session.h"

/* A tern_progress_function; `context` is a struct progress. Ctrl-C cancels. */
bool care_progress(void *context, const char *phase, uint64_t done, uint64_t total);

#endif
