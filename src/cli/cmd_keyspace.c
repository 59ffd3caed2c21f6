/* SPDX-License-Identifier: Apache-2.0 */
/* keyspace create, convert, drop, list, info. */
#include "cli/care.h"
#include "cli/quantity.h"
#include "cli/run.h"
#include "cli/stat_table.h"
#include "cli/terminal.h"
#include "cli/text_table.h"
#include <stdlib.h>
#include <string.h>

static const char *engine_name(tern_engine_kind engine) {
    switch (engine) {
    case TERN_ENGINE_DEFAULT:
    case TERN_ENGINE_BTREE:
        return "btree";
    case TERN_ENGINE_HASH:
        return "hash";
    case TERN_ENGINE_LSM:
        return "lsm";
    default:
        return "unknown";
    }
}

static const char *compression_name(tern_compression compression) {
    static const char *const names[] = {"none", "lz4", "zstd", "snappy"};
    return (size_t)compression < sizeof(names) / sizeof(names[0]) ? names[compression] : "unknown";
}

static const char *hash_index_name(tern_hash_index index) {
    static const char *const names[] = {"buckets", "robin-hood", "tag-groups"};
    return (size_t)index < sizeof(names) / sizeof(names[0]) ? names[index] : "unknown";
}

static const char *hash_function_name(tern_hash_function function) {
    static const char *const names[] = {"xxh3", "crc32c", "fnv1a"};
    return (size_t)function < sizeof(names) / sizeof(names[0]) ? names[function] : "unknown";
}

static const char *compaction_name(tern_compaction compaction) {
    static const char *const names[] = {"leveled", "tiered", "fifo"};
    return (size_t)compaction < sizeof(names) / sizeof(names[0]) ? names[compaction] : "unknown";
}

static uint32_t filter_bits(const tern_keyspace_options *options) {
    return options->filter_bits == TERN_FILTER_OFF ? 0 : options->filter_bits;
}

static const char *level_compression_name(uint8_t code) {
    return code == 0 ? "default" : compression_name((tern_compression)(code - 1));
}

/* A list of names with commas, from level 0 on; false: one is unknown, or there are too many. */
static bool read_levels(const char *text, uint8_t levels[TERN_LSM_LEVELS]) {
    uint8_t read[TERN_LSM_LEVELS] = {0};
    for (size_t level = 0; level < TERN_LSM_LEVELS; level++) {
        size_t size = strcspn(text, ",");
        uint8_t code = 0;
        const uint8_t last = TERN_LEVEL_COMPRESSION(TERN_COMPRESSION_SNAPPY);
        while (code <= last && (strlen(level_compression_name(code)) != size ||
                                strncmp(level_compression_name(code), text, size) != 0)) {
            code++;
        }
        if (code > last) {
            return false;
        }
        read[level] = code;
        text += size;
        if (*text == '\0') {
            memcpy(levels, read, sizeof(read));
            return true;
        }
        text++;
    }
    return false;
}

static tern_status read_lsm_options(struct session *session, const struct invocation *invocation,
                                    tern_keyspace_options *options) {
    options->compaction = (tern_compaction)invocation_number(invocation, OPTION_COMPACTION,
                                                             (uint64_t)options->compaction);
    if (invocation_has(invocation, OPTION_FILTER_BITS)) {
        uint64_t bits = invocation_number(invocation, OPTION_FILTER_BITS, 0);
        options->filter_bits = bits == 0           ? TERN_FILTER_OFF
                               : bits < UINT32_MAX ? (uint32_t)bits
                                                   : UINT32_MAX - 1;
    }
    const char *levels = invocation_text(invocation, OPTION_LEVEL_COMPRESSION, NULL);
    if (levels != NULL && !read_levels(levels, options->level_compression)) {
        return session_fail(session, TERN_INVALID,
                            "--level-compression '%s' is no list of at most %d of none, lz4, zstd, "
                            "snappy and default",
                            levels, TERN_LSM_LEVELS);
    }
    return TERN_OK;
}

