/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epochs. A domain counts epochs from 1; a slot says at which epoch its thread came in. A node is
 * stamped with the epoch at which it was retired and may go once nobody inside came in at that
 * epoch or before.
 *
 *   reader                                  reclaimer
 *   local = epoch            (plain)        epoch++
 *   -- compiler barrier --                  -- membarrier: every running thread is fenced --
 *   reads pointers                          least = smallest local that is not 0, else epoch
 *   local = 0                (release)      releases nodes stamped below `least`
 *
 * Why it is right. Either the reader's store of `local` is before the barrier, and the reclaimer
 * sees it; or its reads are after the barrier, and see that the node is unlinked. A reader that
 * loaded an old epoch and slept before it stored it is of the second kind; its low `local` only
 * holds things up until it leaves. A reader that loads an epoch above a node's stamp sees the node
 * unlinked, because stamps are taken by read-modify-writes of the epoch (or under the lock that
 * advances it), which order the unlinking before the advance that the reader saw.
 *
 * Where the kernel has no membarrier, and under ThreadSanitizer, which does not know it, `local` is
 * stored by an exchange and read by a read-modify-write: of the two, one is first.
 *
 * Slots and threads. A thread keeps a small cache from domain id to slot. Ids are never reused, so
 * that an entry of a destroyed domain is never followed: it just never matches again. A thread that
 * ends gives back the slots of those domains that still live, found in the register of live
 * domains, whose lock keeps them from being destroyed meanwhile.
 *
 * State of the process (the only one here): the register, its lock, the last id, and the key whose
 * destructor tells that a thread ends. Lock order: register, then domain.
 *
 * Invariants:
 *   1. A slot is used by at most one thread (`owner`), but for the overflow slot of each domain,
 *      which is changed only under its lock.
 *   2. The chunk list of a domain only grows, at its head, under the domain's lock.
 *   3. Limbo is in order of stamps: they are taken under the lock that guards it.
 *   4. `safe_below` never falls; whatever is stamped below it is unreachable.
 */
#include "os/epoch.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/error.h"
#include "os/mutex.h"

#if defined(__SANITIZE_THREAD__)
#define EPOCH_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EPOCH_UNDER_TSAN 1
#endif
#endif
#ifndef EPOCH_UNDER_TSAN
#define EPOCH_UNDER_TSAN 0
#endif

#define CHUNK_SLOTS   15
#define CACHE_ENTRIES 8

enum slot_owner { SLOT_FREE = 0, SLOT_OF_THREAD = 1, SLOT_OVERFLOW = 2 };

struct slot_chunk {
    struct slot_chunk *next;
    struct epoch_slot slots[CHUNK_SLOTS];
};

struct epoch_domain {
    /* Read by everyone who enters; written by advances alone. */
    _Atomic uint64_t epoch;
    uint64_t id;
    bool has_membarrier;

    /* The rest is on lines of its own. */
    struct epoch_slot overflow;
    struct mutex lock;
    struct slot_chunk *chunks;
    struct epoch_node *limbo_first;
    struct epoch_node *limbo_last;
    _Atomic uint64_t limbo_count;
    _Atomic uint32_t releasing; /* threads that took nodes and are not through; raised locked */
    _Atomic uint64_t safe_below;
    const tern_allocator *allocator;
    struct epoch_domain *next; /* in the register */
    struct epoch_domain *previous;
};

struct cache_entry {
    uint64_t domain_id; /* 0: empty */
    struct epoch_slot *slot;
};

static pthread_mutex_t register_lock = PTHREAD_MUTEX_INITIALIZER;
static struct epoch_domain *register_first;
static uint64_t last_id;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end_key;
static bool has_key;

/* Initial-exec: an access is one instruction, also in the shared library. */
static _Thread_local struct cache_entry cache[CACHE_ENTRIES]
    __attribute__((tls_model("initial-exec")));

static struct epoch_domain *find_live(uint64_t id) {
    struct epoch_domain *domain = register_first;
    while (domain != NULL && domain->id != id) {
        domain = domain->next;
    }
    return domain;
}

/* Under the register's lock. */
static void give_back(struct cache_entry *entry) {
    struct epoch_domain *domain = find_live(entry->domain_id);
    if (domain != NULL) {
        ASSERT(entry->slot->depth == 0); /* a thread must leave before it ends */
        mutex_lock(&domain->lock);
        atomic_store_explicit(&entry->slot->owner, SLOT_FREE, memory_order_release);
        mutex_unlock(&domain->lock);
    }
    *entry = (struct cache_entry){0, NULL};
}

