/* SPDX-License-Identifier: Apache-2.0 */
#include "support/random_workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_BYTES_MAX 90000u

void random_workload_init(struct random_workload *workload, uint64_t seed) {
    *workload = (struct random_workload){0};
    seeded_random_init(&workload->random, seed);
    model_history_init(&workload->history);
    workload->bytes = malloc(VALUE_BYTES_MAX);
    if (workload->bytes == NULL) {
        abort();
    }
}

void random_workload_release(struct random_workload *workload) {
    model_history_release(&workload->history);
    free(workload->bytes);
}

void random_workload_options(tern_db_options *options) {
    options->create_if_missing = true;
    options->memory_bytes = (uint64_t)8 << 20;
    options->overlay_bytes = (uint64_t)192 << 10;
    options->segment_bytes = (uint64_t)256 << 10;
    options->large_value_bytes = 20000;
    options->conflict_slots = 4096;
    options->direct_log_syncs = 2; /* the log becomes direct and mapped again */
}

static uint64_t below(struct random_workload *workload, uint64_t bound) {
    return seeded_random_below(&workload->random, bound);
}

/* Mostly small, sometimes apart from the page, rarely streamed. */
static tern_slice random_value(struct random_workload *workload) {
    uint64_t kind = below(workload, 40);
    size_t size = (size_t)below(workload, 120);
    if (kind == 0) {
        size = (size_t)below(workload, 12000);
    } else if (kind == 1 && below(workload, 4) == 0) {
        size = 20001 + (size_t)below(workload, VALUE_BYTES_MAX - 20001);
    }
    uint8_t first = (uint8_t)seeded_random_next(&workload->random);
    for (size_t i = 0; i < size; i++) {
        workload->bytes[i] = (uint8_t)(first + i / 7);
    }
    return tern_slice_of(workload->bytes, size);
}

/* The value in pieces; some are given up half-way. */
static tern_status stream(struct random_workload *workload, tern_txn *txn, tern_keyspace *keyspace,
                          unsigned index, tern_slice key, tern_slice value) {
    tern_value_writer *writer;
    tern_status status = tern_txn_put_begin(txn, keyspace, key, NULL, &writer);
    if (status != TERN_OK) {
        return status;
    }
    bool is_abandoned = below(workload, 5) == 0;
    size_t end = is_abandoned ? value.size / 2 : value.size;
    for (size_t done = 0; status == TERN_OK && done < end;) {
        size_t piece = 1 + (size_t)below(workload, 9000);
        piece = piece < end - done ? piece : end - done;
        status = tern_value_writer_append(writer,
                                          tern_slice_of((const uint8_t *)value.data + done, piece));
        done += piece;
    }
    if (status != TERN_OK || is_abandoned) {
        tern_value_writer_abandon(writer);
        return status;
    }
    status = tern_value_writer_finish(writer);
    if (status == TERN_OK) {
        model_put(&workload->history, index, key, value, false);
    }
    return status;
}

static tern_status put(struct random_workload *workload, tern_txn *txn, tern_keyspace *keyspace,
                       unsigned index, tern_slice key) {
    tern_slice value = random_value(workload);
    if (workload->is_wide && below(workload, 60) == 0) {
        return stream(workload, txn, keyspace, index, key, value);
    }
    tern_write_options options = {.size = sizeof(options)};
    uint64_t kind = below(workload, 12);
    if (kind < 2) {
        options.ttl_ms = kind == 0 ? MODEL_SHORT_TTL_MS : MODEL_LONG_TTL_MS;
    }
    tern_status status = tern_txn_put(txn, keyspace, key, value, &options);
    if (status == TERN_OK) {
        model_put(&workload->history, index, key, value, kind == 0);
    }
    return status;
}

