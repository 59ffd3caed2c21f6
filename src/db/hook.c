/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commit hooks follow the log: a task per hook reads records that are durable, decodes them and
 * tells the hook. Commits do nothing for them but get durable; the position of each hook keeps the
 * log from being recycled.
 *
 * The log is let go by segments, so what it holds may begin amid the parts of a transaction. That
 * one is not held any more: it is passed over, and does not count as reached.
 */
#include <tern/hook.h>

#include "base/bytes.h"
#include "base/error.h"
#include "db/database_internal.h"
#include "txn/commit_codec.h"
#include "txn/commit_queue.h"

#define RECORDS_PER_SLICE 256
#define RETRY_NS          100000000ull

struct tern_commit_hook {
    struct tern_db *db;
    tern_commit_hook_function function;
    void *context;
    uint64_t after_seq;
    struct log_reader *reader;
    bool is_under_way; /* it has met the end of a transaction */
    bool has_moved;    /* since the log was last let go for it */
    struct arena arena;
    struct commit_assembler assembler;
    tern_task task;
    struct tern_commit_hook *next;
};

static void fill_change(const struct engine_change *change, partition_id id, tern_change *out) {
    const struct record *record = &change->record;
    *out = (tern_change){.keyspace_id = id, .key = change->key, .value = record->value};
    out->value_size = record->value.size;
    switch ((int)record->kind) {
    case RECORD_PUT:
        out->kind = TERN_CHANGE_PUT;
        out->expires_ms = record->expires_ms;
        break;
    case RECORD_LARGE:
        out->kind = TERN_CHANGE_PUT;
        out->expires_ms = record->expires_ms;
        out->value_size = record->value_size;
        break;
    case RECORD_MERGE:
        out->kind = TERN_CHANGE_MERGE;
        out->merge_kind = record->merge_kind;
        break;
    case RECORD_DELETE:
        out->kind = TERN_CHANGE_DELETE;
        break;
    default:
        out->kind = TERN_CHANGE_DELETE_RANGE;
        out->open_bounds = (change->key.size == 0 ? 1u : 0u) | (change->range_has_end ? 0u : 2u);
    }
}

static tern_status tell(struct tern_commit_hook *hook, const struct decoded_commit *commit,
                        tern_error *error) {
    size_t count = commit->change_count + commit->catalog_count;
    tern_change *changes = arena_allocate(&hook->arena, count * sizeof(changes[0]));
    if (changes == NULL) {
        return ERROR_NO_MEMORY(error, "a commit hook");
    }
    size_t filled = 0;
    for (size_t i = 0; i < commit->catalog_count; i++) {
        const struct decoded_catalog_change *change = &commit->catalog[i];
        if (change->kind == CATALOG_CONVERT) {
            continue; /* it holds what it held */
        }
        changes[filled++] =
            (tern_change){.kind = change->kind == CATALOG_DROP ? TERN_CHANGE_KEYSPACE_DROP
                                                               : TERN_CHANGE_KEYSPACE_CREATE,
                          .keyspace_id = change->keyspace_id,
                          .key = change->name};
    }
    for (size_t i = 0; i < commit->part_count; i++) {
        for (size_t j = 0; j < commit->parts[i].count; j++) {
            fill_change(&commit->parts[i].changes[j], commit->parts[i].keyspace_id,
                        &changes[filled++]);
        }
    }
    if (filled == 0 && count > 0) {
        return TERN_OK;
    }
    tern_batch batch = {commit->seq, commit->time_ms, changes, filled};
    return hook->function(hook->context, &batch);
}

/* The whole encoding of a commit. *out_whole false: its beginning is no longer held. */
static tern_status assemble(struct tern_commit_hook *hook, const struct log_record *record,
                            tern_slice *out_encoding, bool *out_whole, tern_error *error) {
    tern_status status = commit_assembler_commit(&hook->assembler, record->payload,
                                                 record->payload_size, out_encoding, error);
    bool was_under_way = hook->is_under_way;
    hook->is_under_way = true;
    *out_whole = status == TERN_OK;
    return status == TERN_CORRUPTION && !was_under_way ? TERN_OK : status;
}

