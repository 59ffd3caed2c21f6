/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, files and the moment of the cut. The content of files is power_cut_node.c's.
 *
 * A name operation changes the current names at once and is put on the list of pending ones; it is
 * applied to the durable names when one of its directories is synced, or kept at a cut by chance.
 * An operation says what its names then are (a node, or nothing), not how they came to be, so that
 * any subset makes sense.
 *
 * One lock guards everything. Once the power is off nothing changes any more but open files being
 * closed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "os/mutex.h"
#include "support/check.h"
#include "support/power_cut_node_internal.h"
#include "support/seeded_queue.h"

#define FREE_BYTES ((uint64_t)1 << 40)

struct open_file {
    tern_file head;
    struct power_cut_file_system *file_system;
    struct open_file *next;
    struct node *node;
    uint32_t map_count;
    bool is_lock;
    char path[];
};

struct power_cut_file_system {
    tern_file_system interface;
    struct mutex lock;
    struct node *root;
    struct name_operation *pending; /* oldest first */
    struct open_file *files;
    struct seeded_random random;
    uint64_t calls;
    uint64_t armed_call;
    uint64_t syncs;
    uint64_t failing_sync; /* number of the sync that fails, or 0 */
    bool is_off;
};

static tern_status off_error(const char *path, tern_error *error) {
    return ERROR_AT(error, TERN_IO, path, -1, 0, "power is off");
}

static void turn_off(struct power_cut_file_system *system) {
    system->is_off = true;
    for (struct open_file *file = system->files; file != NULL; file = file->next) {
        node_freeze(file->node);
    }
}

/*
 * Counts a mutating call. True when the power goes off in it: the caller lets what it does take
 * effect as unsynced, or not at all where it would sync, and then fails.
 */
static bool count_call(struct power_cut_file_system *system) {
    system->calls++;
    return system->calls == system->armed_call;
}

static struct open_file *open_of(tern_file *file) {
    return (struct open_file *)file;
}

/* ---- names ---- */

/* The directory that holds the last name of `path`, which goes to `out_name`; NULL if absent. */
static struct node *find_parent(struct power_cut_file_system *system, const char *path,
                                char out_name[NAME_BYTES]) {
    struct node *directory = system->root;
    out_name[0] = '\0';
    while (directory != NULL && directory->is_directory) {
        path += strspn(path, "/");
        size_t size = strcspn(path, "/");
        if (size == 0) {
            return directory;
        }
        if (!(size == 1 && path[0] == '.')) {
            if (out_name[0] != '\0') {
                directory = name_map_find(&directory->names, out_name);
                if (directory == NULL) {
                    return NULL;
                }
            }
            if (size >= NAME_BYTES) {
                return NULL;
            }
            memcpy(out_name, path, size);
            out_name[size] = '\0';
        }
        path += size;
    }
    return NULL;
}

static struct node *find_node(struct power_cut_file_system *system, const char *path) {
    char name[NAME_BYTES];
    struct node *parent = find_parent(system, path, name);
    return parent == NULL || name[0] == '\0' ? parent : name_map_find(&parent->names, name);
}

/* ---- open files ---- */

static tern_status file_read_locked(struct open_file *file, uint64_t offset, void *buffer,
                                    size_t size, size_t *out_size, tern_error *error) {
    if (file->file_system->is_off) {
        return off_error(file->path, error);
    }
    if ((file->head.flags & TERN_OPEN_DIRECT) != 0 &&
        (offset % file->head.alignment_bytes != 0 || size % file->head.alignment_bytes != 0 ||
         (uintptr_t)buffer % file->head.alignment_bytes != 0)) {
        return ERROR_AT(error, TERN_INVALID, file->path, offset, 0, "misaligned direct read");
    }
    *out_size = node_read(file->node, offset, buffer, size);
    return TERN_OK;
}

