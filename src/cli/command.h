/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one description of every command: its parser, `--help`, the help of the REPL, the man page,
 * docs/cli.md and the completions of three shells are all made from it.
 */
#ifndef TERN_CLI_COMMAND_H
#define TERN_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

enum option_id {
    /* Of every command. */
    OPTION_DIRECTORY,
    OPTION_DURABILITY,
    OPTION_READ_ONLY,
    OPTION_MEMORY,
    OPTION_CACHE_POLICY,
    OPTION_HUGE_PAGES,
    OPTION_NUMA,
    OPTION_LOCK_CACHE,
    OPTION_BUFFERED,
    OPTION_PAGE_SOURCE,
    OPTION_READ_AHEAD,
    OPTION_COMPACTION_RATE,
    OPTION_KEEP_GOING,
    OPTION_COLOR,
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_TIMING,
    OPTION_PROGRESS,
    OPTION_HELP,
    OPTION_VERSION,
    /* Of some. */
    OPTION_KEY_FORMAT,
    OPTION_VALUE_FORMAT,
    OPTION_TTL,
    OPTION_VALUE_FILE,
    OPTION_TO_FILE,
    OPTION_PREFIX,
    OPTION_FROM,
    OPTION_TO,
    OPTION_LIMIT,
    OPTION_REVERSE,
    OPTION_COUNT,
    OPTION_KEYS_ONLY,
    OPTION_VALUES_ONLY,
    OPTION_ESTIMATE,
    OPTION_ALL,
    OPTION_MISSING,
    OPTION_EVERY,
    OPTION_CREATE,
    OPTION_FORMAT,
    OPTION_BATCH,
    OPTION_ON_ERROR,
    OPTION_DELIMITER,
    OPTION_COMMENT,
    OPTION_NO_HEADER,
    OPTION_NO_QUOTES,
    OPTION_KEY_COLUMN,
    OPTION_VALUE_COLUMN,
    OPTION_COLUMNS,
    OPTION_KEY_SEPARATOR,
    OPTION_KEY_PREFIX,
    OPTION_KEY_FIELD,
    OPTION_VALUE_FIELD,
    OPTION_ENGINE,
    OPTION_COMPRESSION,
    OPTION_PAGE_BYTES,
    OPTION_FAN_OUT,
    OPTION_FILL,
    OPTION_HASH_INDEX,
    OPTION_HASH_FUNCTION,
    OPTION_EXPECTED_KEYS,
    OPTION_MAX_LOAD,
    OPTION_COMPACTION,
    OPTION_FILTER_BITS,
    OPTION_LEVEL_COMPRESSION,
    OPTION_IF_MISSING,
    OPTION_IF_EXISTS,
    OPTION_TO_DIRECTORY,
    OPTION_RECORDS,
    OPTION_SECONDS,
    OPTION_VALUE_BYTES,
    OPTION_BENCH_DIRECTORY,
    OPTION_ISOLATION,
    OPTION_PESSIMISTIC,
    OPTION_MAN,
    OPTION_MARKDOWN,
    OPTION_IDS
};

enum option_kind {
    OPTION_IS_FLAG,
    OPTION_IS_TEXT,
    OPTION_IS_BYTE_STRING, /* a key: any bytes */
    OPTION_IS_CHARACTER,   /* one byte, or the word tab */
    OPTION_IS_COUNT,
    OPTION_IS_POSITIVE, /* a count that is not 0 */
    OPTION_IS_SIZE,
    OPTION_IS_POSITIVE_SIZE,
    OPTION_IS_DURATION,
    OPTION_IS_CHOICE,
    OPTION_IS_FILE,
    OPTION_IS_DIRECTORY
};

/* Ends a list with a NULL name. */
struct option_spec {
    enum option_id id;
    char letter; /* 0 for none */
    const char *name;
    const char *argument; /* as help shows it; NULL for a flag */
    enum option_kind kind;
    const char *choices; /* "a|b|c" */
    const char *text;
};

