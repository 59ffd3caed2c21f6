/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine contract: how everything above talks to a partition's storage without knowing which
 * engine it is.
 *
 * A partition is one engine instance. Its life:
 *
 *   open -> [replay]* -> ( apply | freeze | drain_step | state | publish | readers )* -> close
 *
 * - `apply` puts committed changes into memory; one applier at a time (the commit leader). It
 * cannot fail: `reserve` made room before the batch went into the log.
 * - `freeze` closes the active overlay at a sequence boundary. `drain_step` moves frozen data into
 *   new durable blocks a slice at a time, beside what readers see. `sync` makes the blocks durable,
 *   `state` describes the new base for the manifest, and once the manifest is durable `publish`
 *   makes it what new views see.
 * - Readers work on an engine_view: an immutable list of what to read. The database's view holds
 * one per partition. A view's floor is the newest seq inside its base and frozen overlays; a
 * reader's snapshot is never below it.
 *
 * Threads: apply, reserve, freeze, publish, replay belong to whoever holds the database's applier
 * role; drain_step, sync, state, compact_step to whoever holds its maintenance role (one at a
 * time); the roles run side by side, and both beside any number of readers. The database serialises
 * publish and freeze, which change the current view.
 */
#ifndef TERN_ENGINE_ENGINE_H
#define TERN_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <tern/cursor.h>
#include <tern/db.h>
#include <tern/error.h>
#include <tern/keyspace.h>
#include <tern/stats.h>
#include <tern/sys/clock.h>
#include <tern/sys/file_system.h>

#include "base/budget.h"
#include "base/buffer.h"
#include "base/record.h"
#include "base/types.h"
#include "engine/key_hasher.h"
#include "os/epoch.h"

struct cache;
struct io_queue;
struct io_queue_pool;
struct page_pool;
struct engine;
struct engine_view;
struct engine_cursor;

/* What all partitions of a database share. Outlives them. */
/*
 * Values that lie in the log alone, for a database that is open read-only. Their references are as
 * long as none of an engine's own.
 */
struct engine_logged_values {
    tern_status (*read)(void *context, uint64_t token, uint64_t offset, void *buffer,
                        size_t capacity, size_t *out_size, tern_error *error);
    void *context;
};

struct engine_environment {
    const tern_allocator *allocator;
    const tern_file_system *file_system;
    const tern_clock *clock;
    const tern_random *random; /* NULL: the system's */
    const char *directory;
    struct epoch_domain *epoch;
    struct budget *budget;
    struct cache *cache;
    struct page_pool *overlay_pool;    /* may be NULL */
    struct io_queue *write_queue;      /* for what drains write; may be NULL */
    struct io_queue_pool *read_queues; /* for reads that go together; may be NULL */
    uint32_t incarnation;
    bool read_only;
    const struct engine_logged_values *logged; /* NULL: there are none */
    bool buffered_io;
    tern_page_source page_source;
    uint64_t read_ahead_bytes; /* 0: default; TERN_READ_AHEAD_OFF */
    const _Atomic bool
        *is_at_rest; /* nothing has been committed for many seconds; may be NULL: unknown */
    _Atomic uint64_t *compacted_bytes; /* grows by what maintain_step and compact_step write, where
                                          the engine tells; may be NULL */
};

/* What is fixed when a partition is created. */
struct engine_config {
    partition_id id;               /* names its files */
    struct key_hasher hasher;      /* of the keys; zero: XXH3 with `id` as seed */
    tern_keyspace_options options; /* defaults filled in */
};

/* Kinds of change that apply takes beside those of enum record_kind. */
#define CHANGE_DELETE_RANGE ((enum record_kind)5)

/*
 * One committed change. For CHANGE_DELETE_RANGE: key is the inclusive begin (empty: from the first
 * key), record.value the exclusive end, unless range_has_end is false.
 * For RECORD_MERGE record.expires_ms is the logged time of the commit.
 */
struct engine_change {
    tern_slice key;
    uint64_t key_hash; /* of the key by the engine's hasher; 0 for ranges */
    struct record record;
    uint64_t ttl_ms;      /* not 0: the commit sets expires_ms to so long after its own time */
    uint64_t large_token; /* of RECORD_LARGE: names its chunks in the log */
    partition_id large_partition; /* of RECORD_LARGE: what holds the value; for what is above */
    bool range_has_end;
};

