/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 * ctest: more=release TERN_LOG_CUTS=10000 1800
 *
 * Random work on the log with the power cut at every mutating call in turn, and again during the
 * recoveries that follow. After each: what was acknowledged is there, records are a prefix of what
 * was appended, in order, and nothing is invented. Some cuts are the end of the process alone: then
 * what was kept without a sync is there, too. Few syncs in a row make the log direct, so that it
 * changes back and forth. TERN_LOG_CUTS sets how many cuts are made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "fault_file_system.h"
#include "log/log.h"
#include "power_cut_file_system.h"
#include "seeded_random.h"

#define DIRECTORY     "db"
#define SEGMENT_BYTES ((uint64_t)64 << 10)
#define PAYLOAD_MAX   9000u

/* What an outside observer knows. */
struct observer {
    uint64_t appended;     /* records given to log_end so far; numbers are below */
    uint64_t acknowledged; /* records below this were synced */
    uint64_t kept;         /* records below this survive the process */
    uint64_t released;     /* records below this may be gone */
    log_position start;    /* durable position that a checkpoint has published */
};

struct world {
    struct power_cut_file_system *disk;
    struct fault_file_system *mapping; /* over it: in every other world nothing can be mapped */
    struct seeded_random random;
    struct seeded_random_source *salts;
    struct log_options options;
    struct log *log;
    uint64_t seed;
    uint64_t visited;
    uint64_t next; /* number expected next */
    enum power_cut_keep keep;
    uint64_t direct_syncs;
    bool is_right;
};

static size_t payload_bytes(uint64_t seed, uint64_t number) {
    struct seeded_random random;
    seeded_random_init(&random, seed ^ (number * 0x9e3779b97f4a7c15u));
    return 8 + (size_t)(seeded_random_chance(&random, 1, 20)
                            ? seeded_random_below(&random, PAYLOAD_MAX - 8)
                            : seeded_random_below(&random, 300));
}

static void fill(uint64_t seed, uint64_t number, uint8_t *payload, size_t size) {
    put_u64(payload, number);
    for (size_t i = 8; i < size; i++) {
        payload[i] = (uint8_t)(seed + number * 131 + i * 7);
    }
}

static tern_status visit(void *context, const struct log_record *record, tern_error *error) {
    struct world *world = context;
    (void)error;
    if (record->kind == LOG_RECORD_MARK) {
        return TERN_OK;
    }
    uint8_t wanted[PAYLOAD_MAX];
    uint64_t number = record->payload_size >= 8 ? get_u64(record->payload) : UINT64_MAX;
    size_t size = payload_bytes(world->seed, number);
    if (number != world->next || size != record->payload_size) {
        world->is_right = false;
        return TERN_OK;
    }
    fill(world->seed, number, wanted, size);
    world->is_right = world->is_right && memcmp(wanted, record->payload, size) == 0;
    world->next++;
    world->visited++;
    return TERN_OK;
}

static void put_mapping_over_disk(struct world *world) {
    struct fault_plan plan = {FAULT_MAP, 1, true, false, TERN_UNSUPPORTED, 0};
    world->mapping = fault_file_system_create(power_cut_interface(world->disk));
    if (world->seed % 2 == 1) {
        fault_file_system_arm(world->mapping, &plan);
    }
    world->options.file_system = fault_file_system_interface(world->mapping);
}

static tern_status open_log(struct world *world, const struct observer *observer,
                            tern_error *error) {
    struct log_recovery recovery;
    world->visited = 0;
    world->next = observer->released;
    world->is_right = true;
    return log_open(&world->options, observer->start, 0, false, visit, world, &recovery,
                    &world->log, error);
}

static bool append_some(struct world *world, struct observer *observer, uint64_t most) {
    uint64_t count = 1 + seeded_random_below(&world->random, most);
    for (uint64_t i = 0; i < count; i++) {
        uint8_t *payload;
        size_t size = payload_bytes(world->seed, observer->appended);
        if (log_begin(world->log, LOG_RECORD_COMMIT, size, &payload, NULL) != TERN_OK) {
            return false;
        }
        fill(world->seed, observer->appended, payload, size);
        observer->appended++;
        if (log_end(world->log, size, NULL, NULL) != TERN_OK) {
            return false;
        }
    }
    return true;
}

