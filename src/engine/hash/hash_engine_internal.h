/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash engine as its parts see it.
 *
 * Entries of records on disk may be on disk themselves (hash_cold.h); what follows is about them,
 * wherever they are.
 *
 * A key has at most one entry for what is in memory (its newest version, from which the chain goes
 * down) and, while that chain ends in LINK_UNKNOWN, possibly another one for its record on disk:
 * whether that record is of the same key or only has the same tag shows when it is read, and the
 * applier does not read. A drain does, and joins the two.
 *
 * Invariants:
 *  H1 of each key at most one record on disk is live, and the index leads to it
 *  H2 what a live snapshot selects can be reached: from the index, through versions and stubs
 *  H3 a version in a frozen memory is unlinked only by the drain, after its record is on disk
 *  H5 of two entries of a key the one in the index's first table stays when a drain joins them
 *  H4 a dead record that a chain refers to is counted in chain_refs of its block
 *
 * Locks: `index_lock` guards the index (as its writer), the links of chains, stubs and the copy of
 * the horizon; it is held for one commit, or for some dozens of records. `lock` guards the pointer
 * to the current view. Order: roles, index_lock, lock.
 */
#ifndef TERN_ENGINE_HASH_ENGINE_INTERNAL_H
#define TERN_ENGINE_HASH_ENGINE_INTERNAL_H

#include "engine/hash/hash_base.h"
#include "engine/hash/hash_cold.h"
#include "engine/hash/hash_index.h"
#include "engine/hash/hash_memory.h"
#include "engine/hash/hash_order.h"
#include "engine/hash/hash_value.h"
#include "engine/resolution.h"
#include "os/mutex.h"

#define VIEW_MEMORIES_MAX 9u

struct hash_engine;

struct hash_view {
    struct engine_view head;
    uint64_t generation; /* of its root: what was born later may go while the view is held */
    uint32_t count;
    struct hash_memory *memories[VIEW_MEMORIES_MAX]; /* active first, then newest first */
};

enum move_kind { MOVE_VERSION, MOVE_RECORD, MOVE_RANGE };

/* A record that was written (or has to go), to be linked once its block can be read. */
struct hash_move {
    enum move_kind kind;
    bool is_written;  /* there is a record on disk */
    bool is_kept;     /* a snapshot may need what lies below */
    bool is_covered;  /* MOVE_VERSION: a range delete covers the version itself */
    bool is_first;    /* nothing of the key lies below */
    bool is_separate; /* the predecessor has an entry of its own */
    uint32_t block, slot;
    uint64_t hash;
    uint64_t second; /* MOVE_RECORD: its hash in the index's second table */
    seq_no seq;
    struct hash_version *version;
    hash_link from; /* record that is superseded, or LINK_NONE */
    struct hash_stub *stub;
};

/* A run of units to be superseded with the moves. */
struct value_extent {
    uint32_t place, units;
};

enum drain_phase { DRAIN_VERSIONS, DRAIN_RANGES, DRAIN_VALUES, DRAIN_GARBAGE, DRAIN_DONE };

struct hash_drain {
    struct hash_output *output;
    struct hash_memory *memory; /* being drained, or NULL */
    enum drain_phase phase;
    struct version_order order; /* of the versions of `memory` */
    struct memory_walk walk;    /* of the phase of values */
    uint64_t drained_bytes;     /* of `memory` */
    struct hash_move *moves;
    size_t move_count, move_capacity;
    struct value_extent *extents;
    size_t extent_count, extent_capacity;
    struct value_extent *made; /* written for the moves, free again when they are given up */
    size_t made_count, made_capacity;
    uint32_t segment, block; /* where the range phase or compaction stands */
    struct buffer payload;
    struct engine_scratch scratch;
    uint64_t garbage_budget;
    uint32_t mends;    /* of the cold part, for this memory */
    bool reads_ahead;  /* what it looks for on disk lies closely together */
    bool reads_groups; /* it looks for more than a few keys of each group of the cold part */
    struct cold_reader cold_reader;
    bool has_moved_cold; /* this compaction has written the cold part of the index anew */
    bool is_compacting;
    uint32_t compact_passes;
    uint64_t compacted_bytes;
    uint64_t compact_budget; /* bytes that this compaction may still move */
};

/* Moving entries of records from memory to the cold part of the index (hash_pour.c). */
struct hash_pour {
    bool is_on;
    uint64_t next;            /* hash where it stands */
    size_t kept;              /* numbers of blocks that are free when it is through */
    uint64_t dead;            /* entries that were dead when it began */
    _Atomic uint64_t entries; /* that the last one left in memory and that still cannot go */
};