static tern_status visit(void *context, const struct log_record *record, tern_error *error) {
    struct tern_commit_hook *hook = context;
    tern_slice encoding;
    struct decoded_commit commit;
    bool is_whole = false;
    if (record->kind == LOG_RECORD_PART) {
        return commit_assembler_part(&hook->assembler, record->payload, record->payload_size,
                                     error);
    }
    if (record->kind == LOG_RECORD_COPY) { /* nothing changes that anybody sees */
        return assemble(hook, record, &encoding, &is_whole, error);
    }
    if (record->kind != LOG_RECORD_COMMIT) {
        return TERN_OK;
    }
    /* A hook that failed is told again: the assembled parts must then still be there. */
    uint32_t parts = hook->assembler.part_count;
    tern_status status = assemble(hook, record, &encoding, &is_whole, error);
    if (status != TERN_OK || !is_whole) {
        return status;
    }
    arena_reset(&hook->arena);
    status = commit_decode(encoding.data, encoding.size, &hook->arena, &commit, error);
    if (status == TERN_OK && commit.seq > hook->after_seq) {
        status = tell(hook, &commit, error);
        if (status == TERN_OK) {
            hook->after_seq = commit.seq;
        }
    }
    if (status != TERN_OK) {
        hook->assembler.part_count = parts;
    }
    return status;
}

static tern_task_state hook_step(struct tern_task *task) {
    struct tern_commit_hook *hook =
        (struct tern_commit_hook *)((char *)task - offsetof(struct tern_commit_hook, task));
    struct log *log = hook->db->manager.log;
    size_t visited = 0;
    tern_status status = log_reader_next(hook->reader, log_durable_position(log), RECORDS_PER_SLICE,
                                         visit, hook, &visited, NULL);
    if (status != TERN_OK && status != TERN_NOT_FOUND) {
        task->delay_ns = RETRY_NS;
        return TERN_TASK_SLEEP;
    }
    if (visited > 0) {
        hook->has_moved = true;
        return TERN_TASK_AGAIN;
    }
    if (hook->has_moved) {
        hook->has_moved = false;
        checkpoint_release_log_soon(hook->db);
    }
    task->delay_ns = hook->db->options.sync_interval_ms * 1000000ull / 4 + 1000000;
    return TERN_TASK_SLEEP;
}

struct reach {
    struct commit_assembler assembler;
    seq_no first_seq; /* of the first commit that the log holds whole */
};

static tern_status peek(void *context, const struct log_record *record, tern_error *error) {
    struct reach *reach = context;
    tern_slice encoding;
    if (record->kind == LOG_RECORD_PART) {
        return commit_assembler_part(&reach->assembler, record->payload, record->payload_size,
                                     error);
    }
    if (record->kind != LOG_RECORD_COMMIT || record->payload_size < 8) {
        return TERN_OK;
    }
    bool is_whole = commit_assembler_commit(&reach->assembler, record->payload,
                                            record->payload_size, &encoding, NULL) == TERN_OK;
    reach->first_seq = get_u64(record->payload) + (is_whole ? 0 : 1);
    return TERN_CANCELLED;
}

/* TERN_SNAPSHOT_TOO_OLD unless the log still holds what follows after_seq. */
static tern_status check_reach(struct tern_db *db, uint64_t after_seq, tern_error *error) {
    struct log_reader *reader;
    struct log *log = db->manager.log;
    struct reach reach = {.first_seq = SEQ_NONE};
    size_t visited = 1;
    tern_status status = log_reader_open(log, log_start_position(log), &reader, error);
    if (status != TERN_OK) {
        return status;
    }
    commit_assembler_init(&reach.assembler, db->allocator);
    log_position end = log_end_position(log);
    while (status == TERN_OK && visited > 0) {
        status = log_reader_next(reader, end, RECORDS_PER_SLICE, peek, &reach, &visited, error);
    }
    commit_assembler_release(&reach.assembler);
    log_reader_close(reader);
    if (status != TERN_OK && reach.first_seq == SEQ_NONE) {
        return status;
    }
    seq_no oldest =
        reach.first_seq != SEQ_NONE ? reach.first_seq : atomic_load(&db->manager.visible_seq) + 1;
    if (after_seq + 1 < oldest) {
        return ERROR_SET(error, TERN_SNAPSHOT_TOO_OLD,
                         "the log begins at seq %llu, after the wanted %llu; begin from a copy of "
                         "the data, or register the hook earlier",
                         (unsigned long long)oldest, (unsigned long long)(after_seq + 1));
    }
    return TERN_OK;
}

