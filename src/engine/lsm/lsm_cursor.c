/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources are the runs that have records, newest first, each standing at its first key from the
 * position on in the direction of travel. What a newer run's range deletes cover is skipped by
 * seeking in the older ones.
 *
 * Invariants:
 *  1. `entry` is what it stands on; its bytes lie in blocks that are held, in a table's meta block,
 *     or in the scratch.
 *  2. Sources marked in `at_key` stand on the entry's key, unless `is_ahead`: then all sources
 *     stand beyond it (after a batch), and none has left the block that lent entries. While it
 *     `is_passing`, they stand on it, and the next move begins with it.
 *
 * A leaf, for the merging cursor, is what can be handed out before any source has to leave its
 * block: all keys up to the lowest last key of the blocks.
 */
#include "engine/lsm/lsm_cursor.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/operand_list.h"
#include "engine/lsm/run_cursor.h"
#include "engine/lsm/value_file.h"

/* Keys that are gone, passed in one call. */
#define PASSED_MAX 512u
/* Keys up to this are compared without a call. */
#define SMALL_KEY_BYTES 32u

struct source {
    struct run_cursor run;
    uint64_t head; /* of the key it stands on */
    bool is_valid;
    bool at_key;
};

struct lsm_cursor {
    struct base_cursor base;
    struct lsm_version *version;
    uint64_t time_ms;
    bool is_raw; /* as lsm_cursor_open_raw says */
    bool is_backward;
    bool is_ahead;
    bool is_passing;
    bool has_ranges;
    bool is_scratch; /* the entry's value was built */
    struct engine_entry entry;
    struct engine_scratch scratch;
    struct buffer fence;
    struct buffer key; /* while sources are sought */
    uint32_t source_count;
    struct source sources[];
};

static struct lsm_cursor *cursor_of(struct base_cursor *cursor) {
    return (struct lsm_cursor *)cursor;
}

static inline void refresh(struct source *source) {
    source->is_valid = run_cursor_is_valid(&source->run);
    if (source->is_valid) {
        tern_slice key = run_cursor_entry(&source->run)->key;
        source->head = key_head_u64(key.data, key.size);
    }
}

static tern_status step_source(struct lsm_cursor *cursor, struct source *source,
                               tern_error *error) {
    tern_status status = run_cursor_step(&source->run, cursor->is_backward, error);
    refresh(source);
    return status;
}

static inline int compare_sources(const struct source *left, const struct source *right) {
    if (left->head != right->head) {
        return left->head < right->head ? -1 : 1;
    }
    tern_slice one = run_cursor_entry(&left->run)->key;
    tern_slice other = run_cursor_entry(&right->run)->key;
    if (one.size == other.size && one.size <= SMALL_KEY_BYTES) {
        return compare_small(one.data, other.data, one.size);
    }
    return slice_compare(one, other);
}

/* Marks those that stand on the next key; false: there is none. */
static bool mark_next(struct lsm_cursor *cursor, uint32_t *out_first) {
    uint32_t first = UINT32_MAX;
    uint32_t marked = 0;
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        struct source *source = &cursor->sources[i];
        source->at_key = false;
        if (!source->is_valid) {
            continue;
        }
        int order = first == UINT32_MAX ? -1 : compare_sources(source, &cursor->sources[first]);
        if (first != UINT32_MAX && cursor->is_backward) {
            order = -order;
        }
        if (order < 0) {
            for (uint32_t j = first; marked > 0 && j < i; j++) {
                cursor->sources[j].at_key = false;
            }
            first = i;
            marked = 0;
        }
        if (order <= 0) {
            source->at_key = true;
            marked++;
        }
    }
    *out_first = first;
    return first != UINT32_MAX;
}

