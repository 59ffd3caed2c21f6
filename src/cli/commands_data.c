/* SPDX-License-Identifier: Apache-2.0 */
/* Table of commands: single records. */
#include "cli/command_shared.h"

static const struct argument_spec put_arguments[] = {
    KEYSPACE_ARGUMENT,
    KEY_ARGUMENT,
    {"VALUE", ARGUMENT_IS_TEXT, true, false, NULL, "the value; left out with --value-file"},
    {0},
};
static const struct option_spec put_options[] = {
    {OPTION_VALUE_FILE, 'f', "value-file", "FILE", OPTION_IS_FILE, NULL,
     "take the value from a file, or from standard input with -, of any size, a chunk at a time"},
    TTL_OPTION,
    KEY_FORMAT_OPTION,
    VALUE_FORMAT_OPTION,
    {0},
};
static const struct example put_examples[] = {
    {"tern -d shop put prices apple 120", "store a value"},
    {"tern -d shop put sessions u7 open --ttl 30m", "one that expires"},
    {"tern -d shop put images logo --value-file logo.png", "a file as the value"},
    {"tern -d shop put prices -- -5 negative", "a key that begins with a dash"},
    {0},
};

static const struct argument_spec key_arguments[] = {KEYSPACE_ARGUMENT, KEY_ARGUMENT, {0}};
static const struct option_spec get_options[] = {
    {OPTION_TO_FILE, 'o', "to-file", "FILE", OPTION_IS_FILE, NULL,
     "write the value's bytes, and nothing else, to a file, a chunk at a time (- is standard "
     "output)"},
    KEY_FORMAT_OPTION,
    {OPTION_VALUE_FORMAT, 0, "value-format", "FORMAT", OPTION_IS_CHOICE, BYTES_FORMAT_CHOICES,
     "how the value is written; default is text on a terminal and raw elsewhere"},
    {0},
};
static const struct example get_examples[] = {
    {"tern -d shop get prices apple", "prints 120"},
    {"tern -d shop get images logo --to-file logo.png", "a value into a file"},
    {"tern -d shop get -q prices pear || echo none", "a missing key is exit code 1"},
    {"tern -d shop get visits home --value-format integer", "a number that merge add counts"},
    {0},
};

static const struct argument_spec delete_arguments[] = {
    KEYSPACE_ARGUMENT,
    {"KEY", ARGUMENT_IS_TEXT, true, true, NULL, "keys to delete; none with a range"},
    {0},
};
static const struct option_spec delete_options[] = {
    PREFIX_OPTION,
    FROM_OPTION,
    TO_OPTION,
    {OPTION_ALL, 0, "all", NULL, OPTION_IS_FLAG, NULL, "every key of the keyspace"},
    KEY_FORMAT_OPTION,
    {0},
};
static const struct example delete_examples[] = {
    {"tern -d shop delete prices apple pear", "two keys, in one transaction"},
    {"tern -d shop delete sessions --prefix 'old/'", "a range"},
    {0},
};

static const struct argument_spec scan_arguments[] = {KEYSPACE_ARGUMENT, {0}};
static const struct option_spec scan_options[] = {
    PREFIX_OPTION,
    FROM_OPTION,
    TO_OPTION,
    {OPTION_LIMIT, 'n', "limit", "N", OPTION_IS_COUNT, NULL, "stop after N records"},
    {OPTION_REVERSE, 'r', "reverse", NULL, OPTION_IS_FLAG, NULL, "from the last to the first"},
    {OPTION_COUNT, 'c', "count", NULL, OPTION_IS_FLAG, NULL, "print only how many there are"},
    {OPTION_KEYS_ONLY, 0, "keys-only", NULL, OPTION_IS_FLAG, NULL, "keys without values"},
    {OPTION_VALUES_ONLY, 0, "values-only", NULL, OPTION_IS_FLAG, NULL, "values without keys"},
    KEY_FORMAT_OPTION,
    VALUE_FORMAT_OPTION,
    {0},
};
static const struct example scan_examples[] = {
    {"tern -d shop scan prices", "everything, in order of keys"},
    {"tern -d shop scan prices --prefix app --limit 10", "the first ten that begin with app"},
    {"tern -d shop scan prices --from b --to d --reverse", "from the last before d back to b"},
    {"tern -d shop scan prices --json | jq -r .key", "for programs"},
    {0},
};

static const struct option_spec count_options[] = {
    PREFIX_OPTION,
    FROM_OPTION,
    TO_OPTION,
    {OPTION_ESTIMATE, 'e', "estimate", NULL, OPTION_IS_FLAG, NULL,
     "estimate from the fences of the tree: at once, in a B+tree within 10 % for a thousand keys "
     "and more"},
    KEY_FORMAT_OPTION,
    {0},
};
static const struct example count_examples[] = {
    {"tern -d shop count prices", "exact, by scanning"},
    {"tern -d shop count prices --estimate", "also tells how many bytes"},
    {0},
};

