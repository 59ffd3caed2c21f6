/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the log share: a log in the power-cut file system and records with known bytes.
 */
#ifndef TERN_TESTS_LOG_FIXTURE_H
#define TERN_TESTS_LOG_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "fault_file_system.h"
#include "log/log.h"
#include "power_cut_file_system.h"
#include "seeded_random.h"

#define FIXTURE_DIRECTORY     "db"
#define FIXTURE_SEGMENT_BYTES ((uint64_t)64 << 10)

struct fixture {
    struct power_cut_file_system *disk;
    struct fault_file_system *mapping; /* over the disk: refuses to map when told to */
    struct fault_file_system *faults;  /* over that: the test's own */
    bool refuses_map;
    struct seeded_random_source *random;
    struct log_options options;
    struct log *log;
    struct log_recovery recovery;
    tern_error error;
    /* of the last replay: */
    uint64_t visited;     /* records but marks */
    uint64_t first, last; /* their numbers */
    bool is_in_order;     /* numbers followed one another and payloads were right */
    uint32_t last_incarnation;
};

void fixture_init(struct fixture *fixture, uint64_t seed);
void fixture_release(struct fixture *fixture);
/* From now on nothing can be mapped, and the log writes through its files. */
void fixture_refuse_map(struct fixture *fixture);

/* Opens and replays; the status of log_open. */
tern_status fixture_open(struct fixture *fixture, log_position start, bool read_only);
/* The same from the beginning for writing, which must succeed. */
void fixture_reopen(struct fixture *fixture);
void fixture_close(struct fixture *fixture);
void fixture_discard(struct fixture *fixture);

/* Record `number` has a payload of this many bytes, all of them following from the number. */
size_t fixture_payload_bytes(uint64_t number);
void fixture_fill(uint64_t number, uint8_t *payload, size_t size);
/* The number, or UINT64_MAX when the bytes are not those of a record of fixture_append. */
uint64_t fixture_number(const struct log_record *record);

/* Appends record `number`; outputs where it begins and ends when not NULL. */
tern_status fixture_append(struct fixture *fixture, uint64_t number, log_position *out_end);
/* Appends [from, to), which must succeed. */
void fixture_append_range(struct fixture *fixture, uint64_t from, uint64_t to);
void fixture_sync(struct fixture *fixture);

/* Visits for replay and readers: context is the fixture. */
tern_status fixture_visit(void *context, const struct log_record *record, tern_error *error);
void fixture_forget_visits(struct fixture *fixture);

/* Reads and writes bytes of segment `id` behind the log's back. */
void fixture_read_segment(struct fixture *fixture, uint32_t id, uint64_t offset, void *bytes,
                          size_t size);
void fixture_write_segment(struct fixture *fixture, uint32_t id, uint64_t offset, const void *bytes,
                           size_t size);

/* Replaces the disk by what a cut would leave of it. The log must be closed or discarded. */
void fixture_cut(struct fixture *fixture, enum power_cut_keep keep, uint64_t seed);

#endif
