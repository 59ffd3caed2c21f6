/* SPDX-License-Identifier: Apache-2.0 */
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/cmocka_test.h"

#define KEY_BYTES_MAX   128u
#define VALUE_BYTES_MAX 800000u
#define LARGE_VALUES    3u
#define MERGED_KEYS     8u
#define LONG_TTL_MS     (UINT64_C(100) * 365 * 86400 * 1000)

#define DROPPED   "dropped"
#define LATE      "late"
#define CONVERTED "converted"

/* The keyspace of golden_load_many(): its keys share enough for leaves to cut it off. */
#define MANY             "many"
#define MANY_KEYS        3600u
#define MANY_PREFIX      "what all keys of a page begin with is in it once, and cut off: /"
#define LONG_VALUE_BYTES 1100u

/* Merged keys "max i" from this one on are deleted in slice 2, by a range without an end. */
#define MAX_DELETED_FROM  6u
#define MAX_DELETED_ROUND 2u

struct golden_keyspace {
    const char *name;
    tern_keyspace_options options;
    bool has_large_values;
};

/* A table with an entry for each layout that a file can have. */
static const struct golden_keyspace keyspaces[] = {
    {.name = "btree", .has_large_values = true},
    {.name = "btree lz4", .options = {.compression = TERN_COMPRESSION_LZ4}},
    {.name = "btree zstd",
     .options = {.compression = TERN_COMPRESSION_ZSTD, .page_bytes = 32768},
     .has_large_values = true},
    {.name = "btree snappy", .options = {.compression = TERN_COMPRESSION_SNAPPY}},
    {.name = "btree of small pages",
     .options = {.page_bytes = 4096, .fan_out = 16, .fill_percent = 60}},
    {.name = "hash", .options = {.engine = TERN_ENGINE_HASH}, .has_large_values = true},
    {.name = "hash crc32c",
     .options = {.engine = TERN_ENGINE_HASH,
                 .compression = TERN_COMPRESSION_LZ4,
                 .hash_index = TERN_HASH_INDEX_ROBIN_HOOD,
                 .hash_function = TERN_HASH_FUNCTION_CRC32C}},
    {.name = "hash fnv1a",
     .options = {.engine = TERN_ENGINE_HASH,
                 .compression = TERN_COMPRESSION_ZSTD,
                 .hash_index = TERN_HASH_INDEX_TAG_GROUPS,
                 .max_load_percent = 60,
                 .expected_keys = 1000,
                 .hash_function = TERN_HASH_FUNCTION_FNV1A}},
    {.name = "lsm", .options = {.engine = TERN_ENGINE_LSM}, .has_large_values = true},
    {.name = "lsm tiered",
     .options = {.engine = TERN_ENGINE_LSM,
                 .compression = TERN_COMPRESSION_SNAPPY,
                 .compaction = TERN_COMPACTION_TIERED,
                 .filter_bits = TERN_FILTER_OFF}},
    {.name = "lsm fifo",
     .options = {.engine = TERN_ENGINE_LSM,
                 .compression = TERN_COMPRESSION_ZSTD,
                 .compaction = TERN_COMPACTION_FIFO,
                 .filter_bits = 16}},
    {.name = "lsm of levels",
     .options = {.engine = TERN_ENGINE_LSM,
                 .page_bytes = 4096,
                 .fan_out = 16,
                 .level_compression = {TERN_LEVEL_COMPRESSION(TERN_COMPRESSION_NONE),
                                       TERN_LEVEL_COMPRESSION(TERN_COMPRESSION_LZ4), 0, 0, 0, 0, 0,
                                       TERN_LEVEL_COMPRESSION(TERN_COMPRESSION_ZSTD)}}},
    {.name = CONVERTED, .options = {.engine = TERN_ENGINE_HASH}, .has_large_values = true},
    {.name = DROPPED},
};
#define KEYSPACES (sizeof(keyspaces) / sizeof(keyspaces[0]))

/* Created in the last stage. */
static const struct golden_keyspace late = {
    .name = LATE, .options = {.engine = TERN_ENGINE_LSM}, .has_large_values = true};

tern_db_options golden_db_options(void) {
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.memory_bytes = 16 << 20;
    options.segment_bytes = 1 << 20;
    options.prewarm = true;
    return options;
}

