/* SPDX-License-Identifier: Apache-2.0 */
/* begin, commit, rollback: a transaction over several lines of the REPL. */
#include "cli/run.h"

static void report(struct session *session, uint64_t seq) {
    if (session->settings.is_json) {
        struct json_writer json = session_json(session);
        json_begin_object(&json, NULL);
        json_text(&json, "status", "OK");
        if (seq > 0) {
            json_unsigned(&json, "seq", seq);
        }
        json_end_object(&json);
        json_end_line(&json);
    }
}

tern_status run_begin(struct session *session, const struct invocation *invocation) {
    static const tern_isolation levels[] = {TERN_ISOLATION_READ_COMMITTED, TERN_ISOLATION_SNAPSHOT,
                                            TERN_ISOLATION_SERIALIZABLE};
    if (session->txn != NULL) {
        return session_fail(session, TERN_INVALID,
                            "a transaction is open already; commit or rollback first");
    }
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    options.isolation = levels[invocation_number(invocation, OPTION_ISOLATION, 1)];
    options.pessimistic = invocation_has(invocation, OPTION_PESSIMISTIC);
    options.durability = session->settings.durability;
    options.read_only = session->is_read_only;
    if (options.pessimistic && options.read_only) {
        return session_fail(session, TERN_INVALID,
                            "begin: --pessimistic takes locks to write, but the database is open "
                            "--read-only; leave one of them away");
    }
    tern_status status = tern_txn_begin(session->db, &options, &session->txn, &session->error);
    if (status == TERN_OK) {
        report(session, tern_txn_seq(session->txn));
    }
    return status;
}

static tern_status require_txn(struct session *session) {
    return session->txn != NULL
               ? TERN_OK
               : session_fail(session, TERN_INVALID, "no transaction is open; see: help begin");
}

tern_status run_commit(struct session *session, const struct invocation *invocation) {
    (void)invocation;
    tern_status status = require_txn(session);
    if (status != TERN_OK) {
        return status;
    }
    status = tern_txn_commit(session->txn);
    if (status == TERN_NO_MEMORY || status == TERN_DISK_FULL) {
        session_fail_txn(session, status, session->txn);
        session_note(session, "the transaction is still open; commit again, or rollback");
        return status;
    }
    uint64_t seq = tern_txn_seq(session->txn);
    if (status != TERN_OK) {
        session_fail_txn(session, status, session->txn);
    }
    tern_txn_free(session->txn);
    session->txn = NULL;
    session_forget_keyspaces(session);
    if (status == TERN_OK) {
        report(session, seq);
    }
    return status;
}

tern_status run_rollback(struct session *session, const struct invocation *invocation) {
    (void)invocation;
    tern_status status = require_txn(session);
    if (status != TERN_OK) {
        return status;
    }
    tern_txn_free(session->txn);
    session->txn = NULL;
    session_forget_keyspaces(session);
    report(session, 0);
    return TERN_OK;
}
