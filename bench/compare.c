/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare: the same work on several stores, side by side. This file chooses what to run in which
 * order and keeps the directories; phases.c runs one workload on one store, run.c its threads.
 */
#include "measure.h"
#include "report.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define TMPFS_KIND 0x01021994
#define NAME_SIZE  64

struct comparison {
    struct compare_options options;
    const struct driver_entry *systems[SYSTEMS_MAX];
    unsigned system_count;
    const struct workload *workloads[WORKLOADS_MAX];
    unsigned workload_count;
    char base[PATH_MAX - 64];
    bool made_base;
    struct record_space records;
    struct zipf zipf;
    struct bench_clock clock;
    struct report report;
    bool failed;
};

/* Set by a signal handler, so it cannot be anywhere else. */
static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    interrupted = number;
}

static void say(const struct comparison *comparison, const char *system, const char *what) {
    if (!comparison->options.progress)
        return;
    bool colour = isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
    fprintf(stderr, "%s%s%s: %s\n", colour ? "\033[36m" : "", system, colour ? "\033[0m" : "",
            what);
}

/* Cuts the next name off a comma-separated list; false at its end. */
static bool next_name(const char **list, char *out_name) {
    if (**list == '\0')
        return false;
    size_t length = strcspn(*list, ",");
    snprintf(out_name, NAME_SIZE, "%.*s", (int)(length < NAME_SIZE ? length : NAME_SIZE - 1),
             *list);
    *list += length;
    if (**list == ',')
        (*list)++;
    return true;
}

static bool choose_systems(struct comparison *comparison) {
    size_t count = 0;
    const struct driver_entry *entries = driver_entries(&count);
    const char *list = comparison->options.systems;
    if (strcmp(list, "all") == 0) {
        for (size_t i = 0; i < count && i < SYSTEMS_MAX; i++) {
            if (entries[i].driver != NULL)
                comparison->systems[comparison->system_count++] = &entries[i];
        }
        return true;
    }
    char name[NAME_SIZE];
    while (next_name(&list, name)) {
        const struct driver_entry *entry = driver_find(name);
        if (entry == NULL) {
            fprintf(stderr, "compare: --systems %s: unknown system; see compare --list\n", name);
            return false;
        }
        if (entry->driver == NULL) {
            fprintf(stderr, "compare: --systems %s: not built in: %s, then configure again\n", name,
                    entry->remedy);
            return false;
        }
        if (comparison->system_count == SYSTEMS_MAX) {
            fprintf(stderr, "compare: --systems: more than %d\n", SYSTEMS_MAX);
            return false;
        }
        comparison->systems[comparison->system_count++] = entry;
    }
    return true;
}

static bool choose_workloads(struct comparison *comparison) {
    const char *list = comparison->options.workloads;
    if (strcmp(list, "all") == 0) {
        for (unsigned i = 0; workload_at(i) != NULL && i < WORKLOADS_MAX; i++)
            comparison->workloads[comparison->workload_count++] = workload_at(i);
        return true;
    }
    char name[NAME_SIZE];
    while (next_name(&list, name)) {
        const struct workload *workload = workload_find(name);
        if (workload == NULL) {
            fprintf(stderr, "compare: --workloads %s: unknown workload; see compare --list\n",
                    name);
            return false;
        }
        if (comparison->workload_count == WORKLOADS_MAX) {
            fprintf(stderr, "compare: --workloads: more than %d\n", WORKLOADS_MAX);
            return false;
        }
        comparison->workloads[comparison->workload_count++] = workload;
    }
    return true;
}

static void warn_of_memory_disk(const struct comparison *comparison) {
    struct statfs status;
    if (statfs(comparison->base, &status) == 0 && status.f_type == TMPFS_KIND)
        fprintf(stderr, "compare: warning: %s is in memory, not on a disk; use --dir\n",
                comparison->base);
}

static bool make_base(struct comparison *comparison) {
    const char *directory = comparison->options.directory;
    int length = 0;
    if (directory != NULL) {
        length = snprintf(comparison->base, sizeof(comparison->base), "%s", directory);
    } else {
        const char *parent = getenv("TMPDIR");
        length = snprintf(comparison->base, sizeof(comparison->base), "%s/bench-compare-XXXXXX",
                          parent != NULL && parent[0] != '\0' ? parent : ".");
    }
    if (length < 0 || (size_t)length >= sizeof(comparison->base)) {
        fprintf(stderr, "compare: --dir: the path is too long\n");
        return false;
    }
    if (directory == NULL) {
        comparison->made_base = mkdtemp(comparison->base) != NULL;
        if (!comparison->made_base)
            fprintf(stderr, "compare: cannot make %s: %s\n", comparison->base, strerror(errno));
        return comparison->made_base;
    }
    comparison->made_base = mkdir(comparison->base, 0755) == 0;
    if (comparison->made_base || errno == EEXIST)
        return true;
    fprintf(stderr, "compare: --dir %s: %s\n", directory, strerror(errno));
    return false;
}

static bool fail_system(struct comparison *comparison, const char *system, const char *workload,
                        const char *text) {
    comparison->failed = true;
    fprintf(stderr, "compare: %s: %s: %s\n", system, workload, text);
    return false;
}

