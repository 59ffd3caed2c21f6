/* SPDX-License-Identifier: Apache-2.0 */
/* What verify and repair share: a sink for findings, and a directory opened for reading only. */
#ifndef TERN_DB_VERIFY_INTERNAL_H
#define TERN_DB_VERIFY_INTERNAL_H

#include "db/database_internal.h"

struct verify_sink {
    tern_finding_function on_finding;
    void *context;
    uint64_t count;
    bool is_stopped;
};

void verify_report_finding(struct verify_sink *sink, const char *file, int64_t offset,
                           const char *invariant, const char *message);
void verify_report_error(struct verify_sink *sink, const tern_error *error, const char *invariant);
/* A tern_finding_function over a sink. */
bool verify_sink_finding(void *context, const tern_finding *finding);

/* A database directory, locked, read without being opened. */
struct directory_reader {
    tern_db_options options;
    char *path;
    tern_file *lock;
    struct budget budget;
    struct cache *cache;
    struct epoch_domain *epoch;
    struct engine_environment environment;
    struct log_options log_options;
    struct arena arena;
    struct manifest_file *manifest_file;
    struct manifest manifest;
    struct manifest other; /* the older whole manifest, or empty */
};

/* TERN_NOT_FOUND (no such directory), TERN_LOCKED, TERN_INVALID, TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status directory_reader_open(struct directory_reader *reader, const char *path,
                                                  const tern_db_options *options,
                                                  tern_error *error);
/* Reads the manifest. TERN_CORRUPTION when none is whole, TERN_NOT_FOUND when the file is gone. */
TERN_MUST_CHECK tern_status directory_reader_manifest(struct directory_reader *reader,
                                                      tern_error *error);
/* Lets released views go, before an engine is closed. */
void directory_reader_quiesce(struct directory_reader *reader);
void directory_reader_close(struct directory_reader *reader);

#endif
