/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raw dump: a file of any number of keyspaces that keeps every byte. All numbers little-endian.
 *
 * - file header: 16 bytes: "TERNDUMP", u32 version (1), u32 checksum of the 12 bytes before
 * - block, repeated: 16 bytes: u32 kind, u32 payload size (at most 16 MiB), u32 count,
 *   u32 checksum; then the payload
 * - kind 1, keyspace: u32 engine, u32 compression, u32 page bytes, u32 fan-out, u32 fill percent,
 *   options of the engine (docs/format/dump.md), name; what follows belongs to it
 * - kind 2, records: `count` times: u32 key size, u32 value size, key, value
 * - kind 3, large: u64 value size, key: its value follows in blocks of kind 4
 * - kind 4, chunk: bytes of the large value
 * - kind 5, end: u64 keyspaces, u64 records, u64 bytes of keys and values; the last block
 *
 * A checksum is CRC-32C over the checksum of the block before (4 bytes; the header's for the
 * first), the first 12 bytes of the block header, and the payload: so blocks that are missing,
 * doubled or swapped are noticed as well as changed ones, and a missing end block tells of a cut
 * file.
 */
#ifndef TERN_CLI_DUMP_H
#define TERN_CLI_DUMP_H

#include "cli/crc32c.h"
#include "cli/input.h"
#include <stdint.h>
#include <stdio.h>
#include <tern/keyspace.h>

enum { DUMP_VERSION = 1 };
enum { DUMP_BLOCK_BYTES_MAX = 16 * 1024 * 1024, DUMP_CHUNK_BYTES = 1024 * 1024 };

struct dump_totals {
    uint64_t keyspaces, records, bytes;
};

/* Errors of the stream show in ferror(). */
struct dump_writer {
    FILE *stream;
    struct crc32c_table crc;
    uint32_t checksum;
    uint32_t count;
    struct buffer payload;
    struct dump_totals totals;
};

void dump_writer_open(struct dump_writer *writer, FILE *stream);
void dump_write_keyspace(struct dump_writer *writer, const char *name,
                         const tern_keyspace_options *options);
/* Key and value together may have at most DUMP_BLOCK_BYTES_MAX - 8 bytes. */
void dump_write_record(struct dump_writer *writer, tern_slice key, tern_slice value);
void dump_write_large(struct dump_writer *writer, tern_slice key, uint64_t value_size);
void dump_write_chunk(struct dump_writer *writer, tern_slice chunk);
void dump_writer_finish(struct dump_writer *writer);
void dump_writer_release(struct dump_writer *writer);

enum dump_event {
    DUMP_KEYSPACE, /* name and options */
    DUMP_RECORD,   /* key and value */
    DUMP_LARGE,    /* key and value_size */
    DUMP_CHUNK,    /* value: the next bytes of the large one */
    DUMP_END,
    DUMP_INVALID, /* problem; nothing more can be read */
    DUMP_FAILED   /* the input failed */
};

/* What was read last; slices live until the next call. */
struct dump_reader {
    struct input *input;
    tern_slice name, key, value;
    uint64_t value_size;
    tern_keyspace_options options;
    uint64_t block_offset; /* where the block read last begins */
    const char *problem;
    /* Private. */
    struct crc32c_table crc;
    uint32_t checksum;
    bool has_header, has_keyspace;
    uint64_t large_left;
    const char *payload;
    size_t payload_left;
    uint32_t count_left;
    struct dump_totals totals;
};

void dump_reader_open(struct dump_reader *reader, struct input *input);
enum dump_event dump_reader_next(struct dump_reader *reader);

#endif