static void read_hash_options(const struct invocation *invocation, tern_keyspace_options *options) {
    uint64_t max_load = invocation_number(invocation, OPTION_MAX_LOAD, options->max_load_percent);
    options->hash_index = (tern_hash_index)invocation_number(invocation, OPTION_HASH_INDEX,
                                                             (uint64_t)options->hash_index);
    options->hash_function = (tern_hash_function)invocation_number(
        invocation, OPTION_HASH_FUNCTION, (uint64_t)options->hash_function);
    options->expected_keys =
        invocation_number(invocation, OPTION_EXPECTED_KEYS, options->expected_keys);
    options->max_load_percent = max_load < UINT32_MAX ? (uint32_t)max_load : UINT32_MAX;
}

/* Other engines have no use for these. */
static const struct {
    enum option_id option;
    tern_engine_kind engines[2];
} limited_options[] = {
    {OPTION_FAN_OUT, {TERN_ENGINE_BTREE, TERN_ENGINE_LSM}},
    {OPTION_FILL, {TERN_ENGINE_BTREE}},
    {OPTION_HASH_INDEX, {TERN_ENGINE_HASH}},
    {OPTION_HASH_FUNCTION, {TERN_ENGINE_HASH}},
    {OPTION_EXPECTED_KEYS, {TERN_ENGINE_HASH}},
    {OPTION_MAX_LOAD, {TERN_ENGINE_HASH}},
    {OPTION_COMPACTION, {TERN_ENGINE_LSM}},
    {OPTION_FILTER_BITS, {TERN_ENGINE_LSM}},
    {OPTION_LEVEL_COMPRESSION, {TERN_ENGINE_LSM}},
};

/* It would be ignored: better to say so. */
static tern_status refuse_useless(struct session *session, const struct invocation *invocation,
                                  tern_engine_kind engine) {
    for (size_t i = 0; i < sizeof(limited_options) / sizeof(limited_options[0]); i++) {
        const tern_engine_kind *engines = limited_options[i].engines;
        enum option_id option = limited_options[i].option;
        if (invocation_has(invocation, option) && engines[0] != engine && engines[1] != engine) {
            return session_fail(
                session, TERN_INVALID,
                "--%s needs --engine %s%s%s; %s has no use for it, so leave it away or choose "
                "another engine",
                option_by_id(invocation->command->options, option)->name, engine_name(engines[0]),
                engines[1] != TERN_ENGINE_DEFAULT ? " or " : "",
                engines[1] != TERN_ENGINE_DEFAULT ? engine_name(engines[1]) : "",
                engine_name(engine));
        }
    }
    return TERN_OK;
}

/* What a keyspace was given for the engine that it is converted from. */
static void forget_useless(tern_keyspace_options *options) {
    if (options->engine == TERN_ENGINE_HASH) {
        options->fan_out = 0;
    } else {
        options->hash_index = TERN_HASH_INDEX_BUCKETS;
        options->hash_function = TERN_HASH_FUNCTION_XXH3;
        options->expected_keys = 0;
        options->max_load_percent = 0;
    }
    if (options->engine != TERN_ENGINE_BTREE) {
        options->fill_percent = 0;
    }
    if (options->engine != TERN_ENGINE_LSM) {
        options->compaction = TERN_COMPACTION_LEVELED;
        options->filter_bits = 0;
        memset(options->level_compression, 0, sizeof(options->level_compression));
    }
}

