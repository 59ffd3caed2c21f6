/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint, compact, clone: long calls of the library, with progress. */
#include "cli/care.h"
#include "cli/interrupt.h"
#include "cli/run.h"

bool care_progress(void *context, const char *phase, uint64_t done, uint64_t total) {
    progress_update(context, phase, done, done, total);
    return !interrupt_is_pending();
}

static void report(struct session *session, const struct progress *progress, const char *target) {
    if (!session->settings.is_json) {
        session_note(session, "done in %.2f s", progress_seconds(progress));
        return;
    }
    struct json_writer json = session_json(session);
    json_begin_object(&json, NULL);
    json_text(&json, "status", "OK");
    if (target != NULL) {
        json_text(&json, "target", target);
    }
    json_end_object(&json);
    json_end_line(&json);
}

static tern_status refuse_in_txn(struct session *session) {
    return session->txn == NULL ? TERN_OK
                                : session_fail(session, TERN_INVALID,
                                               "a transaction is open; commit or rollback first");
}

static tern_status run_care(struct session *session, const struct invocation *invocation) {
    struct progress progress;
    tern_status status = refuse_in_txn(session);
    if (status != TERN_OK) {
        return status;
    }
    const char *target = NULL;
    progress_open(&progress, session->err, session_shows_progress(session), "units");
    switch (invocation->command->id) {
    case COMMAND_CHECKPOINT:
        status = tern_checkpoint(session->db, &session->error);
        break;
    case COMMAND_COMPACT:
        status = tern_compact(session->db, care_progress, &progress, &session->error);
        break;
    default:
        target = invocation->arguments[0].data;
        status = tern_clone(session->db, target, care_progress, &progress, &session->error);
        break;
    }
    progress_close(&progress);
    if (status == TERN_OK) {
        report(session, &progress, target);
    }
    return status;
}

tern_status run_checkpoint(struct session *session, const struct invocation *invocation) {
    return run_care(session, invocation);
}

tern_status run_compact(struct session *session, const struct invocation *invocation) {
    return run_care(session, invocation);
}

tern_status run_clone(struct session *session, const struct invocation *invocation) {
    return run_care(session, invocation);
}