static tern_status merge(struct random_workload *workload, tern_txn *txn, tern_keyspace *keyspace,
                         unsigned index, tern_slice key) {
    const struct model_entry *entry = model_find(&workload->history.next, index, key);
    uint8_t operand[8] = {(uint8_t)below(workload, 256), (uint8_t)below(workload, 3)};
    tern_merge_kind kind = (tern_merge_kind)(1 + below(workload, 3));
    tern_slice bytes = tern_slice_of(operand, sizeof(operand));
    if (entry != NULL && entry->is_short_lived) {
        return TERN_OK; /* its outcome depends on the moment */
    }
    if (kind != TERN_MERGE_ADD) {
        bytes.size = 1 + (size_t)below(workload, 8);
    }
    if (entry != NULL && entry->value.size > 60000) {
        return TERN_OK;
    }
    tern_status status = tern_txn_merge(txn, keyspace, key, kind, bytes);
    if (status == TERN_OK) {
        model_merge(&workload->history, index, key, kind, bytes);
    }
    return status;
}

static tern_status delete_range(struct random_workload *workload, tern_txn *txn,
                                tern_keyspace *keyspace, unsigned index, tern_slice key) {
    uint8_t other[MODEL_KEY_BYTES_MAX];
    tern_slice end = model_random_key(&workload->random, other);
    bool has_begin = below(workload, 8) != 0;
    bool has_end = below(workload, 8) != 0;
    tern_status status =
        tern_txn_delete_range(txn, keyspace, has_begin ? &key : NULL, has_end ? &end : NULL);
    if (status == TERN_OK) {
        model_delete_range(&workload->history, index, has_begin ? &key : NULL,
                           has_end ? &end : NULL);
    }
    return status;
}

static tern_keyspace_options random_options(struct random_workload *workload) {
    static const tern_engine_kind engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH,
                                               TERN_ENGINE_LSM};
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = engines[below(workload, 3)];
    unsigned index = (unsigned)below(workload, 3);
    options.page_bytes = 4096u << below(workload, 3);
    uint32_t fan_out = 16u + (uint32_t)below(workload, 30);
    options.compression = (tern_compression)below(workload, 4);
    if (options.engine == TERN_ENGINE_HASH) {
        options.hash_index = (tern_hash_index)index;
        options.hash_function = (tern_hash_function)((index + (unsigned)options.compression) % 3);
    } else {
        options.fan_out = fan_out;
    }
    return options;
}

static tern_status change_keyspace(struct random_workload *workload, tern_txn *txn, tern_db *db,
                                   unsigned index) {
    char name[16];
    tern_keyspace *keyspace;
    const struct model_keyspace *known = &workload->history.next.keyspaces[index];
    tern_status status = TERN_OK;
    if (!known->exists) {
        tern_keyspace_options options = random_options(workload);
        status =
            tern_txn_keyspace_create(txn, model_keyspace_name(index, name), &options, &keyspace);
        if (status == TERN_OK) {
            model_create(&workload->history, index);
            workload->fresh = keyspace;
            workload->fresh_index = index;
        }
    } else if (below(workload, 3) == 0 && tern_keyspace_open(db, model_keyspace_name(index, name),
                                                             &keyspace, NULL) == TERN_OK) {
        status = tern_txn_keyspace_drop(txn, keyspace);
        if (status == TERN_OK) {
            model_drop(&workload->history, index);
        }
    }
    return status;
}

static tern_status change(struct random_workload *workload, tern_txn *txn, tern_db *db,
                          bool *out_catalog) {
    char name[16];
    uint8_t bytes[MODEL_KEY_BYTES_MAX];
    tern_keyspace *keyspace;
    unsigned index = (unsigned)below(workload, MODEL_KEYSPACES);
    if (!workload->history.next.keyspaces[index].exists || below(workload, 150) == 0) {
        *out_catalog = true;
        return change_keyspace(workload, txn, db, index);
    }
    if (workload->fresh != NULL && workload->fresh_index == index) {
        keyspace = workload->fresh;
    } else if (tern_keyspace_open(db, model_keyspace_name(index, name), &keyspace, NULL) !=
               TERN_OK) {
        return TERN_OK;
    }
    tern_slice key = model_random_key(&workload->random, bytes);
    uint64_t kind = below(workload, 30);
    if (kind < 18) {
        return put(workload, txn, keyspace, index, key);
    }
    if (kind < 24) {
        tern_status status = tern_txn_delete(txn, keyspace, key);
        if (status == TERN_OK) {
            model_delete(&workload->history, index, key);
        }
        return status;
    }
    return kind < 29 ? merge(workload, txn, keyspace, index, key)
                     : delete_range(workload, txn, keyspace, index, key);
}

