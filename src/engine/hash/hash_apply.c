/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The applier: one version a change, at the end of the active memory, and its entry in the index.
 *
 * Pruning. Below a new version v comes u, below that w. Nobody selects w any more when u is visible
 * and no live snapshot lies in [w, u). Then w is unlinked, when it is in the active memory (H3), so
 * a key that is overwritten again and again has a chain of two.
 *
 * Merges. An operand over a terminal version in memory is applied at once: the new version is the
 * result. Over something on disk it stays an operand; operands below it that nobody selects one by
 * one become one, when no expiry of the value can lie between them. Whether it can is not known
 * without a read when the record on disk may expire; so they pile up, but not without end: after so
 * many the record is read, and they become two at most, those from before its expiry and the
 * others.
 */
#include <tern/txn.h>

#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/hash/hash_engine_internal.h"
#include "engine/hash/hash_index_internal.h"

#define PRUNE_STEPS    8u
#define FOLD_BYTES_MAX ((size_t)64 << 10)
#define WALK_STEPS     64u
/* Operands after which the expiry of what they apply to is read. */
#define OPERANDS_MOST  64u
#define OPERANDS_RETRY 8u
#define RUN_MOST       256u

static struct hash_memory *active_of(const struct hash_engine *engine) {
    return engine->current->memories[0];
}

tern_status hash_reserve(struct engine *base, size_t count, size_t bytes, tern_error *error) {
    struct hash_engine *engine = hash_of(base);
    if (bytes > (size_t)1 << 31) {
        return ERROR_SET(error, TERN_NO_MEMORY, "a commit of %zu bytes for one partition", bytes);
    }
    /* Twice: a range delete may delete again what its own commit wrote. */
    size_t needed = 2 * (bytes + count * (sizeof(struct hash_version) + VERSION_ALIGNMENT)) + 256;
    tern_status status = hash_memory_reserve(active_of(engine), needed, error);
    if (status == TERN_OK) {
        mutex_lock(&engine->index_lock);
        status = hash_index_reserve(engine->index, count, error);
        engine->promised_inserts = status == TERN_OK ? count : 0;
        mutex_unlock(&engine->index_lock);
    }
    return status;
}

void hash_prefetch(struct engine *base, const struct engine_change *change,
                   const struct change_place *place) {
    const struct hash_engine *engine = hash_of(base);
    (void)place;
    struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
    hash_index_prefetch(engine->index, change->key_hash);
    epoch_exit(slot);
    hash_memory_prefetch(active_of(engine));
}

void hash_prefetch_next(struct engine *base, const struct engine_change *change) {
    const struct hash_engine *engine = hash_of(base);
    hash_link links[INDEX_COLLECT_MAX];
    struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
    uint32_t count = hash_index_collect(engine->index, change->key_hash, links);
    for (uint32_t i = 0; i < count && i < INDEX_COLLECT_MAX; i++) {
        if (link_is_version(links[i])) {
            __builtin_prefetch(link_version(links[i]), 1);
        }
    }
    epoch_exit(slot);
}

static bool has_room(const struct hash_engine *engine, tern_slice key, size_t value_size) {
    return hash_memory_room(active_of(engine)) >=
           engine->promised_bytes + version_bytes_for(key.size, value_size);
}

static bool is_in_active(const struct hash_engine *engine, const struct hash_version *version) {
    return (version->flags & VERSION_STUB) == 0 && version->seq > engine->frozen_seq;
}

/* Unlinks what lies directly below `upper` and nobody selects. */
static void prune(const struct hash_engine *engine, struct hash_version *upper) {
    if (upper->kind == RECORD_MERGE || !is_in_active(engine, upper)) {
        return;
    }
    for (unsigned i = 0; i < PRUNE_STEPS && link_is_version(version_older(upper)); i++) {
        struct hash_version *lower = link_version(version_older(upper));
        if (!is_in_active(engine, lower) || hash_is_selectable(engine, lower->seq, upper->seq)) {
            return;
        }
        atomic_store_explicit(&upper->cut, atomic_load(&lower->cut), memory_order_release);
        atomic_store_explicit(&upper->older, version_older(lower), memory_order_release);
    }
}

