/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key locks.
 *
 * One mutex guards all: an uncontended lock holds it for a hash look-up. Each locked key is an
 * object in a hash table with the entries of its holders and a queue of waiters.
 *
 * Invariants:
 *  L1 an object exists while it has a holder, a waiter, or a visitor about to leave;
 *  L2 the holders of an object are one in exclusive mode or any number in shared mode;
 *  L3 the first of the queue conflicts with a holder (for an upgrade: with another one), or it
 * would not wait; nobody overtakes a waiter but upgrades, which go before all newcomers; L4
 * owner->waiting is set exactly while the owner is in a queue.
 *
 *  L5 `bytes` is what objects, entries (those in the pools too) and buckets take, counts in the
 *     budget, and is at most bytes_max, but for the buckets.
 *
 * Freed objects and entries are kept in pools, a bounded number of each.
 */
#include "txn/lock_manager.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"
#include "simd/hash.h"
#include "txn/lock_internal.h"

#define BUCKETS_MIN      1024
#define POOL_MAX         4096
#define KEY_CAPACITY_MIN 64
#define BLOCK_BYTES      16 /* what an allocator adds, about */

struct lock_manager {
    const tern_allocator *allocator;
    const tern_clock *clock;
    struct budget *budget;
    uint64_t bytes_max, bytes;
    bool is_refused; /* the last allocation would have gone beyond bytes_max */
    struct mutex mutex;
    struct lock_object **buckets;
    size_t bucket_mask;
    size_t object_count;
    struct lock_object *all;
    struct lock_object *free_objects;
    struct lock_entry *free_entries;
    size_t free_object_count, free_entry_count;
    uint64_t mark;
    _Atomic uint64_t held, waits, deadlocks, timeouts;
};

static void count_bytes(struct lock_manager *manager, uint64_t bytes) {
    manager->bytes += bytes;
    budget_add(manager->budget, BUDGET_OTHER, bytes);
}

static void uncount_bytes(struct lock_manager *manager, uint64_t bytes) {
    manager->bytes -= bytes;
    budget_subtract(manager->budget, BUDGET_OTHER, bytes);
}

/* Memory that counts; NULL also when it would be too much. */
static void *allocate_counted(struct lock_manager *manager, size_t size) {
    manager->is_refused = manager->bytes + size + BLOCK_BYTES > manager->bytes_max;
    void *memory = manager->is_refused ? NULL : memory_allocate(manager->allocator, size);
    if (memory != NULL) {
        count_bytes(manager, size + BLOCK_BYTES);
    }
    return memory;
}

static void release_counted(struct lock_manager *manager, void *memory, size_t size) {
    memory_release(manager->allocator, memory);
    uncount_bytes(manager, size + BLOCK_BYTES);
}

tern_status lock_manager_create(const struct lock_manager_options *options,
                                struct lock_manager **out_manager, tern_error *error) {
    const tern_allocator *allocator = options->allocator;
    struct lock_manager *manager = memory_allocate_zeroed(allocator, sizeof(*manager));
    struct lock_object **buckets =
        memory_allocate_zeroed(allocator, BUCKETS_MIN * sizeof(*buckets));
    if (manager == NULL || buckets == NULL) {
        memory_release(allocator, (void *)buckets);
        memory_release(allocator, manager);
        return ERROR_NO_MEMORY(error, "the lock manager");
    }
    manager->allocator = allocator;
    manager->clock = options->clock;
    manager->budget = options->budget;
    manager->bytes_max = options->bytes_max;
    manager->buckets = buckets;
    manager->bucket_mask = BUCKETS_MIN - 1;
    count_bytes(manager, BUCKETS_MIN * sizeof(*buckets));
    mutex_init(&manager->mutex);
    *out_manager = manager;
    return TERN_OK;
}

static size_t object_bytes(const struct lock_object *object) {
    return sizeof(*object) + object->key_capacity;
}

