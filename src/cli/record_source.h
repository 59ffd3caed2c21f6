/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the record sources: one file per format. */
#ifndef TERN_CLI_RECORD_SOURCE_H
#define TERN_CLI_RECORD_SOURCE_H

#include "cli/columns.h"
#include "cli/record.h"

struct record_source {
    struct input *input;
    struct record_options options;
    struct buffer keyspace, key, value; /* decoded bytes of the record read last */
    struct buffer scratch;
    struct buffer problem; /* when it is not a static sentence */
    struct csv_reader csv;
    struct columns columns;
    bool has_columns;
    bool has_begun; /* something was read */
    struct dump_reader dump;
};

enum record_kind record_next_jsonl(struct record_source *source, struct record *out_record);
enum record_kind record_next_csv(struct record_source *source, struct record *out_record);
enum record_kind record_next_dump(struct record_source *source, struct record *out_record);
/* RECORD_FAILED with what went wrong with the input. */
enum record_kind record_input_failed(struct record_source *source, enum input_result result,
                                     struct record *out_record);

#endif