/* ---- the rules ---- */

/* Of 6 to 46 bytes, in order of `number`; every fifth has a zero and a byte that is no text. */
static tern_slice make_key(unsigned number, uint8_t buffer[KEY_BYTES_MAX]) {
    size_t size = (size_t)snprintf((char *)buffer, KEY_BYTES_MAX, "%05u/", number);
    for (unsigned i = 0; i < number * 7 % 39; i++) {
        buffer[size++] = (uint8_t)('a' + (number + i) % 26);
    }
    if (number % 5 == 0) {
        buffer[size++] = 0;
        buffer[size++] = 0xff;
    }
    return tern_slice_of(buffer, size);
}

/* Tells key and version; up to 190 bytes, some empty. */
static tern_slice make_value(unsigned number, unsigned version, uint8_t *buffer) {
    size_t size = 0;
    size_t wanted = number % 23 == 0 ? 0 : 1 + (number * 31 + version * 17) % 190;
    while (size < wanted) {
        char word[24];
        size_t length = (size_t)snprintf(word, sizeof(word), "%u:%u ", number, version);
        length = length < wanted - size ? length : wanted - size;
        memcpy(buffer + size, word, length);
        size += length;
    }
    return tern_slice_of(buffer, size);
}

/* Below and above one piece of a value that is stored apart, in each engine. */
static tern_slice make_large_value(unsigned number, unsigned version, uint8_t *buffer) {
    size_t size = 140000u + 260000u * number + version;
    for (size_t i = 0; i < size; i++) {
        buffer[i] = (uint8_t)(i % 251 + i / 65536 + number * 7 + version * 13);
    }
    return tern_slice_of(buffer, size);
}

static tern_slice name_key(const char *kind, unsigned number, uint8_t buffer[KEY_BYTES_MAX]) {
    int size = snprintf((char *)buffer, KEY_BYTES_MAX, "%s %u", kind, number);
    return tern_slice_of(buffer, (size_t)size);
}

unsigned golden_version(unsigned key, enum golden_stage stage) {
    unsigned version = stage == GOLDEN_EMPTY ? 0 : 1;
    if (version != 0) {
        version = key % 7 == 0 ? 2 : version;
        version = key % 13 == 0 ? 3 : version;
        version = key % 11 == 0 ? 0 : version;
        version = key >= 100 && key < 115 ? 0 : version;
        version = key % 17 == 0 ? 0 : version; /* has expired */
    }
    if (stage == GOLDEN_LAST) {
        version = key % 3 == 1 ? 4 : version;
        version = key % 19 == 0 ? 0 : version;
        version = key >= 200 && key < 210 ? 0 : version;
    }
    return version;
}

/* The late keyspace knows the last stage only, and no versions but 5. */
static unsigned version_in(const struct golden_keyspace *keyspace, unsigned key,
                           enum golden_stage stage) {
    return keyspace == &late ? 5 : golden_version(key, stage);
}

static bool exists(const struct golden_keyspace *keyspace, enum golden_stage stage) {
    if (strcmp(keyspace->name, DROPPED) == 0) {
        return stage == GOLDEN_FIRST;
    }
    return keyspace == &late ? stage == GOLDEN_LAST : stage != GOLDEN_EMPTY;
}

/* ---- writing ---- */

static tern_txn *begin(tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    return txn;
}

static void commit(tern_txn *txn) {
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    tern_txn_free(txn);
}

static tern_keyspace *open_keyspace(tern_db *db, const char *name) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    assert_ok(tern_keyspace_open(db, name, &keyspace, &error), error);
    return keyspace;
}

static void put(tern_txn *txn, tern_keyspace *keyspace, unsigned key, unsigned version,
                uint64_t ttl_ms) {
    uint8_t key_bytes[KEY_BYTES_MAX];
    uint8_t value_bytes[256];
    tern_write_options options = {.size = sizeof(options), .ttl_ms = ttl_ms};
    assert_ok(tern_txn_put(txn, keyspace, make_key(key, key_bytes),
                           make_value(key, version, value_bytes), &options),
              *tern_txn_error(txn));
}

