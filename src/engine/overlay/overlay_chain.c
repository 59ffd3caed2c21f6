/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The versions of one key: pushing, pruning, folding, reading.
 *
 * A reader of moment s takes the first version with seq <= s, and goes on below it as long as what
 * it took are merge operands.
 *
 * Let l be directly below u. Nobody can select l any more when u.seq <= visible_seq and no live seq
 * lies in [l.seq, u.seq), or when both are of one commit. Then
 *  - if u is terminal, l is unlinked, and u's cut becomes the lowest seq lost;
 *  - if u is an operand, both may become one version F of u's seq that has the effect of u over l.
 * A reader without a registered snapshot that has to pass u (or F) and whose seq lies in
 * [cut, u.seq) has lost what it was looking for, and is told so. The interval was free of live
 * snapshots when it was cut, and new ones are taken above it.
 *
 * Folding and expiry. An operand carries its commit time t, a value its expiry E; an operand with
 * t >= E applies to a missing value, one with t < E goes with the value (engine/resolution.h). Two
 * operands may be folded when no E can tell them apart: their times are equal, or the terminal
 * version is in this chain and both are on one side of its expiry. Over a terminal PUT or DELETE in
 * this chain an operand can always be folded: to a PUT with the value's expiry when t < E, else to
 * a PUT without one over a missing value; whoever selects the operand reads at or after t.
 *
 * Pruning waits. What lies under a new version of a PUT or DELETE has not been looked at for long:
 * the applier would wait for its line. So that is fetched, and the key pruned when PRUNE_DELAY
 * others have been pushed to. By then the new version is mostly visible, too, and nothing but it
 * is left. Readers without a registered snapshot have so many pushes of time before what they look
 * for may go. An overlay that is frozen keeps what still waited.
 *
 * Piles. A counter whose value is in the base has operands with many times, which must stay apart.
 * So each operand of a chain without a terminal version also carries the fold of itself and all
 * below: a reader takes that, and the resolution asks for the single operands only when the value
 * turns out to expire between the first and the last of them.
 *
 * Appended bytes are folded when the older part is not much longer than the newer, so lengths grow
 * geometrically and each byte is copied a logarithmic number of times.
 *
 * Unlinked versions keep their contents until an epoch has passed, but their link is taken for the
 * limbo list (BLOCK_RETIRED): a reader that stands on one starts over.
 */
#include <tern/txn.h>

#include "engine/overlay/overlay_internal.h"
#include "os/mutex.h"

/* Links looked at under a new version; now and then many more, to find what snapshots left. */
#define PRUNE_STEPS      48u
#define PRUNE_STEPS_DEEP 2048u
#define PRUNE_DEEP_EVERY 16u
/* Larger results stay as operands: a reader can put them together as well. */
#define FOLD_BYTES_MAX ((size_t)64 << 10)

struct pruning {
    struct overlay *overlay;
    struct overlay_entry *entry;
    const struct engine_horizon *horizon;
    seq_no range_seq;              /* newest range delete over the key */
    struct overlay_version *above; /* links to `upper`; NULL: the entry does */
    bool has_taken_spare;
    bool knows_terminal;
    struct overlay_version *terminal;
};

/* ---- piles ---- */

static bool takes_piles(uint32_t merge_kind) {
    return merge_kind == TERN_MERGE_ADD || merge_kind == TERN_MERGE_MAX;
}

/* The pile of `version`: false when there is none (something else lies below it). */
static bool pile_of(const struct overlay_version *version, tern_slice *out_value,
                    uint64_t *out_oldest_ms) {
    if ((version->block.flags & VERSION_HAS_PILE) != 0) {
        *out_value = version_pile_value(version);
        *out_oldest_ms = version_pile(version)->oldest_ms;
        return true;
    }
    *out_value = tern_slice_of(version_bytes(version), version->block.size);
    *out_oldest_ms = version_expires(version);
    return version_older(version) == 0;
}

/* Works out the pile of an operand that comes to lie on `below`. Bytes live in overlay->fold. */
static void build_pile(struct overlay *overlay, const struct overlay_version *below,
                       bool is_covered, struct version_parts *parts) {
    const struct record *record = parts->record;
    if (record->kind != RECORD_MERGE || !takes_piles(record->merge_kind) ||
        record->value.size > VERSION_PILE_VALUE_MAX) {
        return;
    }
    if (is_covered) {
        parts->pile = record->value;
        parts->pile_oldest_ms = record->expires_ms;
        parts->has_pile = true;
        return;
    }
    tern_slice older;
    if (version_kind(below) != RECORD_MERGE || version_merge_kind(below) != record->merge_kind ||
        !pile_of(below, &older, &parts->pile_oldest_ms) || older.size > VERSION_PILE_VALUE_MAX ||
        record_fold(record->merge_kind, older, record->value, &overlay->fold) != TERN_OK ||
        overlay->fold.size > VERSION_PILE_VALUE_MAX) {
        return;
    }
    parts->pile = buffer_slice(&overlay->fold);
    parts->has_pile = true;
}