static tern_status cut_read(tern_file *file, uint64_t offset, void *buffer, size_t size,
                            size_t *out_size, tern_error *error) {
    struct open_file *open = open_of(file);
    mutex_lock(&open->file_system->lock);
    tern_status status = file_read_locked(open, offset, buffer, size, out_size, error);
    mutex_unlock(&open->file_system->lock);
    return status;
}

/* What every changing call of a file begins with; holds the lock on TERN_OK alone. */
static tern_status begin_change(struct open_file *file, bool *out_cut, tern_error *error) {
    struct power_cut_file_system *system = file->file_system;
    mutex_lock(&system->lock);
    tern_status status = TERN_OK;
    if (system->is_off) {
        status = off_error(file->path, error);
    } else if ((file->head.flags & TERN_OPEN_READ) != 0) {
        status = ERROR_AT(error, TERN_READ_ONLY, file->path, -1, 0, "file is open for reading");
    }
    if (status != TERN_OK) {
        mutex_unlock(&system->lock);
        return status;
    }
    *out_cut = count_call(system);
    return TERN_OK;
}

static tern_status end_change(struct open_file *file, bool cut, tern_status status,
                              tern_error *error) {
    if (cut) {
        turn_off(file->file_system);
        status = off_error(file->path, error);
    }
    mutex_unlock(&file->file_system->lock);
    return status;
}

static tern_status write_locked(struct open_file *file, uint64_t offset, const void *buffer,
                                size_t size, tern_error *error) {
    uint32_t alignment = file->head.alignment_bytes;
    if ((file->head.flags & TERN_OPEN_DIRECT) != 0) {
        if (offset % alignment != 0 || size % alignment != 0 ||
            (uintptr_t)buffer % alignment != 0) {
            return ERROR_AT(error, TERN_INVALID, file->path, offset, 0, "misaligned direct write");
        }
        if (file->node->map_count > 0) {
            return ERROR_AT(error, TERN_INVALID, file->path, offset, 0,
                            "direct write to a file that is mapped");
        }
    }
    if (!node_write(file->node, offset, buffer, size, &file->file_system->random)) {
        return ERROR_AT(error, TERN_INVALID, file->path, offset, 0,
                        "write would grow the file under a mapping");
    }
    return TERN_OK;
}

static tern_status cut_write(tern_file *file, uint64_t offset, const void *buffer, size_t size,
                             tern_error *error) {
    struct open_file *open = open_of(file);
    bool cut = false;
    tern_status status = begin_change(open, &cut, error);
    if (status != TERN_OK) {
        return status;
    }
    status = write_locked(open, offset, buffer, size, error);
    return end_change(open, cut, status, error);
}

static tern_status cut_write_durable(tern_file *file, uint64_t offset, const void *buffer,
                                     size_t size, tern_error *error) {
    struct open_file *open = open_of(file);
    struct power_cut_file_system *system = open->file_system;
    bool cut = false;
    tern_status status = begin_change(open, &cut, error);
    if (status != TERN_OK) {
        return status;
    }
    status = offset + size > open->node->size_bytes
                 ? ERROR_AT(error, TERN_INVALID, open->path, offset, 0,
                            "durable write past the end of the file")
                 : write_locked(open, offset, buffer, size, error);
    system->syncs++;
    if (status == TERN_OK && !cut && system->syncs == system->failing_sync) {
        node_forget_range(open->node, offset, size);
        status =
            ERROR_AT(error, TERN_IO, open->path, offset, 5, "cannot write to the device durably");
    } else if (status == TERN_OK && !cut) {
        node_sync_range(open->node, offset, size);
    }
    return end_change(open, cut, status, error);
}

