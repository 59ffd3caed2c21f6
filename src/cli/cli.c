/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/repl.h"
#include "cli/run.h"
#include "cli/terminal.h"
#include <errno.h>
#include <stdlib.h>

static tern_status run_repl(struct session *session, const struct invocation *invocation) {
    tern_status status = session_open_database(session, USES_OR_MAKES);
    if (status != TERN_OK) {
        session_report(session, status);
        return status;
    }
    return repl_run(session, invocation_has(invocation, OPTION_KEEP_GOING));
}

static tern_status run_invocation(struct session *session, const struct invocation *invocation) {
    if (invocation_has(invocation, OPTION_VERSION)) {
        fprintf(session->out, session->settings.is_json ? "{\"version\":\"%s\"}\n" : "tern %s\n",
                tern_version());
        return TERN_OK;
    }
    if (invocation->command != NULL) {
        return run_command(session, invocation);
    }
    if (invocation_has(invocation, OPTION_HELP) && session->settings.is_json) {
        (void)help_print_json(session->out, "");
        return TERN_OK;
    }
    if (invocation_has(invocation, OPTION_HELP)) {
        help_print_overview(session->out, false, terminal_width_columns(session->out),
                            session->has_color);
        return TERN_OK;
    }
    if (session->directory != NULL) {
        return run_repl(session, invocation);
    }
    help_print_overview(session->err, false, terminal_width_columns(session->err),
                        session->has_error_color);
    return TERN_INVALID;
}

int cli_main(int argument_count, char *const *arguments, FILE *out, FILE *err) {
    struct session session;
    struct invocation invocation;
    size_t count = argument_count > 1 ? (size_t)argument_count - 1 : 0;
    struct word *words = memory_allocate(count * sizeof(words[0]));
    for (size_t i = 0; i < count; i++) {
        words[i] = (struct word){tern_slice_str(arguments[i + 1]), false};
    }
    session_open(&session, out, err);
    interrupt_install();
    tern_status status =
        invocation_parse(words, count, INVOCATION_IN_SHELL, &invocation, &session.error);
    session_configure(&session, &invocation);
    if (status == TERN_OK) {
        status = run_invocation(&session, &invocation);
    } else {
        session_report(&session, status);
    }
    bool is_broken = fflush(out) != 0 || ferror(out) != 0;
    if (is_broken && status == TERN_OK) {
        session.is_error_told = false;
        status = fail_file(&session.error, errno, "standard output", "writing the output failed");
        session_report(&session, status);
    }
    tern_status closed = session_close_database(&session);
    if (closed != TERN_OK && status == TERN_OK) {
        session.is_error_told = false;
        session_report(&session, closed);
        status = closed;
    }
    session_close(&session);
    invocation_release(&invocation);
    free(words);
    fflush(out);
    fflush(err);
    return tern_status_exit(status);
}
