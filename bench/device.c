/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device: how many blocks of 4 KiB the device under a directory makes durable, one at a time. No
 * store can acknowledge single durable writes faster, so this is the bound for `write_durable`, as
 * the map is for lookups.
 *
 * Two ways: `direct`, a write past the page cache that is on stable storage when it returns
 * (O_DIRECT, RWF_DSYNC), and `buffered`, a write into the page cache and fdatasync. Both into
 * blocks that were allocated and written before. Each `asleep`, as a thread that waits for the
 * device is, and `awake`: beside a thread for every processor that never stops and gives way at
 * once (SCHED_IDLE), so that no processor goes to sleep. Waking one again is a part of what a
 * virtual machine pays for each write.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"
#include "histogram.h"
#include "json.h"

#define EXIT_USAGE    2
#define BLOCK_BYTES   ((size_t)4096)
#define WAKEFUL_MAX   64
#define WARMUP_WRITES 64u
#define PATH_BYTES    4096

struct settings {
    const char *directory;
    double seconds;
    uint64_t file_bytes;
    bool is_json;
};

enum way { WAY_DIRECT, WAY_BUFFERED, WAYS };

static const char *const way_names[WAYS] = {"direct", "buffered"};

struct measured {
    enum way way;
    bool is_awake;
    unsigned wakeful; /* threads that kept processors awake */
    uint64_t writes;
    double seconds;
    struct histogram latencies; /* ns */
};

/* ---- staying awake ---- */

struct wakeful {
    pthread_t threads[WAKEFUL_MAX];
    unsigned count;
    atomic_bool ends;
};

static void *stay_awake(void *argument) {
    struct wakeful *wakeful = argument;
    while (!atomic_load_explicit(&wakeful->ends, memory_order_relaxed)) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    return NULL;
}

static void wakeful_stop(struct wakeful *wakeful) {
    atomic_store(&wakeful->ends, true);
    for (unsigned i = 0; i < wakeful->count; i++) {
        pthread_join(wakeful->threads[i], NULL);
    }
    wakeful->count = 0;
}

/* One thread bound to each processor that we may use, of the class that gives way to all others. */
static bool wakeful_start(struct wakeful *wakeful) {
    const struct sched_param none = {0};
    cpu_set_t allowed;
    wakeful->count = 0;
    atomic_store(&wakeful->ends, false);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
        return false;
    }
    for (size_t processor = 0; processor < CPU_SETSIZE && wakeful->count < WAKEFUL_MAX;
         processor++) {
        cpu_set_t one;
        if (!CPU_ISSET(processor, &allowed)) {
            continue;
        }
        pthread_t *thread = &wakeful->threads[wakeful->count];
        if (pthread_create(thread, NULL, stay_awake, wakeful) != 0) {
            wakeful_stop(wakeful);
            return false;
        }
        wakeful->count++;
        CPU_ZERO(&one);
        CPU_SET(processor, &one);
        int failed = pthread_setaffinity_np(*thread, sizeof(one), &one);
        failed = failed != 0 ? failed : pthread_setschedparam(*thread, SCHED_IDLE, &none);
        if (failed != 0) {
            errno = failed;
            wakeful_stop(wakeful);
            return false;
        }
    }
    return wakeful->count > 0;
}

/* ---- the file ---- */

static int fail(const char *what, const char *path) {
    fprintf(stderr, "device: %s %s: %s\n", what, path, strerror(errno));
    return EXIT_FAILURE;
}

/* Every block allocated and written, so that none of the writes measured changes more than data. */
static int make_file(const char *path, uint64_t file_bytes, const uint8_t *block) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) {
        return fail("cannot create", path);
    }
    int result = EXIT_SUCCESS;
    errno = posix_fallocate(file, 0, (off_t)file_bytes);
    if (errno != 0) {
        result = fail("no room for", path);
    }
    for (uint64_t at = 0; result == EXIT_SUCCESS && at < file_bytes; at += BLOCK_BYTES) {
        if (pwrite(file, block, BLOCK_BYTES, (off_t)at) != (ssize_t)BLOCK_BYTES) {
            result = fail("cannot write", path);
        }
    }
    if (result == EXIT_SUCCESS && fsync(file) != 0) {
        result = fail("cannot sync", path);
    }
    if (close(file) != 0 && result == EXIT_SUCCESS) {
        result = fail("cannot close", path);
    }
    return result;
}