static tern_status cut_sync(tern_file *file, tern_error *error) {
    struct open_file *open = open_of(file);
    struct power_cut_file_system *system = open->file_system;
    mutex_lock(&system->lock);
    if (system->is_off) {
        mutex_unlock(&system->lock);
        return off_error(open->path, error);
    }
    bool cut = count_call(system);
    tern_status status = TERN_OK;
    system->syncs++;
    if (!cut && system->syncs == system->failing_sync) {
        node_forget_dirty(open->node);
        status = ERROR_AT(error, TERN_IO, open->path, -1, 5, "cannot sync the file to the device");
    } else if (!cut) {
        node_sync(open->node);
    }
    return end_change(open, cut, status, error);
}

static tern_status cut_size(tern_file *file, uint64_t *out_size, tern_error *error) {
    struct open_file *open = open_of(file);
    mutex_lock(&open->file_system->lock);
    tern_status status = TERN_OK;
    if (open->file_system->is_off) {
        status = off_error(open->path, error);
    } else {
        *out_size = open->node->size_bytes;
    }
    mutex_unlock(&open->file_system->lock);
    return status;
}

static tern_status cut_truncate(tern_file *file, uint64_t size, tern_error *error) {
    struct open_file *open = open_of(file);
    bool cut = false;
    tern_status status = begin_change(open, &cut, error);
    if (status != TERN_OK) {
        return status;
    }
    if (!node_resize(open->node, size)) {
        status = ERROR_AT(error, TERN_INVALID, open->path, size, 0,
                          "the file's size would change under a mapping");
    }
    return end_change(open, cut, status, error);
}

static tern_status cut_allocate(tern_file *file, uint64_t offset, uint64_t size,
                                tern_error *error) {
    struct open_file *open = open_of(file);
    bool cut = false;
    tern_status status = begin_change(open, &cut, error);
    if (status != TERN_OK) {
        return status;
    }
    if (offset + size > open->node->size_bytes && !node_resize(open->node, offset + size)) {
        status = ERROR_AT(error, TERN_INVALID, open->path, size, 0,
                          "the file's size would change under a mapping");
    }
    return end_change(open, cut, status, error);
}

static tern_status cut_map(tern_file *file, size_t size, void **out_memory, tern_error *error) {
    struct open_file *open = open_of(file);
    mutex_lock(&open->file_system->lock);
    tern_status status = TERN_OK;
    void *memory = NULL;
    if (open->file_system->is_off) {
        status = off_error(open->path, error);
    } else {
        memory = node_map(open->node, size);
        if (memory == NULL) {
            status = ERROR_AT(error, TERN_INVALID, open->path, -1, 0,
                              "cannot map %zu bytes of a file of %llu", size,
                              (unsigned long long)open->node->size_bytes);
        }
    }
    if (status == TERN_OK) {
        open->map_count++;
        *out_memory = memory;
    }
    mutex_unlock(&open->file_system->lock);
    return status;
}

static void cut_unmap(tern_file *file, void *memory, size_t size) {
    struct open_file *open = open_of(file);
    (void)size;
    mutex_lock(&open->file_system->lock);
    CHECK(open->map_count > 0);
    CHECK(memory == open->node->data || memory == open->node->left_behind);
    open->map_count--;
    node_unmap(open->node);
    mutex_unlock(&open->file_system->lock);
}

static void cut_advise(tern_file *file, uint64_t offset, uint64_t size, bool will_need) {
    (void)file;
    (void)offset;
    (void)size;
    (void)will_need;
}

static int cut_descriptor(tern_file *file) {
    (void)file;
    return -1;
}

static tern_status cut_close(tern_file *file, tern_error *error) {
    struct open_file *open = open_of(file);
    struct power_cut_file_system *system = open->file_system;
    mutex_lock(&system->lock);
    CHECK(open->map_count == 0); /* unmap comes before close */
    tern_status status = system->is_off ? off_error(open->path, error) : TERN_OK;
    struct open_file **place = &system->files;
    while (*place != open) {
        CHECK(*place != NULL);
        place = &(*place)->next;
    }
    *place = open->next;
    if (open->is_lock) {
        open->node->is_locked = false;
    }
    node_drop(open->node);
    free(open);
    mutex_unlock(&system->lock);
    return status;
}

