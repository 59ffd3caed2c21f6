/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of names that the device may not know yet. */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/power_cut_node_internal.h"

struct name_operation *name_operation_create(void) {
    return check_allocate(sizeof(struct name_operation));
}

void name_operation_add(struct name_operation *operation, struct node *directory, const char *name,
                        struct node *node) {
    CHECK(operation->count < EFFECTS_MAX);
    struct effect *effect = &operation->effects[operation->count++];
    effect->directory = node_hold(directory);
    effect->node = node != NULL ? node_hold(node) : NULL;
    memcpy(effect->name, name, strlen(name) + 1);
}

void name_operation_destroy(struct name_operation *operation) {
    for (unsigned i = 0; i < operation->count; i++) {
        node_drop(operation->effects[i].directory);
        node_drop(operation->effects[i].node);
    }
    free(operation);
}

void name_operation_perform(struct name_operation **pending, struct name_operation *operation) {
    for (unsigned i = 0; i < operation->count; i++) {
        struct effect *effect = &operation->effects[i];
        name_map_set(&effect->directory->names, effect->name, effect->node);
    }
    struct name_operation **place = pending;
    while (*place != NULL) {
        place = &(*place)->next;
    }
    *place = operation;
}

static bool touches(const struct name_operation *operation, const struct node *directory) {
    for (unsigned i = 0; i < operation->count; i++) {
        if (operation->effects[i].directory == directory) {
            return true;
        }
    }
    return false;
}

void name_operations_settle(struct name_operation **pending, const struct node *directory) {
    struct name_operation **place = pending;
    while (*place != NULL) {
        struct name_operation *operation = *place;
        if (touches(operation, directory)) {
            for (unsigned i = 0; i < operation->count; i++) {
                struct effect *effect = &operation->effects[i];
                name_map_set(&effect->directory->durable_names, effect->name, effect->node);
            }
            *place = operation->next;
            name_operation_destroy(operation);
        } else {
            place = &operation->next;
        }
    }
}
