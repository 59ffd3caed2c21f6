/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of engine_world.h: what an engine shows, by every way to read, beside the oracle. */
#include <stdio.h>
#include <stdlib.h>

#include "base/compare.h"
#include "support/check.h"
#include "support/engine_world.h"

static void fail(const struct engine_world *world, const char *what, tern_slice key) {
    fprintf(stderr, "engine and oracle differ at seq %llu: %s, key of %zu bytes: ",
            (unsigned long long)world->seq, what, key.size);
    for (size_t i = 0; i < key.size && i < 24; i++) {
        fprintf(stderr, "%02x", ((const uint8_t *)key.data)[i]);
    }
    fprintf(stderr, "\n");
    for (size_t i = 0; i < world->log_count; i++) {
        const struct world_commit *commit = &world->log[i];
        for (size_t j = 0; j < commit->count; j++) {
            const struct world_change *change = &commit->changes[j];
            bool concerns = slice_equal(change->key, key);
            if (change->kind == CHANGE_DELETE_RANGE) {
                concerns = slice_compare(change->key, key) <= 0 &&
                           (!change->range_has_end || slice_compare(key, change->value) < 0);
            }
            if (concerns) {
                fprintf(stderr,
                        "  seq %llu at %llu ms: kind %d, merge %u, %zu bytes, expires %llu\n",
                        (unsigned long long)commit->seq, (unsigned long long)commit->time_ms,
                        (int)change->kind, change->merge_kind, change->value.size,
                        (unsigned long long)change->expires_ms);
            }
        }
    }
    CHECK(false);
}

/* ---- comparing ---- */

/* The bytes of what was found; large ones are read into world->scratch.spare. */
static tern_slice value_bytes(struct engine_world *world, const struct record *record) {
    if (record->kind != RECORD_LARGE) {
        return record->value;
    }
    struct buffer *target = &world->scratch.spare;
    tern_error error = TERN_ERROR_INIT;
    target->size = 0;
    CHECK(buffer_reserve(target, (size_t)record->value_size + 1) == TERN_OK);
    while (target->size < record->value_size) {
        size_t got = 0;
        world_must(world->methods->large_read(world->engine, record->value, target->size,
                                              target->data + target->size,
                                              70000 < record->value_size - target->size
                                                  ? 70000
                                                  : (size_t)record->value_size - target->size,
                                              &got, &error),
                   &error, "large_read");
        CHECK(got > 0);
        target->size += got;
    }
    return buffer_slice(target);
}

static void compare_record(struct engine_world *world, tern_slice key, const struct record *record,
                           const struct oracle_entry *expected) {
    if (expected == NULL) {
        if (record->kind != RECORD_NONE) {
            fail(world, "found what is not there", key);
        }
        return;
    }
    if (record->kind != RECORD_PUT && record->kind != RECORD_LARGE) {
        fail(world, "did not find what is there", key);
    }
    if (!slice_equal(value_bytes(world, record),
                     tern_slice_of(expected->value, expected->value_size))) {
        fprintf(stderr, "found kind %d, %zu bytes, expires %llu; expected %zu bytes\n",
                (int)record->kind, record->value.size, (unsigned long long)record->expires_ms,
                expected->value_size);
        fail(world, "found another value", key);
    }
    if (record->expires_ms != expected->expires_ms) {
        fail(world, "found another expiry", key);
    }
}

void world_check_key(struct engine_world *world, struct engine_view *view,
                     const struct engine_moment *moment, const struct oracle *oracle,
                     tern_slice key) {
    struct engine_result result;
    tern_error error = TERN_ERROR_INIT;
    struct epoch_slot *slot = epoch_enter(world->epoch);
    world_must(world->methods->get(view, key, key_hasher_hash(&world->config.hasher, key), moment,
                                   &world->scratch, &result, &error),
               &error, "get");
    compare_record(world, key, &result.record, oracle_find(oracle, key, moment->time_ms));
    epoch_exit(slot);
}

struct many {
    struct engine_world *world;
    struct engine_get *gets;
    const struct oracle *oracle;
    uint64_t time_ms;
    size_t seen;
};

static void check_one_of_many(void *context, size_t index) {
    struct many *many = context;
    struct engine_get *get = &many->gets[index];
    CHECK(index == many->seen);
    many->seen++;
    CHECK(get->status == TERN_OK);
    compare_record(many->world, get->key, &get->result.record,
                   oracle_find(many->oracle, get->key, many->time_ms));
}

