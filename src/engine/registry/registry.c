/* SPDX-License-Identifier: Apache-2.0 */
/* The one place below the database that knows engines by name. */
#include "engine/btree/btree_engine.h"
#include "engine/engine.h"
#include "engine/hash/hash_engine.h"
#include "engine/lsm/lsm_engine.h"

const struct engine_methods *engine_methods_of(tern_engine_kind kind) {
    switch (kind) {
    case TERN_ENGINE_DEFAULT:
    case TERN_ENGINE_BTREE:
        return &btree_engine_methods;
    case TERN_ENGINE_HASH:
        return &hash_engine_methods;
    case TERN_ENGINE_LSM:
        return &lsm_engine_methods;
    default:
        return NULL;
    }
}
