/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of LSM keyspaces as catalogs keep them (manifest, log, dump): bits of the filters for
 * each key (0: none), and four bits for each level, the lowest those of level 0: 0, or
 * TERN_LEVEL_COMPRESSION.
 */
#ifndef TERN_ENGINE_LSM_OPTIONS_H
#define TERN_ENGINE_LSM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <tern/keyspace.h>

#define LSM_FILTER_BITS_DEFAULT 10u

static inline uint8_t lsm_options_filter(const tern_keyspace_options *options) {
    uint32_t bits = options->filter_bits;
    return bits == TERN_FILTER_OFF ? 0 : (uint8_t)(bits == 0 ? LSM_FILTER_BITS_DEFAULT : bits);
}

static inline uint32_t lsm_options_levels(const tern_keyspace_options *options) {
    uint32_t levels = 0;
    for (uint32_t i = 0; i < TERN_LSM_LEVELS; i++) {
        levels |= (uint32_t)(options->level_compression[i] & 15u) << 4 * i;
    }
    return levels;
}

/* Whether they are other than the defaults: else they are not written. */
static inline bool lsm_options_are_special(const tern_keyspace_options *options) {
    return options->engine == TERN_ENGINE_LSM &&
           (lsm_options_filter(options) != LSM_FILTER_BITS_DEFAULT ||
            lsm_options_levels(options) != 0);
}

static inline void lsm_options_read(tern_keyspace_options *options, uint32_t filter,
                                    uint32_t levels) {
    options->filter_bits = filter == 0 ? TERN_FILTER_OFF : filter;
    for (uint32_t i = 0; i < TERN_LSM_LEVELS; i++) {
        options->level_compression[i] = (uint8_t)(levels >> 4 * i & 15u);
    }
}

#endif
