/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "db/database_directory.h"
#include "db/verify_internal.h"

#define READER_CACHE_BYTES ((uint64_t)16 << 20)

static tern_status fill_options(struct directory_reader *reader, const tern_db_options *options,
                                tern_error *error) {
    tern_db_options resolved = TERN_DB_OPTIONS_INIT;
    tern_status status = database_options_copy(options, &resolved, error);
    if (status != TERN_OK) {
        return status;
    }
    resolved.allocator = resolved.allocator != NULL ? resolved.allocator : tern_allocator_default();
    resolved.file_system =
        resolved.file_system != NULL ? resolved.file_system : tern_file_system_default();
    resolved.clock = resolved.clock != NULL ? resolved.clock : tern_clock_default();
    resolved.random = resolved.random != NULL ? resolved.random : tern_random_default();
    resolved.segment_bytes = resolved.segment_bytes != 0 ? resolved.segment_bytes : 1u << 26;
    reader->options = resolved;
    return TERN_OK;
}

/* What is a database without its root file is for verify and repair to look at. */
static tern_status require_database(const struct directory_reader *reader, const char *root_path,
                                    tern_error *error) {
    const tern_file_system *file_system = reader->options.file_system;
    tern_error found = TERN_ERROR_INIT;
    tern_status status = file_system->exists(file_system->context, root_path, &found);
    if (status == TERN_OK || database_directory_is_used(file_system, reader->path)) {
        return TERN_OK;
    }
    if (status == TERN_NOT_FOUND) {
        return ERROR_AT(error, TERN_NOT_FOUND, reader->path, -1, 0,
                        "there is no database here: " MANIFEST_FILE_NAME " is missing");
    }
    error_copy(error, &found);
    return status;
}

static tern_status lock(struct directory_reader *reader, tern_error *error) {
    const tern_file_system *file_system = reader->options.file_system;
    char path[FILE_PATH_BYTES];
    tern_status status = file_system->exists(file_system->context, reader->path, error);
    if (status == TERN_NOT_FOUND) {
        return ERROR_AT(error, TERN_NOT_FOUND, reader->path, -1, 0,
                        "there is no directory of this name");
    }
    if (status == TERN_OK) {
        status = path_join(path, reader->path, MANIFEST_FILE_NAME, error);
    }
    if (status == TERN_OK) {
        status = require_database(reader, path, error);
    }
    if (status == TERN_OK) {
        status = path_join(path, reader->path, "LOCK", error);
    }
    if (status == TERN_OK) {
        status = file_system->lock(file_system->context, path, &reader->lock, error);
    }
    return status;
}

tern_status directory_reader_open(struct directory_reader *reader, const char *path,
                                  const tern_db_options *options, tern_error *error) {
    *reader = (struct directory_reader){0};
    if (path == NULL || path[0] == '\0') {
        return ERROR_SET(error, TERN_INVALID, "a path is needed");
    }
    tern_status status = fill_options(reader, options, error);
    if (status != TERN_OK) {
        return status;
    }
    const tern_allocator *allocator = reader->options.allocator;
    arena_init(&reader->arena, allocator, 4096);
    reader->path = memory_copy_string(allocator, path, strlen(path));
    status = reader->path != NULL ? lock(reader, error) : ERROR_NO_MEMORY(error, "verify");
    if (status == TERN_OK) {
        status = epoch_domain_create(allocator, &reader->epoch, error);
    }
    if (status == TERN_OK) {
        reader->budget.limit_bytes = READER_CACHE_BYTES;
        struct cache_options cache = {.allocator = allocator,
                                      .epoch = reader->epoch,
                                      .budget = &reader->budget,
                                      .limit_bytes = READER_CACHE_BYTES};
        status = cache_create(&cache, &reader->cache, error);
    }
    if (status != TERN_OK) {
        directory_reader_close(reader);
        return status;
    }
    reader->environment = (struct engine_environment){.allocator = allocator,
                                                      .file_system = reader->options.file_system,
                                                      .clock = reader->options.clock,
                                                      .random = reader->options.random,
                                                      .directory = reader->path,
                                                      .epoch = reader->epoch,
                                                      .budget = &reader->budget,
                                                      .cache = reader->cache,
                                                      .read_only = true,
                                                      .buffered_io = reader->options.buffered_io};
    reader->log_options = (struct log_options){.directory = reader->path,
                                               .allocator = allocator,
                                               .file_system = reader->options.file_system,
                                               .random = reader->options.random,
                                               .segment_bytes = reader->options.segment_bytes,
                                               .reserve_segments = 1};
    return TERN_OK;
}

tern_status directory_reader_manifest(struct directory_reader *reader, tern_error *error) {
    tern_status status = manifest_open(reader->options.file_system, reader->options.allocator,
                                       reader->path, true, &reader->arena, &reader->manifest_file,
                                       &reader->manifest, &reader->other, error);
    return status == TERN_NOT_FOUND ? database_directory_say_rootless(reader->path, error) : status;
}

void directory_reader_quiesce(struct directory_reader *reader) {
    epoch_drain(reader->epoch);
}

void directory_reader_close(struct directory_reader *reader) {
    manifest_close(reader->manifest_file);
    if (reader->epoch != NULL) {
        directory_reader_quiesce(reader);
    }
    cache_destroy(reader->cache);
    epoch_domain_destroy(reader->epoch);
    arena_release(&reader->arena);
    (void)file_close(reader->lock, NULL);
    memory_release(reader->options.allocator, reader->path);
}
