/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/lsm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const suffixes[] = {"lsm", "val"};

void lsm_file_name(partition_id id, uint64_t number, enum lsm_file_kind kind,
                   char out_name[LSM_FILE_NAME_BYTES]) {
    (void)snprintf(out_name, LSM_FILE_NAME_BYTES, "p-%016" PRIx64 ".%" PRIu64 ".%s", id, number,
                   suffixes[kind]);
}

bool lsm_file_parse(partition_id id, const char *name, uint64_t *out_number,
                    enum lsm_file_kind *out_kind) {
    char begin[32];
    int size = snprintf(begin, sizeof(begin), "p-%016" PRIx64 ".", id);
    if (strncmp(name, begin, (size_t)size) != 0 || name[size] < '0' || name[size] > '9') {
        return false;
    }
    char *end;
    uint64_t number = strtoull(name + size, &end, 10);
    if (*end != '.') {
        return false;
    }
    for (unsigned kind = LSM_FILE_TABLE; kind <= LSM_FILE_VALUES; kind++) {
        if (strcmp(end + 1, suffixes[kind]) == 0) {
            char again[LSM_FILE_NAME_BYTES];
            lsm_file_name(id, number, (enum lsm_file_kind)kind, again);
            if (number > LSM_FILE_NUMBER_MAX || strcmp(again, name) != 0) {
                return false;
            }
            *out_number = number;
            *out_kind = (enum lsm_file_kind)kind;
            return true;
        }
    }
    return false;
}

tern_status lsm_file_path(const struct lsm *lsm, uint64_t number, enum lsm_file_kind kind,
                          char out_path[FILE_PATH_BYTES], tern_error *error) {
    char name[LSM_FILE_NAME_BYTES];
    lsm_file_name(lsm->config.id, number, kind, name);
    return path_join(out_path, lsm->environment->directory, name, error);
}

tern_status lsm_file_remove(const struct lsm *lsm, uint64_t number, enum lsm_file_kind kind,
                            tern_error *error) {
    char path[FILE_PATH_BYTES];
    const tern_file_system *system = lsm->environment->file_system;
    tern_status status = lsm_file_path(lsm, number, kind, path, error);
    if (status == TERN_OK && system->exists(system->context, path, NULL) == TERN_NOT_FOUND) {
        return TERN_OK;
    }
    return status == TERN_OK ? system->remove(system->context, path, error) : status;
}

size_t lsm_key_bytes_max(const tern_keyspace_options *options) {
    uint32_t page_bytes = options->page_bytes != 0 ? options->page_bytes : 8192;
    return (size_t)page_bytes * 5 / 8;
}

void lsm_send_off(tern_file *file, uint64_t *sent, uint64_t end) {
    const uint64_t page = 4096;
    const uint64_t least = (uint64_t)256 << 10; /* not a call for each small value */
    end -= end % page;
    if (file->methods->advise != NULL && end >= *sent + least) {
        file->methods->advise(file, *sent, end - *sent, false);
        *sent = end;
    }
}
