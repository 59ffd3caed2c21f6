/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment bytes as an enemy would write them. The first byte of the input chooses:
 *
 *   bit 0 clear  the rest is the content of up to three segments, cut evenly
 *   bit 0 set    the rest is a list of 8-byte edits of a sound log of several segments, checksums
 *                made right again where the edit asks for it, so that what lies behind them is
 *                reached:   0 segment   1 kind of edit   2 u16 offset / 8   4 u32 value
 *   bit 1        replay begins at a position that the input's last 8 bytes give
 *   bit 2        two recoveries instead of one before the last look
 *
 * Whatever the bytes: no crash, every status is one that the interface names, and a log that opened
 * for writing opens again and shows the same records and those appended since.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "check.h"
#include "log/log_format.h"
#include "os/file.h"
#include "power_cut_file_system.h"
#include "seeded_random.h"

#define SEGMENT_BYTES ((uint64_t)64 << 10)
#define SEGMENTS      3u
#define APPENDED      3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t records;
    uint64_t digest;
};

static tern_status visit(void *context, const struct log_record *record, tern_error *error) {
    struct seen *seen = context;
    (void)error;
    if (record->kind == LOG_RECORD_MARK) {
        return TERN_OK;
    }
    seen->records++;
    for (size_t i = 0; i < record->payload_size; i++) {
        seen->digest = seen->digest * 31 + record->payload[i];
    }
    return TERN_OK;
}

static bool find(void *context, const tern_finding *finding) {
    uint64_t *count = context;
    CHECK(finding->file != NULL && finding->invariant != NULL && finding->message[0] != '\0');
    return ++*count < 1000;
}

static tern_file *open_segment(const tern_file_system *disk, uint32_t id) {
    char path[64];
    tern_file *file = NULL;
    (void)snprintf(path, sizeof(path), "db/log-%016x", (unsigned)id);
    CHECK(disk->open(disk->context, path, TERN_OPEN_CREATE, &file, NULL) == TERN_OK);
    return file;
}

static void append(struct log *log, uint64_t from, uint64_t to, size_t stride) {
    for (uint64_t number = from; number < to; number++) {
        uint8_t *payload;
        size_t size = 16 + (size_t)(number * stride) % 3000;
        CHECK(log_begin(log, LOG_RECORD_COMMIT, size, &payload, NULL) == TERN_OK);
        memset(payload, (int)number, size);
        CHECK(log_end(log, size, NULL, NULL) == TERN_OK);
    }
}

/* A log of three segments, synced here and there, not closed. */
static void build_sound_log(const struct log_options *options) {
    struct log_recovery recovery;
    struct log *log = NULL;
    CHECK(log_open(options, 0, 0, false, NULL, NULL, &recovery, &log, NULL) == TERN_OK);
    for (uint64_t round = 0; round < 10; round++) {
        append(log, round * 10, round * 10 + 10, 571);
        if (round % 3 == 1) {
            CHECK(log_sync(log, log_end_position(log), NULL) == TERN_OK);
            CHECK(log_mark(log, NULL) == TERN_OK);
        }
    }
    log_discard(log);
}

/* Makes the checksums of the header, or of the record at `offset`, right for what they cover. */
static void seal_again(uint8_t *content, uint32_t id, size_t offset) {
    uint8_t sound[LOG_HEADER_BYTES];
    struct log_segment_header header = {
        .id = get_u32(content + 12),
        .incarnation = get_u32(content + 32),
        .segment_bytes = get_u64(content + 16),
        .salt = get_u64(content + 24),
        .previous_end = get_u64(content + 40),
        .previous_chain = get_u32(content + 48),
        .previous_chain_is_known = (get_u32(content + 36) & 1) != 0,
        .durable = get_u64(content + 56),
    };
    if (offset < LOG_HEADER_BYTES) {
        log_header_encode(&header, sound);
        memcpy(content, sound, LOG_HEADER_BYTES);
        return;
    }
    log_position position = (log_position)id << 32 | offset;
    struct log_record_header record = {
        .payload_bytes = get_u32(content + offset + 4),
        .chain = get_u32(content + offset + 8),
        .incarnation = get_u32(content + offset + 16),
        .kind = content[offset + 20],
        .durable = (log_position)(id - (content[offset + 21] < id ? content[offset + 21] : id))
                       << 32 |
                   get_u32(content + offset + 12),
    };
    record.durable = record.durable > position ? position : record.durable;
    if (record.payload_bytes <= SEGMENT_BYTES &&
        offset + log_record_bytes(record.payload_bytes) <= SEGMENT_BYTES) {
        log_record_encode(&record, log_salt_seed(header.salt), position, content + offset);
    }
}

