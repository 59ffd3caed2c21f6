/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/file_registry.h"

#include "base/error.h"
#include "os/mutex.h"

#define NOT_SUPERSEDED UINT64_MAX
/* Files removed in one call, a few milliseconds. */
#define REMOVALS_MAX 256u

struct file_entry {
    uint64_t number;
    uint64_t bytes;
    uint64_t born;
    uint64_t superseded;
    enum lsm_file_kind kind;
    bool is_new;    /* it or its name may not be durable */
    bool is_synced; /* it is, its name may not be */
    bool is_orphan;
};

struct file_registry {
    struct lsm *lsm;
    struct mutex lock;
    uint64_t generation;
    struct file_entry *entries; /* ascending by number */
    size_t count, capacity;
};

tern_status file_registry_create(struct lsm *lsm, struct file_registry **out_registry,
                                 tern_error *error) {
    struct file_registry *registry = memory_allocate_zeroed(lsm_allocator(lsm), sizeof(*registry));
    if (registry == NULL) {
        return ERROR_NO_MEMORY(error, "a partition");
    }
    registry->lsm = lsm;
    mutex_init(&registry->lock);
    *out_registry = registry;
    return TERN_OK;
}

void file_registry_destroy(struct file_registry *registry) {
    if (registry != NULL) {
        const tern_allocator *allocator = lsm_allocator(registry->lsm);
        mutex_destroy(&registry->lock);
        memory_release(allocator, registry->entries);
        memory_release(allocator, registry);
    }
}

