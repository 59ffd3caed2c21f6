/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "simd/hash.h"

uint64_t engine_key_hash(uint64_t seed, tern_slice key) {
    return hash_u64(key.data, key.size, seed);
}

void engine_scratch_init(struct engine_scratch *scratch, const tern_allocator *allocator) {
    buffer_init(&scratch->value, allocator);
    buffer_init(&scratch->spare, allocator);
}

void engine_scratch_release(struct engine_scratch *scratch) {
    buffer_release(&scratch->value);
    buffer_release(&scratch->spare);
}

static void destroy_view(struct epoch_node *node) {
    struct engine_view *view =
        (struct engine_view *)((char *)node - offsetof(struct engine_view, limbo));
    view->methods->view_destroy(view);
}

void engine_view_release(struct engine_view *view, struct epoch_domain *epoch) {
    if (view != NULL &&
        atomic_fetch_sub_explicit(&view->references, 1, memory_order_acq_rel) == 1) {
        epoch_retire(epoch, &view->limbo, destroy_view);
    }
}

bool engine_views_are_held(const struct engine_view *current, const _Atomic uint64_t *views) {
    return atomic_load_explicit(&current->references, memory_order_acquire) > 1 ||
           atomic_load_explicit(views, memory_order_acquire) > 1;
}

/* ---- values in the log: u64 token, u64 size, zeros ---- */

void engine_logged_reference(uint64_t token, uint64_t size_bytes,
                             uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX]) {
    memset(out_reference, 0, ENGINE_LARGE_REFERENCE_BYTES_MAX);
    put_u64(out_reference, token);
    put_u64(out_reference + 8, size_bytes);
}

uint64_t engine_logged_size(tern_slice reference) {
    return get_u64((const uint8_t *)reference.data + 8);
}

tern_status engine_logged_read(const struct engine_environment *environment, tern_slice reference,
                               uint64_t offset, void *buffer, size_t capacity, size_t *out_size,
                               tern_error *error) {
    const struct engine_logged_values *logged = environment->logged;
    uint64_t size = engine_logged_size(reference);
    uint64_t left = offset < size ? size - offset : 0;
    size_t wanted = left < capacity ? (size_t)left : capacity;
    size_t got = 0;
    tern_status status =
        logged->read(logged->context, get_u64(reference.data), offset, buffer, wanted, &got, error);
    if (status == TERN_OK && got < wanted) {
        status = ERROR_SET(error, TERN_CORRUPTION, "a large value in the log ends early");
    }
    if (status == TERN_OK) {
        *out_size = got;
    }
    return status;
}

tern_status engine_logged_load(const struct engine_environment *environment, tern_slice reference,
                               struct buffer *out_value, tern_error *error) {
    uint64_t size = engine_logged_size(reference);
    out_value->size = 0;
    if (size > SIZE_MAX / 2 || buffer_reserve(out_value, (size_t)size + 1) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a value stored apart");
    }
    return engine_logged_read(environment, reference, 0, out_value->data, (size_t)size,
                              &out_value->size, error);
}