static const tern_file_methods methods = {
    .read = cut_read,
    .write = cut_write,
    .sync = cut_sync,
    .size = cut_size,
    .truncate = cut_truncate,
    .allocate = cut_allocate,
    .map = cut_map,
    .unmap = cut_unmap,
    .advise = cut_advise,
    .descriptor = cut_descriptor,
    .close = cut_close,
    .write_durable = cut_write_durable,
};

static struct open_file *open_node(struct power_cut_file_system *system, struct node *node,
                                   const char *path, uint32_t flags) {
    size_t path_size = strlen(path) + 1;
    struct open_file *file = check_allocate(sizeof(*file) + path_size);
    file->head.methods = &methods;
    file->head.alignment_bytes = (flags & TERN_OPEN_DIRECT) != 0 ? POWER_CUT_SECTOR_BYTES : 1;
    file->head.flags = flags;
    file->file_system = system;
    file->node = node_hold(node);
    memcpy(file->path, path, path_size);
    file->next = system->files;
    system->files = file;
    return file;
}

/* ---- the file system ---- */

/* Finds the file, or creates it where `flags` say so. */
static tern_status open_locked(struct power_cut_file_system *system, const char *path,
                               uint32_t flags, tern_file **out_file, tern_error *error) {
    char name[NAME_BYTES];
    if (system->is_off) {
        return off_error(path, error);
    }
    struct node *parent = find_parent(system, path, name);
    struct node *node = parent != NULL ? name_map_find(&parent->names, name) : NULL;
    if (parent == NULL || name[0] == '\0' || (node == NULL && (flags & TERN_OPEN_CREATE) == 0)) {
        return ERROR_AT(error, TERN_NOT_FOUND, path, -1, 2, "cannot open the file");
    }
    if (node != NULL && (flags & TERN_OPEN_EXCLUSIVE) != 0) {
        return ERROR_AT(error, TERN_EXISTS, path, -1, 17, "cannot create the file");
    }
    if (node != NULL && node->is_directory) {
        return ERROR_AT(error, TERN_INVALID, path, -1, 21, "cannot open a directory");
    }
    bool cut = false;
    if (node == NULL) {
        cut = count_call(system);
        node = node_create(false);
        struct name_operation *operation = name_operation_create();
        name_operation_add(operation, parent, name, node);
        name_operation_perform(&system->pending, operation);
        node_drop(node);
    } else if ((flags & TERN_OPEN_TRUNCATE) != 0 && node->size_bytes > 0) {
        cut = count_call(system);
        if (!node_resize(node, 0)) {
            return ERROR_AT(error, TERN_INVALID, path, -1, 0, "truncated under a mapping");
        }
    }
    if (cut) {
        turn_off(system);
        return off_error(path, error);
    }
    *out_file = &open_node(system, node, path, flags)->head;
    return TERN_OK;
}

static tern_status cut_open(void *context, const char *path, uint32_t flags, tern_file **out_file,
                            tern_error *error) {
    struct power_cut_file_system *system = context;
    mutex_lock(&system->lock);
    tern_status status = open_locked(system, path, flags, out_file, error);
    mutex_unlock(&system->lock);
    return status;
}

/* Performs the operation, in which the power may go off. Gives up the lock. */
static tern_status finish_operation(struct power_cut_file_system *system, const char *path,
                                    struct name_operation *operation, tern_error *error) {
    bool cut = count_call(system);
    name_operation_perform(&system->pending, operation);
    tern_status status = TERN_OK;
    if (cut) {
        turn_off(system);
        status = off_error(path, error);
    }
    mutex_unlock(&system->lock);
    return status;
}

