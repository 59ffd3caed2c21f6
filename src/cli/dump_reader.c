/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dump.h"

static uint32_t load_u32(const char *bytes) {
    const unsigned char *at = (const unsigned char *)bytes;
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t load_u64(const char *bytes) {
    return load_u32(bytes) | (uint64_t)load_u32(bytes + 4) << 32;
}

static enum dump_event refuse(struct dump_reader *reader, const char *problem) {
    reader->problem = problem;
    return DUMP_INVALID;
}

static enum dump_event input_event(struct dump_reader *reader, enum input_result result) {
    return result == INPUT_FAILED
               ? DUMP_FAILED
               : refuse(reader, "the file ends before its end block: it was cut off");
}

void dump_reader_open(struct dump_reader *reader, struct input *input) {
    *reader = (struct dump_reader){.input = input};
    crc32c_prepare(&reader->crc);
}

static enum dump_event read_header(struct dump_reader *reader) {
    const char *header = NULL;
    enum input_result result = input_bytes(reader->input, 16, &header);
    if (result == INPUT_FAILED) {
        return DUMP_FAILED;
    }
    if (result != INPUT_OK || memcmp(header, "TERNDUMP", 8) != 0) {
        return refuse(reader, "this is not a dump: it does not begin with TERNDUMP");
    }
    reader->checksum = load_u32(header + 12);
    if (crc32c_extend(&reader->crc, 0, header, 12) != reader->checksum) {
        return refuse(reader, "the checksum of the file header does not match");
    }
    if (load_u32(header + 8) != DUMP_VERSION) {
        return refuse(reader, "the dump has a version that this release cannot read");
    }
    reader->has_header = true;
    return DUMP_END;
}

static enum dump_event take_keyspace(struct dump_reader *reader, size_t size) {
    const char *at = reader->payload;
    bool is_hash = size >= 20 && load_u32(at) == TERN_ENGINE_HASH;
    bool is_lsm = size >= 20 && load_u32(at) == TERN_ENGINE_LSM;
    size_t fixed = is_hash ? 40 : is_lsm ? 32 : 20;
    if (size <= fixed || size - fixed > TERN_KEYSPACE_NAME_BYTES) {
        return refuse(reader, "a keyspace block has the wrong size");
    }
    if (memchr(at + fixed, '\0', size - fixed) != NULL) {
        return refuse(reader, "a keyspace name holds a zero byte");
    }
    reader->options = TERN_KEYSPACE_OPTIONS_INIT;
    reader->options.engine = (tern_engine_kind)load_u32(at);
    reader->options.compression = (tern_compression)load_u32(at + 4);
    reader->options.page_bytes = load_u32(at + 8);
    reader->options.fan_out = load_u32(at + 12);
    reader->options.fill_percent = load_u32(at + 16);
    if (is_hash) {
        reader->options.hash_index = (tern_hash_index)load_u32(at + 20);
        reader->options.max_load_percent = load_u32(at + 24);
        reader->options.expected_keys = load_u64(at + 28);
        reader->options.hash_function = (tern_hash_function)load_u32(at + 36);
    }
    if (is_lsm) {
        reader->options.compaction = (tern_compaction)load_u32(at + 20);
        reader->options.filter_bits = load_u32(at + 24);
        for (uint32_t i = 0; i < TERN_LSM_LEVELS; i++) {
            reader->options.level_compression[i] = (uint8_t)(load_u32(at + 28) >> 4 * i & 15);
        }
    }
    reader->name = tern_slice_of(at + fixed, size - fixed);
    reader->has_keyspace = true;
    reader->totals.keyspaces++;
    reader->payload_left = 0;
    return DUMP_KEYSPACE;
}

static enum dump_event take_record(struct dump_reader *reader) {
    if (reader->payload_left < 8) {
        return refuse(reader, "a records block ends within a record");
    }
    size_t key_size = load_u32(reader->payload);
    size_t value_size = load_u32(reader->payload + 4);
    reader->payload += 8;
    reader->payload_left -= 8;
    if (key_size > reader->payload_left || value_size > reader->payload_left - key_size) {
        return refuse(reader, "a record reaches past the end of its block");
    }
    reader->key = tern_slice_of(reader->payload, key_size);
    reader->value = tern_slice_of(reader->payload + key_size, value_size);
    reader->payload += key_size + value_size;
    reader->payload_left -= key_size + value_size;
    reader->count_left--;
    if (reader->count_left == 0 && reader->payload_left > 0) {
        return refuse(reader, "a records block has bytes behind its last record");
    }
    reader->totals.records++;
    reader->totals.bytes += key_size + value_size;
    return DUMP_RECORD;
}

static enum dump_event take_large(struct dump_reader *reader, size_t size) {
    if (size < 9) {
        return refuse(reader, "a large value has no key");
    }
    reader->value_size = load_u64(reader->payload);
    reader->large_left = reader->value_size;
    reader->key = tern_slice_of(reader->payload + 8, size - 8);
    reader->payload_left = 0;
    reader->totals.records++;
    reader->totals.bytes += reader->key.size + reader->value_size;
    return DUMP_LARGE;
}

static enum dump_event take_chunk(struct dump_reader *reader, size_t size) {
    if (size == 0 || size > reader->large_left) {
        return refuse(reader, "a chunk does not belong to a large value");
    }
    reader->large_left -= size;
    reader->value = tern_slice_of(reader->payload, size);
    reader->payload_left = 0;
    return DUMP_CHUNK;
}

static enum dump_event take_end(struct dump_reader *reader, size_t size) {
    const struct dump_totals *totals = &reader->totals;
    if (size != 24 || load_u64(reader->payload) != totals->keyspaces ||
        load_u64(reader->payload + 8) != totals->records ||
        load_u64(reader->payload + 16) != totals->bytes) {
        return refuse(reader, "the totals of the end block do not match what was read");
    }
    reader->payload_left = 0;
    return DUMP_END;
}

static enum dump_event read_block(struct dump_reader *reader) {
    const char *at = NULL;
    char head[20];
    reader->block_offset = reader->input->consumed_bytes;
    enum input_result result = input_bytes(reader->input, 16, &at);
    if (result != INPUT_OK) {
        return input_event(reader, result);
    }
    for (unsigned i = 0; i < 4; i++) {
        head[i] = (char)(reader->checksum >> 8 * i);
    }
    memcpy(head + 4, at, 16);
    uint32_t kind = load_u32(head + 4);
    uint32_t size = load_u32(head + 8);
    if (size > DUMP_BLOCK_BYTES_MAX) {
        return refuse(reader, "a block is larger than the format allows");
    }
    result = input_bytes(reader->input, size, &reader->payload);
    if (result != INPUT_OK) {
        return input_event(reader, result);
    }
    uint32_t checksum = crc32c_extend(&reader->crc, 0, head, 16);
    checksum = crc32c_extend(&reader->crc, checksum, reader->payload, size);
    if (checksum != load_u32(head + 16)) {
        return refuse(reader, "the checksum of a block does not match");
    }
    reader->checksum = checksum;
    reader->payload_left = size;
    reader->count_left = load_u32(head + 12);
    bool needs_chunk = reader->large_left > 0;
    if (needs_chunk != (kind == 4) || (!reader->has_keyspace && kind != 1 && kind != 5)) {
        return refuse(reader, "a block stands where it must not");
    }
    switch (kind) {
    case 1:
        return take_keyspace(reader, size);
    case 2:
        return reader->count_left > 0 ? take_record(reader)
                                      : refuse(reader, "a records block is empty");
    case 3:
        return take_large(reader, size);
    case 4:
        return take_chunk(reader, size);
    case 5:
        return take_end(reader, size);
    default:
        return refuse(reader, "a block has an unknown kind");
    }
}

enum dump_event dump_reader_next(struct dump_reader *reader) {
    if (!reader->has_header) {
        enum dump_event event = read_header(reader);
        if (event != DUMP_END) {
            return event;
        }
    }
    return reader->payload_left > 0 ? take_record(reader) : read_block(reader);
}
