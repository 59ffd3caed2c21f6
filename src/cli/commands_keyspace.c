/* SPDX-License-Identifier: Apache-2.0 */
/* Table of commands: keyspaces. */
#include "cli/command_shared.h"

static const struct argument_spec name_arguments[] = {
    {"NAME", ARGUMENT_IS_KEYSPACE, false, false, NULL, "name of the keyspace, 1 to 255 bytes"},
    {0},
};
static const struct argument_spec new_name_arguments[] = {
    {"NAME", ARGUMENT_IS_TEXT, false, false, NULL, "name of the keyspace, 1 to 255 bytes"},
    {0},
};
static const struct option_spec create_options[] = {
    {OPTION_ENGINE, 0, "engine", "ENGINE", OPTION_IS_CHOICE, "btree|lsm|hash",
     "how records are stored (default btree)"},
    {OPTION_COMPRESSION, 0, "compression", "CODEC", OPTION_IS_CHOICE, "none|lz4|zstd|snappy",
     "of pages and blocks (default none)"},
    {OPTION_PAGE_BYTES, 0, "page-bytes", "SIZE", OPTION_IS_POSITIVE_SIZE, NULL,
     "size of a leaf or block, a power of two from 4 KiB to 64 KiB (default 8 KiB)"},
    {OPTION_FAN_OUT, 0, "fan-out", "N", OPTION_IS_POSITIVE, NULL,
     "btree, lsm: most children of an inner node, 16 to 4096 (default 256)"},
    {OPTION_FILL, 0, "fill", "PERCENT", OPTION_IS_POSITIVE, NULL,
     "btree: how full written pages are left, 50 to 100 (default 95)"},
    {OPTION_HASH_INDEX, 0, "hash-index", "KIND", OPTION_IS_CHOICE, "buckets|robin-hood|tag-groups",
     "hash: how the index resolves collisions (default buckets)"},
    {OPTION_HASH_FUNCTION, 0, "hash-function", "NAME", OPTION_IS_CHOICE, "xxh3|crc32c|fnv1a",
     "hash: how keys are hashed (default xxh3; the others for keys that nobody chooses)"},
    {OPTION_EXPECTED_KEYS, 0, "expected-keys", "N", OPTION_IS_COUNT, NULL,
     "hash: the index begins with room for so many"},
    {OPTION_MAX_LOAD, 0, "max-load", "PERCENT", OPTION_IS_POSITIVE, NULL,
     "hash: how full the index gets before it grows, 30 to 95 (default 75)"},
    {OPTION_COMPACTION, 0, "compaction", "STYLE", OPTION_IS_CHOICE, "leveled|tiered|fifo",
     "lsm: how tables are merged: for reads and space, for writes, or dropped as they expire "
     "(default leveled)"},
    {OPTION_FILTER_BITS, 0, "filter-bits", "N", OPTION_IS_COUNT, NULL,
     "lsm: bits of the filters for each key, 1 to 64; 0 means none (default 10)"},
    {OPTION_LEVEL_COMPRESSION, 0, "level-compression", "LIST", OPTION_IS_TEXT, NULL,
     "lsm: codecs of tables by the level they are written into, from level 0 to 7, with commas: "
     "none, lz4, zstd, snappy, or default, as --compression (default: lz4 for zstd in 0 and 1)"},
    {OPTION_IF_MISSING, 0, "if-missing", NULL, OPTION_IS_FLAG, NULL,
     "do nothing when it exists already"},
    {0},
};
static const struct example create_examples[] = {
    {"tern -d shop keyspace create prices", "also creates the database when there is none"},
    {"tern -d shop keyspace create events --compression zstd --page-bytes 16K", NULL},
    {"tern -d shop keyspace create sessions --engine hash", "point reads and writes, no order"},
    {"tern -d shop keyspace create events --engine lsm --filter-bits 14 --level-compression "
     "none,none,lz4 --compression zstd",
     "sorted tables: the upper levels fast, the last small"},
    {0},
};
static const struct option_spec convert_options[] = {
    {OPTION_ENGINE, 0, "engine", "ENGINE", OPTION_IS_CHOICE, "btree|lsm|hash",
     "how records are to be stored"},
    {OPTION_COMPRESSION, 0, "compression", "CODEC", OPTION_IS_CHOICE, "none|lz4|zstd|snappy",
     "of pages and blocks"},
    {OPTION_PAGE_BYTES, 0, "page-bytes", "SIZE", OPTION_IS_POSITIVE_SIZE, NULL,
     "size of a leaf or block, a power of two from 4 KiB to 64 KiB"},
    {OPTION_FAN_OUT, 0, "fan-out", "N", OPTION_IS_POSITIVE, NULL,
     "btree, lsm: most children of an inner node, 16 to 4096"},
    {OPTION_FILL, 0, "fill", "PERCENT", OPTION_IS_POSITIVE, NULL,
     "btree: how full written pages are left, 50 to 100"},
    {OPTION_HASH_INDEX, 0, "hash-index", "KIND", OPTION_IS_CHOICE, "buckets|robin-hood|tag-groups",
     "hash: how the index resolves collisions"},
    {OPTION_HASH_FUNCTION, 0, "hash-function", "NAME", OPTION_IS_CHOICE, "xxh3|crc32c|fnv1a",
     "hash: how keys are hashed"},
    {OPTION_EXPECTED_KEYS, 0, "expected-keys", "N", OPTION_IS_COUNT, NULL,
     "hash: the index begins with room for so many"},
    {OPTION_MAX_LOAD, 0, "max-load", "PERCENT", OPTION_IS_POSITIVE, NULL,
     "hash: how full the index gets before it grows, 30 to 95"},
    {OPTION_COMPACTION, 0, "compaction", "STYLE", OPTION_IS_CHOICE, "leveled|tiered|fifo",
     "lsm: how tables are merged from now on; alone, it copies nothing"},
    {OPTION_FILTER_BITS, 0, "filter-bits", "N", OPTION_IS_COUNT, NULL,
     "lsm: bits of the filters for each key, 1 to 64; 0 means none"},
    {OPTION_LEVEL_COMPRESSION, 0, "level-compression", "LIST", OPTION_IS_TEXT, NULL,
     "lsm: codecs of tables by the level they are written into, from level 0 to 7, with commas: "
     "none, lz4, zstd, snappy, or default, as --compression"},
    {0},
};
static const struct example convert_examples[] = {
    {"tern -d shop keyspace convert sessions --engine hash", "point reads and writes, no order"},
    {"tern -d shop keyspace convert events --engine lsm --compression zstd --progress", NULL},
    {"tern -d shop keyspace convert prices --page-bytes 16K", "the same engine, larger pages"},
    {0},
};
static const struct option_spec drop_options[] = {
    {OPTION_IF_EXISTS, 0, "if-exists", NULL, OPTION_IS_FLAG, NULL, "do nothing when there is none"},
    {0},
};
static const struct example drop_examples[] = {{"tern -d shop keyspace drop events", NULL}, {0}};
static const struct example list_examples[] = {{"tern -d shop keyspace list", NULL}, {0}};
static const struct example info_examples[] = {{"tern -d shop keyspace info prices", NULL}, {0}};