struct hash_engine {
    struct engine head;
    const struct engine_environment *environment;
    struct engine_config config;
    struct hash_base base;
    struct hash_index *index;
    struct hash_cold cold;
    struct hash_pour pour;
    uint64_t promised_inserts; /* of the commit that was promised room */
    struct mutex lock;
    struct mutex index_lock;
    struct hash_view *current;
    _Atomic uint64_t view_count;

    seq_no *live; /* copy of the applier's last horizon */
    size_t live_count, live_capacity;
    seq_no visible_seq;
    bool is_all_live; /* the copy could not be had */
    bool is_trimmed;  /* a round over the stubs has begun, or ended, with this copy and no new stub:
                         another would find nothing */

    seq_no frozen_seq; /* newest freeze */
    uint64_t frozen_time_ms;
    _Atomic seq_no last_write_seq;
    _Atomic seq_no removed_seq; /* newest deletion that left no trace */
    size_t promised_bytes;      /* room in the active memory that the commit may still need */
    struct buffer fold;

    seq_no complete_seq; /* of the last root */
    seq_no sealed_complete_seq;
    bool is_sealed;
    bool has_finished; /* the memory being drained is on disk altogether */
    struct hash_drain drain;
    struct hash_stub *stubs;
    struct hash_stub *trim_next;
    _Atomic uint64_t stub_bytes, stub_count;
    _Atomic uint64_t debt_bytes;
    _Atomic uint64_t doubled; /* chains that end in LINK_UNKNOWN: keys that may have two entries */
};

static inline struct hash_engine *hash_of(struct engine *engine) {
    return (struct hash_engine *)engine;
}

static inline struct hash_view *hash_view_of(struct engine_view *view) {
    return (struct hash_view *)view;
}

static inline const tern_allocator *hash_allocator(const struct hash_engine *engine) {
    return engine->environment->allocator;
}

static inline uint64_t hash_of_key(const struct hash_engine *engine, tern_slice key) {
    return key_hasher_hash(&engine->head.hasher, key);
}

/* The key's hash in the second table of the index; 0 while that is empty. */
static inline uint64_t hash_second_of(const struct hash_engine *engine, tern_slice key) {
    return hash_index_has_second(engine->index) ? hash_index_second(engine->index, key) : 0;
}

/* Adds an entry for a key; false: no memory. Under the index lock. */
static inline bool hash_insert_key(struct hash_engine *engine, tern_slice key, uint64_t hash,
                                   hash_link link) {
    return __builtin_expect(hash_index_insert(engine->index, hash, link) == HASH_INSERTED, 1) ||
           hash_index_insert_second(engine->index, hash_index_second(engine->index, key), link);
}

/* ---- hash_chain.c ---- */

/* The memory entry of a key, under the index lock. NULL: none. *out_disk: an entry on disk fits. */
index_slot *hash_find_head(const struct hash_engine *engine, tern_slice key, uint64_t hash,
                           struct hash_version **out_head, hash_link *out_disk);
/* Does the index in memory lead from the key's hash to the record? Under the index lock. */
bool hash_leads_to(const struct hash_engine *engine, tern_slice key, uint64_t hash,
                   hash_link record);
/* The same of all of the index, the cold part, too. Not when the list of hashes was wrong, or
 * made anew while the record could not be read. Inside an epoch, without the index lock. */
TERN_MUST_CHECK tern_status hash_is_indexed(struct hash_engine *engine, tern_slice key,
                                            uint64_t hash, hash_link record, bool *out_is,
                                            tern_error *error);
/* Adds an entry for a record, whose key is read only where keys collide. Under the index lock. */
TERN_MUST_CHECK tern_status hash_insert_record(struct hash_engine *engine, uint64_t hash,
                                               hash_link link, tern_error *error);
/* Some snapshot may select what is older than `seq`. Under the index lock. */
bool hash_needs_older(const struct hash_engine *engine, seq_no seq);
/* Some snapshot may select `lower` although `upper` is above it. Under the index lock. */
bool hash_is_selectable(const struct hash_engine *engine, seq_no lower, seq_no upper);
bool hash_is_registered(struct hash_engine *engine, seq_no seq);
void hash_save_horizon(struct hash_engine *engine, const struct engine_horizon *horizon);
struct hash_stub *hash_stub_create(struct hash_engine *engine, tern_slice key, uint64_t hash,
                                   seq_no seq);
/* Never linked. Accepts NULL. */
void hash_stub_discard(struct hash_engine *engine, struct hash_stub *stub);
/*
 * Links the moves of a flush; the lock is taken for some at a time. TERN_NO_MEMORY: some were left
 * out, their old records live on; begin the phase again.
 */
TERN_MUST_CHECK tern_status hash_link_moves(struct hash_engine *engine, tern_error *error);
/* Looks at some stubs that nobody may need any more. */
void hash_trim_stubs(struct hash_engine *engine, size_t count);
void hash_free_stubs(struct hash_engine *engine);

