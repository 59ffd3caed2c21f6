/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When background work runs, and who pays for it.
 *
 * The maintenance task drains overlays a quantum at a time. Writers pay as they go: while a drain
 * is under way, the room left for new overlays must not shrink faster than the debt (frozen bytes
 * not merged yet). A writer that finds the debt larger than the room runs one quantum itself, or
 * waits a moment for whoever runs one. So the delay is spread over all writers in slices of
 * milliseconds, and nobody waits for work that nobody runs.
 *
 * Other tasks: syncing for interval durability, and moving logged time on for expiry.
 */
#include "base/error.h"
#include "db/database_internal.h"
#include "txn/commit_queue.h"

#define NS_PER_MS 1000000ull
/* One turn of the maintenance task, and a writer's wait for another's quantum. */
#define TURN_NS  (4 * NS_PER_MS)
#define WAIT_NS  (NS_PER_MS / 4)
#define RETRY_NS (100 * NS_PER_MS)
/* A commit's wait for a conversion that catches up, at most: about what the copy costs. */
#define HOLD_NS          (10 * NS_PER_MS)
#define HOLD_NS_PER_BYTE 50u
/* What past overlays have left is given back, so much a look, when nobody has written for long. */
#define POOL_STEP_BYTES ((uint64_t)64 << 20)
/* How often memory that readers have brought back goes, and the cache's share is looked at. */
#define FORGET_NS (5 * NS_PER_MS)
#define SHARE_NS  (100 * NS_PER_MS)
/* What overlays that are all but empty take; a keyspace is never given less than this. */
#define KEYSPACE_OVERLAY_BYTES ((uint64_t)64 << 10)
/* Overlays are frozen at this part of their budget; the rest takes writes while they drain. */
#define FREEZE_PERCENT 60
/* A drain is on time while its debt is at most this many quarters of the room left for writers: a
 * drain is somewhat faster than the writes that made it necessary, so it begins without a brake. */
#define DEBT_QUARTERS 7
/* Moved out of memory in one step. */
#define SPILL_QUANTUM_BYTES ((size_t)4 << 20)
/* A checkpoint that could free less than this part of the budget is not worth its syncs. */
#define WORTHWHILE_PART 8
/* The log may hold this many times the overlay budget before a checkpoint trims it. */
#define LOG_PER_OVERLAY  4
#define LOG_SEGMENTS_MIN 4

static uint64_t overlay_used(const struct tern_db *db) {
    return budget_used(&db->budget, BUDGET_OVERLAY);
}

/* The log is long, and a checkpoint would let some of it go: what large values that are not
 * committed yet have in it stays (K4), and checkpoints would follow each other without end. */
static bool is_log_long(struct tern_db *db) {
    const struct maintenance *maintenance = &db->maintenance;
    /* What is kept for keyspaces that are aside no checkpoint can let go. */
    uint64_t first = log_position_segment(aside_count(db) > 0 ? maintenance->frozen_position
                                                              : maintenance->log_start);
    uint64_t last = log_position_segment(log_end_position(db->manager.log));
    uint64_t segments_max = LOG_PER_OVERLAY * db->options.overlay_bytes / db->options.segment_bytes;
    if (last - first <= segments_max + LOG_SEGMENTS_MIN) {
        return false;
    }
    seq_no visible = atomic_load_explicit(&db->manager.visible_seq, memory_order_acquire);
    return log_position_segment(large_retention_oldest(&db->manager.retention, visible)) > first;
}

/*
 * The share of overlays. It is overlay_bytes, but not so little that the keyspaces' empty overlays
 * alone would fill it, besides what keyspaces that are aside hold (the cache has given up as much,
 * memory_share.c), and what ended snapshots and committing transactions still hold:
 * that cannot be waited for (see overlay_excuse).
 */
static uint64_t base_limit(const struct tern_db *db) {
    uint64_t least =
        atomic_load_explicit(&db->live_keyspaces, memory_order_relaxed) * KEYSPACE_OVERLAY_BYTES;
    return (db->options.overlay_bytes > least ? db->options.overlay_bytes : least) +
           aside_bytes(db);
}

