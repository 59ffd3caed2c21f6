/* SPDX-License-Identifier: Apache-2.0 */
/* Single operations of the public API: arguments are checked, then src/txn does the work. */
#include <tern/txn.h>

#include "api/api_arguments.h"
#include "txn/single_operation.h"

tern_status tern_get(tern_keyspace *keyspace, tern_slice key, void *buffer, size_t capacity,
                     size_t *out_size, tern_error *error) {
    REQUIRE(error, keyspace != NULL, "no keyspace");
    REQUIRE(error, slice_is_valid(key), "key without data");
    REQUIRE(error, buffer != NULL || capacity == 0, "no buffer");
    return single_get(keyspace, key, buffer, capacity, out_size, error);
}

tern_status tern_get_pinned(tern_keyspace *keyspace, tern_slice key, tern_value *out_value,
                            tern_error *error) {
    REQUIRE(error, keyspace != NULL, "no keyspace");
    REQUIRE(error, slice_is_valid(key), "key without data");
    REQUIRE(error, out_value != NULL, "no out_value");
    return single_get_pinned(keyspace, key, out_value, error);
}

tern_status tern_multi_get(tern_keyspace *keyspace, tern_get_request *requests, size_t count,
                           tern_error *error) {
    REQUIRE(error, keyspace != NULL, "no keyspace");
    REQUIRE(error, requests_are_valid(requests, count), "a request without key or buffer");
    return single_multi_get(keyspace, requests, count, error);
}

tern_status tern_put(tern_keyspace *keyspace, tern_slice key, tern_slice value,
                     const tern_write_options *options, tern_error *error) {
    tern_write_options given;
    REQUIRE(error, keyspace != NULL, "no keyspace");
    REQUIRE(error, slice_is_valid(key), "key without data");
    REQUIRE(error, slice_is_valid(value), "value without data");
    tern_status status = write_options_copy(options, &given, error);
    return status == TERN_OK
               ? single_put(keyspace, key, value, given.ttl_ms, given.durability, error)
               : status;
}

tern_status tern_delete(tern_keyspace *keyspace, tern_slice key, const tern_write_options *options,
                        tern_error *error) {
    tern_write_options given;
    REQUIRE(error, keyspace != NULL, "no keyspace");
    REQUIRE(error, slice_is_valid(key), "key without data");
    tern_status status = write_options_copy(options, &given, error);
    return status == TERN_OK ? single_delete(keyspace, key, given.durability, error) : status;
}

tern_status tern_delete_range(tern_keyspace *keyspace, const tern_slice *begin,
                              const tern_slice *end, const tern_write_options *options,
                              tern_error *error) {
    tern_write_options given;
    REQUIRE(error, keyspace != NULL, "no keyspace");
    REQUIRE(error, bound_is_valid(begin) && bound_is_valid(end), "bound without data");
    tern_status status = write_options_copy(options, &given, error);
    return status == TERN_OK ? single_delete_range(keyspace, begin, end, given.durability, error)
                             : status;
}

tern_status tern_merge(tern_keyspace *keyspace, tern_slice key, tern_merge_kind kind,
                       tern_slice operand, const tern_write_options *options, tern_error *error) {
    tern_write_options given;
    REQUIRE(error, keyspace != NULL, "no keyspace");
    REQUIRE(error, slice_is_valid(key), "key without data");
    REQUIRE(error, merge_kind_is_valid(kind), "kind is none of tern_merge_kind");
    REQUIRE(error, slice_is_valid(operand), "operand without data");
    tern_status status = write_options_copy(options, &given, error);
    return status == TERN_OK ? single_merge(keyspace, key, kind, operand, given.durability, error)
                             : status;
}

tern_status tern_compare_and_set(tern_keyspace *keyspace, tern_slice key,
                                 const tern_slice *expected, const tern_slice *desired,
                                 const tern_write_options *options, tern_value *out_current,
                                 tern_error *error) {
    tern_write_options given;
    REQUIRE(error, keyspace != NULL, "no keyspace");
    REQUIRE(error, slice_is_valid(key), "key without data");
    REQUIRE(error, bound_is_valid(expected), "expected without data");
    REQUIRE(error, bound_is_valid(desired), "desired without data");
    tern_status status = write_options_copy(options, &given, error);
    return status == TERN_OK
               ? single_compare_and_set(keyspace, key, expected, desired, given.ttl_ms,
                                        given.durability, out_current, error)
               : status;
}