void lock_manager_destroy(struct lock_manager *manager) {
    if (manager == NULL) {
        return;
    }
    ASSERT(manager->object_count == 0);
    while (manager->free_objects != NULL) {
        struct lock_object *object = manager->free_objects;
        manager->free_objects = object->next;
        release_counted(manager, object, object_bytes(object));
    }
    while (manager->free_entries != NULL) {
        struct lock_entry *entry = manager->free_entries;
        manager->free_entries = entry->next_held;
        release_counted(manager, entry, sizeof(*entry));
    }
    memory_release(manager->allocator, (void *)manager->buckets);
    uncount_bytes(manager, (manager->bucket_mask + 1) * sizeof(*manager->buckets));
    ASSERT(manager->bytes == 0);
    mutex_destroy(&manager->mutex);
    memory_release(manager->allocator, manager);
}

/* ---- objects ---- */

static uint64_t hash_of(partition_id partition, tern_slice key) {
    return hash_u64(key.data, key.size, partition);
}

static struct lock_object *find_object(const struct lock_manager *manager, uint64_t hash,
                                       partition_id partition, tern_slice key) {
    struct lock_object *object = manager->buckets[hash & manager->bucket_mask];
    while (object != NULL && (object->hash != hash || object->partition != partition ||
                              !slice_equal(object->key, key))) {
        object = object->next;
    }
    return object;
}

/* More buckets when there are as many objects; without memory the chains grow instead. */
static void grow_table(struct lock_manager *manager) {
    size_t count = (manager->bucket_mask + 1) * 2;
    struct lock_object **buckets =
        memory_allocate_zeroed(manager->allocator, count * sizeof(*buckets));
    if (buckets == NULL) {
        return;
    }
    for (struct lock_object *object = manager->all; object != NULL; object = object->next_all) {
        struct lock_object **bucket = &buckets[object->hash & (count - 1)];
        object->next = *bucket;
        *bucket = object;
    }
    memory_release(manager->allocator, (void *)manager->buckets);
    count_bytes(manager, count / 2 * sizeof(*buckets));
    manager->buckets = buckets;
    manager->bucket_mask = count - 1;
}

static struct lock_object *allocate_object(struct lock_manager *manager, size_t key_size) {
    struct lock_object *object = manager->free_objects;
    if (object != NULL && key_size <= object->key_capacity) {
        manager->free_objects = object->next;
        manager->free_object_count--;
        return object;
    }
    size_t capacity = key_size < KEY_CAPACITY_MIN ? KEY_CAPACITY_MIN : key_size;
    object = allocate_counted(manager, sizeof(*object) + capacity);
    if (object != NULL) {
        object->key_capacity = capacity;
    }
    return object;
}

static struct lock_object *add_object(struct lock_manager *manager, uint64_t hash,
                                      partition_id partition, tern_slice key) {
    struct lock_object *object = allocate_object(manager, key.size);
    if (object == NULL) {
        return NULL;
    }
    if (manager->object_count > manager->bucket_mask) {
        grow_table(manager);
    }
    if (key.size > 0) {
        memcpy(object->key_bytes, key.data, key.size);
    }
    object->key = tern_slice_of(object->key_bytes, key.size);
    object->hash = hash;
    object->partition = partition;
    object->granted = NULL;
    object->first = object->last = NULL;
    object->visitor_count = 0;
    struct lock_object **bucket = &manager->buckets[hash & manager->bucket_mask];
    object->next = *bucket;
    *bucket = object;
    object->previous_all = NULL;
    object->next_all = manager->all;
    if (manager->all != NULL) {
        manager->all->previous_all = object;
    }
    manager->all = object;
    manager->object_count++;
    return object;
}

static void remove_object_if_idle(struct lock_manager *manager, struct lock_object *object) {
    if (object->granted != NULL || object->first != NULL || object->visitor_count > 0) {
        return;
    }
    struct lock_object **link = &manager->buckets[object->hash & manager->bucket_mask];
    while (*link != object) {
        link = &(*link)->next;
    }
    *link = object->next;
    if (object->previous_all != NULL) {
        object->previous_all->next_all = object->next_all;
    } else {
        manager->all = object->next_all;
    }
    if (object->next_all != NULL) {
        object->next_all->previous_all = object->previous_all;
    }
    manager->object_count--;
    if (manager->free_object_count < POOL_MAX && object->key_capacity == KEY_CAPACITY_MIN) {
        object->next = manager->free_objects;
        manager->free_objects = object;
        manager->free_object_count++;
    } else {
        release_counted(manager, object, object_bytes(object));
    }
}

