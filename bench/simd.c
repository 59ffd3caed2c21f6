/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simd: every variant of every kernel of src/simd that this machine can run, beside plain code that
 * was compiled with the same flags. Each measurement is the best of several, taken in turns, so
 * that what else the machine does hits none alone; every variant's results are compared with the
 * plain ones first.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"
#include "simd_cases.h"

#define EXIT_USAGE   2
#define ROUNDS       7
#define VARIANTS_MAX 8
/* At this share of what plain reading takes out of memory, that is the limit. */
#define LIMIT_SHARE 0.7

struct vectorised {
    const char *name;
    const char *answer;
};
#include "simd_vectorised.h"

struct settings {
    const char *kernels; /* NULL: all */
    double seconds;
    size_t memory_bytes;
    bool is_json;
};

struct measured {
    const char *name;
    variant_function function;
    double pass_ns;
};

/* One kernel at one length: what was measured, plain code first. */
struct row {
    const struct simd_case *kernel;
    const struct simd_data *data;
    bool is_memory;
    double bandwidth; /* of reading memory, bytes per ns; 0: does not matter here */
    struct measured measured[VARIANTS_MAX];
    unsigned count;
    unsigned chosen;
};

static const char *vectorised_of(const char *name) {
    for (size_t i = 0; i < sizeof(vectorised) / sizeof(vectorised[0]); i++) {
        if (strcmp(vectorised[i].name, name) == 0) {
            return vectorised[i].answer;
        }
    }
    return "unknown";
}

/* ---- measuring ---- */

static double pass_ns(const struct row *row, variant_function function, size_t passes) {
    static volatile uint64_t sink;
    uint64_t sum = 0;
    uint64_t start = clock_monotonic_ns();
    for (size_t i = 0; i < passes; i++) {
        sum += row->kernel->pass(row->data, function);
    }
    uint64_t end = clock_monotonic_ns();
    sink = sum;
    (void)sink;
    return (double)(end - start) / (double)passes;
}

static void measure(struct row *row, double seconds) {
    size_t passes[VARIANTS_MAX];
    for (unsigned i = 0; i < row->count; i++) {
        double once = pass_ns(row, row->measured[i].function, 1);
        double wanted = seconds * 1e9 / ROUNDS / fmax(once, 1);
        passes[i] = wanted < 1 ? 1 : wanted > 1e7 ? (size_t)1e7 : (size_t)wanted;
        row->measured[i].pass_ns = once;
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < row->count; i++) {
            double ns = pass_ns(row, row->measured[i].function, passes[i]);
            row->measured[i].pass_ns = fmin(row->measured[i].pass_ns, ns);
        }
    }
}

/* Bytes per ns that plain loads read out of `size` bytes. */
static double read_bandwidth(const uint8_t *bytes, size_t size) {
    static volatile uint64_t sink;
    double best = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_monotonic_ns();
        sink = simd_read_all(bytes, size);
        best = fmax(best, (double)size / (double)(clock_monotonic_ns() - start));
    }
    (void)sink;
    return best;
}

static void list_measured(struct row *row) {
    row->measured[row->count++] =
        (struct measured){.name = "plain", .function = row->kernel->plain};
    const struct variant *best = variant_best(row->kernel->variants);
    for (const struct variant *each = row->kernel->variants; each->name != NULL; each++) {
        if (each->runs_here() && row->count < VARIANTS_MAX) {
            row->chosen = each == best ? row->count : row->chosen;
            row->measured[row->count++] =
                (struct measured){.name = each->name, .function = each->function};
        }
    }
}

static bool results_agree(const struct row *row) {
    uint64_t expected = row->kernel->pass(row->data, row->kernel->plain);
    for (unsigned i = 1; i < row->count; i++) {
        if (row->kernel->pass(row->data, row->measured[i].function) != expected) {
            fprintf(stderr, "simd: %s, %zu %s: %s and plain code do not agree\n", row->kernel->name,
                    row->data->length, row->kernel->length_unit, row->measured[i].name);
            return false;
        }
    }
    return true;
}

/* ---- printing ---- */

static double factor_of(const struct row *row, unsigned index) {
    return row->measured[0].pass_ns / row->measured[index].pass_ns;
}

static bool has_bar(const struct row *row) {
    return row->kernel->bar > 0 && row->data->length >= row->kernel->bar_length && !row->is_memory;
}