/* Where a change will go, as a reader found it: see find_place. Zero: unknown. */
struct change_place {
    const struct engine *engine;
    uint64_t generation; /* of the database's view in which it was looked for */
    void *node;          /* the engine's */
    uint64_t version;
    void *entry;
    uint32_t position;
};

/* XXH3 of a key with this seed: what the default hasher gives. */
uint64_t engine_key_hash(uint64_t seed, tern_slice key);

static inline struct key_hasher engine_config_hasher(const struct engine_config *config) {
    return config->hasher.hash != NULL ? config->hasher
                                       : key_hasher_make(TERN_HASH_FUNCTION_XXH3, config->id);
}

/* The sequence numbers that some snapshot may still select; what lies between may be pruned. */
struct engine_horizon {
    const seq_no *live; /* of live snapshots, ascending */
    size_t live_count;
    seq_no visible_seq; /* a new snapshot may be taken here or above at any time */
};

/* As of when a reader reads. */
struct engine_moment {
    seq_no seq;
    uint64_t time_ms; /* logged time of that seq; expired records are invisible */
};

/*
 * Memory of one reader for what has to be built (merged values, values stored apart, keys). Reused
 * from call to call, one thread at a time.
 */
struct engine_scratch {
    struct buffer value;
    struct buffer spare;
};

void engine_scratch_init(struct engine_scratch *scratch, const tern_allocator *allocator);
void engine_scratch_release(struct engine_scratch *scratch);

/* Where the bytes of a result live. */
enum engine_source {
    ENGINE_SOURCE_SCRATCH, /* the caller's scratch: until its next use */
    ENGINE_SOURCE_OVERLAY, /* an overlay of the view: as long as the view is held */
    ENGINE_SOURCE_FRAME    /* a cache frame: until the epoch is left, longer when pinned */
};

/* What a read found: kind NONE (missing, deleted, expired), PUT, or LARGE (value: reference). */
struct engine_result {
    struct record record;
    enum engine_source source;
    void *frame; /* for ENGINE_SOURCE_FRAME: what to give to pin */
};

/* One read of a batch. */
struct engine_get {
    tern_slice key;
    uint64_t key_hash;
    struct engine_result result; /* out */
    tern_status status;          /* out: OK (also when NONE), CORRUPTION, IO, NO_MEMORY */
};

/* An entry that a cursor stands on; bytes live until the cursor moves. record: PUT or LARGE. */
struct engine_entry {
    tern_slice key;
    struct record record;
};

struct engine_cursor_bounds {
    bool has_begin, has_end;
    tern_slice begin; /* inclusive */
    tern_slice end;   /* exclusive */
};

/* Where replay must begin for a partition, and what a manifest says of it. */
struct engine_drained {
    seq_no complete_seq; /* every change up to this seq is in the base */
};

enum engine_drain_state {
    ENGINE_DRAIN_IDLE, /* nothing frozen is left to drain */
    ENGINE_DRAIN_MORE, /* call again */
    ENGINE_DRAIN_SLICE /* enough new blocks that a publish should bound the growth */
};

/* How far `warm` has come; zero to begin. */
#define ENGINE_WARM_LEVELS 40
struct engine_warming {
    uint32_t at[ENGINE_WARM_LEVELS];
    uint64_t loaded; /* pages */
};

/* Where the space of a partition's files goes. */
struct engine_space {
    uint64_t file_bytes;
    uint64_t free_bytes;    /* in the files, wherever */
    uint64_t tail_bytes;    /* of the free ones, at the end: what shrink would cut off */
    uint64_t pending_bytes; /* superseded, but some view or root still needs it */
};

/* A value stored apart, being written. */
struct engine_large_writer;
/* Size of an encoded reference to a value stored apart, at most, in bytes. */
#define ENGINE_LARGE_REFERENCE_BYTES_MAX 64

struct engine_methods;

/* One partition; embedded first in every implementation. */
struct engine {
    const struct engine_methods *methods;
    partition_id id;
    /* Nobody writes any more: what is current serves readers of old views only. */
    _Atomic bool is_dropped;
    /* The keyspace hashes keys in another way than this engine, to which a conversion brought it
     * since the database was opened: hashes given to it are to be made anew. Set before views show
     * it. */
    bool rehashes;
    struct key_hasher hasher; /* what the key hashes are made with that it is given */
};

