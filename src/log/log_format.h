/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the log: codecs of segment header and record header. docs/format/log.md is
 * normative. Pure functions: no I/O, any thread.
 */
#ifndef TERN_LOG_FORMAT_H
#define TERN_LOG_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log/log.h"

#define LOG_FORMAT_VERSION 1u

/* The header block of a segment holds two copies, each of one 512-byte sector. */
#define LOG_HEADER_BYTES       4096u
#define LOG_HEADER_COPY_BYTES  512u
#define LOG_HEADER_SECOND_COPY 2048u

#define LOG_SEGMENT_BYTES_MIN ((uint64_t)64 << 10)
#define LOG_SEGMENT_BYTES_MAX ((uint64_t)1 << 30)

#define LOG_RECORD_HEADER_BYTES 24u
#define LOG_RECORD_ALIGNMENT    8u

/* Ends a segment; its payload is the id of the next one and four zero bytes. Never visited. */
#define LOG_RECORD_SEAL        32u
#define LOG_SEAL_PAYLOAD_BYTES 8u
#define LOG_SEAL_BYTES         (LOG_RECORD_HEADER_BYTES + LOG_SEAL_PAYLOAD_BYTES)

/* Names: "log-" and the segment id in 16 hexadecimal digits. */
#define LOG_NAME_BYTES 21

struct log_segment_header {
    uint32_t id;
    uint32_t incarnation; /* of the database when the segment was begun */
    uint64_t segment_bytes;
    uint64_t salt;
    log_position previous_end; /* where the chain left the segment before; 0 for the first */
    uint32_t previous_chain;   /* chain value there */
    bool previous_chain_is_known;
    log_position durable; /* everything before this was durable when the segment was begun */
    uint32_t checksum;    /* of the encoded header: chain value of the first record */
};

enum log_header_state {
    LOG_HEADER_VALID,
    LOG_HEADER_BLANK,   /* a spare, or a file whose creation was cut short */
    LOG_HEADER_FOREIGN, /* bears another segment's id: counts as a spare */
    LOG_HEADER_DAMAGED, /* both copies hold bytes that do not validate */
    LOG_HEADER_VERSION  /* written by a newer release */
};

/* What the 24 bytes before a payload say. */
struct log_record_header {
    uint32_t checksum;
    uint32_t payload_bytes;
    uint32_t chain; /* checksum of the record before, or of the segment header */
    uint32_t incarnation;
    uint8_t kind;
    log_position durable; /* everything before this was durable when the record was appended */
};

void log_segment_name(char out_name[LOG_NAME_BYTES], uint32_t id);

/* True when `name` is that of a segment. */
bool log_segment_name_parse(const char *name, uint32_t *out_id);

/* Writes the header block and sets header->checksum. */
void log_header_encode(struct log_segment_header *header, uint8_t out_block[LOG_HEADER_BYTES]);

/* Reads a header block; *out_header is set for LOG_HEADER_VALID only. */
enum log_header_state log_header_decode(const uint8_t *block, size_t block_bytes, uint32_t id,
                                        struct log_segment_header *out_header);

/* What the checksums of a segment's records start from. */
uint32_t log_salt_seed(uint64_t salt);

/* Bytes that a record takes with header and padding. */
static inline uint64_t log_record_bytes(uint64_t payload_bytes) {
    return (LOG_RECORD_HEADER_BYTES + payload_bytes + (LOG_RECORD_ALIGNMENT - 1)) &
           ~(uint64_t)(LOG_RECORD_ALIGNMENT - 1);
}

/* Largest payload in a segment of this size. */
static inline uint64_t log_segment_payload_max(uint64_t segment_bytes) {
    return segment_bytes / 4 - LOG_RECORD_HEADER_BYTES;
}

/*
 * Writes the header in front of a payload that lies at record + LOG_RECORD_HEADER_BYTES, and the
 * zeros behind it. Sets header->checksum; the chain value of the next record.
 */
void log_record_encode(struct log_record_header *header, uint32_t seed, log_position position,
                       uint8_t *record);

/*
 * Reads the 24 header bytes of the record at `position` in a segment whose records end at
 * `limit_offset`. False when they cannot be a record's; the checksum is not looked at yet.
 */
bool log_record_header_decode(const uint8_t *record, uint32_t seed, log_position position,
                              uint64_t limit_offset, struct log_record_header *out_header);

/* True when header, payload and padding have the checksum that the header states. */
bool log_record_is_whole(const struct log_record_header *header, uint32_t seed,
                         log_position position, const uint8_t *record);

#endif