static void put_large(tern_txn *txn, tern_keyspace *keyspace, unsigned number, unsigned version) {
    uint8_t key_bytes[KEY_BYTES_MAX];
    uint8_t *value = malloc(VALUE_BYTES_MAX);
    assert_non_null(value);
    assert_ok(tern_txn_put(txn, keyspace, name_key("large", number, key_bytes),
                           make_large_value(number, version, value), NULL),
              *tern_txn_error(txn));
    free(value);
}

static void merge_all(tern_txn *txn, tern_keyspace *keyspace, unsigned round) {
    uint8_t key[KEY_BYTES_MAX];
    char text[16];
    for (unsigned i = 0; i < MERGED_KEYS; i++) {
        uint8_t number[8] = {(uint8_t)(i + round)};
        assert_ok(tern_txn_merge(txn, keyspace, name_key("add", i, key), TERN_MERGE_ADD,
                                 tern_slice_of(number, sizeof(number))),
                  *tern_txn_error(txn));
        int size = snprintf(text, sizeof(text), "%u,", round);
        assert_ok(tern_txn_merge(txn, keyspace, name_key("append", i, key), TERN_MERGE_APPEND,
                                 tern_slice_of(text, (size_t)size)),
                  *tern_txn_error(txn));
        size = snprintf(text, sizeof(text), "%02u", (round * 37 + i) % 100);
        assert_ok(tern_txn_merge(txn, keyspace, name_key("max", i, key), TERN_MERGE_MAX,
                                 tern_slice_of(text, (size_t)size)),
                  *tern_txn_error(txn));
    }
}

void golden_create_keyspaces(tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    for (size_t i = 0; i < KEYSPACES; i++) {
        tern_keyspace_options options = keyspaces[i].options;
        options.size = sizeof(options);
        assert_ok(tern_keyspace_create(db, keyspaces[i].name, &options, NULL, &error), error);
    }
}

static void delete_range(tern_txn *txn, tern_keyspace *keyspace, unsigned first, unsigned end) {
    uint8_t first_bytes[KEY_BYTES_MAX];
    uint8_t end_bytes[KEY_BYTES_MAX];
    tern_slice first_key = make_key(first, first_bytes);
    tern_slice end_key = make_key(end, end_bytes);
    assert_ok(tern_txn_delete_range(txn, keyspace, &first_key, &end_key), *tern_txn_error(txn));
}

static void delete_rest(tern_txn *txn, tern_keyspace *keyspace) {
    uint8_t bytes[KEY_BYTES_MAX];
    tern_slice first_key = name_key("max", MAX_DELETED_FROM, bytes);
    assert_ok(tern_txn_delete_range(txn, keyspace, &first_key, NULL), *tern_txn_error(txn));
}

static void delete_key(tern_txn *txn, tern_keyspace *keyspace, unsigned key) {
    uint8_t bytes[KEY_BYTES_MAX];
    assert_ok(tern_txn_delete(txn, keyspace, make_key(key, bytes)), *tern_txn_error(txn));
}

/* Slice 0 puts every key, 1 changes some, 2 deletes some: in the order of golden_version(). */
static void load_keyspace(tern_txn *txn, tern_keyspace *keyspace, unsigned slice) {
    for (unsigned i = 0; i < GOLDEN_KEYS; i++) {
        if (slice == 0) {
            put(txn, keyspace, i, 1, 0);
        } else if (slice == 1 && i % 13 == 0) {
            put(txn, keyspace, i, 3, LONG_TTL_MS);
        } else if (slice == 1 && i % 7 == 0) {
            put(txn, keyspace, i, 2, 0);
        } else if (slice == 2 && i % 11 == 0) {
            delete_key(txn, keyspace, i);
        }
    }
    if (slice == 2) {
        delete_range(txn, keyspace, 100, 115);
        delete_rest(txn, keyspace);
        for (unsigned i = 0; i < GOLDEN_KEYS; i += 17) {
            put(txn, keyspace, i, 9, 1);
        }
    }
    merge_all(txn, keyspace, slice);
}

