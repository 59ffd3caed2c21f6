/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file "cache.hot":
 *
 *   header  magic "TERNHOT1" | body size u64 | checksum of the body u64 (hash_u64, seed 0)
 *   body    per keyspace: partition id u64 | count u64 | count places u64, ascending
 *
 * little-endian. It is replaced by renaming and never synced: a power cut may leave an older one,
 * or one whose checksum is wrong, which is ignored like any other damage. A place that is no page
 * of the tree any more is passed over; a page is checked as any page is when it is read.
 *
 * Loading stops when the cache is full, that is at its first eviction.
 */
#include "db/prewarm.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/error.h"
#include "db/database_internal.h"
#include "simd/hash.h"

#define HOT_FILE_NAME  "cache.hot"
#define NEW_FILE_NAME  HOT_FILE_NAME ".new"
#define HEADER_BYTES   24u
#define KEYSPACE_BYTES 16u
#define PLACES_MAX     ((size_t)1 << 20)
#define BODY_BYTES_MAX (PLACES_MAX * 8 + ((size_t)1 << 20))
#define PAUSE_NS       1000000u

static const uint8_t magic[8] = {'T', 'E', 'R', 'N', 'H', 'O', 'T', '1'};

static struct tern_db *db_of(struct tern_task *task) {
    return (struct tern_db *)((char *)task - offsetof(struct tern_db, prewarm.task));
}

/* ---- reading ---- */

bool prewarm_check(const uint8_t *bytes, size_t size) {
    if (size < HEADER_BYTES || memcmp(bytes, magic, sizeof(magic)) != 0 ||
        get_u64(bytes + 8) != size - HEADER_BYTES ||
        get_u64(bytes + 16) != hash_u64(bytes + HEADER_BYTES, size - HEADER_BYTES, 0)) {
        return false;
    }
    for (size_t at = HEADER_BYTES; at < size;) {
        if (size - at < KEYSPACE_BYTES) {
            return false;
        }
        uint64_t count = get_u64(bytes + at + 8);
        at += KEYSPACE_BYTES;
        if (count > (size - at) / 8) {
            return false;
        }
        at += (size_t)count * 8;
    }
    return true;
}

/* Reads the file into the body; what cannot be used leaves it empty. */
static void read_file(struct tern_db *db) {
    struct prewarm *prewarm = &db->prewarm;
    char path[FILE_PATH_BYTES];
    const tern_file_system *file_system = db->options.file_system;
    tern_file *file = NULL;
    uint8_t header[HEADER_BYTES];
    size_t size = 0;
    if (path_join(path, db->path, HOT_FILE_NAME, NULL) != TERN_OK ||
        file_system->open(file_system->context, path, TERN_OPEN_READ, &file, NULL) != TERN_OK) {
        return;
    }
    if (file_read(file, 0, header, sizeof(header), &size, NULL) == TERN_OK &&
        size == sizeof(header) && memcmp(header, magic, sizeof(magic)) == 0 &&
        get_u64(header + 8) <= BODY_BYTES_MAX) {
        size_t body_bytes = (size_t)get_u64(header + 8);
        if (buffer_append(&prewarm->body, header, sizeof(header)) == TERN_OK &&
            buffer_reserve(&prewarm->body, body_bytes) == TERN_OK &&
            file_read(file, HEADER_BYTES, prewarm->body.data + HEADER_BYTES, body_bytes, &size,
                      NULL) == TERN_OK &&
            size == body_bytes) {
            prewarm->body.size += body_bytes;
        }
        if (!prewarm_check(prewarm->body.data, prewarm->body.size)) {
            prewarm->body.size = 0;
        }
    }
    tern_status closed = file_close(file, NULL);
    (void)closed;
}

/* Places as the engine takes them: ascending, in memory order. */
static size_t places_of(struct prewarm *prewarm, partition_id *out_id, uint64_t **out_places) {
    uint8_t *at = prewarm->body.data + prewarm->offset;
    uint64_t *places = (uint64_t *)(void *)(at + KEYSPACE_BYTES);
    *out_id = get_u64(at);
    *out_places = places;
    return (size_t)get_u64(at + 8);
}

