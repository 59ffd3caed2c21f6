/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the leader does with a group of requests, in queue order in the applier role:
 *
 *   validate -> reserve memory -> append to the log -> apply to overlays   (each request)
 *   sync when one of them asks -> publish visible_seq -> tell everybody    (the group)
 *
 * Invariants:
 *  G1 whatever can fail for a reason other than the disk fails before the log is touched.
 *  G2 what was appended is applied, in log order; nothing is visible before the group is as durable
 *     as its most careful member asked for.
 *  G3 after a failed sync or append nothing is published any more: the outcome of the group is
 *     UNKNOWN, everything later is refused.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "txn/change_capture.h"
#include "txn/commit_codec.h"
#include "txn/commit_queue.h"

#define VALUE_FETCH_BYTES ((size_t)256)

static void undo_catalog(struct txn_manager *manager, struct commit_request *request) {
    if (request->catalog_count > 0) {
        manager->callbacks.catalog_undo(manager->callbacks.context, request->catalog,
                                        request->catalog_count);
    }
}

static enum log_record_kind kind_of(const struct commit_request *request) {
    return (request->flags & COMMIT_COPY) != 0 ? LOG_RECORD_COPY : LOG_RECORD_COMMIT;
}

static tern_status append_record(struct txn_manager *manager, enum log_record_kind kind,
                                 const void *bytes, size_t size, tern_error *error) {
    uint8_t *payload;
    log_position end;
    tern_status status = log_begin(manager->log, kind, size, &payload, error);
    if (status != TERN_OK) {
        return status;
    }
    memcpy(payload, bytes, size);
    return log_end(manager->log, size, &end, error);
}

/* Writes an encoding into records of the log, all but the last as large as they may be. */
struct part_writer {
    struct commit_sink sink;
    struct log *log;
    seq_no seq;
    uint64_t bytes_left; /* of the encoding */
    size_t piece_max;
    uint8_t *position; /* in the record begun last */
    size_t piece, room;
    tern_error *error;
};

static tern_status begin_part(struct part_writer *writer) {
    uint8_t *payload;
    size_t piece =
        writer->bytes_left < writer->piece_max ? (size_t)writer->bytes_left : writer->piece_max;
    tern_status status = log_begin(writer->log, LOG_RECORD_PART, piece + COMMIT_PART_HEADER_BYTES,
                                   &payload, writer->error);
    if (status == TERN_OK) {
        put_u64(payload, writer->seq);
        writer->position = payload + COMMIT_PART_HEADER_BYTES;
        writer->piece = writer->room = piece;
    }
    return status;
}

static tern_status put_in_parts(struct commit_sink *sink, const void *bytes, size_t size) {
    struct part_writer *writer = (struct part_writer *)sink;
    const uint8_t *from = bytes;
    while (size > 0) {
        tern_status status = writer->room == 0 ? begin_part(writer) : TERN_OK;
        if (status != TERN_OK) {
            return status;
        }
        size_t count = size < writer->room ? size : writer->room;
        memcpy(writer->position, from, count);
        writer->position += count;
        writer->room -= count;
        writer->bytes_left -= count;
        from += count;
        size -= count;
        if (writer->room == 0) {
            log_position end;
            status =
                log_end(writer->log, writer->piece + COMMIT_PART_HEADER_BYTES, &end, writer->error);
            if (status != TERN_OK) {
                return status;
            }
        }
    }
    return TERN_OK;
}

/* A transaction larger than a record: its encoding in parts, straight into the log, then an end
 * that counts them. */
static tern_status append_in_parts(struct txn_manager *manager, struct commit_request *request,
                                   seq_no seq, uint64_t time_ms) {
    uint64_t bytes = commit_encoded_bytes(request, seq, time_ms);
    struct part_writer writer = {.sink = {put_in_parts},
                                 .log = manager->log,
                                 .seq = seq,
                                 .bytes_left = bytes,
                                 .piece_max =
                                     log_payload_bytes_max(manager->log) - COMMIT_PART_HEADER_BYTES,
                                 .error = &request->error};
    uint32_t part_count = (uint32_t)((bytes + writer.piece_max - 1) / writer.piece_max);
    tern_status status = log_reserve(
        manager->log, bytes + COMMIT_END_BYTES + (size_t)part_count * COMMIT_PART_HEADER_BYTES,
        part_count + 1, &request->error);
    if (status == TERN_OK) {
        status = commit_encode_to(request, seq, time_ms, &writer.sink);
    }
    if (status == TERN_OK) {
        ASSERT(writer.bytes_left == 0);
        uint8_t last[COMMIT_END_BYTES];
        commit_encode_end(seq, part_count, bytes, last);
        status = append_record(manager, kind_of(request), last, sizeof(last), &request->error);
    }
    return status;
}

