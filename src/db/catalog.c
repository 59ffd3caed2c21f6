/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyspaces by name, id and slot, and what happens to them at commit.
 *
 * A handle lives until the database is closed, whatever becomes of its keyspace. Life of a
 * keyspace: PENDING (a transaction is about to create it; it has an engine but no slot) -> LIVE (in
 * views) -> DROPPED (out of views; its engine is closed once no view holds it, its files go once no
 * manifest names them; then its slot is another's, and the handle is on the list of those gone).
 *
 * A slot is given away when no live view has anything in it, and after the handle that had it has
 * none. Who reads by a handle looks at its slot after having found a view: so in a view that shows
 * the slot's next keyspace it finds that the handle has no slot.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/error.h"
#include "db/database_internal.h"

void catalog_init(struct tern_db *db) {
    mutex_init(&db->catalog_mutex);
}

static void release_list(struct tern_db *db, tern_keyspace *keyspace) {
    while (keyspace != NULL) {
        tern_keyspace *next = keyspace->next;
        if (keyspace->engine != NULL) {
            keyspace->methods->close(keyspace->engine);
        }
        while (keyspace->failures != NULL) {
            struct keyspace_failure *failure = keyspace->failures;
            keyspace->failures = failure->older;
            memory_release(db->allocator, failure);
        }
        memory_release(db->allocator, keyspace->name);
        memory_release(db->allocator, keyspace);
        keyspace = next;
    }
}

void catalog_release(struct tern_db *db) {
    release_list(db, db->keyspaces);
    release_list(db, db->gone_keyspaces);
    catalog_index_release(&db->partitions, db->allocator);
    memory_release(db->allocator, db->slots);
    memory_release(db->allocator, db->free_slots);
    mutex_destroy(&db->catalog_mutex);
}

/* It has no engine any more: nobody looks for it. Under catalog_mutex. */
static void put_to_gone(struct tern_db *db, tern_keyspace *keyspace) {
    tern_keyspace **link = &db->keyspaces;
    while (*link != keyspace) {
        ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = keyspace->next;
    catalog_index_remove(&db->partitions, keyspace);
    keyspace->next = db->gone_keyspaces;
    db->gone_keyspaces = keyspace;
}

struct engine *catalog_take_engine(struct tern_db *db, tern_keyspace *keyspace) {
    mutex_lock(&db->catalog_mutex);
    struct engine *engine = keyspace->engine;
    uint32_t slot = atomic_load_explicit(&keyspace->slot, memory_order_relaxed);
    keyspace->engine = NULL;
    if (slot != KEYSPACE_NO_SLOT) {
        ASSERT(db->slots[slot] == NULL && db->free_slot_count < db->slot_count);
        atomic_store_explicit(&keyspace->slot, KEYSPACE_NO_SLOT, memory_order_relaxed);
        db->free_slots[db->free_slot_count++] = slot;
    }
    atomic_fetch_sub_explicit(&db->dropped_keyspaces, 1, memory_order_relaxed);
    put_to_gone(db, keyspace);
    mutex_unlock(&db->catalog_mutex);
    return engine;
}

/* Bytes of the UTF-8 character at `text`, shortest form and no surrogate; 0: it is none. */
static size_t utf8_bytes(const unsigned char *text, size_t size) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = text[0];
    size_t bytes = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (bytes == 1) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4 || bytes > size) {
        return 0;
    }
    uint32_t character = first & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        character = character << 6 | (text[i] & 0x3fu);
    }
    bool is_surrogate = character >= 0xd800 && character < 0xe000;
    return character >= least[bytes] && character <= 0x10ffff && !is_surrogate ? bytes : 0;
}

static tern_status check_name(const char *name, tern_error *error) {
    size_t size = name != NULL ? strnlen(name, TERN_KEYSPACE_NAME_BYTES + 1) : 0;
    if (size == 0 || size > TERN_KEYSPACE_NAME_BYTES) {
        return ERROR_SET(error, TERN_INVALID, "a keyspace name has 1 to %d bytes, not %s",
                         TERN_KEYSPACE_NAME_BYTES, size == 0 ? "0" : "more");
    }
    for (size_t i = 0; i < size;) {
        size_t bytes = utf8_bytes((const unsigned char *)name + i, size - i);
        if (bytes == 0) {
            return ERROR_SET(error, TERN_INVALID, "a keyspace name must be UTF-8 (byte %zu)", i);
        }
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) {
            return ERROR_SET(error, TERN_INVALID,
                             "a keyspace name must not hold control characters (byte %zu)", i);
        }
        i += bytes;
    }
    return TERN_OK;
}