static bool sync_log(struct world *world, struct observer *observer) {
    uint64_t appended = observer->appended;
    if (log_sync(world->log, log_end_position(world->log), NULL) != TERN_OK) {
        return false;
    }
    observer->acknowledged = observer->kept = appended;
    return true;
}

/* Commits that ask for a sync each. */
static bool commit_some(struct world *world, struct observer *observer) {
    uint64_t count = 1 + seeded_random_below(&world->random, 8);
    for (uint64_t i = 0; i < count; i++) {
        if (!append_some(world, observer, 3) || log_sync_group(world->log, NULL) != TERN_OK) {
            return false;
        }
        observer->acknowledged = observer->kept = observer->appended;
    }
    return true;
}

/* Commits that do not. */
static bool keep_some(struct world *world, struct observer *observer) {
    if (!append_some(world, observer, 20) || log_keep(world->log, NULL) != TERN_OK) {
        return false;
    }
    observer->kept = observer->appended;
    return true;
}

static bool write_out(struct world *world, struct observer *observer) {
    if (log_write_out(world->log, NULL) != TERN_OK) {
        return false;
    }
    observer->kept = observer->appended;
    return true;
}

/* A checkpoint: what is durable is in the bases now, and the log may go. */
static bool checkpoint(struct world *world, struct observer *observer) {
    if (!sync_log(world, observer)) {
        return false;
    }
    observer->start = log_durable_position(world->log);
    observer->released = observer->acknowledged;
    return log_release(world->log, observer->start, NULL) == TERN_OK;
}

/* Runs until the power goes or `steps` are done. */
static void run(struct world *world, struct observer *observer, uint64_t steps) {
    bool going = true;
    for (uint64_t i = 0; i < steps && going; i++) {
        switch (seeded_random_below(&world->random, 16)) {
        case 0:
            going = checkpoint(world, observer);
            break;
        case 1:
            going = log_mark(world->log, NULL) == TERN_OK;
            break;
        case 2:
        case 5:
            going = !log_wants_prepare(world->log) || log_prepare(world->log, NULL) == TERN_OK;
            break;
        case 3:
        case 4:
            going = sync_log(world, observer);
            break;
        case 6:
        case 7:
        case 8:
        case 9:
            going = commit_some(world, observer);
            break;
        case 10:
            going = keep_some(world, observer);
            break;
        case 11:
            going = write_out(world, observer);
            break;
        default:
            going = append_some(world, observer, 60);
        }
    }
    struct log_stats stats;
    log_get_stats(world->log, &stats);
    world->direct_syncs += stats.direct_syncs;
    if (going && seeded_random_chance(&world->random, 1, 3)) {
        struct log *log = world->log;
        uint64_t appended = observer->appended;
        world->log = NULL;
        if (log_close(log, NULL) == TERN_OK) {
            observer->acknowledged = observer->kept = appended;
        }
    }
    log_discard(world->log);
    world->log = NULL;
}

static void lose_power(struct world *world, uint64_t seed) {
    struct power_cut_file_system *found = power_cut_keeping(world->disk, world->keep, seed);
    fault_file_system_destroy(world->mapping);
    power_cut_destroy(world->disk);
    world->disk = found;
    put_mapping_over_disk(world);
}

#define ASSERT_HERE(world, call, expression)                                                       \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            (void)fprintf(stderr, "seed %llu, cut in call %llu: %s\n",                             \
                          (unsigned long long)(world)->seed, (unsigned long long)(call),           \
                          #expression);                                                            \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

/* Recovers, with the power going again `interruptions` times meanwhile. */
static void recover(struct world *world, struct observer *observer, uint64_t call,
                    uint64_t interruptions) {
    for (uint64_t i = 0; i < interruptions; i++) {
        uint64_t calls = power_cut_calls(world->disk);
        power_cut_arm(world->disk, calls + 1 + seeded_random_below(&world->random, 40));
        tern_error error = TERN_ERROR_INIT;
        tern_status status = open_log(world, observer, &error);
        ASSERT_HERE(world, call, status == TERN_OK || power_cut_is_off(world->disk));
        if (status == TERN_OK) {
            ASSERT_HERE(world, call, world->is_right && world->next >= observer->acknowledged);
            ASSERT_HERE(world, call, world->next >= observer->kept);
            /* Recovery has made durable what it found. */
            observer->acknowledged = observer->kept = world->next;
        }
        log_discard(world->log);
        world->log = NULL;
        lose_power(world, seeded_random_next(&world->random));
    }
    tern_error error = TERN_ERROR_INIT;
    tern_status status = open_log(world, observer, &error);
    if (status != TERN_OK) {
        (void)fprintf(stderr, "%s: %s\n", tern_status_name(status), error.message);
    }
    ASSERT_HERE(world, call, status == TERN_OK);
    ASSERT_HERE(world, call, world->is_right);
    ASSERT_HERE(world, call, world->next >= observer->acknowledged);
    ASSERT_HERE(world, call, world->next >= observer->kept);
    ASSERT_HERE(world, call, world->next <= observer->appended);
    observer->appended = observer->acknowledged = observer->kept = world->next;
}