void golden_load_slice(tern_db *db, unsigned slice) {
    for (size_t i = 0; i < KEYSPACES; i++) {
        tern_keyspace *keyspace = open_keyspace(db, keyspaces[i].name);
        tern_txn *txn = begin(db);
        load_keyspace(txn, keyspace, slice);
        if (slice == 0 && keyspaces[i].has_large_values) {
            for (unsigned j = 0; j < LARGE_VALUES; j++) {
                put_large(txn, keyspace, j, 1);
            }
        }
        commit(txn);
    }
}

static void change_keyspace(tern_txn *txn, tern_keyspace *keyspace) {
    for (unsigned i = 1; i < GOLDEN_KEYS; i += 3) {
        put(txn, keyspace, i, 4, 0);
    }
    for (unsigned i = 0; i < GOLDEN_KEYS; i += 19) {
        delete_key(txn, keyspace, i);
    }
    delete_range(txn, keyspace, 200, 210);
    merge_all(txn, keyspace, GOLDEN_SLICES);
}

/* ---- conversions ---- */

struct amid {
    tern_db *db;
    bool has_written;
    bool ends; /* the process, once all is copied and there is something to catch up with */
};

/* Changes nothing that is read: keys get again what they have. */
static void write_again(tern_db *db) {
    tern_keyspace *keyspace = open_keyspace(db, CONVERTED);
    tern_txn *txn = begin(db);
    for (unsigned i = 0; i < GOLDEN_KEYS; i += 5) {
        unsigned version = golden_version(i, GOLDEN_FIRST);
        if (version != 0) {
            put(txn, keyspace, i, version, 0);
        } else {
            delete_key(txn, keyspace, i);
        }
    }
    put_large(txn, keyspace, 2, 1);
    delete_range(txn, keyspace, 100, 115);
    commit(txn);
}

/* The conversion has to catch up with what is written here. */
static bool write_amid(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct amid *amid = context;
    (void)phase;
    (void)total;
    if (!amid->has_written) {
        amid->has_written = true;
        write_again(amid->db);
    } else if (amid->ends && done > 0) {
        tern_error error = TERN_ERROR_INIT;
        assert_ok(tern_sync(amid->db, &error), error);
        _exit(0);
    }
    return true;
}

static void convert(struct amid *amid) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = {.size = sizeof(options), .engine = TERN_ENGINE_BTREE};
    assert_ok(tern_keyspace_convert(open_keyspace(amid->db, CONVERTED), &options, write_amid, amid,
                                    &error),
              error);
    assert_true(amid->has_written);
}

void golden_end_amid_conversion(tern_db *db) {
    struct amid amid = {.db = db, .ends = true};
    convert(&amid);
    _exit(1);
}

/* All in one transaction, that stands in the log in parts. */
void golden_change(tern_db *db) {
    tern_keyspace_options options = {.size = sizeof(options)};
    struct amid amid = {.db = db};
    convert(&amid);
    tern_txn *txn = begin(db);
    for (size_t i = 0; i < KEYSPACES; i++) {
        tern_keyspace *keyspace = open_keyspace(db, keyspaces[i].name);
        if (strcmp(keyspaces[i].name, DROPPED) == 0) {
            assert_ok(tern_txn_keyspace_drop(txn, keyspace), *tern_txn_error(txn));
            continue;
        }
        change_keyspace(txn, keyspace);
        if (keyspaces[i].has_large_values) {
            put_large(txn, keyspace, 1, 2);
        }
    }
    tern_keyspace *created;
    options = late.options;
    options.size = sizeof(options);
    assert_ok(tern_txn_keyspace_create(txn, LATE, &options, &created), *tern_txn_error(txn));
    for (unsigned i = 0; i < GOLDEN_KEYS; i++) {
        put(txn, created, i, 5, 0);
    }
    merge_all(txn, created, 0);
    for (unsigned i = 0; i < LARGE_VALUES; i++) {
        put_large(txn, created, i, 1);
    }
    commit(txn);
}

/* ---- checking ---- */

static void assert_value(tern_keyspace *keyspace, tern_slice key, tern_slice expected) {
    tern_error error = TERN_ERROR_INIT;
    tern_value value = TERN_VALUE_INIT;
    assert_ok(tern_get_pinned(keyspace, key, &value, &error), error);
    assert_int_equal(value.bytes.size, expected.size);
    assert_memory_equal(value.bytes.data, expected.data, expected.size);
    tern_value_release(&value);
}