/* Embedded first in every engine's view. Reference counted; released through an epoch. */
struct engine_view {
    const struct engine_methods *methods;
    struct engine *engine;
    _Atomic uint64_t references;
    seq_no floor_seq;
    struct epoch_node limbo;
};

/* All must-check statuses go with detail in *error. */
struct engine_methods {
    const char *name;
    bool is_ordered;

    /*
     * Opens a partition from `state` as the manifest holds it (empty: a new, empty partition; files
     * appear at the first drain). out_drained says from where replay is needed.
     */
    tern_status (*open)(const struct engine_environment *environment,
                        const struct engine_config *config, tern_slice state,
                        struct engine **out_engine, struct engine_drained *out_drained,
                        tern_error *error);
    /* Closes; no views or cursors may be left (is_held). */
    void (*close)(struct engine *engine);
    /* Removes the partition's files from the directory (the engine must be closed). */
    tern_status (*destroy)(const struct engine_environment *environment, partition_id id,
                           tern_error *error);
    /* Longest key and inline value limits that the options give. */
    size_t (*key_bytes_max)(const tern_keyspace_options *options);

    /* ---- applier role ---- */

    /* Begins to fetch the memory that applying this change will touch, while other work is done.
     * Nothing follows from it. `place`: where a reader of the current view has found that it will
     * go, or NULL. May be NULL. */
    void (*prefetch)(struct engine *engine, const struct engine_change *change,
                     const struct change_place *place);
    /* The second step, when that memory has had some time to come: fetches what it leads to. May be
     * NULL. */
    void (*prefetch_next)(struct engine *engine, const struct engine_change *change);
    /* Makes room for `count` changes with `bytes` of keys and values in all: TERN_NO_MEMORY. */
    tern_status (*reserve)(struct engine *engine, size_t count, size_t bytes, tern_error *error);
    /* Applies the changes of one commit. Cannot fail after reserve. */
    void (*apply)(struct engine *engine, const struct engine_change *changes, size_t count,
                  seq_no seq, const struct engine_horizon *horizon);
    /* As reserve and apply, but leaves out what the base holds already (values stored apart of
     * changes left out are discarded). Before readers exist. */
    tern_status (*replay)(struct engine *engine, const struct engine_change *changes, size_t count,
                          seq_no seq, tern_error *error);
    /* Whether the base lacks a change of the log; a range delete is cut to what it lacks. */
    tern_status (*lacks)(struct engine *engine, struct engine_change *change, seq_no seq,
                         bool *out_lacks, tern_error *error);
    /*
     * Closes the active overlay at a boundary: all applied so far is <= seq, logged at time_ms.
     * `out_changed` false: nothing was active. Then the current view is as before.
     */
    tern_status (*freeze)(struct engine *engine, seq_no seq, uint64_t time_ms, bool *out_changed,
                          tern_error *error);
    /* Bytes of overlay memory in use (active and frozen), and of it in the active one. */
    void (*overlay_usage)(struct engine *engine, uint64_t *out_bytes, uint64_t *out_active_bytes);

    /* Bytes of frozen overlays that no drain has merged yet: what is still to do. Any thread. */
    uint64_t (*drain_debt)(struct engine *engine);

    /* ---- maintenance role ---- */