/* Bytes that are excused; fewer as they are given back. */
static uint64_t overlay_excuse(struct tern_db *db, uint64_t used) {
    uint64_t excused = atomic_load_explicit(&db->overlay_excused, memory_order_relaxed);
    uint64_t quarter = base_limit(db) / 4;
    uint64_t most = used > quarter ? used - quarter : 0;
    if (excused > most) {
        excused = most;
        atomic_store_explicit(&db->overlay_excused, excused, memory_order_relaxed);
    }
    return excused;
}

static uint64_t overlay_limit(struct tern_db *db, uint64_t used) {
    return base_limit(db) + overlay_excuse(db, used);
}

static uint64_t freeze_limit(struct tern_db *db, uint64_t used) {
    return base_limit(db) / 100 * FREEZE_PERCENT + overlay_excuse(db, used);
}

/* Something was committed that no checkpoint has drained. */
static bool has_undrained(const struct tern_db *db) {
    return atomic_load_explicit(&db->manager.visible_seq, memory_order_acquire) >
           atomic_load_explicit(&db->checkpoint_done, memory_order_acquire);
}

/* Snapshots may hold what a checkpoint has drained: another one then frees only what came since. */
static bool is_overlay_full(struct tern_db *db) {
    uint64_t used = overlay_used(db);
    if (used < db->maintenance.used_after_checkpoint) {
        db->maintenance.used_after_checkpoint = used;
    }
    uint64_t worthwhile = db->maintenance.used_after_checkpoint + base_limit(db) / WORTHWHILE_PART;
    return used >= freeze_limit(db, used) && used >= worthwhile;
}

static bool wants_checkpoint(struct tern_db *db) {
    return (has_undrained(db) && is_overlay_full(db)) || is_log_long(db) ||
           atomic_load_explicit(&db->checkpoint_wanted, memory_order_acquire) >
               atomic_load_explicit(&db->checkpoint_done, memory_order_acquire);
}

/*
 * What old views hold is moved out of memory when the overlays are full, if it is more than a
 * checkpoint is worth, and whatever it is when a writer has no room left.
 */
static bool spill(struct tern_db *db, bool needs_room) {
    uint64_t held = old_views_held(db);
    uint64_t bytes = 0;
    if (held > 0 && (needs_room || held >= base_limit(db) / WORTHWHILE_PART)) {
        old_views_spill(db, SPILL_QUANTUM_BYTES, &bytes);
    }
    return bytes > 0;
}

/*
 * One step of what goes before everything else: room for writers. *out_any false: there is nothing
 * of the kind to do; *out_more: there is more of it to do at once.
 */
static tern_status make_room(struct tern_db *db, bool needs_room, bool helps, bool *out_any,
                             bool *out_more, tern_error *error) {
    *out_any = true;
    *out_more = false;
    if (db->maintenance.phase == CHECKPOINT_IDLE) {
        uint64_t used = overlay_used(db);
        if ((needs_room || used >= freeze_limit(db, used)) && spill(db, needs_room)) {
            *out_more = true;
            return TERN_OK;
        }
        *out_any = wants_checkpoint(db);
        tern_status status = *out_any ? checkpoint_begin(db, error) : TERN_OK;
        if (status != TERN_OK || !*out_any) {
            return status;
        }
    }
    return checkpoint_step(db, helps, out_more, error);
}

tern_status maintenance_first(struct tern_db *db, tern_error *error) {
    bool any;
    bool more;
    return make_room(db, false, false, &any, &more, error);
}

/* One step with the maintenance role held, of a checkpoint (a small one when the caller `helps`) or
 * (`maintains`) of what engines have to do besides; *out_more: there is more to do at once. */
static tern_status step(struct tern_db *db, bool maintains, bool helps, bool *out_more,
                        tern_error *error) {
    bool any;
    tern_status status = make_room(db, !maintains, helps, &any, out_more, error);
    if (status == TERN_OK && maintains && !any) {
        care_step(db, helps, out_more);
        return TERN_OK;
    }
    *out_more = *out_more || maintains;
    return status;
}