static bool write_block(int file, enum way way, const uint8_t *block, uint64_t at) {
    const struct iovec vector = {(void *)(uintptr_t)block, BLOCK_BYTES};
    ssize_t written = pwritev2(file, &vector, 1, (off_t)at, way == WAY_DIRECT ? RWF_DSYNC : 0);
    if (written >= 0 && written != (ssize_t)BLOCK_BYTES) {
        errno = EIO;
    }
    return written == (ssize_t)BLOCK_BYTES && (way == WAY_DIRECT || fdatasync(file) == 0);
}

/* One block behind the other, as a log goes; round and round. */
static bool write_blocks(int file, const struct settings *settings, uint8_t *block,
                         struct measured *measured) {
    uint64_t at = 0;
    uint64_t begin = clock_monotonic_ns();
    uint64_t end = begin;
    uint64_t last = begin + (uint64_t)(settings->seconds * 1e9);
    for (uint64_t i = 0; end < last || measured->writes == 0; i++) {
        memcpy(block, &i, sizeof(i));
        uint64_t before = clock_monotonic_ns();
        if (!write_block(file, measured->way, block, at)) {
            return false;
        }
        end = clock_monotonic_ns();
        at = (at + BLOCK_BYTES) % settings->file_bytes;
        if (i == WARMUP_WRITES) {
            begin = end;
            last = begin + (uint64_t)(settings->seconds * 1e9);
        } else if (i > WARMUP_WRITES) {
            histogram_add(&measured->latencies, end - before);
            measured->writes++;
        }
    }
    measured->seconds = (double)(end - begin) * 1e-9;
    return true;
}

static int measure(const char *path, const struct settings *settings, uint8_t *block,
                   struct measured *measured) {
    struct wakeful wakeful = {.count = 0};
    int flags = O_WRONLY | O_CLOEXEC | (measured->way == WAY_DIRECT ? O_DIRECT : 0);
    int file = open(path, flags);
    if (file < 0) {
        return fail(measured->way == WAY_DIRECT ? "no direct writes to" : "cannot open", path);
    }
    int result = EXIT_SUCCESS;
    histogram_clear(&measured->latencies);
    if (measured->is_awake && !wakeful_start(&wakeful)) {
        result = fail("cannot keep the processors awake beside", path);
    }
    measured->wakeful = wakeful.count;
    if (result == EXIT_SUCCESS && !write_blocks(file, settings, block, measured)) {
        result = fail(measured->way == WAY_DIRECT ? "no durable direct writes to"
                                                  : "cannot write and sync",
                      path);
    }
    wakeful_stop(&wakeful);
    (void)close(file);
    return result;
}

/* ---- printing ---- */

static double quantile_us(const struct measured *measured, double fraction) {
    return histogram_quantile(&measured->latencies, fraction) * 1e-3;
}

static void print_json(const struct measured *measured) {
    struct json_line line;
    json_begin(&line, stdout);
    json_text(&line, "system", "device");
    json_text(&line, "way", way_names[measured->way]);
    json_boolean(&line, "is_awake", measured->is_awake);
    json_integer(&line, "wakeful_threads", measured->wakeful);
    json_integer(&line, "block_bytes", BLOCK_BYTES);
    json_integer(&line, "writes", measured->writes);
    json_real(&line, "seconds", measured->seconds, 3);
    json_real(&line, "ops_per_s", (double)measured->writes / measured->seconds, 1);
    json_real(&line, "p50_us", quantile_us(measured, 0.5), 2);
    json_real(&line, "p95_us", quantile_us(measured, 0.95), 2);
    json_real(&line, "p99_us", quantile_us(measured, 0.99), 2);
    json_real(&line, "p999_us", quantile_us(measured, 0.999), 2);
    json_real(&line, "max_us", (double)measured->latencies.max * 1e-3, 2);
    json_end(&line);
}

