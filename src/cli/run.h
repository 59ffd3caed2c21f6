/* SPDX-License-Identifier: Apache-2.0 */
/* The functions behind the commands, one each, and how they are called. */
#ifndef TERN_CLI_RUN_H
#define TERN_CLI_RUN_H

#include "cli/session.h"

typedef tern_status (*command_function)(struct session *session,
                                        const struct invocation *invocation);

tern_status run_put(struct session *session, const struct invocation *invocation);
tern_status run_get(struct session *session, const struct invocation *invocation);
tern_status run_delete(struct session *session, const struct invocation *invocation);
tern_status run_scan(struct session *session, const struct invocation *invocation);
tern_status run_count(struct session *session, const struct invocation *invocation);
tern_status run_merge(struct session *session, const struct invocation *invocation);
tern_status run_cas(struct session *session, const struct invocation *invocation);
tern_status run_batch(struct session *session, const struct invocation *invocation);
tern_status run_import(struct session *session, const struct invocation *invocation);
tern_status run_export(struct session *session, const struct invocation *invocation);
tern_status run_keyspace_create(struct session *session, const struct invocation *invocation);
/* What can be said of it without a database. */
tern_status check_keyspace_create(struct session *session, const struct invocation *invocation);
tern_status run_keyspace_convert(struct session *session, const struct invocation *invocation);
tern_status run_keyspace_drop(struct session *session, const struct invocation *invocation);
tern_status run_keyspace_list(struct session *session, const struct invocation *invocation);
tern_status run_keyspace_info(struct session *session, const struct invocation *invocation);
tern_status run_stats(struct session *session, const struct invocation *invocation);
tern_status run_checkpoint(struct session *session, const struct invocation *invocation);
tern_status run_compact(struct session *session, const struct invocation *invocation);
tern_status run_clone(struct session *session, const struct invocation *invocation);
tern_status run_verify(struct session *session, const struct invocation *invocation);
tern_status run_repair(struct session *session, const struct invocation *invocation);
tern_status run_doctor(struct session *session, const struct invocation *invocation);
tern_status run_bench(struct session *session, const struct invocation *invocation);
tern_status run_begin(struct session *session, const struct invocation *invocation);
tern_status run_commit(struct session *session, const struct invocation *invocation);
tern_status run_rollback(struct session *session, const struct invocation *invocation);
tern_status run_help(struct session *session, const struct invocation *invocation);
tern_status run_version(struct session *session, const struct invocation *invocation);
tern_status run_completions(struct session *session, const struct invocation *invocation);
tern_status run_timing(struct session *session, const struct invocation *invocation);
tern_status run_exit(struct session *session, const struct invocation *invocation);

/* Opens what the command needs, runs it with its own settings, and reports its error. */
tern_status run_command(struct session *session, const struct invocation *invocation);
/* The same for a line of the REPL that has been split. */
tern_status run_words(struct session *session, const struct word *words, size_t count);

#endif
