/* SPDX-License-Identifier: Apache-2.0 */
#include "support/power_cut_node_internal.h"

#include <stdlib.h>
#include <string.h>

#include "support/check.h"

#define SECTOR POWER_CUT_SECTOR_BYTES
/* Chances are in eighths. */
#define ALWAYS 8

static uint64_t sectors_of(uint64_t size) {
    return (size + SECTOR - 1) / SECTOR;
}

static uint64_t least(uint64_t left, uint64_t right) {
    return left < right ? left : right;
}

/*
 * Copies memory that other threads may be storing to through a mapping, as the kernel does when it
 * writes a page back. Word by word and unseen by ThreadSanitizer: that race is not the test's.
 */
__attribute__((no_sanitize_thread, noinline)) static void
copy_unseen(uint8_t *target, const uint8_t *source, size_t size) {
    const volatile uint64_t *from = (const volatile uint64_t *)(const void *)source;
    uint64_t *to = (uint64_t *)(void *)target;
    for (size_t i = 0; i < size / sizeof(uint64_t); i++) {
        to[i] = from[i];
    }
}

struct node *node_create(bool is_directory) {
    struct node *node = check_allocate(sizeof(*node));
    node->references = 1;
    node->is_directory = is_directory;
    return node;
}

struct node *node_hold(struct node *node) {
    node->references++;
    return node;
}

static void clear_names(struct name_map *map) {
    for (size_t i = 0; i < map->count; i++) {
        free(map->entries[i].name);
        node_drop(map->entries[i].node);
    }
    free(map->entries);
}

void node_drop(struct node *node) {
    if (node == NULL || --node->references > 0) {
        return;
    }
    CHECK(node->map_count == 0);
    clear_names(&node->names);
    clear_names(&node->durable_names);
    free(node->data);
    free(node->durable);
    free(node->older);
    free(node->clean);
    free(node->left_behind);
    free(node->is_dirty);
    free(node->has_older);
    free(node->sizes);
    free(node);
}

static uint8_t *grow(uint8_t *image, size_t from, size_t to) {
    image = check_resize(image, to);
    memset(image + from, 0, to - from);
    return image;
}

static void set_capacity(struct node *node, uint64_t capacity) {
    size_t old = (size_t)node->capacity_bytes;
    size_t new = (size_t)(sectors_of(capacity) * SECTOR);
    node->data = grow(node->data, old, new);
    node->durable = grow(node->durable, old, new);
    node->is_dirty = grow(node->is_dirty, old / SECTOR, new / SECTOR);
    node->has_older = grow(node->has_older, old / SECTOR, new / SECTOR);
    if (node->older != NULL) {
        node->older = grow(node->older, old, new);
    }
    node->capacity_bytes = new;
}

static bool reserve(struct node *node, uint64_t size) {
    if (size <= node->capacity_bytes) {
        return true;
    }
    if (node->map_count > 0) {
        return false;
    }
    uint64_t doubled = node->capacity_bytes * 2;
    set_capacity(node, doubled > size ? doubled : size);
    return true;
}

static void set_size(struct node *node, uint64_t size) {
    if (size != node->size_bytes) {
        node->size_bytes = size;
        node->sizes = check_resize(node->sizes, (node->size_count + 1) * sizeof(*node->sizes));
        node->sizes[node->size_count++] = size;
    }
}

/* Every second overwriting leaves the older content as one that may have reached the device. */
static void remember_older(struct node *node, uint64_t sector, struct seeded_random *random) {
    if (!seeded_random_chance(random, 1, 2)) {
        return;
    }
    if (node->older == NULL) {
        node->older = check_allocate((size_t)node->capacity_bytes);
    }
    copy_unseen(node->older + sector * SECTOR, node->data + sector * SECTOR, SECTOR);
    node->has_older[sector] = 1;
}