static bool is_release_due(struct tern_db *db) {
    uint64_t after_ns = atomic_load_explicit(&db->release_after_ns, memory_order_relaxed);
    return after_ns != 0 && database_now_ns(db) >= after_ns;
}

static tern_task_state maintenance_step(struct tern_task *task) {
    struct tern_db *db =
        (struct tern_db *)((char *)task - offsetof(struct tern_db, maintenance_task));
    if (atomic_load_explicit(&db->is_closing, memory_order_acquire)) {
        return TERN_TASK_DONE;
    }
    if (!mutex_try_lock(&db->maintenance_mutex)) {
        task->delay_ns = NS_PER_MS;
        return TERN_TASK_SLEEP;
    }
    uint64_t begin = database_now_ns(db);
    bool more = true;
    tern_status status = TERN_OK;
    while (more && status == TERN_OK && database_now_ns(db) - begin < TURN_NS) {
        status = step(db, true, false, &more, NULL);
    }
    if (!more && status == TERN_OK) {
        status = checkpoint_settle(db, NULL);
    }
    if (!more) {
        more = checkpoint_release_blocks(db);
        if (is_release_due(db)) {
            checkpoint_release_log(db);
        }
    }
    bool is_waiting = !more && care_is_waiting(db, &task->delay_ns);
    mutex_unlock(&db->maintenance_mutex);
    if (status != TERN_OK) {
        task->delay_ns = RETRY_NS;
        return TERN_TASK_SLEEP;
    }
    return more ? TERN_TASK_AGAIN : is_waiting ? TERN_TASK_SLEEP : TERN_TASK_DONE;
}

/* Not while closing: the database would be gone before the task's turn comes. */
void maintenance_wake(struct tern_db *db) {
    if (!db->options.read_only && !atomic_load_explicit(&db->is_closing, memory_order_acquire)) {
        const struct tern_executor *executor = db->options.executor;
        executor->post(executor->context, &db->maintenance_task);
    }
}

/* ---- the log's spare segments ---- */

/* A task of its own, so that it goes on beside a drain. What fails, an append will try and tell. */
static tern_task_state prepare_step(struct tern_task *task) {
    struct tern_db *db = (struct tern_db *)((char *)task - offsetof(struct tern_db, prepare_task));
    struct log *log = db->manager.log;
    bool is_closing = atomic_load_explicit(&db->is_closing, memory_order_acquire);
    if (!is_closing) {
        log_touch_ahead(log);
    }
    bool more = !is_closing && log_wants_prepare(log) && log_prepare(log, NULL) == TERN_OK &&
                log_wants_prepare(log);
    return more ? TERN_TASK_AGAIN : TERN_TASK_DONE;
}

/* Also a task of its own: a writer would wait milliseconds for each page. */
static tern_task_state page_step(struct tern_task *task) {
    struct tern_db *db = (struct tern_db *)((char *)task - offsetof(struct tern_db, page_task));
    bool more = !atomic_load_explicit(&db->is_closing, memory_order_acquire) &&
                page_pool_grow(&db->overlay_pool, overlay_used(db));
    return more ? TERN_TASK_AGAIN : TERN_TASK_DONE;
}

static void wake_page_task(void *context) {
    struct tern_db *db = context;
    if (!atomic_load_explicit(&db->is_closing, memory_order_acquire)) {
        db->options.executor->post(db->options.executor->context, &db->page_task);
    }
}

/* The memory task comes too late when a reader brings back gigabytes a second. */
static void forget_for_reader(void *context) {
    old_views_forget(context);
}

/* The log has moved on since: its memory wants to be made ready ahead. To another segment: it wants
 * a new spare, too, and it may have grown long without anything else that would ask for a
 * checkpoint. */
