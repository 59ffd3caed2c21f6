/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fault_allocator.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

#define BUCKETS 4096u
/* What new memory holds, so that nobody gets away with reading it. */
#define FRESH_BYTE 0xa5

/* In front of every block. A pointer is known live by its bucket, never by what it points at. */
struct block {
    struct block *next;
    size_t size_bytes;
    max_align_t content[];
};

struct fault_allocator {
    tern_allocator interface;
    pthread_mutex_t lock;
    uint64_t calls;
    uint64_t failing_call; /* 0: none */
    bool is_sticky;
    uint64_t failures;
    uint64_t live_blocks;
    uint64_t live_bytes;
    uint64_t peak_bytes;
    uint64_t misuses;
    struct block *buckets[BUCKETS];
};

static struct block **bucket_of(struct fault_allocator *allocator, const void *memory) {
    return &allocator->buckets[((uintptr_t)memory >> 4) * 0x9e3779b1u % BUCKETS];
}

static bool fails_now(struct fault_allocator *allocator) {
    allocator->calls++;
    bool fails = allocator->failing_call != 0 &&
                 (allocator->is_sticky ? allocator->calls >= allocator->failing_call
                                       : allocator->calls == allocator->failing_call);
    allocator->failures += fails ? 1 : 0;
    return fails;
}

static void *add_block(struct fault_allocator *allocator, size_t size) {
    struct block *block = malloc(sizeof(*block) + size);
    if (block == NULL) {
        return NULL;
    }
    memset(block->content, FRESH_BYTE, size);
    block->size_bytes = size;
    struct block **bucket = bucket_of(allocator, block->content);
    block->next = *bucket;
    *bucket = block;
    allocator->live_blocks++;
    allocator->live_bytes += size;
    if (allocator->live_bytes > allocator->peak_bytes) {
        allocator->peak_bytes = allocator->live_bytes;
    }
    return block->content;
}

/* The place of a live block in its list, or NULL after counting the misuse. */
static struct block **find_block(struct fault_allocator *allocator, const void *memory,
                                 const char *what) {
    struct block **place = bucket_of(allocator, memory);
    while (*place != NULL && (const void *)(*place)->content != memory) {
        place = &(*place)->next;
    }
    if (*place == NULL) {
        allocator->misuses++;
        (void)fprintf(stderr, "fault allocator: %s of %p, which is not live\n", what, memory);
        return NULL;
    }
    return place;
}

static void remove_block(struct fault_allocator *allocator, struct block **place) {
    struct block *block = *place;
    *place = block->next;
    allocator->live_blocks--;
    allocator->live_bytes -= block->size_bytes;
    free(block);
}

static void *fault_allocate(void *context, size_t size) {
    struct fault_allocator *allocator = context;
    (void)pthread_mutex_lock(&allocator->lock);
    void *memory = fails_now(allocator) ? NULL : add_block(allocator, size);
    (void)pthread_mutex_unlock(&allocator->lock);
    return memory;
}

/* Always moves, so that nobody gets away with keeping the old pointer. */
static void *fault_resize(void *context, void *memory, size_t size) {
    struct fault_allocator *allocator = context;
    if (memory == NULL) {
        return fault_allocate(context, size);
    }
    (void)pthread_mutex_lock(&allocator->lock);
    void *resized = NULL;
    struct block **place = find_block(allocator, memory, "resizing");
    if (!fails_now(allocator) && place != NULL) {
        size_t old_size = (*place)->size_bytes;
        resized = add_block(allocator, size);
        if (resized != NULL) {
            memcpy(resized, memory, old_size < size ? old_size : size);
            remove_block(allocator, find_block(allocator, memory, "resizing"));
        }
    }
    (void)pthread_mutex_unlock(&allocator->lock);
    return resized;
}

static void fault_release(void *context, void *memory) {
    struct fault_allocator *allocator = context;
    if (memory == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&allocator->lock);
    struct block **place = find_block(allocator, memory, "release");
    if (place != NULL) {
        remove_block(allocator, place);
    }
    (void)pthread_mutex_unlock(&allocator->lock);
}

struct fault_allocator *fault_allocator_create(void) {
    struct fault_allocator *allocator = check_allocate(sizeof(*allocator));
    allocator->interface = (tern_allocator){allocator, fault_allocate, fault_resize, fault_release};
    (void)pthread_mutex_init(&allocator->lock, NULL);
    return allocator;
}

const tern_allocator *fault_allocator_interface(struct fault_allocator *allocator) {
    return &allocator->interface;
}

void fault_allocator_destroy(struct fault_allocator *allocator) {
    if (allocator == NULL) {
        return;
    }
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct block *block = allocator->buckets[i]; block != NULL; block = block->next) {
            (void)fprintf(stderr, "fault allocator: leak of %zu bytes at %p\n", block->size_bytes,
                          (void *)block->content);
        }
    }
    CHECK(allocator->live_blocks == 0);
    CHECK(allocator->misuses == 0);
    (void)pthread_mutex_destroy(&allocator->lock);
    free(allocator);
}

void fault_allocator_fail(struct fault_allocator *allocator, uint64_t nth, bool sticky) {
    (void)pthread_mutex_lock(&allocator->lock);
    allocator->failing_call = nth > 0 ? allocator->calls + nth : 0;
    allocator->is_sticky = sticky;
    (void)pthread_mutex_unlock(&allocator->lock);
}

static uint64_t read_count(struct fault_allocator *allocator, const uint64_t *count) {
    (void)pthread_mutex_lock(&allocator->lock);
    uint64_t value = *count;
    (void)pthread_mutex_unlock(&allocator->lock);
    return value;
}

uint64_t fault_allocator_calls(struct fault_allocator *allocator) {
    return read_count(allocator, &allocator->calls);
}

uint64_t fault_allocator_failures(struct fault_allocator *allocator) {
    return read_count(allocator, &allocator->failures);
}

uint64_t fault_allocator_live_blocks(struct fault_allocator *allocator) {
    return read_count(allocator, &allocator->live_blocks);
}

uint64_t fault_allocator_live_bytes(struct fault_allocator *allocator) {
    return read_count(allocator, &allocator->live_bytes);
}

uint64_t fault_allocator_peak_bytes(struct fault_allocator *allocator) {
    return read_count(allocator, &allocator->peak_bytes);
}

uint64_t fault_allocator_misuses(struct fault_allocator *allocator) {
    return read_count(allocator, &allocator->misuses);
}

void fault_allocator_forgive_misuses(struct fault_allocator *allocator) {
    (void)pthread_mutex_lock(&allocator->lock);
    allocator->misuses = 0;
    (void)pthread_mutex_unlock(&allocator->lock);
}
