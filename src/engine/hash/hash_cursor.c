/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unordered cursor: bucket by bucket through the index. What a bucket holds is copied, keys and
 * values, so that the cursor is inside an epoch only while it does that, and writes that come later
 * cannot touch what it stands on. A key that is there at the moment of the cursor stays in its home
 * bucket, wherever pages split, so it is seen exactly once. Once the snapshot has been ended, the
 * index need not keep such keys any more: every bucket is followed by a look whether it still had
 * to.
 *
 * A key that only the index's second table has (its bucket is closed) comes at the end. Which those
 * are is listed when the walk begins: later a key may be there that had an entry in the first table
 * when its bucket was walked, which has gone to disk since (hash_pour.c) and died.
 */
#include <stdlib.h>

#include "base/compare.h"
#include "base/error.h"
#include "engine/hash/hash_engine_internal.h"

/* A page of the index on disk is gone through in parts when the blocks that its entries lead to
 * could take more than one in so many of the cache's frames: they stay as long as the epoch. */
#define FRAMES_PART  4u
#define PAGE_ENTRIES 340u
#define PARTS_MOST   8u
/* When the cache cannot keep a block of each run of segments, those would be read again for every
 * page of the index. So several pages are gone through at once, about so much of keys and values.
 */
#define RUNS_FACTOR    2u
#define AT_ONCE_BYTES  ((uint64_t)256 << 10)
#define AT_ONCE_KEYS   ((uint64_t)4096)
#define KEY_BYTES_MEAN ((uint64_t)64) /* of what is kept beside key and value */

struct cursor_item {
    size_t key_offset, key_size;
    size_t value_offset;
    struct record record;
};

struct engine_cursor {
    struct hash_engine *engine;
    struct hash_view *view;
    struct engine_moment moment;
    struct engine_cursor_bounds bounds;
    struct buffer bound_bytes;
    bool keys_only;
    struct hash_walk walk;
    bool is_in_second;     /* the links are of the index's second table */
    struct buffer seconds; /* struct hashed_item: second hashes of keys that only that table had */
    /* Since some of the index is on disk: ranges of hashes instead of buckets. */
    bool is_ranged;
    bool has_ranged; /* all ranges; what is left is of the second table, and walked before */
    bool is_at_end;  /* of the ranges */
    uint64_t first;  /* hash of the next range */
    struct walked {
        uint64_t below; /* hashes below have been walked bucket by bucket */
        uint64_t last;  /* up to here those of the buckets below `bucket` have been, too */
        uint32_t bucket;
    } walked;
    hash_link *links;
    size_t link_count, link_capacity;
    uint64_t moves; /* of the index when the links of a range were collected */
    bool has_failed;
    struct cursor_item *items;
    size_t item_count, item_capacity;
    size_t read_end; /* items from here on were shown by a record that was all there was of a key */
    size_t position; /* item where it stands; item_count: nowhere */
    bool has_begun;
    struct buffer bytes;
    struct engine_scratch scratch;
};