/* The range delete of a run newer than run `run` over the key that reaches furthest. */
static const struct lsm_range *find_cover(const struct lsm_cursor *cursor, uint32_t run,
                                          tern_slice key) {
    const struct lsm_range *cover = NULL;
    for (uint32_t i = 0; i < run; i++) {
        const struct lsm_range *range = cursor->version->runs[i].range_count > 0
                                            ? run_range(&cursor->version->runs[i], key)
                                            : NULL;
        bool reaches_further =
            range != NULL &&
            (cover == NULL ||
             (cursor->is_backward ? slice_compare(range->begin, cover->begin) < 0
                                  : cover->has_end && (!range->has_end ||
                                                       slice_compare(range->end, cover->end) > 0)));
        cover = reaches_further ? range : cover;
    }
    return cover;
}

/* Moves a source over a range delete that covers where it stands. */
static tern_status skip_range(struct lsm_cursor *cursor, struct source *source,
                              const struct lsm_range *range, tern_error *error) {
    tern_status status = TERN_OK;
    if (cursor->is_backward) {
        if (range->begin.size == 0) {
            run_cursor_end(&source->run);
        } else {
            status = run_cursor_seek(&source->run, &range->begin, true, error);
            if (status == TERN_OK && run_cursor_is_valid(&source->run) &&
                slice_equal(run_cursor_entry(&source->run)->key, range->begin)) {
                status = run_cursor_step(&source->run, true, error);
            }
        }
    } else if (!range->has_end) {
        run_cursor_end(&source->run);
    } else {
        status = run_cursor_seek(&source->run, &range->end, false, error);
    }
    refresh(source);
    return status;
}

/* Merges what the marked sources have of the key, newest first. NONE: the key is not there. */
static tern_status resolve(struct lsm_cursor *cursor, tern_slice key, struct record *out_record,
                           tern_error *error) {
    struct lsm *lsm = cursor->version->lsm;
    struct resolution resolution;
    struct engine_result result;
    tern_status status = TERN_OK;
    resolution_init(&resolution, lsm_allocator(lsm));
    for (uint32_t i = 0; status == TERN_OK && i < cursor->source_count; i++) {
        const struct source *source = &cursor->sources[i];
        if (source->at_key) {
            status =
                table_add_record(&resolution, &run_cursor_entry(&source->run)->record, NULL, error);
        }
        if (resolution.is_complete) {
            break;
        }
        if (status == TERN_OK && run_range(&cursor->version->runs[i], key) != NULL) {
            const struct record gone = {.kind = RECORD_DELETE};
            status = table_add_record(&resolution, &gone, NULL, error);
            break;
        }
    }
    if (status != TERN_OK) {
        resolution_release(&resolution);
        return status;
    }
    if (cursor->is_raw && !resolution.is_complete) {
        status = operand_list_encode(&resolution, &cursor->scratch.value);
        resolution_release(&resolution);
        *out_record =
            (struct record){.kind = RECORD_MERGE, .value = buffer_slice(&cursor->scratch.value)};
        cursor->is_scratch = true;
        return status == TERN_OK ? TERN_OK : ERROR_NO_MEMORY(error, "merge operands");
    }
    if (resolution.operand_count == 0) {
        /* Expiry is the caller's to judge. */
        *out_record = resolution.terminal;
        resolution_release(&resolution);
        return TERN_OK;
    }
    status = resolution_finish(&resolution, cursor->time_ms, &cursor->scratch, lsm_value_load, lsm,
                               &result, error);
    if (status == TERN_OK && result.record.kind == RECORD_NONE &&
        resolution.terminal.expires_ms != 0) {
        /* Its operands went with it; so may newer ones, which the expired value tells. */
        *out_record = resolution.terminal;
        return TERN_OK;
    }
    *out_record = result.record;
    cursor->is_scratch = true;
    return status;
}

