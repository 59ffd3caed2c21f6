/* SPDX-License-Identifier: Apache-2.0 */
#define LOOKUP_VARIANT btree_lookup_avx512
#include "engine/btree/btree_lookup_body.h"
