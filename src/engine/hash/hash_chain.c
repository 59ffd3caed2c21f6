/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains and stubs: who may still need an older version, and how written records take the place of
 * versions in memory.
 *
 * A stub stands where a version stood that is on disk by now, as long as a snapshot may need what
 * is below. It says the seq, and leads to the record and to the chain. When nobody needs it any
 * more the entry points to the record itself.
 */
#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/hash/hash_engine_internal.h"

/* Moves that are linked in one go. */
#define LINK_BATCH 48u

index_slot *hash_find_head(const struct hash_engine *engine, tern_slice key, uint64_t hash,
                           struct hash_version **out_head, hash_link *out_disk) {
    struct hash_probe probe;
    hash_link link;
    index_slot *slot;
    hash_link disk = LINK_NONE;
    hash_probe_begin(&probe, engine->index, hash);
    do {
        while ((slot = hash_probe_next(&probe, &link)) != NULL) {
            if (!link_is_version(link)) {
                disk = link;
                continue;
            }
            struct hash_version *version = link_version(link);
            if (version->hash == hash && slice_equal(version_key(version), key)) {
                *out_head = version;
                *out_disk = disk;
                return slot;
            }
        }
    } while (hash_probe_goes_on(&probe, engine->index, key));
    *out_head = NULL;
    *out_disk = disk;
    return NULL;
}

/* No key leads to what cannot be read; walks come by it. */
static bool insert_unreadable(struct hash_engine *engine, hash_link link) {
    const tern_slice bytes = tern_slice_of(&link, sizeof(link));
    return hash_index_insert_second(engine->index, hash_index_second(engine->index, bytes), link);
}

tern_status hash_insert_record(struct hash_engine *engine, uint64_t hash, hash_link link,
                               tern_error *error) {
    struct hash_record record;
    struct cache_frame *frame = NULL;
    bool is_in = true;
    if (hash_index_insert(engine->index, hash, link) == HASH_INSERTED) {
        return TERN_OK;
    }
    tern_error failure = TERN_ERROR_INIT;
    struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
    tern_status status = base_read_record(&engine->base, link, &record, &frame, &failure);
    if (status == TERN_OK) {
        /* Hashes from a list may be wrong; what brought them to one bucket may have been that. */
        is_in = hash_insert_key(engine, record.key, hash_of_key(engine, record.key), link);
    } else if (status == TERN_CORRUPTION) {
        is_in = insert_unreadable(engine, link);
        status = TERN_OK;
    } else {
        error_copy(error, &failure);
    }
    epoch_exit(slot);
    return is_in ? status : ERROR_NO_MEMORY(error, "an index");
}

/* ---- the horizon ---- */

void hash_save_horizon(struct hash_engine *engine, const struct engine_horizon *horizon) {
    if (horizon == NULL) {
        return;
    }
    if (horizon->visible_seq == 0) {
        engine->is_all_live = true; /* somebody is taking a snapshot: nothing may go */
        return;
    }
    if (horizon->live_count > engine->live_capacity) {
        size_t capacity = horizon->live_count * 2;
        void *grown =
            memory_resize(hash_allocator(engine), engine->live, capacity * sizeof(engine->live[0]));
        if (grown == NULL) {
            engine->is_all_live = true;
            return;
        }
        engine->live = grown;
        engine->live_capacity = capacity;
    }
    bool is_same =
        !engine->is_all_live && engine->visible_seq == horizon->visible_seq &&
        engine->live_count == horizon->live_count &&
        (horizon->live_count == 0 ||
         memcmp(engine->live, horizon->live, horizon->live_count * sizeof(engine->live[0])) == 0);
    if (is_same) {
        return;
    }
    engine->is_trimmed = false;
    engine->is_all_live = false;
    engine->live_count = horizon->live_count;
    engine->visible_seq = horizon->visible_seq;
    if (horizon->live_count > 0) {
        memcpy(engine->live, horizon->live, horizon->live_count * sizeof(engine->live[0]));
    }
}