static void make_world(struct world *world, uint64_t seed) {
    *world = (struct world){.seed = seed};
    seeded_random_init(&world->random, seed);
    world->disk = power_cut_create(seed);
    world->salts = seeded_random_source_create(seed + 1);
    const tern_file_system *disk = power_cut_interface(world->disk);
    assert_int_equal(disk->make_directory(disk->context, DIRECTORY, NULL), TERN_OK);
    assert_int_equal(disk->sync_directory(disk->context, ".", NULL), TERN_OK);
    world->options = (struct log_options){
        .directory = DIRECTORY,
        .allocator = tern_allocator_default(),
        .random = seeded_random_source_interface(world->salts),
        .segment_bytes = SEGMENT_BYTES,
        .reserve_segments = 1,
        .direct_syncs = 1 + (uint32_t)(seed / 2 % 3),
    };
    put_mapping_over_disk(world);
}

/* One life after another, each cut; false when the first life ended before call `call`. */
static bool live_and_die(uint64_t seed, uint64_t call, uint64_t *cuts, uint64_t *direct_syncs) {
    struct world world;
    struct observer observer = {0};
    make_world(&world, seed);
    uint64_t base = power_cut_calls(world.disk);
    power_cut_arm(world.disk, base + call);
    bool was_cut = false;
    for (uint64_t life = 0; life < 3; life++) {
        if (life == 0) {
            tern_status status = open_log(&world, &observer, NULL);
            ASSERT_HERE(&world, call, status == TERN_OK || power_cut_is_off(world.disk));
            if (status == TERN_OK) {
                run(&world, &observer, 60);
            }
        } else {
            uint64_t interruptions = seeded_random_below(&world.random, 4);
            recover(&world, &observer, call, interruptions);
            *cuts += interruptions;
            power_cut_arm(world.disk,
                          power_cut_calls(world.disk) + 1 + seeded_random_below(&world.random, 80));
            run(&world, &observer, 40);
        }
        was_cut = was_cut || (life == 0 && power_cut_is_off(world.disk));
        world.keep = seeded_random_chance(&world.random, 1, 3) ? POWER_CUT_KEEP_EVERYTHING
                                                               : POWER_CUT_KEEP_RANDOM;
        if (world.keep != POWER_CUT_KEEP_EVERYTHING) {
            observer.kept = observer.acknowledged;
        }
        lose_power(&world, seeded_random_next(&world.random));
        *cuts += 1;
    }
    recover(&world, &observer, call, 0);
    *direct_syncs += world.direct_syncs;
    log_discard(world.log);
    fault_file_system_destroy(world.mapping);
    power_cut_destroy(world.disk);
    seeded_random_source_destroy(world.salts);
    return was_cut;
}

static void survives_a_cut_at_every_call_and_during_recovery(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("log power cuts");
    const char *text = getenv("TERN_LOG_CUTS");
    uint64_t wanted = text != NULL ? strtoull(text, NULL, 10) : 3000;
    uint64_t cuts = 0;
    uint64_t call = 0;
    uint64_t direct_syncs = 0;
    while (cuts < wanted) {
        call++;
        if (!live_and_die(seed, call, &cuts, &direct_syncs)) {
            /* Every call of this life has been cut: another life. */
            seed++;
            call = 0;
        }
    }
    (void)fprintf(stderr, "%llu cuts, %llu direct syncs\n", (unsigned long long)cuts,
                  (unsigned long long)direct_syncs);
    assert_true(direct_syncs > 0 || wanted < 3000); /* the mix is what it claims to be */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_a_cut_at_every_call_and_during_recovery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
