/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

void plain_fnv1a(const tern_slice *strings, size_t count, uint64_t state, uint64_t *out_hashes) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *bytes = strings[i].data;
        uint64_t hash = state;
        for (size_t at = 0; at < strings[i].size; at++) {
            hash = (hash ^ bytes[at]) * 0x100000001b3u;
        }
        out_hashes[i] = hash;
    }
}