static void edit(const tern_file_system *disk, const uint8_t *edits, size_t count) {
    uint8_t *content[SEGMENTS];
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        size_t got = 0;
        content[i] = check_allocate(SEGMENT_BYTES);
        tern_file *file = open_segment(disk, i + 1);
        CHECK(file_read(file, 0, content[i], SEGMENT_BYTES, &got, NULL) == TERN_OK);
        CHECK(file_close(file, NULL) == TERN_OK);
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *one = edits + i * 8;
        uint32_t segment = one[0] % SEGMENTS;
        size_t offset = (size_t)(get_u16(one + 2) % (SEGMENT_BYTES / 8)) * 8;
        uint8_t *at = content[segment] + offset + (one[1] >> 4) % 8 * 4 % 32;
        if (at > content[segment] + SEGMENT_BYTES - 32 || offset > SEGMENT_BYTES - 64) {
            continue;
        }
        if (one[1] & 1) {
            put_u32(at, get_u32(at) + get_u32(one + 4));
        } else {
            put_u32(at, get_u32(one + 4));
        }
        if (one[1] & 2) {
            seal_again(content[segment], segment + 1, offset);
        }
    }
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        tern_file *file = open_segment(disk, i + 1);
        CHECK(file_write(file, 0, content[i], SEGMENT_BYTES, NULL) == TERN_OK);
        CHECK(file_close(file, NULL) == TERN_OK);
        free(content[i]);
    }
}

static void write_raw(const tern_file_system *disk, const uint8_t *data, size_t size) {
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        size_t from = size * i / SEGMENTS;
        size_t to = size * (i + 1) / SEGMENTS;
        tern_file *file = open_segment(disk, i + 1);
        if (to > from) {
            CHECK(file_write(file, 0, data + from, to - from, NULL) == TERN_OK);
        }
        CHECK(file_close(file, NULL) == TERN_OK);
    }
}

static bool is_expected(tern_status status) {
    return status == TERN_OK || status == TERN_CORRUPTION || status == TERN_VERSION ||
           status == TERN_UNSUPPORTED;
}

static tern_status open_log(const struct log_options *options, log_position start, bool read_only,
                            struct seen *seen, struct log **out_log) {
    struct log_recovery recovery;
    *seen = (struct seen){0};
    tern_status status =
        log_open(options, start, 0, read_only, visit, seen, &recovery, out_log, NULL);
    CHECK(is_expected(status));
    return status;
}

static void look(const struct log_options *options, log_position start, bool twice) {
    struct log_recovery recovery;
    struct seen seen = {0};
    struct seen before;
    struct log *log = NULL;
    for (int salvage = 0; salvage < 2; salvage++) {
        uint64_t findings = 0;
        CHECK(is_expected(
            log_scan(options, start, salvage, visit, &seen, find, &findings, &recovery, NULL)));
    }
    tern_status status = open_log(options, start, true, &before, &log);
    log_discard(log);
    log = NULL;
    tern_status writable = open_log(options, start, false, &seen, &log);
    CHECK(writable == status || writable == TERN_UNSUPPORTED);
    if (writable != TERN_OK) {
        return;
    }
    CHECK(seen.records == before.records && seen.digest == before.digest);
    if (twice) {
        log_discard(log);
        log = NULL;
        CHECK(open_log(options, start, false, &seen, &log) == TERN_OK);
        CHECK(seen.records == before.records && seen.digest == before.digest);
    }
    append(log, 0, APPENDED, 7);
    CHECK(log_close(log, NULL) == TERN_OK);
    log = NULL;
    CHECK(open_log(options, start, true, &seen, &log) == TERN_OK);
    CHECK(seen.records == before.records + APPENDED);
    log_discard(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > (size_t)256 << 10) {
        return 0;
    }
    struct power_cut_file_system *disk = power_cut_create(1);
    struct seeded_random_source *random = seeded_random_source_create(2);
    const tern_file_system *files = power_cut_interface(disk);
    struct log_options options = {
        .directory = "db",
        .allocator = tern_allocator_default(),
        .file_system = files,
        .random = seeded_random_source_interface(random),
        .segment_bytes = SEGMENT_BYTES,
        .reserve_segments = 1,
    };
    CHECK(files->make_directory(files->context, "db", NULL) == TERN_OK);
    uint8_t mode = data[0];
    log_position start = 0;
    if ((mode & 2) != 0 && size >= 9) {
        start = get_u64(data + size - 8);
    }
    if (mode & 1) {
        build_sound_log(&options);
        edit(files, data + 1, (size - 1) / 8);
    } else {
        write_raw(files, data + 1, size - 1);
    }
    look(&options, start, (mode & 4) != 0);
    power_cut_destroy(disk);
    seeded_random_source_destroy(random);
    return 0;
}
