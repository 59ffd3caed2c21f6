/* SPDX-License-Identifier: Apache-2.0 */
/* Editing a line on a terminal, with history and completion, through libedit. */
#ifndef TERN_CLI_EDITOR_H
#define TERN_CLI_EDITOR_H

#include "cli/session.h"

struct editor;

enum editor_result { EDITOR_LINE, EDITOR_CANCELLED, EDITOR_END };

/* NULL when the terminal cannot be used. The session is asked for keyspaces on completion. */
struct editor *editor_open(struct session *session);
/* Reads a line without its newline; it lives until the next call. */
enum editor_result editor_read(struct editor *editor, const char *prompt, tern_slice *out_line);
/* Adds a complete command to the history. */
void editor_remember(struct editor *editor, const char *command);
/* Saves the history and gives the terminal back. Accepts NULL. */
void editor_close(struct editor *editor);

#endif