tern_status catalog_open_keyspace(struct tern_db *db, partition_id id, partition_id keyspace_id,
                                  tern_slice name, const tern_keyspace_options *options,
                                  uint64_t hash_seed, tern_slice state,
                                  struct engine_drained *out_drained, tern_keyspace **out_keyspace,
                                  tern_error *error) {
    struct engine_config config = {.id = id};
    tern_status status = catalog_check_options(options, &config.options, error);
    if (status != TERN_OK) {
        return status;
    }
    config.hasher = key_hasher_make(config.options.hash_function, hash_seed);
    tern_keyspace *keyspace = memory_allocate_zeroed(db->allocator, sizeof(*keyspace));
    if (keyspace == NULL) {
        return ERROR_NO_MEMORY(error, "a keyspace");
    }
    keyspace->manager = &db->manager;
    keyspace->id = keyspace_id;
    keyspace->hasher = config.hasher;
    keyspace->partition = id;
    keyspace->options = config.options;
    keyspace->methods = engine_methods_of(config.options.engine);
    atomic_init(&keyspace->key_bytes_max, keyspace->methods->key_bytes_max(&config.options));
    atomic_init(&keyspace->read_key_bytes_max, keyspace->key_bytes_max);
    atomic_init(&keyspace->shown_seq, SEQ_NONE);
    atomic_init(&keyspace->slot, KEYSPACE_NO_SLOT);
    atomic_init(&keyspace->state, KEYSPACE_PENDING);
    atomic_init(&keyspace->dropped_seq, SEQ_MAX);
    keyspace->name = memory_copy_string(db->allocator, name.data, name.size);
    if (keyspace->name == NULL) {
        status = ERROR_NO_MEMORY(error, "a keyspace");
    } else {
        status = keyspace->methods->open(&db->environment, &config, state, &keyspace->engine,
                                         out_drained, error);
    }
    if (status != TERN_OK) {
        memory_release(db->allocator, keyspace->name);
        memory_release(db->allocator, keyspace);
        return status;
    }
    mutex_lock(&db->catalog_mutex);
    bool is_indexed = catalog_index_add(&db->partitions, db->allocator, keyspace);
    if (is_indexed) {
        keyspace->next = db->keyspaces;
        db->keyspaces = keyspace;
    }
    mutex_unlock(&db->catalog_mutex);
    if (!is_indexed) {
        keyspace->methods->close(keyspace->engine);
        memory_release(db->allocator, keyspace->name);
        memory_release(db->allocator, keyspace);
        return ERROR_NO_MEMORY(error, "a keyspace");
    }
    *out_keyspace = keyspace;
    return TERN_OK;
}

uint64_t catalog_draw_seed(const struct tern_db *db) {
    uint64_t seed;
    db->options.random->fill(db->options.random->context, &seed, sizeof(seed));
    return seed;
}

tern_status tern_keyspace_check(const char *name, const tern_keyspace_options *options,
                                tern_error *error) {
    tern_keyspace_options resolved;
    tern_status status = check_name(name, error);
    return status == TERN_OK ? catalog_check_request(options, &resolved, error) : status;
}

tern_status database_keyspace_pending(tern_db *db, const char *name,
                                      const tern_keyspace_options *options,
                                      tern_keyspace **out_keyspace, tern_error *error) {
    struct engine_drained drained;
    tern_status status = check_name(name, error);
    if (status != TERN_OK) {
        return status;
    }
    partition_id id = atomic_fetch_add_explicit(&db->next_partition, 1, memory_order_relaxed);
    return catalog_open_keyspace(db, id, id, tern_slice_str(name), options, catalog_draw_seed(db),
                                 tern_slice_of(NULL, 0), &drained, out_keyspace, error);
}