/* What the merges of the rounds up to the end of the stage come to. */
static void check_merged(tern_keyspace *keyspace, unsigned rounds) {
    uint8_t key[KEY_BYTES_MAX];
    for (unsigned i = 0; i < MERGED_KEYS; i++) {
        uint8_t sum[8] = {0};
        char appended[64] = "";
        char greatest[4] = "";
        bool is_deleted = rounds > MAX_DELETED_ROUND && i >= MAX_DELETED_FROM;
        for (unsigned round = 0; round < rounds; round++) {
            char text[16];
            sum[0] = (uint8_t)(sum[0] + i + round);
            (void)snprintf(appended + strlen(appended), sizeof(appended) - strlen(appended), "%u,",
                           round);
            (void)snprintf(text, sizeof(text), "%02u", (round * 37 + i) % 100);
            bool counts = !is_deleted || round >= MAX_DELETED_ROUND;
            if (counts && strcmp(text, greatest) > 0) {
                memcpy(greatest, text, sizeof(greatest) - 1);
            }
        }
        assert_value(keyspace, name_key("add", i, key), tern_slice_of(sum, sizeof(sum)));
        assert_value(keyspace, name_key("append", i, key), tern_slice_str(appended));
        assert_value(keyspace, name_key("max", i, key), tern_slice_str(greatest));
    }
}

static void check_large(tern_keyspace *keyspace, bool is_changed) {
    uint8_t key[KEY_BYTES_MAX];
    uint8_t *value = malloc(VALUE_BYTES_MAX);
    assert_non_null(value);
    for (unsigned i = 0; i < LARGE_VALUES; i++) {
        assert_value(keyspace, name_key("large", i, key),
                     make_large_value(i, is_changed && i == 1 ? 2 : 1, value));
    }
    free(value);
}

/* Returns how many there are. */
static size_t check_keys(const struct golden_keyspace *golden, tern_keyspace *keyspace,
                         enum golden_stage stage) {
    tern_error error = TERN_ERROR_INIT;
    size_t found = 0;
    for (unsigned i = 0; i < GOLDEN_KEYS; i++) {
        uint8_t key[KEY_BYTES_MAX];
        uint8_t value[256];
        unsigned version = version_in(golden, i, stage);
        if (version != 0) {
            assert_value(keyspace, make_key(i, key), make_value(i, version, value));
            found++;
            continue;
        }
        tern_value none = TERN_VALUE_INIT;
        assert_int_equal(tern_get_pinned(keyspace, make_key(i, key), &none, &error),
                         TERN_NOT_FOUND);
    }
    return found;
}

typedef tern_status (*cursor_step)(tern_cursor *cursor);

/* `count` entries, in order where the engine has one. */
static void check_walk(tern_db *db, tern_keyspace *keyspace, cursor_step step, int order,
                       size_t count) {
    tern_txn *txn = begin(db);
    tern_cursor *cursor;
    uint8_t last[KEY_BYTES_MAX];
    size_t last_size = 0;
    size_t found = 0;
    assert_ok(tern_cursor_open(txn, keyspace, NULL, &cursor), *tern_txn_error(txn));
    tern_status status;
    while ((status = step(cursor)) == TERN_OK) {
        tern_slice key = tern_cursor_key(cursor);
        tern_slice value;
        assert_ok(tern_cursor_value(cursor, &value), *tern_cursor_error(cursor));
        assert_true(key.size <= KEY_BYTES_MAX);
        if (order != 0 && found > 0) {
            size_t common = key.size < last_size ? key.size : last_size;
            int difference = memcmp(key.data, last, common);
            difference = difference != 0 ? difference : (key.size > last_size ? 1 : -1);
            assert_true(difference * order > 0);
        }
        memcpy(last, key.data, key.size);
        last_size = key.size;
        found++;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    assert_int_equal(found, count);
    tern_cursor_close(cursor);
    tern_txn_free(txn);
}

static void check_keyspace(tern_db *db, const struct golden_keyspace *golden,
                           enum golden_stage stage) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    tern_status status = tern_keyspace_open(db, golden->name, &keyspace, &error);
    if (!exists(golden, stage)) {
        assert_int_equal(status, TERN_NOT_FOUND);
        return;
    }
    assert_ok(status, error);
    bool is_changed = stage == GOLDEN_LAST;
    size_t count = check_keys(golden, keyspace, stage);
    check_merged(keyspace, golden == &late ? 1 : GOLDEN_SLICES + is_changed);
    count += (size_t)3 * MERGED_KEYS;
    if (golden->has_large_values) {
        check_large(keyspace, is_changed && golden != &late);
        count += LARGE_VALUES;
    }
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_get_options(keyspace, &options);
    bool is_ordered = options.engine != TERN_ENGINE_HASH;
    check_walk(db, keyspace, tern_cursor_next, is_ordered ? 1 : 0, count);
    if (is_ordered) {
        check_walk(db, keyspace, tern_cursor_previous, -1, count);
    }
}

