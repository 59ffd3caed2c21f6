/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/hash/hash_order.h"

#include "base/error.h"

/* Items of a part: 2 MiB of them, or of a large budget this part, up to 16 MiB. The larger, the
 * fewer runs lie in the order of the hashes, and the fewer rounds through what is on disk. */
#define ITEMS_LEAST    ((size_t)131072)
#define ITEMS_MOST     ((size_t)1048576)
#define BUDGET_PART    16u
#define ITEMS_MIN      ((size_t)1024)
#define HASH_BYTES     8u
#define INSERTION_MOST 24u
/* A version is on its way to the processor so many before it is handed out. */
#define AHEAD 12u

void version_order_begin(struct version_order *order, const struct hash_memory *memory) {
    order->walk = memory_walk_begin(memory);
    order->count = order->next = order->sorted = 0;
    order->is_gathering = false;
}

void version_order_release(struct version_order *order) {
    if (order->budget != NULL) {
        budget_subtract(order->budget, BUDGET_OTHER, order->capacity * sizeof(order->items[0]));
    }
    memory_release(order->allocator, order->items);
    order->items = NULL;
    order->count = order->capacity = order->next = order->sorted = 0;
    order->is_gathering = false;
}

static bool grow(struct version_order *order) {
    size_t capacity = order->capacity == 0            ? ITEMS_MIN
                      : order->capacity < ITEMS_LEAST ? order->capacity * 2
                                                      : order->capacity + order->capacity / 4;
    void *grown = memory_resize(order->allocator, order->items, capacity * sizeof(order->items[0]));
    if (grown == NULL) {
        return false;
    }
    if (order->budget != NULL) {
        budget_add(order->budget, BUDGET_OTHER,
                   (capacity - order->capacity) * sizeof(order->items[0]));
    }
    order->items = grown;
    order->capacity = capacity;
    return true;
}

static unsigned byte_of(const struct hashed_item *item, unsigned byte) {
    return (unsigned)(item->hash >> (8 * (HASH_BYTES - 1 - byte))) & 0xff;
}

static void sort_few(struct hashed_item *items, size_t count) {
    for (size_t i = 1; i < count; i++) {
        const struct hashed_item item = items[i];
        size_t at = i;
        for (; at > 0 && items[at - 1].hash > item.hash; at--) {
            items[at] = items[at - 1];
        }
        items[at] = item;
    }
}

/* Exchanges items until each is in the part of its byte (American flag sort). */
static void sort_by(struct hashed_item *items, size_t count, unsigned byte, size_t ends[256]) {
    size_t next[256];
    size_t counts[256] = {0};
    for (size_t i = 0; i < count; i++) {
        counts[byte_of(&items[i], byte)]++;
    }
    size_t sum = 0;
    for (unsigned i = 0; i < 256; i++) {
        next[i] = sum;
        sum += counts[i];
        ends[i] = sum;
    }
    for (unsigned i = 0; i < 256; i++) {
        while (next[i] < ends[i]) {
            struct hashed_item *item = &items[next[i]];
            unsigned home = byte_of(item, byte);
            if (home == i) {
                next[i]++;
            } else {
                const struct hashed_item moved = *item;
                *item = items[next[home]];
                items[next[home]++] = moved;
            }
        }
    }
}

/* Eight levels deep at most. */
static void sort_rest(struct hashed_item *items, size_t count, unsigned byte) {
    if (count <= INSERTION_MOST || byte == HASH_BYTES) {
        if (byte < HASH_BYTES) {
            sort_few(items, count);
        }
        return;
    }
    size_t ends[256];
    sort_by(items, count, byte, ends);
    for (unsigned i = 0; i < 256; i++) {
        size_t begin = i == 0 ? 0 : ends[i - 1];
        sort_rest(items + begin, ends[i] - begin, byte + 1);
    }
}

void hashed_items_sort(struct hashed_item *items, size_t count) {
    sort_rest(items, count, 0);
}

static size_t items_max(const struct version_order *order) {
    uint64_t limit = order->budget != NULL ? order->budget->limit_bytes : 0;
    uint64_t items = limit / BUDGET_PART / sizeof(struct hashed_item);
    items = items < ITEMS_MOST ? items : ITEMS_MOST;
    return items > ITEMS_LEAST ? (size_t)items : ITEMS_LEAST;
}

/* The next part of the memory, in the order of the first bytes; some of it at a time. */
static tern_status gather(struct version_order *order, tern_error *error) {
    size_t most = items_max(order);
    if (!order->is_gathering) {
        order->count = order->next = order->sorted = 0;
    }
    size_t end = order->count + ITEMS_LEAST < most ? order->count + ITEMS_LEAST : most;
    order->is_gathering = end < most;
    while (order->count < end) {
        struct memory_walk before = order->walk;
        struct hash_version *version = memory_walk_next(&order->walk);
        if (version == NULL) {
            order->is_gathering = false;
            break;
        }
        if (version->kind == CHANGE_DELETE_RANGE) {
            continue;
        }
        if (order->count == order->capacity && !grow(order)) {
            order->walk = before;
            order->is_gathering = false;
            if (order->count == 0) {
                return ERROR_NO_MEMORY(error, "a drain");
            }
            break; /* a smaller part does, too */
        }
        order->items[order->count++] =
            (struct hashed_item){version->hash, (uint64_t)(uintptr_t)version};
    }
    if (!order->is_gathering && order->count > 0) {
        size_t ends[256];
        sort_by(order->items, order->count, 0, ends);
    }
    return TERN_OK;
}

/* Its head, and as much of key and value as is short. */
static void prefetch_version(const struct hashed_item *item) {
    const char *at = (const char *)(uintptr_t)item->item;
    __builtin_prefetch(at);
    __builtin_prefetch(at + 64);
    __builtin_prefetch(at + 128);
}

tern_status version_order_next(struct version_order *order, struct hash_version **out_version,
                               tern_error *error) {
    if (order->next == order->count || order->is_gathering) {
        tern_status status = gather(order, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    if (order->is_gathering) {
        *out_version = NULL;
        return TERN_OK;
    }
    if (order->next == order->count) {
        *out_version = NULL;
        return TERN_OK;
    }
    if (order->next == order->sorted) {
        unsigned first = byte_of(&order->items[order->next], 0);
        size_t end = order->next;
        while (end < order->count && byte_of(&order->items[end], 0) == first) {
            end++;
        }
        sort_rest(order->items + order->next, end - order->next, 1);
        order->sorted = end;
    }
    if (order->next + AHEAD < order->sorted) {
        prefetch_version(&order->items[order->next + AHEAD]);
    }
    *out_version = (struct hash_version *)(uintptr_t)order->items[order->next++].item;
    return TERN_OK;
}