tern_status catalog_rename_pending(struct tern_db *db, tern_keyspace *keyspace, const char *name,
                                   tern_error *error) {
    char *copy = memory_copy_string(db->allocator, name, strlen(name));
    if (copy == NULL) {
        return ERROR_NO_MEMORY(error, "a keyspace");
    }
    mutex_lock(&db->catalog_mutex);
    ASSERT(atomic_load_explicit(&keyspace->state, memory_order_relaxed) == KEYSPACE_PENDING);
    memory_release(db->allocator, keyspace->name);
    keyspace->name = copy;
    mutex_unlock(&db->catalog_mutex);
    return TERN_OK;
}

void database_keyspace_forget(tern_keyspace *keyspace) {
    struct tern_db *db = database_of(keyspace);
    mutex_lock(&db->catalog_mutex);
    bool was_pending =
        atomic_load_explicit(&keyspace->state, memory_order_relaxed) == KEYSPACE_PENDING;
    atomic_store_explicit(&keyspace->state, KEYSPACE_DROPPED, memory_order_release);
    struct engine *engine = was_pending ? keyspace->engine : NULL;
    if (was_pending) {
        keyspace->engine = NULL;
        put_to_gone(db, keyspace);
    }
    mutex_unlock(&db->catalog_mutex);
    if (engine != NULL) {
        keyspace->methods->close(engine);
    }
}

static tern_keyspace *find_live(struct tern_db *db, const char *name) {
    for (tern_keyspace *keyspace = db->keyspaces; keyspace != NULL; keyspace = keyspace->next) {
        if (atomic_load_explicit(&keyspace->state, memory_order_relaxed) == KEYSPACE_LIVE &&
            atomic_load_explicit(&keyspace->dropped_seq, memory_order_relaxed) == SEQ_MAX &&
            !keyspace_is_hidden(keyspace) && strcmp(keyspace->name, name) == 0) {
            return keyspace;
        }
    }
    return NULL;
}

tern_keyspace *catalog_at(struct tern_db *db, uint32_t slot, bool *out_exists) {
    mutex_lock(&db->catalog_mutex);
    *out_exists = slot < db->slot_count;
    tern_keyspace *keyspace = *out_exists ? db->slots[slot] : NULL;
    mutex_unlock(&db->catalog_mutex);
    return keyspace;
}

tern_keyspace *catalog_by_name(struct tern_db *db, const char *name) {
    mutex_lock(&db->catalog_mutex);
    tern_keyspace *keyspace = find_live(db, name);
    mutex_unlock(&db->catalog_mutex);
    return keyspace;
}

tern_status database_keyspace_find(tern_db *db, const char *name, tern_keyspace **out_keyspace) {
    tern_keyspace *keyspace = name != NULL ? catalog_by_name(db, name) : NULL;
    if (keyspace == NULL) {
        return TERN_NOT_FOUND;
    }
    *out_keyspace = keyspace;
    return TERN_OK;
}

tern_keyspace *catalog_by_id(struct tern_db *db, partition_id id) {
    mutex_lock(&db->catalog_mutex);
    tern_keyspace *keyspace = catalog_index_find(&db->partitions, id);
    mutex_unlock(&db->catalog_mutex);
    return keyspace;
}

/* Room for one more slot, so that making a keyspace live cannot fail afterwards. */
static tern_status reserve_slots(struct tern_db *db, size_t count, tern_error *error) {
    if (db->slot_count + count <= db->slot_capacity) {
        return TERN_OK;
    }
    size_t capacity = db->slot_capacity < 16 ? 16 : (size_t)db->slot_capacity * 2;
    while (capacity < db->slot_count + count) {
        capacity *= 2;
    }
    tern_keyspace **slots = memory_resize(db->allocator, db->slots, capacity * sizeof(slots[0]));
    if (slots == NULL) {
        return ERROR_NO_MEMORY(error, "the catalog");
    }
    db->slots = slots;
    uint32_t *free_slots =
        memory_resize(db->allocator, db->free_slots, capacity * sizeof(free_slots[0]));
    if (free_slots == NULL) {
        return ERROR_NO_MEMORY(error, "the catalog");
    }
    db->free_slots = free_slots;
    db->slot_capacity = (uint32_t)capacity;
    return TERN_OK;
}