    /*
     * Merges frozen data into new blocks, about `quantum_bytes` of writing, a few milliseconds.
     * Nothing is visible before publish.
     */
    tern_status (*drain_step)(struct engine *engine, size_t quantum_bytes,
                              enum engine_drain_state *out_state, tern_error *error);
    /* Ends the slice: writes the path to a new root. False: nothing new since the last publish. */
    tern_status (*seal)(struct engine *engine, bool *out_changed, tern_error *error);
    /*
     * Makes all blocks of the sealed root durable. When it fails, `out_in_doubt` says whether a
     * flush was tried, after which nobody knows what is on disk; if not, it may be called again.
     */
    tern_status (*sync)(struct engine *engine, bool *out_in_doubt, tern_error *error);
    /* Describes the sealed root, for the manifest; appended to `out_state`. Every manifest has it,
     * so it is to be short. */
    tern_status (*state)(struct engine *engine, struct buffer *out_state,
                         struct engine_drained *out_drained, tern_error *error);
    /*
     * The sealed root has become durable: makes it part of the current view. `generation` is that
     * of the database view about to be published; blocks superseded by it stay until release says
     * so. Applier and maintenance role both held. TERN_NO_MEMORY leaves the old view.
     */
    tern_status (*publish)(struct engine *engine, uint64_t generation, tern_error *error);
    /*
     * Blocks whose life [born, superseded) contains none of the `live` view generations (ascending;
     * those of pinned views, of the current one and of every root that recovery may choose) are
     * free from now on. True: there is more to free, in another call (so that none takes long).
     */
    bool (*release)(struct engine *engine, const uint64_t *live, size_t live_count);
    /*
     * Snapshots have come and gone though nothing was applied: what they alone needed may go with
     * the next release. With the applier role. NULL: the engine learns all it needs from views.
     */
    void (*note_horizon)(struct engine *engine, const struct engine_horizon *horizon);
    /*
     * Rewrites sparse pages and moves blocks from the tail of the file down, about quantum_bytes;
     * goes with seal/sync/state/publish like a drain. IDLE: nothing to gain. It comes also while
     * drains go on publishing: what they have brought since compact_begin may stay as it is.
     */
    tern_status (*compact_step)(struct engine *engine, size_t quantum_bytes,
                                enum engine_drain_state *out_state, tern_error *error);
    /* Somebody asks for compaction of all that is in the base now. NULL: compact_step needs no
     * such notice. */
    void (*compact_begin)(struct engine *engine);
    /* It has come to its end, or was given up. With compact_begin. */
    void (*compact_end)(struct engine *engine);
    /*
     * Work that an engine has in the background (compaction of sorted tables), about quantum_bytes
     * of it; goes with seal/sync/state/publish like a drain. IDLE: nothing to do now. NULL: the
     * engine has no such work. What must not wait counts in drain_debt, so that writers pay.
     */
    tern_status (*maintain_step)(struct engine *engine, size_t quantum_bytes,
                                 enum engine_drain_state *out_state, tern_error *error);
    /*
     * Moves memory that only this view, an older one, still needs to temporary files, about
     * quantum_bytes; *out_bytes: how much memory that gave back, 0 when nothing is left to move.
     * With a quantum of 0 nothing is moved, but what readers have brought back of what was moved
     * goes again. Readers of the view go on meanwhile. TERN_UNSUPPORTED, TERN_DISK_FULL: it stays
     * where it is. NULL: the engine keeps nothing for old views that could be moved.
     */
    tern_status (*spill)(struct engine_view *view, size_t quantum_bytes, uint64_t *out_bytes,
                         tern_error *error);
    /*
     * From now on the partition is kept as `options` have it, which differ from those that it was
     * opened with only in what needs no rewriting: how tables are merged (compaction). NULL: the
     * engine has no such options.
     */
    void (*restyle)(struct engine *engine, const tern_keyspace_options *options);
    /* Any thread. NULL: the engine's files hold nothing that compact_step and shrink could give
     * back. */
    void (*space)(struct engine *engine, struct engine_space *out_space);
    /* Cuts free space off the end of the files, a few milliseconds' worth; 0 freed: none is left.
     */
    tern_status (*shrink)(struct engine *engine, uint64_t *out_freed_bytes, tern_error *error);

    /* ---- views ---- */

    /* The current view, with a reference for the caller. Caller holds applier or maintenance. */
    struct engine_view *(*current_view)(struct engine *engine);
    /* Called when the last reference is gone, after an epoch. */
    void (*view_destroy)(struct engine_view *view);
    /*
     * Somebody else holds a view, the current one or one before it: who has pinned a value may have
     * done with the database's view. Those that wait in limbo count, too.
     */
    bool (*is_held)(struct engine *engine);

    /* ---- readers: inside an epoch or holding a reference to the view ---- */

