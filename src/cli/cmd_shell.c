/* SPDX-License-Identifier: Apache-2.0 */
/* help, version, completions, .timing, exit. */
#include "cli/help.h"
#include "cli/run.h"
#include "cli/suggest.h"
#include "cli/terminal.h"

static bool visit_name(void *context, const struct command *command) {
    suggestion_offer(context, command->name);
    return true;
}

static tern_status unknown_command(struct session *session, const char *name) {
    struct suggestion suggestion = {.typed = name};
    command_each(visit_name, &suggestion);
    const char *help = session->is_repl ? "help" : "tern help";
    return suggestion.best != NULL
               ? session_fail(session, TERN_INVALID, "there is no command '%s'; did you mean '%s'?",
                              name, suggestion.best)
               : session_fail(session, TERN_INVALID, "there is no command '%s'; see: %s", name,
                              help);
}

static tern_status explain_words(struct session *session, const struct invocation *invocation) {
    struct buffer name = {0};
    for (size_t i = 0; i < invocation->argument_count; i++) {
        buffer_print(&name, "%s%s", i > 0 ? " " : "", (const char *)invocation->arguments[i].data);
    }
    const struct command *command = command_find(buffer_text(&name));
    size_t width = terminal_width_columns(session->out);
    tern_status status = TERN_OK;
    if (session->settings.is_json) {
        status = help_print_json(session->out, buffer_text(&name))
                     ? TERN_OK
                     : unknown_command(session, buffer_text(&name));
    } else if (command != NULL) {
        help_print_command(session->out, command, width, session->has_color);
    } else if (!help_print_family(session->out, buffer_text(&name), width, session->has_color)) {
        status = unknown_command(session, buffer_text(&name));
    }
    buffer_release(&name);
    return status;
}

tern_status run_help(struct session *session, const struct invocation *invocation) {
    if (invocation_has(invocation, OPTION_MAN)) {
        help_print_man(session->out, tern_version());
        return TERN_OK;
    }
    if (invocation_has(invocation, OPTION_MARKDOWN)) {
        help_print_markdown(session->out);
        return TERN_OK;
    }
    if (invocation->argument_count > 0 || session->settings.is_json) {
        return explain_words(session, invocation);
    }
    help_print_overview(session->out, session->is_repl, terminal_width_columns(session->out),
                        session->has_color);
    return TERN_OK;
}

tern_status run_version(struct session *session, const struct invocation *invocation) {
    (void)invocation;
    fprintf(session->out, session->settings.is_json ? "{\"version\":\"%s\"}\n" : "tern %s\n",
            tern_version());
    return TERN_OK;
}

tern_status run_completions(struct session *session, const struct invocation *invocation) {
    completions_print(session->out, invocation->arguments[0].data);
    return TERN_OK;
}

tern_status run_timing(struct session *session, const struct invocation *invocation) {
    bool is_on = !session->settings.has_timing;
    if (invocation->argument_count > 0) {
        is_on = strcmp(invocation->arguments[0].data, "on") == 0;
    }
    session->settings.has_timing = is_on;
    session_note(session, "timing is %s", is_on ? "on" : "off");
    return TERN_OK;
}

tern_status run_exit(struct session *session, const struct invocation *invocation) {
    (void)invocation;
    session->is_leaving = true;
    return TERN_OK;
}
