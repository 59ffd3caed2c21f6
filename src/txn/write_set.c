/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants of a write set:
 *  W1 operation numbers ascend within a part; those from a savepoint's number on came after it;
 *  W2 a key's operations are linked newest to oldest; keys[k].newest is the first of that list;
 *  W3 keys are numbered in the order of their first operation, so that undoing in reverse order
 *     removes keys from the end, and a table slot emptied on the way breaks no probe sequence
 *     (everything put in later has left already);
 *  W4 bytes of operations made after a savepoint are in its arena or a later one;
 *  W5 an operation is changed in place only when it is newer than the last savepoint and than every
 *     range delete of its part, and is not LARGE (whose blocks must be told about).
 */
#include "txn/write_set.h"

#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"
#include "txn/growth.h"

/* Up to this many keys are looked through one by one. */
#define LINEAR_KEYS 8
/* Results of folding up to this size replace what they were folded from. */
#define FOLD_BYTES_MAX 4096
/* Memory that goes with an operation beside its bytes, rounded up. */
#define OPERATION_BYTES   192
#define ARENA_BYTES_FIRST 1024
/* Kept by write_set_reset. */
#define KEPT_ITEMS_MAX   1024
#define KEPT_ARENA_BYTES ((size_t)64 << 10)

void write_set_init(struct write_set *set, const tern_allocator *allocator, struct budget *budget,
                    uint64_t bytes_max) {
    *set = (struct write_set){
        .allocator = allocator, .budget = budget, .bytes_max = bytes_max, .next_number = 1};
    buffer_init(&set->folded, allocator);
}

static void release_part(struct write_set *set, struct write_part *part) {
    const tern_allocator *allocator = set->allocator;
    memory_release(allocator, part->changes);
    memory_release(allocator, part->metas);
    memory_release(allocator, part->keys);
    memory_release(allocator, part->table);
    memory_release(allocator, part->ranges);
    write_order_release(&part->order, allocator);
    *part = (struct write_part){0};
}

static void charge(struct write_set *set, uint64_t bytes) {
    set->bytes += bytes;
    if (set->budget != NULL) {
        budget_add(set->budget, BUDGET_OTHER, bytes);
    }
}

static void discharge(struct write_set *set, uint64_t bytes) {
    set->bytes -= bytes;
    if (set->budget != NULL) {
        budget_subtract(set->budget, BUDGET_OTHER, bytes);
    }
}

void write_set_release(struct write_set *set) {
    for (size_t i = 0; i < set->part_count; i++) {
        release_part(set, &set->parts[i]);
    }
    memory_release(set->allocator, set->parts);
    for (size_t i = 0; i < set->arena_count; i++) {
        arena_release(&set->arenas[i]);
    }
    memory_release(set->allocator, set->arenas);
    memory_release(set->allocator, set->savepoints);
    buffer_release(&set->folded);
    discharge(set, set->bytes);
    write_set_init(set, set->allocator, set->budget, set->bytes_max);
}

static void reset_part(struct write_set *set, struct write_part *part) {
    if (part->change_capacity > KEPT_ITEMS_MAX || part->is_ordered || part->table != NULL) {
        release_part(set, part);
        return;
    }
    part->keyspace = NULL;
    part->count = part->key_count = part->range_count = 0;
    part->kept = NULL;
}

void write_set_reset(struct write_set *set) {
    for (size_t i = 0; i < set->part_count; i++) {
        reset_part(set, &set->parts[i]);
    }
    for (size_t i = 1; i < set->arena_count; i++) {
        arena_release(&set->arenas[i]);
    }
    if (set->arena_count > 0) {
        set->arena_count = 1;
        if (set->arenas[0].allocated_bytes > KEPT_ARENA_BYTES) {
            arena_release(&set->arenas[0]);
            arena_init(&set->arenas[0], set->allocator, ARENA_BYTES_FIRST);
        } else {
            arena_reset(&set->arenas[0]);
        }
    }
    set->savepoint_count = 0;
    set->next_number = 1;
    discharge(set, set->bytes);
}

/* ---- finding ---- */

struct write_part *write_set_part(const struct write_set *set, const tern_keyspace *keyspace) {
    for (size_t i = 0; i < set->part_count; i++) {
        if (set->parts[i].keyspace == keyspace && set->parts[i].count > 0) {
            return &set->parts[i];
        }
    }
    return NULL;
}