    /*
     * Point read; `out_result->record.kind` NONE when there is nothing. Must be called inside an
     * epoch; bytes live as engine_source says. TERN_CANCELLED: the moment is too old for what the
     * overlay still keeps (only without a registered snapshot); take a newer one and try again.
     */
    tern_status (*get)(struct engine_view *view, tern_slice key, uint64_t key_hash,
                       const struct engine_moment *moment, struct engine_scratch *scratch,
                       struct engine_result *out_result, tern_error *error);
    /* Where the change would go in what the view's newest commits are in. A hint for the applier,
     * good as long as the view is the current one. Inside an epoch. May be NULL. */
    void (*find_place)(struct engine_view *view, const struct engine_change *change,
                       struct change_place *out_place);
    /* Many at once, interleaved. Scratch results are copied by the callback before the next. */
    tern_status (*multi_get)(struct engine_view *view, struct engine_get *gets, size_t count,
                             const struct engine_moment *moment, struct engine_scratch *scratch,
                             void (*on_result)(void *context, size_t index), void *context,
                             tern_error *error);
    /* Keeps a frame result alive beyond the epoch. */
    void (*pin)(struct engine_view *view, const struct engine_result *result);
    void (*unpin)(struct engine_view *view, void *frame);

    /*
     * Opens an ordered cursor. The caller holds a reference to the view; the cursor enters and
     * leaves epochs itself. Of an engine without order it goes forward only, bounds leave out what
     * lies outside of them, and seek, previous and backward are TERN_UNSUPPORTED.
     */
    tern_status (*cursor_open)(struct engine_view *view, const struct engine_moment *moment,
                               const struct engine_cursor_bounds *bounds, bool keys_only,
                               struct engine_cursor **out_cursor, tern_error *error);
    void (*cursor_close)(struct engine_cursor *cursor);
    /*
     * Goes on at another moment of the same view, older or newer, as if it had been closed and
     * opened anew: it stands nowhere. What it handed out is gone.
     */
    void (*cursor_renew)(struct engine_cursor *cursor, const struct engine_moment *moment);
    /* All positioning: TERN_NOT_FOUND when there is no such entry; then it stands nowhere. */
    tern_status (*cursor_seek)(struct engine_cursor *cursor, tern_slice key, bool backward,
                               tern_error *error); /* first >= key, or last <= key */
    tern_status (*cursor_first)(struct engine_cursor *cursor, bool backward, tern_error *error);
    tern_status (*cursor_next)(struct engine_cursor *cursor, tern_error *error);
    tern_status (*cursor_previous)(struct engine_cursor *cursor, tern_error *error);
    void (*cursor_entry)(const struct engine_cursor *cursor, struct engine_entry *out_entry);
    /*
     * Hands out up to `capacity` entries following the position (from the first when it stands
     * nowhere) and stands on the last of them. They live until the cursor moves. A value that is
     * stored apart comes alone, as cursor_entry tells. keys_only: values may be anything.
     */
    tern_status (*cursor_next_batch)(struct engine_cursor *cursor, tern_entry *out_entries,
                                     size_t capacity, size_t *out_count, tern_error *error);
    /* The same, beginning with the first entry >= key. NULL: the engine keeps no order. */
    tern_status (*cursor_seek_batch)(struct engine_cursor *cursor, tern_slice key,
                                     tern_entry *out_entries, size_t capacity, size_t *out_count,
                                     tern_error *error);

    /* Estimated live keys and bytes in bounds, from fences. */
    tern_status (*estimate)(struct engine_view *view, const struct engine_cursor_bounds *bounds,
                            uint64_t *out_count, uint64_t *out_bytes, tern_error *error);

    /*
     * For conflict validation of ranges read: out_changed tells whether any change with
     * seq > `since` touched the bounds; true also when the overlays no longer reach back that far.
     */
    bool (*changed_since)(struct engine_view *view, const struct engine_cursor_bounds *bounds,
                          seq_no since);

    /* ---- values stored apart ---- */

    /* Begins one; memory use bounded by a piece. Any thread, several at once. */
    tern_status (*large_begin)(struct engine *engine, struct engine_large_writer **out_writer,
                               tern_error *error);
    tern_status (*large_append)(struct engine_large_writer *writer, const void *bytes, size_t size,
                                tern_error *error);
    /* Completes: writes the reference (at most ENGINE_LARGE_REFERENCE_BYTES_MAX). Blocks are
     * durable after the next sync of the engine. Frees the writer whatever the status. */
    tern_status (*large_finish)(struct engine_large_writer *writer, uint8_t *out_reference,
                                size_t *out_reference_size, tern_error *error);
    void (*large_abandon)(struct engine_large_writer *writer);
    /* Gives up a finished value that was never applied. */
    void (*large_discard)(struct engine *engine, tern_slice reference);
    /* Reads up to `capacity` bytes from `offset` on. */
    tern_status (*large_read)(struct engine *engine, tern_slice reference, uint64_t offset,
                              void *buffer, size_t capacity, size_t *out_size, tern_error *error);

