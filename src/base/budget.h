/* SPDX-License-Identifier: Apache-2.0 */
/* Who uses how much of the one memory budget. */
#ifndef TERN_BASE_BUDGET_H
#define TERN_BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum budget_share {
    BUDGET_OVERLAY, /* active and frozen overlays with their filters */
    BUDGET_CACHE,   /* frames */
    BUDGET_INDEX,   /* inner nodes, hash index, table indexes and filters */
    BUDGET_OTHER,   /* write sets, conflict table, pins, scratch of drains */
    BUDGET_SHARES
};

/* Atomic; any thread. */
struct budget {
    uint64_t limit_bytes;
    _Atomic uint64_t used_bytes[BUDGET_SHARES];
    _Atomic uint64_t spilled_bytes; /* moved from overlays to temporary files: no memory */
};

static inline void budget_add(struct budget *budget, enum budget_share share, uint64_t bytes) {
    atomic_fetch_add_explicit(&budget->used_bytes[share], bytes, memory_order_relaxed);
}

static inline void budget_subtract(struct budget *budget, enum budget_share share, uint64_t bytes) {
    atomic_fetch_sub_explicit(&budget->used_bytes[share], bytes, memory_order_relaxed);
}

static inline void budget_note_spilled(struct budget *budget, int64_t bytes) {
    atomic_fetch_add_explicit(&budget->spilled_bytes, (uint64_t)bytes, memory_order_relaxed);
}

static inline uint64_t budget_used(const struct budget *budget, enum budget_share share) {
    return atomic_load_explicit(&budget->used_bytes[share], memory_order_relaxed);
}

#endif
