/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of a keyspace: defaults, ranges, and which engine has a use for which.
 *
 * Of a manifest or a log any value comes in (catalog_check_options): what the engine has no use for
 * becomes its default. Of a caller it is refused (catalog_check_request), so that nobody believes
 * it to be in force. A default passes all the same: tern_keyspace_get_options() fills it in.
 */
#include <inttypes.h>

#include "base/error.h"
#include "db/database_internal.h"
#include "engine/lsm_options.h"

#define PAGE_BYTES_DEFAULT       8192u
#define FAN_OUT_DEFAULT          256u
#define FILL_PERCENT_DEFAULT     95u
#define MAX_LOAD_PERCENT_DEFAULT 75u

static bool is_power_of_two(uint32_t value) {
    return value != 0 && (value & (value - 1)) == 0;
}

/* Those of other engines are zero. */
static tern_status check_hash_options(const tern_keyspace_options *options, tern_error *error) {
    if (options->engine != TERN_ENGINE_HASH) {
        return TERN_OK;
    }
    if ((int)options->hash_index < 0 || options->hash_index > TERN_HASH_INDEX_TAG_GROUPS) {
        return ERROR_SET(error, TERN_INVALID,
                         "hash_index is %d; it must be buckets, robin-hood or tag-groups",
                         (int)options->hash_index);
    }
    if (!key_hasher_is_known(options->hash_function)) {
        return ERROR_SET(error, TERN_INVALID,
                         "hash_function is %d; it must be xxh3, crc32c or fnv1a",
                         (int)options->hash_function);
    }
    if (options->max_load_percent < 30 || options->max_load_percent > 95) {
        return ERROR_SET(error, TERN_INVALID, "max_load_percent is %u; it must be from 30 to 95",
                         options->max_load_percent);
    }
    if (options->expected_keys > (uint64_t)1 << 40) {
        return ERROR_SET(error, TERN_INVALID, "expected_keys is %" PRIu64 "; at most 2^40 are",
                         options->expected_keys);
    }
    return TERN_OK;
}

static tern_status check_lsm_options(const tern_keyspace_options *options, tern_error *error) {
    if (options->engine != TERN_ENGINE_LSM) {
        return TERN_OK;
    }
    if (options->filter_bits > 64 && options->filter_bits != TERN_FILTER_OFF) {
        return ERROR_SET(error, TERN_INVALID,
                         "filter_bits is %u; it must be from 1 to 64, or TERN_FILTER_OFF",
                         options->filter_bits);
    }
    for (size_t i = 0; i < TERN_LSM_LEVELS; i++) {
        if (options->level_compression[i] > TERN_LEVEL_COMPRESSION(TERN_COMPRESSION_SNAPPY)) {
            return ERROR_SET(error, TERN_INVALID,
                             "level_compression[%zu] is %u; it must be 0, or "
                             "TERN_LEVEL_COMPRESSION of none, lz4, zstd or snappy",
                             i, options->level_compression[i]);
        }
    }
    return TERN_OK;
}

/* What a release of another age has given, or nothing. */
static tern_status copy_options(const tern_keyspace_options *given,
                                tern_keyspace_options *out_options, tern_error *error) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    if (given != NULL) {
        if (given->size < sizeof(size_t) || given->size > sizeof(options)) {
            return ERROR_SET(error, TERN_INVALID,
                             "tern_keyspace_options.size is %zu; initialise the struct with "
                             "TERN_KEYSPACE_OPTIONS_INIT",
                             given->size);
        }
        memcpy(&options, given, given->size);
        options.size = sizeof(options);
    }
    *out_options = options;
    return TERN_OK;
}

/* What the engine has no use for is as if it had not been given. */
static void fill_in_defaults(tern_keyspace_options *options) {
    options->engine = options->engine != 0 ? options->engine : TERN_ENGINE_BTREE;
    if (options->engine == TERN_ENGINE_HASH) {
        options->fan_out = 0;
    } else {
        options->hash_index = TERN_HASH_INDEX_BUCKETS;
        options->hash_function = TERN_HASH_FUNCTION_XXH3;
        options->max_load_percent = 0;
        options->expected_keys = 0;
    }
    if (options->engine != TERN_ENGINE_LSM) {
        options->compaction = TERN_COMPACTION_LEVELED;
        options->filter_bits = 0;
        memset(options->level_compression, 0, sizeof(options->level_compression));
    }
    if (options->engine != TERN_ENGINE_BTREE) {
        options->fill_percent = 0;
    }
    options->page_bytes = options->page_bytes != 0 ? options->page_bytes : PAGE_BYTES_DEFAULT;
    options->fan_out = options->fan_out != 0 ? options->fan_out : FAN_OUT_DEFAULT;
    options->fill_percent =
        options->fill_percent != 0 ? options->fill_percent : FILL_PERCENT_DEFAULT;
    if (options->engine == TERN_ENGINE_HASH && options->max_load_percent == 0) {
        options->max_load_percent = MAX_LOAD_PERCENT_DEFAULT;
    }
    if (options->engine == TERN_ENGINE_LSM && options->filter_bits == 0) {
        options->filter_bits = LSM_FILTER_BITS_DEFAULT;
    }
}