static bool is_range(const struct engine_change *change) {
    return (int)change->record.kind == (int)CHANGE_DELETE_RANGE;
}

static size_t table_place(const struct write_part *part, tern_slice key, uint64_t hash) {
    size_t mask = part->table_capacity - 1;
    size_t place = (size_t)hash & mask;
    while (part->table[place] != 0) {
        const struct write_key *other = &part->keys[part->table[place] - 1];
        if (other->hash == hash && slice_equal(other->key, key)) {
            break;
        }
        place = (place + 1) & mask;
    }
    return place;
}

static uint32_t find_key(const struct write_part *part, tern_slice key, uint64_t hash) {
    if (part->table != NULL) {
        return part->table[table_place(part, key, hash)] - 1; /* 0 becomes WRITE_NONE */
    }
    for (uint32_t i = 0; i < part->key_count; i++) {
        if (part->keys[i].hash == hash && slice_equal(part->keys[i].key, key)) {
            return i;
        }
    }
    return WRITE_NONE;
}

uint64_t write_part_range_over(const struct write_part *part, tern_slice key,
                               const struct engine_change **out_range) {
    for (size_t i = part->range_count; i-- > 0;) {
        const struct engine_change *range = &part->changes[part->ranges[i]];
        if (slice_compare(key, range->key) >= 0 &&
            (!range->range_has_end || slice_compare(key, range->record.value) < 0)) {
            if (out_range != NULL) {
                *out_range = range;
            }
            return part->metas[part->ranges[i]].number;
        }
    }
    return 0;
}

static const struct record deleted = {.kind = RECORD_DELETE};

void write_part_find_number(const struct write_part *part, uint32_t key, struct write_found *out) {
    uint64_t range_number = write_part_range_over(part, part->keys[key].key, NULL);
    uint32_t operation = part->keys[key].newest;
    *out = (struct write_found){.newest = operation};
    while (operation != WRITE_NONE && part->metas[operation].number > range_number) {
        const struct record *record = &part->changes[operation].record;
        if (record->kind != RECORD_MERGE) {
            out->record = *record;
            out->ttl_ms = part->changes[operation].ttl_ms;
            out->large_partition = part->changes[operation].large_partition;
            return;
        }
        out->operand_count++;
        operation = part->metas[operation].older;
    }
    if (range_number > 0) {
        out->record = deleted;
    }
}

bool write_part_find(const struct write_part *part, tern_slice key, uint64_t hash,
                     struct write_found *out_found) {
    uint32_t number = find_key(part, key, hash);
    if (number != WRITE_NONE) {
        write_part_find_number(part, number, out_found);
        return true;
    }
    if (part->range_count > 0 && write_part_range_over(part, key, NULL) > 0) {
        *out_found = (struct write_found){.record = deleted, .newest = WRITE_NONE};
        return true;
    }
    return false;
}

#define OPERANDS_AT_ONCE 64

/* The operands `[from, to)` counted from the newest, into `out`. */
static void collect_operands(const struct write_part *part, uint32_t newest, uint32_t from,
                             uint32_t to, const struct record **out) {
    uint32_t operation = newest;
    for (uint32_t i = 0; i < to; i++) {
        if (i >= from) {
            out[i - from] = &part->changes[operation].record;
        }
        operation = part->metas[operation].older;
    }
}

tern_status write_part_merge(const struct write_part *part, const struct write_found *found,
                             bool present, tern_slice value, struct buffer *out,
                             struct buffer *spare) {
    const struct record *operands[OPERANDS_AT_ONCE];
    uint32_t remaining = found->operand_count;
    ASSERT(remaining > 0);
    while (remaining > 0) {
        uint32_t from = remaining > OPERANDS_AT_ONCE ? remaining - OPERANDS_AT_ONCE : 0;
        collect_operands(part, found->newest, from, remaining, operands);
        for (uint32_t i = remaining - from; i-- > 0;) {
            tern_status status =
                record_merge(operands[i]->merge_kind, present, value, operands[i]->value, spare);
            if (status != TERN_OK) {
                return status;
            }
            struct buffer result = *spare;
            *spare = *out;
            *out = result;
            value = buffer_slice(out);
            present = true;
        }
        remaining = from;
    }
    return TERN_OK;
}

/* ---- order ---- */