bool node_write(struct node *node, uint64_t offset, const void *bytes, size_t size,
                struct seeded_random *random) {
    if (size == 0) {
        return true;
    }
    uint64_t end = offset + size;
    if (!reserve(node, end)) {
        return false;
    }
    for (uint64_t sector = offset / SECTOR; sector < sectors_of(end); sector++) {
        if (node->is_dirty[sector] != 0) {
            remember_older(node, sector, random);
        }
        node->is_dirty[sector] = 1;
    }
    memcpy(node->data + offset, bytes, size);
    if (end > node->size_bytes) {
        set_size(node, end);
    }
    return true;
}

size_t node_read(const struct node *node, uint64_t offset, void *bytes, size_t size) {
    if (offset >= node->size_bytes) {
        return 0;
    }
    size_t part = (size_t)least(size, node->size_bytes - offset);
    memcpy(bytes, node->data + offset, part);
    return part;
}

bool node_resize(struct node *node, uint64_t size) {
    if (size < node->mapped_bytes || !reserve(node, size)) {
        return false;
    }
    if (size < node->size_bytes) {
        /* What comes after the cut reads as zeros, should the file grow again. */
        memset(node->data + size, 0, (size_t)(node->size_bytes - size));
        for (uint64_t i = size / SECTOR; i < sectors_of(node->size_bytes); i++) {
            node->is_dirty[i] = 1;
        }
    }
    set_size(node, size);
    return true;
}

void node_notice_stores(struct node *node) {
    if (node->clean == NULL) {
        return;
    }
    uint8_t now[SECTOR] __attribute__((aligned(8)));
    for (uint64_t i = 0; i < sectors_of(node->mapped_bytes); i++) {
        copy_unseen(now, node->data + i * SECTOR, SECTOR);
        if (memcmp(now, node->clean + i * SECTOR, SECTOR) != 0) {
            node->is_dirty[i] = 1;
        }
    }
}

static void become_clean(struct node *node, uint64_t sector, const uint8_t *content) {
    node->is_dirty[sector] = 0;
    node->has_older[sector] = 0;
    if (node->clean != NULL) {
        memcpy(node->clean + sector * SECTOR, content, SECTOR);
    }
}

void node_sync_range(struct node *node, uint64_t offset, uint64_t size) {
    node_notice_stores(node);
    uint64_t end = least(sectors_of(offset + size), node->capacity_bytes / SECTOR);
    for (uint64_t i = offset / SECTOR; i < end; i++) {
        if (node->is_dirty[i] != 0) {
            uint8_t *durable = node->durable + i * SECTOR;
            copy_unseen(durable, node->data + i * SECTOR, SECTOR);
            become_clean(node, i, durable);
        }
    }
}

void node_sync(struct node *node) {
    node_sync_range(node, 0, node->capacity_bytes);
    node->durable_size_bytes = node->size_bytes;
    node->size_count = 0;
}

void node_forget_range(struct node *node, uint64_t offset, uint64_t size) {
    node_notice_stores(node);
    uint8_t now[SECTOR] __attribute__((aligned(8)));
    uint64_t end = least(sectors_of(offset + size), node->capacity_bytes / SECTOR);
    for (uint64_t i = offset / SECTOR; i < end; i++) {
        if (node->is_dirty[i] != 0) {
            copy_unseen(now, node->data + i * SECTOR, SECTOR);
            become_clean(node, i, now);
        }
    }
}

void node_forget_dirty(struct node *node) {
    node_forget_range(node, 0, node->capacity_bytes);
}

void *node_map(struct node *node, size_t size) {
    if (size == 0 || size > node->size_bytes) {
        return NULL;
    }
    if (node->map_count == 0) {
        /* No room beyond the file, so that AddressSanitizer sees a store past the end. */
        uint64_t exact = sectors_of(node->size_bytes) * SECTOR;
        if (exact < node->capacity_bytes && node->durable_size_bytes <= exact) {
            node->data = check_resize(node->data, (size_t)exact);
            node->capacity_bytes = exact;
        }
        node->clean = check_allocate((size_t)node->capacity_bytes);
        memcpy(node->clean, node->data, (size_t)node->capacity_bytes);
    }
    node->map_count++;
    node->mapped_bytes = size > node->mapped_bytes ? size : node->mapped_bytes;
    return node->data;
}