static void on_thread_end(void *entries) {
    struct cache_entry *own = entries;
    (void)pthread_mutex_lock(&register_lock);
    for (unsigned i = 0; i < CACHE_ENTRIES; i++) {
        if (own[i].domain_id != 0) {
            give_back(&own[i]);
        }
    }
    (void)pthread_mutex_unlock(&register_lock);
}

static void create_key(void) {
    has_key = pthread_key_create(&thread_end_key, on_thread_end) == 0;
}

/* When the library is unloaded, threads that end later must not call into it. */
__attribute__((destructor)) static void delete_key(void) {
    if (has_key) {
        (void)pthread_key_delete(thread_end_key);
        has_key = false;
    }
}

static bool register_membarrier(void) {
    return !EPOCH_UNDER_TSAN &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

tern_status epoch_domain_create(const tern_allocator *allocator, struct epoch_domain **out_domain,
                                tern_error *error) {
    struct epoch_domain *domain =
        memory_allocate_aligned(allocator, _Alignof(struct epoch_domain), sizeof(*domain));
    if (domain == NULL) {
        return ERROR_NO_MEMORY(error, "an epoch domain");
    }
    memset(domain, 0, sizeof(*domain));
    domain->allocator = allocator;
    domain->has_membarrier = register_membarrier();
    atomic_init(&domain->epoch, 1);
    atomic_init(&domain->safe_below, 1);
    domain->overflow.domain = domain;
    atomic_init(&domain->overflow.owner, SLOT_OVERFLOW);
    mutex_init(&domain->lock);
    (void)pthread_once(&key_once, create_key);
    (void)pthread_mutex_lock(&register_lock);
    domain->id = ++last_id;
    domain->next = register_first;
    if (register_first != NULL) {
        register_first->previous = domain;
    }
    register_first = domain;
    (void)pthread_mutex_unlock(&register_lock);
    *out_domain = domain;
    return TERN_OK;
}

static uint64_t release_nodes(struct epoch_node *first) {
    uint64_t count = 0;
    while (first != NULL) {
        struct epoch_node *next = first->next;
        first->release(first);
        first = next;
        count++;
    }
    return count;
}

static struct epoch_node *take_limbo(struct epoch_domain *domain) {
    mutex_lock(&domain->lock);
    struct epoch_node *first = domain->limbo_first;
    domain->limbo_first = domain->limbo_last = NULL;
    atomic_store_explicit(&domain->limbo_count, 0, memory_order_relaxed);
    mutex_unlock(&domain->lock);
    return first;
}

void epoch_domain_destroy(struct epoch_domain *domain) {
    if (domain == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&register_lock);
    if (domain->previous != NULL) {
        domain->previous->next = domain->next;
    } else {
        register_first = domain->next;
    }
    if (domain->next != NULL) {
        domain->next->previous = domain->previous;
    }
    (void)pthread_mutex_unlock(&register_lock);
    /* A release may retire something else. */
    while (domain->limbo_first != NULL) {
        (void)release_nodes(take_limbo(domain));
    }
    while (domain->chunks != NULL) {
        struct slot_chunk *next = domain->chunks->next;
        for (unsigned i = 0; i < CHUNK_SLOTS; i++) {
            ASSERT(atomic_load(&domain->chunks->slots[i].local) == 0);
        }
        memory_release_aligned(domain->allocator, domain->chunks);
        domain->chunks = next;
    }
    ASSERT(domain->overflow.depth == 0);
    mutex_destroy(&domain->lock);
    memory_release_aligned(domain->allocator, domain);
}

/* A free slot of the domain, from a new chunk where there is none; NULL when out of memory. */
static struct epoch_slot *take_slot(struct epoch_domain *domain) {
    struct epoch_slot *found = NULL;
    mutex_lock(&domain->lock);
    for (struct slot_chunk *chunk = domain->chunks; chunk != NULL && found == NULL;
         chunk = chunk->next) {
        for (unsigned i = 0; i < CHUNK_SLOTS && found == NULL; i++) {
            if (atomic_load_explicit(&chunk->slots[i].owner, memory_order_acquire) == SLOT_FREE) {
                found = &chunk->slots[i];
            }
        }
    }
    if (found == NULL) {
        struct slot_chunk *chunk =
            memory_allocate_aligned(domain->allocator, _Alignof(struct slot_chunk), sizeof(*chunk));
        if (chunk != NULL) {
            memset(chunk, 0, sizeof(*chunk));
            for (unsigned i = 0; i < CHUNK_SLOTS; i++) {
                chunk->slots[i].domain = domain;
            }
            chunk->next = domain->chunks;
            domain->chunks = chunk;
            found = &chunk->slots[0];
        }
    }
    if (found != NULL) {
        atomic_store_explicit(&found->owner, SLOT_OF_THREAD, memory_order_relaxed);
    }
    mutex_unlock(&domain->lock);
    return found;
}

/* A place in this thread's cache: empty, of a dead domain, or of one that it is not inside of. */
static struct cache_entry *make_room(void) {
    struct cache_entry *room = NULL;
    (void)pthread_mutex_lock(&register_lock);
    for (unsigned i = 0; i < CACHE_ENTRIES && room == NULL; i++) {
        if (cache[i].domain_id == 0 || find_live(cache[i].domain_id) == NULL) {
            room = &cache[i];
        }
    }
    for (unsigned i = 0; i < CACHE_ENTRIES && room == NULL; i++) {
        if (cache[i].slot->depth == 0) {
            room = &cache[i];
        }
    }
    if (room != NULL && room->domain_id != 0) {
        give_back(room);
    }
    (void)pthread_mutex_unlock(&register_lock);
    return room;
}

static struct epoch_slot *enter_overflow(struct epoch_domain *domain) {
    struct epoch_slot *slot = &domain->overflow;
    mutex_lock(&domain->lock);
    if (slot->depth++ == 0) {
        uint64_t epoch = atomic_load_explicit(&domain->epoch, memory_order_acquire);
        (void)atomic_exchange_explicit(&slot->local, epoch, memory_order_seq_cst);
    }
    mutex_unlock(&domain->lock);
    return slot;
}

static void exit_overflow(struct epoch_slot *slot) {
    mutex_lock(&slot->domain->lock);
    ASSERT(slot->depth > 0);
    if (--slot->depth == 0) {
        atomic_store_explicit(&slot->local, 0, memory_order_release);
    }
    mutex_unlock(&slot->domain->lock);
}

static inline struct epoch_slot *announce(struct epoch_domain *domain, struct epoch_slot *slot) {
    if (slot->depth++ == 0) {
        uint64_t epoch = atomic_load_explicit(&domain->epoch, memory_order_acquire);
        if (domain->has_membarrier) {
            atomic_store_explicit(&slot->local, epoch, memory_order_relaxed);
            atomic_signal_fence(memory_order_seq_cst);
        } else {
            (void)atomic_exchange_explicit(&slot->local, epoch, memory_order_seq_cst);
        }
    }
    return slot;
}

static __attribute__((noinline)) struct epoch_slot *enter_slowly(struct epoch_domain *domain) {
    for (unsigned i = 0; i < CACHE_ENTRIES; i++) {
        if (cache[i].domain_id == domain->id) {
            return announce(domain, cache[i].slot);
        }
    }
    /* Without word of the thread's end its slot would be lost. */
    if (!has_key || pthread_setspecific(thread_end_key, cache) != 0) {
        return enter_overflow(domain);
    }
    struct cache_entry *room = make_room();
    struct epoch_slot *slot = room != NULL ? take_slot(domain) : NULL;
    if (slot == NULL) {
        return enter_overflow(domain);
    }
    *room = (struct cache_entry){domain->id, slot};
    return announce(domain, slot);
}

struct epoch_slot *epoch_enter(struct epoch_domain *domain) {
    if (__builtin_expect(cache[0].domain_id == domain->id, 1)) {
        return announce(domain, cache[0].slot);
    }
    return enter_slowly(domain);
}

void epoch_exit(struct epoch_slot *slot) {
    if (__builtin_expect(atomic_load_explicit(&slot->owner, memory_order_relaxed) == SLOT_OVERFLOW,
                         0)) {
        exit_overflow(slot);
        return;
    }
    ASSERT_DEBUG(slot->depth > 0);
    if (--slot->depth == 0) {
        atomic_store_explicit(&slot->local, 0, memory_order_release);
    }
}

void epoch_retire(struct epoch_domain *domain, struct epoch_node *node,
                  void (*release)(struct epoch_node *node)) {
    node->release = release;
    node->next = NULL;
    mutex_lock(&domain->lock);
    node->epoch = atomic_load_explicit(&domain->epoch, memory_order_relaxed);
    if (domain->limbo_last != NULL) {
        domain->limbo_last->next = node;
    } else {
        domain->limbo_first = node;
    }
    domain->limbo_last = node;
    atomic_fetch_add_explicit(&domain->limbo_count, 1, memory_order_relaxed);
    mutex_unlock(&domain->lock);
}

uint64_t epoch_current(struct epoch_domain *domain) {
    return atomic_fetch_add_explicit(&domain->epoch, 0, memory_order_acq_rel);
}

static uint64_t local_of(struct epoch_domain *domain, struct epoch_slot *slot) {
    return domain->has_membarrier
               ? atomic_load_explicit(&slot->local, memory_order_acquire)
               : atomic_fetch_add_explicit(&slot->local, 0, memory_order_seq_cst);
}

/* Advances the epoch and looks who is inside; returns the new safe_below. */
static uint64_t advance(struct epoch_domain *domain) {
    mutex_lock(&domain->lock);
    uint64_t least = atomic_fetch_add_explicit(&domain->epoch, 1, memory_order_acq_rel) + 1;
    mutex_unlock(&domain->lock);
    if (domain->has_membarrier) {
        long result = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
        ASSERT(result == 0);
    }
    /* A slot taken after this belongs to a reader that sees all that was unlinked before it. */
    mutex_lock(&domain->lock);
    struct slot_chunk *chunk = domain->chunks;
    mutex_unlock(&domain->lock);
    uint64_t local = local_of(domain, &domain->overflow);
    least = local != 0 && local < least ? local : least;
    for (; chunk != NULL; chunk = chunk->next) {
        for (unsigned i = 0; i < CHUNK_SLOTS; i++) {
            local = local_of(domain, &chunk->slots[i]);
            least = local != 0 && local < least ? local : least;
        }
    }
    uint64_t safe = atomic_load_explicit(&domain->safe_below, memory_order_acquire);
    while (safe < least &&
           !atomic_compare_exchange_weak_explicit(&domain->safe_below, &safe, least,
                                                  memory_order_acq_rel, memory_order_acquire)) {
    }
    return safe < least ? least : safe;
}

bool epoch_is_past(struct epoch_domain *domain, uint64_t epoch) {
    return epoch < atomic_load_explicit(&domain->safe_below, memory_order_acquire) ||
           epoch < advance(domain);
}

uint64_t epoch_reclaim(struct epoch_domain *domain) {
    if (atomic_load_explicit(&domain->limbo_count, memory_order_relaxed) == 0) {
        return 0;
    }
    uint64_t safe = advance(domain);
    mutex_lock(&domain->lock);
    struct epoch_node *first = domain->limbo_first;
    struct epoch_node *last = NULL;
    uint64_t count = 0;
    for (struct epoch_node *node = first; node != NULL && node->epoch < safe; node = node->next) {
        last = node;
        count++;
    }
    if (last != NULL) {
        domain->limbo_first = last->next;
        if (last->next == NULL) {
            domain->limbo_last = NULL;
        }
        last->next = NULL;
        atomic_fetch_sub_explicit(&domain->limbo_count, count, memory_order_relaxed);
        atomic_fetch_add_explicit(&domain->releasing, 1, memory_order_relaxed);
    }
    mutex_unlock(&domain->lock);
    if (last == NULL) {
        return 0;
    }
    count = release_nodes(first);
    atomic_fetch_sub_explicit(&domain->releasing, 1, memory_order_release);
    return count;
}

/* Longer each time. */
static void wait_a_moment(struct timespec *pause) {
    (void)nanosleep(pause, NULL);
    pause->tv_nsec = pause->tv_nsec < 500000 ? pause->tv_nsec * 2 : pause->tv_nsec;
}

void epoch_synchronize(struct epoch_domain *domain) {
    uint64_t epoch = epoch_current(domain);
    struct timespec pause = {0, 1000};
    while (!epoch_is_past(domain, epoch)) {
        wait_a_moment(&pause);
    }
}

/* Whoever took nodes did so under the lock. */
static void await_releases(struct epoch_domain *domain) {
    struct timespec pause = {0, 1000};
    mutex_lock(&domain->lock);
    mutex_unlock(&domain->lock);
    while (atomic_load_explicit(&domain->releasing, memory_order_acquire) > 0) {
        wait_a_moment(&pause);
    }
}

void epoch_drain(struct epoch_domain *domain) {
    /* What is released in the first round may retire something. */
    for (int round = 0; round < 2; round++) {
        epoch_synchronize(domain);
        (void)epoch_reclaim(domain);
        await_releases(domain);
    }
}