static bool fail(struct random_workload *workload, const tern_error *error) {
    workload->error = *error;
    return false;
}

/* What the progress of a conversion does: the database is worked on meanwhile. */
static bool work_amid(void *context, const char *phase, uint64_t done, uint64_t total);

struct amid {
    struct random_workload *workload;
    tern_db *db;
    bool works; /* or only looks on */
};

/* Converts a keyspace that exists. False: it failed as it must not, the error is kept. */
static bool convert(struct random_workload *workload, tern_db *db, bool works) {
    char name[16];
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    struct amid amid = {workload, db, works};
    unsigned index = (unsigned)below(workload, MODEL_KEYSPACES);
    tern_keyspace_options options = random_options(workload);
    if (tern_keyspace_open(db, model_keyspace_name(index, name), &keyspace, NULL) != TERN_OK) {
        return true;
    }
    workload->is_converting = true;
    workload->has_failed_amid = false;
    tern_status status = tern_keyspace_convert(keyspace, &options, work_amid, &amid, &error);
    workload->is_converting = false;
    if (workload->has_failed_amid) {
        return false;
    }
    workload->conversions += status == TERN_OK ? 1 : 0;
    /* Cancelled, or dropped amid it. */
    return status == TERN_OK || status == TERN_CANCELLED || status == TERN_NOT_FOUND
               ? true
               : fail(workload, &error);
}

/* Some changes, and back to before them. */
static tern_status try_in_vain(struct random_workload *workload, tern_txn *txn, tern_db *db) {
    uint32_t savepoint;
    bool catalog = false;
    struct model_state before = workload->history.next;
    tern_status status = tern_txn_savepoint(txn, &savepoint);
    for (uint64_t i = below(workload, 5); status == TERN_OK && i > 0 && !catalog; i--) {
        status = change(workload, txn, db, &catalog);
    }
    if (status == TERN_OK) {
        status = tern_txn_rollback_to(txn, savepoint);
        workload->history.next = before;
    }
    return status;
}

static tern_status change_some(struct random_workload *workload, tern_txn *txn, tern_db *db) {
    uint64_t changes = 1 + below(workload, below(workload, 6) == 0 ? 60 : 6);
    bool catalog = false;
    tern_status status = TERN_OK;
    workload->fresh = NULL;
    for (uint64_t i = 0; status == TERN_OK && i < changes; i++) {
        if (catalog && !workload->is_wide) {
            break;
        }
        if (workload->is_wide && workload->fresh == NULL && below(workload, 20) == 0) {
            status = try_in_vain(workload, txn, db);
            workload->fresh = NULL;
        } else if (!catalog) {
            status = change(workload, txn, db, &catalog);
        } else if (workload->fresh != NULL) {
            uint8_t bytes[MODEL_KEY_BYTES_MAX];
            status = put(workload, txn, workload->fresh, workload->fresh_index,
                         model_random_key(&workload->random, bytes));
        }
    }
    workload->fresh = NULL;
    return status;
}

static bool transaction(struct random_workload *workload, tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    options.durability = (tern_durability)(1 + below(workload, 3));
    if (workload->is_wide) {
        options.isolation = (tern_isolation)below(workload, 4);
        options.pessimistic = below(workload, 6) == 0;
    }
    if (tern_txn_begin(db, &options, &txn, &error) != TERN_OK) {
        return fail(workload, &error);
    }
    tern_status status = change_some(workload, txn, db);
    if (status != TERN_OK || below(workload, 12) == 0) {
        bool has_failed = status != TERN_OK;
        if (has_failed) {
            workload->error = *tern_txn_error(txn);
        }
        model_history_rollback(&workload->history);
        tern_txn_free(txn);
        return !has_failed;
    }
    bool converts =
        workload->allows_convert && !workload->is_converting && below(workload, 40) == 0;
    if (converts && !convert(workload, db, false)) {
        model_history_rollback(&workload->history);
        tern_txn_free(txn);
        return false;
    }
    status = tern_txn_commit(txn);
    if (converts && status == TERN_CONFLICT) {
        /* Large values and ranges that the conversion has overtaken. */
        model_history_rollback(&workload->history);
        tern_txn_free(txn);
        return true;
    }
    workload->error = *tern_txn_error(txn);
    tern_txn_free(txn);
    model_history_commit(&workload->history);
    /* A transaction that changed nothing has nothing to make durable. */
    const struct model_state *states = workload->history.states;
    size_t last = workload->history.count - 1;
    bool has_changed = memcmp(&states[last], &states[last - 1], sizeof(states[0])) != 0;
    if (status == TERN_OK && has_changed && options.durability == TERN_DURABILITY_FULL) {
        workload->durable = workload->history.count - 1;
    }
    workload->is_uncertain = status != TERN_OK;
    return status == TERN_OK;
}

