/* SPDX-License-Identifier: Apache-2.0 */
/* The whole command table as Markdown (docs/cli.md) and as a manual page. */
#include "cli/buffer.h"
#include "cli/help.h"
#include <tern/status.h>

struct exit_row {
    int code;
    const char *name;
    const char *text;
};

static const struct exit_row exits[] = {
#define EXIT_ROW(name, code, text, http, grpc, exit_code) {exit_code, #name, text},
    TERN_STATUS_MAP(EXIT_ROW)
#undef EXIT_ROW
};

static const char formats_text[] =
    "text: the bytes as given. Printed: as they are when they are printable UTF-8 and do not begin "
    "with a double quote; otherwise escaped, within double quotes.\n"
    "raw: the bytes as they are.\n"
    "escaped: \\\\ \\\" \\' \\0 \\a \\b \\e \\f \\n \\r \\t \\v \\xNN \\uNNNN; printed: whatever "
    "is not "
    "printable is escaped.\n"
    "hex: two digits a byte.\n"
    "base64: RFC 4648 with padding.\n"
    "integer: a decimal number, kept as 8 bytes little-endian, as merge add counts; what is not 8 "
    "bytes long is printed as text.\n";

static const char json_text_of_bytes[] =
    "Keys and values that are UTF-8 are strings in a field of the plain name (key, value). Others "
    "are base64 in a field whose name says so (key_base64, value_base64). --key-format and "
    "--value-format choose a form for all: key_hex, value_escaped, value_integer (a number), and "
    "so "
    "on. Numbers are integers up to 2^64 - 1. The field seq is left out where nothing has been "
    "committed: within a transaction, or when there was nothing to do. Fields may be added in "
    "later releases; none changes "
    "its meaning.";

static const char json_text_of_errors[] =
    "An error is one line on standard error, "
    "{\"error\":{\"status\":\"NOT_FOUND\",\"code\":-1,\"exit\":1,\"message\":…,\"file\":… or "
    "null,\"offset\":N or null}}. status, code and exit are those of the table of exit codes.";

static const char repl_text[] =
    "tern -d DIR opens the database (and creates it when there is none) and reads commands. On a "
    "terminal there are history (kept in $XDG_STATE_HOME/tern/history), completion with the Tab "
    "key, and lines that go on behind a backslash or an open quote. Words are quoted with '…' (as "
    "they are) or \"…\" (with the escapes above); # begins a comment. Ctrl-C cancels the line or "
    "asks the running command to stop, Ctrl-D leaves. When standard input is not a terminal, "
    "commands are read line by line; the first that fails ends it with its exit code, unless "
    "--keep-going is given, and then the exit code is that of the first failure.";

/* ---- Markdown ---- */

/* Text with what Markdown would take for its own escaped. */
static void print_markdown(FILE *stream, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '<' || *text == '>' || *text == '|' || *text == '*' || *text == '_' ||
            *text == '\\' || *text == '`') {
            putc('\\', stream);
        }
        putc(*text, stream);
    }
}

static void markdown_options(FILE *stream, const struct option_spec *options) {
    if (options == NULL) {
        return;
    }
    fputs("| option | meaning |\n|---|---|\n", stream);
    for (; options->name != NULL; options++) {
        fputs("| `", stream);
        if (options->letter != '\0') {
            fprintf(stream, "-%c`, `", options->letter);
        }
        fprintf(stream, "--%s%s%s` | ", options->name, options->argument != NULL ? " " : "",
                options->argument != NULL ? options->argument : "");
        print_markdown(stream, options->text);
        if (options->choices != NULL) {
            fputs(": ", stream);
            print_markdown(stream, options->choices);
        }
        fputs(" |\n", stream);
    }
    putc('\n', stream);
}

static void markdown_command(FILE *stream, const struct command *command) {
    struct buffer usage = {0};
    help_usage(command, &usage);
    fprintf(stream, "### %s\n\n", command->name);
    print_markdown(stream, command->summary);
    fprintf(stream, ".%s%s%s%s\n\n```\n%s%s\n```\n\n", command->alias != NULL ? " Also: `" : "",
            command->alias != NULL ? command->alias : "", command->alias != NULL ? "`." : "",
            command->place == PLACE_REPL ? " In the REPL only." : "",
            command->place == PLACE_REPL ? "" : "tern -d DIR ", buffer_text(&usage));
    buffer_release(&usage);
    if (command->text != NULL) {
        print_markdown(stream, command->text);
        fputs("\n\n", stream);
    }
    if (command->arguments != NULL) {
        fputs("| argument | meaning |\n|---|---|\n", stream);
        for (const struct argument_spec *argument = command->arguments; argument->name != NULL;
             argument++) {
            fprintf(stream, "| `%s` | ", argument->name);
            print_markdown(stream, argument->text);
            fputs(" |\n", stream);
        }
        putc('\n', stream);
    }
    markdown_options(stream, command->options);
    if (command->examples != NULL) {
        fputs("```sh\n", stream);
        for (const struct example *example = command->examples; example->line != NULL; example++) {
            fprintf(stream, "%s%s%s\n", example->line, example->text != NULL ? "   # " : "",
                    example->text != NULL ? example->text : "");
        }
        fputs("```\n\n", stream);
    }
    if (command->json != NULL) {
        fprintf(stream, "With `--json`: `%s`\n\n", command->json);
    }
    if (command->exits != NULL) {
        fprintf(stream, "Exit code: %s.\n\n", command->exits);
    }
}

