/* SPDX-License-Identifier: Apache-2.0 */
/* Results as JSON lines or as a table that grows line by line. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "phases.h"

struct report {
    bool json;
    bool has_header;
    const struct bench_clock *clock;
};

void report_result(struct report *report, const struct compare_options *options, const char *system,
                   const char *workload, const struct driver *driver,
                   const struct outcome *outcome);

/* Every system and workload, for --list. */
void report_list(void);

#endif
