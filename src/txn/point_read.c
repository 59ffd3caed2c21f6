/* SPDX-License-Identifier: Apache-2.0 */
#include "txn/point_read.h"

#include "base/assert.h"
#include "base/error.h"

bool database_view_try_retain(struct database_view *view) {
    uint64_t references = atomic_load_explicit(&view->references, memory_order_relaxed);
    while (references != 0) {
        if (atomic_compare_exchange_weak_explicit(&view->references, &references, references + 1,
                                                  memory_order_acquire, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

tern_status keyspace_check_absence(const tern_keyspace *keyspace, tern_error *error) {
    switch ((enum keyspace_state)atomic_load_explicit(&keyspace->state, memory_order_acquire)) {
    case KEYSPACE_LIVE:
        return TERN_OK;
    case KEYSPACE_PENDING:
        return ERROR_SET(error, TERN_NOT_FOUND,
                         "keyspace '%s' has not been committed by the transaction that creates it",
                         keyspace->name);
    case KEYSPACE_DROPPED:
    default:
        return ERROR_SET(error, TERN_NOT_FOUND,
                         "keyspace '%s' has been dropped; open it by name again if it was created "
                         "anew",
                         keyspace->name);
    }
}

tern_status keyspace_say_converted(const tern_keyspace *keyspace, tern_error *error) {
    return ERROR_SET(
        error, TERN_CONFLICT,
        "keyspace '%s' was converted after this transaction wrote a large value to it; "
        "begin it again",
        keyspace->name);
}

tern_status snapshot_say_too_old(const struct engine_moment *moment, tern_error *error) {
    return ERROR_SET(error, TERN_SNAPSHOT_TOO_OLD,
                     "the snapshot at %llu was ended to win back memory or disk space; begin the "
                     "transaction again, and keep it shorter",
                     (unsigned long long)moment->seq);
}

/* One try at a moment; TERN_CANCELLED as the engine says it. */
static tern_status read_at(struct point_read *read, const struct database_view *view,
                           const tern_keyspace *keyspace, tern_slice key, uint64_t key_hash,
                           struct engine_scratch *scratch, tern_error *error) {
    struct engine_view *part = view_part(view, keyspace);
    read->part = part;
    if (__builtin_expect(part == NULL, 0)) {
        read->result.record.kind = RECORD_NONE;
        return keyspace_check_absence(keyspace, error);
    }
    return part->methods->get(part, key, engine_hash_for(part->engine, key, key_hash),
                              &read->moment, scratch, &read->result, error);
}

/* Reading a large value takes long: the view is held instead of the epoch. */
static bool leave_epoch(struct point_read *read, struct database_view *view, bool is_held) {
    struct record *record = &read->result.record;
    ASSERT(record->value.size <= sizeof(read->reference));
    if (!is_held) {
        if (!database_view_try_retain(view)) {
            return false;
        }
        read->retained = view;
    }
    memcpy(read->reference, record->value.data, record->value.size);
    record->value.data = read->reference;
    epoch_exit(read->epoch);
    read->epoch = NULL;
    return true;
}

tern_status point_read_begin(struct txn_manager *manager, const struct snapshot *snapshot,
                             const tern_keyspace *keyspace, tern_slice key, uint64_t key_hash,
                             struct engine_scratch *scratch, struct point_read *out_read,
                             tern_error *error) {
    struct database_view *view;
    tern_status status;
    out_read->manager = manager;
    out_read->retained = NULL;
    if (snapshot != NULL) {
        out_read->moment = snapshot->moment;
        if (snapshot_is_ended(snapshot)) {
            return snapshot_say_too_old(&out_read->moment, error);
        }
    }
    out_read->epoch = epoch_enter(manager->epoch);
    for (;;) {
        view = snapshot != NULL ? snapshot->view : txn_manager_now(manager, &out_read->moment);
        status = read_at(out_read, view, keyspace, key, key_hash, scratch, error);
        if (__builtin_expect(status == TERN_CANCELLED && snapshot == NULL, 0)) {
            atomic_fetch_add_explicit(&manager->reads_retried, 1, memory_order_relaxed);
            continue;
        }
        if (status != TERN_OK || out_read->result.record.kind != RECORD_LARGE ||
            leave_epoch(out_read, view, snapshot != NULL)) {
            break;
        }
    }
    if (__builtin_expect(status != TERN_OK, 0)) {
        epoch_exit(out_read->epoch);
        if (status == TERN_CANCELLED) {
            status = snapshot_say_too_old(&out_read->moment, error);
        }
    }
    return status;
}

/* ---- copying ---- */

static tern_status read_large(struct engine *engine, const struct record *record, uint64_t offset,
                              void *buffer, size_t size, tern_error *error) {
    size_t done = 0;
    while (done < size) {
        size_t piece = 0;
        tern_status status =
            engine->methods->large_read(engine, record->value, offset + done,
                                        (uint8_t *)buffer + done, size - done, &piece, error);
        if (status != TERN_OK) {
            return status;
        }
        if (piece == 0) {
            return ERROR_SET(error, TERN_CORRUPTION,
                             "a value of %llu bytes stored apart ends after %llu; run verify",
                             (unsigned long long)record->value_size,
                             (unsigned long long)(offset + done));
        }
        done += piece;
    }
    return TERN_OK;
}

tern_status value_copy_part(struct engine *engine, const struct record *record, uint64_t offset,
                            void *buffer, size_t capacity, size_t *out_size, tern_error *error) {
    uint64_t whole = record_value_bytes(record);
    uint64_t left = offset < whole ? whole - offset : 0;
    size_t size = left < capacity ? (size_t)left : capacity;
    if (record->kind == RECORD_LARGE) {
        tern_status status = read_large(engine, record, offset, buffer, size, error);
        if (status != TERN_OK) {
            return status;
        }
    } else if (size > 0) {
        memcpy(buffer, (const uint8_t *)record->value.data + offset, size);
    }
    *out_size = size;
    return TERN_OK;
}

tern_status value_copy(struct engine *engine, const struct record *record, void *buffer,
                       size_t capacity, size_t *out_size, tern_error *error) {
    if (__builtin_expect(record->kind == RECORD_LARGE, 0)) {
        size_t copied;
        tern_status status = value_copy_part(engine, record, 0, buffer, capacity, &copied, error);
        if (status != TERN_OK) {
            return status;
        }
    } else {
        size_t size = record->value.size < capacity ? record->value.size : capacity;
        if (size > 0) {
            memcpy(buffer, record->value.data, size);
        }
    }
    uint64_t whole = record_value_bytes(record);
    if (out_size != NULL) {
        *out_size = (size_t)whole;
    }
    if (whole > capacity) {
        return ERROR_SET(error, TERN_BUFFER_TOO_SMALL,
                         "the value has %llu bytes, the buffer %zu; give a larger one, or read it "
                         "in parts",
                         (unsigned long long)whole, capacity);
    }
    return TERN_OK;
}

tern_status value_load(struct engine *engine, const struct record *record, struct buffer *out,
                       tern_error *error) {
    out->size = 0;
    if (record->value_size > SIZE_MAX / 4 ||
        buffer_reserve(out, (size_t)record->value_size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a large value read whole; read it in parts");
    }
    tern_status status =
        read_large(engine, record, 0, out->data, (size_t)record->value_size, error);
    if (status == TERN_OK) {
        out->size = (size_t)record->value_size;
    }
    return status;
}

/* ---- pinning ----
 *
 * hold[0] says how to let go, in its low bits, and whom to ask:
 *   manager | MEMORY   hold[1] memory of the manager's allocator
 *   manager | FRAME    hold[1] engine view (one reference), hold[2] pinned frame
 *   account | COUNTED  the same, counted in the account of a transaction
 */

enum hold_kind { HOLD_MEMORY = 1, HOLD_FRAME = 2, HOLD_COUNTED = 3 };
#define HOLD_MASK            ((uintptr_t)7)
#define PINS_PER_TRANSACTION 1024

struct pin_account {
    struct txn_manager *manager;
    _Atomic uint32_t pins;
    _Atomic uint32_t references; /* the transaction, and each pin */
};

tern_status pin_account_create(struct txn_manager *manager, struct pin_account **out_account,
                               tern_error *error) {
    struct pin_account *account = memory_allocate(manager->allocator, sizeof(*account));
    if (account == NULL) {
        return ERROR_NO_MEMORY(error, "pinned values");
    }
    account->manager = manager;
    atomic_init(&account->pins, 0);
    atomic_init(&account->references, 1);
    *out_account = account;
    return TERN_OK;
}

void pin_account_release(struct pin_account *account) {
    if (account != NULL &&
        atomic_fetch_sub_explicit(&account->references, 1, memory_order_acq_rel) == 1) {
        memory_release(account->manager->allocator, account);
    }
}

static void *hold_of(void *pointer, enum hold_kind kind) {
    ASSERT_DEBUG(((uintptr_t)pointer & HOLD_MASK) == 0);
    return (char *)pointer + kind;
}

/* Memory of the manager's allocator becomes the value's. */
static void own(struct txn_manager *manager, void *memory, tern_slice bytes,
                tern_value *out_value) {
    *out_value = (tern_value){bytes, {hold_of(manager, HOLD_MEMORY), memory, NULL}};
}

tern_status value_own_copy(struct txn_manager *manager, tern_slice bytes, tern_value *out_value,
                           tern_error *error) {
    void *memory = memory_allocate(manager->allocator, bytes.size > 0 ? bytes.size : 1);
    if (memory == NULL) {
        return ERROR_NO_MEMORY(error, "a pinned value");
    }
    if (bytes.size > 0) {
        memcpy(memory, bytes.data, bytes.size);
    }
    own(manager, memory, tern_slice_of(memory, bytes.size), out_value);
    return TERN_OK;
}

/* Bytes of a buffer, whose memory changes hands. */
static tern_status own_buffer(struct txn_manager *manager, struct buffer *buffer,
                              tern_value *out_value, tern_error *error) {
    if (buffer->data == NULL) {
        return value_own_copy(manager, tern_slice_of(NULL, 0), out_value, error);
    }
    own(manager, buffer->data, buffer_slice(buffer), out_value);
    buffer->data = NULL;
    buffer->size = buffer->capacity = 0;
    return TERN_OK;
}

tern_status value_own_large(struct txn_manager *manager, struct engine *engine,
                            const struct record *record, tern_value *out_value, tern_error *error) {
    struct buffer whole;
    buffer_init(&whole, manager->allocator);
    tern_status status = value_load(engine, record, &whole, error);
    if (status == TERN_OK) {
        status = own_buffer(manager, &whole, out_value, error);
    }
    buffer_release(&whole);
    return status;
}

static void pin_frame(struct point_read *read, struct pin_account *account, tern_value *out_value) {
    struct engine_view *part = read->part;
    part->methods->pin(part, &read->result);
    engine_view_retain(part);
    void *hold = hold_of(read->manager, HOLD_FRAME);
    if (account != NULL) {
        atomic_fetch_add_explicit(&account->pins, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&account->references, 1, memory_order_relaxed);
        hold = hold_of(account, HOLD_COUNTED);
    }
    *out_value = (tern_value){read->result.record.value, {hold, part, read->result.frame}};
}

tern_status value_pin(struct point_read *read, struct engine_scratch *scratch,
                      struct pin_account *account, tern_value *out_value, tern_error *error) {
    struct engine_result *result = &read->result;
    if (result->record.kind == RECORD_LARGE) {
        return value_own_large(read->manager, read->part->engine, &result->record, out_value,
                               error);
    }
    if (result->source == ENGINE_SOURCE_SCRATCH &&
        result->record.value.data == scratch->value.data &&
        result->record.value.size == scratch->value.size) {
        return own_buffer(read->manager, &scratch->value, out_value, error);
    }
    bool may_pin = account == NULL || atomic_load_explicit(&account->pins, memory_order_relaxed) <
                                          PINS_PER_TRANSACTION;
    if (result->source == ENGINE_SOURCE_FRAME && may_pin) {
        pin_frame(read, account, out_value);
        return TERN_OK;
    }
    return value_own_copy(read->manager, result->record.value, out_value, error);
}

void value_release(tern_value *value) {
    uintptr_t hold = (uintptr_t)value->hold[0];
    void *owner = (char *)value->hold[0] - (hold & HOLD_MASK);
    struct engine_view *part = value->hold[1];
    switch (hold & HOLD_MASK) {
    case HOLD_MEMORY: {
        struct txn_manager *manager = owner;
        memory_release(manager->allocator, value->hold[1]);
        break;
    }
    case HOLD_FRAME: {
        struct txn_manager *manager = owner;
        part->methods->unpin(part, value->hold[2]);
        engine_view_release(part, manager->epoch);
        break;
    }
    case HOLD_COUNTED: {
        struct pin_account *account = owner;
        part->methods->unpin(part, value->hold[2]);
        engine_view_release(part, account->manager->epoch);
        atomic_fetch_sub_explicit(&account->pins, 1, memory_order_relaxed);
        pin_account_release(account);
        break;
    }
    default:
        break;
    }
    *value = (tern_value)TERN_VALUE_INIT;
}
