/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fault_file_system.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "support/check.h"
#include "support/seeded_queue.h"

/* The same every time, so that the n-th call is. */
#define QUEUE_SEED 1

struct fault_file_system {
    tern_file_system interface;
    const tern_file_system *inner;
    pthread_mutex_t lock;
    struct fault_plan plan; /* kinds 0: none */
    uint64_t planned_calls; /* counted against plan.nth */
    uint64_t calls[FAULT_KINDS];
    uint64_t failures;
    uint64_t capacity_bytes;
    uint64_t used_bytes;
    uint64_t open_files;
};

struct fault_file {
    tern_file head;
    struct fault_file_system *system;
    tern_file *inner;
    char path[];
};

static struct fault_file *fault_of(tern_file *file) {
    return (struct fault_file *)file;
}

/* Counts a call; the status that it is to fail with, or TERN_OK. */
static tern_status count_call(struct fault_file_system *system, enum fault_kind kind,
                              const char *path, tern_error *error, bool *out_short_write) {
    (void)pthread_mutex_lock(&system->lock);
    system->calls[__builtin_ctz((unsigned)kind)]++;
    struct fault_plan plan = system->plan;
    bool fails = false;
    if ((plan.kinds & (unsigned)kind) != 0) {
        system->planned_calls++;
        fails = plan.sticky ? system->planned_calls >= plan.nth : system->planned_calls == plan.nth;
    }
    system->failures += fails ? 1 : 0;
    (void)pthread_mutex_unlock(&system->lock);
    if (!fails) {
        return TERN_OK;
    }
    if (out_short_write != NULL) {
        *out_short_write = plan.short_write;
    }
    tern_status status = plan.status != TERN_OK ? plan.status : TERN_IO;
    int reason = plan.system_errno != 0     ? plan.system_errno
                 : status == TERN_DISK_FULL ? ENOSPC
                 : status == TERN_NO_MEMORY ? ENOMEM
                                            : EIO;
    return ERROR_AT(error, status, path, -1, reason, "injected fault");
}

/* ---- space ---- */

/*
 * Takes the bytes by which a file of `size` grows to `end` from the free ones; returns how many of
 * them there were.
 */
static uint64_t take_space(struct fault_file_system *system, uint64_t size, uint64_t end) {
    uint64_t wanted = end > size ? end - size : 0;
    (void)pthread_mutex_lock(&system->lock);
    uint64_t free_bytes = UINT64_MAX;
    if (system->capacity_bytes != 0) {
        free_bytes = system->capacity_bytes > system->used_bytes
                         ? system->capacity_bytes - system->used_bytes
                         : 0;
    }
    uint64_t taken = wanted < free_bytes ? wanted : free_bytes;
    system->used_bytes += taken;
    system->failures += taken < wanted ? 1 : 0;
    (void)pthread_mutex_unlock(&system->lock);
    return taken;
}

static void give_space(struct fault_file_system *system, uint64_t bytes) {
    (void)pthread_mutex_lock(&system->lock);
    system->used_bytes -= bytes < system->used_bytes ? bytes : system->used_bytes;
    (void)pthread_mutex_unlock(&system->lock);
}

static uint64_t size_of_path(struct fault_file_system *system, const char *path) {
    const tern_file_system *inner = system->inner;
    tern_file *file = NULL;
    uint64_t size = 0;
    if (inner->open(inner->context, path, TERN_OPEN_READ, &file, NULL) != TERN_OK) {
        return 0;
    }
    if (file->methods->size(file, &size, NULL) != TERN_OK) {
        size = 0;
    }
    (void)file->methods->close(file, NULL);
    return size;
}

static tern_status full_error(const char *path, uint64_t offset, tern_error *error) {
    return ERROR_AT(error, TERN_DISK_FULL, path, offset, ENOSPC, "injected lack of space");
}

/* ---- open files ---- */

static tern_status fault_read(tern_file *file, uint64_t offset, void *buffer, size_t size,
                              size_t *out_size, tern_error *error) {
    struct fault_file *fault = fault_of(file);
    tern_status status = count_call(fault->system, FAULT_READ, fault->path, error, NULL);
    return status != TERN_OK
               ? status
               : fault->inner->methods->read(fault->inner, offset, buffer, size, out_size, error);
}

/* Writes the part that still can be written, in whole units of alignment. */
static void write_part(struct fault_file *fault, uint64_t offset, const void *buffer,
                       uint64_t size) {
    size_t part = (size_t)(size - size % fault->head.alignment_bytes);
    if (part > 0) {
        (void)(fault->inner->methods->write(fault->inner, offset, buffer, part, NULL) == TERN_OK);
    }
}