/* ---- entries ---- */

static struct lock_entry *allocate_entry(struct lock_manager *manager) {
    struct lock_entry *entry = manager->free_entries;
    if (entry != NULL) {
        manager->free_entries = entry->next_held;
        manager->free_entry_count--;
        return entry;
    }
    return allocate_counted(manager, sizeof(*entry));
}

static void free_entry(struct lock_manager *manager, struct lock_entry *entry) {
    if (manager->free_entry_count < POOL_MAX) {
        entry->next_held = manager->free_entries;
        manager->free_entries = entry;
        manager->free_entry_count++;
    } else {
        release_counted(manager, entry, sizeof(*entry));
    }
}

static void grant(struct lock_manager *manager, struct lock_object *object,
                  struct lock_owner *owner, struct lock_entry *entry, tern_lock_mode mode) {
    *entry = (struct lock_entry){.object = object, .owner = owner, .mode = mode};
    entry->next_granted = object->granted;
    if (object->granted != NULL) {
        object->granted->previous_granted = entry;
    }
    object->granted = entry;
    entry->next_held = owner->held;
    if (owner->held != NULL) {
        owner->held->previous_held = entry;
    }
    owner->held = entry;
    owner->held_count++;
    /* Sequentially consistent: see lock_manager_held. */
    atomic_fetch_add_explicit(&manager->held, 1, memory_order_seq_cst);
}

static void ungrant(struct lock_manager *manager, struct lock_entry *entry) {
    if (entry->previous_granted != NULL) {
        entry->previous_granted->next_granted = entry->next_granted;
    } else {
        entry->object->granted = entry->next_granted;
    }
    if (entry->next_granted != NULL) {
        entry->next_granted->previous_granted = entry->previous_granted;
    }
    atomic_fetch_sub_explicit(&manager->held, 1, memory_order_relaxed);
    free_entry(manager, entry);
}

static struct lock_entry *entry_of(const struct lock_object *object,
                                   const struct lock_owner *owner) {
    struct lock_entry *entry = object->granted;
    while (entry != NULL && entry->owner != owner) {
        entry = entry->next_granted;
    }
    return entry;
}

/* A holder other than `owner` in the way of `mode`, or NULL. */
static struct lock_entry *holder_in_the_way(const struct lock_object *object,
                                            const struct lock_owner *owner, tern_lock_mode mode) {
    struct lock_entry *entry = object->granted;
    while (entry != NULL && (entry->owner == owner || !lock_conflicts(entry->mode, mode))) {
        entry = entry->next_granted;
    }
    return entry;
}

/* ---- the queue ---- */

static void enqueue(struct lock_waiter *waiter) {
    struct lock_object *object = waiter->object;
    struct lock_waiter *after = object->last;
    if (waiter->is_upgrade) {
        while (after != NULL && !after->is_upgrade) {
            after = after->previous;
        }
    }
    waiter->previous = after;
    waiter->next = after != NULL ? after->next : object->first;
    if (waiter->next != NULL) {
        waiter->next->previous = waiter;
    } else {
        object->last = waiter;
    }
    if (after != NULL) {
        after->next = waiter;
    } else {
        object->first = waiter;
    }
    waiter->owner->waiting = waiter;
}

static void dequeue(struct lock_waiter *waiter) {
    struct lock_object *object = waiter->object;
    if (waiter->previous != NULL) {
        waiter->previous->next = waiter->next;
    } else {
        object->first = waiter->next;
    }
    if (waiter->next != NULL) {
        waiter->next->previous = waiter->previous;
    } else {
        object->last = waiter->previous;
    }
    waiter->owner->waiting = NULL;
}