static bool care(struct random_workload *workload, tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    tern_status status = TERN_OK;
    if (workload->allows_convert && !workload->is_converting && below(workload, 8) == 0) {
        return convert(workload, db, true);
    }
    switch (below(workload, workload->allows_compact ? 9 : 8)) {
    case 0:
        status = tern_checkpoint(db, &error);
        break;
    case 1:
        status = tern_sync(db, &error);
        break;
    case 8:
        status = tern_compact(db, NULL, NULL, &error);
        break;
    default:
        if (workload->executor != NULL) {
            (void)step_executor_run(workload->executor, 1 + below(workload, 4));
            if (below(workload, 4) == 0) {
                (void)step_executor_pass_time(workload->executor);
            }
        }
        return true;
    }
    if (status != TERN_OK) {
        return fail(workload, &error);
    }
    workload->durable = workload->history.count - 1;
    return true;
}

/* TERN_TRACE prints what was done. */
static void trace(const struct random_workload *workload, const char *what, bool is_ok) {
    if (getenv("TERN_TRACE") != NULL) {
        (void)fprintf(stderr, "  %s: %s, states %zu, durable %zu%s%s\n", what,
                      is_ok ? "ok" : "failed", workload->history.count, workload->durable,
                      is_ok ? "" : ": ", is_ok ? "" : workload->error.message);
    }
}

static bool work_amid(void *context, const char *phase, uint64_t done, uint64_t total) {
    const struct amid *amid = context;
    struct random_workload *workload = amid->workload;
    (void)phase;
    (void)done;
    (void)total;
    for (uint64_t i = amid->works ? below(workload, 6) : 0; i > 0; i--) {
        if (random_workload_step(workload, amid->db)) {
            continue;
        }
        if (workload->error.status == TERN_NO_MEMORY) {
            /* The snapshot that is being copied may keep overlays in memory: everything is as
             * before. */
            if (workload->is_uncertain) {
                workload->history.count--;
                model_history_rollback(&workload->history);
                workload->is_uncertain = false;
            }
        } else {
            workload->has_failed_amid = true;
            return false;
        }
    }
    return below(workload, 30) != 0;
}

/* ---- snapshots held open ---- */

static bool check_key(struct random_workload *workload, struct held_snapshot *held,
                      tern_keyspace *keyspace, unsigned index, tern_slice key) {
    const struct model_entry *entry = model_find(&held->state, index, key);
    tern_value value = TERN_VALUE_INIT;
    if (entry != NULL && entry->is_short_lived) {
        return true; /* its time may have come for this snapshot too */
    }
    tern_status status = tern_txn_get_pinned(held->txn, keyspace, key, &value);
    if (status != TERN_OK && status != TERN_NOT_FOUND) {
        return true; /* the power may be off */
    }
    bool is_right = (status == TERN_OK) == (entry != NULL);
    if (is_right && entry != NULL) {
        is_right = value.bytes.size == entry->value.size &&
                   (entry->value.size == 0 ||
                    memcmp(value.bytes.data, entry->value.data, entry->value.size) == 0);
    }
    tern_value_release(&value);
    if (!is_right) {
        workload->saw_wrong_data = true;
        workload->error = (tern_error)TERN_ERROR_INIT;
        workload->error.status = TERN_CORRUPTION;
        (void)snprintf(workload->error.message, sizeof(workload->error.message),
                       "a snapshot shows a wrong value in %s", tern_keyspace_name(keyspace));
    }
    return is_right;
}