static bool run_phase(struct comparison *comparison, const struct driver_entry *system,
                      const struct workload *workload, const char *directory,
                      const struct data_state *state, struct outcome *out_outcome) {
    const struct phase phase = {
        .options = &comparison->options,
        .driver = system->driver,
        .workload = workload,
        .records = &comparison->records,
        .zipf = &comparison->zipf,
        .clock = &comparison->clock,
        .directory = directory,
        .state = *state,
    };
    say(comparison, system->name, workload->name);
    if (phase_run_forked(&phase, out_outcome))
        return true;
    return interrupted != 0
               ? false
               : fail_system(comparison, system->name, workload->name, out_outcome->error);
}

static bool empty_directory(struct comparison *comparison, const char *system,
                            const char *directory, struct data_state *state) {
    *state = (struct data_state){0};
    if (access(directory, F_OK) == 0 && !remove_directory_tree(directory))
        return fail_system(comparison, system, "prepare", "cannot empty its directory");
    if (mkdir(directory, 0755) != 0)
        return fail_system(comparison, system, "prepare", strerror(errno));
    return true;
}

/* Brings the store into the state that the workload needs. */
static bool prepare(struct comparison *comparison, const struct driver_entry *system,
                    const struct workload *workload, const char *directory,
                    struct data_state *state) {
    struct outcome outcome;
    /* What keeps nothing is loaded by the process that needs it. */
    if (workload->need == NEEDS_EMPTY || keeps_nothing(system->driver))
        return empty_directory(comparison, system->name, directory, state);
    if (!state->is_loaded) {
        if (!empty_directory(comparison, system->name, directory, state) ||
            !run_phase(comparison, system, &workload_prepare, directory, state, &outcome))
            return false;
        state->is_loaded = true;
    }
    if (workload->need == NEEDS_BOTH && !state->second_loaded) {
        if (!run_phase(comparison, system, &workload_prepare_second, directory, state, &outcome))
            return false;
        state->second_loaded = true;
    }
    return true;
}

static void apply_effect(const struct workload *workload, const struct outcome *outcome,
                         struct data_state *state) {
    switch (workload->effect) {
    case EFFECT_NONE:
    case EFFECT_OVERWRITTEN:
        break;
    case EFFECT_LOADED:
        state->is_loaded = true;
        break;
    case EFFECT_GROWN:
        state->inserted += outcome->run.inserts;
        state->next_insert += outcome->run.inserts_span;
        break;
    case EFFECT_SORTED:
    case EFFECT_SPOILED:
        *state = (struct data_state){0};
        break;
    }
}

/* Why a driver has no part in a workload; NULL where it has. */
static const char *why_left_out(const struct driver *driver, const struct workload *workload) {
    if (workload->ordered && (driver->abilities & DRIVER_ORDERED) == 0)
        return "it keeps no order";
    return workload->durable && keeps_nothing(driver) ? "it keeps nothing" : NULL;
}

static void run_system(struct comparison *comparison, const struct driver_entry *system) {
    char directory[PATH_MAX];
    struct data_state state = {0};
    snprintf(directory, sizeof(directory), "%s/%s", comparison->base, system->name);
    if (access(directory, F_OK) == 0) {
        fail_system(comparison, system->name, "prepare",
                    "its directory exists already; choose another --dir");
        return;
    }
    for (unsigned i = 0; i < comparison->workload_count && interrupted == 0; i++) {
        const struct workload *workload = comparison->workloads[i];
        struct outcome outcome;
        const char *why = why_left_out(system->driver, workload);
        if (why != NULL) {
            if (comparison->options.progress)
                fprintf(stderr, "%s: %s left out: %s\n", system->name, workload->name, why);
            continue;
        }
        if (!prepare(comparison, system, workload, directory, &state))
            break;
        if (!run_phase(comparison, system, workload, directory, &state, &outcome)) {
            /* What it left cannot be trusted: the next workload begins anew. */
            state = (struct data_state){0};
            continue;
        }
        apply_effect(workload, &outcome, &state);
        report_result(&comparison->report, &comparison->options, system->name, workload->name,
                      system->driver, &outcome);
    }
    if (!comparison->options.keep && access(directory, F_OK) == 0)
        remove_directory_tree(directory);
}

static void set_up(struct comparison *comparison) {
    const struct compare_options *options = &comparison->options;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    comparison->report.json = options->json;
    comparison->report.clock = &comparison->clock;
    records_init(&comparison->records, options->records, options->seed, (size_t)options->key_bytes,
                 (size_t)options->value_bytes, options->value_entropy, options->key_format);
    zipf_init(&comparison->zipf, options->records, ZIPF_THETA);
    clock_calibrate(&comparison->clock);
}

static int run_all(struct comparison *comparison) {
    set_up(comparison);
    if (!make_base(comparison))
        return EXIT_FAILURE;
    warn_of_memory_disk(comparison);
    for (unsigned i = 0; i < comparison->system_count && interrupted == 0; i++)
        run_system(comparison, comparison->systems[i]);
    if (comparison->options.keep)
        fprintf(stderr, "compare: the stores are in %s\n", comparison->base);
    else if (comparison->made_base)
        rmdir(comparison->base);
    if (interrupted != 0)
        return 128 + (int)interrupted;
    return comparison->failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    struct comparison *comparison = calloc(1, sizeof(*comparison));
    if (comparison == NULL)
        return EXIT_FAILURE;
    int status = EXIT_USAGE;
    if (options_parse(argc, argv, &comparison->options) != PARSE_OK)
        goto done;
    if (comparison->options.help || comparison->options.list) {
        if (comparison->options.help)
            options_print_help();
        else
            report_list();
        status = EXIT_SUCCESS;
        goto done;
    }
    if (choose_systems(comparison) && choose_workloads(comparison))
        status = run_all(comparison);
done:
    free(comparison);
    return status;
}
