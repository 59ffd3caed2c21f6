/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of files that is found after a cut: durable names and those operations that were kept.
 */
#include <stdlib.h>

#include "support/check.h"
#include "support/power_cut_node_internal.h"

/* An old node and what became of it. */
struct survivor {
    const struct node *old;
    struct node *new;
    struct name_map names; /* of a directory: old nodes by the names that they have now */
    bool is_filled;
};

struct survivors {
    struct survivor *entries;
    size_t count;
    struct seeded_random *random;
    unsigned kept; /* chance in eighths */
};

/* The place of an old node in the table, made when it is met first: two names stay one file. */
static size_t survivor_place(struct survivors *survivors, const struct node *old) {
    for (size_t i = 0; i < survivors->count; i++) {
        if (survivors->entries[i].old == old) {
            return i;
        }
    }
    struct survivor survivor = {.old = old};
    for (size_t i = 0; i < old->durable_names.count; i++) {
        const struct name_entry *entry = &old->durable_names.entries[i];
        name_map_set(&survivor.names, entry->name, entry->node);
    }
    survivors->entries =
        check_resize(survivors->entries, (survivors->count + 1) * sizeof(*survivors->entries));
    survivors->entries[survivors->count] = survivor;
    return survivors->count++;
}

static void keep_operation(struct survivors *survivors, const struct name_operation *operation) {
    for (unsigned i = 0; i < operation->count; i++) {
        const struct effect *effect = &operation->effects[i];
        size_t place = survivor_place(survivors, effect->directory);
        name_map_set(&survivors->entries[place].names, effect->name, effect->node);
    }
}

/* Recursion is as deep as the directories of the test. */
static struct node *build(struct survivors *survivors, const struct node *old) {
    size_t place = survivor_place(survivors, old);
    if (survivors->entries[place].is_filled) {
        return survivors->entries[place].new;
    }
    struct node *new = old->is_directory ? node_create(true)
                                         : node_survivor(old, survivors->random, survivors->kept);
    survivors->entries[place].new = new;
    survivors->entries[place].is_filled = true;
    /* The table may move while children are built. */
    for (size_t i = 0; i < survivors->entries[place].names.count; i++) {
        struct name_entry entry = survivors->entries[place].names.entries[i];
        struct node *child = build(survivors, entry.node);
        name_map_set(&new->names, entry.name, child);
        name_map_set(&new->durable_names, entry.name, child);
    }
    return new;
}

struct node *survivors_of(const struct node *root, const struct name_operation *pending,
                          enum power_cut_keep keep, struct seeded_random *random) {
    static const unsigned chances[] = {0, 1, 4, 7, 8};
    struct survivors survivors = {.random = random};
    switch (keep) {
    case POWER_CUT_KEEP_NOTHING:
        survivors.kept = 0;
        break;
    case POWER_CUT_KEEP_EVERYTHING:
        survivors.kept = 8;
        break;
    case POWER_CUT_KEEP_RANDOM:
        survivors.kept = chances[seeded_random_below(random, sizeof(chances) / sizeof(*chances))];
        break;
    }
    for (const struct name_operation *at = pending; at != NULL; at = at->next) {
        if (seeded_random_chance(random, survivors.kept, 8)) {
            keep_operation(&survivors, at);
        }
    }
    struct node *found = node_hold(build(&survivors, root));
    for (size_t i = 0; i < survivors.count; i++) {
        struct survivor *survivor = &survivors.entries[i];
        while (survivor->names.count > 0) {
            name_map_set(&survivor->names, survivor->names.entries[0].name, NULL);
        }
        free(survivor->names.entries);
        node_drop(survivor->new);
    }
    free(survivors.entries);
    return found;
}
