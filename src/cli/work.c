/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions and keyspaces of commands. */
#include "cli/session.h"
#include "cli/suggest.h"
#include <stdlib.h>

tern_status work_begin(struct session *session, bool is_read_only, struct work *out_work) {
    *out_work = (struct work){.session = session, .is_read_only = is_read_only};
    if (session->txn != NULL) {
        out_work->txn = session->txn;
        return TERN_OK;
    }
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    options.read_only = is_read_only;
    options.durability = session->settings.durability;
    out_work->is_own = true;
    return tern_txn_begin(session->db, &options, &out_work->txn, &session->error);
}

tern_status work_check(struct work *work, tern_status status) {
    return status == TERN_OK || status == TERN_NOT_FOUND
               ? status
               : session_fail_txn(work->session, status, work->txn);
}

tern_status work_end(struct work *work, tern_status status) {
    if (!work->is_own) {
        return status;
    }
    if (status == TERN_OK && !work->is_read_only) {
        status = tern_txn_commit(work->txn);
        if (status == TERN_OK) {
            work->seq = tern_txn_seq(work->txn);
        } else {
            session_fail_txn(work->session, status, work->txn);
        }
    }
    tern_txn_free(work->txn);
    work->txn = NULL;
    return status;
}

void work_report(const struct work *work) {
    if (!work->session->settings.is_json || work->session->is_batch) {
        return;
    }
    struct json_writer json = session_json(work->session);
    json_begin_object(&json, NULL);
    json_text(&json, "status", "OK");
    if (work->seq > 0) { /* otherwise nothing was written, or not committed yet */
        json_unsigned(&json, "seq", work->seq);
    }
    json_end_object(&json);
    json_end_line(&json);
}

static bool visit_name(void *context, tern_keyspace *keyspace) {
    suggestion_offer(context, tern_keyspace_name(keyspace));
    return true;
}

static tern_status explain_missing_keyspace(struct session *session, const char *name) {
    struct suggestion suggestion = {.typed = name};
    tern_error ignored = TERN_ERROR_INIT;
    if (tern_keyspace_list(session->db, visit_name, &suggestion, &ignored) != TERN_OK) {
        suggestion.best = NULL;
    }
    struct buffer hint = {0};
    if (!session->is_repl) {
        buffer_print(&hint, "tern -d %.100s ", session->directory);
    }
    buffer_append_text(&hint, "keyspace create");
    tern_status status =
        suggestion.best != NULL
            ? session_fail(session, TERN_NOT_FOUND,
                           "there is no keyspace '%s'; did you mean '%s'? (to create it: %s %s)",
                           name, suggestion.best, buffer_text(&hint), name)
            : session_fail(session, TERN_NOT_FOUND,
                           "there is no keyspace '%s'; to create it: %s %s", name,
                           buffer_text(&hint), name);
    buffer_release(&hint);
    return status;
}

tern_status session_check_name(struct session *session, tern_slice name) {
    if (name.size > 0 && memchr(name.data, '\0', name.size) != NULL) {
        return session_fail(session, TERN_INVALID, "a keyspace name cannot hold a zero byte");
    }
    return TERN_OK;
}

tern_status session_keyspace(struct session *session, tern_slice name,
                             tern_keyspace **out_keyspace) {
    tern_status status = session_check_name(session, name);
    if (status != TERN_OK) {
        return status;
    }
    char *text = memory_text(name.data, name.size);
    for (size_t i = session->new_keyspace_count; i > 0; i--) {
        if (strcmp(session->new_keyspaces[i - 1].name, text) == 0) {
            *out_keyspace = session->new_keyspaces[i - 1].keyspace;
            free(text);
            return TERN_OK;
        }
    }
    status = tern_keyspace_open(session->db, text, out_keyspace, &session->error);
    if (status == TERN_NOT_FOUND) {
        explain_missing_keyspace(session, text);
    }
    free(text);
    return status;
}

tern_status session_create_keyspace(struct session *session, tern_slice name,
                                    const tern_keyspace_options *options,
                                    tern_keyspace **out_keyspace) {
    tern_status status = session_check_name(session, name);
    if (status != TERN_OK) {
        return status;
    }
    char *text = memory_text(name.data, name.size);
    if (session->txn == NULL) {
        status = tern_keyspace_create(session->db, text, options, out_keyspace, &session->error);
        free(text);
        return status;
    }
    status = tern_txn_keyspace_create(session->txn, text, options, out_keyspace);
    if (status != TERN_OK) {
        free(text);
        return session_fail_txn(session, status, session->txn);
    }
    session->new_keyspaces =
        memory_resize(session->new_keyspaces,
                      (session->new_keyspace_count + 1) * sizeof(session->new_keyspaces[0]));
    session->new_keyspaces[session->new_keyspace_count++] =
        (struct new_keyspace){text, *out_keyspace};
    return TERN_OK;
}

void session_forget_keyspaces(struct session *session) {
    for (size_t i = 0; i < session->new_keyspace_count; i++) {
        free(session->new_keyspaces[i].name);
    }
    free(session->new_keyspaces);
    session->new_keyspaces = NULL;
    session->new_keyspace_count = 0;
}
