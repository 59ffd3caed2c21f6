/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum option_kind {
    KIND_TEXT,
    KIND_COUNT, /* also 10k, 5M: thousands */
    KIND_SIZE,  /* also 64K, 2G: powers of 1,024 */
    KIND_REAL,
    KIND_FLAG,
    KIND_DURABILITY,
    KIND_COMPRESSION,
    KIND_KEY_FORMAT,
    KIND_CHECK,
};

struct option_entry {
    const char *name;
    enum option_kind kind;
    size_t offset;
    double low;
    double high;
    const char *fallback;
    const char *metavar;
    const char *help;
};

#define AT(member) offsetof(struct compare_options, member)

static const struct option_entry table[] = {
    {"systems", KIND_TEXT, AT(systems), 0, 0, "all", "A,B",
     "systems to run, or `all` that are built in"},
    {"workloads", KIND_TEXT, AT(workloads), 0, 0, "all", "A,B",
     "workloads in this order, or `all`"},
    {"records", KIND_COUNT, AT(records), 10, 1e10, "1000000", "N",
     "records of the data set (10k, 5M)"},
    {"threads", KIND_COUNT, AT(threads), 1, THREADS_MAX, "1", "N", "threads that run the workload"},
    {"key-bytes", KIND_COUNT, AT(key_bytes), 8, 511, "16", "N", "size of a key"},
    {"value-bytes", KIND_SIZE, AT(value_bytes), 8, 64 << 20, "100", "N", "size of a value"},
    {"value-entropy", KIND_REAL, AT(value_entropy), 0, 1, "1", "F",
     "share of a value that is random, the rest is filler"},
    {"key-format", KIND_KEY_FORMAT, AT(key_format), 0, 0, "binary", "F", "binary or hex"},
    {"seconds", KIND_REAL, AT(seconds), 0.01, 86400, "5", "S",
     "length of a workload that is bounded by time"},
    {"warmup", KIND_REAL, AT(warmup_seconds), 0, 86400, "-1", "S",
     "random reads before the clock starts (min(seconds, 2))"},
    {"memory-bytes", KIND_SIZE, AT(memory_bytes), 16 << 20, 1e15, "2G", "N",
     "memory each system is told to live in"},
    {"memory-limit", KIND_SIZE, AT(memory_limit_bytes), 0, 1e15, "0", "N",
     "and is held to by a control group, page cache included (root; 0: none)"},
    {"durability", KIND_DURABILITY, AT(durability), 0, 0, "none", "D",
     "none (survives the process), interval (100 ms), full"},
    {"compression", KIND_COMPRESSION, AT(compression), 0, 0, "none", "C",
     "none, lz4, zstd, snappy; or the nearest a system has"},
    {"filter-bits", KIND_COUNT, AT(filter_bits), 0, 64, "10", "N",
     "bits a key for bloom filters where there are any"},
    {"batch", KIND_COUNT, AT(batch), 1, 1e6, "1000", "N", "records a batch in load_batch"},
    {"multi", KIND_COUNT, AT(multi), 1, MULTI_MAX, "64", "N", "keys a call in multi_get"},
    {"seed", KIND_COUNT, AT(seed), 0, 1.8e19, "1", "N", "of keys, values and choices"},
    {"check", KIND_CHECK, AT(check), 0, 0, "all", "C",
     "what is read back before and after: all, or samples and the last writes"},
    {"timeline", KIND_COUNT, AT(timeline_ms), 0, 60000, "0", "MS",
     "with --json: calls and the longest one in each so many milliseconds (0: not)"},
    {"dir", KIND_TEXT, AT(directory), 0, 0, NULL, "DIR",
     "where the stores live (a new directory under TMPDIR, else here)"},
    {"keep", KIND_FLAG, AT(keep), 0, 0, NULL, NULL, "leave the stores behind"},
    {"json", KIND_FLAG, AT(json), 0, 0, NULL, NULL, "one JSON object a line instead of a table"},
    {"progress", KIND_FLAG, AT(progress), 0, 0, NULL, NULL,
     "say on standard error what is being done"},
    {"list", KIND_FLAG, AT(list), 0, 0, NULL, NULL, "list systems and workloads"},
    {"help", KIND_FLAG, AT(help), 0, 0, NULL, NULL, "this text"},
};

#define TABLE_COUNT (sizeof(table) / sizeof(table[0]))

void options_print_help(void) {
    printf("usage: compare [OPTION...]\n\n"
           "Runs the same work on several embedded stores and says how each did.\n\n");
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        char left[40];
        snprintf(left, sizeof(left), "--%s %s", table[i].name,
                 table[i].metavar == NULL ? "" : table[i].metavar);
        printf("  %-22s %s", left, table[i].help);
        if (table[i].fallback != NULL && table[i].fallback[0] != '-')
            printf(" [%s]", table[i].fallback);
        printf("\n");
    }
    printf("\nExit status: 0 all ran and were verified, 1 a system failed or lied, 2 bad usage.\n"
           "How each system is tuned, and what is measured how: bench/README.md\n");
}

static enum parse_result bad(const struct option_entry *option, const char *text, const char *why) {
    fprintf(stderr, "compare: --%s %s: %s\n", option->name, text, why);
    return PARSE_BAD;
}

