/* SPDX-License-Identifier: Apache-2.0 */
/* What import and export have in common. */
#ifndef TERN_CLI_TRANSFER_H
#define TERN_CLI_TRANSFER_H

#include "cli/record.h"
#include "cli/session.h"

/* Values above this go through memory a chunk at a time. */
#define TRANSFER_LARGE_BYTES ((uint64_t)1 << 20)

/* KEYSPACE and FILE of the arguments; with --all only FILE. `out_keyspace` has no data then. */
tern_status transfer_arguments(struct session *session, const struct invocation *invocation,
                               tern_slice *out_keyspace, const char **out_path);
/* Options of the command line, the format by the file's name where it was not given. */
tern_status transfer_options(struct session *session, const struct invocation *invocation,
                             const char *path, struct record_options *out_options);

#endif
