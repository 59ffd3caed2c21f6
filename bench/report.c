/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include "json.h"

static double rate_of(const struct run_result *run) {
    return run->seconds > 0.0 ? (double)run->operations / run->seconds : 0.0;
}

static void print_engine(struct json_line *line, const struct engine_counters *engine) {
    json_integer(line, "engine_reads", engine->reads);
    json_integer(line, "engine_read_bytes", engine->read_bytes);
    json_integer(line, "engine_written_bytes", engine->written_bytes);
    json_integer(line, "engine_compactions", engine->compactions);
    json_integer(line, "engine_pauses", engine->pauses);
    json_real(line, "engine_pause_seconds", (double)engine->pause_ns * 1e-9, 6);
    json_real(line, "engine_pause_max_us", (double)engine->pause_max_ns * 1e-3, 3);
    json_integer(line, "index_memory_bytes", engine->index_memory_bytes);
    json_integer(line, "cache_memory_bytes", engine->cache_memory_bytes);
}

static void print_timeline(struct json_line *line, const struct compare_options *options,
                           const struct bench_clock *clock, const struct timeline *timeline) {
    double values[TIMELINE_SLOTS];
    json_integer(line, "timeline_ms", options->timeline_ms);
    for (unsigned i = 0; i < timeline->slot_count; i++)
        values[i] = (double)timeline->calls[i];
    json_reals(line, "timeline_calls", values, timeline->slot_count, 0);
    for (unsigned i = 0; i < timeline->slot_count; i++)
        values[i] = (double)timeline->max_ticks[i] * clock->ns_per_tick / 1000.0;
    json_reals(line, "timeline_max_us", values, timeline->slot_count, 3);
}

/* The first thirteen are the interface; what follows may grow. */
static void print_json(const struct compare_options *options, const char *system,
                       const char *workload, const struct driver *driver,
                       const struct bench_clock *clock, const struct outcome *outcome) {
    const struct run_result *run = &outcome->run;
    char version[64];
    struct json_line line;
    driver->version(version, sizeof(version));
    json_begin(&line, stdout);
    json_text(&line, "system", system);
    json_text(&line, "workload", workload);
    json_integer(&line, "threads", options->threads);
    json_integer(&line, "records", options->records);
    json_real(&line, "ops_per_s", rate_of(run), 1);
    json_real(&line, "p50_us", run->p50_us, 3);
    json_real(&line, "p95_us", run->p95_us, 3);
    json_real(&line, "p99_us", run->p99_us, 3);
    json_real(&line, "p999_us", run->p999_us, 3);
    json_integer(&line, "peak_rss_bytes", outcome->peak_rss_bytes);
    json_integer(&line, "disk_bytes", outcome->disk_bytes);
    json_integer(&line, "written_bytes", outcome->written_bytes);
    json_integer(&line, "logical_bytes", run->logical_bytes);
    json_real(&line, "max_us", run->max_us, 3);
    json_integer(&line, "samples", run->samples);
    json_integer(&line, "operations", run->operations);
    json_real(&line, "seconds", run->seconds, 6);
    json_real(&line, "settle_seconds", outcome->settle_seconds, 6);
    json_integer(&line, "conflicts", run->conflicts);
    json_integer(&line, "read_bytes", run->read_bytes);
    json_integer(&line, "raw_bytes",
                 options->records * (options->key_bytes + options->value_bytes));
    json_integer(&line, "written_process_bytes", outcome->written_process_bytes);
    json_text(&line, "written_source", outcome->written_is_device ? "device" : "process");
    json_integer(&line, "fetched_bytes", outcome->fetched_bytes);
    json_integer(&line, "fetched_process_bytes", outcome->fetched_process_bytes);
    json_integer(&line, "live_bytes",
                 outcome->live_entries * (options->key_bytes + options->value_bytes));
    if (outcome->has_engine_counters)
        print_engine(&line, &outcome->engine);
    json_integer(&line, "anonymous_bytes", outcome->anonymous_bytes);
    json_integer(&line, "mapped_bytes", outcome->mapped_bytes);
    json_integer(&line, "memory_bytes", options->memory_bytes);
    json_integer(&line, "memory_limit_bytes", options->memory_limit_bytes);
    json_integer(&line, "key_bytes", options->key_bytes);
    json_integer(&line, "value_bytes", options->value_bytes);
    json_text(&line, "durability",
              keeps_nothing(driver) ? "volatile" : durability_name(outcome->durability));
    json_text(&line, "compression", compression_name(outcome->compression));
    json_integer(&line, "seed", options->seed);
    json_text(&line, "version", version);
    json_integer(&line, "errors", 0);
    json_boolean(&line, "verified", outcome->verified);
    json_text(&line, "check", options->check == CHECK_ALL ? "all" : "samples");
    if (options->timeline_ms > 0)
        print_timeline(&line, options, clock, &outcome->timeline);
    json_end(&line);
}

static void print_row(struct report *report, const struct compare_options *options,
                      const char *system, const char *workload, const struct outcome *outcome) {
    const struct run_result *run = &outcome->run;
    if (!report->has_header)
        printf("%-13s %-16s %3s %12s %9s %9s %9s %10s %10s %9s %9s %6s\n", "system", "workload",
               "thr", "ops/s", "p50 us", "p95 us", "p99 us", "p99.9 us", "max us", "RSS MiB",
               "disk MiB", "w.amp");
    report->has_header = true;
    double mib = 1024.0 * 1024.0;
    char amplification[16] = "-";
    if (run->logical_bytes > 0)
        snprintf(amplification, sizeof(amplification), "%.2f",
                 (double)outcome->written_bytes / (double)run->logical_bytes);
    printf("%-13s %-16s %3u %12.0f %9.2f %9.2f %9.2f %10.2f %10.0f %9.1f %9.1f %6s\n", system,
           workload, (unsigned)options->threads, rate_of(run), run->p50_us, run->p95_us,
           run->p99_us, run->p999_us, run->max_us, (double)outcome->peak_rss_bytes / mib,
           (double)outcome->disk_bytes / mib, amplification);
    fflush(stdout);
}

void report_result(struct report *report, const struct compare_options *options, const char *system,
                   const char *workload, const struct driver *driver,
                   const struct outcome *outcome) {
    if (report->json)
        print_json(options, system, workload, driver, report->clock, outcome);
    else
        print_row(report, options, system, workload, outcome);
}

void report_list(void) {
    size_t count = 0;
    const struct driver_entry *entries = driver_entries(&count);
    printf("systems:\n");
    for (size_t i = 0; i < count; i++) {
        char version[64] = "";
        if (entries[i].driver == NULL) {
            printf("  %-18s not built in: %s, then configure again\n", entries[i].name,
                   entries[i].remedy);
            continue;
        }
        entries[i].driver->version(version, sizeof(version));
        bool is_ordered = (entries[i].driver->abilities & DRIVER_ORDERED) != 0;
        printf("  %-18s %s%s%s\n", entries[i].name, version,
               is_ordered ? "" : " (without order: no scan_100, no ycsb_e)",
               keeps_nothing(entries[i].driver) ? " (keeps nothing: no write_durable)" : "");
    }
    printf("workloads:\n");
    for (unsigned i = 0; workload_at(i) != NULL; i++)
        printf("  %-18s %s\n", workload_at(i)->name, workload_at(i)->text);
}