static void prepare_after_switch(struct tern_db *db) {
    uint64_t stage = log_stage(db->manager.log);
    uint64_t seen = atomic_load_explicit(&db->seen_stage, memory_order_relaxed);
    if (__builtin_expect(seen != stage, 0)) {
        atomic_store_explicit(&db->seen_stage, stage, memory_order_relaxed);
        db->options.executor->post(db->options.executor->context, &db->prepare_task);
        if (log_stage_segment(seen) != log_stage_segment(stage)) {
            maintenance_wake(db);
        }
    }
}

/* A direct segment wants a spare only when it has been used for a while, or is to be left. */
static void prepare_when_wanted(struct tern_db *db) {
    bool wants = log_wants_prepare(db->manager.log);
    if (wants && !db->wanted_spare) {
        db->options.executor->post(db->options.executor->context, &db->prepare_task);
    }
    db->wanted_spare = wants;
}

/* ---- syncing and time ---- */

static void mark_when_idle(struct tern_db *db, log_position end) {
    if (end == db->last_marked) {
        return;
    }
    commit_applier_lock(&db->manager);
    if (log_mark(db->manager.log, NULL) == TERN_OK) {
        db->last_marked = log_end_position(db->manager.log);
    }
    commit_applier_unlock(&db->manager);
    /* What cannot be removed now is kept for use. */
    tern_status trimmed = log_trim(db->manager.log, NULL);
    (void)trimmed;
}

/*
 * Readers bring spilled pages back into memory, and inner nodes come and go: looked at often while
 * something is spilled.
 */
static tern_task_state memory_step(struct tern_task *task) {
    struct tern_db *db = (struct tern_db *)((char *)task - offsetof(struct tern_db, memory_task));
    if (atomic_load_explicit(&db->is_closing, memory_order_acquire)) {
        return TERN_TASK_DONE;
    }
    memory_share_again(db);
    (void)epoch_reclaim(db->manager.epoch);
    space_watch(db);
    care_watch_space(db);
    if (atomic_load_explicit(&db->space_watch.is_at_rest, memory_order_relaxed)) {
        page_pool_shrink(&db->overlay_pool, POOL_STEP_BYTES);
    }
    bool has_held = atomic_load_explicit(&db->held_keyspaces, memory_order_relaxed) > 0;
    if (has_held || is_release_due(db)) {
        maintenance_wake(db);
    }
    bool has_spilled = old_views_have_spilled(db);
    if (has_spilled) {
        old_views_forget(db);
    }
    task->delay_ns = has_spilled ? FORGET_NS : SHARE_NS;
    return TERN_TASK_SLEEP;
}

static tern_task_state sync_step(struct tern_task *task) {
    struct tern_db *db = (struct tern_db *)((char *)task - offsetof(struct tern_db, sync_task));
    struct log *log = db->manager.log;
    if (atomic_load_explicit(&db->is_closing, memory_order_acquire) || log_is_poisoned(log)) {
        return TERN_TASK_DONE;
    }
    log_position end = log_end_position(log);
    if (end > log_durable_position(log)) {
        if (db->options.durability != TERN_DURABILITY_NONE && log_sync(log, end, NULL) == TERN_OK) {
            uint64_t now_ms = db->options.clock->wall_ms(db->options.clock->context);
            atomic_store_explicit(&db->manager.last_sync_ms, now_ms, memory_order_relaxed);
            atomic_fetch_add_explicit(&db->counters.interval_syncs, 1, memory_order_relaxed);
        }
    } else {
        mark_when_idle(db, end);
    }
    hook_wake_all(db);
    prepare_after_switch(db);
    prepare_when_wanted(db);
    task->delay_ns = db->options.sync_interval_ms * NS_PER_MS;
    return TERN_TASK_SLEEP;
}