static void check_multi_get(struct engine_world *world, struct engine_view *view,
                            const struct engine_moment *moment, const struct oracle *oracle) {
    struct engine_get gets[100];
    struct many many = {world, gets, oracle, moment->time_ms, 0};
    tern_error error = TERN_ERROR_INIT;
    size_t count = 0;
    memset(gets, 0, sizeof(gets));
    for (size_t i = 0; i < oracle->count && count < 100; i += 1 + oracle->count / 100) {
        gets[count].key = oracle_key(&oracle->entries[i]);
        gets[count].key_hash = key_hasher_hash(&world->config.hasher, gets[count].key);
        count++;
    }
    struct epoch_slot *slot = epoch_enter(world->epoch);
    world_must(world->methods->multi_get(view, gets, count, moment, &world->scratch,
                                         check_one_of_many, &many, &error),
               &error, "multi_get");
    epoch_exit(slot);
    CHECK(many.seen == count);
}

static void check_cursor(struct engine_world *world, struct engine_view *view,
                         const struct engine_moment *moment, const struct oracle *oracle,
                         bool backward) {
    struct engine_cursor *cursor = NULL;
    tern_error error = TERN_ERROR_INIT;
    const struct engine_cursor_bounds bounds = {0};
    world_must(world->methods->cursor_open(view, moment, &bounds, false, &cursor, &error), &error,
               "cursor_open");
    tern_status status = world->methods->cursor_first(cursor, backward, &error);
    for (size_t n = 0; n < oracle->count; n++) {
        size_t i = backward ? oracle->count - 1 - n : n;
        const struct oracle_entry *expected = &oracle->entries[i];
        if (expected->expires_ms != 0 && expected->expires_ms <= moment->time_ms) {
            continue;
        }
        if (status != TERN_OK) {
            fprintf(stderr, "cursor: %s %s\n", tern_status_name(status), error.message);
            fail(world, "the cursor ended early", oracle_key(expected));
        }
        struct engine_entry entry;
        world->methods->cursor_entry(cursor, &entry);
        if (!slice_equal(entry.key, oracle_key(expected))) {
            fail(world, "the cursor stands on another key", oracle_key(expected));
        }
        compare_record(world, entry.key, &entry.record, expected);
        status = backward ? world->methods->cursor_previous(cursor, &error)
                          : world->methods->cursor_next(cursor, &error);
    }
    if (status != TERN_NOT_FOUND) {
        fail(world, "the cursor goes on behind the end", tern_slice_of(NULL, 0));
    }
    world->methods->cursor_close(cursor);
}

/* One entry of a batch. The cursor stands on the last, and knows more about it. */
static void compare_entry(struct engine_world *world, const struct engine_cursor *cursor,
                          const tern_entry *entries, size_t index, size_t count,
                          const struct oracle_entry *expected) {
    tern_slice key = entries[index].key;
    struct engine_entry last;
    struct record record = {
        .kind = RECORD_PUT, .value = entries[index].value, .expires_ms = expected->expires_ms};
    if (index + 1 == count) {
        world->methods->cursor_entry(cursor, &last);
        if (!slice_equal(last.key, key) || !slice_equal(last.record.value, record.value)) {
            fail(world, "the cursor does not stand on the last of the batch", key);
        }
        if (last.record.kind == RECORD_LARGE && count > 1) {
            fail(world, "a value stored apart does not come alone", key);
        }
        record = last.record;
    }
    compare_record(world, key, &record, expected);
}

/* Index of the first entry from `at` on that is not expired. */
static size_t next_living(const struct oracle *oracle, const struct engine_moment *moment,
                          size_t at) {
    while (at < oracle->count && oracle->entries[at].expires_ms != 0 &&
           oracle->entries[at].expires_ms <= moment->time_ms) {
        at++;
    }
    return at;
}

/* A batch has what the oracle has from `at` on; returns the index behind. */
static size_t compare_batch(struct engine_world *world, const struct engine_cursor *cursor,
                            const struct engine_moment *moment, const struct oracle *oracle,
                            size_t at, const tern_entry *entries, size_t count) {
    for (size_t i = 0; i < count; i++) {
        at = next_living(oracle, moment, at);
        if (at == oracle->count || !slice_equal(entries[i].key, oracle_key(&oracle->entries[at]))) {
            fail(world, "a batch has another key", entries[i].key);
        }
        compare_entry(world, cursor, entries, i, count, &oracle->entries[at]);
        at++;
    }
    return at;
}

