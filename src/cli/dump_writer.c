/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dump.h"

enum { FLUSH_BYTES = 256 * 1024 };

static void append_u32(struct buffer *buffer, uint32_t number) {
    for (unsigned shift = 0; shift < 32; shift += 8) {
        buffer_append_char(buffer, (char)(number >> shift));
    }
}

static void append_u64(struct buffer *buffer, uint64_t number) {
    append_u32(buffer, (uint32_t)number);
    append_u32(buffer, (uint32_t)(number >> 32));
}

/* Writes what is in the payload as a block and empties it. */
static void write_block(struct dump_writer *writer, uint32_t kind, uint32_t count) {
    struct buffer header = {0};
    append_u32(&header, writer->checksum);
    append_u32(&header, kind);
    append_u32(&header, (uint32_t)writer->payload.size);
    append_u32(&header, count);
    uint32_t checksum = crc32c_extend(&writer->crc, 0, header.data, header.size);
    checksum =
        crc32c_extend(&writer->crc, checksum, buffer_text(&writer->payload), writer->payload.size);
    append_u32(&header, checksum);
    fwrite(header.data + 4, 1, header.size - 4, writer->stream);
    fwrite(buffer_text(&writer->payload), 1, writer->payload.size, writer->stream);
    writer->checksum = checksum;
    buffer_release(&header);
    buffer_clear(&writer->payload);
}

static void flush_records(struct dump_writer *writer) {
    if (writer->count > 0) {
        write_block(writer, 2, writer->count);
        writer->count = 0;
    }
}

void dump_writer_open(struct dump_writer *writer, FILE *stream) {
    *writer = (struct dump_writer){.stream = stream};
    crc32c_prepare(&writer->crc);
    struct buffer header = {0};
    buffer_append(&header, "TERNDUMP", 8);
    append_u32(&header, DUMP_VERSION);
    writer->checksum = crc32c_extend(&writer->crc, 0, header.data, header.size);
    append_u32(&header, writer->checksum);
    fwrite(header.data, 1, header.size, stream);
    buffer_release(&header);
}

void dump_write_keyspace(struct dump_writer *writer, const char *name,
                         const tern_keyspace_options *options) {
    flush_records(writer);
    append_u32(&writer->payload, (uint32_t)options->engine);
    append_u32(&writer->payload, (uint32_t)options->compression);
    append_u32(&writer->payload, options->page_bytes);
    append_u32(&writer->payload, options->fan_out);
    append_u32(&writer->payload, options->fill_percent);
    if (options->engine == TERN_ENGINE_HASH) {
        append_u32(&writer->payload, (uint32_t)options->hash_index);
        append_u32(&writer->payload, options->max_load_percent);
        append_u64(&writer->payload, options->expected_keys);
        append_u32(&writer->payload, (uint32_t)options->hash_function);
    }
    if (options->engine == TERN_ENGINE_LSM) {
        uint32_t levels = 0;
        for (uint32_t i = 0; i < TERN_LSM_LEVELS; i++) {
            levels |= (uint32_t)options->level_compression[i] << 4 * i;
        }
        append_u32(&writer->payload, (uint32_t)options->compaction);
        append_u32(&writer->payload, options->filter_bits);
        append_u32(&writer->payload, levels);
    }
    buffer_append_text(&writer->payload, name);
    write_block(writer, 1, 0);
    writer->totals.keyspaces++;
}

void dump_write_record(struct dump_writer *writer, tern_slice key, tern_slice value) {
    size_t size = 8 + key.size + value.size;
    if (writer->payload.size + size > FLUSH_BYTES) {
        flush_records(writer);
    }
    append_u32(&writer->payload, (uint32_t)key.size);
    append_u32(&writer->payload, (uint32_t)value.size);
    buffer_append_slice(&writer->payload, key);
    buffer_append_slice(&writer->payload, value);
    writer->count++;
    writer->totals.records++;
    writer->totals.bytes += key.size + value.size;
}

void dump_write_large(struct dump_writer *writer, tern_slice key, uint64_t value_size) {
    flush_records(writer);
    append_u64(&writer->payload, value_size);
    buffer_append_slice(&writer->payload, key);
    write_block(writer, 3, 1);
    writer->totals.records++;
    writer->totals.bytes += key.size + value_size;
}

void dump_write_chunk(struct dump_writer *writer, tern_slice chunk) {
    buffer_append_slice(&writer->payload, chunk);
    write_block(writer, 4, 0);
}

void dump_writer_finish(struct dump_writer *writer) {
    flush_records(writer);
    append_u64(&writer->payload, writer->totals.keyspaces);
    append_u64(&writer->payload, writer->totals.records);
    append_u64(&writer->payload, writer->totals.bytes);
    write_block(writer, 5, 0);
}

void dump_writer_release(struct dump_writer *writer) {
    buffer_release(&writer->payload);
}