/* ---- merging ---- */

/* Is a record on disk that may be the key's in a block with expiring ones? */
static bool may_expire_on_disk(const struct hash_engine *engine, tern_slice key, uint64_t hash) {
    struct hash_probe probe;
    hash_link candidate;
    if (hash_cold_has_any(&engine->cold)) {
        return true;
    }
    hash_probe_begin(&probe, engine->index, hash);
    do {
        while (hash_probe_next(&probe, &candidate) != NULL) {
            if (link_is_disk(candidate) &&
                (base_block(&engine->base, link_block(candidate))->flags & BLOCK_HAS_EXPIRING) !=
                    0) {
                return true;
            }
        }
    } while (hash_probe_goes_on(&probe, engine->index, key));
    return false;
}

/* Expiry of the value that the operands from `link` down apply to; false: not known here. Inside an
 * epoch: a drain may make the table of blocks grow. */
static bool find_expiry(const struct hash_engine *engine, hash_link link,
                        const struct hash_version *of, seq_no range_seq, uint64_t *out_expires_ms) {
    *out_expires_ms = 0;
    for (unsigned i = 0; i < WALK_STEPS; i++) {
        if (link == LINK_NONE) {
            return true;
        }
        if (link == LINK_UNKNOWN) {
            return !may_expire_on_disk(engine, version_key(of), of->hash);
        }
        if (link_is_disk(link)) {
            return (base_block(&engine->base, link_block(link))->flags & BLOCK_HAS_EXPIRING) == 0;
        }
        const struct hash_version *version = link_version(link);
        if (version->seq < range_seq) {
            return true;
        }
        if ((version->flags & VERSION_STUB) != 0) {
            link = version_stub(version)->disk;
            continue;
        }
        if (version->kind != RECORD_MERGE) {
            *out_expires_ms = version->kind == RECORD_DELETE ? 0 : version->expires_ms;
            return true;
        }
        link = version_older(version);
    }
    return false;
}

static bool known_expiry(const struct hash_engine *engine, hash_link link,
                         const struct hash_version *of, seq_no range_seq,
                         uint64_t *out_expires_ms) {
    struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
    bool is_known = find_expiry(engine, link, of, range_seq, out_expires_ms);
    epoch_exit(slot);
    return is_known;
}

static bool same_side(uint64_t left_ms, uint64_t right_ms, uint64_t expires_ms) {
    return expires_ms == 0 || (left_ms < expires_ms) == (right_ms < expires_ms);
}

/* Makes one of the two operands below `top` when nobody can tell the difference. */
static void fold_below(struct hash_engine *engine, struct hash_version *top, seq_no range_seq) {
    for (unsigned i = 0; i < PRUNE_STEPS; i++) {
        if (!link_is_version(version_older(top))) {
            return;
        }
        struct hash_version *upper = link_version(version_older(top));
        if (!is_in_active(engine, upper) || upper->kind != RECORD_MERGE ||
            !link_is_version(version_older(upper))) {
            return;
        }
        const struct hash_version *lower = link_version(version_older(upper));
        uint64_t expires_ms = 0;
        if (!is_in_active(engine, lower) || lower->kind != RECORD_MERGE ||
            lower->merge_kind != upper->merge_kind || lower->seq < range_seq ||
            hash_is_selectable(engine, lower->seq, upper->seq) ||
            (upper->expires_ms != lower->expires_ms &&
             (!known_expiry(engine, version_older(lower), upper, range_seq, &expires_ms) ||
              !same_side(upper->expires_ms, lower->expires_ms, expires_ms)))) {
            return;
        }
        if (upper->merge_kind == TERN_MERGE_APPEND &&
            lower->value_size > 2 * (size_t)upper->value_size + 64) {
            return;
        }
        if ((size_t)upper->value_size + lower->value_size > FOLD_BYTES_MAX ||
            record_fold(upper->merge_kind, version_value(lower), version_value(upper),
                        &engine->fold) != TERN_OK ||
            !has_room(engine, version_key(upper), engine->fold.size)) {
            return;
        }
        const struct record record = {.kind = RECORD_MERGE,
                                      .merge_kind = upper->merge_kind,
                                      .expires_ms = upper->expires_ms,
                                      .value = buffer_slice(&engine->fold)};
        struct hash_version *folded = hash_memory_push(active_of(engine), version_key(upper),
                                                       &record, upper->hash, upper->seq);
        folded->operands = lower->operands;
        atomic_store_explicit(&folded->cut, atomic_load(&lower->cut), memory_order_relaxed);
        atomic_store_explicit(&folded->older, version_older(lower), memory_order_relaxed);
        atomic_store_explicit(&top->older, link_to_version(folded), memory_order_release);
    }
}