/* From where the cursor stands, nowhere, to the end. */
static void compare_batches(struct engine_world *world, struct engine_cursor *cursor,
                            const struct engine_moment *moment, const struct oracle *oracle) {
    tern_error error = TERN_ERROR_INIT;
    tern_entry entries[37];
    size_t at = 0;
    for (;;) {
        size_t count = 0;
        tern_status status = world->methods->cursor_next_batch(cursor, entries, 37, &count, &error);
        if (status == TERN_NOT_FOUND || (status == TERN_OK && count == 0)) {
            break;
        }
        world_must(status, &error, "cursor_next_batch");
        at = compare_batch(world, cursor, moment, oracle, at, entries, count);
    }
    at = next_living(oracle, moment, at);
    if (at != oracle->count) {
        fail(world, "batches ended early", oracle_key(&oracle->entries[at]));
    }
}

/* Batches that begin at a key, or just behind one. */
static void compare_sought_batches(struct engine_world *world, struct engine_cursor *cursor,
                                   const struct engine_moment *moment,
                                   const struct oracle *oracle) {
    tern_error error = TERN_ERROR_INIT;
    tern_entry entries[9];
    for (size_t i = 0; i < oracle->count; i += 5) {
        uint8_t bytes[512];
        tern_slice key = oracle_key(&oracle->entries[i]);
        bool is_behind = i % 2 == 1 && key.size < sizeof(bytes);
        size_t count = 0;
        if (is_behind) {
            memcpy(bytes, key.data, key.size);
            bytes[key.size] = 0;
            key = tern_slice_of(bytes, key.size + 1);
        }
        bool equal = false;
        size_t at = next_living(oracle, moment, oracle_lower(oracle, key, &equal));
        tern_status status =
            world->methods->cursor_seek_batch(cursor, key, entries, 1 + i % 9, &count, &error);
        if (status == TERN_NOT_FOUND) {
            if (at != oracle->count) {
                fail(world, "a batch found nothing", key);
            }
            continue;
        }
        world_must(status, &error, "cursor_seek_batch");
        (void)compare_batch(world, cursor, moment, oracle, at, entries, count);
    }
}

static void check_batches(struct engine_world *world, struct engine_view *view,
                          const struct engine_moment *moment, const struct oracle *oracle) {
    struct engine_cursor *cursor = NULL;
    tern_error error = TERN_ERROR_INIT;
    const struct engine_cursor_bounds bounds = {0};
    world_must(world->methods->cursor_open(view, moment, &bounds, false, &cursor, &error), &error,
               "cursor_open");
    compare_batches(world, cursor, moment, oracle);
    compare_sought_batches(world, cursor, moment, oracle);
    world->methods->cursor_close(cursor);
}

/* Every entry once, in any order. */
static void compare_unordered(struct engine_world *world, struct engine_cursor *cursor,
                              const struct engine_moment *moment, const struct oracle *oracle) {
    tern_error error = TERN_ERROR_INIT;
    tern_entry entries[23];
    bool *seen = check_allocate(oracle->count + 1);
    size_t expected = 0;
    size_t found = 0;
    for (size_t i = 0; i < oracle->count; i++) {
        seen[i] = false;
        expected += oracle_find(oracle, oracle_key(&oracle->entries[i]), moment->time_ms) != NULL;
    }
    for (;;) {
        size_t count = 0;
        tern_status status = world->methods->cursor_next_batch(cursor, entries, 23, &count, &error);
        if (status == TERN_NOT_FOUND) {
            break;
        }
        world_must(status, &error, "cursor_next_batch");
        for (size_t j = 0; j < count; j++) {
            bool equal = false;
            size_t at = oracle_lower(oracle, entries[j].key, &equal);
            if (!equal || seen[at]) {
                fail(world, equal ? "the cursor sees a key twice" : "the cursor invents a key",
                     entries[j].key);
            }
            seen[at] = true;
            compare_entry(world, cursor, entries, j, count, &oracle->entries[at]);
            found++;
        }
    }
    for (size_t i = 0; i < oracle->count && found != expected; i++) {
        if (!seen[i] &&
            oracle_find(oracle, oracle_key(&oracle->entries[i]), moment->time_ms) != NULL) {
            fail(world, "the cursor misses a key", oracle_key(&oracle->entries[i]));
        }
    }
    free(seen);
}

