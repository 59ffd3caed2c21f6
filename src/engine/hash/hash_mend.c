/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mending the cold part of the index (hash_cold.h): when a page of a group cannot be read, the
 * group is made anew from what it was made of, the lists of hashes of the segments.
 *
 * An entry is of the group when its record is live, its hash lies in the group's range, and nothing
 * in memory leads to the record (G1). What lies in memory is written with it, as ever
 * (hash_pour.c).
 *
 * Whoever comes by a page that cannot be read marks its group; readers get the error. A drain or a
 * compaction that needs the page mends and goes on, and every step of one mends what is marked.
 * When that is not to be had, because a list or the records cannot be read either, it fails with
 * the error of that.
 */
#include "base/error.h"
#include "engine/hash/hash_engine_internal.h"

/* Groups that are mended for one drain; more than damage explains means that it does not help. */
#define MENDS_MOST 4096u

struct mending {
    struct hash_engine *engine;
    uint64_t first, last;
    struct buffer led;      /* struct hashed_item: records that memory leads to, as `hash` */
    struct buffer *entries; /* struct cold_entry */
    bool has_failed;
};

static void note_led(struct mending *mending, hash_link link) {
    const struct hashed_item item = {link, 0};
    if (link_is_disk(link) && !mending->has_failed) {
        mending->has_failed = buffer_append(&mending->led, &item, sizeof(item)) != TERN_OK;
    }
}

/* What an entry leads to: itself, or the records that its chain holds. */
static void note_chain(void *context, hash_link link) {
    struct mending *mending = context;
    while (link_is_version(link)) {
        const struct hash_version *version = link_version(link);
        if ((version->flags & VERSION_STUB) != 0) {
            note_led(mending, version_stub(version)->disk);
        }
        link = version_older(version);
    }
    note_led(mending, link);
}

static void note_entry(void *context, hash_link link, uint64_t hash, uint32_t known) {
    (void)hash;
    (void)known;
    note_chain(context, link);
}

static bool is_led_to(const struct mending *mending, hash_link link) {
    const struct hashed_item *items = (const struct hashed_item *)(void *)mending->led.data;
    size_t low = 0;
    size_t high = mending->led.size / sizeof(items[0]);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (items[middle].hash < link) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < mending->led.size / sizeof(items[0]) && items[low].hash == link;
}

static tern_status gather_record(void *context, uint64_t hash, hash_link link, tern_error *error) {
    struct mending *mending = context;
    const struct cold_entry entry = {cold_field_of(hash, COLD_KNOWN_MAX), link};
    if (hash < mending->first || hash > mending->last || is_led_to(mending, link)) {
        return TERN_OK;
    }
    return buffer_append(mending->entries, &entry, sizeof(entry)) == TERN_OK
               ? TERN_OK
               : ERROR_NO_MEMORY(error, "an index");
}

tern_status hash_mend_gather(struct hash_engine *engine, uint64_t first, uint64_t last,
                             struct buffer *out_entries, tern_error *error) {
    struct mending mending = {
        .engine = engine, .first = first, .last = last, .entries = out_entries};
    buffer_init(&mending.led, hash_allocator(engine));
    mutex_lock(&engine->index_lock);
    hash_index_visit_range(engine->index, first, last, true, note_entry, &mending);
    hash_index_visit_second(engine->index, note_chain, &mending);
    mutex_unlock(&engine->index_lock);
    tern_status status = mending.has_failed ? ERROR_NO_MEMORY(error, "an index") : TERN_OK;
    if (status == TERN_OK) {
        hashed_items_sort((struct hashed_item *)(void *)mending.led.data,
                          mending.led.size / sizeof(struct hashed_item));
        status = base_visit_hashes(&engine->base, first, last, gather_record, &mending, error);
    }
    buffer_release(&mending.led);
    return status;
}

tern_status hash_mend(struct hash_engine *engine, tern_error *error) {
    struct hash_cold *cold = &engine->cold;
    tern_status status = TERN_OK;
    if (!atomic_exchange(&cold->has_damaged, false)) {
        return TERN_OK;
    }
    for (uint64_t at = 0; status == TERN_OK && hash_cold_has_any(cold);) {
        uint8_t depth = 0;
        const struct cold_group *group = hash_cold_group_at(cold, at, &depth);
        uint64_t last = depth == 0 ? UINT64_MAX : at | UINT64_MAX >> depth;
        if (group != NULL && atomic_load(&group->is_damaged)) {
            size_t bytes = 0;
            status = hash_pour_group(engine, at, &last, &bytes, error);
        }
        if (last == UINT64_MAX) {
            break;
        }
        at = last + 1;
    }
    if (status != TERN_OK) {
        atomic_store(&cold->has_damaged, true);
    }
    return status;
}

tern_status hash_mend_after(struct hash_engine *engine, tern_status status, tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    bool is_damage =
        (status == TERN_CORRUPTION || status == TERN_IO) && atomic_load(&engine->cold.has_damaged);
    if (!is_damage || drain->mends == MENDS_MOST) {
        return status;
    }
    drain->mends++;
    return hash_mend(engine, error);
}
