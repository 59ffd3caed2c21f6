/* SPDX-License-Identifier: Apache-2.0 */
/* The LSM engine, for whoever registers engines. */
#ifndef TERN_ENGINE_LSM_ENGINE_H
#define TERN_ENGINE_LSM_ENGINE_H

#include "engine/engine.h"

extern const struct engine_methods lsm_engine_methods;

#endif
