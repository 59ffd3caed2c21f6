/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in the log values stored apart lie that no drain has moved: a database that is open
 * read-only reads them there (engine_logged_values), writing nothing.
 */
#ifndef TERN_DB_LOGGED_VALUES_H
#define TERN_DB_LOGGED_VALUES_H

#include "engine/engine.h"
#include "log/log.h"

struct logged_chunk {
    uint64_t token;
    uint64_t offset; /* of the value */
    log_position place;
    uint64_t checksum;
    uint32_t size;
};

struct logged_values {
    struct engine_logged_values values; /* for engine_environment */
    struct log_options options;
    struct budget *budget;
    struct logged_chunk *chunks; /* by token and offset */
    size_t count, capacity;
};

/* What of the options is needed is copied; the directory's path stays the caller's. */
void logged_values_init(struct logged_values *logged, const struct log_options *options,
                        struct budget *budget);
void logged_values_release(struct logged_values *logged);
/* A chunk of the value `token` lies at `place`, which is in the log until this is released.
 * TERN_NO_MEMORY. Not beside reads of the same value. */
TERN_MUST_CHECK tern_status logged_values_add(struct logged_values *logged, uint64_t token,
                                              uint64_t offset, log_position place,
                                              const void *bytes, size_t size, tern_error *error);

#endif