static const char *limit_of(const struct row *row, unsigned index) {
    if (row->bandwidth == 0) {
        return NULL;
    }
    /* Single lines are waited for, whatever the bandwidth. */
    if (row->kernel->is_random) {
        return "latency";
    }
    double rate = (double)row->data->pass_bytes / row->measured[index].pass_ns;
    return rate >= LIMIT_SHARE * row->bandwidth ? "bandwidth" : "not bandwidth";
}

static void print_json(const struct row *row, unsigned index) {
    const struct measured *measured = &row->measured[index];
    struct json_line line;
    json_begin(&line, stdout);
    json_text(&line, "kernel", row->kernel->name);
    json_integer(&line, "length", row->data->length);
    json_text(&line, "length_unit", row->kernel->length_unit);
    json_text(&line, "item", row->kernel->item);
    json_text(&line, "variant", measured->name);
    json_boolean(&line, "is_chosen", index == row->chosen);
    json_real(&line, "ns", measured->pass_ns / (double)row->data->items, 3);
    json_real(&line, "gb_per_s", (double)row->data->pass_bytes / measured->pass_ns, 3);
    json_real(&line, "factor", factor_of(row, index), 3);
    json_text(&line, "plain_vectorised", vectorised_of(row->kernel->plain_source));
    json_boolean(&line, "in_memory", row->is_memory);
    if (limit_of(row, index) != NULL) {
        json_real(&line, "memory_gb_per_s", row->bandwidth, 3);
        json_text(&line, "limit", limit_of(row, index));
    }
    if (index == row->chosen && has_bar(row)) {
        json_real(&line, "bar", row->kernel->bar, 1);
        json_boolean(&line, "is_bar_met", factor_of(row, index) >= row->kernel->bar);
    }
    json_end(&line);
}

static void print_text(const struct row *row, unsigned index) {
    const struct measured *measured = &row->measured[index];
    printf("%-12s %10zu  %-7s%c %11.2f %9.2f", row->kernel->name, row->data->length, measured->name,
           index == row->chosen ? '*' : ' ', measured->pass_ns / (double)row->data->items,
           (double)row->data->pass_bytes / measured->pass_ns);
    printf(index > 0 ? " %7.2f" : "       1", factor_of(row, index));
    if (index == row->chosen && has_bar(row)) {
        double missing = row->kernel->bar - factor_of(row, index);
        printf(missing <= 0 ? "  bar %.1f met" : "  bar %.1f missed", row->kernel->bar);
        if (missing > 0) {
            printf(" by %.2f", missing);
        }
    }
    if (limit_of(row, index) != NULL) {
        printf("  limit: %s (memory reads %.1f GB/s)", limit_of(row, index), row->bandwidth);
    }
    printf("\n");
}

static void print_row(const struct row *row, bool is_json) {
    for (unsigned i = 0; i < row->count; i++) {
        if (is_json) {
            print_json(row, i);
        } else {
            print_text(row, i);
        }
    }
    fflush(stdout);
}

static void print_head(const struct simd_case *kernel) {
    printf("\n%s: length in %s, ns a %s; plain code vectorised by the compiler: %s\n", kernel->name,
           kernel->length_unit, kernel->item, vectorised_of(kernel->plain_source));
    printf("%-12s %10s  %-8s %11s %9s %7s\n", "kernel", "length", "variant", "ns", "GB/s",
           "factor");
}

/* ---- running ---- */

