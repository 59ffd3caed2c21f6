/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/record.h"

#include "cli/json_writer.h"
#include <stdlib.h>

struct record_sink {
    FILE *stream;
    struct record_options options;
    struct json_writer json;
    struct dump_writer dump;
    struct buffer keyspace;
    struct buffer text, field;
};

struct record_sink *record_sink_open(FILE *stream, const struct record_options *options) {
    struct record_sink *sink = memory_allocate(sizeof(*sink));
    *sink = (struct record_sink){.stream = stream, .options = *options, .json = {.stream = stream}};
    if (options->format == RECORD_DUMP) {
        dump_writer_open(&sink->dump, stream);
    } else if (options->format == RECORD_CSV && !options->has_no_header) {
        fprintf(stream, "key%cvalue\r\n", options->delimiter);
    }
    return sink;
}

bool record_sink_takes_chunks(const struct record_sink *sink) {
    return sink->options.format == RECORD_DUMP;
}

void record_sink_keyspace(struct record_sink *sink, const char *name,
                          const tern_keyspace_options *options) {
    buffer_clear(&sink->keyspace);
    buffer_append_text(&sink->keyspace, name);
    if (sink->options.format == RECORD_DUMP) {
        dump_write_keyspace(&sink->dump, name, options);
    }
}

static void write_json(struct record_sink *sink, tern_slice key, tern_slice value) {
    json_begin_object(&sink->json, NULL);
    if (sink->options.has_all_keyspaces) {
        json_text(&sink->json, "keyspace", buffer_text(&sink->keyspace));
    }
    json_bytes(&sink->json, "key", key, sink->options.key_format);
    json_bytes(&sink->json, "value", value, sink->options.value_format);
    json_end_object(&sink->json);
    json_end_line(&sink->json);
}

static void write_csv_field(struct record_sink *sink, tern_slice bytes, enum bytes_format format) {
    buffer_clear(&sink->field);
    /* CSV carries any byte in quotes, so text needs no escapes. */
    bytes_encode(format == BYTES_TEXT ? BYTES_RAW : format, bytes, &sink->field);
    csv_write_field(buffer_slice(&sink->field), sink->options.delimiter, &sink->text);
}

static void write_csv(struct record_sink *sink, tern_slice key, tern_slice value) {
    buffer_clear(&sink->text);
    write_csv_field(sink, key, sink->options.key_format);
    buffer_append_char(&sink->text, sink->options.delimiter);
    write_csv_field(sink, value, sink->options.value_format);
    buffer_append(&sink->text, "\r\n", 2);
    fwrite(sink->text.data, 1, sink->text.size, sink->stream);
}

void record_sink_pair(struct record_sink *sink, tern_slice key, tern_slice value) {
    switch (sink->options.format) {
    case RECORD_JSONL:
        write_json(sink, key, value);
        break;
    case RECORD_CSV:
        write_csv(sink, key, value);
        break;
    case RECORD_DUMP:
        dump_write_record(&sink->dump, key, value);
        break;
    }
}

void record_sink_large(struct record_sink *sink, tern_slice key, uint64_t value_size) {
    dump_write_large(&sink->dump, key, value_size);
}

void record_sink_chunk(struct record_sink *sink, tern_slice chunk) {
    dump_write_chunk(&sink->dump, chunk);
}

void record_sink_finish(struct record_sink *sink) {
    if (sink->options.format == RECORD_DUMP) {
        dump_writer_finish(&sink->dump);
    }
}

void record_sink_close(struct record_sink *sink) {
    if (sink == NULL) {
        return;
    }
    dump_writer_release(&sink->dump);
    buffer_release(&sink->keyspace);
    buffer_release(&sink->text);
    buffer_release(&sink->field);
    free(sink);
}
