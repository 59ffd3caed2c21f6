/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_body.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/compare.h"
#include "support/cmocka_test.h"

#define STEPS           60
#define AFTERMATH       8
#define STREAM_CHUNKS   12
#define STREAM_BYTES    9000u
#define CLONE_DIRECTORY "/clone"

static void report(const struct fault_body *body, const char *what) {
    print_error("seed %llu, %s: %s\n", (unsigned long long)body->seed, body->context, what);
}

static void refuse(const struct fault_body *body, const char *call, tern_status status,
                   const tern_error *error) {
    char text[900];
    (void)snprintf(text, sizeof(text), "%s: %s (%s) %s:%d", call, tern_status_name(status),
                   error->message, error->source_file != NULL ? error->source_file : "?",
                   error->source_line);
    report(body, text);
    fail();
}

/* A failed call has to be one of those expected, and to say what happened. */
static void take_failure(struct fault_body *body, const char *call, tern_status status,
                         const tern_error *error) {
    body->failed_calls++;
    bool is_expected = body->is_expected != NULL && body->is_expected(status);
    if (!is_expected || error->status != status || error->message[0] == '\0') {
        refuse(body, call, status, error);
    }
}

void fault_body_init(struct fault_body *body, uint64_t seed) {
    *body = (struct fault_body){.seed = seed};
    step_machine_init(&body->machine, seed);
    body->machine.options.direct_log_syncs = 1; /* whatever the log can do is done */
    random_workload_init(&body->work, seed);
    body->work.executor = body->machine.executor;
    body->work.clock = &body->machine.clock;
    body->work.allows_compact = true;
    body->work.allows_convert = true;
}

void fault_body_release(struct fault_body *body) {
    random_workload_release(&body->work);
    step_machine_release(&body->machine);
}

/* The last commit was answered with a failure other than TERN_UNKNOWN: it did not happen. */
static void undo_commit(struct random_workload *work) {
    work->history.count--;
    model_history_rollback(&work->history);
    work->is_uncertain = false;
}

/* False once nothing can be written any more. */
bool fault_body_step(struct fault_body *body, tern_db *db, bool must_succeed) {
    struct random_workload *work = &body->work;
    if (random_workload_step(work, db)) {
        return true;
    }
    tern_status status = work->error.status;
    if (must_succeed && !(body->may_poison && body->is_expected(status))) {
        refuse(body, "a step after the fault", status, &work->error);
    }
    take_failure(body, "a step", status, &work->error);
    if (work->is_uncertain && status == TERN_UNKNOWN) {
        body->has_unknown = true;
        return false;
    }
    if (work->is_uncertain) {
        undo_commit(work);
    }
    return status != TERN_POISONED;
}

static tern_status stream_chunks(tern_value_writer *writer) {
    uint8_t chunk[STREAM_BYTES];
    tern_status status = TERN_OK;
    for (unsigned i = 0; status == TERN_OK && i < STREAM_CHUNKS; i++) {
        memset(chunk, (int)('a' + i), sizeof(chunk));
        status = tern_value_writer_append(writer, tern_slice_of(chunk, sizeof(chunk)));
    }
    return status;
}

static tern_status stream_in(struct fault_body *body, tern_txn *txn, tern_keyspace *keyspace) {
    tern_value_writer *writer;
    tern_status status = tern_txn_put_begin(txn, keyspace, tern_slice_str("stream"), NULL, &writer);
    if (status != TERN_OK) {
        return status;
    }
    status = stream_chunks(writer);
    if (status != TERN_OK) {
        tern_value_writer_abandon(writer);
        return status;
    }
    status = tern_value_writer_finish(writer);
    if (status == TERN_OK) {
        status = tern_txn_commit(txn);
        body->has_stream = status == TERN_OK;
        body->may_have_stream = status == TERN_UNKNOWN;
        body->has_unknown = body->has_unknown || status == TERN_UNKNOWN;
    }
    return status;
}

static void stream_value(struct fault_body *body, tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    tern_txn *txn;
    tern_status status = tern_keyspace_create(db, "streams", NULL, &keyspace, &error);
    if (status == TERN_OK) {
        status = tern_txn_begin(db, NULL, &txn, &error);
    }
    if (status != TERN_OK) {
        body->has_unknown = body->has_unknown || status == TERN_UNKNOWN;
        take_failure(body, "before streaming", status, &error);
        return;
    }
    status = stream_in(body, txn, keyspace);
    if (status != TERN_OK) {
        take_failure(body, "streaming", status, tern_txn_error(txn));
    }
    tern_txn_free(txn);
}