/* Stands on the first key that is there from where the sources are, or passes some. */
static tern_status settle(struct lsm_cursor *cursor, tern_error *error) {
    uint32_t first = 0;
    cursor->is_ahead = cursor->is_passing = false;
    cursor->is_scratch = false;
    for (uint32_t passed = 0; mark_next(cursor, &first); passed++) {
        struct source *source = &cursor->sources[first];
        const struct engine_entry *entry = run_cursor_entry(&source->run);
        if (passed >= PASSED_MAX && !cursor->is_raw) {
            cursor->entry = *entry;
            cursor->is_ahead = cursor->is_passing = true;
            return TERN_OK;
        }
        if (cursor->has_ranges) {
            const struct lsm_range *cover = find_cover(cursor, first, entry->key);
            if (cover != NULL) {
                tern_status status = skip_range(cursor, source, cover, error);
                if (status != TERN_OK) {
                    return status;
                }
                continue;
            }
        }
        cursor->entry = *entry;
        if (entry->record.kind == RECORD_MERGE) {
            tern_status status = resolve(cursor, entry->key, &cursor->entry.record, error);
            if (status != TERN_OK) {
                return status;
            }
        }
        struct record *record = &cursor->entry.record;
        if (cursor->is_raw) {
            if (record->kind == RECORD_NONE) {
                *record = (struct record){.kind = RECORD_DELETE};
            }
            return TERN_OK;
        }
        if (record->kind == RECORD_PUT || record->kind == RECORD_LARGE) {
            return TERN_OK;
        }
        for (uint32_t i = first; i < cursor->source_count; i++) {
            if (cursor->sources[i].at_key) {
                tern_status status = step_source(cursor, &cursor->sources[i], error);
                if (status != TERN_OK) {
                    return status;
                }
            }
        }
        cursor->is_scratch = false;
    }
    return TERN_NOT_FOUND;
}

/* ---- the table ---- */

static tern_status seek_each(struct lsm_cursor *cursor, const tern_slice *key, bool backward,
                             tern_error *error) {
    tern_status status = TERN_OK;
    for (uint32_t i = 0; status == TERN_OK && i < cursor->source_count; i++) {
        struct source *source = &cursor->sources[i];
        status = run_cursor_seek(&source->run, key, backward, error);
        refresh(source);
    }
    return status;
}

/* In all sources at once: what one waits for, memory brings for the others meanwhile. */
static tern_status seek_forward(struct lsm_cursor *cursor, tern_slice key, tern_error *error) {
    tern_status status = TERN_OK;
    for (uint32_t i = 0; status == TERN_OK && i < cursor->source_count; i++) {
        status = run_cursor_aim(&cursor->sources[i].run, key, error);
    }
    for (uint32_t i = 0; status == TERN_OK && i < cursor->source_count; i++) {
        status = run_cursor_hold(&cursor->sources[i].run, error);
    }
    for (uint32_t i = 0; status == TERN_OK && i < cursor->source_count; i++) {
        status = run_cursor_land(&cursor->sources[i].run, key, error);
        refresh(&cursor->sources[i]);
    }
    return status;
}

static tern_status lsm_seek(struct base_cursor *base, const tern_slice *key, bool backward,
                            tern_error *error) {
    struct lsm_cursor *cursor = cursor_of(base);
    tern_slice wanted = tern_slice_of(NULL, 0);
    if (key != NULL) {
        cursor->key.size = 0; /* the key may lie in a block that is let go */
        if (buffer_append(&cursor->key, key->data, key->size) != TERN_OK) {
            return ERROR_NO_MEMORY(error, "a cursor");
        }
        wanted = buffer_slice(&cursor->key);
    }
    cursor->is_backward = backward;
    tern_status status = key != NULL && !backward
                             ? seek_forward(cursor, wanted, error)
                             : seek_each(cursor, key != NULL ? &wanted : NULL, backward, error);
    return status == TERN_OK ? settle(cursor, error) : status;
}

