/* SPDX-License-Identifier: Apache-2.0 */
/* The hash engine's table: unordered keyspaces, one index in memory, records in segments. */
#ifndef TERN_ENGINE_HASH_ENGINE_H
#define TERN_ENGINE_HASH_ENGINE_H

#include "engine/engine.h"

extern const struct engine_methods hash_engine_methods;

#endif
