/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that explains, made from the command table. */
#ifndef TERN_CLI_HELP_H
#define TERN_CLI_HELP_H

#include "cli/command.h"
#include <stdbool.h>
#include <stdio.h>

/* "put [options] KEYSPACE KEY [VALUE]" */
struct buffer;
void help_usage(const struct command *command, struct buffer *text);
/* `width_columns` 0: no folding. */
void help_print_command(FILE *stream, const struct command *command, size_t width_columns,
                        bool has_color);
/* All commands whose name begins with `family` and a space ("keyspace"); false when there are none.
 */
bool help_print_family(FILE *stream, const char *family, size_t width_columns, bool has_color);
void help_print_overview(FILE *stream, bool is_repl, size_t width_columns, bool has_color);
void help_print_man(FILE *stream, const char *version);
/* A command, a family of them, or with "" all, as one line of JSON; false when there is none. */
bool help_print_json(FILE *stream, const char *name);
void help_print_markdown(FILE *stream);

/* "bash", "zsh" or "fish". */
void completions_print(FILE *stream, const char *shell);

#endif