static tern_status move(struct lsm_cursor *cursor, bool backward, tern_error *error) {
    if (backward != cursor->is_backward) {
        tern_slice key = cursor->entry.key;
        tern_status status = lsm_seek(&cursor->base, &key, backward, error);
        if (status != TERN_OK || !slice_equal(cursor->entry.key, buffer_slice(&cursor->key))) {
            return status;
        }
    }
    for (uint32_t i = 0; !cursor->is_ahead && i < cursor->source_count; i++) {
        if (cursor->sources[i].at_key) {
            tern_status status = step_source(cursor, &cursor->sources[i], error);
            if (status != TERN_OK) {
                return status;
            }
        }
    }
    return settle(cursor, error);
}

static tern_status lsm_next(struct base_cursor *base, tern_error *error) {
    return move(cursor_of(base), false, error);
}

static tern_status lsm_previous(struct base_cursor *base, tern_error *error) {
    return move(cursor_of(base), true, error);
}

static bool lsm_is_passing(const struct base_cursor *base) {
    return ((const struct lsm_cursor *)base)->is_passing;
}

static tern_slice lsm_key(const struct base_cursor *base) {
    return ((const struct lsm_cursor *)base)->entry.key;
}

static void lsm_record(const struct base_cursor *base, struct record *out_record) {
    *out_record = ((const struct lsm_cursor *)base)->entry.record;
}

/* Goes beyond the entry without letting go of a block; false: it cannot. */
static bool step_inside(struct lsm_cursor *cursor) {
    if (cursor->is_ahead) {
        return true;
    }
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        if (cursor->sources[i].at_key && !run_cursor_stays(&cursor->sources[i].run, false)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        struct source *source = &cursor->sources[i];
        if (source->at_key) {
            run_cursor_advance(&source->run);
            refresh(source);
        }
    }
    cursor->is_ahead = true;
    return true;
}

/* ---- batches ---- */

/* Where a batch goes: entries, or keys and values alone as `wanted` says. */
struct sink {
    struct engine_entry *entries;
    tern_entry *pairs;
    const struct base_wanted *wanted; /* of pairs */
    const tern_slice *end;
    size_t capacity;
    size_t count;
};

enum fate { FATE_TAKEN, FATE_PASSED, FATE_STOPS };

/* What becomes of an entry that no range delete covers; operands have to be resolved first. */
static inline __attribute__((always_inline)) enum fate put_entry(struct sink *sink,
                                                                 const struct engine_entry *entry) {
    const struct record *record = &entry->record;
    if (record->kind == RECORD_MERGE || record->kind == RECORD_NONE ||
        (sink->end != NULL && slice_compare(entry->key, *sink->end) >= 0)) {
        return FATE_STOPS;
    }
    if (record->kind == RECORD_DELETE) {
        return FATE_PASSED;
    }
    if (sink->wanted == NULL) {
        sink->entries[sink->count++] = *entry;
        return FATE_TAKEN;
    }
    if (record_has_expired(record, sink->wanted->now_ms)) {
        return FATE_PASSED;
    }
    if (record->kind == RECORD_LARGE && !sink->wanted->keys_only) {
        return FATE_STOPS;
    }
    sink->pairs[sink->count++] = (tern_entry){entry->key, record->value};
    return FATE_TAKEN;
}

/* The source whose key comes first, and the next one after it (NULL: it is alone); false: there is
 * none. Both stand on the same key: then all that do are marked, and the first is the newest. */
static inline bool find_first(struct lsm_cursor *cursor, struct source **out_first,
                              const struct source **out_second, bool *out_is_tied) {
    struct source *first = NULL;
    const struct source *second = NULL;
    bool is_tied = false;
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        struct source *source = &cursor->sources[i];
        source->at_key = false;
        if (!source->is_valid) {
            continue;
        }
        int order = first == NULL ? -1 : compare_sources(source, first);
        if (order < 0) {
            for (struct source *other = first; is_tied && other < source; other++) {
                other->at_key = false;
            }
            second = first;
            first = source;
            is_tied = false;
        } else if (order == 0) {
            is_tied = true;
            first->at_key = source->at_key = true;
        } else if (second == NULL || (!is_tied && compare_sources(source, second) < 0)) {
            second = source;
        }
    }
    *out_first = first;
    *out_second = second;
    *out_is_tied = is_tied;
    return first != NULL;
}

