/* SPDX-License-Identifier: Apache-2.0 */
/* Table of commands: many records at once. */
#include "cli/command_shared.h"

static const struct argument_spec batch_arguments[] = {
    {"FILE", ARGUMENT_IS_FILE, true, false, NULL, "file of operations; default - standard input"},
    {0},
};
static const struct option_spec batch_options[] = {
    {OPTION_EVERY, 0, "every", "N", OPTION_IS_POSITIVE, NULL,
     "commit after every N operations instead of all at the end"},
    {OPTION_CREATE, 0, "create", NULL, OPTION_IS_FLAG, NULL, "create keyspaces that are missing"},
    {OPTION_ON_ERROR, 0, "on-error", "POLICY", OPTION_IS_CHOICE, "stop|skip",
     "what to do with a bad line (default stop, and nothing of the transaction is kept)"},
    KEY_FORMAT_OPTION,
    VALUE_FORMAT_OPTION,
    {0},
};
static const struct example batch_examples[] = {
    {"printf 'put a k1 v1\\nput b k2 v2\\n' | tern -d shop batch --create",
     "two keyspaces, one transaction"},
    {"tern -d shop batch changes.txt --every 1000", "long lists in pieces"},
    {0},
};

#define COLUMN_OPTIONS                                                                             \
    {OPTION_DELIMITER,                                                                             \
     0,                                                                                            \
     "delimiter",                                                                                  \
     "C",                                                                                          \
     OPTION_IS_CHARACTER,                                                                          \
     NULL,                                                                                         \
     "CSV: what separates columns, a character or the word tab (default a comma)"},                \
    {                                                                                              \
        OPTION_NO_HEADER, 0, "no-header", NULL, OPTION_IS_FLAG, NULL,                              \
            "CSV: the first line is a record, not column names"                                    \
    }

static const struct argument_spec import_arguments[] = {
    {"KEYSPACE", ARGUMENT_IS_KEYSPACE, true, false, NULL,
     "where to; created when missing; left out with --all"},
    {"FILE", ARGUMENT_IS_FILE, true, false, NULL, "what to read; default - standard input"},
    {0},
};
static const struct option_spec import_options[] = {
    {OPTION_FORMAT, 'f', "format", "FORMAT", OPTION_IS_CHOICE, RECORD_FORMAT_CHOICES,
     "default by the file's name (.jsonl .ndjson .csv .tsv .dump), otherwise jsonl"},
    {OPTION_ALL, 0, "all", NULL, OPTION_IS_FLAG, NULL, "records name their keyspace (dump, jsonl)"},
    {OPTION_BATCH, 'b', "batch", "N", OPTION_IS_POSITIVE, NULL,
     "records per transaction (default 1000)"},
    {OPTION_ON_ERROR, 0, "on-error", "POLICY", OPTION_IS_CHOICE, "stop|skip",
     "what to do with a bad record (default stop); either way it is named by its line"},
    KEY_FORMAT_OPTION,
    VALUE_FORMAT_OPTION,
    COLUMN_OPTIONS,
    {OPTION_KEY_COLUMN, 0, "key-column", "LIST", OPTION_IS_TEXT, NULL,
     "CSV: column that is the key, by name or number from 1; several, separated by commas, are "
     "joined (default 1)"},
    {OPTION_VALUE_COLUMN, 0, "value-column", "LIST", OPTION_IS_TEXT, NULL,
     "CSV: one column is stored as it is, several as JSON; default is all but the key, as JSON"},
    {OPTION_COLUMNS, 0, "columns", "NAMES", OPTION_IS_TEXT, NULL,
     "CSV: names for the columns, instead of those in the header"},
    {OPTION_KEY_SEPARATOR, 0, "key-separator", "TEXT", OPTION_IS_TEXT, NULL,
     "CSV: between the parts of a joined key (default /)"},
    {OPTION_COMMENT, 0, "comment", "C", OPTION_IS_CHARACTER, NULL,
     "CSV: leave out lines that begin with it"},
    {OPTION_NO_QUOTES, 0, "no-quotes", NULL, OPTION_IS_FLAG, NULL,
     "CSV: double quotes have no meaning"},
    {OPTION_KEY_FIELD, 0, "key-field", "NAME", OPTION_IS_TEXT, NULL,
     "JSON Lines: any objects; the key is this field, the value the whole line"},
    {OPTION_VALUE_FIELD, 0, "value-field", "NAME", OPTION_IS_TEXT, NULL,
     "JSON Lines: with --key-field, the value is this field"},
    {OPTION_KEY_PREFIX, 0, "key-prefix", "TEXT", OPTION_IS_TEXT, NULL,
     "CSV, JSON Lines: put before every key"},
    TTL_OPTION,
    {0},
};
static const struct example import_examples[] = {
    {"tern -d shop import people people.csv --key-column email", "a table; values become JSON"},
    {"tern -d shop import orders orders.jsonl --key-field id", "any JSON Lines"},
    {"tern -d copy import --all shop.dump", "what export wrote"},
    {"sort -u words | tern -d shop import words - --format csv --no-header", "from a pipe"},
    {0},
};