/* The same as find_expiry, whatever it takes. Inside an epoch. */
static tern_status read_expiry(struct hash_engine *engine, const struct hash_version *of,
                               seq_no range_seq, uint64_t *out_expires_ms) {
    hash_link link = link_to_version(of);
    struct hash_record record;
    struct cache_frame *frame = NULL;
    tern_status status = TERN_OK;
    *out_expires_ms = 0;
    while (link_is_version(link)) {
        const struct hash_version *version = link_version(link);
        if (version->seq < range_seq) {
            return TERN_OK;
        }
        if ((version->flags & VERSION_STUB) != 0) {
            link = version_stub(version)->disk;
        } else if (version->kind != RECORD_MERGE) {
            *out_expires_ms = version->kind == RECORD_DELETE ? 0 : version->expires_ms;
            return TERN_OK;
        } else {
            link = version_older(version);
        }
    }
    if (link == LINK_NONE) {
        return TERN_OK;
    }
    if (link == LINK_UNKNOWN) {
        status = hash_find_on_disk(engine, version_key(of), of->hash, &link, &record, &frame, NULL);
    } else {
        status = base_read_record(&engine->base, link, &record, &frame, NULL);
    }
    if (status == TERN_OK && link != LINK_NONE && record.seq >= range_seq) {
        *out_expires_ms = record.record.expires_ms;
    }
    return status;
}

/* Operands from `first` down that can become one; newest first. */
static size_t find_run(const struct hash_engine *engine, struct hash_version *first,
                       seq_no range_seq, uint64_t expires_ms, struct hash_version **run) {
    size_t count = 0;
    size_t bytes = 0;
    for (struct hash_version *version = first; count < RUN_MOST;) {
        bytes += version->value_size;
        bool fits = is_in_active(engine, version) && version->kind == RECORD_MERGE &&
                    version->seq >= range_seq && bytes <= FOLD_BYTES_MAX;
        if (fits && count > 0) {
            const struct hash_version *upper = run[count - 1];
            fits = upper->merge_kind == version->merge_kind &&
                   !hash_is_selectable(engine, version->seq, upper->seq) &&
                   same_side(upper->expires_ms, version->expires_ms, expires_ms);
        }
        if (!fits) {
            break;
        }
        run[count++] = version;
        if (!link_is_version(version_older(version))) {
            break;
        }
        version = link_version(version_older(version));
    }
    return count;
}

/* Makes one of a run, newest first, below `above`. False: nothing has changed. */
static bool fold_run(struct hash_engine *engine, struct hash_version *above,
                     struct hash_version *const *run, size_t count) {
    struct buffer folded;
    tern_slice value = version_value(run[count - 1]);
    bool is_done = true;
    buffer_init(&folded, hash_allocator(engine));
    for (size_t i = count - 1; is_done && i-- > 0;) {
        is_done =
            record_fold(run[i]->merge_kind, value, version_value(run[i]), &engine->fold) == TERN_OK;
        folded.size = 0;
        is_done =
            is_done && buffer_append(&folded, engine->fold.data, engine->fold.size) == TERN_OK;
        value = buffer_slice(&folded);
    }
    is_done = is_done && has_room(engine, version_key(run[0]), value.size);
    if (is_done) {
        const struct record record = {.kind = RECORD_MERGE,
                                      .merge_kind = run[0]->merge_kind,
                                      .expires_ms = run[0]->expires_ms,
                                      .value = value};
        struct hash_version *version = hash_memory_push(active_of(engine), version_key(run[0]),
                                                        &record, run[0]->hash, run[0]->seq);
        version->operands = 1;
        atomic_store_explicit(&version->cut, atomic_load(&run[count - 1]->cut),
                              memory_order_relaxed);
        atomic_store_explicit(&version->older, version_older(run[count - 1]), memory_order_relaxed);
        atomic_store_explicit(&above->older, link_to_version(version), memory_order_release);
    }
    buffer_release(&folded);
    return is_done;
}