/* What is not given stays as `options` has it. */
static tern_status read_options(struct session *session, const struct invocation *invocation,
                                tern_keyspace_options options, tern_keyspace_options *out_options) {
    static const tern_engine_kind engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_LSM,
                                               TERN_ENGINE_HASH};
    if (invocation_has(invocation, OPTION_ENGINE) || options.engine == TERN_ENGINE_DEFAULT) {
        options.engine = engines[invocation_number(invocation, OPTION_ENGINE, 0)];
    }
    forget_useless(&options);
    tern_status status = refuse_useless(session, invocation, options.engine);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t page_bytes = invocation_number(invocation, OPTION_PAGE_BYTES, options.page_bytes);
    uint64_t fan_out = invocation_number(invocation, OPTION_FAN_OUT, options.fan_out);
    uint64_t fill_percent = invocation_number(invocation, OPTION_FILL, options.fill_percent);
    if (page_bytes > UINT32_MAX || fan_out > UINT32_MAX || fill_percent > UINT32_MAX) {
        return session_fail(session, TERN_INVALID,
                            "a keyspace option is far out of its range; "
                            "see: tern help keyspace create");
    }
    options.compression = (tern_compression)invocation_number(invocation, OPTION_COMPRESSION,
                                                              (uint64_t)options.compression);
    options.page_bytes = (uint32_t)page_bytes;
    options.fan_out = (uint32_t)fan_out;
    options.fill_percent = (uint32_t)fill_percent;
    read_hash_options(invocation, &options);
    status = read_lsm_options(session, invocation, &options);
    if (status == TERN_OK) {
        *out_options = options;
    }
    return status;
}

/* Keyspaces are created with the durability of other writes: in a transaction that is ours. */
static tern_status create_durably(struct session *session, tern_slice name,
                                  const tern_keyspace_options *options, struct work *work) {
    tern_keyspace *keyspace = NULL;
    tern_status status = work_begin(session, false, work);
    if (status != TERN_OK) {
        return status;
    }
    session->txn = work->txn;
    status = session_create_keyspace(session, name, options, &keyspace);
    if (work->is_own) {
        session->txn = NULL;
        session_forget_keyspaces(session);
    }
    return work_end(work, status);
}

tern_status check_keyspace_create(struct session *session, const struct invocation *invocation) {
    const tern_keyspace_options defaults = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_options options;
    struct buffer name = {0};
    tern_status status = session_check_name(session, invocation->arguments[0]);
    if (status == TERN_OK) {
        status = read_options(session, invocation, defaults, &options);
    }
    if (status == TERN_OK) {
        buffer_append_slice(&name, invocation->arguments[0]);
        status = tern_keyspace_check(buffer_text(&name), &options, &session->error);
    }
    buffer_release(&name);
    return status;
}

tern_status run_keyspace_create(struct session *session, const struct invocation *invocation) {
    const tern_keyspace_options defaults = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_options options;
    struct work work = {.session = session};
    tern_status status = read_options(session, invocation, defaults, &options);
    if (status == TERN_OK) {
        status = create_durably(session, invocation->arguments[0], &options, &work);
    }
    if (status == TERN_EXISTS && invocation_has(invocation, OPTION_IF_MISSING)) {
        status = TERN_OK;
    }
    if (status == TERN_OK) {
        work_report(&work);
    }
    return status;
}

static void report_conversion(struct session *session, const struct progress *progress,
                              tern_engine_kind from, tern_engine_kind engine, uint64_t records) {
    double seconds = progress_seconds(progress);
    if (session->settings.is_json) {
        struct json_writer json = session_json(session);
        json_begin_object(&json, NULL);
        json_text(&json, "status", "OK");
        json_text(&json, "from", engine_name(from));
        json_text(&json, "engine", engine_name(engine));
        json_unsigned(&json, "records", records);
        json_real(&json, "seconds", seconds);
        json_end_object(&json);
        json_end_line(&json);
        return;
    }
    struct buffer text = {0};
    quantity_print_count(records, &text);
    buffer_append_text(&text, " records, ");
    quantity_print_count((uint64_t)((double)records / (seconds > 0 ? seconds : 1)), &text);
    session_note(session, "converted from %s to %s: %s/s, %.2f s", engine_name(from),
                 engine_name(engine), buffer_text(&text), seconds);
    buffer_release(&text);
}

struct conversion_progress {
    struct progress progress;
    uint64_t records;
};

static bool conversion_progress(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct conversion_progress *conversion = context;
    conversion->records = done;
    return care_progress(&conversion->progress, phase, done, total);
}