static bool check_snapshot(struct random_workload *workload, tern_db *db,
                           struct held_snapshot *held) {
    const struct model_state *now = &workload->history.next;
    for (unsigned i = 0; i < 6; i++) {
        char name[16];
        uint8_t bytes[MODEL_KEY_BYTES_MAX];
        tern_keyspace *keyspace;
        unsigned index = (unsigned)below(workload, MODEL_KEYSPACES);
        tern_slice key = model_random_key(&workload->random, bytes);
        /* Dropped, or dropped and created again since. */
        if (!held->state.keyspaces[index].exists || !now->keyspaces[index].exists ||
            held->state.keyspaces[index].birth != now->keyspaces[index].birth ||
            tern_keyspace_open(db, model_keyspace_name(index, name), &keyspace, NULL) != TERN_OK) {
            continue;
        }
        if (!check_key(workload, held, keyspace, index, key)) {
            return false;
        }
    }
    return true;
}

static bool use_snapshot(struct random_workload *workload, tern_db *db) {
    struct held_snapshot *held = &workload->snapshots[below(workload, WORKLOAD_SNAPSHOTS)];
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    options.read_only = true;
    if (held->txn == NULL) {
        if (tern_txn_begin(db, &options, &held->txn, &error) != TERN_OK) {
            held->txn = NULL;
            return fail(workload, &error);
        }
        held->state = workload->history.next;
        return true;
    }
    bool is_right = check_snapshot(workload, db, held);
    if (below(workload, 4) == 0) {
        tern_txn_free(held->txn);
        held->txn = NULL;
    }
    return is_right;
}

void random_workload_end_snapshots(struct random_workload *workload) {
    for (size_t i = 0; i < WORKLOAD_SNAPSHOTS; i++) {
        tern_txn_free(workload->snapshots[i].txn);
        workload->snapshots[i].txn = NULL;
    }
}

bool random_workload_step(struct random_workload *workload, tern_db *db) {
    if (workload->is_wide && below(workload, 6) == 0 && !use_snapshot(workload, db)) {
        trace(workload, "snapshot", false);
        return false;
    }
    if (workload->clock != NULL) {
        virtual_clock_advance_ns(workload->clock, below(workload, 3000000));
    }
    bool cares = below(workload, 5) == 0;
    bool is_ok = cares ? care(workload, db) : transaction(workload, db);
    trace(workload, cares ? "care" : "transaction", is_ok);
    return is_ok;
}

/* A commit at a later time, so that what is short-lived has expired. */
static bool let_expire(struct random_workload *workload, tern_db *db) {
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    if (workload->clock != NULL) {
        virtual_clock_advance_ns(workload->clock, (uint64_t)10 * MODEL_SHORT_TTL_MS * 1000000);
    }
    tern_status status = tern_keyspace_create(db, "clock", NULL, &keyspace, &error);
    if (status == TERN_EXISTS) {
        status = tern_keyspace_open(db, "clock", &keyspace, &error);
    }
    if (status == TERN_OK) {
        status = tern_put(keyspace, tern_slice_str("tick"), tern_slice_str("tock"), NULL, &error);
    }
    return status == TERN_OK ? true : fail(workload, &error);
}

bool random_workload_find_state(struct random_workload *workload, tern_db *db, char *out_difference,
                                size_t capacity) {
    if (!let_expire(workload, db)) {
        (void)snprintf(out_difference, capacity, "cannot write: %s", workload->error.message);
        return false;
    }
    char difference[1000] = "";
    for (size_t i = workload->history.count; i-- > workload->durable;) {
        char text[300] = "";
        if (model_matches(db, &workload->history.states[i], text, sizeof(text))) {
            model_history_restart(&workload->history, i);
            workload->durable = 0;
            workload->is_uncertain = false;
            return true;
        }
        size_t used = strlen(difference);
        (void)snprintf(difference + used, sizeof(difference) - used, " [%zu] %.100s", i, text);
    }
    for (size_t i = workload->durable; i-- > 0;) {
        char text[300] = "";
        if (model_matches(db, &workload->history.states[i], text, sizeof(text))) {
            (void)snprintf(out_difference, capacity,
                           "state %zu is found, but state %zu was acknowledged as durable", i,
                           workload->durable);
            return false;
        }
    }
    (void)snprintf(out_difference, capacity, "no state from %zu to %zu fits:%s", workload->durable,
                   workload->history.count - 1, difference);
    return false;
}