    /* ---- care ---- */

    /* Checks every block, order, fence, count and free interval of the view's base. */
    tern_status (*verify)(struct engine_view *view, tern_finding_function on_finding, void *context,
                          tern_progress_function progress, void *progress_context,
                          tern_verify_report *report, tern_error *error);
    /*
     * Salvage: visits every record that can be read from a damaged partition's files, `state` as
     * the manifest held it (or empty when that is lost: then scans the file for pages). Keys may
     * come more than once, newest last is not guaranteed across pages of different generation:
     * the visitor gets the page's generation.
     */
    tern_status (*salvage)(const struct engine_environment *environment,
                           const struct engine_config *config, tern_slice state,
                           tern_status (*visit)(void *context, tern_slice key,
                                                const struct record *record, uint64_t generation),
                           void *visit_context, tern_finding_function on_finding,
                           void *finding_context, uint64_t *out_lost_pages, tern_error *error);
    /*
     * Writes a compact copy of the view's base to `target_directory` and its state for a manifest
     * to `out_state`: drained up to the view's base only; overlays are not included.
     */
    tern_status (*export_base)(struct engine_view *view, const char *target_directory,
                               struct buffer *out_state, tern_error *error);
    /*
     * Bulk load into an empty partition: `next` yields ascending unique keys (TERN_NOT_FOUND at the
     * end); pages are left full. Ends as a sealed root as after drain_step.
     */
    tern_status (*ingest)(struct engine *engine,
                          tern_status (*next)(void *context, tern_slice *out_key,
                                              struct record *out_record),
                          void *context, tern_error *error);
    /*
     * Places of pages of the partition that are cached now, hot ones first: what `warm` may be
     * given after the next open. At most `capacity`; returns how many. May be NULL.
     */
    size_t (*cached_places)(struct engine_view *view, uint64_t *out_places, size_t capacity);
    /*
     * Loads those of `places` (ascending) that are pages of the view's base into the cache, a few
     * milliseconds' worth. The view may be another one at each call. May be NULL.
     */
    tern_status (*warm)(struct engine_view *view, const uint64_t *places, size_t count,
                        struct engine_warming *warming, bool *out_more, tern_error *error);
    /* Numbers of this partition. */
    tern_status (*stats)(struct engine_view *view, tern_stat_visitor visit, void *context,
                         tern_error *error);
};

/* For is_held: does anybody but the engine hold its current view, or one of its `views` views that
 * is not current? The engine's lock is held, under which the current view changes. */
bool engine_views_are_held(const struct engine_view *current, const _Atomic uint64_t *views);

/* A reference to such a value. */
void engine_logged_reference(uint64_t token, uint64_t size_bytes,
                             uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX]);
static inline bool engine_is_logged(const struct engine_environment *environment,
                                    tern_slice reference) {
    return __builtin_expect(environment->logged != NULL, 0) &&
           reference.size == ENGINE_LARGE_REFERENCE_BYTES_MAX;
}
uint64_t engine_logged_size(tern_slice reference);
/* As large_read, and all of it in place of what the buffer holds. */
TERN_MUST_CHECK tern_status engine_logged_read(const struct engine_environment *environment,
                                               tern_slice reference, uint64_t offset, void *buffer,
                                               size_t capacity, size_t *out_size,
                                               tern_error *error);
TERN_MUST_CHECK tern_status engine_logged_load(const struct engine_environment *environment,
                                               tern_slice reference, struct buffer *out_value,
                                               tern_error *error);

/* The table of an engine, or NULL for an unknown kind. */
const struct engine_methods *engine_methods_of(tern_engine_kind kind);

static inline void engine_view_retain(struct engine_view *view) {
    atomic_fetch_add_explicit(&view->references, 1, memory_order_relaxed);
}

/* Drops a reference; the last one retires the view to `epoch`. Accepts NULL. */
void engine_view_release(struct engine_view *view, struct epoch_domain *epoch);

#endif
