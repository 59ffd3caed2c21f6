/* SPDX-License-Identifier: Apache-2.0 */
#include "log_fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "check.h"
#include "os/file.h"

static void make_directory(struct fixture *fixture) {
    const tern_file_system *disk = power_cut_interface(fixture->disk);
    CHECK(disk->make_directory(disk->context, FIXTURE_DIRECTORY, NULL) == TERN_OK);
    CHECK(disk->sync_directory(disk->context, ".", NULL) == TERN_OK);
}

void fixture_refuse_map(struct fixture *fixture) {
    struct fault_plan plan = {FAULT_MAP, 1, true, false, TERN_UNSUPPORTED, 0};
    fault_file_system_arm(fixture->mapping, &plan);
    fixture->refuses_map = true;
}

static void stack_file_systems(struct fixture *fixture) {
    fixture->mapping = fault_file_system_create(power_cut_interface(fixture->disk));
    fixture->faults = fault_file_system_create(fault_file_system_interface(fixture->mapping));
    fixture->options.file_system = fault_file_system_interface(fixture->faults);
    if (fixture->refuses_map) {
        fixture_refuse_map(fixture);
    }
}

static void unstack_file_systems(struct fixture *fixture) {
    fault_file_system_destroy(fixture->faults);
    fault_file_system_destroy(fixture->mapping);
}

void fixture_init(struct fixture *fixture, uint64_t seed) {
    memset(fixture, 0, sizeof(*fixture));
    fixture->disk = power_cut_create(seed);
    fixture->random = seeded_random_source_create(seed + 1);
    make_directory(fixture);
    stack_file_systems(fixture);
    fixture->options = (struct log_options){
        .directory = FIXTURE_DIRECTORY,
        .allocator = tern_allocator_default(),
        .file_system = fault_file_system_interface(fixture->faults),
        .random = seeded_random_source_interface(fixture->random),
        .segment_bytes = FIXTURE_SEGMENT_BYTES,
        .reserve_segments = 1,
    };
}

void fixture_release(struct fixture *fixture) {
    fixture_discard(fixture);
    unstack_file_systems(fixture);
    power_cut_destroy(fixture->disk);
    seeded_random_source_destroy(fixture->random);
}

void fixture_forget_visits(struct fixture *fixture) {
    fixture->visited = 0;
    fixture->is_in_order = true;
}

tern_status fixture_open(struct fixture *fixture, log_position start, bool read_only) {
    CHECK(fixture->log == NULL);
    fixture_forget_visits(fixture);
    fixture->error = (tern_error)TERN_ERROR_INIT;
    return log_open(&fixture->options, start, 0, read_only, fixture_visit, fixture,
                    &fixture->recovery, &fixture->log, &fixture->error);
}

static void explain(const struct fixture *fixture, tern_status status) {
    if (status != TERN_OK) {
        char line[1024];
        (void)tern_error_format(&fixture->error, line, sizeof(line));
        (void)fprintf(stderr, "%s: %s\n", tern_status_name(status), line);
    }
}

void fixture_reopen(struct fixture *fixture) {
    tern_status status = fixture_open(fixture, 0, false);
    explain(fixture, status);
    CHECK(status == TERN_OK);
}

void fixture_close(struct fixture *fixture) {
    struct log *log = fixture->log;
    fixture->log = NULL;
    tern_status status = log_close(log, &fixture->error);
    explain(fixture, status);
    CHECK(status == TERN_OK);
}

void fixture_discard(struct fixture *fixture) {
    log_discard(fixture->log);
    fixture->log = NULL;
}

size_t fixture_payload_bytes(uint64_t number) {
    uint64_t mixed = (number + 1) * 0x9e3779b97f4a7c15u >> 40;
    return 8 + (mixed % 16 == 0 ? mixed % 4000 : mixed % 200);
}