static void print_row(const struct measured *measured) {
    printf("%-9s %-7s %10.0f %9.1f %9.1f %9.1f %9.1f %9.1f\n", way_names[measured->way],
           measured->is_awake ? "awake" : "asleep", (double)measured->writes / measured->seconds,
           quantile_us(measured, 0.5), quantile_us(measured, 0.95), quantile_us(measured, 0.99),
           quantile_us(measured, 0.999), (double)measured->latencies.max * 1e-3);
    (void)fflush(stdout);
}

static int run(const struct settings *settings, const char *path, uint8_t *block) {
    int result = make_file(path, settings->file_bytes, block);
    if (result == EXIT_SUCCESS && !settings->is_json) {
        printf("%-9s %-7s %10s %9s %9s %9s %9s %9s\n", "way", "", "writes/s", "p50 us", "p95",
               "p99", "p99.9", "max");
    }
    for (unsigned i = 0; result == EXIT_SUCCESS && i < 2 * WAYS; i++) {
        struct measured *measured = calloc(1, sizeof(*measured));
        if (measured == NULL) {
            return fail("no memory for", path);
        }
        measured->way = (enum way)(i / 2);
        measured->is_awake = i % 2 == 1;
        result = measure(path, settings, block, measured);
        if (result == EXIT_SUCCESS && settings->is_json) {
            print_json(measured);
        } else if (result == EXIT_SUCCESS) {
            print_row(measured);
        }
        free(measured);
    }
    return result;
}

/* ---- the command line ---- */

static const char *const help =
    "device: single blocks that the device under a directory makes durable, one at a time\n"
    "\n"
    "  --dir DIR        where the file to write is made and removed again; . is the default\n"
    "  --seconds N      for each of the four measurements; 2\n"
    "  --file-mib N     size of the file that is written round and round, 1 to 65536; 64\n"
    "  --json           one object a line\n"
    "  --help           this\n";

static bool read_number(const char *name, const char *text, double least, double most,
                        double *out_number) {
    char *end = NULL;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= least && number <= most)) {
        fprintf(stderr, "device: %s %s: not a number from %g to %g\n", name, text, least, most);
        return false;
    }
    *out_number = number;
    return true;
}

static bool read_settings(int argc, char **argv, struct settings *out_settings, bool *out_is_help) {
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},      {"seconds", required_argument, NULL, 's'},
        {"file-mib", required_argument, NULL, 'f'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};
    struct settings settings = {.directory = ".", .seconds = 2};
    double file_mib = 64;
    bool is_good = true;
    int option;
    while (is_good && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            settings.directory = optarg;
            break;
        case 's':
            is_good = read_number("--seconds", optarg, 0.001, 3600, &settings.seconds);
            break;
        case 'f':
            is_good = read_number("--file-mib", optarg, 1, 65536, &file_mib);
            break;
        case 'j':
            settings.is_json = true;
            break;
        case 'h':
            *out_is_help = true;
            break;
        default:
            is_good = false; /* getopt has told */
        }
    }
    if (is_good && optind < argc) {
        fprintf(stderr, "device: %s: not an option; see --help\n", argv[optind]);
        is_good = false;
    }
    settings.file_bytes = (uint64_t)file_mib << 20;
    *out_settings = settings;
    return is_good;
}

int main(int argc, char **argv) {
    struct settings settings;
    bool is_help = false;
    char path[PATH_BYTES];
    if (!read_settings(argc, argv, &settings, &is_help)) {
        return EXIT_USAGE;
    }
    if (is_help) {
        (void)fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    int length = snprintf(path, sizeof(path), "%s/device-%ld", settings.directory, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof(path)) {
        fprintf(stderr, "device: --dir: the path is too long\n");
        return EXIT_USAGE;
    }
    uint8_t *block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
    if (block == NULL) {
        return fail("no memory for", path);
    }
    memset(block, 0x5a, BLOCK_BYTES);
    int result = run(&settings, path, block);
    (void)unlink(path);
    free(block);
    return result;
}