/* Makes few of the many operands below `top`. */
static void fold_all_below(struct hash_engine *engine, struct hash_version *top, seq_no range_seq) {
    struct hash_version *run[RUN_MOST];
    uint64_t expires_ms = 0;
    struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
    tern_status status = read_expiry(engine, top, range_seq, &expires_ms);
    epoch_exit(slot);
    struct hash_version *above = top;
    bool is_done = true;
    while (status == TERN_OK && link_is_version(version_older(above))) {
        struct hash_version *first = link_version(version_older(above));
        if (!is_in_active(engine, first) || first->kind != RECORD_MERGE) {
            break;
        }
        size_t count = find_run(engine, first, range_seq, expires_ms, run);
        is_done = (count < 2 || fold_run(engine, above, run, count)) && is_done;
        above = link_version(version_older(above));
    }
    /* For want of room, or of the record: it is tried again soon. */
    top->operands = status == TERN_OK && is_done ? 1 : OPERANDS_MOST - OPERANDS_RETRY;
}

static void count_operands(struct hash_engine *engine, struct hash_version *version,
                           seq_no range_seq) {
    const struct hash_version *below = link_version(version_older(version));
    version->operands = 1;
    if (is_in_active(engine, below) && below->kind == RECORD_MERGE) {
        version->operands =
            (uint8_t)(below->operands < UINT8_MAX ? below->operands + 1 : UINT8_MAX);
    }
    if (version->operands >= OPERANDS_MOST) {
        fold_all_below(engine, version, range_seq);
    }
}

/*
 * Turns an operand into its result when what it applies to is known. *record is as it was when it
 * is not.
 */
static void resolve_operand(struct hash_engine *engine, const struct engine_change *change,
                            const struct hash_version *head, hash_link older, seq_no range_seq,
                            struct record *record) {
    bool is_known = false;
    bool is_present = false;
    tern_slice value = tern_slice_of(NULL, 0);
    uint64_t expires_ms = 0;
    if (head == NULL) {
        is_known = older == LINK_NONE;
    } else if (head->seq < range_seq) {
        is_known = true;
    } else if ((head->flags & VERSION_STUB) != 0) {
        is_known = version_stub(head)->disk == LINK_NONE;
    } else if (head->kind == RECORD_DELETE) {
        is_known = true;
    } else if (head->kind == RECORD_PUT) {
        is_known = true;
        is_present = head->expires_ms == 0 || change->record.expires_ms < head->expires_ms;
        value = is_present ? version_value(head) : value;
        expires_ms = is_present ? head->expires_ms : 0;
    }
    if (!is_known || value.size + change->record.value.size > FOLD_BYTES_MAX ||
        record_merge(change->record.merge_kind, is_present, value, change->record.value,
                     &engine->fold) != TERN_OK ||
        !has_room(engine, change->key, engine->fold.size)) {
        return;
    }
    *record = (struct record){
        .kind = RECORD_PUT, .expires_ms = expires_ms, .value = buffer_slice(&engine->fold)};
}

/* ---- applying ---- */

