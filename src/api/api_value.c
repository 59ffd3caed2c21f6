/* SPDX-License-Identifier: Apache-2.0 */
#include <tern/value.h>

#include "txn/point_read.h"

void tern_value_release(tern_value *value) {
    if (value != NULL && value->hold[0] != NULL) {
        value_release(value);
    } else if (value != NULL) {
        value->bytes = tern_slice_of(NULL, 0);
    }
}
