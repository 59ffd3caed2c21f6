/* SPDX-License-Identifier: Apache-2.0 */
#include "txn/multi_read.h"

#include "base/error.h"

/* Requests given to the engine at once; enough to hide memory latency, little enough for a stack.
 */
#define BATCH 64
/* Moments tried before a snapshot is taken, which cannot be overtaken. */
#define TRIES 4

struct batch {
    struct engine *engine;
    struct engine_get gets[BATCH];
    tern_get_request *requests[BATCH];
    bool is_done[BATCH];
    size_t count;
    tern_error *error;
};

static void answer(struct batch *batch, size_t index) {
    struct engine_get *get = &batch->gets[index];
    tern_get_request *request = batch->requests[index];
    const struct record *record = &get->result.record;
    batch->is_done[index] = true;
    if (get->status != TERN_OK) {
        request->status = get->status;
    } else if (record->kind == RECORD_NONE) {
        request->status = TERN_NOT_FOUND;
        request->value_size = 0;
    } else {
        /* Too small a buffer is the request's own matter, without detail. */
        request->status =
            value_copy(batch->engine, record, request->buffer, request->capacity,
                       &request->value_size, record->kind == RECORD_LARGE ? batch->error : NULL);
    }
}

/* Scratch results must be taken at once, the others may. Large ones wait: they take long. */
static void on_result(void *context, size_t index) {
    struct batch *batch = context;
    const struct engine_get *get = &batch->gets[index];
    if (get->status == TERN_OK &&
        (get->result.record.kind != RECORD_LARGE || get->result.source == ENGINE_SOURCE_SCRATCH)) {
        answer(batch, index);
    }
}

static tern_status read_batch(struct engine_view *part, struct batch *batch,
                              const struct engine_moment *moment, struct engine_scratch *scratch,
                              tern_error *error) {
    batch->engine = part->engine;
    batch->error = error;
    memset(batch->is_done, 0, sizeof(batch->is_done));
    tern_status status = part->methods->multi_get(part, batch->gets, batch->count, moment, scratch,
                                                  on_result, batch, error);
    for (size_t i = 0; status == TERN_OK && i < batch->count; i++) {
        if (batch->gets[i].status == TERN_CANCELLED) {
            return TERN_CANCELLED;
        }
        if (!batch->is_done[i]) {
            answer(batch, i);
        }
    }
    return status;
}

/* Where strings are hashed side by side, those of a batch are hashed together. */
static void hash_ahead(const tern_keyspace *keyspace, const tern_get_request *requests,
                       size_t count, uint64_t *out_hashes) {
    tern_slice keys[BATCH];
    for (size_t i = 0; i < count; i++) {
        keys[i] =
            key_is_possible(keyspace, requests[i].key) ? requests[i].key : tern_slice_of(NULL, 0);
    }
    key_hasher_hash_many(&keyspace->hasher, keys, count, out_hashes);
}

/* The next requests that have to be read; advances *next. */
static void fill_batch(struct batch *batch, const tern_keyspace *keyspace,
                       const struct engine_view *part, tern_get_request *requests, size_t count,
                       size_t *next, multi_read_filter is_answered, void *context) {
    uint64_t hashes[BATCH];
    size_t first = *next;
    bool is_hashed = keyspace->hasher.function == TERN_HASH_FUNCTION_FNV1A;
    bool rehashes = part != NULL && part->engine->rehashes;
    if (is_hashed) {
        hash_ahead(keyspace, requests + first, count - first < BATCH ? count - first : BATCH,
                   hashes);
    }
    batch->count = 0;
    while (*next < count && *next - first < BATCH) {
        size_t at = *next - first;
        tern_get_request *request = &requests[(*next)++];
        if (!key_is_possible(keyspace, request->key)) {
            request->status = TERN_NOT_FOUND;
            request->value_size = 0;
            continue;
        }
        uint64_t key_hash = is_hashed ? hashes[at] : keyspace_key_hash(keyspace, request->key);
        if (is_answered != NULL && is_answered(context, request, key_hash)) {
            continue;
        }
        struct engine_get *get = &batch->gets[batch->count];
        get->key = request->key;
        get->key_hash = rehashes ? key_hasher_hash(&part->engine->hasher, request->key) : key_hash;
        get->status = TERN_OK;
        get->result.record.kind = RECORD_NONE;
        batch->requests[batch->count++] = request;
    }
}

static void answer_missing(struct batch *batch) {
    for (size_t i = 0; i < batch->count; i++) {
        batch->requests[i]->status = TERN_NOT_FOUND;
        batch->requests[i]->value_size = 0;
    }
}

tern_status multi_read(struct txn_manager *manager, const struct snapshot *snapshot,
                       const tern_keyspace *keyspace, tern_get_request *requests, size_t count,
                       multi_read_filter is_answered, void *context, tern_error *error) {
    struct snapshot own = {0};
    struct engine_scratch scratch;
    struct batch batch;
    tern_status status = TERN_OK;
    struct engine_moment moment;
    if (snapshot != NULL && snapshot_is_ended(snapshot)) {
        return snapshot_say_too_old(&snapshot->moment, error);
    }
    engine_scratch_init(&scratch, manager->allocator);
    struct epoch_slot *epoch = epoch_enter(manager->epoch);
    for (int tries = 0;; tries++) {
        const struct database_view *view = NULL;
        if (snapshot == NULL && tries == TRIES) {
            status = snapshot_take(manager, &own, error);
            if (status != TERN_OK) {
                break;
            }
            snapshot = &own;
        }
        if (snapshot != NULL) {
            view = snapshot->view;
            moment = snapshot->moment;
        } else {
            view = txn_manager_now(manager, &moment);
        }
        struct engine_view *part = view_part(view, keyspace);
        status = part == NULL ? keyspace_check_absence(keyspace, error) : TERN_OK;
        for (size_t next = 0; status == TERN_OK && next < count;) {
            fill_batch(&batch, keyspace, part, requests, count, &next, is_answered, context);
            if (part == NULL) {
                answer_missing(&batch);
            } else if (batch.count > 0) {
                status = read_batch(part, &batch, &moment, &scratch, error);
            }
        }
        if (status != TERN_CANCELLED) {
            break;
        }
        if (snapshot != NULL) {
            status = snapshot_say_too_old(&moment, error);
            break;
        }
        atomic_fetch_add_explicit(&manager->reads_retried, 1, memory_order_relaxed);
    }
    epoch_exit(epoch);
    snapshot_drop(manager, &own);
    engine_scratch_release(&scratch);
    return status;
}