tern_status write_part_make_ordered(const struct write_set *set, struct write_part *part,
                                    tern_error *error) {
    if (part->is_ordered) {
        return TERN_OK;
    }
    for (uint32_t i = 0; i < part->key_count; i++) {
        if (write_order_insert(&part->order, set->allocator, part->keys, i) != TERN_OK) {
            write_order_release(&part->order, set->allocator);
            return ERROR_NO_MEMORY(error, "the order of a transaction's writes");
        }
    }
    part->is_ordered = true;
    return TERN_OK;
}

/* ---- adding ---- */

static struct write_part *find_or_add_part(struct write_set *set, tern_keyspace *keyspace) {
    struct write_part *unused = NULL;
    for (size_t i = 0; i < set->part_count; i++) {
        if (set->parts[i].keyspace == keyspace) {
            return &set->parts[i];
        }
        if (set->parts[i].count == 0) {
            unused = &set->parts[i];
        }
    }
    if (unused == NULL) {
        if (!GROWTH_RESERVE(set->allocator, set->parts, set->part_capacity, set->part_count + 1)) {
            return NULL;
        }
        unused = &set->parts[set->part_count++];
        *unused = (struct write_part){0};
    }
    unused->keyspace = keyspace;
    return unused;
}

static struct arena *current_arena(struct write_set *set) {
    if (set->arena_count == 0) {
        if (!GROWTH_RESERVE(set->allocator, set->arenas, set->arena_capacity, 1)) {
            return NULL;
        }
        arena_init(&set->arenas[0], set->allocator, ARENA_BYTES_FIRST);
        set->arena_count = 1;
    }
    return &set->arenas[set->arena_count - 1];
}

static void put_in_table(struct write_part *part, uint32_t number) {
    const struct write_key *key = &part->keys[number];
    part->table[table_place(part, key->key, key->hash)] = number + 1;
}

/* Room in the table for one key more; at most half full. */
static bool reserve_table(struct write_set *set, struct write_part *part) {
    size_t wanted = part->key_count + 1;
    if (wanted <= LINEAR_KEYS || (part->table != NULL && wanted * 2 <= part->table_capacity)) {
        return true;
    }
    size_t capacity = part->table != NULL ? part->table_capacity * 2 : 64;
    uint32_t *table = memory_allocate_zeroed(set->allocator, capacity * sizeof(*table));
    if (table == NULL) {
        return false;
    }
    memory_release(set->allocator, part->table);
    part->table = table;
    part->table_capacity = capacity;
    for (uint32_t i = 0; i < part->key_count; i++) {
        put_in_table(part, i);
    }
    return true;
}

static bool reserve_all(struct write_set *set, struct write_part *part) {
    const tern_allocator *allocator = set->allocator;
    return part->count < WRITE_NONE - 1 &&
           GROWTH_RESERVE(allocator, part->changes, part->change_capacity, part->count + 1) &&
           GROWTH_RESERVE(allocator, part->metas, part->meta_capacity, part->count + 1) &&
           GROWTH_RESERVE(allocator, part->keys, part->key_capacity, part->key_count + 1) &&
           GROWTH_RESERVE(allocator, part->ranges, part->range_capacity, part->range_count + 1) &&
           reserve_table(set, part);
}

static void copy_bytes(uint8_t *target, tern_slice bytes) {
    if (bytes.size > 0) {
        memcpy(target, bytes.data, bytes.size);
    }
}