/* Locks and finds; on anything but TERN_OK the lock is given up. */
static tern_status begin_operation(struct power_cut_file_system *system, const char *path,
                                   bool must_exist, struct node **out_parent, char *out_name,
                                   struct node **out_node, tern_error *error) {
    mutex_lock(&system->lock);
    tern_status status = TERN_OK;
    *out_parent = *out_node = NULL;
    if (system->is_off) {
        status = off_error(path, error);
    } else {
        *out_parent = find_parent(system, path, out_name);
        if (*out_parent != NULL && out_name[0] != '\0') {
            *out_node = name_map_find(&(*out_parent)->names, out_name);
        }
        if (*out_parent == NULL || (must_exist && *out_node == NULL)) {
            status = ERROR_AT(error, TERN_NOT_FOUND, path, -1, 2, "no such file or directory");
        }
    }
    if (status != TERN_OK) {
        mutex_unlock(&system->lock);
    }
    return status;
}

static tern_status cut_remove(void *context, const char *path, tern_error *error) {
    struct power_cut_file_system *system = context;
    struct node *parent;
    struct node *node;
    char name[NAME_BYTES];
    tern_status status = begin_operation(system, path, true, &parent, name, &node, error);
    if (status != TERN_OK) {
        return status;
    }
    if (node->is_directory && node->names.count > 0) {
        mutex_unlock(&system->lock);
        return ERROR_AT(error, TERN_IO, path, -1, 39,
                        "cannot remove a directory that is not empty");
    }
    struct name_operation *operation = name_operation_create();
    name_operation_add(operation, parent, name, NULL);
    return finish_operation(system, path, operation, error);
}

static tern_status cut_rename(void *context, const char *from, const char *to, tern_error *error) {
    struct power_cut_file_system *system = context;
    struct node *parent;
    struct node *node;
    char name[NAME_BYTES];
    char to_name[NAME_BYTES];
    tern_status status = begin_operation(system, from, true, &parent, name, &node, error);
    if (status != TERN_OK) {
        return status;
    }
    struct node *to_parent = find_parent(system, to, to_name);
    struct node *replaced = to_parent != NULL ? name_map_find(&to_parent->names, to_name) : NULL;
    if (to_parent == NULL || to_name[0] == '\0') {
        status = ERROR_AT(error, TERN_NOT_FOUND, to, -1, 2, "no such directory");
    } else if (replaced != NULL && replaced->is_directory && replaced->names.count > 0) {
        status = ERROR_AT(error, TERN_IO, to, -1, 39, "cannot replace a directory not empty");
    }
    if (status != TERN_OK || replaced == node) {
        mutex_unlock(&system->lock);
        return status;
    }
    struct name_operation *operation = name_operation_create();
    name_operation_add(operation, to_parent, to_name, node);
    name_operation_add(operation, parent, name, NULL);
    return finish_operation(system, from, operation, error);
}

static tern_status cut_link(void *context, const char *from, const char *to, tern_error *error) {
    struct power_cut_file_system *system = context;
    struct node *parent;
    struct node *node;
    char name[NAME_BYTES];
    char to_name[NAME_BYTES];
    tern_status status = begin_operation(system, from, true, &parent, name, &node, error);
    if (status != TERN_OK) {
        return status;
    }
    struct node *to_parent = find_parent(system, to, to_name);
    if (to_parent == NULL || to_name[0] == '\0') {
        status = ERROR_AT(error, TERN_NOT_FOUND, to, -1, 2, "no such directory");
    } else if (name_map_find(&to_parent->names, to_name) != NULL) {
        status = ERROR_AT(error, TERN_EXISTS, to, -1, 17, "cannot link over a file");
    } else if (node->is_directory) {
        status = ERROR_AT(error, TERN_UNSUPPORTED, from, -1, 1, "cannot link a directory");
    }
    if (status != TERN_OK) {
        mutex_unlock(&system->lock);
        return status;
    }
    struct name_operation *operation = name_operation_create();
    name_operation_add(operation, to_parent, to_name, node);
    return finish_operation(system, to, operation, error);
}