enum argument_kind {
    ARGUMENT_IS_TEXT,
    ARGUMENT_IS_KEYSPACE,
    ARGUMENT_IS_FILE,
    ARGUMENT_IS_DIRECTORY,
    ARGUMENT_IS_COMMAND,
    ARGUMENT_IS_CHOICE
};

/* Ends a list with a NULL name. */
struct argument_spec {
    const char *name;
    enum argument_kind kind;
    bool is_optional;
    bool is_repeated; /* the last one only */
    const char *choices;
    const char *text;
};

/* Ends a list with a NULL line. */
struct example {
    const char *line;
    const char *text;
};

/* What a command wants of a database. */
enum command_use {
    USES_NOTHING,  /* runs without one */
    USES_DATABASE, /* one must exist */
    USES_OR_MAKES, /* creates directory and database when there is none */
    USES_DIRECTORY /* looks at the directory; must not have it open itself */
};

enum command_place { PLACE_BOTH, PLACE_SHELL, PLACE_REPL };

enum command_id {
    COMMAND_PUT,
    COMMAND_GET,
    COMMAND_DELETE,
    COMMAND_SCAN,
    COMMAND_COUNT,
    COMMAND_MERGE,
    COMMAND_CAS,
    COMMAND_BATCH,
    COMMAND_IMPORT,
    COMMAND_EXPORT,
    COMMAND_KEYSPACE_CREATE,
    COMMAND_KEYSPACE_CONVERT,
    COMMAND_KEYSPACE_DROP,
    COMMAND_KEYSPACE_LIST,
    COMMAND_KEYSPACE_INFO,
    COMMAND_STATS,
    COMMAND_CHECKPOINT,
    COMMAND_COMPACT,
    COMMAND_CLONE,
    COMMAND_VERIFY,
    COMMAND_REPAIR,
    COMMAND_DOCTOR,
    COMMAND_BENCH,
    COMMAND_BEGIN,
    COMMAND_COMMIT,
    COMMAND_ROLLBACK,
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_COMPLETIONS,
    COMMAND_TIMING,
    COMMAND_EXIT,
    COMMAND_IDS
};

enum { COMMAND_ARGUMENTS_MAX = 5 };

struct command {
    enum command_id id;
    const char *name;  /* one word or two: "keyspace create" */
    const char *alias; /* or NULL */
    const char *summary;
    const char *text; /* paragraphs separated by empty lines */
    const struct argument_spec *arguments;
    const struct option_spec *options; /* its own; the ones of every command come in addition */
    const struct example *examples;
    const char *json;  /* shape of --json output, one line per document; NULL when there is none */
    const char *exits; /* exit codes that mean something special here, or NULL */
    enum command_use use;
    enum command_place place;
};

/* Groups of commands in the order of the help. */
struct command_group {
    const char *title;
    const struct command *commands; /* ends with a NULL name */
};

extern const struct command_group command_groups[]; /* ends with a NULL title */
extern const struct command data_commands[];
extern const struct command transfer_commands[];
extern const struct command keyspace_commands[];
extern const struct command care_commands[];
extern const struct command shell_commands[];
extern const struct option_spec global_options[];

/* Finds by the whole name or alias; NULL. */
const struct command *command_find(const char *name);
const struct command *command_by_id(enum command_id id);
const struct option_spec *option_by_name(const struct option_spec *options, const char *name,
                                         size_t size);
const struct option_spec *option_by_id(const struct option_spec *options, enum option_id id);
const struct option_spec *option_by_letter(const struct option_spec *options, char letter);
/* Whether a global option may stand in a line of the REPL or of a batch. */
bool option_is_for_lines(enum option_id id);
/* Calls for every command; the walk ends when `visit` returns false. */
void command_each(bool (*visit)(void *context, const struct command *command), void *context);

#endif