void help_print_markdown(FILE *stream) {
    fputs(
        "# tern: the command line\n\nMade from the command table by `tern help --markdown`; do not "
        "edit.\n\n## Options of every command\n\nThey stand before or behind the command; `--` "
        "ends options. A dash with a digit behind it, and a quoted word of the REPL, is never an "
        "option.\n\n",
        stream);
    markdown_options(stream, global_options);
    fputs("Keyspace create, import, batch and the REPL create the database when there is none; all "
          "other commands fail and say so.\n\n## Exit codes\n\n| code | name | meaning "
          "|\n|---|---|---|\n",
          stream);
    for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++) {
        fprintf(stream, "| %d | %s | ", exits[i].code, exits[i].name);
        print_markdown(stream, exits[i].text);
        fputs(" |\n", stream);
    }
    fputs(
        "\nWrong usage is 2, as any invalid argument. A command that is ended by a signal has the "
        "code that the shell gives it.\n\n## Forms of keys and values\n\n```\n",
        stream);
    fputs(formats_text, stream);
    fputs("```\n\n## JSON\n\n", stream);
    print_markdown(stream, json_text_of_bytes);
    fputs("\n\n", stream);
    print_markdown(stream, json_text_of_errors);
    fputs("\n\n## REPL\n\n", stream);
    print_markdown(stream, repl_text);
    fputs("\n\n", stream);
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        fprintf(stream, "## %s\n\n", group->title);
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            markdown_command(stream, command);
        }
    }
}

/* ---- manual page ---- */

/* Text with what roff would take for its own escaped; paragraphs become .PP. */
static void print_roff(FILE *stream, const char *text) {
    bool begins_line = true;
    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            fputs("\\e", stream);
        } else if (*text == '-') {
            fputs("\\-", stream);
        } else if (begins_line && (*text == '.' || *text == '\'')) {
            fprintf(stream, "\\&%c", *text);
        } else if (*text == '\n' && text[1] == '\n') {
            fputs("\n.PP\n", stream);
            text++;
        } else if (*text == '\n') {
            fputs("\n.br\n", stream);
        } else {
            putc(*text, stream);
        }
        begins_line = *text == '\n';
    }
    putc('\n', stream);
}

static void man_options(FILE *stream, const struct option_spec *options) {
    for (; options != NULL && options->name != NULL; options++) {
        fputs(".TP\n", stream);
        if (options->letter != '\0') {
            fprintf(stream, "\\fB\\-%c\\fR, ", options->letter);
        }
        fputs("\\fB\\-\\-", stream);
        for (const char *name = options->name; *name != '\0'; name++) {
            fputs(*name == '-' ? "\\-" : (char[2]){*name, '\0'}, stream);
        }
        fprintf(stream, "\\fR%s%s%s\n", options->argument != NULL ? " \\fI" : "",
                options->argument != NULL ? options->argument : "",
                options->argument != NULL ? "\\fR" : "");
        struct buffer text = {0};
        buffer_append_text(&text, options->text);
        if (options->choices != NULL) {
            buffer_print(&text, ": %s", options->choices);
        }
        print_roff(stream, buffer_text(&text));
        buffer_release(&text);
    }
}

static void man_note(FILE *stream, const char *title, const char *text) {
    if (text != NULL) {
        fprintf(stream, ".PP\n%s", title);
        print_roff(stream, text);
    }
}

static void man_command(FILE *stream, const struct command *command) {
    struct buffer usage = {0};
    help_usage(command, &usage);
    fputs(".SS ", stream);
    print_roff(stream, buffer_text(&usage));
    buffer_release(&usage);
    fprintf(stream, "%c",
            command->summary[0] >= 'a' ? command->summary[0] - 32 : command->summary[0]);
    struct buffer text = {0};
    buffer_print(&text, "%s.", command->summary + 1);
    print_roff(stream, buffer_text(&text));
    buffer_release(&text);
    if (command->text != NULL) {
        fputs(".PP\n", stream);
        print_roff(stream, command->text);
    }
    man_options(stream, command->options);
    for (const struct example *example = command->examples;
         example != NULL && example->line != NULL; example++) {
        fputs(example == command->examples ? ".PP\n.nf\n" : "", stream);
        print_roff(stream, example->line);
        fputs(example[1].line == NULL ? ".fi\n" : "", stream);
    }
    man_note(stream, "With \\-\\-json: ", command->json);
    man_note(stream, "Exit code: ", command->exits);
}

void help_print_man(FILE *stream, const char *version) {
    fprintf(stream,
            ".TH TERN 1 \"\" \"tern %s\" \"Tern\"\n.SH NAME\ntern \\- transactional key\\-value "
            "store\n.SH SYNOPSIS\n\\fBtern\\fR [\\fIoptions\\fR] \\fB\\-d\\fR \\fIDIR\\fR "
            "[\\fIcommand\\fR ...]\n.SH DESCRIPTION\n",
            version);
    print_roff(stream, repl_text);
    fputs(".SH OPTIONS\n", stream);
    man_options(stream, global_options);
    fputs(".SH COMMANDS\n", stream);
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            man_command(stream, command);
        }
    }
    fputs(".SH FORMS OF KEYS AND VALUES\n", stream);
    print_roff(stream, formats_text);
    fputs(".SH JSON\n", stream);
    print_roff(stream, json_text_of_bytes);
    fputs(".PP\n", stream);
    print_roff(stream, json_text_of_errors);
    fputs(".SH EXIT STATUS\n", stream);
    for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++) {
        fprintf(stream, ".TP\n%d\n", exits[i].code);
        print_roff(stream, exits[i].text);
    }
    fputs(".SH ENVIRONMENT\n.TP\nTERN_DIR\nThe database directory when \\-d is not given.\n.TP\n"
          "NO_COLOR\nNo colours when it is set and not empty.\n",
          stream);
}