void fixture_fill(uint64_t number, uint8_t *payload, size_t size) {
    put_u64(payload, number);
    for (size_t i = 8; i < size; i++) {
        payload[i] = (uint8_t)(number * 31 + i);
    }
}

uint64_t fixture_number(const struct log_record *record) {
    if (record->payload_size < 8) {
        return UINT64_MAX;
    }
    uint64_t number = get_u64(record->payload);
    if (record->kind != LOG_RECORD_COMMIT ||
        record->payload_size != fixture_payload_bytes(number)) {
        return UINT64_MAX;
    }
    for (size_t i = 8; i < record->payload_size; i++) {
        if (record->payload[i] != (uint8_t)(number * 31 + i)) {
            return UINT64_MAX;
        }
    }
    return number;
}

tern_status fixture_append(struct fixture *fixture, uint64_t number, log_position *out_end) {
    uint8_t *payload;
    size_t size = fixture_payload_bytes(number);
    tern_status status =
        log_begin(fixture->log, LOG_RECORD_COMMIT, size + number % 3, &payload, &fixture->error);
    if (status != TERN_OK) {
        return status;
    }
    fixture_fill(number, payload, size);
    return log_end(fixture->log, size, out_end, &fixture->error);
}

void fixture_append_range(struct fixture *fixture, uint64_t from, uint64_t to) {
    for (uint64_t number = from; number < to; number++) {
        tern_status status = fixture_append(fixture, number, NULL);
        explain(fixture, status);
        CHECK(status == TERN_OK);
    }
}

void fixture_sync(struct fixture *fixture) {
    tern_status status = log_sync(fixture->log, log_end_position(fixture->log), &fixture->error);
    explain(fixture, status);
    CHECK(status == TERN_OK);
}

tern_status fixture_visit(void *context, const struct log_record *record, tern_error *error) {
    struct fixture *fixture = context;
    (void)error;
    if (record->kind == LOG_RECORD_MARK) {
        return TERN_OK;
    }
    uint64_t number = fixture_number(record);
    if (number == UINT64_MAX || (fixture->visited > 0 && number != fixture->last + 1)) {
        fixture->is_in_order = false;
    }
    if (fixture->visited == 0) {
        fixture->first = number;
    }
    fixture->last = number;
    fixture->last_incarnation = record->incarnation;
    fixture->visited++;
    return TERN_OK;
}

static tern_file *open_segment(struct fixture *fixture, uint32_t id) {
    const tern_file_system *disk = power_cut_interface(fixture->disk);
    char path[64];
    tern_file *file = NULL;
    (void)snprintf(path, sizeof(path), FIXTURE_DIRECTORY "/log-%016x", (unsigned)id);
    CHECK(disk->open(disk->context, path, 0, &file, NULL) == TERN_OK);
    return file;
}

void fixture_read_segment(struct fixture *fixture, uint32_t id, uint64_t offset, void *bytes,
                          size_t size) {
    tern_file *file = open_segment(fixture, id);
    size_t got = 0;
    CHECK(file_read(file, offset, bytes, size, &got, NULL) == TERN_OK && got == size);
    CHECK(file_close(file, NULL) == TERN_OK);
}

void fixture_write_segment(struct fixture *fixture, uint32_t id, uint64_t offset, const void *bytes,
                           size_t size) {
    tern_file *file = open_segment(fixture, id);
    CHECK(file_write(file, offset, bytes, size, NULL) == TERN_OK);
    CHECK(file_sync(file, NULL) == TERN_OK);
    CHECK(file_close(file, NULL) == TERN_OK);
}

void fixture_cut(struct fixture *fixture, enum power_cut_keep keep, uint64_t seed) {
    CHECK(fixture->log == NULL);
    struct power_cut_file_system *found = power_cut_keeping(fixture->disk, keep, seed);
    unstack_file_systems(fixture);
    power_cut_destroy(fixture->disk);
    fixture->disk = found;
    stack_file_systems(fixture);
}