static tern_status fault_write(tern_file *file, uint64_t offset, const void *buffer, size_t size,
                               tern_error *error) {
    struct fault_file *fault = fault_of(file);
    bool is_short = false;
    tern_status status = count_call(fault->system, FAULT_WRITE, fault->path, error, &is_short);
    if (status != TERN_OK) {
        if (is_short) {
            write_part(fault, offset, buffer, size / 2);
        }
        return status;
    }
    uint64_t old_size = 0;
    status = fault->inner->methods->size(fault->inner, &old_size, error);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t end = offset + size;
    uint64_t taken = take_space(fault->system, old_size, end);
    if (end > old_size && taken < end - old_size) {
        uint64_t fits = old_size + taken > offset ? old_size + taken - offset : 0;
        write_part(fault, offset, buffer, fits);
        uint64_t new_size = old_size;
        (void)(fault->inner->methods->size(fault->inner, &new_size, NULL) == TERN_OK);
        give_space(fault->system, old_size + taken - new_size);
        return full_error(fault->path, offset, error);
    }
    return fault->inner->methods->write(fault->inner, offset, buffer, size, error);
}

/* One of each kind: it can fail as a write, and as a sync of what was written. */
static tern_status fault_write_durable(tern_file *file, uint64_t offset, const void *buffer,
                                       size_t size, tern_error *error) {
    struct fault_file *fault = fault_of(file);
    const tern_file_methods *inner = fault->inner->methods;
    bool is_short = false;
    tern_status status = count_call(fault->system, FAULT_WRITE, fault->path, error, &is_short);
    if (status != TERN_OK) {
        if (is_short) {
            write_part(fault, offset, buffer, size / 2);
        }
        return status;
    }
    status = count_call(fault->system, FAULT_SYNC, fault->path, error, NULL);
    if (status != TERN_OK) {
        write_part(fault, offset, buffer, size);
        return status;
    }
    if (inner->write_durable != NULL) {
        return inner->write_durable(fault->inner, offset, buffer, size, error);
    }
    status = inner->write(fault->inner, offset, buffer, size, error);
    return status == TERN_OK ? inner->sync(fault->inner, error) : status;
}

static tern_status fault_sync(tern_file *file, tern_error *error) {
    struct fault_file *fault = fault_of(file);
    tern_status status = count_call(fault->system, FAULT_SYNC, fault->path, error, NULL);
    return status != TERN_OK ? status : fault->inner->methods->sync(fault->inner, error);
}

static tern_status fault_size(tern_file *file, uint64_t *out_size, tern_error *error) {
    struct fault_file *fault = fault_of(file);
    tern_status status = count_call(fault->system, FAULT_SIZE, fault->path, error, NULL);
    return status != TERN_OK ? status : fault->inner->methods->size(fault->inner, out_size, error);
}