tern_status catalog_check_options(const tern_keyspace_options *options,
                                  tern_keyspace_options *out_resolved, tern_error *error) {
    tern_keyspace_options resolved;
    tern_status status = copy_options(options, &resolved, error);
    if (status != TERN_OK) {
        return status;
    }
    fill_in_defaults(&resolved);
    if (engine_methods_of(resolved.engine) == NULL) {
        return ERROR_SET(error, TERN_UNSUPPORTED, "engine %d is not known to this release",
                         (int)resolved.engine);
    }
    if (!is_power_of_two(resolved.page_bytes) || resolved.page_bytes < 4096 ||
        resolved.page_bytes > 65536) {
        return ERROR_SET(error, TERN_INVALID,
                         "page_bytes is %u; it must be a power of two from 4096 to 65536",
                         resolved.page_bytes);
    }
    if (resolved.fan_out < 16 || resolved.fan_out > 4096) {
        return ERROR_SET(error, TERN_INVALID, "fan_out is %u; it must be from 16 to 4096",
                         resolved.fan_out);
    }
    if (resolved.fill_percent < 50 || resolved.fill_percent > 100) {
        return ERROR_SET(error, TERN_INVALID, "fill_percent is %u; it must be from 50 to 100",
                         resolved.fill_percent);
    }
    if ((int)resolved.compression < 0 || resolved.compression > TERN_COMPRESSION_SNAPPY) {
        return ERROR_SET(error, TERN_INVALID,
                         "compression is %d; it must be none, lz4, zstd or snappy",
                         (int)resolved.compression);
    }
    if ((int)resolved.compaction < 0 || resolved.compaction > TERN_COMPACTION_FIFO) {
        return ERROR_SET(error, TERN_INVALID,
                         "compaction is %d; it must be leveled, tiered or fifo",
                         (int)resolved.compaction);
    }
    status = check_hash_options(&resolved, error);
    if (status == TERN_OK) {
        status = check_lsm_options(&resolved, error);
    }
    if (status == TERN_OK) {
        *out_resolved = resolved;
    }
    return status;
}

/* ---- what a caller asks for ---- */

enum users { OF_BTREE = 1, OF_HASH = 2, OF_LSM = 4 };

static enum users user_of(tern_engine_kind engine) {
    return engine == TERN_ENGINE_HASH ? OF_HASH : engine == TERN_ENGINE_LSM ? OF_LSM : OF_BTREE;
}

static const char *name_of_users(enum users users) {
    static const char *const names[] = {[OF_BTREE] = "B+tree",
                                        [OF_HASH] = "hash",
                                        [OF_LSM] = "LSM",
                                        [OF_BTREE | OF_LSM] = "B+tree or LSM"};
    return names[users];
}

static tern_status refuse_useless(const char *option, uint64_t value, enum users users,
                                  enum users engine, tern_error *error) {
    return ERROR_SET(error, TERN_INVALID,
                     "%s is %" PRIu64 ", but a keyspace of the %s engine has no use for it: it is "
                     "for the %s engine; leave it 0, or choose another engine",
                     option, value, name_of_users(engine), name_of_users(users));
}

/* `options` as they were given, of a known engine. */
static tern_status check_are_used(const tern_keyspace_options *options, enum users engine,
                                  tern_error *error) {
    const struct {
        const char *name;
        uint64_t value;
        uint64_t fallback;
        enum users users;
    } limited[] = {
        {"fan_out", options->fan_out, FAN_OUT_DEFAULT, OF_BTREE | OF_LSM},
        {"fill_percent", options->fill_percent, FILL_PERCENT_DEFAULT, OF_BTREE},
        {"compaction", (uint64_t)options->compaction, TERN_COMPACTION_LEVELED, OF_LSM},
        {"hash_index", (uint64_t)options->hash_index, TERN_HASH_INDEX_BUCKETS, OF_HASH},
        {"max_load_percent", options->max_load_percent, MAX_LOAD_PERCENT_DEFAULT, OF_HASH},
        {"expected_keys", options->expected_keys, 0, OF_HASH},
        {"filter_bits", options->filter_bits, LSM_FILTER_BITS_DEFAULT, OF_LSM},
        {"hash_function", (uint64_t)options->hash_function, TERN_HASH_FUNCTION_XXH3, OF_HASH}};
    for (size_t i = 0; i < sizeof(limited) / sizeof(limited[0]); i++) {
        bool is_default = limited[i].value == 0 || limited[i].value == limited[i].fallback;
        if (!is_default && (limited[i].users & engine) == 0) {
            return refuse_useless(limited[i].name, limited[i].value, limited[i].users, engine,
                                  error);
        }
    }
    for (size_t i = 0; engine != OF_LSM && i < TERN_LSM_LEVELS; i++) {
        if (options->level_compression[i] != 0) {
            return refuse_useless("level_compression", options->level_compression[i], OF_LSM,
                                  engine, error);
        }
    }
    return TERN_OK;
}

tern_status catalog_check_request(const tern_keyspace_options *options,
                                  tern_keyspace_options *out_resolved, tern_error *error) {
    tern_keyspace_options given;
    tern_keyspace_options resolved;
    tern_status status = copy_options(options, &given, error);
    if (status == TERN_OK) {
        status = catalog_check_options(&given, &resolved, error);
    }
    if (status == TERN_OK) {
        status = check_are_used(&given, user_of(resolved.engine), error);
    }
    if (status == TERN_OK) {
        *out_resolved = resolved;
    }
    return status;
}
