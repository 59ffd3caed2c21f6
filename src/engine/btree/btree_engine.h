/* SPDX-License-Identifier: Apache-2.0 */
/* The B+tree engine, for whoever registers engines. */
#ifndef TERN_ENGINE_BTREE_ENGINE_H
#define TERN_ENGINE_BTREE_ENGINE_H

#include "engine/engine.h"

extern const struct engine_methods btree_engine_methods;

#endif