/* Makes the numbers of a body native; the bytes are 8-aligned, as all of its parts are. */
static void make_native(struct prewarm *prewarm) {
    uint64_t listed = 0;
    for (size_t at = HEADER_BYTES; at < prewarm->body.size;) {
        uint64_t count = get_u64(prewarm->body.data + at + 8);
        listed += count;
        at += KEYSPACE_BYTES;
        for (uint64_t i = 0; i < count; i++, at += 8) {
            uint64_t place = get_u64(prewarm->body.data + at);
            memcpy(prewarm->body.data + at, &place, sizeof(place));
        }
    }
    atomic_store(&prewarm->listed, listed);
}

/* One slice of loading a keyspace. False: go on with the next. */
static bool load_slice(struct tern_db *db, partition_id id, const uint64_t *places, size_t count) {
    struct prewarm *prewarm = &db->prewarm;
    struct snapshot snapshot = {0};
    bool more = false;
    tern_keyspace *keyspace = catalog_by_id(db, id);
    if (keyspace == NULL || snapshot_take(&db->manager, &snapshot, NULL) != TERN_OK) {
        return false;
    }
    struct engine_view *part = view_part(snapshot.view, keyspace);
    uint64_t before = prewarm->warming.loaded;
    if (part != NULL && part->engine->id == id && part->methods->warm != NULL &&
        part->methods->warm(part, places, count, &prewarm->warming, &more, NULL) != TERN_OK) {
        more = false; /* whoever needs the page will be told */
    }
    snapshot_drop(&db->manager, &snapshot);
    atomic_fetch_add(&prewarm->loaded, prewarm->warming.loaded - before);
    return more;
}

static void release_body(struct tern_db *db) {
    budget_subtract(&db->budget, BUDGET_OTHER, db->prewarm.body.capacity);
    buffer_release(&db->prewarm.body);
}

static void load(struct tern_db *db) {
    struct prewarm *prewarm = &db->prewarm;
    if (prewarm->offset == 0) {
        read_file(db);
        budget_add(&db->budget, BUDGET_OTHER, prewarm->body.capacity);
        make_native(prewarm);
        prewarm->offset = HEADER_BYTES;
        prewarm->evictions_before = cache_evictions(db->cache);
    }
    if (prewarm->offset >= prewarm->body.size ||
        cache_evictions(db->cache) != prewarm->evictions_before) {
        release_body(db);
        atomic_store(&prewarm->is_loaded, true);
        return;
    }
    partition_id id;
    uint64_t *places;
    size_t count = places_of(prewarm, &id, &places);
    if (!load_slice(db, id, places, count)) {
        prewarm->offset += KEYSPACE_BYTES + count * 8;
        prewarm->warming = (struct engine_warming){.loaded = 0};
    }
}

/* ---- writing ---- */

