/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/repl.h"

#include "cli/editor.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/run.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include <unistd.h>

struct repl {
    struct session *session;
    struct editor *editor; /* NULL: not a terminal */
    struct input input;
    struct buffer text; /* the command so far, over several lines */
    struct words words;
    tern_status read_status; /* why reading ended */
};

enum read_result { READ_COMMAND, READ_NOTHING, READ_INVALID, READ_END };

static enum editor_result read_line(struct repl *repl, tern_slice *out_line) {
    if (repl->editor != NULL) {
        const char *prompt = repl->text.size > 0          ? "   -> "
                             : repl->session->txn != NULL ? "tern*> "
                                                          : "tern> ";
        return editor_read(repl->editor, prompt, out_line);
    }
    enum input_result result = input_line(&repl->input, out_line);
    if (result == INPUT_FAILED) {
        repl->read_status = fail_file(&repl->session->error, repl->input.system_errno,
                                      repl->input.name, "reading commands failed");
    } else if (result == INPUT_TOO_LONG) {
        repl->read_status =
            session_fail(repl->session, TERN_TOO_LARGE, "a line is longer than 256 MiB");
    }
    return result == INPUT_OK ? EDITOR_LINE : EDITOR_END;
}

static enum read_result fail_open(struct repl *repl, const char *problem) {
    session_fail(repl->session, TERN_INVALID, "%s", problem);
    return READ_INVALID;
}

/* Reads lines until they make a command. */
static enum read_result read_command(struct repl *repl) {
    const char *problem = "";
    buffer_clear(&repl->text);
    for (;;) {
        tern_slice line = {0};
        enum editor_result result = read_line(repl, &line);
        if (result == EDITOR_CANCELLED) {
            return READ_NOTHING;
        }
        if (result == EDITOR_END) {
            return repl->text.size > 0 && repl->read_status == TERN_OK ? fail_open(repl, problem)
                                                                       : READ_END;
        }
        buffer_append_slice(&repl->text, line);
        enum words_result split = words_split(&repl->words, buffer_slice(&repl->text), &problem);
        if (split == WORDS_INVALID) {
            return fail_open(repl, problem);
        }
        if (split == WORDS_COMPLETE) {
            return repl->words.count > 0 ? READ_COMMAND : READ_NOTHING;
        }
        bool is_joined = repl->text.data[repl->text.size - 1] == '\\';
        if (is_joined) {
            repl->text.size--; /* a backslash at the end only joins the lines */
        } else {
            buffer_append_char(&repl->text, '\n');
        }
    }
}

static tern_status step(struct repl *repl, bool *out_is_end) {
    struct session *session = repl->session;
    interrupt_clear();
    enum read_result result = read_command(repl);
    *out_is_end = result == READ_END;
    if (repl->editor != NULL && repl->text.size > 0 && result != READ_NOTHING) {
        editor_remember(repl->editor, buffer_text(&repl->text));
    }
    if (result == READ_COMMAND) {
        return run_words(session, repl->words.list, repl->words.count);
    }
    if (result == READ_INVALID) {
        session->is_error_told = false;
        session_report(session, TERN_INVALID);
        return TERN_INVALID;
    }
    return TERN_OK;
}

static tern_status read_all(struct repl *repl, bool keeps_going) {
    struct session *session = repl->session;
    tern_status first = TERN_OK;
    bool is_end = false;
    while (!is_end && !session->is_leaving) {
        tern_status status = step(repl, &is_end);
        if (status != TERN_OK && repl->editor == NULL) {
            first = first == TERN_OK ? status : first;
            is_end = is_end || !keeps_going;
        }
    }
    if (repl->read_status != TERN_OK) {
        session_report(session, repl->read_status);
        first = first == TERN_OK ? repl->read_status : first;
    }
    return first;
}

tern_status repl_run(struct session *session, bool keeps_going) {
    struct repl repl = {.session = session, .input = {.descriptor = -1}};
    session->is_repl = true;
    if (terminal_is(stdin)) {
        repl.editor = editor_open(session);
    }
    if (repl.editor != NULL) {
        session_note(session, "tern %s, database %s. help explains, Ctrl-D leaves.", tern_version(),
                     session->directory);
    } else {
        tern_status status = input_open(&repl.input, "-", &session->error);
        if (status != TERN_OK) {
            session_report(session, status);
            return status;
        }
    }
    tern_status status = read_all(&repl, keeps_going);
    if (session->txn != NULL) {
        session_note(session, "the transaction that was open is rolled back");
    }
    if (repl.editor != NULL && !session->is_leaving) {
        putc('\n', session->err);
    }
    editor_close(repl.editor);
    input_close(&repl.input);
    words_release(&repl.words);
    buffer_release(&repl.text);
    return status;
}