static void push_change(struct hash_engine *engine, const struct engine_change *change,
                        seq_no seq) {
    struct hash_version *head = NULL;
    hash_link disk = LINK_NONE;
    struct record record = change->record;
    index_slot *slot = hash_find_head(engine, change->key, change->key_hash, &head, &disk);
    bool may_be_on_disk = disk != LINK_NONE || hash_cold_has_any(&engine->cold);
    hash_link older = head != NULL     ? link_to_version(head)
                      : may_be_on_disk ? LINK_UNKNOWN
                                       : LINK_NONE;
    seq_no range_seq = hash_view_range_seq(engine->current, change->key, SEQ_MAX);
    if (record.kind == RECORD_MERGE) {
        resolve_operand(engine, change, head, older, range_seq, &record);
    }
    struct hash_version *version =
        hash_memory_push(active_of(engine), change->key, &record, change->key_hash, seq);
    atomic_store_explicit(&version->older, older, memory_order_relaxed);
    if (head != NULL) {
        hash_index_store(slot, link_to_version(version));
        prune(engine, version);
        prune(engine, head);
        if (version->kind == RECORD_MERGE) {
            fold_below(engine, version, range_seq);
            count_operands(engine, version, range_seq);
        }
        return;
    }
    bool is_in = hash_insert_key(engine, change->key, change->key_hash, link_to_version(version));
    ASSERT(is_in); /* hash_reserve keeps pages for it */
    if (older == LINK_UNKNOWN) {
        atomic_fetch_add_explicit(&engine->doubled, 1, memory_order_relaxed);
    }
}

/* What this commit wrote into the range before goes, too; what other commits wrote is hidden. */
static void push_range(struct hash_engine *engine, const struct engine_change *change, seq_no seq) {
    struct hash_memory *memory = active_of(engine);
    bool is_same_commit = memory->commit_seq == seq;
    struct memory_walk walk = {memory->commit_chunk, memory->commit_offset};
    struct memory_chunk *last = memory->last;
    size_t end = last->used;
    struct hash_version *range = hash_memory_push(memory, change->key, &change->record, 0, seq);
    range->flags = change->range_has_end ? VERSION_HAS_END : 0;
    const struct hash_version *next = atomic_load_explicit(&memory->ranges, memory_order_relaxed);
    atomic_store_explicit(&range->older, link_to_version(next), memory_order_relaxed);
    atomic_store_explicit(&memory->ranges, range, memory_order_release);
    while (is_same_commit && (walk.chunk != last || walk.offset < end)) {
        const struct hash_version *written = memory_walk_next(&walk);
        if (written == NULL || written == range) {
            break;
        }
        if (written->kind == CHANGE_DELETE_RANGE || written->kind == RECORD_DELETE ||
            written->seq != seq || !hash_range_covers(range, version_key(written))) {
            continue;
        }
        struct hash_version *head = NULL;
        hash_link disk;
        index_slot *slot =
            hash_find_head(engine, version_key(written), written->hash, &head, &disk);
        if (slot != NULL && head->seq == seq && head->kind != RECORD_DELETE) {
            const struct record gone = {.kind = RECORD_DELETE};
            struct hash_version *version =
                hash_memory_push(memory, version_key(written), &gone, written->hash, seq);
            atomic_store_explicit(&version->older, link_to_version(head), memory_order_relaxed);
            hash_index_store(slot, link_to_version(version));
            prune(engine, version);
        }
    }
}

static size_t promise_of(const struct engine_change *change) {
    return 2 * version_bytes_for(change->key.size, change->record.value.size);
}