static void check_stream(struct fault_body *body, tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    tern_value value = TERN_VALUE_INIT;
    tern_status status = tern_keyspace_open(db, "streams", &keyspace, &error);
    if (status == TERN_OK) {
        status = tern_get_pinned(keyspace, tern_slice_str("stream"), &value, &error);
    }
    if (status != TERN_OK) {
        if (status != TERN_NOT_FOUND || body->has_stream) {
            refuse(body, "the streamed value", status, &error);
        }
        return;
    }
    assert_true(body->has_stream || body->may_have_stream);
    assert_int_equal(value.bytes.size, STREAM_CHUNKS * STREAM_BYTES);
    const uint8_t *bytes = value.bytes.data;
    for (size_t i = 0; i < value.bytes.size; i++) {
        assert_int_equal(bytes[i], 'a' + i / STREAM_BYTES);
    }
    tern_value_release(&value);
}

/* Position of the next entry that a scan must show; short-lived ones may have gone. */
static const struct model_entry *expected_entry(const struct model_keyspace *keyspace,
                                                size_t *position, tern_slice key) {
    while (*position < keyspace->count && keyspace->entries[*position].is_short_lived &&
           !slice_equal(keyspace->entries[*position].key, key)) {
        (*position)++;
    }
    return *position < keyspace->count ? &keyspace->entries[(*position)++] : NULL;
}

static void judge_entry(struct fault_body *body, const struct model_entry *entry, tern_slice key) {
    if (entry == NULL || !slice_equal(entry->key, key)) {
        report(body, "a scan shows a wrong key");
        fail();
    }
}

/* Without order: how many came tells of missing ones; none may come that is not expected. */
static const struct model_entry *any_entry(const struct model_keyspace *keyspace, tern_slice key) {
    const struct model_state state = {.keyspaces = {*keyspace}};
    return model_find(&state, 0, key);
}

static size_t lasting_entries(const struct model_keyspace *keyspace) {
    size_t count = 0;
    for (size_t i = 0; i < keyspace->count; i++) {
        count += !keyspace->entries[i].is_short_lived;
    }
    return count;
}

static bool has_order(const tern_keyspace *keyspace) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_get_options(keyspace, &options);
    return options.engine != TERN_ENGINE_HASH;
}

/* Reads may fail, but never lie. */
static void scan_keyspace(struct fault_body *body, tern_txn *txn, tern_keyspace *keyspace,
                          const struct model_keyspace *expected) {
    tern_cursor *cursor;
    size_t position = 0;
    size_t lasting = 0;
    bool is_ordered = has_order(keyspace);
    tern_status status = tern_cursor_open(txn, keyspace, NULL, &cursor);
    if (status != TERN_OK) {
        take_failure(body, "opening a cursor", status, tern_txn_error(txn));
        return;
    }
    while ((status = tern_cursor_next(cursor)) == TERN_OK) {
        tern_slice key = tern_cursor_key(cursor);
        const struct model_entry *entry =
            is_ordered ? expected_entry(expected, &position, key) : any_entry(expected, key);
        tern_slice value;
        judge_entry(body, entry, key);
        lasting += !entry->is_short_lived;
        status = tern_cursor_value(cursor, &value);
        if (status != TERN_OK) {
            break;
        }
        assert_true(slice_equal(value, entry->value));
    }
    if (status != TERN_NOT_FOUND) {
        take_failure(body, "a scan", status, tern_cursor_error(cursor));
    } else if (is_ordered ? expected_entry(expected, &position, tern_slice_of(NULL, 0)) != NULL
                          : lasting != lasting_entries(expected)) {
        report(body, "a scan ends early");
        fail();
    }
    tern_cursor_close(cursor);
}

void fault_body_scan(struct fault_body *body, tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    const struct model_state *state = &body->work.history.states[body->work.history.count - 1];
    if (body->has_unknown) {
        return;
    }
    tern_status status = tern_txn_begin(db, NULL, &txn, &error);
    if (status != TERN_OK) {
        take_failure(body, "beginning to read", status, &error);
        return;
    }
    for (unsigned i = 0; i < MODEL_KEYSPACES; i++) {
        char name[16];
        tern_keyspace *keyspace;
        status = tern_keyspace_open(db, model_keyspace_name(i, name), &keyspace, &error);
        assert_int_equal(status, state->keyspaces[i].exists ? TERN_OK : TERN_NOT_FOUND);
        if (status == TERN_OK) {
            scan_keyspace(body, txn, keyspace, &state->keyspaces[i]);
        }
    }
    tern_txn_free(txn);
}