static inline bool is_covered(const struct lsm_cursor *cursor, const struct source *source,
                              tern_slice key) {
    return cursor->has_ranges &&
           find_cover(cursor, (uint32_t)(source - cursor->sources), key) != NULL;
}

/* Takes from one source as long as its keys come before that of `second`; false: the batch ends. */
static inline __attribute__((always_inline)) bool
take_stretch(struct lsm_cursor *cursor, struct source *source, const struct source *second,
             struct sink *sink, const struct engine_entry **last) {
    struct run_cursor *run = &source->run;
    bool goes_on = true;
    do {
        const struct engine_entry *entry = run_cursor_entry(run);
        enum fate fate = FATE_STOPS;
        if (!is_covered(cursor, source, entry->key)) {
            fate = put_entry(sink, entry);
        }
        *last = fate == FATE_TAKEN ? entry : *last;
        if (fate != FATE_STOPS && run_cursor_stays(run, false)) {
            run_cursor_advance(run);
        } else {
            goes_on = false;
            cursor->is_ahead = fate != FATE_TAKEN; /* what is passed comes again */
        }
        if (second != NULL) {
            refresh(source);
        }
    } while (goes_on && sink->count < sink->capacity &&
             (second == NULL || compare_sources(source, second) < 0));
    source->at_key = !cursor->is_ahead; /* no other one is marked */
    refresh(source);
    return goes_on;
}

/* Takes a key that several sources stand on; false: the batch ends. */
static inline __attribute__((always_inline)) bool take_tied(struct lsm_cursor *cursor,
                                                            const struct source *first,
                                                            struct sink *sink,
                                                            const struct engine_entry **last) {
    const struct engine_entry *entry = run_cursor_entry(&first->run);
    enum fate fate = FATE_STOPS;
    if (!is_covered(cursor, first, entry->key)) {
        fate = put_entry(sink, entry);
    }
    if (fate == FATE_STOPS) {
        return false;
    }
    *last = fate == FATE_TAKEN ? entry : *last;
    cursor->is_ahead = false;
    if (step_inside(cursor)) {
        return true;
    }
    cursor->is_ahead = fate != FATE_TAKEN;
    return false;
}

/* From the entry that it stands on; ends where a source would have to leave its block. */
static inline __attribute__((always_inline)) size_t take_batch(struct lsm_cursor *cursor,
                                                               struct sink *sink) {
    const struct engine_entry *last = NULL;
    const struct source *second = NULL;
    struct source *first = NULL;
    bool is_tied = false;
    bool goes_on = true;
    ASSERT(!cursor->is_backward);
    if (sink->capacity == 0 || put_entry(sink, &cursor->entry) != FATE_TAKEN) {
        return 0;
    }
    /* The next step may build another value in the scratch. */
    goes_on = !cursor->is_scratch && sink->count < sink->capacity && step_inside(cursor);
    while (goes_on && sink->count < sink->capacity &&
           find_first(cursor, &first, &second, &is_tied)) {
        goes_on = is_tied ? take_tied(cursor, first, sink, &last)
                          : take_stretch(cursor, first, second, sink, &last);
    }
    if (last != NULL) {
        cursor->entry = *last;
    }
    return sink->count;
}

static size_t lsm_leaf_batch(struct base_cursor *base, const tern_slice *end,
                             struct engine_entry *out_entries, size_t capacity) {
    struct sink sink = {.entries = out_entries, .end = end, .capacity = capacity};
    return take_batch(cursor_of(base), &sink);
}

static size_t lsm_leaf_pairs(struct base_cursor *base, const struct base_wanted *wanted,
                             tern_entry *out_entries, size_t capacity) {
    struct sink sink = {
        .pairs = out_entries, .wanted = wanted, .end = wanted->end, .capacity = capacity};
    return take_batch(cursor_of(base), &sink);
}