static tern_task_state tick_step(struct tern_task *task) {
    struct tern_db *db = (struct tern_db *)((char *)task - offsetof(struct tern_db, tick_task));
    if (atomic_load_explicit(&db->is_closing, memory_order_acquire)) {
        return TERN_TASK_DONE;
    }
    if (atomic_load_explicit(&db->manager.has_expiring, memory_order_relaxed)) {
        uint64_t now_ms = db->options.clock->wall_ms(db->options.clock->context);
        uint64_t visible_ms =
            atomic_load_explicit(&db->manager.visible_time_ms, memory_order_relaxed);
        if (now_ms >= visible_ms + db->options.ttl_tick_ms &&
            commit_tick(&db->manager, NULL) == TERN_OK) {
            atomic_fetch_add_explicit(&db->counters.ticks, 1, memory_order_relaxed);
        }
    }
    task->delay_ns = db->options.ttl_tick_ms * NS_PER_MS;
    return TERN_TASK_SLEEP;
}

void maintenance_start(struct tern_db *db) {
    const struct tern_executor *executor = db->options.executor;
    db->maintenance_task = (tern_task)TERN_TASK_INIT(maintenance_step, "maintenance");
    db->prepare_task = (tern_task)TERN_TASK_INIT(prepare_step, "prepare");
    db->sync_task = (tern_task)TERN_TASK_INIT(sync_step, "sync");
    db->tick_task = (tern_task)TERN_TASK_INIT(tick_step, "tick");
    db->memory_task = (tern_task)TERN_TASK_INIT(memory_step, "memory");
    db->page_task = (tern_task)TERN_TASK_INIT(page_step, "pages");
    prewarm_start(db);
    if (!db->options.read_only) {
        db->overlay_pool.on_low_context = db;
        db->overlay_pool.on_low = wake_page_task;
        db->overlay_pool.on_spilled_reads = forget_for_reader;
        executor->post(executor->context, &db->maintenance_task);
        executor->post(executor->context, &db->prepare_task);
        executor->post(executor->context, &db->sync_task);
        executor->post(executor->context, &db->tick_task);
        executor->post(executor->context, &db->memory_task);
    }
}

/* A slice that ran when this began may have posted a task whose turn to be cancelled was over. */
void maintenance_cancel(struct tern_db *db) {
    const struct tern_executor *executor = db->options.executor;
    prewarm_cancel(db);
    if (!db->options.read_only) {
        executor->cancel(executor->context, &db->maintenance_task);
        executor->cancel(executor->context, &db->page_task);
        executor->cancel(executor->context, &db->prepare_task);
        executor->cancel(executor->context, &db->sync_task);
        executor->cancel(executor->context, &db->tick_task);
        executor->cancel(executor->context, &db->memory_task);
    }
}

void maintenance_stop(struct tern_db *db) {
    atomic_store_explicit(&db->is_closing, true, memory_order_release);
    maintenance_cancel(db);
    prewarm_release(db);
}

/* ---- on behalf of callers ---- */

tern_status maintenance_drain_to(struct tern_db *db, seq_no seq, tern_error *error) {
    tern_status status = TERN_OK;
    bool has_begun = false;
    while (status == TERN_OK) {
        mutex_lock(&db->maintenance_mutex);
        /* Who is aside is tried again when somebody asks. */
        bool is_done = atomic_load_explicit(&db->checkpoint_done, memory_order_acquire) >= seq &&
                       db->maintenance.phase == CHECKPOINT_IDLE &&
                       (has_begun || aside_count(db) == 0);
        if (!is_done) {
            bool more;
            if (db->maintenance.phase == CHECKPOINT_IDLE) {
                status = checkpoint_begin(db, error);
                has_begun = true;
            }
            if (status == TERN_OK) {
                status = checkpoint_step(db, false, &more, error);
            }
        } else {
            status = checkpoint_settle(db, error);
            if (status == TERN_OK) {
                status = log_trim(db->manager.log, error);
            }
        }
        mutex_unlock(&db->maintenance_mutex);
        if (is_done) {
            maintenance_wake(db); /* engines may have work now */
            break;
        }
    }
    return status;
}