static void take_slot(struct tern_db *db, tern_keyspace *keyspace, seq_no created_seq) {
    uint32_t slot =
        db->free_slot_count > 0 ? db->free_slots[--db->free_slot_count] : db->slot_count++;
    ASSERT(slot < db->slot_capacity);
    db->slots[slot] = keyspace;
    atomic_store_explicit(&keyspace->slot, slot, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->live_keyspaces, 1, memory_order_relaxed);
    atomic_store_explicit(&keyspace->created_seq, created_seq, memory_order_relaxed);
    atomic_store_explicit(&keyspace->state, KEYSPACE_LIVE, memory_order_release);
}

tern_status catalog_make_live(struct tern_db *db, tern_keyspace *keyspace, seq_no created_seq,
                              tern_error *error) {
    mutex_lock(&db->catalog_mutex);
    tern_status status = reserve_slots(db, 1, error);
    if (status == TERN_OK) {
        take_slot(db, keyspace, created_seq);
    }
    mutex_unlock(&db->catalog_mutex);
    return status;
}

/* Under catalog_mutex. */
static void mark_dropped(struct tern_db *db, tern_keyspace *keyspace, seq_no seq) {
    atomic_store_explicit(&keyspace->dropped_seq, seq, memory_order_relaxed);
    atomic_store_explicit(&keyspace->state, KEYSPACE_DROPPED, memory_order_release);
    uint32_t slot = atomic_load_explicit(&keyspace->slot, memory_order_relaxed);
    if (slot != KEYSPACE_NO_SLOT) {
        db->slots[slot] = NULL;
        atomic_fetch_sub_explicit(&db->live_keyspaces, 1, memory_order_relaxed);
    }
    keyspace->gone_manifest_generation = db->maintenance.drafted_generation;
    if (keyspace->engine != NULL) {
        atomic_store_explicit(&keyspace->engine->is_dropped, true, memory_order_release);
        atomic_fetch_add_explicit(&db->dropped_keyspaces, 1, memory_order_relaxed);
    }
}

void catalog_mark_dropped(struct tern_db *db, tern_keyspace *keyspace, seq_no seq) {
    mutex_lock(&db->catalog_mutex);
    mark_dropped(db, keyspace, seq);
    mutex_unlock(&db->catalog_mutex);
}

static void exchange_partitions(tern_keyspace *left, tern_keyspace *right) {
#define EXCHANGE(type, field)                                                                      \
    do {                                                                                           \
        type saved = left->field;                                                                  \
        left->field = right->field;                                                                \
        right->field = saved;                                                                      \
    } while (0)
    EXCHANGE(partition_id, partition);
    EXCHANGE(tern_keyspace_options, options);
    EXCHANGE(const struct engine_methods *, methods);
    EXCHANGE(struct engine *, engine);
    EXCHANGE(size_t, key_bytes_max);
    EXCHANGE(uint64_t, shown_seq);
    EXCHANGE(const struct keyspace_failure *, aside);
    EXCHANGE(uint64_t, kept_from);
    EXCHANGE(uint32_t, drain_failures);
    EXCHANGE(bool, has_failed_drain);
    EXCHANGE(bool, is_sealed);
    EXCHANGE(bool, is_shrinking);
    EXCHANGE(uint64_t, space_left);
    EXCHANGE(struct keyspace_care, engine_care);
    EXCHANGE(struct keyspace_care, space_care);
#undef EXCHANGE
}

void catalog_convert(struct tern_db *db, tern_keyspace *keyspace, tern_keyspace *target,
                     seq_no seq) {
    mutex_lock(&db->catalog_mutex);
    exchange_partitions(keyspace, target);
    catalog_index_exchanged(&db->partitions, keyspace, target);
    keyspace->engine->rehashes = !key_hasher_equal(&keyspace->engine->hasher, &keyspace->hasher);
    atomic_store_explicit(&keyspace->shown_seq, seq, memory_order_relaxed);
    if (keyspace->key_bytes_max > keyspace->read_key_bytes_max) {
        keyspace->read_key_bytes_max = keyspace->key_bytes_max;
    }
    mark_dropped(db, target, seq);
    mutex_unlock(&db->catalog_mutex);
}

/* ---- what the commit leader calls ---- */