/* What was found in the view that is still current, and in the engine that the keyspace still has.
 */
static const struct change_place *usable_place(const struct txn_manager *manager,
                                               const struct commit_request *request) {
    const struct change_place *place = &request->place;
    bool is_usable =
        place->engine != NULL && place->engine == request->parts[0].keyspace->engine &&
        place->generation == atomic_load_explicit(&manager->view, memory_order_relaxed)->generation;
    return is_usable ? place : NULL;
}

/* The memory that a single change will touch comes while its record is encoded, */
static void prefetch(const struct txn_manager *manager, const struct commit_request *request) {
    if (request->change_count == 1) {
        const struct commit_part *part = &request->parts[0];
        if (part->keyspace->methods->prefetch != NULL) {
            part->keyspace->methods->prefetch(part->keyspace->engine, &part->changes[0],
                                              usable_place(manager, request));
        }
    }
}

/* and what it leads to while the checksum is computed. */
static void prefetch_next(const struct commit_request *request) {
    if (request->change_count == 1) {
        const struct commit_part *part = &request->parts[0];
        if (part->keyspace->methods->prefetch_next != NULL) {
            part->keyspace->methods->prefetch_next(part->keyspace->engine, &part->changes[0]);
        }
    }
}

static tern_status append(struct txn_manager *manager, struct commit_request *request, seq_no seq,
                          uint64_t time_ms) {
    struct log *log = manager->log;
    size_t bound = commit_encoded_bound(request);
    if (bound > log_payload_bytes_max(log)) {
        return append_in_parts(manager, request, seq, time_ms);
    }
    uint8_t *payload;
    log_position end;
    tern_status status = log_begin(log, kind_of(request), bound, &payload, &request->error);
    if (status != TERN_OK) {
        return status;
    }
    size_t size = commit_encode(request, seq, time_ms, payload);
    prefetch_next(request);
    ASSERT_DEBUG(size <= bound);
    return log_end(log, size, &end, &request->error);
}

static tern_status refuse_aside(const struct keyspace_failure *failure, tern_error *error) {
    error_copy(error, &failure->error);
    return failure->error.status;
}

