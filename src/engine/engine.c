/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

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