static const struct argument_spec merge_arguments[] = {
    KEYSPACE_ARGUMENT,
    KEY_ARGUMENT,
    {"KIND", ARGUMENT_IS_CHOICE, false, false, "add|append|max",
     "add a number, append bytes, or keep the greater in order of bytes"},
    {"OPERAND", ARGUMENT_IS_TEXT, false, false, NULL,
     "a decimal number for add, otherwise bytes as --value-format says"},
    {0},
};
static const struct option_spec merge_options[] = {KEY_FORMAT_OPTION, VALUE_FORMAT_OPTION, {0}};
static const struct example merge_examples[] = {
    {"tern -d shop merge visits home add 1", "count up; a missing key counts as 0"},
    {"tern -d shop merge visits home add -5", "count down"},
    {"tern -d shop merge log today append 'opened\n'", "append"},
    {0},
};

static const struct argument_spec cas_arguments[] = {
    KEYSPACE_ARGUMENT,
    KEY_ARGUMENT,
    {"EXPECTED", ARGUMENT_IS_TEXT, true, false, NULL,
     "the value that the key must have; left out with --missing"},
    {"DESIRED", ARGUMENT_IS_TEXT, true, false, NULL, "the new value; left out: delete the key"},
    {0},
};
static const struct option_spec cas_options[] = {
    {OPTION_MISSING, 0, "missing", NULL, OPTION_IS_FLAG, NULL, "the key must not exist"},
    TTL_OPTION,
    KEY_FORMAT_OPTION,
    VALUE_FORMAT_OPTION,
    {0},
};
static const struct example cas_examples[] = {
    {"tern -d shop cas locks door free taken", "only if it is free"},
    {"tern -d shop cas --missing locks door free", "only if there is none yet"},
    {"tern -d shop cas locks door taken", "delete it if it is taken"},
    {0},
};

const struct command data_commands[] = {
    {COMMAND_PUT, "put", NULL, "store a value under a key",
     "Stores the value and returns when it is as durable as --durability says. Where there is no "
     "database yet, put fails and says how to create one; so a mistyped directory does not become "
     "a database.",
     put_arguments, put_options, put_examples, "{\"status\":\"OK\",\"seq\":N}", NULL, USES_DATABASE,
     PLACE_BOTH},
    {COMMAND_GET, "get", NULL, "print the value of a key",
     "Prints the value and a newline. A missing key prints nothing on standard output, a message "
     "on standard error (none with -q), and is exit code 1. On a terminal, bytes that would "
     "disturb it are escaped.",
     key_arguments, get_options, get_examples,
     "{\"keyspace\":…,\"key\":…,\"value\":…,\"size_bytes\":N}; with --to-file FILE \"file\":… "
     "instead "
     "of the value, and nothing but the bytes with --to-file -",
     "1 when the key is missing", USES_DATABASE, PLACE_BOTH},
    {COMMAND_DELETE, "delete", "del", "delete keys or a range of keys",
     "Deletes in one transaction. A key that does not exist is not an error.", delete_arguments,
     delete_options, delete_examples, "{\"status\":\"OK\",\"seq\":N}", NULL, USES_DATABASE,
     PLACE_BOTH},
    {COMMAND_SCAN, "scan", NULL, "print records in order of keys",
     "Prints a line per record: the key, a tab, the value. What is not printable, or begins with a "
     "double quote, stands escaped within double quotes, so that lines say without doubt which "
     "bytes were meant. All records are of one moment.",
     scan_arguments, scan_options, scan_examples,
     "{\"key\":…,\"value\":…} (a line per record); with --count {\"count\":N}", NULL, USES_DATABASE,
     PLACE_BOTH},
    {COMMAND_COUNT, "count", NULL, "count the keys of a keyspace or range", NULL, scan_arguments,
     count_options, count_examples,
     "{\"keyspace\":…,\"count\":N,\"is_exact\":B}; an estimate has also \"size_bytes\":N", NULL,
     USES_DATABASE, PLACE_BOTH},
    {COMMAND_MERGE, "merge", NULL, "add to, append to, or raise a value",
     "A merge reads nothing and never conflicts with another merge of the key. Numbers are 8 "
     "bytes, "
     "little-endian; read them with get --value-format integer.",
     merge_arguments, merge_options, merge_examples, "{\"status\":\"OK\",\"seq\":N}", NULL,
     USES_DATABASE, PLACE_BOTH},
    {COMMAND_CAS, "cas", NULL, "compare and set: store only if the value is as expected", NULL,
     cas_arguments, cas_options, cas_examples,
     "{\"status\":\"OK\"}, or {\"status\":\"CONFLICT\",\"current\":…} (null when missing)",
     "5 when the value is another; it is printed on standard error", USES_DATABASE, PLACE_BOTH},
    {0},
};
