/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_traces: hit ratio and throughput of every cache policy on every trace, at several sizes,
 * beside what exact LRU, exact CLOCK and Belady's optimum would hit. No disk: a miss costs what the
 * cache itself takes to give a frame and publish it.
 */
#include "cache_traces.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

struct settings {
    uint64_t seed;
    uint32_t page_count;
    size_t length;
    bool is_json;
    bool has_references;
    const char *trace; /* NULL: all */
    const char *policy;
};

static const uint32_t sizes_permille[] = {20, 50, 100, 200, 400};
#define SIZES (sizeof(sizes_permille) / sizeof(sizes_permille[0]))

struct row {
    const char *trace, *policy;
    uint32_t cache_pages, permille;
    uint64_t hits;
    const struct replay_result *replay; /* NULL: a reference */
};

static void print_row(const struct settings *settings, const struct row *row) {
    double ratio = (double)row->hits / (double)settings->length;
    double rate = row->replay != NULL ? (double)settings->length / row->replay->seconds : 0;
    if (!settings->is_json) {
        printf("%-10s %6u %-12s %7.2f%%", row->trace, row->cache_pages, row->policy, ratio * 100);
        printf(row->replay != NULL ? " %8.2f M/s\n" : "\n", rate * 1e-6);
        return;
    }
    struct json_line line;
    json_begin(&line, stdout);
    json_text(&line, "trace", row->trace);
    json_text(&line, "policy", row->policy);
    json_integer(&line, "seed", settings->seed);
    json_integer(&line, "pages", settings->page_count);
    json_integer(&line, "accesses", settings->length);
    json_integer(&line, "cache_permille", row->permille);
    json_integer(&line, "cache_pages", row->cache_pages);
    json_real(&line, "hit_ratio", ratio, 5);
    if (row->replay != NULL) {
        json_real(&line, "ops_per_s", rate, 0);
        json_integer(&line, "frames", row->replay->frames);
        json_integer(&line, "ghost_hits", row->replay->ghost_hits);
    }
    json_end(&line);
}

static void run_references(const struct settings *settings, const struct page_trace *trace,
                           struct row row) {
    row.policy = "exact-lru";
    row.hits = reference_lru_hits(trace, row.cache_pages);
    print_row(settings, &row);
    row.policy = "exact-clock";
    row.hits = reference_clock_hits(trace, row.cache_pages);
    print_row(settings, &row);
    row.policy = "belady";
    row.hits = reference_belady_hits(trace, row.cache_pages);
    print_row(settings, &row);
}

static void run_trace(const struct settings *settings, enum trace_kind kind) {
    for (size_t i = 0; i < SIZES; i++) {
        struct row row = {.trace = trace_name(kind), .permille = sizes_permille[i]};
        row.cache_pages = (uint32_t)((uint64_t)settings->page_count * sizes_permille[i] / 1000);
        struct page_trace trace;
        trace_make(kind, settings->seed, settings->page_count, settings->length, row.cache_pages,
                   &trace);
        for (int p = TERN_CACHE_POLICY_CLOCK; p <= TERN_CACHE_POLICY_LRU; p++) {
            row.policy = cache_policy_name((tern_cache_policy)p);
            if (settings->policy != NULL && strcmp(settings->policy, row.policy) != 0) {
                continue;
            }
            struct replay_result result;
            trace_replay(&trace, (tern_cache_policy)p, row.cache_pages, &result);
            row.hits = result.hits;
            row.replay = &result;
            print_row(settings, &row);
        }
        row.replay = NULL;
        if (settings->has_references) {
            run_references(settings, &trace, row);
        }
        free(trace.pages);
    }
}

static int usage(FILE *file) {
    fprintf(file, "usage: cache_traces [--json] [--seed N] [--pages N] [--accesses N]\n"
                  "                    [--trace NAME] [--policy NAME] [--no-references]\n");
    return file == stderr ? 2 : 0;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"seed", required_argument, NULL, 's'},
        {"pages", required_argument, NULL, 'p'},
        {"accesses", required_argument, NULL, 'a'},
        {"trace", required_argument, NULL, 't'},
        {"policy", required_argument, NULL, 'o'},
        {"no-references", no_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct settings settings = {
        .seed = 42, .page_count = 65536, .length = 1000000, .has_references = true};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'j':
            settings.is_json = true;
            break;
        case 's':
            settings.seed = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            settings.page_count = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'a':
            settings.length = (size_t)strtoull(optarg, NULL, 10);
            break;
        case 't':
            settings.trace = optarg;
            break;
        case 'o':
            settings.policy = optarg;
            break;
        case 'n':
            settings.has_references = false;
            break;
        default:
            return usage(option == 'h' ? stdout : stderr);
        }
    }
    if (settings.page_count < 16384 || settings.page_count > (1u << 24) || settings.length == 0 ||
        settings.length > 1000000000) {
        fprintf(stderr,
                "cache_traces: --pages must be 16384 to 2^24 (the smallest cache is 1 MiB), "
                "--accesses 1 to 10^9\n");
        return 2;
    }
    for (int kind = 0; kind < TRACE_KINDS; kind++) {
        if (settings.trace == NULL || strcmp(settings.trace, trace_name(kind)) == 0) {
            run_trace(&settings, (enum trace_kind)kind);
        }
    }
    return 0;
}
