/* SPDX-License-Identifier: Apache-2.0 */
/* What import reads. The first byte chooses format and options, the rest is the file. What was read
 * is written again in the same format and must come back equal. */
#include <stdint.h>
#include <stdlib.h>

#include "cli/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS_MAX = 4096 };

struct copy {
    struct buffer bytes; /* sizes and bytes of all records */
    size_t count;
};

static void add(struct copy *copy, tern_slice bytes) {
    buffer_print(&copy->bytes, "%zu:", bytes.size);
    buffer_append_slice(&copy->bytes, bytes);
}

static void read_all(tern_slice text, const struct record_options *options, struct copy *copy,
                     struct record_sink *sink) {
    struct input input;
    struct record record;
    input_open_memory(&input, text);
    struct record_source *source = record_source_open(&input, options);
    while (copy->count < RECORDS_MAX) {
        enum record_kind kind = record_source_next(source, &record);
        if (kind == RECORD_END || kind == RECORD_FAILED) {
            break;
        }
        if ((kind == RECORD_INVALID) != (record.problem != NULL)) {
            abort();
        }
        if (kind == RECORD_PAIR) {
            add(copy, record.key);
            add(copy, record.value);
            copy->count++;
            if (sink != NULL) {
                record_sink_pair(sink, record.key, record.value);
            }
        }
    }
    record_source_close(source);
    input_close(&input);
}

static void check_round_trip(tern_slice text, const struct record_options *options,
                             const struct record_options *plain) {
    struct copy first = {0};
    struct copy second = {0};
    char *written = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&written, &size);
    struct record_sink *sink = record_sink_open(stream, plain);
    tern_keyspace_options keyspace = TERN_KEYSPACE_OPTIONS_INIT;
    record_sink_keyspace(sink, "k", &keyspace);
    read_all(text, options, &first, sink);
    record_sink_finish(sink);
    record_sink_close(sink);
    fclose(stream);
    read_all(tern_slice_of(written, size), plain, &second, NULL);
    if (first.count != second.count || first.bytes.size != second.bytes.size ||
        memcmp(buffer_text(&first.bytes), buffer_text(&second.bytes), first.bytes.size) != 0) {
        abort();
    }
    buffer_release(&first.bytes);
    buffer_release(&second.bytes);
    free(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    uint8_t choice = data[0];
    struct record_options plain = {
        .format = (enum record_format)(choice % 3), .delimiter = ',', .key_separator = "/"};
    struct record_options options = plain;
    options.has_no_header = (choice & 4) != 0;
    options.has_no_quotes = (choice & 8) != 0;
    options.comment = (choice & 16) != 0 ? '#' : '\0';
    options.key_columns = (choice & 32) != 0 ? "2,1" : NULL;
    options.key_field = (choice & 64) != 0 ? "id" : NULL;
    options.value_format = (choice & 128) != 0 ? BYTES_BASE64 : BYTES_TEXT;
    check_round_trip(tern_slice_of(data + 1, size - 1), &options, &plain);
    return 0;
}