/* ---- pruning ---- */

static bool has_live_between(const struct engine_horizon *horizon, seq_no from, seq_no below) {
    size_t low = 0;
    size_t high = horizon->live_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (horizon->live[middle] < from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < horizon->live_count && horizon->live[low] < below;
}

static bool is_unreachable(const struct pruning *pruning, const struct overlay_version *upper,
                           const struct overlay_version *lower) {
    if (lower->seq == upper->seq) {
        return true;
    }
    const struct engine_horizon *horizon = pruning->horizon;
    return horizon != NULL && upper->seq <= horizon->visible_seq &&
           !has_live_between(horizon, lower->seq, upper->seq);
}

static void unlink_lower(struct pruning *pruning, struct overlay_version *upper,
                         struct overlay_version *lower) {
    atomic_store_explicit(version_cut_word(upper), version_cut(lower), memory_order_release);
    atomic_store_explicit(&upper->block.link, version_older(lower), memory_order_release);
    overlay_memory_retire(&pruning->overlay->memory, &lower->block);
}

/* The terminal version at the end of the operands from `version` on, or NULL. */
static struct overlay_version *find_terminal(struct pruning *pruning,
                                             struct overlay_version *version) {
    if (!pruning->knows_terminal) {
        uint32_t steps = 0;
        while (version != NULL && !version_is_terminal(version) && steps++ < PRUNE_STEPS) {
            version = version_of(version_older(version));
        }
        bool is_terminal =
            version != NULL && version_is_terminal(version) && version->seq >= pruning->range_seq;
        pruning->terminal = is_terminal ? version : NULL;
        pruning->knows_terminal = true;
    }
    return pruning->terminal;
}

static bool is_before_expiry(uint64_t time_ms, uint64_t expires_ms) {
    return expires_ms == 0 || time_ms < expires_ms;
}

/* May these two operands, upper directly over lower, become one? */
static bool can_fold_operands(struct pruning *pruning, const struct overlay_version *upper,
                              struct overlay_version *lower) {
    if (version_merge_kind(upper) != version_merge_kind(lower)) {
        return false;
    }
    uint64_t upper_ms = version_expires(upper);
    uint64_t lower_ms = version_expires(lower);
    if (upper_ms == lower_ms) {
        return true;
    }
    const struct overlay_version *terminal = find_terminal(pruning, lower);
    if (terminal == NULL) {
        return false;
    }
    uint64_t expires_ms = version_kind(terminal) == RECORD_DELETE ? 0 : version_expires(terminal);
    return is_before_expiry(upper_ms, expires_ms) == is_before_expiry(lower_ms, expires_ms);
}

static bool is_worth_folding(const struct overlay_version *upper,
                             const struct overlay_version *lower) {
    size_t size = (size_t)upper->block.size + lower->block.size;
    if (size > FOLD_BYTES_MAX) {
        return false;
    }
    return version_merge_kind(upper) != TERN_MERGE_APPEND ||
           lower->block.size <= 2 * (size_t)upper->block.size + 64;
}

/* Computes what `upper` over `lower` amounts to; its value is put into `value`. */
static bool fold_records(struct pruning *pruning, const struct overlay_version *upper,
                         struct overlay_version *lower, struct buffer *value,
                         struct record *out_record) {
    struct record older;
    struct record newer;
    version_record(lower, &older);
    version_record(upper, &newer);
    *out_record = newer;
    tern_status status;
    if (older.kind == RECORD_MERGE) {
        if (!can_fold_operands(pruning, upper, lower)) {
            return false;
        }
        status = record_fold(newer.merge_kind, older.value, newer.value, value);
    } else {
        bool present =
            older.kind == RECORD_PUT && is_before_expiry(newer.expires_ms, older.expires_ms);
        status = record_merge(newer.merge_kind, present, older.value, newer.value, value);
        out_record->kind = RECORD_PUT;
        out_record->merge_kind = 0;
        out_record->expires_ms = present ? older.expires_ms : 0;
    }
    out_record->value = buffer_slice(value);
    return status == TERN_OK;
}

/* The folded version of two neighbours, linked in their place, or NULL when they stay. */
static struct overlay_version *fold(struct pruning *pruning, struct overlay_version *upper,
                                    struct overlay_version *lower) {
    struct overlay *overlay = pruning->overlay;
    if (version_kind(lower) == RECORD_LARGE || !is_worth_folding(upper, lower)) {
        return NULL;
    }
    struct buffer value;
    buffer_init(&value, overlay->allocator);
    bool is_small = upper->block.size + lower->block.size <= overlay->fold.capacity;
    struct buffer *target = is_small ? &overlay->fold : &value;
    struct overlay_version *folded = NULL;
    struct record record;
    if (!fold_records(pruning, upper, lower, target, &record)) {
        goto done;
    }
    struct version_parts parts = {
        .record = &record, .seq = upper->seq, .has_cut = true, .cut = version_cut(lower)};
    if (record.kind == RECORD_MERGE && (upper->block.flags & VERSION_HAS_PILE) != 0) {
        parts.has_pile = true;
        parts.pile_oldest_ms = version_pile(upper)->oldest_ms;
        parts.pile = version_pile_value(upper);
    }
    size_t size = version_size(&parts);
    uint32_t size_class;
    void *memory = NULL;
    if (!pruning->has_taken_spare && record.value.size <= VERSION_PILE_VALUE_MAX) {
        pruning->has_taken_spare = true;
        memory = overlay_memory_take(&overlay->memory, size, &size_class);
    } else {
        memory = overlay_memory_try(&overlay->memory, size, &size_class);
    }
    if (memory == NULL) {
        goto done;
    }
    folded = version_write(memory, size_class, &parts);
    atomic_store_explicit(&folded->block.link, version_older(lower), memory_order_relaxed);
    if (pruning->above != NULL) {
        atomic_store_explicit(&pruning->above->block.link, (uintptr_t)folded, memory_order_release);
    } else {
        atomic_store_explicit(&pruning->entry->newest, folded, memory_order_release);
    }
    overlay_memory_retire(&overlay->memory, &upper->block);
    overlay_memory_retire(&overlay->memory, &lower->block);
    /* A terminal of its own now, or what was known of the terminal may have gone into it. */
    pruning->knows_terminal = false;
done:
    buffer_release(&value);
    return folded;
}

static void prune(struct pruning *pruning) {
    struct overlay *overlay = pruning->overlay;
    uint32_t steps = ++overlay->prune_tick % PRUNE_DEEP_EVERY == 0 ? PRUNE_STEPS_DEEP : PRUNE_STEPS;
    struct overlay_version *upper =
        atomic_load_explicit(&pruning->entry->newest, memory_order_relaxed);
    while (steps-- > 0) {
        struct overlay_version *lower = version_of(version_older(upper));
        if (lower == NULL || lower->seq < pruning->range_seq) {
            return;
        }
        if (is_unreachable(pruning, upper, lower)) {
            if (version_is_terminal(upper)) {
                if (version_kind(lower) != RECORD_LARGE) {
                    unlink_lower(pruning, upper, lower);
                    continue;
                }
            } else {
                struct overlay_version *folded = fold(pruning, upper, lower);
                if (folded != NULL) {
                    upper = folded;
                    continue;
                }
            }
        }
        if (version_is_terminal(lower)) {
            pruning->knows_terminal = false;
        }
        pruning->above = upper;
        upper = lower;
    }
}

/* ---- writing ---- */

static void prune_entry(struct overlay *overlay, struct overlay_entry *entry,
                        const struct engine_horizon *horizon) {
    struct pruning pruning = {.overlay = overlay, .entry = entry, .horizon = horizon};
    /* What is not pruned for has no spare set aside. */
    pruning.has_taken_spare = horizon == NULL;
    pruning.range_seq = overlay_range_seq(overlay, entry_key(entry), SEQ_MAX);
    prune(&pruning);
}

/* The entry joins those that wait, and the one that has waited longest is pruned. */
static void prune_later(struct overlay *overlay, struct overlay_entry *entry,
                        const struct overlay_version *below, const struct engine_horizon *horizon) {
    struct overlay_entry **place = &overlay->unpruned[overlay->unpruned_next++ % PRUNE_DELAY];
    struct overlay_entry *due = *place;
    *place = entry;
    __builtin_prefetch(below, 1);
    __builtin_prefetch((const char *)below + sizeof(*below), 1);
    if (due != NULL) {
        prune_entry(overlay, due, horizon);
    }
}

void chain_push(struct overlay *overlay, struct overlay_entry *entry, const struct record *record,
                seq_no seq, const struct engine_horizon *horizon) {
    struct overlay_version *below = atomic_load_explicit(&entry->newest, memory_order_relaxed);
    bool can_wait = record->kind != RECORD_MERGE && horizon != NULL;
    struct version_parts parts = {.record = record, .seq = seq, .has_cut = true, .cut = seq};
    if (record->kind == RECORD_MERGE) {
        seq_no range_seq = overlay_range_seq(overlay, entry_key(entry), SEQ_MAX);
        build_pile(overlay, below, below->seq < range_seq, &parts);
    }
    uint32_t size_class;
    void *memory = overlay_memory_take(&overlay->memory, version_size(&parts), &size_class);
    struct overlay_version *version = version_write(memory, size_class, &parts);
    atomic_store_explicit(&version->block.link, (uintptr_t)below, memory_order_relaxed);
    atomic_store_explicit(&entry->newest, version, memory_order_release);
    if (can_wait) {
        prune_later(overlay, entry, below, horizon);
    } else {
        prune_entry(overlay, entry, horizon);
    }
}

void chain_delete_same_seq(struct overlay *overlay, struct overlay_entry *entry, seq_no seq) {
    const struct overlay_version *newest =
        atomic_load_explicit(&entry->newest, memory_order_relaxed);
    if (newest->seq == seq && version_kind(newest) != RECORD_DELETE) {
        struct record gone = {.kind = RECORD_DELETE};
        chain_push(overlay, entry, &gone, seq, NULL);
    }
}

/* ---- reading ---- */

/* The next older operand joins those in *operand. */
static tern_status put_before(const struct overlay_version *version, bool is_first,
                              struct buffer *operand, struct buffer *spare) {
    tern_slice value = tern_slice_of(version_bytes(version), version->block.size);
    if (is_first) {
        return buffer_append(operand, value.data, value.size);
    }
    tern_status status =
        record_fold(version_merge_kind(version), value, buffer_slice(operand), spare);
    struct buffer swapped = *spare;
    *spare = *operand;
    *operand = swapped;
    return status;
}

/*
 * Asked only when the value below the overlay has expired, so no range delete lies between: the
 * pile goes down to the end of the chain. Folds the operands of the pile of moment `seq` that were
 * committed at or after expires_ms. Versions may be folded meanwhile, the one that the pile was
 * read from too: what takes its place has its seq, so the walk begins at the entry. TERN_CANCELLED:
 * it went into a newer one, which happens only to readers without a registered snapshot.
 */
static tern_status pile_since(const void *chain, seq_no seq, uint64_t expires_ms,
                              struct buffer *out_operand) {
    const struct overlay_entry *entry = chain;
    struct buffer older;
    buffer_init(&older, out_operand->allocator);
    tern_status status;
restart:
    status = TERN_OK;
    out_operand->size = 0;
    uint32_t merge_kind = 0; /* none: no operand yet */
    for (const struct overlay_version *version =
             atomic_load_explicit(&entry->newest, memory_order_acquire);
         version != NULL && status == TERN_OK;) {
        bool is_newer = version->seq > seq;
        if (!is_newer && (version_kind(version) != RECORD_MERGE ||
                          (merge_kind != 0 && version_merge_kind(version) != merge_kind) ||
                          version_expires(version) < expires_ms)) {
            break;
        }
        if (!is_newer) {
            status = put_before(version, merge_kind == 0, out_operand, &older);
            merge_kind = version_merge_kind(version);
        }
        uintptr_t link = version_older(version);
        if ((link & BLOCK_RETIRED) != 0) {
            spin_pause();
            goto restart;
        }
        if (is_newer && seq >= version_cut(version)) {
            status = TERN_CANCELLED;
        }
        version = version_of(link);
    }
    buffer_release(&older);
    return status;
}

static tern_status add_version(const struct overlay_entry *entry,
                               const struct overlay_version *version,
                               struct resolution *resolution) {
    struct record record;
    version_record(version, &record);
    if ((version->block.flags & VERSION_HAS_PILE) == 0) {
        return resolution_add(resolution, &record, ENGINE_SOURCE_OVERLAY, NULL);
    }
    record.value = version_pile_value(version);
    return resolution_add_pile(resolution, &record, version_pile(version)->oldest_ms, pile_since,
                               entry, version->seq);
}

tern_status chain_resolve(const struct overlay_entry *entry, seq_no seq, seq_no range_seq,
                          struct resolution *resolution) {
    struct resolution_mark mark = resolution_mark(resolution);
restart:
    for (const struct overlay_version *version =
             atomic_load_explicit(&entry->newest, memory_order_acquire);
         version != NULL;) {
        uintptr_t link;
        if (version->seq > seq) {
            link = version_older(version);
            if ((link & BLOCK_RETIRED) == 0 && seq >= version_cut(version)) {
                return TERN_CANCELLED;
            }
        } else if (version->seq < range_seq) {
            break;
        } else {
            tern_status status = add_version(entry, version, resolution);
            if (status != TERN_OK || resolution->is_complete ||
                (version->block.flags & VERSION_HAS_PILE) != 0) {
                return status;
            }
            link = version_older(version);
        }
        if ((link & BLOCK_RETIRED) != 0) {
            spin_pause();
            resolution_rewind(resolution, mark);
            goto restart;
        }
        version = version_of(link);
    }
    return TERN_OK;
}