static bool lsm_leaf_fence(const struct base_cursor *base, tern_slice *out_fence) {
    struct lsm_cursor *cursor = (struct lsm_cursor *)(uintptr_t)base;
    tern_slice lowest = tern_slice_of(NULL, 0);
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        const struct source *source = &cursor->sources[i];
        if (source->is_valid) {
            tern_slice last = run_cursor_last_key(&cursor->sources[i].run);
            lowest = lowest.data == NULL || slice_compare(last, lowest) < 0 ? last : lowest;
        }
    }
    if (lowest.data == NULL || slice_compare(lowest, cursor->entry.key) < 0) {
        lowest = cursor->entry.key;
    }
    /* The shortest key above it. */
    cursor->fence.size = 0;
    if (buffer_append(&cursor->fence, lowest.data, lowest.size) != TERN_OK ||
        buffer_append(&cursor->fence, "", 1) != TERN_OK) {
        return false;
    }
    *out_fence = buffer_slice(&cursor->fence);
    return true;
}

static void lsm_renew(struct base_cursor *base, uint64_t time_ms) {
    cursor_of(base)->time_ms = time_ms;
}

static void lsm_close(struct base_cursor *base) {
    struct lsm_cursor *cursor = cursor_of(base);
    struct lsm_version *version = cursor->version;
    const tern_allocator *allocator = lsm_allocator(version->lsm);
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        run_cursor_release(&cursor->sources[i].run);
    }
    engine_scratch_release(&cursor->scratch);
    buffer_release(&cursor->fence);
    buffer_release(&cursor->key);
    memory_release(allocator, cursor);
    version_release(version);
}

static const struct base_cursor_methods methods = {
    .seek = lsm_seek,
    .next = lsm_next,
    .previous = lsm_previous,
    .is_passing = lsm_is_passing,
    .key = lsm_key,
    .record = lsm_record,
    .leaf_batch = lsm_leaf_batch,
    .leaf_pairs = lsm_leaf_pairs,
    .leaf_fence = lsm_leaf_fence,
    .renew = lsm_renew,
    .close = lsm_close,
};

static tern_status open_cursor(struct lsm_version *version, uint64_t time_ms, bool beside_cache,
                               bool is_raw, struct base_cursor **out_cursor, tern_error *error) {
    struct lsm *lsm = version->lsm;
    const tern_allocator *allocator = lsm_allocator(lsm);
    struct lsm_cursor *cursor = memory_allocate_zeroed(
        allocator, sizeof(*cursor) + version->run_count * sizeof(cursor->sources[0]));
    if (cursor == NULL) {
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    cursor->base.methods = &methods;
    cursor->version = version;
    version_retain(version);
    cursor->time_ms = time_ms;
    cursor->is_raw = is_raw;
    engine_scratch_init(&cursor->scratch, allocator);
    buffer_init(&cursor->fence, allocator);
    buffer_init(&cursor->key, allocator);
    cursor->source_count = version->run_count;
    for (uint32_t i = 0; i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        run_cursor_init(&cursor->sources[i].run, lsm, run->tables, run->count, beside_cache);
        cursor->sources[i].run.directory = &run->directory;
        cursor->has_ranges = cursor->has_ranges || run->range_count > 0;
    }
    *out_cursor = &cursor->base;
    return TERN_OK;
}

tern_status lsm_cursor_open(struct lsm_version *version, uint64_t time_ms, bool beside_cache,
                            struct base_cursor **out_cursor, tern_error *error) {
    return open_cursor(version, time_ms, beside_cache, false, out_cursor, error);
}

tern_status lsm_cursor_open_raw(struct lsm_version *version, uint64_t time_ms,
                                struct base_cursor **out_cursor, tern_error *error) {
    return open_cursor(version, time_ms, true, true, out_cursor, error);
}
