/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyspace handle (public type tern_keyspace) with its one partition, and the database view: the
 * immutable list of what to read in each partition.
 */
#ifndef TERN_TXN_KEYSPACE_H
#define TERN_TXN_KEYSPACE_H

#include <stdatomic.h>
#include <tern/keyspace.h>

#include "engine/engine.h"

struct txn_manager;

enum keyspace_state {
    KEYSPACE_PENDING = 0, /* created by a transaction that has not committed */
    KEYSPACE_LIVE = 1,
    KEYSPACE_DROPPED = 2, /* dropped, or its creation was rolled back */
};

/* Slot of a keyspace that is in no view yet. */
#define KEYSPACE_NO_SLOT UINT32_MAX

/* Background work that has failed: when it is tried again, and how long that was put off. */
struct keyspace_care {
    uint64_t after_ns; /* monotonic; 0: it has not failed */
    uint64_t delay_ns;
    uint64_t
        wanted_bytes; /* the disk was full: it is tried again when so much is free; 0: not so */
};

/* Why a keyspace is set aside (db/aside.c); never changed. */
struct keyspace_failure {
    struct keyspace_failure *older;
    tern_error error;
};

struct change_capture;

/*
 * Lives until the database is closed. Constant after creation but for the atomics, and for the
 * partition with what belongs to it: a conversion changes those, holding the maintenance and the
 * applier role and catalog_mutex; one of the three is enough to read them. Who reads records uses
 * what a view holds instead.
 */
struct tern_keyspace {
    struct txn_manager *manager;
    partition_id id; /* of the keyspace: names locks. Its first partition's */
    /* Of the keys, in conflict table, read and write sets: that of the partition it had when the
     * database was opened. One that a conversion has brought since may have another: then keys are
     * hashed once more for its engine, until the next open. */
    struct key_hasher hasher;
    char *name;
    partition_id partition;        /* names files, and changes in the log */
    tern_keyspace_options options; /* defaults filled in */
    const struct engine_methods *methods;
    struct engine *engine;      /* owned by the catalog; NULL once destroyed */
    _Atomic uint64_t shown_seq; /* the commit since which the partition is the keyspace's; 0: from
                                   the beginning. SEQ_MAX: it is being built, and hidden */
    _Atomic size_t key_bytes_max;
    _Atomic size_t read_key_bytes_max; /* of all partitions it has had while it was open */
    struct change_capture *capture;    /* what is told of each change, or NULL; applier role */
    bool is_converting;                /* under catalog_mutex */
    _Atomic uint32_t slot;             /* index into database_view.parts */
    _Atomic uint32_t state;            /* enum keyspace_state */
    _Atomic uint64_t created_seq;
    _Atomic uint64_t dropped_seq; /* SEQ_MAX while live */
    _Atomic uint64_t last_write_seq;
    _Atomic(const struct keyspace_failure *) aside; /* it takes no writes; NULL: it does */
    struct tern_keyspace *next;                     /* the catalog's list */
    /* Maintenance role. */
    struct keyspace_failure *failures; /* all that `aside` ever was, freed with the handle */
    uint64_t kept_from;      /* while aside: position in the log of what has not been drained */
    uint32_t drain_failures; /* of a kind that may go away, since it was last drained */
    bool has_failed_drain;   /* in the checkpoint under way */
    bool is_sealed;          /* has a sealed root that is not published yet */
    bool is_shrinking;       /* blocks are being moved down from the file's tail */
    uint64_t space_left;     /* free bytes that the last try had to leave; 0: no try */
    struct keyspace_care engine_care;  /* its engine's own work */
    struct keyspace_care space_care;   /* giving its free space back */
    uint64_t gone_view_generation;     /* first view without it; 0: still in views */
    uint64_t gone_manifest_generation; /* the newest that may name it */
    bool is_held;                      /* dropped, and its engine's views are somebody's still */
};

/*
 * What readers read. Holds a reference to every part. A part is NULL where the keyspace of the slot
 * does not exist in this view.
 */
struct database_view {
    _Atomic uint64_t references;
    uint64_t generation; /* grows with each published view */
    seq_no floor_seq;    /* newest seq inside its bases and frozen overlays */
    struct epoch_node limbo;
    struct txn_manager *manager;
    struct database_view
        *next_live; /* list of views not yet destroyed, under manager->views_mutex */
    struct database_view *previous_live;
    uint32_t slot_count;
    struct engine_view *parts[];
};

/* Its partition is being built by a conversion: nobody sees it. */
static inline bool keyspace_is_hidden(const tern_keyspace *keyspace) {
    return atomic_load_explicit(&keyspace->shown_seq, memory_order_relaxed) == SEQ_MAX;
}

static inline uint64_t keyspace_key_hash(const tern_keyspace *keyspace, tern_slice key) {
    return key_hasher_hash(&keyspace->hasher, key);
}

/* What an engine of the keyspace is to be given. */
static inline uint64_t engine_hash_for(const struct engine *engine, tern_slice key,
                                       uint64_t key_hash) {
    return __builtin_expect(engine->rehashes, 0) ? key_hasher_hash(&engine->hasher, key) : key_hash;
}

/* The part of a keyspace in a view, or NULL when it does not exist there. */
static inline struct engine_view *view_part(const struct database_view *view,
                                            const tern_keyspace *keyspace) {
    uint32_t slot = atomic_load_explicit(&keyspace->slot, memory_order_relaxed);
    return slot < view->slot_count ? view->parts[slot] : NULL;
}

#endif