/* Gives a key its number; the order is the last that can fail. */
static tern_status add_key(struct write_set *set, struct write_part *part, tern_slice key,
                           uint64_t hash, uint32_t *out_number) {
    uint32_t number = (uint32_t)part->key_count;
    part->keys[number] = (struct write_key){key, hash, WRITE_NONE};
    if (part->is_ordered &&
        write_order_insert(&part->order, set->allocator, part->keys, number) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    part->key_count++;
    if (part->table != NULL) {
        put_in_table(part, number);
    }
    *out_number = number;
    return TERN_OK;
}

/* Adds an operation at the end; `key` is the number of a known key or WRITE_NONE. */
static tern_status append(struct write_set *set, struct write_part *part,
                          const struct engine_change *change, uint32_t key) {
    struct arena *arena = current_arena(set);
    if (arena == NULL || !reserve_all(set, part)) {
        return TERN_NO_MEMORY;
    }
    size_t key_size = key == WRITE_NONE ? change->key.size : 0;
    tern_slice value = change->record.value;
    uint8_t *bytes = arena_allocate(arena, key_size + value.size);
    if (bytes == NULL) {
        return TERN_NO_MEMORY;
    }
    struct engine_change copy = *change;
    if (key == WRITE_NONE) {
        copy_bytes(bytes, change->key);
        copy.key = tern_slice_of(bytes, key_size);
    } else {
        copy.key = part->keys[key].key;
    }
    copy_bytes(bytes + key_size, value);
    copy.record.value = tern_slice_of(bytes + key_size, value.size);
    if (!is_range(change) && key == WRITE_NONE) {
        tern_status status = add_key(set, part, copy.key, change->key_hash, &key);
        if (status != TERN_OK) {
            return status;
        }
    }
    uint32_t operation = (uint32_t)part->count++;
    part->changes[operation] = copy;
    part->metas[operation] = (struct write_meta){.number = set->next_number++,
                                                 .value_capacity = value.size,
                                                 .key = key,
                                                 .older = WRITE_NONE};
    if (is_range(change)) {
        part->ranges[part->range_count++] = operation;
    } else {
        part->metas[operation].older = part->keys[key].newest;
        part->keys[key].newest = operation;
    }
    part->kept = NULL;
    charge(set, OPERATION_BYTES + key_size + value.size);
    return TERN_OK;
}

/* W5 */
static bool is_replaceable(const struct write_set *set, const struct write_part *part,
                           uint32_t operation) {
    uint64_t number = part->metas[operation].number;
    return part->changes[operation].record.kind != RECORD_LARGE &&
           (set->savepoint_count == 0 ||
            number >= set->savepoints[set->savepoint_count - 1].number) &&
           (part->range_count == 0 ||
            part->metas[part->ranges[part->range_count - 1]].number < number);
}

static tern_status replace(struct write_set *set, struct write_part *part, uint32_t operation,
                           const struct engine_change *change) {
    struct engine_change *target = &part->changes[operation];
    struct write_meta *meta = &part->metas[operation];
    tern_slice value = change->record.value;
    uint8_t *bytes = (uint8_t *)(uintptr_t)target->record.value.data;
    if (value.size > meta->value_capacity) {
        size_t capacity = value.size + value.size / 2;
        struct arena *arena = current_arena(set);
        bytes = arena != NULL ? arena_allocate(arena, capacity) : NULL;
        if (bytes == NULL) {
            return TERN_NO_MEMORY;
        }
        charge(set, capacity);
        meta->value_capacity = capacity;
    }
    if (value.size > 0) {
        memmove(bytes, value.data, value.size);
    }
    target->record = change->record;
    target->record.value = tern_slice_of(bytes, value.size);
    target->ttl_ms = change->ttl_ms;
    target->large_token = change->large_token;
    target->large_partition = change->large_partition;
    part->kept = NULL;
    return TERN_OK;
}

/*
 * Turns a merge into what it comes to over what the set knows of the key. False: it stays as it
 * is, over what lies below. The bytes are in set->folded.
 */
static tern_status fold(struct write_set *set, const struct write_part *part,
                        const struct write_found *found, struct engine_change *change,
                        bool *out_joins) {
    const struct record *below = &found->record;
    uint32_t kind = change->record.merge_kind;
    tern_slice operand = change->record.value;
    tern_status status = TERN_OK;
    *out_joins = false;
    if (found->operand_count > 0) {
        const struct record *newest = &part->changes[found->newest].record;
        if (newest->merge_kind != kind || newest->value.size + operand.size > FOLD_BYTES_MAX) {
            return TERN_OK;
        }
        status = record_fold(kind, newest->value, operand, &set->folded);
        *out_joins = true;
    } else if (below->kind == RECORD_DELETE) {
        status = record_merge(kind, false, tern_slice_of(NULL, 0), operand, &set->folded);
        change->record.kind = RECORD_PUT;
    } else if (below->kind == RECORD_PUT && below->value.size + operand.size <= FOLD_BYTES_MAX) {
        status = record_merge(kind, true, below->value, operand, &set->folded);
        change->record.kind = RECORD_PUT;
        change->ttl_ms = found->ttl_ms;
    } else {
        return TERN_OK;
    }
    change->record.value = buffer_slice(&set->folded);
    return status;
}

/*
 * A folded operand holds what the newest one did: it takes its place, or, where that must stand
 * for a savepoint, must not count twice: then the operand stays on its own.
 */
static tern_status add_key_operation(struct write_set *set, struct write_part *part,
                                     const struct engine_change *change) {
    struct engine_change effective = *change;
    struct write_found found;
    uint32_t key = find_key(part, change->key, change->key_hash);
    uint32_t newest = key != WRITE_NONE ? part->keys[key].newest : WRITE_NONE;
    bool can_replace = newest != WRITE_NONE && is_replaceable(set, part, newest);
    if (change->record.kind == RECORD_MERGE) {
        bool joins = false;
        if (write_part_find(part, change->key, change->key_hash, &found)) {
            tern_status status = fold(set, part, &found, &effective, &joins);
            if (status != TERN_OK) {
                return status;
            }
            if (joins && !can_replace) {
                effective = *change;
            }
        }
        /* A merge that is left over something stands beside it. */
        can_replace = can_replace && (joins || effective.record.kind != RECORD_MERGE);
    }
    return can_replace ? replace(set, part, newest, &effective)
                       : append(set, part, &effective, key);
}

tern_status write_set_add(struct write_set *set, tern_keyspace *keyspace,
                          const struct engine_change *change, tern_error *error) {
    uint64_t bytes = (uint64_t)change->key.size + change->record.value.size + OPERATION_BYTES;
    if (bytes > set->bytes_max || set->bytes > set->bytes_max - bytes) {
        return ERROR_SET(error, TERN_TOO_LARGE,
                         "the transaction's writes would exceed %llu bytes; commit in smaller "
                         "parts, or raise the option transaction_bytes",
                         (unsigned long long)set->bytes_max);
    }
    struct write_part *part = find_or_add_part(set, keyspace);
    tern_status status = TERN_NO_MEMORY;
    if (part != NULL) {
        status = is_range(change) ? append(set, part, change, WRITE_NONE)
                                  : add_key_operation(set, part, change);
    }
    return status != TERN_OK ? ERROR_NO_MEMORY(error, "a transaction's writes") : TERN_OK;
}

/* ---- savepoints ---- */

tern_status write_set_savepoint(struct write_set *set, uint32_t *out_savepoint, tern_error *error) {
    if (current_arena(set) == NULL ||
        !GROWTH_RESERVE(set->allocator, set->savepoints, set->savepoint_capacity,
                        set->savepoint_count + 1) ||
        !GROWTH_RESERVE(set->allocator, set->arenas, set->arena_capacity, set->arena_count + 1)) {
        return ERROR_NO_MEMORY(error, "a savepoint");
    }
    arena_init(&set->arenas[set->arena_count++], set->allocator, ARENA_BYTES_FIRST);
    set->savepoints[set->savepoint_count++] =
        (struct write_savepoint){set->next_number, set->bytes};
    *out_savepoint = (uint32_t)set->savepoint_count;
    return TERN_OK;
}

static void forget_key(struct write_set *set, struct write_part *part, uint32_t key) {
    ASSERT_DEBUG(key + 1 == part->key_count);
    if (part->is_ordered) {
        write_order_remove(&part->order, set->allocator, part->keys, key);
    }
    if (part->table != NULL) {
        part->table[table_place(part, part->keys[key].key, part->keys[key].hash)] = 0;
    }
    part->key_count--;
}

static void undo_last(struct write_set *set, struct write_part *part) {
    uint32_t operation = (uint32_t)--part->count;
    const struct write_meta *meta = &part->metas[operation];
    if (meta->key == WRITE_NONE) {
        part->range_count--;
        return;
    }
    part->keys[meta->key].newest = meta->older;
    if (meta->older == WRITE_NONE) {
        forget_key(set, part, meta->key);
    }
}

void write_set_rollback_to(struct write_set *set, uint32_t savepoint, write_large_visitor visit,
                           void *context) {
    ASSERT(savepoint >= 1 && savepoint <= set->savepoint_count);
    const struct write_savepoint *mark = &set->savepoints[savepoint - 1];
    for (size_t i = 0; i < set->part_count; i++) {
        struct write_part *part = &set->parts[i];
        while (part->count > 0 && part->metas[part->count - 1].number >= mark->number) {
            const struct engine_change *change = &part->changes[part->count - 1];
            if (change->record.kind == RECORD_LARGE) {
                visit(context, part->keyspace, change);
            }
            undo_last(set, part);
        }
        part->kept = NULL;
    }
    for (size_t i = savepoint; i < set->arena_count; i++) {
        arena_release(&set->arenas[i]);
    }
    set->arena_count = savepoint + 1;
    arena_init(&set->arenas[savepoint], set->allocator, ARENA_BYTES_FIRST);
    set->next_number = mark->number;
    discharge(set, set->bytes - mark->bytes);
    set->savepoint_count = savepoint;
}

/* ---- commit ---- */

/* What becomes of an operation in a commit. */
enum keep { KEEP_NOT = 0, KEEP_AS_IS = 1, KEEP_AS_DELETE = 2 };

/* Marks what a reader of the newest state needs. */
static void mark_kept(const struct write_part *part, uint8_t *kept) {
    memset(kept, KEEP_NOT, part->count);
    for (size_t i = 0; i < part->range_count; i++) {
        kept[part->ranges[i]] = KEEP_AS_IS;
    }
    for (size_t i = 0; i < part->key_count; i++) {
        uint64_t range_number = write_part_range_over(part, part->keys[i].key, NULL);
        uint32_t operation = part->keys[i].newest;
        if (part->metas[operation].number < range_number) {
            /* Gone by a later range delete, but it must be validated as a key written. */
            kept[operation] = KEEP_AS_DELETE;
            continue;
        }
        bool goes_on = true;
        while (goes_on && operation != WRITE_NONE && part->metas[operation].number > range_number) {
            kept[operation] = KEEP_AS_IS;
            goes_on = part->changes[operation].record.kind == RECORD_MERGE;
            operation = part->metas[operation].older;
        }
    }
}

/*
 * All changes of a commit have one seq, so what a range delete and a key's operation mean to each
 * other must not hang on their order: range deletes come first, operations that one of them covers
 * become deletes.
 */
static size_t copy_kept(const struct write_part *part, const uint8_t *kept,
                        struct engine_change *out) {
    size_t count = 0;
    for (size_t i = 0; i < part->range_count; i++) {
        out[count++] = part->changes[part->ranges[i]];
    }
    for (size_t i = 0; i < part->count; i++) {
        if (kept[i] == KEEP_NOT || is_range(&part->changes[i])) {
            continue;
        }
        out[count] = part->changes[i];
        if (kept[i] == KEEP_AS_DELETE) {
            out[count].record = deleted;
            out[count].ttl_ms = 0;
        }
        count++;
    }
    return count;
}

static tern_status fill_part(struct write_set *set, struct write_part *part,
                             struct commit_part *out) {
    *out = (struct commit_part){part->keyspace, part->changes, part->count};
    part->kept = NULL;
    if (part->count == part->key_count) {
        return TERN_OK;
    }
    struct arena *arena = current_arena(set);
    uint8_t *kept = arena_allocate(arena, part->count);
    struct engine_change *changes = arena_allocate(arena, part->count * sizeof(*changes));
    if (kept == NULL || changes == NULL) {
        return TERN_NO_MEMORY;
    }
    mark_kept(part, kept);
    part->kept = kept;
    out->changes = changes;
    out->count = copy_kept(part, kept, changes);
    return TERN_OK;
}

tern_status write_set_commit_parts(struct write_set *set,
                                   bool (*excludes)(void *context, const tern_keyspace *keyspace),
                                   void *context, struct commit_part *out_parts,
                                   struct write_summary *out_summary, tern_error *error) {
    struct write_summary summary = {0};
    for (size_t i = 0; i < set->part_count; i++) {
        struct write_part *part = &set->parts[i];
        part->is_left_out = excludes != NULL && excludes(context, part->keyspace);
        if (part->count == 0 || part->is_left_out) {
            continue;
        }
        struct commit_part *out = &out_parts[summary.part_count];
        tern_status status = fill_part(set, part, out);
        if (status != TERN_OK) {
            return ERROR_NO_MEMORY(error, "the changes of a commit");
        }
        summary.part_count++;
        summary.change_count += out->count;
        for (size_t j = 0; j < out->count; j++) {
            summary.bytes += out->changes[j].key.size + out->changes[j].record.value.size;
        }
    }
    *out_summary = summary;
    return TERN_OK;
}

void write_set_visit_large(const struct write_set *set, bool dropped_only,
                           write_large_visitor visit, void *context) {
    for (size_t i = 0; i < set->part_count; i++) {
        const struct write_part *part = &set->parts[i];
        for (size_t j = 0; j < part->count; j++) {
            bool is_dropped =
                part->is_left_out || (part->kept != NULL && part->kept[j] != KEEP_AS_IS);
            if (part->changes[j].record.kind == RECORD_LARGE && (!dropped_only || is_dropped)) {
                visit(context, part->keyspace, &part->changes[j]);
            }
        }
    }
}