static tern_status fault_truncate(tern_file *file, uint64_t size, tern_error *error) {
    struct fault_file *fault = fault_of(file);
    uint64_t old_size = 0;
    tern_status status = count_call(fault->system, FAULT_TRUNCATE, fault->path, error, NULL);
    if (status == TERN_OK) {
        status = fault->inner->methods->size(fault->inner, &old_size, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    uint64_t taken = take_space(fault->system, old_size, size);
    if (size > old_size && taken < size - old_size) {
        give_space(fault->system, taken);
        return full_error(fault->path, size, error);
    }
    status = fault->inner->methods->truncate(fault->inner, size, error);
    if (status == TERN_OK && size < old_size) {
        give_space(fault->system, old_size - size);
    }
    return status;
}

static tern_status fault_allocate(tern_file *file, uint64_t offset, uint64_t size,
                                  tern_error *error) {
    struct fault_file *fault = fault_of(file);
    uint64_t old_size = 0;
    tern_status status = count_call(fault->system, FAULT_ALLOCATE, fault->path, error, NULL);
    if (status == TERN_OK) {
        status = fault->inner->methods->size(fault->inner, &old_size, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    uint64_t taken = take_space(fault->system, old_size, offset + size);
    if (offset + size > old_size && taken < offset + size - old_size) {
        give_space(fault->system, taken);
        return full_error(fault->path, offset, error);
    }
    return fault->inner->methods->allocate(fault->inner, offset, size, error);
}

static tern_status fault_map(tern_file *file, size_t size, void **out_memory, tern_error *error) {
    struct fault_file *fault = fault_of(file);
    tern_status status = count_call(fault->system, FAULT_MAP, fault->path, error, NULL);
    return status != TERN_OK ? status
                             : fault->inner->methods->map(fault->inner, size, out_memory, error);
}

static void fault_unmap(tern_file *file, void *memory, size_t size) {
    fault_of(file)->inner->methods->unmap(fault_of(file)->inner, memory, size);
}

static void fault_advise(tern_file *file, uint64_t offset, uint64_t size, bool will_need) {
    fault_of(file)->inner->methods->advise(fault_of(file)->inner, offset, size, will_need);
}

/* No descriptor: what goes past the wrapper cannot be made to fail. */
static int fault_descriptor(tern_file *file) {
    (void)file;
    return -1;
}

static tern_status fault_close(tern_file *file, tern_error *error) {
    struct fault_file *fault = fault_of(file);
    struct fault_file_system *system = fault->system;
    tern_status status = count_call(system, FAULT_CLOSE, fault->path, error, NULL);
    tern_status closed =
        fault->inner->methods->close(fault->inner, status == TERN_OK ? error : NULL);
    (void)pthread_mutex_lock(&system->lock);
    system->open_files--;
    (void)pthread_mutex_unlock(&system->lock);
    free(fault);
    return status != TERN_OK ? status : closed;
}

static const tern_file_methods methods = {
    .read = fault_read,
    .write = fault_write,
    .sync = fault_sync,
    .size = fault_size,
    .truncate = fault_truncate,
    .allocate = fault_allocate,
    .map = fault_map,
    .unmap = fault_unmap,
    .advise = fault_advise,
    .descriptor = fault_descriptor,
    .close = fault_close,
    .write_durable = fault_write_durable,
};

static tern_file *wrap(struct fault_file_system *system, tern_file *inner, const char *path) {
    size_t path_size = strlen(path) + 1;
    struct fault_file *file = check_allocate(sizeof(*file) + path_size);
    file->head.methods = &methods;
    file->head.alignment_bytes = inner->alignment_bytes;
    file->head.flags = inner->flags;
    file->system = system;
    file->inner = inner;
    memcpy(file->path, path, path_size);
    (void)pthread_mutex_lock(&system->lock);
    system->open_files++;
    (void)pthread_mutex_unlock(&system->lock);
    return &file->head;
}

/* ---- the file system ---- */

static tern_status fault_open(void *context, const char *path, uint32_t flags, tern_file **out_file,
                              tern_error *error) {
    struct fault_file_system *system = context;
    tern_status status = count_call(system, FAULT_OPEN, path, error, NULL);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t freed = (flags & TERN_OPEN_TRUNCATE) != 0 ? size_of_path(system, path) : 0;
    tern_file *inner = NULL;
    status = system->inner->open(system->inner->context, path, flags, &inner, error);
    if (status == TERN_OK) {
        give_space(system, freed);
        *out_file = wrap(system, inner, path);
    }
    return status;
}

static tern_status fault_remove(void *context, const char *path, tern_error *error) {
    struct fault_file_system *system = context;
    tern_status status = count_call(system, FAULT_REMOVE, path, error, NULL);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t freed = size_of_path(system, path);
    status = system->inner->remove(system->inner->context, path, error);
    if (status == TERN_OK) {
        give_space(system, freed);
    }
    return status;
}

static tern_status fault_rename(void *context, const char *from, const char *to,
                                tern_error *error) {
    struct fault_file_system *system = context;
    tern_status status = count_call(system, FAULT_RENAME, from, error, NULL);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t freed = strcmp(from, to) != 0 ? size_of_path(system, to) : 0;
    status = system->inner->rename(system->inner->context, from, to, error);
    if (status == TERN_OK) {
        give_space(system, freed);
    }
    return status;
}

static tern_status fault_link(void *context, const char *from, const char *to, tern_error *error) {
    struct fault_file_system *system = context;
    tern_status status = count_call(system, FAULT_LINK, from, error, NULL);
    return status != TERN_OK ? status
                             : system->inner->link(system->inner->context, from, to, error);
}

static tern_status fault_make_directory(void *context, const char *path, tern_error *error) {
    struct fault_file_system *system = context;
    tern_status status = count_call(system, FAULT_MAKE_DIRECTORY, path, error, NULL);
    return status != TERN_OK ? status
                             : system->inner->make_directory(system->inner->context, path, error);
}

static tern_status fault_sync_directory(void *context, const char *path, tern_error *error) {
    struct fault_file_system *system = context;
    tern_status status = count_call(system, FAULT_SYNC_DIRECTORY, path, error, NULL);
    return status != TERN_OK ? status
                             : system->inner->sync_directory(system->inner->context, path, error);
}

static tern_status fault_list(void *context, const char *path, tern_list_visitor visit,
                              void *visit_context, tern_error *error) {
    struct fault_file_system *system = context;
    tern_status status = count_call(system, FAULT_LIST, path, error, NULL);
    return status != TERN_OK
               ? status
               : system->inner->list(system->inner->context, path, visit, visit_context, error);
}

static tern_status fault_exists(void *context, const char *path, tern_error *error) {
    struct fault_file_system *system = context;
    tern_status status = count_call(system, FAULT_EXISTS, path, error, NULL);
    return status != TERN_OK ? status : system->inner->exists(system->inner->context, path, error);
}

static tern_status fault_free_space(void *context, const char *path, uint64_t *out_bytes,
                                    tern_error *error) {
    struct fault_file_system *system = context;
    tern_status status = count_call(system, FAULT_FREE_SPACE, path, error, NULL);
    if (status != TERN_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&system->lock);
    uint64_t capacity = system->capacity_bytes;
    uint64_t used = system->used_bytes;
    (void)pthread_mutex_unlock(&system->lock);
    if (capacity != 0) {
        *out_bytes = capacity > used ? capacity - used : 0;
        return TERN_OK;
    }
    return system->inner->free_space(system->inner->context, path, out_bytes, error);
}

static tern_status fault_lock(void *context, const char *path, tern_file **out_lock,
                              tern_error *error) {
    struct fault_file_system *system = context;
    tern_status status = count_call(system, FAULT_LOCK, path, error, NULL);
    if (status != TERN_OK) {
        return status;
    }
    tern_file *inner = NULL;
    status = system->inner->lock(system->inner->context, path, &inner, error);
    if (status == TERN_OK) {
        *out_lock = wrap(system, inner, path);
    }
    return status;
}

/* Of no kind: what has no queue does without. */
static tern_status fault_open_queue(void *context, uint32_t depth, tern_io_queue **out_queue,
                                    tern_error *error) {
    (void)context;
    (void)depth;
    (void)error;
    *out_queue = seeded_queue_create(QUEUE_SEED);
    return TERN_OK;
}

static const tern_file_system interface_template = {
    .open = fault_open,
    .remove = fault_remove,
    .rename = fault_rename,
    .link = fault_link,
    .make_directory = fault_make_directory,
    .sync_directory = fault_sync_directory,
    .list = fault_list,
    .exists = fault_exists,
    .free_space = fault_free_space,
    .lock = fault_lock,
    .open_queue = fault_open_queue,
};

struct fault_file_system *fault_file_system_create(const tern_file_system *inner) {
    struct fault_file_system *system = check_allocate(sizeof(*system));
    system->interface = interface_template;
    system->interface.context = system;
    system->inner = inner;
    (void)pthread_mutex_init(&system->lock, NULL);
    return system;
}

const tern_file_system *fault_file_system_interface(struct fault_file_system *system) {
    return &system->interface;
}

void fault_file_system_destroy(struct fault_file_system *system) {
    if (system == NULL) {
        return;
    }
    CHECK(system->open_files == 0);
    (void)pthread_mutex_destroy(&system->lock);
    free(system);
}

void fault_file_system_arm(struct fault_file_system *system, const struct fault_plan *plan) {
    CHECK(plan->nth > 0);
    (void)pthread_mutex_lock(&system->lock);
    system->plan = *plan;
    system->planned_calls = 0;
    (void)pthread_mutex_unlock(&system->lock);
}

void fault_file_system_disarm(struct fault_file_system *system) {
    (void)pthread_mutex_lock(&system->lock);
    system->plan = (struct fault_plan){0};
    (void)pthread_mutex_unlock(&system->lock);
}

uint64_t fault_file_system_calls(struct fault_file_system *system, uint32_t kinds) {
    uint64_t calls = 0;
    (void)pthread_mutex_lock(&system->lock);
    for (unsigned i = 0; i < FAULT_KINDS; i++) {
        calls += (kinds >> i & 1) != 0 ? system->calls[i] : 0;
    }
    (void)pthread_mutex_unlock(&system->lock);
    return calls;
}

uint64_t fault_file_system_failures(struct fault_file_system *system) {
    (void)pthread_mutex_lock(&system->lock);
    uint64_t failures = system->failures;
    (void)pthread_mutex_unlock(&system->lock);
    return failures;
}

void fault_file_system_set_capacity(struct fault_file_system *system, uint64_t bytes) {
    (void)pthread_mutex_lock(&system->lock);
    system->capacity_bytes = bytes;
    (void)pthread_mutex_unlock(&system->lock);
}

uint64_t fault_file_system_used(struct fault_file_system *system) {
    (void)pthread_mutex_lock(&system->lock);
    uint64_t used = system->used_bytes;
    (void)pthread_mutex_unlock(&system->lock);
    return used;
}