/* A copy that was acknowledged opens and holds what the source holds. */
static void clone(struct fault_body *body, tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    tern_status status = tern_clone(db, CLONE_DIRECTORY, NULL, NULL, &error);
    if (status != TERN_OK) {
        take_failure(body, "a clone", status, &error);
        return;
    }
    tern_db *copy;
    tern_db_options options = step_machine_options(&body->machine);
    options.create_if_missing = false;
    status = tern_open(CLONE_DIRECTORY, &options, &copy, &error);
    if (status != TERN_OK) {
        take_failure(body, "opening the clone", status, &error);
        return;
    }
    fault_body_scan(body, copy);
    status = tern_close(copy, &error);
    if (status != TERN_OK) {
        take_failure(body, "closing the clone", status, &error);
    }
}

static void heal(const struct fault_body *body) {
    if (body->heal != NULL) {
        body->heal(body->heal_context);
    }
}

void fault_body_live(struct fault_body *body) {
    tern_db *db = NULL;
    tern_error error = TERN_ERROR_INIT;
    tern_status status = step_machine_open(&body->machine, &db, &error);
    if (status != TERN_OK) {
        take_failure(body, "open", status, &error);
        heal(body);
        return;
    }
    bool goes_on = true;
    for (unsigned i = 0; goes_on && i < STEPS; i++) {
        goes_on = fault_body_step(body, db, false);
        if (i == STEPS / 3) {
            fault_body_scan(body, db);
        }
        if (goes_on && i == STEPS / 2) {
            stream_value(body, db);
            goes_on = !body->has_unknown;
        }
    }
    fault_body_scan(body, db);
    clone(body, db);
    heal(body);
    for (unsigned i = 0; goes_on && i < AFTERMATH; i++) {
        goes_on = fault_body_step(body, db, true);
    }
    fault_body_scan(body, db);
    status = tern_close(db, &error);
    if (status != TERN_OK && !(body->may_poison && body->is_expected(status))) {
        refuse(body, "close", status, &error);
    }
}

static bool count_finding(void *context, const tern_finding *finding) {
    char text[700];
    (void)snprintf(text, sizeof(text), "verify: %s at %lld: %s: %s", finding->file,
                   (long long)finding->offset, finding->invariant, finding->message);
    report(context, text);
    return true;
}

void fault_body_check(struct fault_body *body) {
    char text[600] = "";
    tern_db *db = NULL;
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report found;
    struct random_workload *work = &body->work;
    /* No power was lost: all that was acknowledged, in whatever durability, is there. */
    work->durable = work->history.count - (work->is_uncertain ? 2 : 1);
    tern_status status = step_machine_open(&body->machine, &db, &error);
    if (status != TERN_OK) {
        refuse(body, "reopening", status, &error);
    }
    check_stream(body, db);
    if (!random_workload_find_state(work, db, text, sizeof(text))) {
        report(body, text);
        fail();
    }
    status = tern_verify(db, count_finding, body, NULL, NULL, &found, &error);
    if (status != TERN_OK) {
        refuse(body, "verify", status, &error);
    }
    assert_int_equal(found.findings, 0);
    assert_ok(tern_close(db, &error), error);
}

/* ---- which call ---- */

static uint64_t now_ns(void) {
    const tern_clock *clock = tern_clock_default();
    return clock->monotonic_ns(clock->context);
}

void fault_sample_begin(struct fault_sample *sample, uint64_t seed, uint64_t total,
                        double seconds) {
    const char *wanted = getenv("TERN_FAULTS");
    bool is_all = wanted != NULL && strcmp(wanted, "all") == 0;
    *sample = (struct fault_sample){.total = total};
    uint64_t only = wanted != NULL ? strtoull(wanted, NULL, 10) : 0;
    if (only != 0) {
        *sample = (struct fault_sample){.total = 1, .next = only - 1, .deadline_ns = UINT64_MAX};
        return;
    }
    seeded_random_init(&sample->random, seed);
    sample->deadline_ns = is_all ? UINT64_MAX : now_ns() + (uint64_t)(seconds * 1e9);
    /* A step that shares no factor with the total visits all calls, and soon every region. */
    sample->stride = is_all ? 1 : total * 618 / 1000 + 1;
    for (;; sample->stride++) {
        uint64_t a = total;
        uint64_t b = sample->stride;
        while (b != 0) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) {
            break;
        }
    }
    sample->next = is_all ? 0 : seeded_random_below(&sample->random, total);
}

bool fault_sample_next(struct fault_sample *sample, uint64_t *out_call) {
    if (sample->visited == sample->total || now_ns() > sample->deadline_ns) {
        return false;
    }
    sample->visited++;
    *out_call = sample->next + 1;
    sample->next = (sample->next + sample->stride) % sample->total;
    return true;
}
