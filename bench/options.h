/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of compare: one table gives parser, defaults and --help. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "driver.h"

#define SYSTEMS_MAX   32
#define WORKLOADS_MAX 64
#define THREADS_MAX   255
#define MULTI_MAX     1024

enum check_extent { CHECK_ALL, CHECK_SAMPLES };

struct compare_options {
    const char *systems;
    const char *workloads;
    const char *directory; /* NULL: a new one under TMPDIR or here */
    uint64_t records;
    uint64_t threads;
    uint64_t key_bytes;
    uint64_t value_bytes;
    double value_entropy;
    double seconds;
    double warmup_seconds;
    uint64_t memory_bytes;
    uint64_t memory_limit_bytes; /* of a control group around each phase; 0: none */
    uint64_t filter_bits;
    uint64_t batch;
    uint64_t multi;
    uint64_t seed;
    uint64_t timeline_ms; /* 0: none */
    enum durability durability;
    enum compression compression;
    enum key_format key_format;
    enum check_extent check;
    bool json;
    bool keep;
    bool list;
    bool help;
    bool progress;
};

enum parse_result { PARSE_OK, PARSE_BAD };

/* Fills in the defaults, then what the arguments say. What is wrong goes to standard error. */
enum parse_result options_parse(int argc, char **argv, struct compare_options *out_options);

void options_print_help(void);

#endif