/* ---- hash_apply.c ---- */
void hash_prefetch(struct engine *base, const struct engine_change *change,
                   const struct change_place *place);
void hash_prefetch_next(struct engine *base, const struct engine_change *change);
tern_status hash_reserve(struct engine *base, size_t count, size_t bytes, tern_error *error);
void hash_apply(struct engine *base, const struct engine_change *changes, size_t count, seq_no seq,
                const struct engine_horizon *horizon);
tern_status hash_lacks(struct engine *base, struct engine_change *change, seq_no seq,
                       bool *out_lacks, tern_error *error);
tern_status hash_replay(struct engine *base, const struct engine_change *changes, size_t count,
                        seq_no seq, tern_error *error);

/* ---- hash_read.c ---- */

/* What is looked for: one key as of one seq. */
struct hash_lookup {
    struct hash_engine *engine;
    const struct hash_view *view;
    tern_slice key;
    uint64_t hash;
    seq_no seq;
    struct resolution *resolution;
};
TERN_MUST_CHECK tern_status hash_lookup(const struct hash_lookup *lookup, tern_error *error);
/* From a link down; *out_unknown: the chain ends where only the index can go on. */
TERN_MUST_CHECK tern_status hash_collect(const struct hash_lookup *lookup, hash_link link,
                                         seq_no range_seq, bool *out_unknown, tern_error *error);
/* The record on disk of this key that has an entry of its own; LINK_NONE when there is none. */
TERN_MUST_CHECK tern_status hash_find_on_disk(struct hash_engine *engine, tern_slice key,
                                              uint64_t hash, hash_link *out_link,
                                              struct hash_record *out_record,
                                              struct cache_frame **out_frame, tern_error *error);
/* Brings the blocks that this would read into the cache, with those beside them. Inside an epoch.
 */
void hash_fetch_around(struct hash_engine *engine, tern_slice key, uint64_t hash);
/* The same for a drain, which asks in the order of the hashes. */
TERN_MUST_CHECK tern_status hash_find_in_order(struct hash_engine *engine, tern_slice key,
                                               uint64_t hash, hash_link *out_link,
                                               struct hash_record *out_record,
                                               struct cache_frame **out_frame, tern_error *error);
tern_status hash_load_large(void *context, const struct record *large, struct buffer *out_value,
                            tern_error *error);
tern_status hash_get(struct engine_view *view, tern_slice key, uint64_t key_hash,
                     const struct engine_moment *moment, struct engine_scratch *scratch,
                     struct engine_result *out_result, tern_error *error);
tern_status hash_multi_get(struct engine_view *view, struct engine_get *gets, size_t count,
                           const struct engine_moment *moment, struct engine_scratch *scratch,
                           void (*on_result)(void *context, size_t index), void *context,
                           tern_error *error);
seq_no hash_view_range_seq(const struct hash_view *view, tern_slice key, seq_no seq);
/* Whether the key has an entry in the first table of the index. Inside an epoch. */
TERN_MUST_CHECK tern_status hash_has_first_entry(struct hash_engine *engine, tern_slice key,
                                                 uint64_t hash, bool *out_has, tern_error *error);

/* ---- hash_cursor.c ---- */
tern_status hash_cursor_open(struct engine_view *view, const struct engine_moment *moment,
                             const struct engine_cursor_bounds *bounds, bool keys_only,
                             struct engine_cursor **out_cursor, tern_error *error);
void hash_cursor_close(struct engine_cursor *cursor);
void hash_cursor_renew(struct engine_cursor *cursor, const struct engine_moment *moment);
tern_status hash_cursor_seek(struct engine_cursor *cursor, tern_slice key, bool backward,
                             tern_error *error);
tern_status hash_cursor_first(struct engine_cursor *cursor, bool backward, tern_error *error);
tern_status hash_cursor_next(struct engine_cursor *cursor, tern_error *error);
tern_status hash_cursor_previous(struct engine_cursor *cursor, tern_error *error);
void hash_cursor_entry(const struct engine_cursor *cursor, struct engine_entry *out_entry);
tern_status hash_cursor_next_batch(struct engine_cursor *cursor, tern_entry *out_entries,
                                   size_t capacity, size_t *out_count, tern_error *error);

/* ---- hash_drain.c, hash_compact.c ---- */
tern_status hash_drain_step(struct engine *base, size_t quantum_bytes,
                            enum engine_drain_state *out_state, tern_error *error);
tern_status hash_compact_step(struct engine *base, size_t quantum_bytes,
                              enum engine_drain_state *out_state, tern_error *error);
/* Rewrites what lives in segments that are sparse, about quantum bytes; *out_more false: none is.
 */
