/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of an LSM partition share, and the names of its files. */
#ifndef TERN_ENGINE_LSM_LSM_H
#define TERN_ENGINE_LSM_LSM_H

#include "block/block.h"
#include "cache/cache.h"
#include "engine/engine.h"
#include "engine/lsm/lsm_format.h"
#include "os/file.h"

#define LSM_FILE_NAME_BYTES 64
/* Tables of one cache space: their serial numbers have 20 bits. */
#define LSM_SERIALS ((uint32_t)1 << 20)

/* Numbers of files are not above this; a partition that is in order stays far below. */
#define LSM_FILE_NUMBER_MAX (UINT64_MAX / 2)

struct file_registry;

struct lsm {
    const struct engine_environment *environment;
    struct engine_config config; /* defaults filled in */
    uint32_t filter_bits;        /* for each key; 0: tables are written without filters */
    uint32_t space;              /* of the cache; maintenance role */
    uint32_t next_serial;
    _Atomic uint64_t next_file; /* numbers of files are not reused */
    struct file_registry *files;
    _Atomic uint64_t table_bytes; /* of all tables that are open */
    _Atomic uint64_t written_bytes;
    _Atomic uint64_t level_written_bytes[LSM_LEVELS]; /* of tables written for the level */
    _Atomic uint64_t read_bytes;
    _Atomic uint64_t reads;
    _Atomic uint64_t filter_hits; /* lookups that a filter ended */
};

enum lsm_file_kind { LSM_FILE_TABLE, LSM_FILE_VALUES };

/* "p-<id>.<number>.lsm" or ".val". */
void lsm_file_name(partition_id id, uint64_t number, enum lsm_file_kind kind,
                   char out_name[LSM_FILE_NAME_BYTES]);
/* False when it is no file of this partition: the name must be what lsm_file_name makes. */
bool lsm_file_parse(partition_id id, const char *name, uint64_t *out_number,
                    enum lsm_file_kind *out_kind);
TERN_MUST_CHECK tern_status lsm_file_path(const struct lsm *lsm, uint64_t number,
                                          enum lsm_file_kind kind, char out_path[FILE_PATH_BYTES],
                                          tern_error *error);
/* Removes a file; that it is not there is no failure. */
tern_status lsm_file_remove(const struct lsm *lsm, uint64_t number, enum lsm_file_kind kind,
                            tern_error *error);

static inline const tern_allocator *lsm_allocator(const struct lsm *lsm) {
    return lsm->environment->allocator;
}

/* Longest key, and longest value inside a block. */
size_t lsm_key_bytes_max(const tern_keyspace_options *options);
static inline size_t lsm_inline_bytes_max(const struct lsm *lsm) {
    size_t bytes = 2u * (size_t)lsm->config.options.page_bytes;
    return bytes < LSM_INLINE_BYTES_MAX ? bytes : LSM_INLINE_BYTES_MAX;
}

/*
 * Lets what has been written between *sent and `end` begin its way to the device, by whole pages:
 * the sync before the manifest then waits for the rest alone. Else it would wait for all of a long
 * compaction, with the maintenance role, and writers without room for it.
 */
void lsm_send_off(tern_file *file, uint64_t *sent, uint64_t end);

/* About how long a table is while they are few: fan_out squared / 16 data blocks, that is 32 MiB by
 * default. */
static inline uint64_t lsm_table_bytes(const struct lsm *lsm) {
    const tern_keyspace_options *options = &lsm->config.options;
    uint64_t fan_out = options->fan_out;
    return fan_out * fan_out / 16 * options->page_bytes;
}

#endif