void hash_apply(struct engine *base, const struct engine_change *changes, size_t count, seq_no seq,
                const struct engine_horizon *horizon) {
    struct hash_engine *engine = hash_of(base);
    mutex_lock(&engine->index_lock);
    hash_save_horizon(engine, horizon);
    engine->promised_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        engine->promised_bytes += promise_of(&changes[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (i + 4 < count && changes[i + 4].record.kind != CHANGE_DELETE_RANGE) {
            hash_index_prefetch(engine->index, changes[i + 4].key_hash);
        }
        engine->promised_bytes -=
            version_bytes_for(changes[i].key.size, changes[i].record.value.size);
        if (changes[i].record.kind == CHANGE_DELETE_RANGE) {
            push_range(engine, &changes[i], seq);
        } else {
            push_change(engine, &changes[i], seq);
        }
    }
    engine->promised_inserts = 0;
    mutex_unlock(&engine->index_lock);
    if (count > 0) {
        atomic_store_explicit(&engine->last_write_seq, seq, memory_order_release);
    }
}

/* ---- replay ---- */

static bool has_recent_segment(const struct hash_engine *engine) {
    const struct hash_base *base = &engine->base;
    for (uint32_t i = 0; i < base->segment_count; i++) {
        if (base->segments[i] != NULL && base->segments[i]->max_seq > engine->complete_seq) {
            return true;
        }
    }
    return false;
}

/* True when a part of a drain that did not end has put this change, or a later one, on disk. */
static tern_status base_holds(struct hash_engine *engine, const struct engine_change *change,
                              seq_no seq, bool *out_holds, tern_error *error) {
    *out_holds = seq <= engine->complete_seq;
    if (*out_holds || change->record.kind == CHANGE_DELETE_RANGE) {
        return TERN_OK;
    }
    struct hash_probe probe;
    hash_link link;
    bool is_recent = false;
    hash_probe_begin(&probe, engine->index, change->key_hash);
    do {
        while (hash_probe_next(&probe, &link) != NULL) {
            if (link_is_disk(link)) {
                const struct block_info *info = base_block(&engine->base, link_block(link));
                is_recent = is_recent ||
                            engine->base.segments[info->segment]->max_seq > engine->complete_seq;
            }
        }
    } while (hash_probe_goes_on(&probe, engine->index, change->key));
    if (!is_recent && hash_cold_has_any(&engine->cold)) {
        is_recent = has_recent_segment(engine);
    }
    if (!is_recent) {
        return TERN_OK;
    }
    struct hash_record record;
    struct cache_frame *frame = NULL;
    struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
    tern_status status =
        hash_find_on_disk(engine, change->key, change->key_hash, &link, &record, &frame, error);
    if (status == TERN_OK) {
        *out_holds = link != LINK_NONE && record.seq >= seq;
    }
    epoch_exit(slot);
    return status;
}

tern_status hash_lacks(struct engine *base, struct engine_change *change, seq_no seq,
                       bool *out_lacks, tern_error *error) {
    bool holds = false;
    tern_status status = base_holds(hash_of(base), change, seq, &holds, error);
    *out_lacks = !holds;
    return status;
}

static tern_status free_units(void *context, uint32_t place, uint32_t units) {
    hash_file_free(context, place, units);
    return TERN_OK;
}

tern_status hash_replay(struct engine *base, const struct engine_change *changes, size_t count,
                        seq_no seq, tern_error *error) {
    struct hash_engine *engine = hash_of(base);
    const tern_allocator *allocator = hash_allocator(engine);
    struct engine_change *kept = memory_allocate(allocator, (count + 1) * sizeof(kept[0]));
    if (kept == NULL) {
        return ERROR_NO_MEMORY(error, "reading the log");
    }
    size_t kept_count = 0;
    size_t bytes = 0;
    tern_status status = TERN_OK;
    for (size_t i = 0; i < count && status == TERN_OK; i++) {
        bool holds = false;
        status = base_holds(engine, &changes[i], seq, &holds, error);
        if (status == TERN_OK && !holds) {
            kept[kept_count++] = changes[i];
            bytes += changes[i].key.size + changes[i].record.value.size;
        } else if (status == TERN_OK && changes[i].record.kind == RECORD_LARGE) {
            status = hash_value_extents(engine->base.file, allocator, changes[i].record.value,
                                        free_units, engine->base.file, error);
        }
    }
    if (status == TERN_OK && kept_count > 0) {
        status = hash_reserve(base, kept_count, bytes, error);
    }
    if (status == TERN_OK && kept_count > 0) {
        hash_apply(base, kept, kept_count, seq, NULL);
    }
    engine->visible_seq = seq; /* nobody reads yet */
    memory_release(allocator, kept);
    return status;
}
