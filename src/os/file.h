/* SPDX-License-Identifier: Apache-2.0 */
/* Short forms over the file system given at open. */
#ifndef TERN_OS_FILE_H
#define TERN_OS_FILE_H

#include <tern/sys/file_system.h>

#include "base/memory.h"

/* Longest path of a file of a database in bytes, with its terminating zero. */
#define FILE_PATH_BYTES 4096

/* Writes "directory/name" to `out_path`. TERN_INVALID when it is too long. */
TERN_MUST_CHECK tern_status path_join(char out_path[FILE_PATH_BYTES], const char *directory,
                                      const char *name, tern_error *error);

static inline TERN_MUST_CHECK tern_status file_read(tern_file *file, uint64_t offset, void *buffer,
                                                    size_t size, size_t *out_size,
                                                    tern_error *error) {
    return file->methods->read(file, offset, buffer, size, out_size, error);
}

/* Reads exactly `size` bytes; a shorter file is TERN_CORRUPTION naming `path` and offset. */
TERN_MUST_CHECK tern_status file_read_exact(tern_file *file, const char *path, uint64_t offset,
                                            void *buffer, size_t size, tern_error *error);

static inline TERN_MUST_CHECK tern_status file_write(tern_file *file, uint64_t offset,
                                                     const void *buffer, size_t size,
                                                     tern_error *error) {
    return file->methods->write(file, offset, buffer, size, error);
}

static inline TERN_MUST_CHECK tern_status file_sync(tern_file *file, tern_error *error) {
    return file->methods->sync(file, error);
}

/* As tern_file_methods::write_durable, for files that do not have it, too. */
static inline TERN_MUST_CHECK tern_status file_write_durable(tern_file *file, uint64_t offset,
                                                             const void *buffer, size_t size,
                                                             tern_error *error) {
    if (file->methods->write_durable != NULL) {
        return file->methods->write_durable(file, offset, buffer, size, error);
    }
    tern_status status = file_write(file, offset, buffer, size, error);
    return status == TERN_OK ? file_sync(file, error) : status;
}

/* Closes and forgets; accepts a NULL file. */
static inline tern_status file_close(tern_file *file, tern_error *error) {
    return file != NULL ? file->methods->close(file, error) : TERN_OK;
}

#endif
