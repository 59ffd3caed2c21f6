/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codecs of the log. One copy of the segment header, a sector of 512 bytes:
 *
 *    0  u64  magic "TERNLOG1"          40  u64  position where the segment before ended
 *    8  u32  format version            48  u32  chain value there
 *   12  u32  segment id                52  u32  zero
 *   16  u64  segment size in bytes     56  u64  durable position at creation
 *   24  u64  salt                      64       zeros
 *   32  u32  incarnation              508  u32  CRC-32C of bytes 0 to 507
 *   36  u32  flags: 1 = chain value at 48 is known
 *
 * A record, aligned to 8 bytes, padded with zeros to a multiple of 8:
 *
 *    0  u32  CRC-32C of bytes 4 to the end of the padding
 *    4  u32  payload size in bytes
 *    8  u32  chain: CRC of the record before
 *   12  u32  durable mark: offset
 *   16  u32  incarnation
 *   20  u8   kind, 1 to 63
 *   21  u8   durable mark: segments before this one, at most 255
 *   22  u16  low half of the CRC of bytes 4 to 21
 *   24       payload
 *
 * Invariants:
 * 1. The CRC starts from crc32c(salt) xor offset: a record of another segment, of another life of
 *    the same file, or at another place never validates, and one can be recognised standing alone.
 * 2. The chain is an ordinary field under the CRC: a record that stands alone but does not follow
 *    the one before it is told apart.
 * 3. The half CRC at 22 is a prefix of the same computation. It costs nothing and lets the search
 *    for records in garbage reject a candidate without reading its payload.
 */
#include "log/log_format.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "simd/hash.h"

#define HEADER_CHECKSUM_OFFSET  508u
#define HEADER_FLAG_CHAIN_KNOWN 1u
#define RECORD_CHECK_OFFSET     22u
#define DURABLE_DISTANCE_MAX    255u
#define RECORD_KIND_MAX         63u

_Static_assert(HEADER_CHECKSUM_OFFSET + 4 == LOG_HEADER_COPY_BYTES, "header copy is one sector");
_Static_assert(LOG_HEADER_SECOND_COPY + LOG_HEADER_COPY_BYTES <= LOG_HEADER_BYTES, "copies fit");
_Static_assert(LOG_RECORD_HEADER_BYTES % LOG_RECORD_ALIGNMENT == 0, "payloads are aligned");
_Static_assert(LOG_SEAL_BYTES % LOG_RECORD_ALIGNMENT == 0, "a seal needs no padding");
_Static_assert(LOG_HEADER_BYTES % LOG_RECORD_ALIGNMENT == 0, "the first record is aligned");
_Static_assert(RECORD_CHECK_OFFSET + 2 == LOG_RECORD_HEADER_BYTES, "check ends the header");

static const uint8_t header_magic[8] = {'T', 'E', 'R', 'N', 'L', 'O', 'G', '1'};

void log_segment_name(char out_name[LOG_NAME_BYTES], uint32_t id) {
    static const char digits[] = "0123456789abcdef";
    memcpy(out_name, "log-00000000", 12);
    for (unsigned i = 0; i < 8; i++) {
        out_name[12 + i] = digits[(id >> (28 - 4 * i)) & 15];
    }
    out_name[20] = '\0';
}