static const struct argument_spec export_arguments[] = {
    {"KEYSPACE", ARGUMENT_IS_KEYSPACE, true, false, NULL, "what to write; left out with --all"},
    {"FILE", ARGUMENT_IS_FILE, true, false, NULL, "where to; default - standard output"},
    {0},
};
static const struct option_spec export_options[] = {
    {OPTION_FORMAT, 'f', "format", "FORMAT", OPTION_IS_CHOICE, RECORD_FORMAT_CHOICES,
     "default by the file's name (.jsonl .ndjson .csv .tsv .dump), otherwise jsonl"},
    {OPTION_ALL, 0, "all", NULL, OPTION_IS_FLAG, NULL, "all keyspaces (dump, jsonl)"},
    PREFIX_OPTION,
    FROM_OPTION,
    TO_OPTION,
    KEY_FORMAT_OPTION,
    VALUE_FORMAT_OPTION,
    COLUMN_OPTIONS,
    {0},
};
static const struct example export_examples[] = {
    {"tern -d shop export --all shop.dump", "everything, every byte"},
    {"tern -d shop export people people.jsonl", "a line of JSON per record"},
    {"tern -d shop export prices - --format csv --prefix a", "a part, to standard output"},
    {0},
};

const struct command transfer_commands[] = {
    {COMMAND_BATCH, "batch", NULL, "run a list of writes as one transaction",
     "Reads one operation a line, quoted as in the REPL: put KEYSPACE KEY VALUE [--ttl TIME], "
     "delete KEYSPACE KEY…, merge KEYSPACE KEY KIND OPERAND, keyspace create NAME, keyspace drop "
     "NAME. Lines that begin with # are comments. A line that begins with { is JSON: "
     "{\"op\":\"put\",\"keyspace\":…,\"key\":…,\"value\":…,\"ttl_ms\":N}, {\"op\":\"delete\",…}, "
     "{\"op\":\"merge\",\"kind\":\"add\",…}; keys and values may be given as key_hex, value_base64 "
     "and so on.\n\n"
     "All operations are committed together, or none. Creates the database when there is none.",
     batch_arguments, batch_options, batch_examples,
     "{\"operations\":N,\"transactions\":N,\"skipped\":N,\"seq\":N}", NULL, USES_OR_MAKES,
     PLACE_BOTH},
    {COMMAND_IMPORT, "import", NULL, "read records from JSON Lines, CSV or a dump",
     "Reads a file or standard input and stores its records in transactions of --batch records. "
     "Creates keyspace and database when they are missing. After an interruption what was "
     "committed stays; importing again gives the same result.\n\n"
     "JSON Lines: {\"key\":…,\"value\":…} a line, where key_hex, key_base64, value_hex, "
     "value_base64, value_integer and so on stand for other forms, and a value that is not a "
     "string is stored as its JSON text. CSV is RFC 4180: quotes, doubled quotes, newlines within "
     "quotes. A dump keeps every byte and is checked by checksums; see docs/format/dump.md.\n\n"
     "On a terminal, or with --progress, shows records, rate, percentage and time left.",
     import_arguments, import_options, import_examples,
     "{\"records\":N,\"skipped\":N,\"transactions\":N,\"input_bytes\":N,\"seconds\":X}",
     "2 when a record is bad (with --on-error stop), 4 when a dump is damaged", USES_OR_MAKES,
     PLACE_BOTH},
    {COMMAND_EXPORT, "export", NULL, "write records as JSON Lines, CSV or a dump",
     "Writes all records of one moment, in order of keys. A file is written beside its name and "
     "renamed when complete. JSON Lines keeps bytes that are not UTF-8 in fields named "
     "key_base64 and value_base64; CSV writes bytes as they are. Keys that expire are exported "
     "without their time to live: imported again, they stay.",
     export_arguments, export_options, export_examples,
     "{\"records\":N,\"keyspaces\":N,\"seconds\":X} on standard error when the records go to "
     "standard output",
     NULL, USES_DATABASE, PLACE_BOTH},
    {0},
};