/* Grants from the front of the queue as far as nobody is in the way. */
static void grant_waiters(struct lock_manager *manager, struct lock_object *object) {
    struct lock_waiter *waiter = object->first;
    while (waiter != NULL && holder_in_the_way(object, waiter->owner, waiter->mode) == NULL) {
        struct lock_waiter *next = waiter->next;
        dequeue(waiter);
        if (waiter->is_upgrade) {
            waiter->entry->mode = TERN_LOCK_EXCLUSIVE;
        } else {
            grant(manager, object, waiter->owner, waiter->entry, waiter->mode);
        }
        waiter->outcome = LOCK_GRANTED;
        condition_signal(&waiter->wake);
        waiter = next;
    }
}

/* ---- waiting ---- */

static const char *mode_name(tern_lock_mode mode) {
    return mode == TERN_LOCK_EXCLUSIVE ? "exclusive" : "shared";
}

/* The beginning of a key, as text. */
static const char *key_text(tern_slice key, char buffer[48]) {
    const uint8_t *bytes = key.data;
    size_t shown = key.size < 32 ? key.size : 32;
    size_t i = 0;
    for (; i < shown; i++) {
        buffer[i] = (char)(bytes[i] >= 0x20 && bytes[i] < 0x7f ? bytes[i] : '?');
    }
    (void)snprintf(buffer + i, 48 - i, "%s", key.size > shown ? "..." : "");
    return buffer;
}

static tern_status say_deadlock(const struct lock_waiter *waiter, tern_error *error) {
    char list[LOCK_NAMED_IDS_MAX * 22 + 1] = "";
    char key[48];
    size_t size = 0;
    for (size_t i = 0; i < waiter->circle_count; i++) {
        size += (size_t)snprintf(list + size, sizeof(list) - size, " %llu",
                                 (unsigned long long)waiter->circle_ids[i]);
    }
    return ERROR_SET(error, TERN_DEADLOCK,
                     "transaction %llu waited for key '%s' in a circle of transactions%s and was "
                     "chosen to give way as the youngest; roll it back and begin it again",
                     (unsigned long long)waiter->owner->id, key_text(waiter->object->key, key),
                     list);
}

static tern_status say_timeout(const struct lock_waiter *waiter, uint32_t timeout_ms,
                               tern_error *error) {
    char key[48];
    const struct lock_object *object = waiter->object;
    const struct lock_entry *holder = holder_in_the_way(object, waiter->owner, waiter->mode);
    const struct lock_owner *owner = holder != NULL             ? holder->owner
                                     : waiter->previous != NULL ? waiter->previous->owner
                                                                : waiter->owner;
    return ERROR_SET(error, TERN_TIMEOUT,
                     "no %s lock on key '%s' after %u ms: transaction %llu %s it; try again, or "
                     "raise lock_timeout_ms",
                     mode_name(waiter->mode), key_text(object->key, key), timeout_ms,
                     (unsigned long long)owner->id, holder != NULL ? "holds" : "waits first for");
}

static tern_status say_no_memory(const struct lock_manager *manager, const struct lock_owner *owner,
                                 tern_slice key, tern_error *error) {
    char text[48];
    if (!manager->is_refused) {
        return ERROR_NO_MEMORY(error, "a lock");
    }
    return ERROR_SET(error, TERN_TOO_LARGE,
                     "transaction %llu, which holds %llu locks, cannot lock key '%s': with it the "
                     "%llu locks of all transactions would take more than %llu bytes; end "
                     "transactions that hold many, lock fewer keys in each, or raise the option "
                     "transaction_bytes",
                     (unsigned long long)owner->id, (unsigned long long)owner->held_count,
                     key_text(key, text),
                     (unsigned long long)atomic_load_explicit(&manager->held, memory_order_relaxed),
                     (unsigned long long)manager->bytes_max);
}

/* Breaks every circle that the new waiter closed. */
static void break_deadlocks(struct lock_manager *manager, struct lock_waiter *waiter) {
    while (waiter->outcome == LOCK_WAITS) {
        struct lock_waiter *victim = lock_find_deadlock(waiter, ++manager->mark);
        if (victim == NULL) {
            return;
        }
        atomic_fetch_add_explicit(&manager->deadlocks, 1, memory_order_relaxed);
        dequeue(victim);
        victim->outcome = LOCK_VICTIM;
        if (victim != waiter) {
            condition_signal(&victim->wake);
            /* Who stood behind it may go on; what it holds goes when it is rolled back. */
            grant_waiters(manager, victim->object);
        }
    }
}