bool log_segment_name_parse(const char *name, uint32_t *out_id) {
    if (strlen(name) != LOG_NAME_BYTES - 1 || memcmp(name, "log-00000000", 12) != 0) {
        return false;
    }
    uint32_t id = 0;
    for (unsigned i = 12; i < 20; i++) {
        char c = name[i];
        uint32_t digit;
        if (c >= '0' && c <= '9') {
            digit = (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (uint32_t)(c - 'a') + 10;
        } else {
            return false;
        }
        id = id << 4 | digit;
    }
    if (id == 0) {
        return false;
    }
    *out_id = id;
    return true;
}

void log_header_encode(struct log_segment_header *header, uint8_t out_block[LOG_HEADER_BYTES]) {
    memset(out_block, 0, LOG_HEADER_BYTES);
    memcpy(out_block, header_magic, sizeof(header_magic));
    put_u32(out_block + 8, LOG_FORMAT_VERSION);
    put_u32(out_block + 12, header->id);
    put_u64(out_block + 16, header->segment_bytes);
    put_u64(out_block + 24, header->salt);
    put_u32(out_block + 32, header->incarnation);
    put_u32(out_block + 36, header->previous_chain_is_known ? HEADER_FLAG_CHAIN_KNOWN : 0);
    put_u64(out_block + 40, header->previous_end);
    put_u32(out_block + 48, header->previous_chain);
    put_u64(out_block + 56, header->durable);
    header->checksum = crc32c(0, out_block, HEADER_CHECKSUM_OFFSET);
    put_u32(out_block + HEADER_CHECKSUM_OFFSET, header->checksum);
    memcpy(out_block + LOG_HEADER_SECOND_COPY, out_block, LOG_HEADER_COPY_BYTES);
}

static bool is_zero(const uint8_t *bytes, size_t size) {
    uint64_t any = 0;
    for (size_t i = 0; i < size; i += 8) {
        any |= get_u64(bytes + i);
    }
    return any == 0;
}

/* Values that no writer of this version writes, under a right checksum, count as damage. */
static bool header_is_plausible(const struct log_segment_header *header, uint32_t flags) {
    return header->segment_bytes >= LOG_SEGMENT_BYTES_MIN &&
           header->segment_bytes <= LOG_SEGMENT_BYTES_MAX &&
           header->segment_bytes % LOG_HEADER_BYTES == 0 && flags <= HEADER_FLAG_CHAIN_KNOWN &&
           header->id != 0 && log_position_segment(header->previous_end) < header->id &&
           log_position_segment(header->durable) < header->id &&
           log_position_offset(header->previous_end) % LOG_RECORD_ALIGNMENT == 0;
}

static enum log_header_state decode_copy(const uint8_t *copy, uint32_t id,
                                         struct log_segment_header *out_header) {
    if (is_zero(copy, LOG_HEADER_COPY_BYTES)) {
        return LOG_HEADER_BLANK;
    }
    uint32_t checksum = get_u32(copy + HEADER_CHECKSUM_OFFSET);
    if (memcmp(copy, header_magic, sizeof(header_magic)) != 0 ||
        checksum != crc32c(0, copy, HEADER_CHECKSUM_OFFSET)) {
        return LOG_HEADER_DAMAGED;
    }
    if (get_u32(copy + 8) != LOG_FORMAT_VERSION) {
        return LOG_HEADER_VERSION;
    }
    uint32_t flags = get_u32(copy + 36);
    struct log_segment_header header = {
        .id = get_u32(copy + 12),
        .incarnation = get_u32(copy + 32),
        .segment_bytes = get_u64(copy + 16),
        .salt = get_u64(copy + 24),
        .previous_end = get_u64(copy + 40),
        .previous_chain = get_u32(copy + 48),
        .previous_chain_is_known = (flags & HEADER_FLAG_CHAIN_KNOWN) != 0,
        .durable = get_u64(copy + 56),
        .checksum = checksum,
    };
    if (!header_is_plausible(&header, flags)) {
        return LOG_HEADER_DAMAGED;
    }
    if (header.id != id) {
        return LOG_HEADER_FOREIGN;
    }
    *out_header = header;
    return LOG_HEADER_VALID;
}

/*
 * A copy is one sector, so a cut during its first write leaves it blank or whole: two copies that
 * are neither blank nor valid mean damage. One such copy beside a blank or foreign one is damage in
 * a spare, which holds nothing.
 */
enum log_header_state log_header_decode(const uint8_t *block, size_t block_bytes, uint32_t id,
                                        struct log_segment_header *out_header) {
    if (block_bytes < LOG_HEADER_BYTES) {
        return LOG_HEADER_BLANK;
    }
    enum log_header_state first = decode_copy(block, id, out_header);
    if (first == LOG_HEADER_VALID) {
        return first;
    }
    enum log_header_state second = decode_copy(block + LOG_HEADER_SECOND_COPY, id, out_header);
    if (second == LOG_HEADER_VALID || second == LOG_HEADER_VERSION) {
        return second;
    }
    return first == LOG_HEADER_DAMAGED ? second : first;
}

uint32_t log_salt_seed(uint64_t salt) {
    uint8_t bytes[8];
    put_u64(bytes, salt);
    return crc32c(0, bytes, sizeof(bytes));
}

static void put_durable(uint8_t *record, log_position position, log_position durable) {
    ASSERT_DEBUG(durable <= position);
    uint32_t distance = log_position_segment(position) - log_position_segment(durable);
    /* Too far back to say exactly: an older position is true as well. */
    bool is_far = distance > DURABLE_DISTANCE_MAX;
    record[21] = (uint8_t)(is_far ? DURABLE_DISTANCE_MAX : distance);
    put_u32(record + 12, is_far ? 0 : log_position_offset(durable));
}

void log_record_encode(struct log_record_header *header, uint32_t seed, log_position position,
                       uint8_t *record) {
    size_t used = LOG_RECORD_HEADER_BYTES + header->payload_bytes;
    size_t whole = (size_t)log_record_bytes(header->payload_bytes);
    memset(record + used, 0, whole - used);
    put_u32(record + 4, header->payload_bytes);
    put_u32(record + 8, header->chain);
    put_u32(record + 16, header->incarnation);
    record[20] = header->kind;
    put_durable(record, position, header->durable);
    uint32_t crc =
        crc32c(seed ^ log_position_offset(position), record + 4, RECORD_CHECK_OFFSET - 4);
    put_u16(record + RECORD_CHECK_OFFSET, (uint16_t)crc);
    crc = crc32c(crc, record + RECORD_CHECK_OFFSET, whole - RECORD_CHECK_OFFSET);
    header->checksum = crc;
    put_u32(record, crc);
}

bool log_record_header_decode(const uint8_t *record, uint32_t seed, log_position position,
                              uint64_t limit_offset, struct log_record_header *out_header) {
    uint32_t payload_bytes = get_u32(record + 4);
    uint8_t kind = record[20];
    uint8_t distance = record[21];
    uint32_t durable_offset = get_u32(record + 12);
    uint32_t segment = log_position_segment(position);
    if (kind == 0 || kind > RECORD_KIND_MAX || durable_offset % LOG_RECORD_ALIGNMENT != 0 ||
        distance > segment ||
        log_position_offset(position) + log_record_bytes(payload_bytes) > limit_offset) {
        return false;
    }
    log_position durable = (log_position)(segment - distance) << 32 | durable_offset;
    if (durable > position) {
        return false;
    }
    uint32_t crc =
        crc32c(seed ^ log_position_offset(position), record + 4, RECORD_CHECK_OFFSET - 4);
    if ((uint16_t)crc != get_u16(record + RECORD_CHECK_OFFSET)) {
        return false;
    }
    *out_header = (struct log_record_header){
        .checksum = get_u32(record),
        .payload_bytes = payload_bytes,
        .chain = get_u32(record + 8),
        .incarnation = get_u32(record + 16),
        .kind = kind,
        .durable = durable,
    };
    return true;
}

bool log_record_is_whole(const struct log_record_header *header, uint32_t seed,
                         log_position position, const uint8_t *record) {
    size_t whole = (size_t)log_record_bytes(header->payload_bytes);
    return header->checksum == crc32c(seed ^ log_position_offset(position), record + 4, whole - 4);
}