static tern_status cut_make_directory(void *context, const char *path, tern_error *error) {
    struct power_cut_file_system *system = context;
    struct node *parent;
    struct node *node;
    char name[NAME_BYTES];
    tern_status status = begin_operation(system, path, false, &parent, name, &node, error);
    if (status != TERN_OK) {
        return status;
    }
    if (node != NULL || name[0] == '\0') {
        mutex_unlock(&system->lock);
        return ERROR_AT(error, TERN_EXISTS, path, -1, 17, "cannot make the directory");
    }
    node = node_create(true);
    struct name_operation *operation = name_operation_create();
    name_operation_add(operation, parent, name, node);
    node_drop(node);
    return finish_operation(system, path, operation, error);
}

static tern_status cut_sync_directory(void *context, const char *path, tern_error *error) {
    struct power_cut_file_system *system = context;
    mutex_lock(&system->lock);
    tern_status status = TERN_OK;
    struct node *directory = system->is_off ? NULL : find_node(system, path);
    if (system->is_off) {
        status = off_error(path, error);
    } else if (directory == NULL || !directory->is_directory) {
        status = ERROR_AT(error, TERN_NOT_FOUND, path, -1, 2, "no such directory");
    } else if (count_call(system)) {
        turn_off(system);
        status = off_error(path, error);
    } else {
        name_operations_settle(&system->pending, directory);
    }
    mutex_unlock(&system->lock);
    return status;
}

static tern_status cut_list(void *context, const char *path, tern_list_visitor visit,
                            void *visit_context, tern_error *error) {
    struct power_cut_file_system *system = context;
    mutex_lock(&system->lock);
    struct node *directory = system->is_off ? NULL : find_node(system, path);
    if (directory == NULL || !directory->is_directory) {
        bool is_off = system->is_off;
        mutex_unlock(&system->lock);
        return is_off ? off_error(path, error)
                      : ERROR_AT(error, TERN_NOT_FOUND, path, -1, 2, "no such directory");
    }
    /* Visited without the lock, so that the visitor may remove what it sees. */
    size_t count = directory->names.count;
    char **names = check_allocate(count * sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        names[i] = check_copy_string(directory->names.entries[i].name);
    }
    mutex_unlock(&system->lock);
    bool goes_on = true;
    for (size_t i = 0; i < count; i++) {
        goes_on = goes_on && visit(visit_context, names[i]);
        free(names[i]);
    }
    free(names);
    return TERN_OK;
}

static tern_status cut_exists(void *context, const char *path, tern_error *error) {
    struct power_cut_file_system *system = context;
    mutex_lock(&system->lock);
    tern_status status = TERN_OK;
    if (system->is_off) {
        status = off_error(path, error);
    } else if (find_node(system, path) == NULL) {
        status = TERN_NOT_FOUND;
    }
    mutex_unlock(&system->lock);
    return status;
}

static tern_status cut_free_space(void *context, const char *path, uint64_t *out_bytes,
                                  tern_error *error) {
    struct power_cut_file_system *system = context;
    mutex_lock(&system->lock);
    bool is_off = system->is_off;
    mutex_unlock(&system->lock);
    if (is_off) {
        return off_error(path, error);
    }
    *out_bytes = FREE_BYTES;
    return TERN_OK;
}

static tern_status cut_lock(void *context, const char *path, tern_file **out_lock,
                            tern_error *error) {
    struct power_cut_file_system *system = context;
    mutex_lock(&system->lock);
    tern_file *file = NULL;
    tern_status status = open_locked(system, path, TERN_OPEN_CREATE, &file, error);
    if (status == TERN_OK && open_of(file)->node->is_locked) {
        struct open_file *refused = open_of(file);
        system->files = refused->next;
        node_drop(refused->node);
        free(refused);
        status = ERROR_AT(error, TERN_LOCKED, path, -1, 0,
                          "the database is open in this test already; close it there");
    } else if (status == TERN_OK) {
        open_of(file)->is_lock = true;
        open_of(file)->node->is_locked = true;
        *out_lock = file;
    }
    mutex_unlock(&system->lock);
    return status;
}