const struct command keyspace_commands[] = {
    {COMMAND_KEYSPACE_CREATE, "keyspace create", NULL, "create a keyspace",
     "A keyspace is a named map from keys to values; convert changes its options later. Creates "
     "directory and database when there are none. An option that the engine has no use for is "
     "refused.",
     new_name_arguments, create_options, create_examples, "{\"status\":\"OK\",\"seq\":N}",
     "11 when it exists already", USES_OR_MAKES, PLACE_BOTH},
    {COMMAND_KEYSPACE_CONVERT, "keyspace convert", NULL,
     "store a keyspace in another engine or with other options",
     "Copies the records beside what there is and switches over in one commit, so the disk must "
     "have room for both. What is not given stays as it is, as far as the engine has a use for it; "
     "options that it has no use for are refused. Interrupted at any point, by Ctrl-C, a "
     "crash or a power cut, the keyspace is as before or converted; what was copied in vain is "
     "removed, at the latest at the next open, and the conversion has to be begun again. Keys that "
     "are longer than the new options let be are refused, and nothing changes.",
     name_arguments, convert_options, convert_examples,
     "{\"status\":\"OK\",\"from\":…,\"engine\":…,\"records\":N,\"seconds\":X}",
     "1 when there is none, 21 when interrupted", USES_DATABASE, PLACE_BOTH},
    {COMMAND_KEYSPACE_DROP, "keyspace drop", NULL, "drop a keyspace with all its records", NULL,
     name_arguments, drop_options, drop_examples, "{\"status\":\"OK\",\"seq\":N}",
     "1 when there is none", USES_DATABASE, PLACE_BOTH},
    {COMMAND_KEYSPACE_LIST, "keyspace list", "keyspaces", "list the keyspaces", NULL, NULL, NULL,
     list_examples,
     "{\"keyspaces\":[{\"name\":…,\"engine\":…,\"compression\":…,\"page_bytes\":N,\"fan_out\":N,"
     "\"fill_percent\":N, of hash \"hash_index\":…, \"hash_function\":…, "
     "\"max_load_percent\":N, \"expected_keys\":N,"
     " of lsm \"compaction\":…, \"filter_bits\":N, \"level_compression\":[…],"
     "\"estimated_records\":N,\"estimated_bytes\":N}]}",
     NULL, USES_DATABASE, PLACE_BOTH},
    {COMMAND_KEYSPACE_INFO, "keyspace info", NULL, "options and numbers of a keyspace", NULL,
     name_arguments, NULL, info_examples,
     "{\"name\":…, the options as in keyspace list, \"stats\":{NAME: as in stats}}",
     "1 when there is none", USES_DATABASE, PLACE_BOTH},
    {0},
};