tern_status hash_collect_garbage(struct hash_engine *engine, size_t quantum_bytes, bool is_thorough,
                                 bool *out_more, tern_error *error);
tern_status hash_flush(struct hash_engine *engine, tern_error *error);
/* As much is gathered as is to be written at once. */
bool hash_wants_flush(const struct hash_engine *engine);
struct hash_move *hash_add_move(struct hash_engine *engine);
/* The extents of a value go with the moves. */
tern_status hash_add_value(struct hash_engine *engine, tern_slice reference, tern_error *error);
void hash_abandon_moves(struct hash_engine *engine);
/* Gives up what was gathered and begins the phase of the drain anew. */
void hash_rewind(struct hash_engine *engine);
/* Between drains nothing is kept for them. */
void hash_drain_rest(struct hash_engine *engine);
void hash_drain_release(struct hash_engine *engine);
tern_status hash_need_output(struct hash_engine *engine, tern_error *error);

/* ---- hash_pour.c ---- */

/* An entry of memory leads to a record now. */
static inline void hash_note_pourable(struct hash_engine *engine) {
    uint64_t entries = atomic_load_explicit(&engine->pour.entries, memory_order_relaxed);
    if (entries > 0) {
        atomic_store_explicit(&engine->pour.entries, entries - 1, memory_order_relaxed);
    }
}

/* The index in memory has grown over its share, or much of its cold part is dead. */
bool hash_wants_pour(const struct hash_engine *engine);
/* Some of it, about quantum bytes of writing; maintenance role, without moves that are not linked
 * being touched. */
tern_status hash_pour_step(struct hash_engine *engine, size_t quantum_bytes, tern_error *error);
/* Of the group that begins at a hash: what memory has of its range goes there. *out_last: the end
 * of the range; *out_bytes: what was written. */
TERN_MUST_CHECK tern_status hash_pour_group(struct hash_engine *engine, uint64_t first,
                                            uint64_t *out_last, size_t *out_bytes,
                                            tern_error *error);
/* All of it, when it is wanted. */
tern_status hash_pour_all(struct hash_engine *engine, tern_error *error);

/* ---- hash_mend.c ---- */

/* The entries that a group of the cold part must have for this range, appended as cold_entry. */
TERN_MUST_CHECK tern_status hash_mend_gather(struct hash_engine *engine, uint64_t first,
                                             uint64_t last, struct buffer *out_entries,
                                             tern_error *error);
/* Makes the groups of the cold part anew that are damaged. Without moves that are not linked. */
TERN_MUST_CHECK tern_status hash_mend(struct hash_engine *engine, tern_error *error);
/* When it was damage of the cold part that a drain failed with: mends it. TERN_OK: go on. */
TERN_MUST_CHECK tern_status hash_mend_after(struct hash_engine *engine, tern_status status,
                                            tern_error *error);

/* ---- hash_view.c ---- */
tern_status hash_view_create(struct hash_engine *engine, struct hash_memory *const *memories,
                             uint32_t count, seq_no floor_seq, struct hash_view **out_view,
                             tern_error *error);
void hash_view_destroy(struct engine_view *view);
bool hash_is_held(struct engine *engine);
struct hash_view *hash_view_current(struct hash_engine *engine);
void hash_view_install(struct hash_engine *engine, struct hash_view *view);

/* ---- hash_care.c ---- */
tern_status hash_verify(struct engine_view *view, tern_finding_function on_finding, void *context,
                        tern_progress_function progress, void *progress_context,
                        tern_verify_report *report, tern_error *error);
tern_status hash_salvage(const struct engine_environment *environment,
                         const struct engine_config *config, tern_slice state,
                         tern_status (*visit)(void *context, tern_slice key,
                                              const struct record *record, uint64_t generation),
                         void *visit_context, tern_finding_function on_finding,
                         void *finding_context, uint64_t *out_lost_pages, tern_error *error);
tern_status hash_export_base(struct engine_view *view, const char *target_directory,
                             struct buffer *out_state, tern_error *error);
tern_status hash_ingest(struct engine *base,
                        tern_status (*next)(void *context, tern_slice *out_key,
                                            struct record *out_record),
                        void *context, tern_error *error);
tern_status hash_stats(struct engine_view *view, tern_stat_visitor visit, void *context,
                       tern_error *error);

/* ---- state ---- */
struct hash_state {
    bool has_root;
    seq_no complete_seq;
    uint64_t generation;
    uint64_t records;
    struct hash_ref root;
};
tern_status hash_state_decode(tern_slice bytes, struct hash_state *out_state, tern_error *error);
tern_status hash_state_encode(const struct hash_state *state, struct buffer *out_state,
                              tern_error *error);

#endif