static tern_status cut_open_queue(void *context, uint32_t depth, tern_io_queue **out_queue,
                                  tern_error *error) {
    struct power_cut_file_system *system = context;
    (void)depth;
    (void)error;
    mutex_lock(&system->lock);
    *out_queue = seeded_queue_create(seeded_random_next(&system->random));
    mutex_unlock(&system->lock);
    return TERN_OK;
}

static const tern_file_system interface_template = {
    .open = cut_open,
    .remove = cut_remove,
    .rename = cut_rename,
    .link = cut_link,
    .make_directory = cut_make_directory,
    .sync_directory = cut_sync_directory,
    .list = cut_list,
    .exists = cut_exists,
    .free_space = cut_free_space,
    .lock = cut_lock,
    .open_queue = cut_open_queue,
};

struct power_cut_file_system *power_cut_create(uint64_t seed) {
    struct power_cut_file_system *system = check_allocate(sizeof(*system));
    system->interface = interface_template;
    system->interface.context = system;
    mutex_init(&system->lock);
    seeded_random_init(&system->random, seed);
    system->root = node_create(true);
    return system;
}

const tern_file_system *power_cut_interface(struct power_cut_file_system *system) {
    return &system->interface;
}

void power_cut_destroy(struct power_cut_file_system *system) {
    if (system == NULL) {
        return;
    }
    CHECK(system->files == NULL);
    while (system->pending != NULL) {
        struct name_operation *next = system->pending->next;
        name_operation_destroy(system->pending);
        system->pending = next;
    }
    node_drop(system->root);
    mutex_destroy(&system->lock);
    free(system);
}

uint64_t power_cut_calls(struct power_cut_file_system *system) {
    mutex_lock(&system->lock);
    uint64_t calls = system->calls;
    mutex_unlock(&system->lock);
    return calls;
}

void power_cut_arm(struct power_cut_file_system *system, uint64_t call) {
    mutex_lock(&system->lock);
    CHECK(call == 0 || call > system->calls);
    system->armed_call = call;
    mutex_unlock(&system->lock);
}

void power_cut_now(struct power_cut_file_system *system) {
    mutex_lock(&system->lock);
    if (!system->is_off) {
        turn_off(system);
    }
    mutex_unlock(&system->lock);
}

bool power_cut_is_off(struct power_cut_file_system *system) {
    mutex_lock(&system->lock);
    bool is_off = system->is_off;
    mutex_unlock(&system->lock);
    return is_off;
}

void power_cut_fail_sync(struct power_cut_file_system *system, uint64_t count) {
    mutex_lock(&system->lock);
    system->failing_sync = count > 0 ? system->syncs + count : 0;
    mutex_unlock(&system->lock);
}

uint64_t power_cut_syncs(struct power_cut_file_system *system) {
    mutex_lock(&system->lock);
    uint64_t syncs = system->syncs;
    mutex_unlock(&system->lock);
    return syncs;
}

struct power_cut_file_system *power_cut_keeping(struct power_cut_file_system *system,
                                                enum power_cut_keep keep, uint64_t seed) {
    power_cut_now(system);
    struct power_cut_file_system *found = power_cut_create(seed);
    mutex_lock(&system->lock);
    struct node *root = survivors_of(system->root, system->pending, keep, &found->random);
    mutex_unlock(&system->lock);
    node_drop(found->root);
    found->root = root;
    return found;
}

struct power_cut_file_system *power_cut(struct power_cut_file_system *system, uint64_t seed) {
    return power_cut_keeping(system, POWER_CUT_KEEP_RANDOM, seed);
}
