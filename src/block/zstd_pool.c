/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts of zstd are costly to make (hundreds of KiB) and cheap to use again, and a block may be
 * packed or unpacked on any thread. A few idle ones are kept for the whole process, each in a slot
 * that is emptied and filled by an exchange: nobody waits, and whoever finds all slots empty makes
 * a context of its own. At most POOL_SLOTS of either kind stay behind; they are released when the
 * library is unloaded. The memory is zstd's own (malloc), not of the allocator given at open.
 */
#include <stdatomic.h>
#include <zstd.h>

#include "block/codec_internal.h"

#define POOL_SLOTS 8
/* Blocks are small and read far more often than written; higher levels gain little on them. */
#define ZSTD_LEVEL 1

static _Atomic(ZSTD_CCtx *) compressors[POOL_SLOTS];
static _Atomic(ZSTD_DCtx *) decompressors[POOL_SLOTS];

__attribute__((destructor)) static void empty_pool(void) {
    for (unsigned i = 0; i < POOL_SLOTS; i++) {
        (void)ZSTD_freeCCtx(atomic_exchange(&compressors[i], NULL));
        (void)ZSTD_freeDCtx(atomic_exchange(&decompressors[i], NULL));
    }
}

static ZSTD_CCtx *take_compressor(void) {
    for (unsigned i = 0; i < POOL_SLOTS; i++) {
        if (atomic_load_explicit(&compressors[i], memory_order_relaxed) != NULL) {
            ZSTD_CCtx *context =
                atomic_exchange_explicit(&compressors[i], NULL, memory_order_acquire);
            if (context != NULL) {
                return context;
            }
        }
    }
    return ZSTD_createCCtx();
}

static void put_compressor(ZSTD_CCtx *context) {
    for (unsigned i = 0; i < POOL_SLOTS; i++) {
        ZSTD_CCtx *expected = NULL;
        if (atomic_load_explicit(&compressors[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong_explicit(&compressors[i], &expected, context,
                                                    memory_order_release, memory_order_relaxed)) {
            return;
        }
    }
    (void)ZSTD_freeCCtx(context);
}

static ZSTD_DCtx *take_decompressor(void) {
    for (unsigned i = 0; i < POOL_SLOTS; i++) {
        if (atomic_load_explicit(&decompressors[i], memory_order_relaxed) != NULL) {
            ZSTD_DCtx *context =
                atomic_exchange_explicit(&decompressors[i], NULL, memory_order_acquire);
            if (context != NULL) {
                return context;
            }
        }
    }
    return ZSTD_createDCtx();
}

static void put_decompressor(ZSTD_DCtx *context) {
    for (unsigned i = 0; i < POOL_SLOTS; i++) {
        ZSTD_DCtx *expected = NULL;
        if (atomic_load_explicit(&decompressors[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong_explicit(&decompressors[i], &expected, context,
                                                    memory_order_release, memory_order_relaxed)) {
            return;
        }
    }
    (void)ZSTD_freeDCtx(context);
}

/* Returns the compressed size, or 0. */
size_t zstd_pool_compress(const void *raw, size_t raw_bytes, void *target, size_t capacity,
                          bool *out_has_memory) {
    ZSTD_CCtx *context = take_compressor();
    *out_has_memory = context != NULL;
    if (context == NULL) {
        return 0;
    }
    size_t size = ZSTD_compressCCtx(context, target, capacity, raw, raw_bytes, ZSTD_LEVEL);
    put_compressor(context);
    if (ZSTD_isError(size)) {
        /* The target is large enough, so only its tables can have failed it. */
        *out_has_memory = false;
        return 0;
    }
    return size;
}

bool zstd_pool_decompress(const void *stored, size_t stored_bytes, void *target, size_t raw_bytes,
                          bool *out_has_memory) {
    ZSTD_DCtx *context = take_decompressor();
    *out_has_memory = context != NULL;
    if (context == NULL) {
        return false;
    }
    size_t size = ZSTD_decompressDCtx(context, target, raw_bytes, stored, stored_bytes);
    put_decompressor(context);
    return !ZSTD_isError(size) && size == raw_bytes;
}
