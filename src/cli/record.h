/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records on their way in (import) and out (export), whatever the file format. A source hands out
 * one record after the other; a sink takes them. Values too large for memory come as RECORD_LARGE
 * followed by chunks.
 */
#ifndef TERN_CLI_RECORD_H
#define TERN_CLI_RECORD_H

#include "cli/bytes_format.h"
#include "cli/csv.h"
#include "cli/dump.h"

enum record_format { RECORD_JSONL, RECORD_CSV, RECORD_DUMP };
/* Choices for the option table. */
#define RECORD_FORMAT_CHOICES "jsonl|csv|dump"

/* How to read and write; filled from the options of import and export. NULL and 0 mean default. */
struct record_options {
    enum record_format format;
    enum bytes_format key_format;
    enum bytes_format value_format;
    bool has_all_keyspaces; /* records name their keyspace */
    char delimiter;
    char comment;
    bool has_no_header;
    bool has_no_quotes;
    const char *key_columns;   /* names or numbers from 1, separated by commas */
    const char *value_columns; /* the same; NULL: all but the key's */
    const char *column_names;  /* for a file without header */
    const char *key_separator; /* between several key columns */
    const char *key_prefix;    /* put before every key */
    const char *key_field;     /* JSON Lines: take the key from here … */
    const char *value_field;   /* … and the value from here, or the whole line when NULL */
};

enum record_kind {
    RECORD_PAIR,     /* key, value; keyspace when has_all_keyspaces */
    RECORD_KEYSPACE, /* keyspace and options: what follows belongs to it */
    RECORD_LARGE,    /* key, value_size */
    RECORD_CHUNK,    /* value */
    RECORD_END,
    RECORD_INVALID, /* problem at line_no (or offset); the next record can be read */
    RECORD_FAILED   /* the same, and nothing more can be read */
};

/* Slices live until the next one is read. */
struct record {
    tern_slice keyspace, key, value;
    uint64_t value_size;
    const tern_keyspace_options *options;
    uint64_t line_no; /* 0 for a dump */
    uint64_t offset;  /* in bytes, of dumps */
    const char *problem;
};

struct record_source;
struct record_source *record_source_open(struct input *input, const struct record_options *options);
enum record_kind record_source_next(struct record_source *source, struct record *out_record);
void record_source_close(struct record_source *source);

struct record_sink;
struct record_sink *record_sink_open(FILE *stream, const struct record_options *options);
void record_sink_keyspace(struct record_sink *sink, const char *name,
                          const tern_keyspace_options *options);
void record_sink_pair(struct record_sink *sink, tern_slice key, tern_slice value);
/* Only when record_sink_takes_chunks(). */
void record_sink_large(struct record_sink *sink, tern_slice key, uint64_t value_size);
void record_sink_chunk(struct record_sink *sink, tern_slice chunk);
bool record_sink_takes_chunks(const struct record_sink *sink);
void record_sink_finish(struct record_sink *sink);
void record_sink_close(struct record_sink *sink);

#endif