static void check_unordered(struct engine_world *world, struct engine_view *view,
                            const struct engine_moment *moment, const struct oracle *oracle) {
    struct engine_cursor *cursor = NULL;
    tern_error error = TERN_ERROR_INIT;
    const struct engine_cursor_bounds bounds = {0};
    world_must(world->methods->cursor_open(view, moment, &bounds, false, &cursor, &error), &error,
               "cursor_open");
    compare_unordered(world, cursor, moment, oracle);
    world->methods->cursor_close(cursor);
}

/* A cursor opened at one moment of the view, and used, sees at another one what is there. */
static void check_renewed(struct engine_world *world, struct engine_view *view,
                          const struct engine_moment *from, const struct engine_moment *moment,
                          const struct oracle *oracle) {
    struct engine_cursor *cursor = NULL;
    tern_error error = TERN_ERROR_INIT;
    const struct engine_cursor_bounds bounds = {0};
    tern_entry entries[11];
    world_must(world->methods->cursor_open(view, from, &bounds, false, &cursor, &error), &error,
               "cursor_open");
    for (unsigned round = 0; round < 3; round++) {
        size_t count = 0;
        tern_status status = TERN_OK;
        for (unsigned i = 0; i < round && status == TERN_OK; i++) {
            status = world->methods->cursor_next_batch(cursor, entries, 11, &count, &error);
        }
        if (status != TERN_NOT_FOUND) {
            world_must(status, &error, "cursor_next_batch");
        }
        world->methods->cursor_renew(cursor, moment);
        if (world->methods->is_ordered) {
            compare_batches(world, cursor, moment, oracle);
        } else {
            compare_unordered(world, cursor, moment, oracle);
        }
        world->methods->cursor_renew(cursor, from);
    }
    world->methods->cursor_close(cursor);
}

void world_check_all(struct engine_world *world, struct engine_view *view,
                     const struct engine_moment *moment, const struct oracle *oracle) {
    for (size_t i = 0; i < oracle->count; i++) {
        world_check_key(world, view, moment, oracle, oracle_key(&oracle->entries[i]));
    }
    check_multi_get(world, view, moment, oracle);
    if (world->methods->is_ordered) {
        check_cursor(world, view, moment, oracle, false);
        check_cursor(world, view, moment, oracle, true);
        check_batches(world, view, moment, oracle);
    } else {
        check_unordered(world, view, moment, oracle);
    }
}

void world_check_now(struct engine_world *world) {
    const struct engine_moment moment = world_moment(world);
    world_check_all(world, world->view, &moment, &world->now);
}

/* From a snapshot to all the others that read the same view, and to now. */
static void world_check_renewals(struct engine_world *world, const struct world_snapshot *from) {
    const struct engine_moment now = world_moment(world);
    for (size_t i = 0; i < world->snapshot_count; i++) {
        const struct world_snapshot *to = &world->snapshots[i];
        if (to != from && to->view == from->view) {
            check_renewed(world, from->view, &from->moment, &to->moment, &to->oracle);
        }
    }
    if (from->view == world->view) {
        check_renewed(world, from->view, &from->moment, &now, &world->now);
    }
}

void world_check_snapshots(struct engine_world *world) {
    for (size_t i = 0; i < world->snapshot_count; i++) {
        struct world_snapshot *snapshot = &world->snapshots[i];
        world_check_all(world, snapshot->view, &snapshot->moment, &snapshot->oracle);
        world_check_renewals(world, snapshot);
    }
}

static bool print_finding(void *context, const tern_finding *finding) {
    (void)context;
    fprintf(stderr, "verify: %s at %lld: %s: %s\n", finding->file, (long long)finding->offset,
            finding->invariant, finding->message);
    return true;
}

void world_verify(struct engine_world *world) {
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report report = {0};
    world_must(
        world->methods->verify(world->view, print_finding, NULL, NULL, NULL, &report, &error),
        &error, "verify");
    CHECK(report.findings == 0);
}
