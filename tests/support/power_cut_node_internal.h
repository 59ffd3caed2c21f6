/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories of the power-cut file system: what is current and what is durable. */
#ifndef TERN_TESTS_POWER_CUT_NODE_INTERNAL_H
#define TERN_TESTS_POWER_CUT_NODE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/power_cut_file_system.h"
#include "support/seeded_random.h"

struct node;

struct name_entry {
    char *name;
    struct node *node; /* holds a reference */
};

struct name_map {
    struct name_entry *entries;
    size_t count;
};

/*
 * A file or directory; referenced by names, pending name operations and open files.
 *
 * Of a file: `data` is what reads show. `durable` is what the device surely has, sector by sector;
 * `older` (may be NULL) holds, for sectors with has_older, a content that was written and
 * overwritten since the sync. All three images have capacity_bytes. `clean` (while mapped) is the
 * content that the system believes to be on the device; a mapped sector is dirty where it differs.
 */
struct node {
    uint32_t references;
    bool is_directory;
    bool is_locked;

    uint8_t *data;
    uint8_t *durable;
    uint8_t *older;
    uint8_t *clean;
    uint8_t *is_dirty;  /* one byte a sector */
    uint8_t *has_older; /* one byte a sector */
    uint64_t capacity_bytes;
    uint64_t size_bytes;
    uint64_t durable_size_bytes;
    uint64_t *sizes; /* that the file had since its sync, in order */
    size_t size_count;
    uint64_t mapped_bytes; /* longest live mapping */
    uint32_t map_count;
    uint8_t *left_behind; /* the mapped memory, once the power is off and it is no longer `data` */

    struct name_map names;
    struct name_map durable_names;
};

struct node *node_create(bool is_directory);
struct node *node_hold(struct node *node);
void node_drop(struct node *node);

/* False where a mapping forbids it. `random` decides which overwritten contents are remembered. */
bool node_write(struct node *node, uint64_t offset, const void *bytes, size_t size,
                struct seeded_random *random);
size_t node_read(const struct node *node, uint64_t offset, void *bytes, size_t size);
bool node_resize(struct node *node, uint64_t size);
void node_sync(struct node *node);
/* The sectors of these bytes alone; not the file's size. */
void node_sync_range(struct node *node, uint64_t offset, uint64_t size);
/* All dirty data counts as clean, but the device has none of it. */
void node_forget_dirty(struct node *node);
void node_forget_range(struct node *node, uint64_t offset, uint64_t size);
void *node_map(struct node *node, size_t size);
void node_unmap(struct node *node);
/* Takes stores to mapped memory into account as of now. */
void node_notice_stores(struct node *node);
/* The power is off: `data` stays as it is now, whatever is stored to mapped memory. */
void node_freeze(struct node *node);
/* A file as found after a cut; every unsynced effect survives with chance kept / 8. */
struct node *node_survivor(const struct node *node, struct seeded_random *random, unsigned kept);

struct node *name_map_find(const struct name_map *map, const char *name);
/* NULL node removes the name. */
void name_map_set(struct name_map *map, const char *name, struct node *node);

#define NAME_BYTES  256
#define EFFECTS_MAX 2

/* That `directory` has under `name` the `node`, or nothing. */
struct effect {
    struct node *directory;
    struct node *node;
    char name[NAME_BYTES];
};

/* A change of names that the device may not know yet; kept or forgotten as a whole. */
struct name_operation {
    struct name_operation *next;
    unsigned count;
    struct effect effects[EFFECTS_MAX];
};

struct name_operation *name_operation_create(void);
void name_operation_destroy(struct name_operation *operation);
void name_operation_add(struct name_operation *operation, struct node *directory, const char *name,
                        struct node *node);
/* Makes it so at once for who looks now, and pending for the device. */
void name_operation_perform(struct name_operation **pending, struct name_operation *operation);
/* The device knows what was pending of the directory. */
void name_operations_settle(struct name_operation **pending, const struct node *directory);

/* The tree that is found after a cut, with a reference for the caller. */
struct node *survivors_of(const struct node *root, const struct name_operation *pending,
                          enum power_cut_keep keep, struct seeded_random *random);

#endif