static tern_status prepare_one(struct tern_db *db, const struct catalog_change *changes, size_t i,
                               tern_error *error) {
    const tern_keyspace *keyspace = changes[i].keyspace;
    if (changes[i].target != NULL) {
        bool is_live =
            atomic_load_explicit(&keyspace->state, memory_order_relaxed) == KEYSPACE_LIVE &&
            atomic_load_explicit(&keyspace->dropped_seq, memory_order_relaxed) == SEQ_MAX;
        return is_live
                   ? TERN_OK
                   : ERROR_SET(error, TERN_NOT_FOUND,
                               "keyspace '%s' was dropped while it was converted", keyspace->name);
    }
    if (changes[i].is_drop) {
        bool is_own = false;
        for (size_t j = 0; j < i; j++) {
            is_own = is_own || (changes[j].keyspace == keyspace && !changes[j].is_drop);
        }
        bool is_live =
            atomic_load_explicit(&keyspace->state, memory_order_relaxed) == KEYSPACE_LIVE &&
            atomic_load_explicit(&keyspace->dropped_seq, memory_order_relaxed) == SEQ_MAX;
        return is_own || is_live
                   ? TERN_OK
                   : ERROR_SET(error, TERN_NOT_FOUND, "keyspace '%s' has been dropped already",
                               keyspace->name);
    }
    const tern_keyspace *holder = find_live(db, keyspace->name);
    for (size_t j = 0; holder != NULL && j < i; j++) {
        if (changes[j].is_drop && changes[j].keyspace == holder) {
            holder = NULL;
        }
    }
    return holder == NULL ? TERN_OK
                          : ERROR_SET(error, TERN_EXISTS,
                                      "keyspace '%s' exists already; open it, or choose another "
                                      "name",
                                      keyspace->name);
}

tern_status catalog_prepare(void *context, struct catalog_change *changes, size_t count,
                            tern_error *error) {
    struct tern_db *db = context;
    tern_status status = views_prepare(db, db->slot_count + (uint32_t)count, error);
    if (status != TERN_OK) {
        return status;
    }
    mutex_lock(&db->catalog_mutex);
    status = reserve_slots(db, count, error);
    for (size_t i = 0; status == TERN_OK && i < count; i++) {
        status = prepare_one(db, changes, i, error);
    }
    mutex_unlock(&db->catalog_mutex);
    return status;
}

void catalog_undo(void *context, struct catalog_change *changes, size_t count) {
    (void)context;
    (void)changes;
    (void)count;
}

/*
 * Created keyspaces get their slot at once and are in the view before visible_seq moves; dropped
 * ones refuse later commits at once, but stay in the view until the drop is visible.
 */
void catalog_apply(void *context, struct catalog_change *changes, size_t count, seq_no seq) {
    struct tern_db *db = context;
    bool has_created = false;
    mutex_lock(&db->catalog_mutex);
    for (size_t i = 0; i < count; i++) {
        if (changes[i].target != NULL) {
            changes[i].seq = seq;
        } else if (changes[i].is_drop) {
            atomic_store_explicit(&changes[i].keyspace->dropped_seq, seq, memory_order_relaxed);
        } else {
            take_slot(db, changes[i].keyspace, seq);
            has_created = true;
        }
    }
    mutex_unlock(&db->catalog_mutex);
    db->catalog_seq = seq;
    if (has_created) {
        views_refresh(db);
    }
}

/* When memory for a view is short the next one leaves it out; its slot is empty already. */
void catalog_published(void *context, struct catalog_change *changes, size_t count) {
    struct tern_db *db = context;
    bool has_dropped = false;
    for (size_t i = 0; i < count; i++) {
        if (changes[i].target != NULL) {
            catalog_convert(db, changes[i].keyspace, changes[i].target, changes[i].seq);
            has_dropped = true;
        } else if (changes[i].is_drop) {
            catalog_mark_dropped(db, changes[i].keyspace,
                                 atomic_load(&changes[i].keyspace->dropped_seq));
            has_dropped = true;
        }
    }
    if (has_dropped) {
        if (views_prepare(db, db->slot_count, NULL) == TERN_OK) {
            views_refresh(db);
        }
        maintenance_wake(db);
    }
}
