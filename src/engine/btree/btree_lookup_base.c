/* SPDX-License-Identifier: Apache-2.0 */
#define LOOKUP_VARIANT btree_lookup_base
#include "engine/btree/btree_lookup_body.h"