/* Sleeps until the outcome is known or time is up. */
static void sleep_until_outcome(struct lock_manager *manager, struct lock_waiter *waiter,
                                uint32_t timeout_ms) {
    const tern_clock *clock = manager->clock;
    uint64_t deadline_ns = clock->monotonic_ns(clock->context) + (uint64_t)timeout_ms * 1000 * 1000;
    while (waiter->outcome == LOCK_WAITS) {
        uint64_t now_ns = clock->monotonic_ns(clock->context);
        if (now_ns >= deadline_ns) {
            return;
        }
        (void)condition_wait_for(&waiter->wake, &manager->mutex, deadline_ns - now_ns);
    }
}

static tern_status wait_for_lock(struct lock_manager *manager, struct lock_waiter *waiter,
                                 uint32_t timeout_ms, tern_error *error) {
    struct lock_object *object = waiter->object;
    tern_status status = TERN_OK;
    condition_init(&waiter->wake);
    atomic_fetch_add_explicit(&manager->waits, 1, memory_order_relaxed);
    object->visitor_count++;
    enqueue(waiter);
    break_deadlocks(manager, waiter);
    sleep_until_outcome(manager, waiter, timeout_ms);
    if (waiter->outcome == LOCK_VICTIM) {
        status = say_deadlock(waiter, error);
    } else if (waiter->outcome == LOCK_WAITS) {
        atomic_fetch_add_explicit(&manager->timeouts, 1, memory_order_relaxed);
        status = say_timeout(waiter, timeout_ms, error);
        dequeue(waiter);
    }
    object->visitor_count--;
    if (status != TERN_OK) {
        grant_waiters(manager, object);
        remove_object_if_idle(manager, object);
    }
    condition_destroy(&waiter->wake);
    return status;
}

/* ---- locking ---- */

static tern_status lock_new(struct lock_manager *manager, struct lock_object *object,
                            struct lock_owner *owner, tern_lock_mode mode, uint32_t timeout_ms,
                            tern_error *error) {
    struct lock_entry *entry = allocate_entry(manager);
    if (entry == NULL) {
        tern_status status = say_no_memory(manager, owner, object->key, error);
        remove_object_if_idle(manager, object);
        return status;
    }
    if (object->first == NULL && holder_in_the_way(object, owner, mode) == NULL) {
        grant(manager, object, owner, entry, mode);
        return TERN_OK;
    }
    struct lock_waiter waiter = {.object = object, .owner = owner, .entry = entry, .mode = mode};
    tern_status status = wait_for_lock(manager, &waiter, timeout_ms, error);
    if (status != TERN_OK) {
        free_entry(manager, entry);
    }
    return status;
}

static tern_status upgrade(struct lock_manager *manager, struct lock_object *object,
                           struct lock_entry *entry, uint32_t timeout_ms, tern_error *error) {
    if (holder_in_the_way(object, entry->owner, TERN_LOCK_EXCLUSIVE) == NULL) {
        entry->mode = TERN_LOCK_EXCLUSIVE;
        return TERN_OK;
    }
    struct lock_waiter waiter = {.object = object,
                                 .owner = entry->owner,
                                 .entry = entry,
                                 .mode = TERN_LOCK_EXCLUSIVE,
                                 .is_upgrade = true};
    return wait_for_lock(manager, &waiter, timeout_ms, error);
}

