/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include "cli/buffer.h"
#include "cli/text_table.h"
#include <string.h>

struct style {
    FILE *stream;
    size_t width_columns;
    bool has_color;
};

static void print_title(const struct style *style, const char *title) {
    fprintf(style->stream, "\n%s%s%s\n", style->has_color ? "\033[1m" : "", title,
            style->has_color ? "\033[0m" : "");
}

void help_usage(const struct command *command, struct buffer *text) {
    buffer_append_text(text, command->name);
    if (command->options != NULL) {
        buffer_append_text(text, " [options]");
    }
    for (const struct argument_spec *argument = command->arguments;
         argument != NULL && argument->name != NULL; argument++) {
        buffer_print(text, argument->is_optional ? " [%s%s]" : " %s%s", argument->name,
                     argument->is_repeated ? "…" : "");
    }
}

/* A term in the left column, its text folded in the right one. */
static void print_item(const struct style *style, const char *term, const char *text,
                       size_t column) {
    size_t size = strlen(term);
    fprintf(style->stream, "  %s", term);
    if (size + 4 > column) {
        fprintf(style->stream, "\n%*s", (int)column, "");
    } else {
        fprintf(style->stream, "%*s", (int)(column - size - 2), "");
    }
    text_fold(style->stream, text, column, style->width_columns);
    putc('\n', style->stream);
}

static void print_option(const struct style *style, const struct option_spec *option) {
    struct buffer term = {0};
    struct buffer text = {0};
    if (option->letter != '\0') {
        buffer_print(&term, "-%c, ", option->letter);
    }
    buffer_print(&term, "--%s", option->name);
    if (option->argument != NULL) {
        buffer_print(&term, " %s", option->argument);
    }
    buffer_append_text(&text, option->text);
    if (option->choices != NULL) {
        buffer_append_text(&text, ": ");
        for (const char *choice = option->choices; *choice != '\0'; choice++) {
            buffer_append_text(&text, *choice == '|' ? ", " : (char[2]){*choice, '\0'});
        }
    }
    print_item(style, buffer_text(&term), buffer_text(&text), 26);
    buffer_release(&term);
    buffer_release(&text);
}

static void print_options(const struct style *style, const char *title,
                          const struct option_spec *options) {
    if (options == NULL) {
        return;
    }
    print_title(style, title);
    for (; options->name != NULL; options++) {
        print_option(style, options);
    }
}

static void print_arguments(const struct style *style, const struct argument_spec *arguments) {
    if (arguments == NULL) {
        return;
    }
    print_title(style, "Arguments");
    for (; arguments->name != NULL; arguments++) {
        print_item(style, arguments->name, arguments->text, 26);
    }
}

static void print_examples(const struct style *style, const struct example *examples) {
    if (examples == NULL) {
        return;
    }
    print_title(style, "Examples");
    for (; examples->line != NULL; examples++) {
        fprintf(style->stream, "  %s\n", examples->line);
        if (examples->text != NULL) {
            fputs("      ", style->stream);
            text_fold(style->stream, examples->text, 6, style->width_columns);
            putc('\n', style->stream);
        }
    }
}

void help_print_command(FILE *stream, const struct command *command, size_t width_columns,
                        bool has_color) {
    struct style style = {stream, width_columns, has_color};
    struct buffer usage = {0};
    help_usage(command, &usage);
    bool is_repl = command->place == PLACE_REPL;
    fprintf(stream, "%s%s%s: %s\n\n  %s%s\n", has_color ? "\033[1m" : "", command->name,
            has_color ? "\033[0m" : "", command->summary, is_repl ? "" : "tern [-d DIR] ",
            buffer_text(&usage));
    buffer_release(&usage);
    if (command->text != NULL) {
        putc('\n', stream);
        text_fold(stream, command->text, 0, width_columns);
        putc('\n', stream);
    }
    print_arguments(&style, command->arguments);
    print_options(&style, "Options", command->options);
    print_examples(&style, command->examples);
    if (command->json != NULL) {
        print_title(&style, "With --json");
        fputs("  ", stream);
        text_fold(stream, command->json, 2, width_columns);
        putc('\n', stream);
    }
    if (command->exits != NULL) {
        print_title(&style, "Exit code");
        fputs("  ", stream);
        text_fold(stream, command->exits, 2, width_columns);
        putc('\n', stream);
    }
    if (command->alias != NULL) {
        fprintf(stream, "\nAlso: %s\n", command->alias);
    }
    if (!is_repl) {
        fputs("\nOptions of every command: tern help\n", stream);
    }
}

static void print_group(const struct style *style, const struct command_group *group,
                        bool is_repl) {
    print_title(style, group->title);
    for (const struct command *command = group->commands; command->name != NULL; command++) {
        if (command->place != (is_repl ? PLACE_SHELL : PLACE_REPL)) {
            print_item(style, command->name, command->summary, 20);
        }
    }
}

bool help_print_family(FILE *stream, const char *family, size_t width_columns, bool has_color) {
    struct style style = {stream, width_columns, has_color};
    size_t size = strlen(family);
    bool is_found = false;
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (strncmp(command->name, family, size) == 0 && command->name[size] == ' ') {
                print_item(&style, command->name, command->summary, 20);
                is_found = true;
            }
        }
    }
    return is_found;
}

void help_print_overview(FILE *stream, bool is_repl, size_t width_columns, bool has_color) {
    struct style style = {stream, width_columns, has_color};
    if (is_repl) {
        fputs("Type a command; help COMMAND explains it. Quote with '…' or \"…\" (with \\n, "
              "\\xNN); a\n"
              "backslash at the end of a line continues it. Ctrl-C cancels, Ctrl-D leaves.\n",
              stream);
    } else {
        fputs("tern -d DIR                 open the database in DIR and type commands\n"
              "tern -d DIR COMMAND …       run one command\n"
              "tern help COMMAND           explain it, with examples\n",
              stream);
    }
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        print_group(&style, group, is_repl);
    }
    if (!is_repl) {
        print_options(&style, "Options of every command", global_options);
        fputs("\nA first look: tern -d demo keyspace create a; tern -d demo put a key value; "
              "tern -d demo get a key\n",
              stream);
    }
}
