/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to one system in one process of its own: each phase is forked, so that its peak
 * memory and the pages it dirtied are its alone, and a store that crashes takes nothing with it.
 */
#ifndef BENCH_PHASES_H
#define BENCH_PHASES_H

#include "run.h"

/* What the parent knows of a store's directory. */
struct data_state {
    bool is_loaded; /* all base records, arrived in random order */
    bool second_loaded;
    uint64_t inserted;    /* records beyond the base ones */
    uint64_t next_insert; /* serial for the next insert */
};

/* Written by the child into shared memory. */
struct outcome {
    bool ok;
    char error[600];
    struct run_result run;
    enum compression compression;
    enum durability durability;
    uint64_t peak_rss_bytes;
    uint64_t anonymous_bytes;
    uint64_t mapped_bytes;
    uint64_t disk_bytes;
    uint64_t live_entries; /* that are in the store now */
    uint64_t written_bytes;
    uint64_t written_process_bytes;
    uint64_t fetched_bytes;
    uint64_t fetched_process_bytes;
    bool written_is_device; /* and fetched_bytes too */
    bool has_engine_counters;
    struct engine_counters engine; /* of the run and what followed to its final sync */
    struct timeline timeline;
    double settle_seconds; /* checkpoint, compaction and final sync after the clock stopped */
    bool verified;
};

struct phase {
    const struct compare_options *options;
    const struct driver *driver;
    const struct workload *workload;
    const struct record_space *records;
    const struct zipf *zipf;
    const struct bench_clock *clock;
    const char *directory;
    struct data_state state;
};

/* Runs the phase in a forked process and returns what it left; false with a text if it failed. */
bool phase_run_forked(const struct phase *phase, struct outcome *out_outcome);

#endif
