/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include <stdio.h>

#include "base/error.h"

tern_status path_join(char out_path[FILE_PATH_BYTES], const char *directory, const char *name,
                      tern_error *error) {
    size_t directory_size = strlen(directory);
    size_t name_size = strlen(name);
    if (directory_size + 1 + name_size >= FILE_PATH_BYTES) {
        return ERROR_AT(error, TERN_INVALID, directory, -1, 0,
                        "path is longer than %d bytes; use a shorter directory name",
                        FILE_PATH_BYTES - 1);
    }
    memcpy(out_path, directory, directory_size);
    out_path[directory_size] = '/';
    memcpy(out_path + directory_size + 1, name, name_size + 1);
    return TERN_OK;
}

tern_status file_read_exact(tern_file *file, const char *path, uint64_t offset, void *buffer,
                            size_t size, tern_error *error) {
    size_t read_bytes = 0;
    tern_status status = file_read(file, offset, buffer, size, &read_bytes, error);
    if (status == TERN_OK && read_bytes != size) {
        status = ERROR_AT(error, TERN_CORRUPTION, path, offset, 0,
                          "file ends after %zu of %zu bytes wanted; run `tern verify`", read_bytes,
                          size);
    }
    return status;
}