static bool is_chosen(const struct settings *settings, const char *name) {
    if (settings->kernels == NULL) {
        return true;
    }
    size_t length = strlen(name);
    for (const char *at = settings->kernels; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

static bool run_length(const struct settings *settings, const struct simd_case *kernel,
                       struct simd_data *data, size_t length) {
    struct row row = {.kernel = kernel, .data = data, .is_memory = length == LENGTH_OF_MEMORY};
    data->length = length;
    kernel->prepare(data);
    if (row.is_memory) {
        row.bandwidth = read_bandwidth(data->first, data->memory_bytes);
    }
    list_measured(&row);
    if (!results_agree(&row)) {
        return false;
    }
    measure(&row, settings->seconds);
    print_row(&row, settings->is_json);
    return true;
}

static int run(const struct settings *settings) {
    struct simd_data data;
    size_t count = 0;
    bool is_right = true;
    const struct simd_case *cases = simd_cases(&count);
    if (!simd_data_make(&data, settings->memory_bytes)) {
        fprintf(stderr, "simd: --memory-bytes %zu: %s\n", settings->memory_bytes, strerror(errno));
        simd_data_release(&data);
        return EXIT_FAILURE;
    }
    if (!settings->is_json) {
        printf("chosen variant: *   in memory: %zu MiB; largest cache: %ld MiB\n",
               settings->memory_bytes >> 20, sysconf(_SC_LEVEL3_CACHE_SIZE) >> 20);
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_chosen(settings, cases[i].name)) {
            continue;
        }
        if (!settings->is_json) {
            print_head(&cases[i]);
        }
        for (const size_t *length = cases[i].lengths; *length != 0; length++) {
            is_right = run_length(settings, &cases[i], &data, *length) && is_right;
        }
    }
    simd_data_release(&data);
    return is_right ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- command line ---- */

static int print_help(void) {
    printf("usage: simd [OPTION...]\n\n"
           "Measures the kernels of src/simd beside plain code compiled with the same flags.\n\n"
           "  --kernels A,B      kernels to measure, see --list [all]\n"
           "  --seconds S        time for each number, 0.001 to 60 [0.02]\n"
           "  --memory-bytes N   size of what lies in memory and not in caches; K, M, G [512M]\n"
           "  --json             one JSON object a line instead of a table\n"
           "  --list             list kernels, their variants, and which of them run here\n"
           "  --help             this text\n\n"
           "TERN_SIMD=scalar in the environment leaves only the plain variants.\n"
           "Exit status: 0 all was measured, 1 variants did not agree or memory is short, 2 bad "
           "usage.\n"
           "What is measured how: bench/README.md\n");
    return EXIT_SUCCESS;
}

static int print_list(void) {
    size_t count = 0;
    const struct simd_case *cases = simd_cases(&count);
    for (size_t i = 0; i < count; i++) {
        printf("%-12s", cases[i].name);
        for (const struct variant *each = cases[i].variants; each->name != NULL; each++) {
            printf(" %s%s", each->name, each->runs_here() ? "" : " (not here)");
        }
        printf("\n");
    }
    return EXIT_SUCCESS;
}

static bool refuse(const char *option, const char *text, const char *why) {
    fprintf(stderr, "simd: --%s %s: %s\n", option, text, why);
    return false;
}

static bool parse_seconds(const char *text, double *out_seconds) {
    char *end = NULL;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= 0.001 && seconds <= 60)) {
        return refuse("seconds", text, "not a number from 0.001 to 60");
    }
    *out_seconds = seconds;
    return true;
}

static bool parse_memory(const char *text, size_t *out_bytes) {
    static const char why[] = "not a size from 1M to 64G";
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    unsigned shift = 0;
    if (*end != '\0') {
        const char *units = "KMG";
        const char *unit = strchr(units, *end & ~0x20);
        if (unit == NULL || end[1] != '\0') {
            return refuse("memory-bytes", text, why);
        }
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (text[0] < '0' || text[0] > '9' || errno != 0 || number > (64ull << 30) >> shift ||
        number << shift < 1u << 20) {
        return refuse("memory-bytes", text, why);
    }
    *out_bytes = (size_t)(number << shift) / 4096 * 4096;
    return true;
}

static bool parse_kernels(const char *text, const char **out_kernels) {
    size_t count = 0;
    const struct simd_case *cases = simd_cases(&count);
    for (const char *at = text; at != NULL;) {
        size_t length = strcspn(at, ",");
        bool is_known = false;
        for (size_t i = 0; i < count; i++) {
            is_known = is_known ||
                       (strlen(cases[i].name) == length && strncmp(cases[i].name, at, length) == 0);
        }
        if (!is_known) {
            return refuse("kernels", text, "unknown kernel; see simd --list");
        }
        at = at[length] == ',' ? at + length + 1 : NULL;
    }
    *out_kernels = text;
    return true;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"kernels", required_argument, NULL, 'k'},
        {"seconds", required_argument, NULL, 's'},
        {"memory-bytes", required_argument, NULL, 'm'},
        {"json", no_argument, NULL, 'j'},
        {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct settings settings = {.seconds = 0.02, .memory_bytes = (size_t)512 << 20};
    bool is_good = true;
    for (int option; is_good && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'k':
            is_good = parse_kernels(optarg, &settings.kernels);
            break;
        case 's':
            is_good = parse_seconds(optarg, &settings.seconds);
            break;
        case 'm':
            is_good = parse_memory(optarg, &settings.memory_bytes);
            break;
        case 'j':
            settings.is_json = true;
            break;
        case 'l':
            return print_list();
        case 'h':
            return print_help();
        default:
            is_good = false;
        }
    }
    if (is_good && optind < argc) {
        fprintf(stderr, "simd: %s: no such argument\n", argv[optind]);
        is_good = false;
    }
    return is_good ? run(&settings) : EXIT_USAGE;
}