static void count_wait(struct tern_db *db, uint64_t begin) {
    uint64_t spent = database_now_ns(db) - begin;
    atomic_fetch_add_explicit(&db->counters.throttle_waits, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->counters.throttle_ns, spent, memory_order_relaxed);
    uint64_t longest = atomic_load_explicit(&db->counters.throttle_ns_max, memory_order_relaxed);
    while (spent > longest &&
           !atomic_compare_exchange_weak_explicit(&db->counters.throttle_ns_max, &longest, spent,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

void maintenance_pause(uint64_t ns) {
    _Atomic uint32_t word = 0;
    futex_wait(&word, 0, ns < TURN_NS ? ns : TURN_NS);
}

/* A moment for whoever holds the role. */
static void wait_a_moment(void) {
    maintenance_pause(WAIT_NS);
}

void maintenance_give_way(struct tern_db *db) {
    if (atomic_load_explicit(&db->waiting_writers, memory_order_relaxed) > 0) {
        wait_a_moment(); /* as long as they do, so one of them comes in between */
        wait_a_moment();
    }
}

/* Runs one small quantum, or waits a moment when somebody else is at it. Who has no room left works
 * on nothing but what makes room, and publishes it, too. */
static tern_status pay(struct tern_db *db, bool has_room, bool *out_idle, tern_error *error) {
    *out_idle = false;
    if (!mutex_try_lock(&db->maintenance_mutex)) {
        wait_a_moment();
        return TERN_OK;
    }
    bool more;
    tern_status status = step(db, has_room, has_room, &more, error);
    *out_idle = !more;
    if (!more) {
        (void)checkpoint_release_blocks(db);
    }
    mutex_unlock(&db->maintenance_mutex);
    atomic_fetch_add_explicit(&db->counters.helped_steps, 1, memory_order_relaxed);
    return status;
}

static void excuse_used(struct tern_db *db) {
    uint64_t used = overlay_used(db);
    atomic_store_explicit(&db->overlay_excused, used, memory_order_relaxed);
    (void)overlay_excuse(db, used);
}

/*
 * Nothing is left to drain and there is still no room: snapshots hold it. Those of transactions
 * that wait here for room themselves, and those that were ended, would hold it for ever if they
 * were waited for; so what they hold is excused, and goes as soon as their owners go on.
 */
static bool excuse_payers(struct tern_db *db) {
    size_t count = 0;
    (void)snapshot_registry_oldest(db->manager.snapshots, &count);
    if (count > atomic_load_explicit(&db->manager.paying_snapshots, memory_order_acquire)) {
        return false;
    }
    excuse_used(db);
    return true;
}

/* It is old snapshots that hold it. */
static tern_status apply_space_policy(struct tern_db *db, tern_error *error) {
    size_t count = 0;
    seq_no oldest = snapshot_registry_oldest(db->manager.snapshots, &count);
    if (db->options.space_policy == TERN_SPACE_END_SNAPSHOTS && count > 0) {
        seq_no visible = atomic_load_explicit(&db->manager.visible_seq, memory_order_relaxed);
        size_t ended =
            snapshot_registry_end(db->manager.snapshots, oldest + (visible - oldest) / 2 + 1);
        atomic_fetch_add_explicit(&db->counters.ended_snapshots, ended, memory_order_relaxed);
        wait_a_moment();
        /* What the ended ones hold comes back when their owners notice; ending more would not help.
         */
        excuse_used(db);
        return TERN_OK;
    }
    atomic_fetch_add_explicit(&db->counters.refused_writes, 1, memory_order_relaxed);
    return ERROR_SET(error, TERN_NO_MEMORY,
                     "the overlays use all of overlay_bytes (%llu) and %zu open snapshots hold "
                     "them (oldest at seq %llu); end old transactions, raise memory_bytes, or set "
                     "space_policy to end snapshots",
                     (unsigned long long)db->options.overlay_bytes, count,
                     (unsigned long long)oldest);
}

/* How often a writer looks again for room that others' epochs are about to give back, and that
 * short transactions of others hold. */
#define EPOCH_ROUNDS    4
#define IDLE_ROUNDS_MAX 400

/* Drains what is active too, though it alone would not be worth a checkpoint. */
static void want_everything_drained(struct tern_db *db) {
    seq_no visible = atomic_load_explicit(&db->manager.visible_seq, memory_order_acquire);
    seq_no wanted = atomic_load_explicit(&db->checkpoint_wanted, memory_order_relaxed);
    while (wanted < visible &&
           !atomic_compare_exchange_weak_explicit(&db->checkpoint_wanted, &wanted, visible,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

/* `bytes` 0: the caller pays, but brings nothing into overlays and needs no room. */
static bool is_on_time(uint64_t debt, uint64_t room) {
    return debt <= room / 4 * DEBT_QUARTERS;
}

static tern_status throttle_slowly(struct tern_db *db, uint64_t bytes, tern_error *error) {
    uint64_t begin = database_now_ns(db);
    tern_status status = TERN_OK;
    unsigned idle_rounds = 0;
    bool is_excused = false;
    atomic_fetch_add_explicit(&db->waiting_writers, 1, memory_order_relaxed);
    for (bool is_first = true;; is_first = false) {
        uint64_t used = overlay_used(db);
        uint64_t limit = overlay_limit(db, used);
        uint64_t debt = atomic_load_explicit(&db->drain_debt, memory_order_relaxed);
        uint64_t room = used + bytes < limit ? limit - used - bytes : 0;
        bool has_room = (room > 0 && is_on_time(debt, room)) || is_excused;
        if (has_room || ((room > 0 || bytes == 0) && !is_first)) {
            break; /* on time, or one quantum paid */
        }
        bool is_idle;
        status = pay(db, room > 0, &is_idle, error);
        if (status != TERN_OK) {
            /* Room is left: the failure is not this writer's yet. */
            status = room > 0 || bytes == 0 ? TERN_OK : status;
            break;
        }
        if (room > 0 || !is_idle) {
            continue;
        }
        if (has_undrained(db)) {
            want_everything_drained(db);
            continue;
        }
        wait_a_moment();
        /* What debt there may be is of a kind that makes no room. */
        idle_rounds++;
        is_excused = idle_rounds > EPOCH_ROUNDS && excuse_payers(db);
        if (!is_excused && idle_rounds > IDLE_ROUNDS_MAX) {
            idle_rounds = 0;
            status = apply_space_policy(db, error);
            if (status != TERN_OK) {
                break;
            }
        }
    }
    atomic_fetch_sub_explicit(&db->waiting_writers, 1, memory_order_relaxed);
    count_wait(db, begin);
    return status;
}

/* A conversion is to catch up with what is written: a moment for each commit, and more for one that
 * brings much. */
static void hold_back(struct tern_db *db, uint64_t bytes) {
    uint64_t moments = (HOLD_NS + bytes * HOLD_NS_PER_BYTE) / WAIT_NS;
    for (; moments > 0; moments--) {
        if (atomic_load_explicit(&db->writers_held, memory_order_acquire) == 0) {
            return;
        }
        wait_a_moment();
    }
}

tern_status maintenance_throttle(void *context, uint64_t bytes, tern_error *error) {
    struct tern_db *db = context;
    if (__builtin_expect(atomic_load_explicit(&db->writers_held, memory_order_relaxed) > 0, 0) &&
        bytes > 0) {
        hold_back(db, bytes);
    }
    return maintenance_make_room(db, bytes, error);
}

tern_status maintenance_make_room(struct tern_db *db, uint64_t bytes, tern_error *error) {
    prepare_after_switch(db);
    uint64_t used = overlay_used(db) + bytes;
    memory_share_use(db, used);
    if (used < freeze_limit(db, used)) {
        return TERN_OK;
    }
    if (!atomic_load_explicit(&db->is_draining, memory_order_relaxed)) {
        maintenance_wake(db);
    }
    uint64_t debt = atomic_load_explicit(&db->drain_debt, memory_order_relaxed);
    uint64_t limit = overlay_limit(db, used);
    if (used < limit && is_on_time(debt, limit - used)) {
        return TERN_OK;
    }
    return throttle_slowly(db, bytes, error);
}
