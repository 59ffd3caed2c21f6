/* SPDX-License-Identifier: Apache-2.0 */
/* Table of commands: the shell itself. */
#include "cli/command_shared.h"

static const struct option_spec begin_options[] = {
    {OPTION_ISOLATION, 0, "isolation", "LEVEL", OPTION_IS_CHOICE,
     "read-committed|snapshot|serializable", "what it may see of others (default snapshot)"},
    {OPTION_PESSIMISTIC, 0, "pessimistic", NULL, OPTION_IS_FLAG, NULL,
     "every write locks its key when it is made"},
    {0},
};
static const struct example begin_examples[] = {
    {"begin", NULL}, {"put a k 1", NULL}, {"put b k 2", NULL}, {"commit", "both, or none"}, {0},
};
static const struct argument_spec help_arguments[] = {
    {"COMMAND", ARGUMENT_IS_COMMAND, true, true, NULL, "what to explain"},
    {0},
};
static const struct option_spec help_options[] = {
    {OPTION_MAN, 0, "man", NULL, OPTION_IS_FLAG, NULL, "everything as a manual page, tern(1)"},
    {OPTION_MARKDOWN, 0, "markdown", NULL, OPTION_IS_FLAG, NULL, "everything as Markdown"},
    {0},
};
static const struct example help_examples[] = {
    {"tern help scan", NULL},
    {"tern help --man | man -l -", NULL},
    {0},
};
static const struct argument_spec completions_arguments[] = {
    {"SHELL", ARGUMENT_IS_CHOICE, false, false, "bash|zsh|fish", "which shell"},
    {0},
};
static const struct example completions_examples[] = {
    {"tern completions bash > /etc/bash_completion.d/tern", NULL},
    {"tern completions zsh > \"${fpath[1]}/_tern\"", NULL},
    {"tern completions fish > ~/.config/fish/completions/tern.fish", NULL},
    {0},
};
static const struct argument_spec timing_arguments[] = {
    {"STATE", ARGUMENT_IS_CHOICE, true, false, "on|off", "left out: the other one"},
    {0},
};

const struct command shell_commands[] = {
    {COMMAND_BEGIN, "begin", NULL, "begin a transaction",
     "Commands until commit or rollback belong "
     "to it: put, get, delete, scan, count, merge, cas, keyspace create and drop.",
     NULL, begin_options, begin_examples, "{\"status\":\"OK\",\"seq\":N}", NULL, USES_DATABASE,
     PLACE_REPL},
    {COMMAND_COMMIT, "commit", NULL, "commit the transaction", NULL, NULL, NULL, NULL,
     "{\"status\":\"OK\",\"seq\":N}", "5 when another transaction was first", USES_DATABASE,
     PLACE_REPL},
    {COMMAND_ROLLBACK, "rollback", NULL, "undo the transaction", NULL, NULL, NULL, NULL,
     "{\"status\":\"OK\"}", NULL, USES_DATABASE, PLACE_REPL},
    {COMMAND_HELP, "help", "?", "explain a command", NULL, help_arguments, help_options,
     help_examples,
     "{\"commands\":[{\"name\":…,\"alias\":… or null,\"place\":\"both\", \"shell\" or "
     "\"repl\",\"summary\":…,\"usage\":…,\"text\":… or null,\"arguments\":[{\"name\":…,"
     "\"is_optional\":B,\"is_repeated\":B,\"choices\":[…] or null,\"meaning\":…}],"
     "\"options\":[{\"name\":…,\"letter\":… or null,\"argument\":… or null,"
     "\"choices\":[…] or null,\"meaning\":…}],\"examples\":[{\"line\":…,\"meaning\":… or "
     "null}],\"json\":… or null,\"exit\":… or null}],\"options\":[those of every command]}",
     NULL, USES_NOTHING, PLACE_BOTH},
    {COMMAND_VERSION, "version", NULL, "print the release", NULL, NULL, NULL, NULL,
     "{\"version\":…}", NULL, USES_NOTHING, PLACE_BOTH},
    {COMMAND_COMPLETIONS, "completions", NULL, "print completions for a shell", NULL,
     completions_arguments, NULL, completions_examples, NULL, NULL, USES_NOTHING, PLACE_SHELL},
    {COMMAND_TIMING, ".timing", "timing", "say how long each command takes", NULL, timing_arguments,
     NULL, NULL, NULL, NULL, USES_NOTHING, PLACE_REPL},
    {COMMAND_EXIT, "exit", "quit", "leave (also Ctrl-D)", NULL, NULL, NULL, NULL, NULL, NULL,
     USES_NOTHING, PLACE_REPL},
    {0},
};