void node_unmap(struct node *node) {
    CHECK(node->map_count > 0);
    if (--node->map_count == 0) {
        node_notice_stores(node);
        free(node->clean);
        free(node->left_behind);
        node->clean = node->left_behind = NULL;
        node->mapped_bytes = 0;
    }
}

void node_freeze(struct node *node) {
    if (node->map_count == 0 || node->left_behind != NULL) {
        return;
    }
    node_notice_stores(node);
    uint8_t *copy = check_allocate((size_t)node->capacity_bytes);
    copy_unseen(copy, node->data, (size_t)node->capacity_bytes);
    node->left_behind = node->data;
    node->data = copy;
}

/* The sector as the device has it after the cut. */
static const uint8_t *surviving_sector(const struct node *node, uint64_t sector,
                                       struct seeded_random *random, unsigned kept) {
    if (node->is_dirty[sector] == 0 || !seeded_random_chance(random, kept, ALWAYS)) {
        return node->durable + sector * SECTOR;
    }
    bool is_older =
        node->has_older[sector] != 0 && kept < ALWAYS && seeded_random_chance(random, 1, 3);
    return (is_older ? node->older : node->data) + sector * SECTOR;
}

struct node *node_survivor(const struct node *node, struct seeded_random *random, unsigned kept) {
    /* Of the sizes since the sync a prefix has happened. */
    size_t happened = 0;
    while (happened < node->size_count && seeded_random_chance(random, kept, ALWAYS)) {
        happened++;
    }
    if (happened < node->size_count && kept > 0 && seeded_random_chance(random, kept, ALWAYS)) {
        happened = (size_t)seeded_random_below(random, node->size_count + 1);
    }
    uint64_t size = node->durable_size_bytes;
    uint64_t shortest = size;
    for (size_t i = 0; i < happened; i++) {
        size = node->sizes[i];
        shortest = least(shortest, size);
    }
    struct node *survivor = node_create(false);
    set_capacity(survivor, size);
    for (uint64_t i = 0; i < sectors_of(size); i++) {
        uint8_t *target = survivor->data + i * SECTOR;
        if (i * SECTOR >= node->capacity_bytes) {
            break; /* never written */
        }
        const uint8_t *source = surviving_sector(node, i, random, kept);
        uint64_t part = SECTOR;
        if (source == node->durable + i * SECTOR) {
            /* Once cut off, durable bytes do not come back. */
            part = i * SECTOR >= shortest ? 0 : least(SECTOR, shortest - i * SECTOR);
        }
        memcpy(target, source, (size_t)part);
    }
    /* The tail of the last sector lies past the end and reads as zeros. */
    memset(survivor->data + size, 0, (size_t)(survivor->capacity_bytes - size));
    memcpy(survivor->durable, survivor->data, (size_t)survivor->capacity_bytes);
    survivor->size_bytes = survivor->durable_size_bytes = size;
    return survivor;
}

struct node *name_map_find(const struct name_map *map, const char *name) {
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->entries[i].name, name) == 0) {
            return map->entries[i].node;
        }
    }
    return NULL;
}

void name_map_set(struct name_map *map, const char *name, struct node *node) {
    if (node != NULL) {
        (void)node_hold(node);
    }
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->entries[i].name, name) != 0) {
            continue;
        }
        node_drop(map->entries[i].node);
        if (node != NULL) {
            map->entries[i].node = node;
        } else {
            free(map->entries[i].name);
            map->entries[i] = map->entries[--map->count];
        }
        return;
    }
    if (node != NULL) {
        map->entries = check_resize(map->entries, (map->count + 1) * sizeof(*map->entries));
        map->entries[map->count++] = (struct name_entry){check_copy_string(name), node};
    }
}
