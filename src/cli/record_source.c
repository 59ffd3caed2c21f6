/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/record_source.h"

#include <stdlib.h>

struct record_source *record_source_open(struct input *input,
                                         const struct record_options *options) {
    struct record_source *source = memory_allocate(sizeof(*source));
    *source = (struct record_source){.input = input, .options = *options};
    source->csv = (struct csv_reader){.input = input,
                                      .delimiter = options->delimiter,
                                      .comment = options->comment,
                                      .has_no_quotes = options->has_no_quotes};
    if (options->format == RECORD_DUMP) {
        dump_reader_open(&source->dump, input);
    }
    return source;
}

enum record_kind record_source_next(struct record_source *source, struct record *out_record) {
    *out_record = (struct record){0};
    if (!source->has_begun && source->options.format != RECORD_DUMP) {
        input_skip_mark(source->input);
    }
    source->has_begun = true;
    switch (source->options.format) {
    case RECORD_JSONL:
        return record_next_jsonl(source, out_record);
    case RECORD_CSV:
        return record_next_csv(source, out_record);
    case RECORD_DUMP:
        break;
    }
    return record_next_dump(source, out_record);
}

enum record_kind record_input_failed(struct record_source *source, enum input_result result,
                                     struct record *out_record) {
    out_record->line_no = source->input->line_no + 1;
    if (result == INPUT_TOO_LONG) {
        out_record->problem = "a line is longer than 256 MiB";
        return RECORD_FAILED;
    }
    buffer_clear(&source->problem);
    buffer_print(&source->problem, "reading failed: %s", strerror(source->input->system_errno));
    out_record->problem = buffer_text(&source->problem);
    return RECORD_FAILED;
}

enum record_kind record_next_dump(struct record_source *source, struct record *out_record) {
    struct dump_reader *dump = &source->dump;
    enum dump_event event = dump_reader_next(dump);
    out_record->offset = dump->block_offset;
    out_record->key = dump->key;
    out_record->value = dump->value;
    switch (event) {
    case DUMP_KEYSPACE:
        out_record->keyspace = dump->name;
        out_record->options = &dump->options;
        return RECORD_KEYSPACE;
    case DUMP_RECORD:
        return RECORD_PAIR;
    case DUMP_LARGE:
        out_record->value_size = dump->value_size;
        return RECORD_LARGE;
    case DUMP_CHUNK:
        return RECORD_CHUNK;
    case DUMP_END:
        return RECORD_END;
    case DUMP_INVALID:
        out_record->problem = dump->problem;
        return RECORD_FAILED;
    case DUMP_FAILED:
        break;
    }
    return record_input_failed(source, INPUT_FAILED, out_record);
}

void record_source_close(struct record_source *source) {
    if (source == NULL) {
        return;
    }
    csv_reader_release(&source->csv);
    columns_release(&source->columns);
    buffer_release(&source->keyspace);
    buffer_release(&source->key);
    buffer_release(&source->value);
    buffer_release(&source->scratch);
    buffer_release(&source->problem);
    free(source);
}
