/* SPDX-License-Identifier: Apache-2.0 */
/* Table of commands: looking after a database. */
#include "cli/command_shared.h"

static const struct argument_spec stats_arguments[] = {
    {"KEYSPACE", ARGUMENT_IS_KEYSPACE, true, false, NULL, "numbers of one keyspace"},
    {0},
};
static const struct option_spec stats_options[] = {
    {OPTION_ALL, 'a', "all", NULL, OPTION_IS_FLAG, NULL, "also numbers that are zero"},
    {0},
};
static const struct example stats_examples[] = {
    {"tern -d shop stats", NULL},
    {"tern -d shop stats --json | jq .stats.log_appended_bytes.value", NULL},
    {0},
};
static const struct example checkpoint_examples[] = {{"tern -d shop checkpoint", NULL}, {0}};
static const struct example compact_examples[] = {{"tern -d shop compact --progress", NULL}, {0}};
static const struct argument_spec clone_arguments[] = {
    {"TARGET", ARGUMENT_IS_DIRECTORY, false, false, NULL, "a directory that is new or empty"},
    {0},
};
static const struct example clone_examples[] = {
    {"tern -d shop clone /backup/shop-2025-06-01", NULL},
    {0},
};
static const struct argument_spec directory_arguments[] = {
    {"DIR", ARGUMENT_IS_DIRECTORY, true, false, NULL, "the database; default is that of -d"},
    {0},
};
static const struct example verify_examples[] = {
    {"tern -d shop verify", "exit code 0: everything is sound"},
    {"tern verify shop --json | jq .findings", NULL},
    {0},
};
static const struct option_spec repair_options[] = {
    {OPTION_TO_DIRECTORY, 0, "to", "NEWDIR", OPTION_IS_DIRECTORY, NULL,
     "where the new database goes (required)"},
    {0},
};
static const struct example repair_examples[] = {
    {"tern repair shop --to shop-repaired", NULL},
    {0},
};
static const struct example doctor_examples[] = {
    {"tern doctor", "this machine"},
    {"tern -d shop doctor", "and the place where the database is"},
    {0},
};
static const struct option_spec bench_options[] = {
    {OPTION_RECORDS, 'n', "records", "N", OPTION_IS_POSITIVE, NULL,
     "records to load (default 200k)"},
    {OPTION_SECONDS, 's', "seconds", "N", OPTION_IS_POSITIVE, NULL,
     "how long each measurement runs (default 2)"},
    {OPTION_VALUE_BYTES, 0, "value-bytes", "SIZE", OPTION_IS_SIZE, NULL,
     "size of a value (default 100)"},
    {OPTION_BENCH_DIRECTORY, 0, "in", "DIR", OPTION_IS_DIRECTORY, NULL,
     "directory on the device to measure; a new one is made in it and removed afterwards "
     "(default TMPDIR, or /tmp)"},
    {0},
};
static const struct example bench_examples[] = {
    {"tern bench", NULL},
    {"tern bench --records 1M --in /mnt/data", "the device that the database will be on"},
    {0},
};

const struct command care_commands[] = {
    {COMMAND_STATS, "stats", NULL, "numbers of the database or of a keyspace",
     "Prints the numbers that are not zero (all with --all). Counters begin at 0 when the database "
     "is opened; gauges are levels of this moment.",
     stats_arguments, stats_options, stats_examples,
     "{\"keyspace\":… or null,\"stats\":{NAME:{\"value\":N,\"unit\":…,\"kind\":\"counter\" or "
     "\"gauge\",\"meaning\":…}}}",
     NULL, USES_DATABASE, PLACE_BOTH},
    {COMMAND_CHECKPOINT, "checkpoint", NULL, "move what is in memory into the data files",
     "Drains memory into the durable structures and lets the log go, so that the next start is "
     "fast. A copy of the database is a clone, not a checkpoint.",
     NULL, NULL, checkpoint_examples, "{\"status\":\"OK\"}", NULL, USES_DATABASE, PLACE_BOTH},
    {COMMAND_COMPACT, "compact", NULL, "rewrite data files without slack and shrink them", NULL,
     NULL, NULL, compact_examples, "{\"status\":\"OK\"}", NULL, USES_DATABASE, PLACE_BOTH},
    {COMMAND_CLONE, "clone", NULL, "write a consistent copy to a new directory",
     "The copy is of one moment and is a database of its own. Where it is interrupted the target "
     "is "
     "left empty; killed or cut off from power, what there is of it is never taken for a database.",
     clone_arguments, NULL, clone_examples, "{\"status\":\"OK\",\"target\":…}",
     "11 when the target is not empty", USES_DATABASE, PLACE_BOTH},
    {COMMAND_VERIFY, "verify", NULL, "check every checksum, order, fence and the log chain",
     "Reads the whole database and prints what is wrong: file, offset, and the invariant that does "
     "not hold. From the shell it works on the directory of a database that is not open, changes "
     "nothing, and also works where opening fails. In the REPL it checks the open database.",
     directory_arguments, NULL, verify_examples,
     "{\"is_sound\":B or null when it could not be found "
     "out,\"files\":N,\"pages\":N,\"records\":N,\"log_records\":N,\"bytes\":N,"
     "\"findings\":[{\"file\":…,\"offset\":N or null,\"invariant\":…,\"message\":…}]}",
     "4 with findings", USES_DIRECTORY, PLACE_BOTH},
    {COMMAND_REPAIR, "repair", NULL, "save everything readable into a new database",
     "The source is not changed. Every loss is printed. Where the root file is damaged or missing, "
     "keyspaces come back under the names recovered-N. The target is treated as that of clone.",
     directory_arguments, repair_options, repair_examples,
     "{\"target\":…,\"keyspaces\":N,\"records\":N,\"lost_pages\":N,\"lost_records\":N,"
     "\"log_records\":N,\"findings\":[as in verify]}",
     "4 when something was damaged or lost, 11 when the target is not empty", USES_DIRECTORY,
     PLACE_SHELL},
    {COMMAND_DOCTOR, "doctor", NULL, "check limits and settings of the machine",
     "Looks at limits, memory, huge pages, file system, free space, clock and permissions, and "
     "says "
     "for each finding what to do.",
     NULL, NULL, doctor_examples,
     "{\"ok\":N,\"warn\":N,\"fail\":N,\"checks\":[{\"name\":…,\"level\":\"ok\", \"warn\" or "
     "\"fail\",\"finding\":…,\"remedy\":… or null}]}",
     "3 when a check fails", USES_NOTHING, PLACE_BOTH},
    {COMMAND_BENCH, "bench", NULL, "measure this machine for a few seconds",
     "Loads records, reads them at random, scans, and writes durably, in a new database that is "
     "removed afterwards. For comparisons with other databases see bench/compare.",
     NULL, bench_options, bench_examples,
     "{\"records\":N,\"value_bytes\":N,\"results\":[{\"name\":…,\"ops\":N,\"seconds\":X,"
     "\"ops_per_s\":X,\"p50_us\":X,\"p95_us\":X,\"p99_us\":X,\"max_us\":X}]}",
     NULL, USES_NOTHING, PLACE_BOTH},
    {0},
};