tern_status run_keyspace_convert(struct session *session, const struct invocation *invocation) {
    tern_keyspace *keyspace = NULL;
    struct conversion_progress conversion = {.records = 0};
    tern_keyspace_options from = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_options options;
    if (session->txn != NULL) {
        return session_fail(session, TERN_INVALID,
                            "a transaction is open; commit or rollback first");
    }
    tern_status status = session_keyspace(session, invocation->arguments[0], &keyspace);
    if (status != TERN_OK) {
        return status;
    }
    tern_keyspace_get_options(keyspace, &from);
    status = read_options(session, invocation, from, &options);
    if (status != TERN_OK) {
        return status;
    }
    progress_open(&conversion.progress, session->err, session_shows_progress(session), "records");
    status = tern_keyspace_convert(keyspace, &options, conversion_progress, &conversion,
                                   &session->error);
    progress_close(&conversion.progress);
    if (status == TERN_OK) {
        report_conversion(session, &conversion.progress, from.engine, options.engine,
                          conversion.records);
    }
    return status;
}

tern_status run_keyspace_drop(struct session *session, const struct invocation *invocation) {
    struct work work = {.session = session};
    tern_keyspace *keyspace = NULL;
    tern_status status = session_keyspace(session, invocation->arguments[0], &keyspace);
    if (status == TERN_OK) {
        status = work_begin(session, false, &work);
    }
    if (status == TERN_OK) {
        status = work_end(&work, work_check(&work, tern_txn_keyspace_drop(work.txn, keyspace)));
    }
    if (status == TERN_NOT_FOUND && invocation_has(invocation, OPTION_IF_EXISTS)) {
        status = TERN_OK;
    }
    if (status == TERN_OK) {
        work_report(&work);
    }
    return status;
}

struct listing {
    struct session *session;
    struct work work;
    struct text_table table;
    struct json_writer json;
    tern_status status;
};

static void options_to_json(struct json_writer *json, const tern_keyspace_options *options) {
    json_text(json, "engine", engine_name(options->engine));
    json_text(json, "compression", compression_name(options->compression));
    json_unsigned(json, "page_bytes", options->page_bytes);
    json_unsigned(json, "fan_out", options->fan_out);
    json_unsigned(json, "fill_percent", options->fill_percent);
    if (options->engine == TERN_ENGINE_HASH) {
        json_text(json, "hash_index", hash_index_name(options->hash_index));
        json_text(json, "hash_function", hash_function_name(options->hash_function));
        json_unsigned(json, "max_load_percent", options->max_load_percent);
        json_unsigned(json, "expected_keys", options->expected_keys);
    }
    if (options->engine == TERN_ENGINE_LSM) {
        json_text(json, "compaction", compaction_name(options->compaction));
        json_unsigned(json, "filter_bits", filter_bits(options));
        json_begin_array(json, "level_compression");
        for (size_t i = 0; i < TERN_LSM_LEVELS; i++) {
            json_text(json, NULL, level_compression_name(options->level_compression[i]));
        }
        json_end_array(json);
    }
}

static void list_row(struct listing *listing, const char *name,
                     const tern_keyspace_options *options, uint64_t records, uint64_t bytes) {
    struct buffer text = {0};
    bytes_encode(BYTES_TEXT, tern_slice_str(name), &text);
    text_table_cell(&listing->table, buffer_text(&text));
    buffer_clear(&text);
    quantity_print_count(records, &text);
    text_table_cell(&listing->table, buffer_text(&text));
    buffer_clear(&text);
    quantity_print_bytes(bytes, &text);
    text_table_cell(&listing->table, buffer_text(&text));
    buffer_clear(&text);
    quantity_print_bytes(options->page_bytes, &text);
    text_table_cell(&listing->table, buffer_text(&text));
    buffer_clear(&text);
    buffer_append_text(&text, engine_name(options->engine));
    if (options->engine == TERN_ENGINE_HASH && options->hash_function != TERN_HASH_FUNCTION_XXH3) {
        buffer_append_text(&text, "/");
        buffer_append_text(&text, hash_function_name(options->hash_function));
    }
    text_table_cell(&listing->table, buffer_text(&text));
    text_table_cell(&listing->table, compression_name(options->compression));
    buffer_release(&text);
}