void golden_check_keyspace(tern_db *db, const char *name, enum golden_stage stage) {
    const struct golden_keyspace *found = NULL;
    for (size_t i = 0; i < KEYSPACES; i++) {
        found = strcmp(keyspaces[i].name, name) == 0 ? &keyspaces[i] : found;
    }
    assert_non_null(found);
    check_keyspace(db, found, stage);
}

/* ---- many keys ---- */

static tern_slice make_many_key(unsigned number, uint8_t buffer[KEY_BYTES_MAX]) {
    uint8_t rest_bytes[KEY_BYTES_MAX];
    tern_slice rest = make_key(number, rest_bytes);
    size_t prefix_size = sizeof(MANY_PREFIX) - 1;
    memcpy(buffer, MANY_PREFIX, prefix_size);
    memcpy(buffer + prefix_size, rest.data, rest.size);
    return tern_slice_of(buffer, prefix_size + rest.size);
}

/* Some are above a quarter of a page, and are stored apart. */
static tern_slice make_long_value(unsigned number, unsigned version,
                                  uint8_t buffer[LONG_VALUE_BYTES]) {
    char word[24];
    size_t length = (size_t)snprintf(word, sizeof(word), "%u:%u ", number, version);
    size_t size = number % 500 == 3 ? LONG_VALUE_BYTES : 700 - number % 300;
    for (size_t i = 0; i < size; i++) {
        buffer[i] = (uint8_t)word[i % length];
    }
    return tern_slice_of(buffer, size);
}

/* Round 1 puts all keys, round 2 every second one. */
void golden_load_many(tern_db *db, unsigned round) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = {.size = sizeof(options), .page_bytes = 4096};
    if (round == 1) {
        assert_ok(tern_keyspace_create(db, MANY, &options, NULL, &error), error);
    }
    tern_keyspace *keyspace = open_keyspace(db, MANY);
    tern_txn *txn = NULL;
    for (unsigned i = 0; i < MANY_KEYS; i += round) {
        uint8_t key[KEY_BYTES_MAX];
        uint8_t value[LONG_VALUE_BYTES];
        txn = txn != NULL ? txn : begin(db);
        assert_ok(tern_txn_put(txn, keyspace, make_many_key(i, key),
                               make_long_value(i, round, value), NULL),
                  *tern_txn_error(txn));
        if (i % 100 >= 100 - round) {
            commit(txn);
            txn = NULL;
        }
    }
    assert_null(txn);
}

void golden_check_many(tern_db *db) {
    tern_keyspace *keyspace = open_keyspace(db, MANY);
    for (unsigned i = 0; i < MANY_KEYS; i++) {
        uint8_t key[KEY_BYTES_MAX];
        uint8_t value[LONG_VALUE_BYTES];
        assert_value(keyspace, make_many_key(i, key),
                     make_long_value(i, i % 2 == 0 ? 2 : 1, value));
    }
    check_walk(db, keyspace, tern_cursor_next, 1, MANY_KEYS);
    check_walk(db, keyspace, tern_cursor_previous, -1, MANY_KEYS);
}

void golden_check(tern_db *db, enum golden_stage stage) {
    for (size_t i = 0; i < KEYSPACES; i++) {
        check_keyspace(db, &keyspaces[i], stage);
    }
    check_keyspace(db, &late, stage);
}