static size_t first_live(const struct hash_engine *engine, seq_no seq) {
    size_t low = 0;
    size_t high = engine->live_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (engine->live[middle] < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool hash_is_selectable(const struct hash_engine *engine, seq_no lower, seq_no upper) {
    if (lower == upper) {
        return false;
    }
    if (engine->is_all_live || upper > engine->visible_seq) {
        return true;
    }
    size_t at = first_live(engine, lower);
    return at < engine->live_count && engine->live[at] < upper;
}

bool hash_needs_older(const struct hash_engine *engine, seq_no seq) {
    return hash_is_selectable(engine, 0, seq);
}

bool hash_is_registered(struct hash_engine *engine, seq_no seq) {
    mutex_lock(&engine->index_lock);
    size_t at = first_live(engine, seq);
    bool found = at < engine->live_count && engine->live[at] == seq;
    mutex_unlock(&engine->index_lock);
    return found;
}

/* ---- stubs ---- */

struct hash_stub *hash_stub_create(struct hash_engine *engine, tern_slice key, uint64_t hash,
                                   seq_no seq) {
    size_t bytes = sizeof(struct hash_stub) + version_bytes_for(key.size, 0);
    struct hash_stub *stub =
        memory_allocate_aligned(hash_allocator(engine), VERSION_ALIGNMENT, bytes);
    if (stub == NULL) {
        return NULL;
    }
    memset((void *)stub, 0, sizeof(*stub) + sizeof(struct hash_version));
    stub->allocator = hash_allocator(engine);
    stub->bytes = bytes;
    struct hash_version *version = stub_version(stub);
    atomic_init(&version->older, LINK_NONE);
    atomic_init(&version->cut, seq);
    version->seq = seq;
    version->hash = hash;
    version->key_size = (uint32_t)key.size;
    version->flags = VERSION_STUB;
    version->kind = RECORD_DELETE;
    memcpy(version->data, key.data, key.size);
    return stub;
}

void hash_stub_discard(struct hash_engine *engine, struct hash_stub *stub) {
    memory_release_aligned(hash_allocator(engine), stub);
}

static void list_stub(struct hash_engine *engine, struct hash_stub *stub) {
    stub->previous = NULL;
    stub->next = engine->stubs;
    if (engine->stubs != NULL) {
        engine->stubs->previous = stub;
    }
    engine->stubs = stub;
    engine->is_trimmed = false;
    atomic_fetch_add_explicit(&engine->stub_bytes, stub->bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&engine->stub_count, 1, memory_order_relaxed);
    if (engine->environment->budget != NULL) {
        budget_add(engine->environment->budget, BUDGET_INDEX, stub->bytes);
    }
}

static void free_stub(struct epoch_node *node) {
    struct hash_stub *stub =
        (struct hash_stub *)(void *)((char *)node - offsetof(struct hash_stub, limbo));
    hash_memory_release(stub->memory);
    memory_release_aligned(stub->allocator, stub);
}

static void unlist_stub(struct hash_engine *engine, struct hash_stub *stub) {
    if (engine->trim_next == stub) {
        engine->trim_next = stub->next;
    }
    if (stub->next != NULL) {
        stub->next->previous = stub->previous;
    }
    if (stub->previous != NULL) {
        stub->previous->next = stub->next;
    } else {
        engine->stubs = stub->next;
    }
    atomic_fetch_sub_explicit(&engine->stub_bytes, stub->bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&engine->stub_count, 1, memory_order_relaxed);
    if (engine->environment->budget != NULL) {
        budget_subtract(engine->environment->budget, BUDGET_INDEX, stub->bytes);
    }
}

static void retire_stub(struct hash_engine *engine, struct hash_stub *stub) {
    unlist_stub(engine, stub);
    epoch_retire(engine->environment->epoch, &stub->limbo, free_stub);
}

void hash_free_stubs(struct hash_engine *engine) {
    while (engine->stubs != NULL) {
        struct hash_stub *stub = engine->stubs;
        unlist_stub(engine, stub);
        free_stub(&stub->limbo);
    }
}

static void drop_reference(struct hash_engine *engine, hash_link disk, hash_link uncounted) {
    if (disk != uncounted) {
        struct block_info *info = base_block(&engine->base, link_block(disk));
        ASSERT(info->chain_refs > 0);
        if (--info->chain_refs == 0) {
            base_note_dropped(&engine->base, info);
        }
    }
}

/*
 * Lets go of a chain. `uncounted` is the record that was live until now and is not counted in
 * chain_refs.
 */
static void drop_chain(struct hash_engine *engine, hash_link link, hash_link uncounted) {
    while (link != LINK_NONE && link != LINK_UNKNOWN) {
        if (link_is_disk(link)) {
            drop_reference(engine, link, uncounted);
            return;
        }
        struct hash_version *version = link_version(link);
        link = version_older(version);
        if ((version->flags & VERSION_STUB) != 0) {
            struct hash_stub *stub = version_stub(version);
            if (stub->disk != LINK_NONE) {
                drop_reference(engine, stub->disk, uncounted);
            }
            retire_stub(engine, stub);
        }
    }
}

/* What kept the memory below `lower` alive keeps it for `upper` now. False: it cannot. */
static bool inherit_memory(struct hash_version *upper, const struct hash_version *lower) {
    if ((lower->flags & VERSION_STUB) == 0 || version_stub(lower)->memory == NULL) {
        return true;
    }
    if ((upper->flags & VERSION_STUB) == 0 || version_stub(upper)->memory != NULL) {
        return false;
    }
    version_stub(upper)->memory = version_stub(lower)->memory;
    hash_memory_retain(version_stub(upper)->memory);
    return true;
}

/* Takes out of the chain what lies directly below `upper` and nobody selects. */
static void prune_below(struct hash_engine *engine, struct hash_version *upper) {
    while (link_is_version(version_older(upper))) {
        struct hash_version *lower = link_version(version_older(upper));
        if (hash_is_selectable(engine, lower->seq, upper->seq) || !inherit_memory(upper, lower)) {
            return;
        }
        atomic_store_explicit(&upper->cut, atomic_load(&lower->cut), memory_order_release);
        atomic_store_explicit(&upper->older, version_older(lower), memory_order_release);
        if ((lower->flags & VERSION_STUB) != 0) {
            struct hash_stub *stub = version_stub(lower);
            if (stub->disk != LINK_NONE) {
                drop_reference(engine, stub->disk, LINK_NONE);
            }
            retire_stub(engine, stub);
        }
    }
}

/* The same all the way down from a stub; cuts the chain where no snapshot reaches further. */
static void prune_chain(struct hash_engine *engine, struct hash_version *upper) {
    for (;;) {
        hash_link older = version_older(upper);
        if (upper->kind != RECORD_MERGE && !hash_needs_older(engine, upper->seq)) {
            if (older != LINK_NONE && older != LINK_UNKNOWN) {
                atomic_store_explicit(&upper->cut, 0, memory_order_release);
                atomic_store_explicit(&upper->older, LINK_NONE, memory_order_release);
                drop_chain(engine, older, LINK_NONE);
            }
            return;
        }
        if (upper->kind != RECORD_MERGE) {
            prune_below(engine, upper);
        }
        older = version_older(upper);
        if (!link_is_version(older)) {
            return;
        }
        upper = link_version(older);
    }
}

/* ---- linking ---- */

/* Where a link stands: in an entry, in a version, or as the record of a stub. */
struct holder {
    index_slot *slot;
    struct hash_version *above;
    struct hash_stub *stub;       /* whose record it is; the stub itself stands at slot or above */
    struct hash_version *unknown; /* bottom of a chain of the same key that ends in LINK_UNKNOWN */
};

static void set_holder(const struct holder *holder, hash_link link) {
    if (holder->above != NULL) {
        atomic_store_explicit(&holder->above->older, link, memory_order_release);
    } else {
        hash_index_store(holder->slot, link);
    }
}

/* The holder of the version `wanted` of this key. */
static struct holder find_version(const struct hash_engine *engine,
                                  const struct hash_version *wanted) {
    struct hash_version *head = NULL;
    hash_link disk;
    struct holder holder = {0};
    holder.slot = hash_find_head(engine, version_key(wanted), wanted->hash, &head, &disk);
    while (head != NULL && head != wanted) {
        holder.above = head;
        hash_link older = version_older(head);
        head = link_is_version(older) ? link_version(older) : NULL;
    }
    ASSERT(head == wanted);
    return holder;
}

/* The holder of a record on disk; false: nothing refers to it. */
static bool leads_to(index_slot *slot, hash_link link, hash_link wanted,
                     struct holder *out_holder) {
    struct holder holder = {.slot = slot};
    bool is_found = link == wanted;
    while (!is_found && link_is_version(link)) {
        struct hash_version *version = link_version(link);
        if ((version->flags & VERSION_STUB) != 0 && version_stub(version)->disk == wanted) {
            holder.stub = version_stub(version);
            is_found = true;
        } else {
            link = version_older(version);
            holder.above = version;
            is_found = link == wanted;
        }
    }
    if (is_found) {
        *out_holder = holder;
    }
    return is_found;
}

static bool find_record(const struct hash_engine *engine, uint64_t hash, uint64_t second,
                        hash_link wanted, struct holder *out_holder) {
    struct hash_probe probe;
    hash_link link;
    index_slot *slot;
    hash_probe_begin(&probe, engine->index, hash);
    do {
        while ((slot = hash_probe_next(&probe, &link)) != NULL) {
            if (leads_to(slot, link, wanted, out_holder)) {
                return true;
            }
        }
    } while (second != 0 && hash_probe_begin_second(&probe, engine->index, second));
    return false;
}

bool hash_leads_to(const struct hash_engine *engine, tern_slice key, uint64_t hash,
                   hash_link record) {
    struct holder holder;
    return find_record(engine, hash, hash_second_of(engine, key), record, &holder);
}

tern_status hash_is_indexed(struct hash_engine *engine, tern_slice key, uint64_t hash,
                            hash_link record, bool *out_is, tern_error *error) {
    mutex_lock(&engine->index_lock);
    bool is_in = hash_leads_to(engine, key, hash, record);
    mutex_unlock(&engine->index_lock);
    if (is_in || !hash_cold_has_any(&engine->cold)) {
        *out_is = is_in;
        return TERN_OK;
    }
    return hash_cold_has(&engine->cold, hash, record, out_is, error);
}

static void note_removed(struct hash_engine *engine, seq_no seq) {
    if (seq > atomic_load_explicit(&engine->removed_seq, memory_order_relaxed)) {
        atomic_store_explicit(&engine->removed_seq, seq, memory_order_release);
    }
}

/*
 * A record whose entry is in the cold part of the index is about to die, which takes the entry out
 * (G2). What comes in its place can be found already: who saw neither looks again.
 */
static void leave_cold(struct hash_engine *engine) {
    ASSERT(hash_cold_has_any(&engine->cold)); /* or the entry of a superseded record is gone */
    hash_index_note_move(engine->index);
    hash_cold_note_dead(&engine->cold);
}

/*
 * Takes the entry out that stands for `link` itself. `head` is the other entry of the key, with
 * which it has been joined, or NULL.
 */
static void remove_entry(struct hash_engine *engine, tern_slice key, uint64_t hash, hash_link link,
                         index_slot *head, seq_no seq) {
    struct hash_probe probe;
    hash_link found;
    index_slot *slot;
    note_removed(engine, seq);
    hash_probe_begin(&probe, engine->index, hash);
    do {
        while ((slot = hash_probe_next(&probe, &found)) != NULL) {
            if (found != link) {
                continue;
            }
            if (head != NULL && !probe.is_second &&
                hash_index_is_second(engine->index, hash, head)) {
                hash_index_store(slot,
                                 atomic_load_explicit(head, memory_order_relaxed) & LINK_MASK);
                slot = head; /* H5 */
            }
            hash_index_remove(engine->index, hash, hash_second_of(engine, key), slot);
            return;
        }
    } while (hash_probe_goes_on(&probe, engine->index, key));
    leave_cold(engine);
}

static void count_reference(struct hash_engine *engine, hash_link disk) {
    base_block(&engine->base, link_block(disk))->chain_refs++;
}

/* Puts the stub of a move into use over `older`. */
static struct hash_stub *use_stub(struct hash_engine *engine, struct hash_move *move,
                                  hash_link disk, hash_link older, seq_no cut) {
    struct hash_stub *stub = move->stub;
    struct hash_version *version = stub_version(stub);
    move->stub = NULL;
    stub->disk = disk;
    version->kind = disk == LINK_NONE ? RECORD_DELETE : RECORD_PUT;
    atomic_store_explicit(&version->older, older, memory_order_relaxed);
    atomic_store_explicit(&version->cut, cut, memory_order_relaxed);
    list_stub(engine, stub);
    return stub;
}

/* What lies below the chain is known now. */
static void settle_bottom(struct hash_engine *engine, struct hash_version *bottom,
                          hash_link record) {
    while (link_is_version(version_older(bottom))) {
        bottom = link_version(version_older(bottom));
    }
    if (version_older(bottom) == LINK_UNKNOWN) {
        atomic_store_explicit(&bottom->older, record, memory_order_release);
        atomic_fetch_sub_explicit(&engine->doubled, 1, memory_order_relaxed);
    }
}

static void link_version_move(struct hash_engine *engine, struct hash_move *move) {
    struct hash_version *version = move->version;
    struct holder holder = find_version(engine, version);
    hash_link disk =
        move->is_written
            ? link_to_record(output_block(engine->drain.output, move->block), move->slot)
            : LINK_NONE;
    settle_bottom(engine, version, move->from);
    hash_link older = version_older(version);
    bool stays = move->is_kept;
    bool is_dead = false;
    if (stays && move->from != LINK_NONE) {
        count_reference(engine, move->from);
    }
    if (stays || (disk == LINK_NONE && holder.above != NULL)) {
        hash_link below = !stays ? LINK_NONE : move->is_covered ? link_to_version(version) : older;
        struct hash_stub *stub = use_stub(engine, move, disk, below,
                                          stays && !move->is_covered ? atomic_load(&version->cut)
                                          : stays || move->is_first  ? move->seq
                                                                     : 0);
        if (stays) {
            prune_chain(engine, stub_version(stub));
            if (link_is_version(version_older(stub_version(stub)))) {
                const struct hash_version *next = link_version(version_older(stub_version(stub)));
                if ((next->flags & VERSION_STUB) == 0 && stub->memory == NULL) {
                    stub->memory = engine->drain.memory;
                    hash_memory_retain(stub->memory);
                }
            }
        }
        set_holder(&holder, link_to_version(stub_version(stub)));
    } else if (disk != LINK_NONE) {
        set_holder(&holder, disk);
        hash_note_pourable(engine);
    } else {
        if (move->is_separate) {
            /* First what it hides. */
            remove_entry(engine, version_key(version), move->hash, move->from, NULL, move->seq);
            base_kill(&engine->base, move->from);
            is_dead = true;
        }
        /* Of a key that was not there before it hides nothing. */
        remove_entry(engine, version_key(version), move->hash, link_to_version(version), NULL,
                     move->is_first ? 0 : move->seq);
        holder.slot = NULL;
    }
    if (!stays) {
        drop_chain(engine, older, move->from);
    }
    if (move->is_separate && !is_dead) {
        remove_entry(engine, version_key(version), move->hash, move->from, holder.slot,
                     stays ? 0 : move->seq);
    }
    if (move->from != LINK_NONE && !is_dead) {
        base_kill(&engine->base, move->from);
    }
}

/* An entry for a key beside those that the next commit was promised. */
static bool insert_beside(struct hash_engine *engine, uint64_t hash, uint64_t second,
                          hash_link link) {
    uint64_t pages = hash_index_pages_for(engine->index, engine->promised_inserts + 1) + 1;
    return hash_index_reserve_pages(engine->index, pages, NULL) == TERN_OK &&
           (hash_index_insert(engine->index, hash, link) == HASH_INSERTED ||
            hash_index_insert_second(engine->index, second, link));
}

/* False: no memory, all is as it was. */
static bool link_record_move(struct hash_engine *engine, const struct hash_move *move) {
    struct holder holder;
    hash_link disk = link_to_record(output_block(engine->drain.output, move->block), move->slot);
    uint64_t second = hash_index_has_second(engine->index) ? move->second : 0;
    if (!find_record(engine, move->hash, second, move->from, &holder)) {
        /* In the cold part: so it was when the move was made (hash_is_indexed). */
        if (!insert_beside(engine, move->hash, move->second, disk)) {
            base_kill(&engine->base, disk);
            return false;
        }
        leave_cold(engine);
    } else if (holder.stub != NULL) {
        /* Readers take the whole word. */
        __atomic_store_n(&holder.stub->disk, disk, __ATOMIC_RELEASE);
    } else {
        set_holder(&holder, disk);
    }
    base_kill(&engine->base, move->from);
    return true;
}

/* The bottom of the chain in memory of this key, when it ends in LINK_UNKNOWN; *out_slot: where the
 * chain begins. */
static struct hash_version *find_unknown(const struct hash_engine *engine, tern_slice key,
                                         uint64_t hash, index_slot **out_slot) {
    struct hash_version *head = NULL;
    hash_link disk;
    *out_slot = hash_find_head(engine, key, hash, &head, &disk);
    if (*out_slot == NULL) {
        return NULL;
    }
    while (link_is_version(version_older(head))) {
        head = link_version(version_older(head));
    }
    return version_older(head) == LINK_UNKNOWN ? head : NULL;
}

/* A record in the cold part whose key has no chain in memory. */
static bool range_over_cold(struct hash_engine *engine, struct hash_move *move, tern_slice key) {
    if (move->is_kept) {
        /* The stub is told of only when it has its entry. */
        hash_link link = link_to_version(stub_version(move->stub));
        struct hash_version *version = stub_version(move->stub);
        version->kind = RECORD_DELETE;
        atomic_store_explicit(&version->older, move->from, memory_order_relaxed);
        atomic_store_explicit(&version->cut, move->seq, memory_order_relaxed);
        if (!insert_beside(engine, move->hash, hash_index_second(engine->index, key), link)) {
            return false;
        }
        count_reference(engine, move->from);
        (void)use_stub(engine, move, LINK_NONE, move->from, move->seq);
    } else {
        note_removed(engine, move->seq);
    }
    leave_cold(engine);
    base_kill(&engine->base, move->from);
    return true;
}

/* False: no memory, all is as it was. */
static bool link_range_move(struct hash_engine *engine, struct hash_move *move) {
    struct holder holder = {0};
    tern_slice key = version_key(stub_version(move->stub));
    bool is_found =
        find_record(engine, move->hash, hash_second_of(engine, key), move->from, &holder);
    index_slot *head = NULL;
    bool stays = move->is_kept;
    hash_link below = holder.stub != NULL ? link_to_version(stub_version(holder.stub)) : move->from;
    bool is_entry = !is_found || (holder.slot != NULL && holder.above == NULL);
    struct hash_version *unknown =
        is_entry && holder.stub == NULL ? find_unknown(engine, key, move->hash, &head) : NULL;
    if (!is_found && unknown == NULL) {
        return range_over_cold(engine, move, key);
    }
    if (stays) {
        count_reference(engine, move->from);
    }
    if (unknown != NULL) {
        if (stays) {
            struct hash_stub *stub = use_stub(engine, move, LINK_NONE, below, move->seq);
            atomic_store_explicit(&unknown->older, link_to_version(stub_version(stub)),
                                  memory_order_release);
            atomic_fetch_sub_explicit(&engine->doubled, 1, memory_order_relaxed);
        }
        remove_entry(engine, key, move->hash, move->from, head, stays ? 0 : move->seq);
    } else if (stays || !is_entry) {
        struct hash_stub *stub =
            use_stub(engine, move, LINK_NONE, stays ? below : LINK_NONE, stays ? move->seq : 0);
        set_holder(&holder, link_to_version(stub_version(stub)));
    } else {
        remove_entry(engine, key, move->hash, below, NULL, move->seq);
    }
    if (!stays && holder.stub != NULL) {
        drop_chain(engine, below, move->from);
    }
    base_kill(&engine->base, move->from);
    return true;
}

tern_status hash_link_moves(struct hash_engine *engine, tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    bool is_whole = true;
    for (size_t first = 0; first < drain->move_count;) {
        size_t end =
            first + LINK_BATCH < drain->move_count ? first + LINK_BATCH : drain->move_count;
        mutex_lock(&engine->index_lock);
        for (; first < end; first++) {
            struct hash_move *move = &drain->moves[first];
            if (move->kind == MOVE_VERSION) {
                link_version_move(engine, move);
            } else if (move->kind == MOVE_RECORD) {
                is_whole = link_record_move(engine, move) && is_whole;
            } else {
                is_whole = link_range_move(engine, move) && is_whole;
            }
        }
        mutex_unlock(&engine->index_lock);
    }
    mutex_lock(&engine->index_lock);
    engine->is_trimmed = false; /* stubs may have come to the head */
    mutex_unlock(&engine->index_lock);
    /* With what was left out nobody knows whose they are; they are free after the next open. */
    for (size_t i = 0; is_whole && i < drain->extent_count; i++) {
        base_supersede(&engine->base, drain->extents[i].place, drain->extents[i].units, 0);
    }
    drain->extent_count = 0;
    drain->made_count = 0;
    hash_abandon_moves(engine);
    return is_whole ? TERN_OK : ERROR_NO_MEMORY(error, "an index");
}

/* ---- trimming ---- */

static void trim_stub(struct hash_engine *engine, struct hash_stub *stub) {
    struct hash_version *version = stub_version(stub);
    struct hash_version *head = NULL;
    hash_link disk;
    index_slot *slot = hash_find_head(engine, version_key(version), version->hash, &head, &disk);
    if (slot == NULL || head != version) {
        return; /* the drain of what is above will see to it */
    }
    if (hash_needs_older(engine, version->seq)) {
        prune_chain(engine, version);
        return;
    }
    hash_link older = version_older(version);
    if (stub->disk != LINK_NONE) {
        hash_index_store(slot, stub->disk);
        hash_note_pourable(engine);
    } else {
        note_removed(engine, version->seq);
        hash_index_remove(engine->index, version->hash,
                          hash_second_of(engine, version_key(version)), slot);
    }
    drop_chain(engine, older, LINK_NONE);
    retire_stub(engine, stub);
}

void hash_trim_stubs(struct hash_engine *engine, size_t count) {
    while (count > 0) {
        mutex_lock(&engine->index_lock);
        if (engine->trim_next == NULL) {
            engine->trim_next = engine->is_trimmed ? NULL : engine->stubs;
            engine->is_trimmed = true; /* unless something changes before the round ends */
            count = engine->trim_next == NULL ? 0 : count;
        }
        for (unsigned i = 0; i < LINK_BATCH && count > 0 && engine->trim_next != NULL; i++) {
            struct hash_stub *stub = engine->trim_next;
            engine->trim_next = stub->next;
            trim_stub(engine, stub);
            count--;
        }
        bool is_round = engine->trim_next == NULL;
        mutex_unlock(&engine->index_lock);
        if (is_round) {
            return;
        }
    }
}