static bool visit_keyspace(void *context, tern_keyspace *keyspace) {
    struct listing *listing = context;
    uint64_t records = 0;
    uint64_t bytes = 0;
    const char *name = tern_keyspace_name(keyspace);
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_get_options(keyspace, &options);
    listing->status = work_check(&listing->work, tern_txn_estimate(listing->work.txn, keyspace,
                                                                   NULL, NULL, &records, &bytes));
    if (listing->status == TERN_NOT_FOUND) {
        /* Dropped in between, or created after the transaction's snapshot. */
        listing->status = TERN_OK;
    }
    if (listing->session->settings.is_json) {
        json_begin_object(&listing->json, NULL);
        json_text(&listing->json, "name", name);
        options_to_json(&listing->json, &options);
        json_unsigned(&listing->json, "estimated_records", records);
        json_unsigned(&listing->json, "estimated_bytes", bytes);
        json_end_object(&listing->json);
    } else {
        list_row(listing, name, &options, records, bytes);
    }
    return listing->status == TERN_OK;
}

tern_status run_keyspace_list(struct session *session, const struct invocation *invocation) {
    static const char *const names[] = {"keyspace", ">records", ">size",
                                        ">page",    "engine",   "compression"};
    (void)invocation;
    struct listing listing = {.session = session, .json = session_json(session)};
    tern_status status = work_begin(session, true, &listing.work);
    if (status != TERN_OK) {
        return status;
    }
    text_table_open(&listing.table, names, sizeof(names) / sizeof(names[0]));
    if (session->settings.is_json) {
        json_begin_object(&listing.json, NULL);
        json_begin_array(&listing.json, "keyspaces");
    }
    status = tern_keyspace_list(session->db, visit_keyspace, &listing, &session->error);
    status = status == TERN_OK ? listing.status : status;
    if (session->settings.is_json) {
        json_end_array(&listing.json);
        json_end_object(&listing.json);
        json_end_line(&listing.json);
    } else if (status == TERN_OK) {
        text_table_print(&listing.table, session->out, terminal_width_columns(session->out),
                         session->has_color);
    }
    text_table_release(&listing.table);
    return work_end(&listing.work, status);
}

tern_status run_keyspace_info(struct session *session, const struct invocation *invocation) {
    tern_keyspace *keyspace = NULL;
    tern_status status = session_keyspace(session, invocation->arguments[0], &keyspace);
    if (status != TERN_OK) {
        return status;
    }
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_get_options(keyspace, &options);
    struct stat_table table;
    stat_table_open(&table, session, true);
    if (session->settings.is_json) {
        json_begin_object(&table.json, NULL);
        json_text(&table.json, "name", tern_keyspace_name(keyspace));
        options_to_json(&table.json, &options);
        json_begin_object(&table.json, "stats");
    } else {
        struct buffer page = {0};
        quantity_print_bytes(options.page_bytes, &page);
        fprintf(session->out,
                "%s: %s, compression %s, pages of %s, fan-out %u, filled to %u %%, "
                "keys up to %zu bytes\n",
                tern_keyspace_name(keyspace), engine_name(options.engine),
                compression_name(options.compression), buffer_text(&page), options.fan_out,
                options.fill_percent, tern_keyspace_key_bytes_max(keyspace));
        if (options.engine == TERN_ENGINE_HASH) {
            fprintf(session->out,
                    "keys hashed by %s, index of %s, filled to %u %%, begun for %llu keys\n",
                    hash_function_name(options.hash_function), hash_index_name(options.hash_index),
                    options.max_load_percent, (unsigned long long)options.expected_keys);
        }
        if (options.engine == TERN_ENGINE_LSM) {
            fprintf(session->out, "%s compaction, filters of %u bits for each key, levels",
                    compaction_name(options.compaction), filter_bits(&options));
            for (size_t i = 0; i < TERN_LSM_LEVELS; i++) {
                fprintf(session->out, "%c%s", i == 0 ? ' ' : ',',
                        level_compression_name(options.level_compression[i]));
            }
            fprintf(session->out, "\n");
        }
        buffer_release(&page);
    }
    status = tern_keyspace_stats(keyspace, stat_table_visit, &table, &session->error);
    stat_table_close(&table);
    return status;
}