static tern_status open_reader(struct tern_commit_hook *hook, uint64_t after_seq,
                               tern_error *error) {
    struct tern_db *db = hook->db;
    struct log *log = db->manager.log;
    log_position position = log_start_position(log);
    tern_status status = TERN_OK;
    if (after_seq == UINT64_MAX) {
        commit_applier_lock(&db->manager);
        hook->after_seq = db->manager.next_seq - 1;
        position = log_end_position(log);
        status = log_reader_open(log, position, &hook->reader, error);
        commit_applier_unlock(&db->manager);
        return status;
    }
    hook->after_seq = after_seq;
    if (after_seq != 0) {
        status = check_reach(db, after_seq, error);
    }
    return status == TERN_OK ? log_reader_open(log, position, &hook->reader, error) : status;
}

static void free_hook(struct tern_commit_hook *hook) {
    log_reader_close(hook->reader);
    commit_assembler_release(&hook->assembler);
    arena_release(&hook->arena);
    memory_release(hook->db->allocator, hook);
}

tern_status tern_commit_hook_add(tern_db *db, uint64_t after_seq,
                                 tern_commit_hook_function function, void *context,
                                 tern_commit_hook **out_hook, tern_error *error) {
    REQUIRE(error, db != NULL, "no database");
    REQUIRE(error, function != NULL, "no function");
    REQUIRE(error, out_hook != NULL, "no out_hook");
    if (db->options.read_only) {
        return ERROR_SET(error, TERN_READ_ONLY, "nothing is committed in a read-only database");
    }
    struct tern_commit_hook *hook = memory_allocate_zeroed(db->allocator, sizeof(*hook));
    if (hook == NULL) {
        return ERROR_NO_MEMORY(error, "a commit hook");
    }
    hook->db = db;
    hook->function = function;
    hook->context = context;
    hook->task = (tern_task)TERN_TASK_INIT(hook_step, "hook");
    arena_init(&hook->arena, db->allocator, 4096);
    commit_assembler_init(&hook->assembler, db->allocator);
    tern_status status = open_reader(hook, after_seq, error);
    if (status != TERN_OK) {
        free_hook(hook);
        return status;
    }
    mutex_lock(&db->catalog_mutex);
    hook->next = db->hooks;
    db->hooks = hook;
    mutex_unlock(&db->catalog_mutex);
    db->options.executor->post(db->options.executor->context, &hook->task);
    *out_hook = hook;
    return TERN_OK;
}

void tern_commit_hook_remove(tern_commit_hook *hook) {
    if (hook == NULL) {
        return;
    }
    struct tern_db *db = hook->db;
    mutex_lock(&db->catalog_mutex);
    tern_commit_hook **link = &db->hooks;
    while (*link != NULL && *link != hook) {
        link = &(*link)->next;
    }
    if (*link == hook) {
        *link = hook->next;
    }
    mutex_unlock(&db->catalog_mutex);
    db->options.executor->cancel(db->options.executor->context, &hook->task);
    free_hook(hook);
    checkpoint_release_log_soon(db);
}

void hook_stop_all(struct tern_db *db) {
    while (db->hooks != NULL) {
        tern_commit_hook_remove(db->hooks);
    }
}

void hook_wake_all(struct tern_db *db) {
    mutex_lock(&db->catalog_mutex);
    for (tern_commit_hook *hook = db->hooks; hook != NULL; hook = hook->next) {
        db->options.executor->post(db->options.executor->context, &hook->task);
    }
    mutex_unlock(&db->catalog_mutex);
}
