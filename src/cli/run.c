/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run.h"

#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/quantity.h"
#include "cli/terminal.h"
#include <errno.h>

static const command_function functions[COMMAND_IDS] = {
    [COMMAND_PUT] = run_put,
    [COMMAND_GET] = run_get,
    [COMMAND_DELETE] = run_delete,
    [COMMAND_SCAN] = run_scan,
    [COMMAND_COUNT] = run_count,
    [COMMAND_MERGE] = run_merge,
    [COMMAND_CAS] = run_cas,
    [COMMAND_BATCH] = run_batch,
    [COMMAND_IMPORT] = run_import,
    [COMMAND_EXPORT] = run_export,
    [COMMAND_KEYSPACE_CREATE] = run_keyspace_create,
    [COMMAND_KEYSPACE_CONVERT] = run_keyspace_convert,
    [COMMAND_KEYSPACE_DROP] = run_keyspace_drop,
    [COMMAND_KEYSPACE_LIST] = run_keyspace_list,
    [COMMAND_KEYSPACE_INFO] = run_keyspace_info,
    [COMMAND_STATS] = run_stats,
    [COMMAND_CHECKPOINT] = run_checkpoint,
    [COMMAND_COMPACT] = run_compact,
    [COMMAND_CLONE] = run_clone,
    [COMMAND_VERIFY] = run_verify,
    [COMMAND_REPAIR] = run_repair,
    [COMMAND_DOCTOR] = run_doctor,
    [COMMAND_BENCH] = run_bench,
    [COMMAND_BEGIN] = run_begin,
    [COMMAND_COMMIT] = run_commit,
    [COMMAND_ROLLBACK] = run_rollback,
    [COMMAND_HELP] = run_help,
    [COMMAND_VERSION] = run_version,
    [COMMAND_COMPLETIONS] = run_completions,
    [COMMAND_TIMING] = run_timing,
    [COMMAND_EXIT] = run_exit,
};

/* What is wrong with a command whatever the database: told before one is opened, or made. */
static const command_function checks[COMMAND_IDS] = {
    [COMMAND_KEYSPACE_CREATE] = check_keyspace_create,
};

static void report_timing(const struct session *session, uint64_t begin_ns) {
    struct buffer text = {0};
    uint64_t duration_ns = terminal_now_ns() - begin_ns;
    if (session->settings.is_json) {
        buffer_print(&text, "{\"seconds\":%.9f}", (double)duration_ns / 1e9);
    } else {
        buffer_append_text(&text, "time: ");
        quantity_print_duration_ns(duration_ns, &text);
    }
    fprintf(session->err, "%s\n", buffer_text(&text));
    buffer_release(&text);
}

/* What could not be printed is a failure of the command. */
static tern_status flush_output(struct session *session, tern_status status) {
    bool is_broken = fflush(session->out) != 0 || ferror(session->out) != 0;
    clearerr(session->out);
    if (is_broken && status == TERN_OK) {
        return fail_file(&session->error, errno, "standard output", "writing the output failed");
    }
    return status;
}

static tern_status run_prepared(struct session *session, const struct invocation *invocation) {
    const struct command *command = invocation->command;
    if (checks[command->id] != NULL) {
        tern_status status = checks[command->id](session, invocation);
        if (status != TERN_OK) {
            return status;
        }
    }
    if (command->use == USES_DATABASE || command->use == USES_OR_MAKES) {
        tern_status status = session_open_database(session, command->use);
        if (status != TERN_OK) {
            return status;
        }
    }
    uint64_t begin_ns = terminal_now_ns();
    tern_status status = functions[command->id](session, invocation);
    status = flush_output(session, status);
    if (session->settings.has_timing && command->use != USES_NOTHING) {
        report_timing(session, begin_ns);
    }
    return status;
}

tern_status run_command(struct session *session, const struct invocation *invocation) {
    struct settings before = session->settings;
    tern_status status = TERN_OK;
    settings_apply(&session->settings, invocation);
    session->is_error_told = false;
    session->error = (tern_error)TERN_ERROR_INIT;
    interrupt_clear();
    if (invocation_has(invocation, OPTION_HELP) && session->settings.is_json) {
        (void)help_print_json(session->out, invocation->command->name);
        fflush(session->out);
    } else if (invocation_has(invocation, OPTION_HELP)) {
        help_print_command(session->out, invocation->command, terminal_width_columns(session->out),
                           session->has_color);
        fflush(session->out);
    } else {
        status = run_prepared(session, invocation);
        session_report(session, status);
    }
    bool has_timing = session->settings.has_timing;
    session->settings = before;
    if (invocation->command->id == COMMAND_TIMING) {
        session->settings.has_timing = has_timing;
    }
    return status;
}

tern_status run_words(struct session *session, const struct word *words, size_t count) {
    struct invocation invocation;
    session->is_error_told = false;
    tern_status status =
        invocation_parse(words, count, INVOCATION_IN_LINE, &invocation, &session->error);
    if (status != TERN_OK) {
        struct settings before = session->settings;
        settings_apply(&session->settings, &invocation);
        session_report(session, status);
        session->settings = before;
    } else if (invocation.command != NULL) {
        status = run_command(session, &invocation);
    } else if (invocation_has(&invocation, OPTION_HELP)) {
        help_print_overview(session->out, true, terminal_width_columns(session->out),
                            session->has_color);
    } else {
        status = session_fail(session, TERN_INVALID, "say what to do; see: help");
        session_report(session, status);
    }
    invocation_release(&invocation);
    return status;
}