static int compare_places(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

/* Appends a keyspace's pages; `places` is room for all that may still be listed. */
static bool append_keyspace(struct buffer *body, struct engine_view *part, partition_id id,
                            uint64_t *places, size_t *capacity) {
    uint8_t head[KEYSPACE_BYTES];
    size_t count = part->methods->cached_places(part, places, *capacity);
    if (count == 0) {
        return true;
    }
    qsort(places, count, sizeof(places[0]), compare_places);
    *capacity -= count;
    put_u64(head, id);
    put_u64(head + 8, count);
    if (buffer_append(body, head, sizeof(head)) != TERN_OK ||
        buffer_reserve(body, count * 8) != TERN_OK) {
        return false;
    }
    for (size_t i = 0; i < count; i++, body->size += 8) {
        put_u64(body->data + body->size, places[i]);
    }
    return true;
}

/* The keyspace in a slot, if it lives. */
static tern_keyspace *keyspace_in(struct tern_db *db, uint32_t slot) {
    mutex_lock(&db->catalog_mutex);
    tern_keyspace *keyspace = slot < db->slot_count ? db->slots[slot] : NULL;
    mutex_unlock(&db->catalog_mutex);
    return keyspace;
}

static bool collect(struct tern_db *db, struct buffer *file) {
    struct cache_stats stats;
    struct snapshot snapshot = {0};
    uint8_t header[HEADER_BYTES] = {0};
    cache_get_stats(db->cache, &stats);
    size_t capacity = stats.frames < PLACES_MAX ? (size_t)stats.frames : PLACES_MAX;
    uint64_t *places = memory_allocate(db->allocator, (capacity + 1) * sizeof(places[0]));
    if (places == NULL || buffer_append(file, header, sizeof(header)) != TERN_OK ||
        snapshot_take(&db->manager, &snapshot, NULL) != TERN_OK) {
        memory_release(db->allocator, places);
        return false;
    }
    bool is_whole = true;
    for (uint32_t slot = 0; is_whole && slot < snapshot.view->slot_count; slot++) {
        const tern_keyspace *keyspace = keyspace_in(db, slot);
        struct engine_view *part = keyspace != NULL ? view_part(snapshot.view, keyspace) : NULL;
        if (part != NULL && part->methods->cached_places != NULL) {
            is_whole = append_keyspace(file, part, part->engine->id, places, &capacity);
        }
    }
    snapshot_drop(&db->manager, &snapshot);
    memory_release(db->allocator, places);
    if (is_whole) {
        memcpy(file->data, magic, sizeof(magic));
        put_u64(file->data + 8, file->size - HEADER_BYTES);
        put_u64(file->data + 16, hash_u64(file->data + HEADER_BYTES, file->size - HEADER_BYTES, 0));
    }
    return is_whole;
}

static void write_file(struct tern_db *db, const struct buffer *bytes) {
    char new_path[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES];
    const tern_file_system *file_system = db->options.file_system;
    tern_file *file = NULL;
    if (path_join(new_path, db->path, NEW_FILE_NAME, NULL) != TERN_OK ||
        path_join(path, db->path, HOT_FILE_NAME, NULL) != TERN_OK ||
        file_system->open(file_system->context, new_path, TERN_OPEN_CREATE | TERN_OPEN_TRUNCATE,
                          &file, NULL) != TERN_OK) {
        return;
    }
    tern_status status = file_write(file, 0, bytes->data, bytes->size, NULL);
    tern_status closed = file_close(file, NULL);
    if (status == TERN_OK && closed == TERN_OK) {
        status = file_system->rename(file_system->context, new_path, path, NULL);
    }
    if (status != TERN_OK || closed != TERN_OK) {
        status = file_system->remove(file_system->context, new_path, NULL);
    }
    (void)status;
}

void prewarm_save(struct tern_db *db) {
    struct buffer file;
    /* What is cached before all has been loaded says less than the file does. */
    if (!db->options.prewarm || db->options.read_only || !atomic_load(&db->prewarm.is_loaded)) {
        return;
    }
    buffer_init(&file, db->allocator);
    if (collect(db, &file)) {
        write_file(db, &file);
    }
    buffer_release(&file);
}

/* ---- the task ---- */

static tern_task_state step(struct tern_task *task) {
    struct tern_db *db = db_of(task);
    struct prewarm *prewarm = &db->prewarm;
    if (atomic_load_explicit(&db->is_closing, memory_order_acquire)) {
        return TERN_TASK_DONE;
    }
    if (!atomic_load(&prewarm->is_loaded)) {
        load(db);
        task->delay_ns = PAUSE_NS; /* queries come first */
        return TERN_TASK_SLEEP;
    }
    if (atomic_exchange(&prewarm->save_wanted, false)) {
        prewarm_save(db);
    }
    return TERN_TASK_DONE;
}

void prewarm_start(struct tern_db *db) {
    struct prewarm *prewarm = &db->prewarm;
    prewarm->task = (tern_task)TERN_TASK_INIT(step, "prewarm");
    buffer_init(&prewarm->body, db->allocator);
    atomic_store(&prewarm->is_loaded, !db->options.prewarm);
    if (db->options.prewarm) {
        db->options.executor->post(db->options.executor->context, &prewarm->task);
    }
}

void prewarm_cancel(struct tern_db *db) {
    if (db->options.prewarm) {
        db->options.executor->cancel(db->options.executor->context, &db->prewarm.task);
    }
}

void prewarm_release(struct tern_db *db) {
    if (db->options.prewarm) {
        release_body(db);
    }
}

void prewarm_save_soon(struct tern_db *db) {
    if (db->options.prewarm && db->prewarm.task.step != NULL && !db->options.read_only &&
        !atomic_load_explicit(&db->is_closing, memory_order_acquire)) {
        atomic_store(&db->prewarm.save_wanted, true);
        db->options.executor->post(db->options.executor->context, &db->prewarm.task);
    }
}