tern_status hash_cursor_open(struct engine_view *view, const struct engine_moment *moment,
                             const struct engine_cursor_bounds *bounds, bool keys_only,
                             struct engine_cursor **out_cursor, tern_error *error) {
    struct hash_engine *engine = hash_of(view->engine);
    const tern_allocator *allocator = hash_allocator(engine);
    struct engine_cursor *cursor = memory_allocate_zeroed(allocator, sizeof(*cursor));
    if (cursor == NULL) {
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    cursor->engine = engine;
    cursor->view = hash_view_of(view);
    engine_view_retain(view);
    cursor->moment = *moment;
    cursor->keys_only = keys_only;
    buffer_init(&cursor->bound_bytes, allocator);
    buffer_init(&cursor->bytes, allocator);
    buffer_init(&cursor->seconds, allocator);
    engine_scratch_init(&cursor->scratch, allocator);
    cursor->bounds = *bounds;
    size_t begin_size = bounds->has_begin ? bounds->begin.size : 0;
    size_t end_size = bounds->has_end ? bounds->end.size : 0;
    tern_status status = buffer_reserve(&cursor->bound_bytes, begin_size + end_size + 1);
    if (status == TERN_OK && begin_size > 0) {
        status = buffer_append(&cursor->bound_bytes, bounds->begin.data, begin_size);
    }
    if (status == TERN_OK && end_size > 0) {
        status = buffer_append(&cursor->bound_bytes, bounds->end.data, end_size);
    }
    if (status != TERN_OK) {
        hash_cursor_close(cursor);
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    cursor->bounds.begin = tern_slice_of(cursor->bound_bytes.data, begin_size);
    cursor->bounds.end = tern_slice_of(cursor->bound_bytes.data + begin_size, end_size);
    *out_cursor = cursor;
    return TERN_OK;
}

void hash_cursor_close(struct engine_cursor *cursor) {
    if (cursor == NULL) {
        return;
    }
    const tern_allocator *allocator = hash_allocator(cursor->engine);
    struct epoch_domain *epoch = cursor->engine->environment->epoch;
    buffer_release(&cursor->bound_bytes);
    buffer_release(&cursor->bytes);
    buffer_release(&cursor->seconds);
    engine_scratch_release(&cursor->scratch);
    memory_release(allocator, cursor->links);
    memory_release(allocator, cursor->items);
    if (cursor->view != NULL) {
        engine_view_release(&cursor->view->head, epoch);
    }
    memory_release(allocator, cursor);
}

void hash_cursor_renew(struct engine_cursor *cursor, const struct engine_moment *moment) {
    cursor->moment = *moment;
    cursor->has_begun = false;
    cursor->item_count = cursor->position = 0;
}

static void collect_link(void *context, hash_link link) {
    struct engine_cursor *cursor = context;
    if (cursor->link_count == cursor->link_capacity) {
        size_t capacity = cursor->link_capacity == 0 ? 32 : cursor->link_capacity * 2;
        void *grown = memory_resize(hash_allocator(cursor->engine), cursor->links,
                                    capacity * sizeof(cursor->links[0]));
        if (grown == NULL) {
            cursor->has_failed = true;
            return;
        }
        cursor->links = grown;
        cursor->link_capacity = capacity;
    }
    cursor->links[cursor->link_count++] = link;
}

static bool was_walked(const struct engine_cursor *cursor, uint64_t hash);

static bool is_within(const struct engine_cursor *cursor, tern_slice key) {
    return (!cursor->bounds.has_begin || slice_compare(key, cursor->bounds.begin) >= 0) &&
           (!cursor->bounds.has_end || slice_compare(key, cursor->bounds.end) < 0);
}

static tern_status keep_item(struct engine_cursor *cursor, tern_slice key,
                             const struct record *record) {
    if (cursor->item_count == cursor->item_capacity) {
        size_t capacity = cursor->item_capacity == 0 ? 32 : cursor->item_capacity * 2;
        void *grown = memory_resize(hash_allocator(cursor->engine), cursor->items,
                                    capacity * sizeof(cursor->items[0]));
        if (grown == NULL) {
            return TERN_NO_MEMORY;
        }
        cursor->items = grown;
        cursor->item_capacity = capacity;
    }
    struct cursor_item item = {
        .key_offset = cursor->bytes.size, .key_size = key.size, .record = *record};
    bool has_value = !cursor->keys_only || record->kind == RECORD_LARGE;
    tern_status status = buffer_append(&cursor->bytes, key.data, key.size);
    item.value_offset = cursor->bytes.size;
    if (status == TERN_OK && has_value && record->value.size > 0) {
        status = buffer_append(&cursor->bytes, record->value.data, record->value.size);
    }
    if (!has_value) {
        item.record.value.size = 0;
    }
    if (status == TERN_OK) {
        cursor->items[cursor->item_count++] = item;
    }
    return status;
}

/* Is the key one of the first `count` that were met in this bucket, or range, already? */
static bool is_known(const struct engine_cursor *cursor, size_t count, tern_slice key) {
    for (size_t i = 0; i < count; i++) {
        const struct cursor_item *item = &cursor->items[i];
        if (slice_equal(tern_slice_of(cursor->bytes.data + item->key_offset, item->key_size),
                        key)) {
            return true;
        }
    }
    return false;
}

/* ---- keys of the second table ---- */

static bool was_second_only(const struct engine_cursor *cursor, tern_slice key) {
    const struct hashed_item *items = (const struct hashed_item *)(void *)cursor->seconds.data;
    uint64_t second = hash_index_second(cursor->engine->index, key);
    size_t low = 0;
    size_t high = cursor->seconds.size / sizeof(items[0]);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (items[middle].hash < second) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < cursor->seconds.size / sizeof(items[0]) && items[low].hash == second;
}

static tern_status note_second(struct engine_cursor *cursor, tern_slice key, uint64_t hash,
                               tern_error *error) {
    const struct hashed_item item = {hash_index_second(cursor->engine->index, key), 0};
    bool has_first = false;
    tern_status status = hash_has_first_entry(cursor->engine, key, hash, &has_first, error);
    if (status == TERN_OK && !has_first &&
        buffer_append(&cursor->seconds, &item, sizeof(item)) != TERN_OK) {
        status = ERROR_NO_MEMORY(error, "a cursor");
    }
    return status;
}

static tern_status note_second_link(struct engine_cursor *cursor, hash_link link,
                                    tern_error *error) {
    struct hash_engine *engine = cursor->engine;
    if (link_is_version(link)) {
        const struct hash_version *version = link_version(link);
        return note_second(cursor, version_key(version), version->hash, error);
    }
    struct hash_record record;
    struct cache_frame *frame = NULL;
    tern_error failure = TERN_ERROR_INIT;
    tern_status status = base_read_record(&engine->base, link, &record, &frame, &failure);
    if (status == TERN_CORRUPTION) {
        return TERN_OK; /* the walk tells when it comes there */
    }
    if (status != TERN_OK) {
        error_copy(error, &failure);
        return status;
    }
    return note_second(cursor, record.key, hash_of_key(engine, record.key), error);
}

/* Lists the keys that only the second table has. Inside an epoch. */
static tern_status list_seconds(struct engine_cursor *cursor, tern_error *error) {
    struct hash_engine *engine = cursor->engine;
    tern_status status = TERN_OK;
    cursor->seconds.size = 0;
    for (bool is_still = false; !is_still;) {
        uint64_t moves = hash_index_moves(engine->index);
        cursor->link_count = 0;
        cursor->has_failed = false;
        hash_index_visit_second(engine->index, collect_link, cursor);
        atomic_thread_fence(memory_order_seq_cst);
        is_still = (moves & 1) == 0 && hash_index_moves(engine->index) == moves;
    }
    if (cursor->has_failed) {
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    for (size_t i = 0; i < cursor->link_count && status == TERN_OK; i++) {
        status = note_second_link(cursor, cursor->links[i], error);
    }
    hashed_items_sort((struct hashed_item *)(void *)cursor->seconds.data,
                      cursor->seconds.size / sizeof(struct hashed_item));
    return status;
}

/* ---- reading ---- */

static tern_status read_key(struct engine_cursor *cursor, tern_slice key, uint64_t hash,
                            tern_error *error) {
    struct engine_result result;
    if (!is_within(cursor, key) || is_known(cursor, cursor->item_count, key)) {
        return TERN_OK;
    }
    tern_status status =
        hash_get(&cursor->view->head, key, hash, &cursor->moment, &cursor->scratch, &result, error);
    if (status != TERN_OK || result.record.kind == RECORD_NONE) {
        return status;
    }
    status = keep_item(cursor, key, &result.record) == TERN_OK ? TERN_OK
                                                               : ERROR_NO_MEMORY(error, "a cursor");
    cursor->read_end = cursor->item_count;
    return status;
}

/* Not again what came with the first table. */
static tern_status read_once(struct engine_cursor *cursor, tern_slice key, uint64_t hash,
                             tern_error *error) {
    bool has_come = cursor->has_ranged && !was_walked(cursor, hash);
    tern_status status = TERN_OK;
    if (cursor->is_in_second && !has_come && !was_second_only(cursor, key)) {
        has_come = true;
    } else if (cursor->is_in_second && !has_come) {
        status = hash_has_first_entry(cursor->engine, key, hash, &has_come, error);
    }
    return status == TERN_OK && !has_come ? read_key(cursor, key, hash, error) : status;
}

static tern_status read_links(struct engine_cursor *cursor, tern_error *error) {
    struct hash_engine *engine = cursor->engine;
    tern_status status = TERN_OK;
    for (size_t i = 0; i < cursor->link_count && status == TERN_OK; i++) {
        hash_link link = cursor->links[i];
        if (link_is_version(link)) {
            const struct hash_version *version = link_version(link);
            status = read_once(cursor, version_key(version), version->hash, error);
            continue;
        }
        struct hash_record record;
        struct cache_frame *frame = NULL;
        base_fetch_around(&engine->base, link_block(link));
        status = base_read_record(&engine->base, link, &record, &frame, error);
        if (status == TERN_OK) {
            status = read_once(cursor, record.key, hash_of_key(engine, record.key), error);
        }
    }
    return status;
}

/* What the moment may select may have left the index without a trace. Removals are noted before
 * they happen, so whoever asks after reading a bucket knows of all that he has missed there. */
static bool may_have_missed(const struct engine_cursor *cursor) {
    struct hash_engine *engine = cursor->engine;
    atomic_thread_fence(memory_order_seq_cst);
    return cursor->moment.seq < atomic_load_explicit(&engine->removed_seq, memory_order_acquire) &&
           !hash_is_registered(engine, cursor->moment.seq);
}

/* ---- ranges ---- */

/*
 * With a part of the index on disk the walk goes on in ranges of hashes, a page there at a time: in
 * memory and there, whatever lies in the range; what moves from one to the other stays in it. What
 * the second table has of the range comes with it. What is left at the end are keys that only the
 * second table has, of hashes whose buckets had been walked before the walk changed over.
 */
static bool was_walked(const struct engine_cursor *cursor, uint64_t hash) {
    const struct walked *walked = &cursor->walked;
    return hash < walked->below ||
           (hash <= walked->last &&
            hash_index_bucket(cursor->engine->index, hash) < walked->bucket);
}

static void change_to_ranges(struct engine_cursor *cursor) {
    const struct hash_walk *walk = &cursor->walk;
    cursor->is_ranged = true;
    cursor->first = walk->prefix;
    cursor->walked = (struct walked){walk->prefix, 0, 0};
    if (walk->has_page) {
        cursor->walked.last =
            walk->depth > 0 ? walk->prefix | UINT64_MAX >> walk->depth : UINT64_MAX;
        cursor->walked.bucket = walk->bucket;
    }
}

static void collect_known(void *context, hash_link link, uint64_t hash, uint32_t known) {
    (void)hash;
    (void)known;
    collect_link(context, link);
}

static bool collect_cold(void *context, hash_link link, uint64_t field) {
    (void)field;
    collect_link(context, link);
    return true;
}

/* What lies in [first, last], and perhaps more. */
static tern_status collect_range(struct engine_cursor *cursor, uint64_t last, tern_error *error) {
    struct hash_engine *engine = cursor->engine;
    for (;;) {
        uint64_t moves = hash_index_moves(engine->index);
        cursor->link_count = 0;
        cursor->has_failed = false;
        hash_index_visit_range(engine->index, cursor->first, last, true, collect_known, cursor);
        hash_index_visit_second(engine->index, collect_link, cursor);
        tern_status status =
            hash_cold_visit(&engine->cold, cursor->first, last, collect_cold, cursor, error);
        if (status != TERN_OK) {
            return status;
        }
        atomic_thread_fence(memory_order_seq_cst);
        if ((moves & 1) == 0 && hash_index_moves(engine->index) == moves) {
            cursor->moves = moves;
            return cursor->has_failed ? ERROR_NO_MEMORY(error, "a cursor") : TERN_OK;
        }
        spin_pause();
    }
}

static bool is_in_range(const struct engine_cursor *cursor, uint64_t hash, uint64_t last) {
    return hash >= cursor->first && hash <= last && !was_walked(cursor, hash);
}

/* The end of the page that a hash leads to, in memory or on disk. */
static uint64_t end_of_page(const struct hash_engine *engine, uint64_t hash) {
    uint64_t in_memory = hash_index_page_end(engine->index, hash);
    uint64_t on_disk = hash_cold_page_end(&engine->cold, hash);
    return in_memory < on_disk ? in_memory : on_disk;
}

/* The last hash that is gone through at once. */
static uint64_t end_of_range(struct engine_cursor *cursor) {
    struct hash_engine *engine = cursor->engine;
    uint64_t frames = cache_limit(engine->environment->cache) / engine->base.page_bytes;
    uint64_t last = end_of_page(engine, cursor->first);
    if (frames >= RUNS_FACTOR * base_runs(&engine->base)) {
        uint64_t parts = PAGE_ENTRIES * FRAMES_PART / (frames + 1) + 1;
        parts = parts < PARTS_MOST ? parts : PARTS_MOST;
        return cursor->first + (last - cursor->first) / parts;
    }
    uint64_t records = atomic_load_explicit(&engine->base.live_records, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&engine->base.block_bytes, memory_order_relaxed);
    uint64_t keys = AT_ONCE_BYTES / (bytes / (records + 1) + KEY_BYTES_MEAN);
    keys = keys < AT_ONCE_KEYS ? keys : AT_ONCE_KEYS;
    for (uint64_t seen = 2 * PAGE_ENTRIES; seen <= keys && last != UINT64_MAX;
         seen += PAGE_ENTRIES) {
        last = end_of_page(engine, last + 1);
    }
    return last;
}

/* Is this live record all that the index has of its key, and what the moment selects? While a drain
 * puts another one in its place both have entries for a while. */
static bool is_plain(const struct engine_cursor *cursor, const struct hash_record *record,
                     hash_link link, uint64_t hash) {
    const struct hash_engine *engine = cursor->engine;
    struct hash_probe probe;
    hash_link found;
    if (record->record.kind != RECORD_PUT || record->record.expires_ms != 0 ||
        record->seq > cursor->moment.seq ||
        record->seq < hash_view_range_seq(cursor->view, record->key, cursor->moment.seq)) {
        return false;
    }
    hash_probe_begin(&probe, engine->index, hash);
    do {
        while (hash_probe_next(&probe, &found) != NULL) {
            const struct hash_version *version =
                link_is_version(found) ? link_version(found) : NULL;
            bool is_other = version != NULL ? version->hash == hash &&
                                                  slice_equal(version_key(version), record->key)
                                            : found != link;
            if (is_other) {
                return false;
            }
        }
    } while (hash_probe_goes_on(&probe, engine->index, record->key));
    atomic_thread_fence(memory_order_acquire);
    return hash_index_moves(engine->index) == cursor->moves;
}

/* The block that was read last: it need not be in the cache, but stays as long as the epoch. */
struct last_block {
    uint32_t number;
    const uint8_t *payload; /* NULL: none */
};

static tern_status read_next(struct hash_base *base, struct last_block *last_block, hash_link link,
                             struct hash_record *out_record, tern_error *error) {
    uint32_t number = link_block(link);
    const struct block_info *info = base_block(base, number);
    struct cache_frame *frame = NULL;
    if (last_block->payload == NULL || last_block->number != number) {
        last_block->payload = NULL;
        base_fetch_around(base, number);
        tern_status status = base_read_block(base, number, &last_block->payload, &frame, error);
        if (status != TERN_OK) {
            return status;
        }
        last_block->number = number;
    }
    return record_decode(last_block->payload, info->raw_bytes, link_slot(link), out_record)
               ? TERN_OK
               : base_corrupt(base, info->place, "a record is malformed", error);
}

static tern_status read_record_in_range(struct engine_cursor *cursor, struct last_block *last_block,
                                        hash_link link, uint64_t last, tern_error *error) {
    struct hash_engine *engine = cursor->engine;
    struct hash_record record;
    tern_status status = read_next(&engine->base, last_block, link, &record, error);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t hash = hash_of_key(engine, record.key);
    if (!is_in_range(cursor, hash, last) || !is_within(cursor, record.key)) {
        return TERN_OK;
    }
    if (!is_plain(cursor, &record, link, hash)) {
        return read_key(cursor, record.key, hash, error);
    }
    if (is_known(cursor, cursor->read_end, record.key)) {
        return TERN_OK; /* it had an older one beside it before */
    }
    return keep_item(cursor, record.key, &record.record) == TERN_OK
               ? TERN_OK
               : ERROR_NO_MEMORY(error, "a cursor");
}

static int compare_links(const void *left, const void *right) {
    hash_link left_link = *(const hash_link *)left;
    hash_link right_link = *(const hash_link *)right;
    return (left_link > right_link) - (left_link < right_link);
}

static tern_status fill_from_range(struct engine_cursor *cursor, tern_error *error) {
    struct hash_engine *engine = cursor->engine;
    uint64_t last = end_of_range(cursor);
    hash_cold_fetch_around(&engine->cold, cursor->first);
    tern_status status = collect_range(cursor, last, error);
    /* Versions first, then block by block; what was on its way from memory to disk comes twice. */
    if (status == TERN_OK && cursor->link_count > 1) {
        qsort(cursor->links, cursor->link_count, sizeof(cursor->links[0]), compare_links);
    }
    struct last_block last_block = {0};
    for (size_t i = 0; i < cursor->link_count && status == TERN_OK; i++) {
        hash_link link = cursor->links[i];
        if (i > 0 && cursor->links[i - 1] == link) {
            continue;
        }
        if (link_is_version(link)) {
            const struct hash_version *version = link_version(link);
            if (is_in_range(cursor, version->hash, last)) {
                status = read_key(cursor, version_key(version), version->hash, error);
            }
        } else {
            status = read_record_in_range(cursor, &last_block, link, last, error);
        }
    }
    if (status != TERN_OK) {
        return status;
    }
    cursor->is_at_end = last == UINT64_MAX;
    cursor->first = last + 1;
    return may_have_missed(cursor) ? TERN_CANCELLED : TERN_OK;
}

/* ---- buckets ---- */

/* The items of the next bucket, if it has any. */
static tern_status fill_from_bucket(struct engine_cursor *cursor, tern_error *error) {
    struct hash_engine *engine = cursor->engine;
    for (;;) {
        struct hash_walk before = cursor->walk;
        uint64_t moves = hash_index_moves(engine->index);
        cursor->link_count = 0;
        cursor->has_failed = false;
        cursor->is_in_second = before.is_second;
        if (!hash_index_walk(engine->index, &cursor->walk, collect_link, cursor)) {
            return may_have_missed(cursor) ? TERN_CANCELLED : TERN_NOT_FOUND;
        }
        atomic_thread_fence(memory_order_seq_cst);
        if ((moves & 1) == 0 && hash_index_moves(engine->index) == moves) {
            break;
        }
        cursor->walk = before;
    }
    if (cursor->has_failed) {
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    tern_status status = read_links(cursor, error);
    return status == TERN_OK && may_have_missed(cursor) ? TERN_CANCELLED : status;
}

static tern_status fill_next(struct engine_cursor *cursor, tern_error *error) {
    const struct hash_engine *engine = cursor->engine;
    if (!cursor->is_ranged && !cursor->has_ranged && !cursor->walk.is_second &&
        !cursor->walk.is_done && hash_cold_has_any(&engine->cold)) {
        change_to_ranges(cursor);
    }
    if (cursor->is_ranged && !cursor->is_at_end) {
        return fill_from_range(cursor, error);
    }
    if (cursor->is_ranged) {
        cursor->is_ranged = false;
        cursor->has_ranged = true;
        bool has_rest = (cursor->walked.below > 0 || cursor->walked.bucket > 0) &&
                        hash_index_has_second(engine->index);
        cursor->walk = (struct hash_walk){.is_second = true, .is_done = !has_rest};
    }
    return fill_from_bucket(cursor, error);
}

/* Fills the items from the next bucket that has any, in an epoch for each that it looks at.
 * TERN_NOT_FOUND at the end, TERN_CANCELLED when the snapshot has been ended. */
static tern_status fill(struct engine_cursor *cursor, tern_error *error) {
    tern_status status = TERN_OK;
    cursor->item_count = cursor->read_end = 0;
    cursor->bytes.size = 0;
    while (status == TERN_OK && cursor->item_count == 0) {
        struct epoch_slot *slot = epoch_enter(cursor->engine->environment->epoch);
        status = fill_next(cursor, error);
        epoch_exit(slot);
    }
    cursor->position = 0;
    return status;
}

static tern_status unordered(tern_error *error) {
    return ERROR_SET(error, TERN_UNSUPPORTED,
                     "a hash keyspace has no order: its cursor goes from the first entry to the "
                     "last only; use a B+tree keyspace to seek or to go backward");
}

tern_status hash_cursor_seek(struct engine_cursor *cursor, tern_slice key, bool backward,
                             tern_error *error) {
    (void)cursor;
    (void)key;
    (void)backward;
    return unordered(error);
}

tern_status hash_cursor_previous(struct engine_cursor *cursor, tern_error *error) {
    (void)cursor;
    return unordered(error);
}

tern_status hash_cursor_first(struct engine_cursor *cursor, bool backward, tern_error *error) {
    if (backward) {
        return unordered(error);
    }
    cursor->walk = (struct hash_walk){0};
    cursor->is_ranged = cursor->has_ranged = cursor->is_at_end = false;
    cursor->has_begun = true;
    struct epoch_slot *slot = epoch_enter(cursor->engine->environment->epoch);
    tern_status status = TERN_OK;
    if (hash_cold_has_any(&cursor->engine->cold)) {
        change_to_ranges(cursor); /* whatever becomes of it: they come by everything */
    } else {
        status = list_seconds(cursor, error);
    }
    epoch_exit(slot);
    status = status == TERN_OK ? fill(cursor, error) : status;
    cursor->has_begun = status == TERN_OK;
    return status;
}

tern_status hash_cursor_next(struct engine_cursor *cursor, tern_error *error) {
    if (!cursor->has_begun) {
        return hash_cursor_first(cursor, false, error);
    }
    if (cursor->position + 1 < cursor->item_count) {
        cursor->position++;
        return TERN_OK;
    }
    tern_status status = fill(cursor, error);
    cursor->has_begun = status == TERN_OK;
    return status;
}

static void entry_at(const struct engine_cursor *cursor, size_t at,
                     struct engine_entry *out_entry) {
    const struct cursor_item *item = &cursor->items[at];
    out_entry->key = tern_slice_of(cursor->bytes.data + item->key_offset, item->key_size);
    out_entry->record = item->record;
    out_entry->record.value =
        tern_slice_of(cursor->bytes.data + item->value_offset, item->record.value.size);
}

void hash_cursor_entry(const struct engine_cursor *cursor, struct engine_entry *out_entry) {
    entry_at(cursor, cursor->position, out_entry);
}

tern_status hash_cursor_next_batch(struct engine_cursor *cursor, tern_entry *out_entries,
                                   size_t capacity, size_t *out_count, tern_error *error) {
    tern_status status = hash_cursor_next(cursor, error);
    size_t count = 0;
    if (status != TERN_OK) {
        return status;
    }
    for (;;) {
        struct engine_entry entry;
        entry_at(cursor, cursor->position, &entry);
        out_entries[count++] = (tern_entry){entry.key, entry.record.value};
        size_t next = cursor->position + 1;
        if (count == capacity || next == cursor->item_count ||
            cursor->items[next].record.kind == RECORD_LARGE || entry.record.kind == RECORD_LARGE) {
            break;
        }
        cursor->position = next;
    }
    *out_count = count;
    return TERN_OK;
}
