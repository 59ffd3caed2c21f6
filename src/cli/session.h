/* SPDX-License-Identifier: Apache-2.0 */
/* What commands share while the process runs: streams, settings, the open database, and in the REPL
 * the transaction that was begun. Belongs to one thread. */
#ifndef TERN_CLI_SESSION_H
#define TERN_CLI_SESSION_H

#include "cli/bytes_format.h"
#include "cli/fail.h"
#include "cli/invocation.h"
#include "cli/json_writer.h"
#include "cli/progress.h"
#include <stdio.h>
#include <tern/tern.h>

struct settings {
    bool is_json;
    bool is_quiet;
    bool has_timing;
    bool has_progress;
    tern_durability durability;
};

/* A keyspace created by the transaction that is still open, so that it can be found by name. */
struct new_keyspace {
    char *name;
    tern_keyspace *keyspace;
};

struct session {
    FILE *out;
    FILE *err;
    struct settings settings;
    bool is_repl;
    bool is_leaving; /* the REPL ends after this command */
    bool is_batch;   /* a batch runs: its operations report nothing each */
    bool is_read_only;
    bool has_color; /* on `out` */
    bool has_error_color;
    tern_db_options options; /* what the command line says about how to open */
    const char *directory;   /* NULL: not given */
    tern_db *db;
    tern_txn *txn; /* begun in the REPL or by a batch; commands join it */
    struct new_keyspace *new_keyspaces;
    size_t new_keyspace_count;
    tern_error error;
    bool is_error_told; /* the command has said itself what was wrong */
};

void session_open(struct session *session, FILE *out, FILE *err);
/* Takes over options that stand before the first command. */
void session_configure(struct session *session, const struct invocation *invocation);
/* Settings of one command; put them back afterwards. */
void settings_apply(struct settings *settings, const struct invocation *invocation);
/* Opens the database unless it is open. */
tern_status session_open_database(struct session *session, enum command_use use);
/* Ends transaction and database. The status of the close. */
tern_status session_close_database(struct session *session);
void session_close(struct session *session);

/* Records what is wrong; returns the status. */
__attribute__((format(printf, 3, 4))) tern_status
session_fail(struct session *session, tern_status status, const char *format, ...);
/* Takes over the detail of a transaction's last failure. */
tern_status session_fail_txn(struct session *session, tern_status status, const tern_txn *txn);
/* Prints the recorded error for `status`, as text or JSON, unless it has been told. */
void session_report(struct session *session, tern_status status);
/* A remark on standard error; silent with --quiet and --json. */
__attribute__((format(printf, 2, 3))) void session_note(const struct session *session,
                                                        const char *format, ...);
bool session_shows_progress(const struct session *session);
struct json_writer session_json(const struct session *session);

/* A name that no database could have. */
tern_status session_check_name(struct session *session, tern_slice name);
/* Finds a keyspace, also one that the open transaction has created. */
tern_status session_keyspace(struct session *session, tern_slice name,
                             tern_keyspace **out_keyspace);
/* Creates one in the session's transaction, or in one of its own. */
tern_status session_create_keyspace(struct session *session, tern_slice name,
                                    const tern_keyspace_options *options,
                                    tern_keyspace **out_keyspace);
/* Forgets the keyspaces of a transaction that has ended. */
void session_forget_keyspaces(struct session *session);

/* The transaction of a command: the one that is open, or one of its own. */
struct work {
    struct session *session;
    tern_txn *txn;
    bool is_own;
    bool is_read_only;
    uint64_t seq; /* after a commit of its own */
};

tern_status work_begin(struct session *session, bool is_read_only, struct work *out_work);
/* Commits a transaction of its own when `status` is TERN_OK, otherwise rolls it back, and returns
 * what became of it. TERN_NOT_FOUND and errors of the session pass through. */
tern_status work_end(struct work *work, tern_status status);
/* Passes TERN_OK and TERN_NOT_FOUND; records the detail of anything else. */
tern_status work_check(struct work *work, tern_status status);
/* {"status":"OK","seq":N} with --json, nothing otherwise. */
void work_report(const struct work *work);

/* Decodes an argument as an option says. */
tern_status session_decode(struct session *session, const struct invocation *invocation,
                           enum option_id format_option, enum bytes_format fallback,
                           tern_slice text, const char *what, struct buffer *bytes);
enum bytes_format invocation_format(const struct invocation *invocation, enum option_id id,
                                    enum bytes_format fallback);

/* A range of keys from --prefix, --from, --to; ends with key_range_release(). */
struct key_range {
    struct buffer begin, end;
    tern_slice begin_slice, end_slice;
    bool has_begin, has_end;
};
tern_status key_range_open(struct session *session, const struct invocation *invocation,
                           struct key_range *out_range);
const tern_slice *key_range_begin(const struct key_range *range); /* NULL: unbounded */
const tern_slice *key_range_end(const struct key_range *range);
void key_range_release(struct key_range *range);

#endif