/* Place of the first entry with at least this number. */
static size_t lower_bound(const struct file_registry *registry, uint64_t number) {
    size_t low = 0;
    size_t high = registry->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (registry->entries[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct file_entry *find(struct file_registry *registry, uint64_t number) {
    size_t at = lower_bound(registry, number);
    return at < registry->count && registry->entries[at].number == number ? &registry->entries[at]
                                                                          : NULL;
}

static tern_status add(struct file_registry *registry, const struct file_entry *entry,
                       tern_error *error) {
    tern_status status = TERN_OK;
    mutex_lock(&registry->lock);
    if (registry->count == registry->capacity) {
        size_t capacity = registry->capacity * 2 + 16;
        struct file_entry *grown = memory_resize(lsm_allocator(registry->lsm), registry->entries,
                                                 capacity * sizeof(grown[0]));
        if (grown == NULL) {
            status = ERROR_NO_MEMORY(error, "a file of a partition");
        } else {
            registry->entries = grown;
            registry->capacity = capacity;
        }
    }
    if (status == TERN_OK) {
        size_t at = lower_bound(registry, entry->number);
        memmove(&registry->entries[at + 1], &registry->entries[at],
                (registry->count - at) * sizeof(registry->entries[0]));
        registry->entries[at] = *entry;
        if (entry->is_new) {
            registry->entries[at].born = registry->generation;
        }
        registry->count++;
    }
    mutex_unlock(&registry->lock);
    return status;
}

tern_status file_registry_add(struct file_registry *registry, uint64_t number,
                              enum lsm_file_kind kind, uint64_t bytes, bool is_new,
                              tern_error *error) {
    const struct file_entry entry = {.number = number,
                                     .kind = kind,
                                     .bytes = bytes,
                                     .superseded = NOT_SUPERSEDED,
                                     .is_new = is_new};
    return add(registry, &entry, error);
}

tern_status file_registry_add_orphan(struct file_registry *registry, uint64_t number,
                                     enum lsm_file_kind kind, tern_error *error) {
    const struct file_entry entry = {.number = number, .kind = kind, .is_orphan = true};
    return add(registry, &entry, error);
}

bool file_registry_knows(struct file_registry *registry, uint64_t number) {
    mutex_lock(&registry->lock);
    bool is_known = find(registry, number) != NULL;
    mutex_unlock(&registry->lock);
    return is_known;
}

void file_registry_forget(struct file_registry *registry, uint64_t number) {
    mutex_lock(&registry->lock);
    struct file_entry *entry = find(registry, number);
    if (entry != NULL) {
        size_t at = (size_t)(entry - registry->entries);
        registry->count--;
        memmove(entry, entry + 1, (registry->count - at) * sizeof(*entry));
    }
    mutex_unlock(&registry->lock);
}

void file_registry_set_bytes(struct file_registry *registry, uint64_t number, uint64_t bytes) {
    mutex_lock(&registry->lock);
    struct file_entry *entry = find(registry, number);
    if (entry != NULL) {
        entry->bytes = bytes;
    }
    mutex_unlock(&registry->lock);
}

uint64_t file_registry_file_bytes(struct file_registry *registry, uint64_t number) {
    mutex_lock(&registry->lock);
    const struct file_entry *entry = find(registry, number);
    uint64_t bytes = entry != NULL ? entry->bytes : 0;
    mutex_unlock(&registry->lock);
    return bytes;
}

void file_registry_supersede(struct file_registry *registry, uint64_t number, uint64_t generation) {
    mutex_lock(&registry->lock);
    struct file_entry *entry = find(registry, number);
    if (entry != NULL && entry->superseded == NOT_SUPERSEDED) {
        entry->superseded = generation;
    }
    mutex_unlock(&registry->lock);
}

void file_registry_set_generation(struct file_registry *registry, uint64_t generation) {
    mutex_lock(&registry->lock);
    registry->generation = generation;
    mutex_unlock(&registry->lock);
}

/* ---- syncing ---- */

static tern_status sync_file(const struct lsm *lsm, const struct file_entry *entry,
                             bool *out_in_doubt, tern_error *error) {
    char path[FILE_PATH_BYTES];
    tern_file *file = NULL;
    const tern_file_system *system = lsm->environment->file_system;
    tern_status status = lsm_file_path(lsm, entry->number, entry->kind, path, error);
    if (status == TERN_OK) {
        status = system->open(system->context, path, 0, &file, error);
    }
    if (status != TERN_OK) {
        *out_in_doubt = false;
        return status;
    }
    status = file_sync(file, error);
    tern_status closed = file_close(file, status == TERN_OK ? error : NULL);
    status = status == TERN_OK ? closed : status;
    *out_in_doubt = status != TERN_OK;
    return status;
}

/* The first whole new file that lies at or behind `number`. */
static bool next_new(struct file_registry *registry, uint64_t number,
                     struct file_entry *out_entry) {
    bool found = false;
    mutex_lock(&registry->lock);
    for (size_t i = lower_bound(registry, number); !found && i < registry->count; i++) {
        const struct file_entry *entry = &registry->entries[i];
        found = entry->is_new && !entry->is_synced && !entry->is_orphan && entry->bytes > 0;
        if (found) {
            *out_entry = *entry;
        }
    }
    mutex_unlock(&registry->lock);
    return found;
}

static void note_synced(struct file_registry *registry, uint64_t number) {
    mutex_lock(&registry->lock);
    struct file_entry *entry = find(registry, number);
    if (entry != NULL) {
        entry->is_synced = true;
    }
    mutex_unlock(&registry->lock);
}

static bool has_unsynced_names(struct file_registry *registry) {
    bool found = false;
    mutex_lock(&registry->lock);
    for (size_t i = 0; !found && i < registry->count; i++) {
        found = registry->entries[i].is_new && registry->entries[i].is_synced;
    }
    mutex_unlock(&registry->lock);
    return found;
}

tern_status file_registry_sync(struct file_registry *registry, bool *out_in_doubt,
                               tern_error *error) {
    const struct engine_environment *environment = registry->lsm->environment;
    const tern_file_system *system = environment->file_system;
    struct file_entry entry;
    for (uint64_t number = 0; next_new(registry, number, &entry); number = entry.number + 1) {
        tern_status status = sync_file(registry->lsm, &entry, out_in_doubt, error);
        if (status == TERN_NOT_FOUND && !file_registry_knows(registry, entry.number)) {
            continue; /* a value that was discarded meanwhile */
        }
        if (status != TERN_OK) {
            return status;
        }
        note_synced(registry, entry.number);
    }
    /* Also names of files that an earlier call synced before it failed. */
    if (!has_unsynced_names(registry)) {
        return TERN_OK;
    }
    tern_status status = system->sync_directory(system->context, environment->directory, error);
    *out_in_doubt = status != TERN_OK;
    mutex_lock(&registry->lock);
    for (size_t i = 0; status == TERN_OK && i < registry->count; i++) {
        registry->entries[i].is_new =
            registry->entries[i].is_new && !registry->entries[i].is_synced;
    }
    mutex_unlock(&registry->lock);
    return status;
}

/* ---- letting go ---- */

static bool is_needed(const struct file_entry *entry, const uint64_t *live, size_t live_count) {
    if (entry->is_orphan) {
        return false;
    }
    if (entry->superseded == NOT_SUPERSEDED) {
        return true;
    }
    for (size_t i = 0; i < live_count; i++) {
        if (live[i] >= entry->born && live[i] < entry->superseded) {
            return true;
        }
    }
    return false;
}

bool file_registry_release(struct file_registry *registry, const uint64_t *live,
                           size_t live_count) {
    struct file_entry gone[REMOVALS_MAX];
    size_t gone_count = 0;
    size_t kept = 0;
    if (registry->lsm->environment->read_only) {
        return false;
    }
    mutex_lock(&registry->lock);
    for (size_t i = 0; i < registry->count; i++) {
        const struct file_entry entry = registry->entries[i];
        if (gone_count < REMOVALS_MAX && !is_needed(&entry, live, live_count)) {
            gone[gone_count++] = entry;
        } else {
            registry->entries[kept++] = entry;
        }
    }
    registry->count = kept;
    mutex_unlock(&registry->lock);
    for (size_t i = 0; i < gone_count; i++) {
        /* What cannot be removed now is an orphan at the next open. */
        (void)lsm_file_remove(registry->lsm, gone[i].number, gone[i].kind, NULL);
    }
    return gone_count == REMOVALS_MAX;
}

void file_registry_get_totals(struct file_registry *registry,
                              struct file_registry_totals *out_totals) {
    struct file_registry_totals totals = {0};
    mutex_lock(&registry->lock);
    for (size_t i = 0; i < registry->count; i++) {
        const struct file_entry *entry = &registry->entries[i];
        totals.files++;
        totals.bytes += entry->bytes;
        totals.pending_bytes += entry->superseded != NOT_SUPERSEDED ? entry->bytes : 0;
        totals.value_bytes += entry->kind == LSM_FILE_VALUES ? entry->bytes : 0;
    }
    mutex_unlock(&registry->lock);
    *out_totals = totals;
}