static tern_status reserve(struct commit_request *request) {
    for (size_t i = 0; i < request->part_count; i++) {
        const struct commit_part *part = &request->parts[i];
        const struct keyspace_failure *aside =
            atomic_load_explicit(&part->keyspace->aside, memory_order_acquire);
        if (__builtin_expect(aside != NULL, 0)) {
            return refuse_aside(aside, &request->error);
        }
        size_t bytes = request->bytes;
        if (request->part_count > 1) {
            bytes = 0;
            for (size_t j = 0; j < part->count; j++) {
                bytes += part->changes[j].key.size + part->changes[j].record.value.size;
            }
        }
        tern_status status = part->keyspace->methods->reserve(part->keyspace->engine, part->count,
                                                              bytes, &request->error);
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

/* Times that count from the commit. */
static void stamp(const struct commit_request *request, uint64_t time_ms) {
    for (size_t i = 0; i < request->part_count; i++) {
        const struct commit_part *part = &request->parts[i];
        for (size_t j = 0; j < part->count; j++) {
            struct engine_change *change = &part->changes[j];
            if (change->record.kind == RECORD_MERGE) {
                change->record.expires_ms = time_ms;
            } else if (change->ttl_ms != 0) {
                bool is_endless = change->ttl_ms > UINT64_MAX - time_ms;
                change->record.expires_ms = is_endless ? UINT64_MAX : time_ms + change->ttl_ms;
            }
        }
    }
}

/* The engine hashes keys in its own way; the conflict table has had the keyspace's hashes. */
static void rehash(const struct commit_part *part) {
    const struct key_hasher *hasher = &part->keyspace->engine->hasher;
    for (size_t i = 0; i < part->count; i++) {
        if (part->changes[i].record.kind != CHANGE_DELETE_RANGE) {
            part->changes[i].key_hash = key_hasher_hash(hasher, part->changes[i].key);
        }
    }
}

static void apply(struct txn_manager *manager, struct commit_request *request, seq_no seq,
                  const struct engine_horizon *horizon) {
    bool retains = !large_retention_is_empty(&manager->retention);
    for (size_t i = 0; i < request->part_count; i++) {
        const struct commit_part *part = &request->parts[i];
        for (size_t j = 0; retains && j < part->count; j++) {
            if (part->changes[j].record.kind == RECORD_LARGE) {
                large_retention_commit(&manager->retention, part->changes[j].large_token, seq);
            }
        }
        if (__builtin_expect(part->keyspace->engine->rehashes, 0)) {
            rehash(part);
        }
        part->keyspace->methods->apply(part->keyspace->engine, part->changes, part->count, seq,
                                       horizon);
        if (__builtin_expect(part->keyspace->capture != NULL, 0)) {
            change_capture_add(part->keyspace->capture, part->changes, part->count);
        }
    }
}

/* One request, up to and including its overlays. */
static tern_status commit_one(struct commit_queue *queue, struct commit_request *request,
                              uint64_t time_ms, const struct engine_horizon *horizon) {
    struct txn_manager *manager = queue->manager;
    tern_status status = (request->flags & COMMIT_COPY) == 0
                             ? commit_validate(manager, &queue->ranges, request)
                             : TERN_OK;
    if (status == TERN_OK && (request->flags & COMMIT_EXPECT) != 0 &&
        request->expected_until_ms != 0 && request->expected_until_ms <= time_ms) {
        status = ERROR_SET(&request->error, TERN_CONFLICT, "the value compared with has expired");
    }
    if (status == TERN_CONFLICT && log_is_poisoned(manager->log)) {
        /* A commit whose sync failed is in the way, and will be: no use to begin again. */
        return log_error_poisoned(&request->error);
    }
    if (status == TERN_OK && request->catalog_count > 0) {
        status = manager->callbacks.catalog_prepare(manager->callbacks.context, request->catalog,
                                                    request->catalog_count, &request->error);
    }
    if (status != TERN_OK) {
        return status;
    }
    seq_no seq = manager->next_seq;
    prefetch(manager, request);
    status = reserve(request);
    if (status == TERN_OK) {
        stamp(request, time_ms);
        status = append(manager, request, seq, time_ms);
    }
    if (status != TERN_OK) {
        undo_catalog(manager, request);
        return status;
    }
    manager->next_seq = seq + 1;
    request->seq = seq;
    if ((request->flags & COMMIT_COPY) == 0) {
        commit_remember(manager, &queue->ranges, request, seq);
    }
    apply(manager, request, seq, horizon);
    if (request->catalog_count > 0) {
        manager->callbacks.catalog_apply(manager->callbacks.context, request->catalog,
                                         request->catalog_count, seq);
    }
    return TERN_OK;
}

static bool is_sync_overdue(const struct txn_manager *manager, uint64_t now_ms) {
    uint64_t last = atomic_load_explicit(&manager->last_sync_ms, memory_order_relaxed);
    return now_ms > last && now_ms - last > 4 * manager->sync_interval_ms;
}

/* TERN_OK, or what everybody in the group is told. */
static tern_status make_durable(struct txn_manager *manager, const struct commit_request *group,
                                uint64_t now_ms, tern_error *error) {
    bool wants_sync = false;
    for (const struct commit_request *request = group; request != NULL; request = request->next) {
        wants_sync = wants_sync || (request->status == TERN_OK &&
                                    (request->durability == TERN_DURABILITY_FULL ||
                                     (request->durability == TERN_DURABILITY_INTERVAL &&
                                      is_sync_overdue(manager, now_ms))));
    }
    /* Nobody may build on what a failed sync or append has put in doubt (G3). */
    if (!wants_sync && !log_is_poisoned(manager->log) && log_keep(manager->log, error) == TERN_OK) {
        return TERN_OK;
    }
    manager->queue->has_synced = true;
    atomic_store_explicit(&manager->queue->is_syncing, true, memory_order_relaxed);
    tern_status status = log_sync_group(manager->log, error);
    atomic_store_explicit(&manager->queue->is_syncing, false, memory_order_relaxed);
    if (status != TERN_OK) {
        return ERROR_SET(error, TERN_UNKNOWN,
                         "the log could not be made durable, whether this commit survives shows "
                         "after the next open; close the database, check the device, open again");
    }
    atomic_store_explicit(&manager->last_sync_ms, now_ms, memory_order_relaxed);
    return TERN_OK;
}

static void publish(struct txn_manager *manager, struct commit_request *group, uint64_t time_ms) {
    seq_no last = manager->next_seq - 1;
    atomic_store_explicit(&manager->visible_time_ms, time_ms, memory_order_relaxed);
    atomic_store_explicit(&manager->visible_seq, last, memory_order_release);
    for (struct commit_request *request = group; request != NULL; request = request->next) {
        if (request->status == TERN_OK && request->catalog_count > 0) {
            manager->callbacks.catalog_published(manager->callbacks.context, request->catalog,
                                                 request->catalog_count);
        }
    }
}

static void finish(struct commit_queue *queue, struct commit_request *group,
                   const struct commit_request *own) {
    unsigned sides = 0;
    while (group != NULL) {
        struct commit_request *request = group;
        group = request->next; /* before anybody may free it */
        if (request->on_done != NULL) {
            commit_queue_done(queue, request);
        } else if (request != own) {
            sides |= commit_request_set(request, REQUEST_DONE);
        }
    }
    if (sides != 0) {
        commit_queue_wake(queue, sides, FUTEX_ALL_BITS);
    }
}

/* The bytes of a single change, which are in another processor's caches. */
static void fetch_bytes(const struct commit_request *request) {
    if (request->change_count == 1) {
        const struct engine_change *change = &request->parts[0].changes[0];
        const char *value = change->record.value.data;
        __builtin_prefetch(change->key.data);
        for (size_t at = 0; at < change->record.value.size && at < VALUE_FETCH_BYTES; at += 64) {
            __builtin_prefetch(value + at);
        }
    }
}

/* All that waits, oldest first, then `own`. */
static struct commit_request *take_group(struct commit_queue *queue, struct commit_request *own) {
    struct commit_request *group = own;
    if (own != NULL) {
        own->next = NULL;
    }
    if (commit_queue_take(queue)) {
        group = queue->waiting.first;
        for (const struct commit_request *request = group; request != NULL;
             request = request->next) {
            fetch_bytes(request);
        }
        queue->waiting.last->next = own;
        queue->waiting = (struct request_list){NULL, NULL};
    }
    return group;
}

/* One writer: a plain load and store spare the bus lock. */
static void count(_Atomic uint64_t *counter, size_t amount) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

/* Makes what was committed durable and visible, or tells all of the group that it may not be. */
static void conclude(struct txn_manager *manager, struct commit_request *group, uint64_t now_ms,
                     uint64_t time_ms, size_t committed) {
    tern_error error; /* its 600 bytes are filled in when it is needed */
    error.status = TERN_OK;
    tern_status status = make_durable(manager, group, now_ms, &error);
    if (status == TERN_OK) {
        publish(manager, group, time_ms);
        count(&manager->commits, committed);
    }
    for (struct commit_request *request = group; status != TERN_OK && request != NULL;
         request = request->next) {
        if (request->status == TERN_OK) {
            request->status = status;
            request->error = error;
        }
    }
}

/* Commits the requests of a list; their owners have not been told. */
static void process(struct txn_manager *manager, struct commit_request *group) {
    struct commit_queue *queue = manager->queue;
    atomic_store_explicit(&queue->round,
                          atomic_load_explicit(&queue->round, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    uint64_t now_ms = manager->clock->wall_ms(manager->clock->context);
    uint64_t visible_ms = atomic_load_explicit(&manager->visible_time_ms, memory_order_relaxed);
    uint64_t time_ms = now_ms > visible_ms ? now_ms : visible_ms;
    struct engine_horizon horizon;
    snapshot_registry_horizon(manager->snapshots,
                              atomic_load_explicit(&manager->visible_seq, memory_order_relaxed),
                              &horizon);
    size_t committed = 0;
    queue->has_synced = false;
    for (struct commit_request *request = group; request != NULL; request = request->next) {
        request->status = commit_one(queue, request, time_ms, &horizon);
        committed += request->status == TERN_OK;
    }
    if (committed > 0) {
        conclude(manager, group, now_ms, time_ms, committed);
    }
    count(&manager->groups, 1);
}

bool commit_process_group(struct txn_manager *manager, struct commit_request *own) {
    struct commit_request *group = take_group(manager->queue, own);
    if (group == NULL) {
        return false;
    }
    process(manager, group);
    finish(manager->queue, group, own);
    return true;
}

tern_status commit_submit_leading(struct txn_manager *manager, struct commit_request *request) {
    request->next = NULL;
    request->error.status = TERN_OK;
    request->error.message[0] = '\0';
    process(manager, request);
    return request->status;
}