static double unit_of(enum option_kind kind, const char *suffix) {
    double thousand = kind == KIND_SIZE ? 1024.0 : 1000.0;
    if (suffix[0] == '\0')
        return 1.0;
    if (suffix[1] != '\0' && strcmp(suffix + 1, "iB") != 0)
        return 0.0;
    switch (suffix[0]) {
    case 'k':
    case 'K':
        return thousand;
    case 'm':
    case 'M':
        return thousand * thousand;
    case 'g':
    case 'G':
        return thousand * thousand * thousand;
    default:
        return 0.0;
    }
}

static enum parse_result parse_number(const struct option_entry *option, const char *text,
                                      void *target) {
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || errno != 0 || !isfinite(value))
        return bad(option, text, "not a number");
    if (option->kind == KIND_REAL) {
        if (*end != '\0')
            return bad(option, text, "not a number");
    } else {
        double unit = unit_of(option->kind, end);
        if (unit == 0.0)
            return bad(option, text, "not a number, or an unknown unit (K, M, G)");
        value *= unit;
        if (value != floor(value))
            return bad(option, text, "not a whole number");
    }
    if (value < option->low || value > option->high) {
        char why[96];
        snprintf(why, sizeof(why), "must be between %.12g and %.12g", option->low, option->high);
        return bad(option, text, why);
    }
    if (option->kind == KIND_REAL)
        *(double *)target = value;
    else
        *(uint64_t *)target = (uint64_t)value;
    return PARSE_OK;
}

static enum parse_result parse_name(const struct option_entry *option, const char *text,
                                    void *target) {
    static const char *const names[][4] = {{"none", "interval", "full", NULL},
                                           {"none", "lz4", "zstd", "snappy"},
                                           {"binary", "hex", NULL, NULL},
                                           {"all", "samples", NULL, NULL}};
    static const char *const choices[] = {"choose none, interval or full",
                                          "choose none, lz4, zstd or snappy",
                                          "choose binary or hex", "choose all or samples"};
    size_t set = (size_t)(option->kind - KIND_DURABILITY);
    for (unsigned i = 0; i < 4 && names[set][i] != NULL; i++) {
        if (strcmp(names[set][i], text) != 0)
            continue;
        if (option->kind == KIND_DURABILITY)
            *(enum durability *)target = (enum durability)i;
        else if (option->kind == KIND_COMPRESSION)
            *(enum compression *)target = (enum compression)i;
        else if (option->kind == KIND_KEY_FORMAT)
            *(enum key_format *)target = (enum key_format)i;
        else
            *(enum check_extent *)target = (enum check_extent)i;
        return PARSE_OK;
    }
    return bad(option, text, choices[set]);
}

static enum parse_result set_option(const struct option_entry *option, const char *text,
                                    struct compare_options *options) {
    void *target = (char *)options + option->offset;
    switch (option->kind) {
    case KIND_TEXT:
        *(const char **)target = text;
        return text[0] != '\0' ? PARSE_OK : bad(option, "\"\"", "must not be empty");
    case KIND_COUNT:
    case KIND_SIZE:
    case KIND_REAL:
        return parse_number(option, text, target);
    case KIND_FLAG:
        *(bool *)target = true;
        return PARSE_OK;
    case KIND_DURABILITY:
    case KIND_COMPRESSION:
    case KIND_KEY_FORMAT:
    case KIND_CHECK:
        return parse_name(option, text, target);
    }
    return PARSE_BAD;
}

static const struct option_entry *find_option(const char *name, size_t length) {
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (strlen(table[i].name) == length && strncmp(table[i].name, name, length) == 0)
            return &table[i];
    }
    return NULL;
}

static enum parse_result check_together(const struct compare_options *options) {
    if (options->key_format == KEY_HEX && options->key_bytes < 16) {
        fprintf(stderr, "compare: --key-bytes %u: hex keys have at least 16\n",
                (unsigned)options->key_bytes);
        return PARSE_BAD;
    }
    return PARSE_OK;
}

enum parse_result options_parse(int argc, char **argv, struct compare_options *out_options) {
    struct compare_options options = {0};
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (table[i].fallback != NULL && table[i].fallback[0] != '-' &&
            set_option(&table[i], table[i].fallback, &options) != PARSE_OK)
            return PARSE_BAD;
    }
    options.warmup_seconds = -1.0;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strncmp(name, "--", 2) != 0) {
            fprintf(stderr, "compare: %s: not an option; see compare --help\n", name);
            return PARSE_BAD;
        }
        name += 2;
        const char *equals = strchr(name, '=');
        size_t length = equals == NULL ? strlen(name) : (size_t)(equals - name);
        const struct option_entry *option = find_option(name, length);
        if (option == NULL) {
            fprintf(stderr, "compare: %s: no such option; see compare --help\n", argv[i]);
            return PARSE_BAD;
        }
        const char *text = equals == NULL ? NULL : equals + 1;
        if (option->kind == KIND_FLAG && text != NULL)
            return bad(option, text, "takes no value");
        if (option->kind != KIND_FLAG && text == NULL)
            text = ++i < argc ? argv[i] : NULL;
        if (option->kind != KIND_FLAG && text == NULL)
            return bad(option, "", "needs a value");
        if (set_option(option, text, &options) != PARSE_OK)
            return PARSE_BAD;
    }
    if (options.warmup_seconds < 0.0)
        options.warmup_seconds = options.seconds < 2.0 ? options.seconds : 2.0;
    if (options.batch > options.records)
        options.batch = options.records; /* the data set is one batch */
    *out_options = options;
    return check_together(out_options);
}
