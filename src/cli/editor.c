/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/editor.h"

#include "cli/complete.h"
#include "cli/terminal.h"
#include "cli/utf8.h"
#include <histedit.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { HISTORY_LINES = 10000 };

struct editor {
    struct session *session;
    EditLine *edit;
    History *history;
    HistEvent event;
    char *history_path; /* NULL: no history is kept */
    const char *prompt;
    FILE *stream;
    bool is_cancelled;
};

static struct editor *editor_of(EditLine *edit) {
    void *editor = NULL;
    el_get(edit, EL_CLIENTDATA, &editor);
    return editor;
}

static char *give_prompt(EditLine *edit) {
    union {
        const char *constant;
        char *text;
    } prompt = {editor_of(edit)->prompt}; /* libedit asks for char * and only reads it */
    return prompt.text;
}

/* Ctrl-C: the terminal sends it as a character while a line is edited. */
static unsigned char cancel_line(EditLine *edit, int character) {
    (void)character;
    struct editor *editor = editor_of(edit);
    editor->is_cancelled = true;
    fputs("^C\n", editor->stream);
    fflush(editor->stream);
    return CC_NEWLINE;
}

/* Ctrl-Z, which comes as a character too. */
static unsigned char stop_process(EditLine *edit, int character) {
    (void)character;
    el_set(edit, EL_PREP_TERM, 0);
    raise(SIGTSTP);
    el_set(edit, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
}

struct offering {
    void (*offer)(void *target, const char *name);
    void *target;
};

static bool visit_keyspace(void *context, tern_keyspace *keyspace) {
    struct offering *offering = context;
    offering->offer(offering->target, tern_keyspace_name(keyspace));
    return true;
}

static void offer_keyspaces(void *context, void (*offer)(void *target, const char *name),
                            void *target) {
    struct session *session = context;
    struct offering offering = {offer, target};
    tern_error ignored = TERN_ERROR_INIT;
    if (session->db != NULL &&
        tern_keyspace_list(session->db, visit_keyspace, &offering, &ignored) != TERN_OK) {
        return; /* completion is a convenience: nothing is offered */
    }
}

static void print_candidates(struct editor *editor, const struct completion *completion) {
    size_t widest = 0;
    for (size_t i = 0; i < completion->count; i++) {
        size_t width = utf8_width_columns(tern_slice_str(completion->list[i]));
        widest = width > widest ? width : widest;
    }
    size_t columns = terminal_width_columns(editor->stream) / (widest + 2);
    putc('\n', editor->stream);
    for (size_t i = 0; i < completion->count; i++) {
        bool ends_row = columns == 0 || (i + 1) % columns == 0 || i + 1 == completion->count;
        fprintf(editor->stream, "%-*s%s", ends_row ? 0 : (int)widest + 2, completion->list[i],
                ends_row ? "\n" : "");
    }
    fflush(editor->stream);
}

static unsigned char complete_word(EditLine *edit, int character) {
    (void)character;
    struct editor *editor = editor_of(edit);
    const LineInfo *info = el_line(edit);
    struct completion completion;
    char *line = memory_text(info->buffer, (size_t)(info->cursor - info->buffer));
    completion_find(line, offer_keyspaces, editor->session, &completion);
    free(line);
    unsigned char result = CC_ERROR;
    size_t common = completion_common_size(&completion);
    if (completion.count > 0 && common > completion.word_size) {
        char *text =
            memory_text(completion.list[0] + completion.word_size, common - completion.word_size);
        el_insertstr(edit, text);
        free(text);
        result = CC_REFRESH;
    }
    size_t size = completion.count == 1 ? strlen(completion.list[0]) : 0;
    if (completion.count == 1 && completion.list[0][size - 1] != '/') {
        el_insertstr(edit, " ");
        result = CC_REFRESH;
    } else if (completion.count > 1 && result == CC_ERROR) {
        print_candidates(editor, &completion);
        result = CC_REDISPLAY;
    }
    completion_release(&completion);
    return result;
}

/* Makes the directories of a path that are missing. */
static void make_directories(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
}

static char *find_history_path(void) {
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    struct buffer path = {0};
    if (state != NULL && state[0] == '/') {
        buffer_print(&path, "%s/tern/history", state);
    } else if (home != NULL && home[0] == '/') {
        buffer_print(&path, "%s/.local/state/tern/history", home);
    } else {
        return NULL;
    }
    make_directories(path.data);
    return path.data;
}

static void open_history(struct editor *editor) {
    editor->history = history_init();
    if (editor->history == NULL) {
        return;
    }
    history(editor->history, &editor->event, H_SETSIZE, HISTORY_LINES);
    history(editor->history, &editor->event, H_SETUNIQUE, 1);
    editor->history_path = find_history_path();
    if (editor->history_path != NULL) {
        history(editor->history, &editor->event, H_LOAD, editor->history_path);
    }
    el_set(editor->edit, EL_HIST, history, editor->history);
}

struct editor *editor_open(struct session *session) {
    struct editor *editor = memory_allocate(sizeof(*editor));
    *editor = (struct editor){.session = session, .prompt = "tern> "};
    /* With the output elsewhere the line is edited on standard error. */
    editor->stream = terminal_is(session->out) ? session->out : session->err;
    editor->edit = el_init("tern", stdin, editor->stream, session->err);
    if (editor->edit == NULL) {
        free(editor);
        return NULL;
    }
    el_set(editor->edit, EL_CLIENTDATA, editor);
    el_set(editor->edit, EL_SIGNAL, 1);
    el_set(editor->edit, EL_EDITOR, "emacs");
    el_set(editor->edit, EL_PROMPT, give_prompt);
    open_history(editor);
    /* The narrow call copies these strings and never frees them. */
    el_wset(editor->edit, EL_ADDFN, L"tern-complete", L"complete the word", complete_word);
    el_wset(editor->edit, EL_ADDFN, L"tern-cancel", L"cancel the line", cancel_line);
    el_set(editor->edit, EL_BIND, "^I", "tern-complete", NULL);
    el_set(editor->edit, EL_BIND, "^C", "tern-cancel", NULL);
    el_set(editor->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_wset(editor->edit, EL_ADDFN, L"tern-stop", L"stop the process", stop_process);
    el_set(editor->edit, EL_BIND, "^Z", "tern-stop", NULL);
    el_set(editor->edit, EL_SETTY, "-d", "-isig", NULL);
    return editor;
}

enum editor_result editor_read(struct editor *editor, const char *prompt, tern_slice *out_line) {
    int size = 0;
    editor->prompt = prompt;
    editor->is_cancelled = false;
    const char *line = el_gets(editor->edit, &size);
    if (editor->is_cancelled) {
        return EDITOR_CANCELLED;
    }
    if (line == NULL || size <= 0) {
        return EDITOR_END;
    }
    /* A command of several lines that was recalled has newlines within. */
    size_t length = strlen(line);
    length -= length > 0 && line[length - 1] == '\n' ? 1 : 0;
    *out_line = tern_slice_of(line, length);
    return EDITOR_LINE;
}

void editor_remember(struct editor *editor, const char *command) {
    if (editor->history != NULL && command[0] != '\0') {
        history(editor->history, &editor->event, H_ENTER, command);
    }
}

void editor_close(struct editor *editor) {
    if (editor == NULL) {
        return;
    }
    if (editor->history != NULL) {
        if (editor->history_path != NULL) {
            history(editor->history, &editor->event, H_SAVE, editor->history_path);
            chmod(editor->history_path, 0600);
        }
        history_end(editor->history);
    }
    el_end(editor->edit);
    free(editor->history_path);
    free(editor);
}