tern_status lock_manager_lock(struct lock_manager *manager, struct lock_owner *owner,
                              partition_id partition, tern_slice key, tern_lock_mode mode,
                              uint32_t timeout_ms, tern_error *error) {
    tern_status status = TERN_OK;
    uint64_t hash = hash_of(partition, key);
    mutex_lock(&manager->mutex);
    struct lock_object *object = find_object(manager, hash, partition, key);
    struct lock_entry *entry = object != NULL ? entry_of(object, owner) : NULL;
    if (entry != NULL) {
        if (mode == TERN_LOCK_EXCLUSIVE && entry->mode == TERN_LOCK_SHARED) {
            status = upgrade(manager, object, entry, timeout_ms, error);
        }
    } else {
        if (object == NULL) {
            object = add_object(manager, hash, partition, key);
        }
        status = object != NULL ? lock_new(manager, object, owner, mode, timeout_ms, error)
                                : say_no_memory(manager, owner, key, error);
    }
    mutex_unlock(&manager->mutex);
    return status;
}

/* Takes the owner's newest lock away. */
static void release_newest(struct lock_manager *manager, struct lock_owner *owner) {
    struct lock_entry *entry = owner->held;
    struct lock_object *object = entry->object;
    owner->held = entry->next_held;
    owner->held_count--;
    if (owner->held != NULL) {
        owner->held->previous_held = NULL;
    }
    ungrant(manager, entry);
    grant_waiters(manager, object);
    remove_object_if_idle(manager, object);
}

void lock_manager_release_newest(struct lock_manager *manager, struct lock_owner *owner) {
    ASSERT(owner->held != NULL);
    mutex_lock(&manager->mutex);
    release_newest(manager, owner);
    mutex_unlock(&manager->mutex);
}

void lock_manager_release_all(struct lock_manager *manager, struct lock_owner *owner) {
    if (owner->held == NULL) {
        return;
    }
    mutex_lock(&manager->mutex);
    while (owner->held != NULL) {
        release_newest(manager, owner);
    }
    mutex_unlock(&manager->mutex);
}

/*
 * A committer that reads 0 here has not seen a lock granted later; whoever was granted it then
 * waits for the commits under way before it reads (see txn_lock.c), so it does not miss them.
 */
uint64_t lock_manager_held(const struct lock_manager *manager) {
    return atomic_load_explicit(&manager->held, memory_order_seq_cst);
}

static bool is_held_by_other(const struct lock_object *object, uint64_t owner_id) {
    for (const struct lock_entry *entry = object->granted; entry != NULL;
         entry = entry->next_granted) {
        if (entry->owner->id != owner_id) {
            return true;
        }
    }
    return false;
}

bool lock_manager_is_locked(struct lock_manager *manager, uint64_t owner_id, partition_id partition,
                            tern_slice key) {
    uint64_t hash = hash_of(partition, key);
    mutex_lock(&manager->mutex);
    struct lock_object *object = find_object(manager, hash, partition, key);
    bool is_locked = object != NULL && is_held_by_other(object, owner_id);
    mutex_unlock(&manager->mutex);
    return is_locked;
}

/* Looks at every lock held: range deletes are rare, and so are locks while there are some. */
bool lock_manager_is_range_locked(struct lock_manager *manager, uint64_t owner_id,
                                  partition_id partition, tern_slice begin, const tern_slice *end) {
    bool is_locked = false;
    mutex_lock(&manager->mutex);
    for (struct lock_object *object = manager->all; object != NULL && !is_locked;
         object = object->next_all) {
        is_locked = object->partition == partition && slice_compare(object->key, begin) >= 0 &&
                    (end == NULL || slice_compare(object->key, *end) < 0) &&
                    is_held_by_other(object, owner_id);
    }
    mutex_unlock(&manager->mutex);
    return is_locked;
}

void lock_manager_get_stats(const struct lock_manager *manager, struct lock_manager_stats *out) {
    struct mutex *mutex = (struct mutex *)(uintptr_t)&manager->mutex;
    mutex_lock(mutex);
    uint64_t bytes = manager->bytes;
    mutex_unlock(mutex);
    *out = (struct lock_manager_stats){
        .bytes = bytes,
        .held = atomic_load_explicit(&manager->held, memory_order_relaxed),
        .waits = atomic_load_explicit(&manager->waits, memory_order_relaxed),
        .deadlocks = atomic_load_explicit(&manager->deadlocks, memory_order_relaxed),
        .timeouts = atomic_load_explicit(&manager->timeouts, memory_order_relaxed)};
}
