/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging a transaction's writes over an engine's cursor.
 *
 * A move finds two candidates beyond where the cursor stands, one of each side, and takes the
 * nearer; at equal keys the own write decides, with the engine's record under its merge operands.
 * Deletes and range deletes of the transaction hide what they cover, and the move goes on.
 *
 * Invariants:
 *  M1 the own candidate is looked up before the engine's cursor moves: the key to look from may be
 *     the engine's memory;
 *  M2 after a move the engine's cursor stands on the current key or on the next entry in the
 *     direction of the move, and engine_place says which.
 */
#include "base/compare.h"
#include "base/error.h"
#include "txn/txn_cursor_internal.h"

struct move {
    tern_cursor *cursor;
    struct write_part *part; /* NULL: no writes */
    bool backward;
    bool has_write; /* own candidate */
    uint32_t write_key;
};

bool cursor_is_within(const tern_cursor *cursor, tern_slice key) {
    const struct engine_cursor_bounds *bounds = &cursor->bounds;
    return (!bounds->has_begin || slice_compare(key, bounds->begin) >= 0) &&
           (!bounds->has_end || slice_compare(key, bounds->end) < 0);
}

/* First own key beyond `key` (NULL: beyond the edge), bounds respected. */
static void find_write(struct move *move, const tern_slice *key, bool inclusive) {
    const struct engine_cursor_bounds *bounds = &move->cursor->bounds;
    if (move->part == NULL) {
        move->has_write = false;
        return;
    }
    if (!move->backward && bounds->has_begin &&
        (key == NULL || slice_compare(*key, bounds->begin) < 0)) {
        key = &bounds->begin;
        inclusive = true;
    } else if (move->backward && bounds->has_end &&
               (key == NULL || slice_compare(*key, bounds->end) >= 0)) {
        key = &bounds->end;
        inclusive = false;
    }
    move->has_write = write_order_seek(&move->part->order, move->part->keys, key, move->backward,
                                       inclusive, &move->write_key) &&
                      cursor_is_within(move->cursor, move->part->keys[move->write_key].key);
}

static tern_slice write_key(const struct move *move) {
    return move->part->keys[move->write_key].key;
}

/* ---- the engine's side ---- */

/* What a positioning call said: standing, or TERN_NOT_FOUND, or a failure. */
static tern_status take_position(tern_cursor *cursor, tern_status status) {
    cursor->engine_stands = status == TERN_OK;
    if (status == TERN_OK) {
        cursor->methods->cursor_entry(cursor->engine, &cursor->ahead);
    }
    return status == TERN_NOT_FOUND ? TERN_OK : status;
}

static tern_status engine_first(struct move *move) {
    tern_cursor *cursor = move->cursor;
    return take_position(
        cursor, cursor->methods->cursor_first(cursor->engine, move->backward, &cursor->error));
}

static tern_status engine_step(struct move *move) {
    tern_cursor *cursor = move->cursor;
    return take_position(
        cursor, move->backward ? cursor->methods->cursor_previous(cursor->engine, &cursor->error)
                               : cursor->methods->cursor_next(cursor->engine, &cursor->error));
}

static tern_status engine_seek(struct move *move, tern_slice key, bool inclusive) {
    tern_cursor *cursor = move->cursor;
    tern_status status = take_position(
        cursor, cursor->methods->cursor_seek(cursor->engine, key, move->backward, &cursor->error));
    if (status == TERN_OK && cursor->engine_stands && !inclusive &&
        slice_equal(cursor->ahead.key, key)) {
        status = engine_step(move);
    }
    return status;
}

/* Brings the engine's cursor beyond where the cursor stands. */
static tern_status advance_engine(struct move *move) {
    tern_cursor *cursor = move->cursor;
    if (cursor->engine == NULL) {
        cursor->engine_stands = false;
        return TERN_OK;
    }
    if (cursor->place == CURSOR_NOWHERE) {
        return engine_first(move);
    }
    switch (cursor->engine_place) {
    case ENGINE_AT_CURRENT:
        return engine_step(move);
    case ENGINE_AFTER:
    case ENGINE_BEFORE:
        if ((cursor->engine_place == ENGINE_BEFORE) == move->backward) {
            return TERN_OK;
        }
        break;
    case ENGINE_UNKNOWN:
    default:
        break;
    }
    return engine_seek(move, cursor->entry.key, false);
}

/* Nothing is left in this direction: makes the engine's cursor stand nowhere. */
static tern_status engine_exhaust(struct move *move) {
    tern_cursor *cursor = move->cursor;
    tern_status status = take_position(
        cursor, cursor->methods->cursor_first(cursor->engine, !move->backward, &cursor->error));
    return status == TERN_OK && cursor->engine_stands ? engine_step(move) : status;
}

/* The engine's candidate lies in an own range delete: goes past that. */
static tern_status skip_range(struct move *move, const struct engine_change *range) {
    if (move->backward) {
        return range->key.size > 0 ? engine_seek(move, range->key, false) : engine_exhaust(move);
    }
    return range->range_has_end ? engine_seek(move, range->record.value, true)
                                : engine_exhaust(move);
}

/* ---- taking a candidate ---- */

static void stand_on_engine(struct move *move) {
    tern_cursor *cursor = move->cursor;
    cursor->entry = cursor->ahead;
    cursor->place = CURSOR_ON_ENGINE;
    cursor->engine_place = ENGINE_AT_CURRENT;
}

static tern_status set_bytes(struct buffer *buffer, tern_slice bytes) {
    buffer->size = 0;
    return buffer_append(buffer, bytes.data, bytes.size);
}

/* The value under merge operands, with `base` from the engine or NULL. */
static tern_status merge_value(tern_cursor *cursor, const struct write_part *part,
                               const struct write_found *found, const struct record *base) {
    const struct record *below = found->record.kind != RECORD_NONE ? &found->record : base;
    bool present = below != NULL && below->kind != RECORD_DELETE;
    tern_slice value = present ? below->value : tern_slice_of(NULL, 0);
    tern_status status = TERN_OK;
    if (present && below->kind == RECORD_LARGE) {
        status = value_load(cursor_engine(cursor), below, &cursor->sought, &cursor->error);
        value = buffer_slice(&cursor->sought);
    }
    if (status == TERN_OK) {
        status = write_part_merge(part, found, present, value, &cursor->value, &cursor->spare);
    }
    cursor->entry.record = (struct record){.kind = RECORD_PUT};
    return status;
}

bool cursor_shows_write(const struct write_found *found) {
    return found->operand_count > 0 || found->record.kind != RECORD_DELETE;
}

tern_status cursor_stand_on_write(tern_cursor *cursor, const struct write_part *part,
                                  tern_slice key, const struct write_found *found,
                                  const struct record *base) {
    tern_status status = TERN_OK;
    if (found->record.kind == RECORD_LARGE && !cursor->keys_only &&
        cursor_engine(cursor)->id != found->large_partition) {
        return keyspace_say_converted(cursor->keyspace, &cursor->error);
    }
    if (found->operand_count == 0) {
        cursor->entry.record = found->record;
        status = set_bytes(&cursor->value, found->record.value);
    } else if (!cursor->keys_only) {
        status = merge_value(cursor, part, found, base);
    } else {
        cursor->entry.record = (struct record){.kind = RECORD_PUT};
        cursor->value.size = 0;
    }
    if (status == TERN_OK) {
        status = set_bytes(&cursor->key, key);
    }
    if (status == TERN_NO_MEMORY) {
        return ERROR_NO_MEMORY(&cursor->error, "an entry of a cursor");
    }
    cursor->entry.key = buffer_slice(&cursor->key);
    cursor->entry.record.value = buffer_slice(&cursor->value);
    cursor->place = CURSOR_ON_COPY;
    return status;
}

/*
 * Looks at the own candidate, over the engine's record when that has the same key. *out_shown:
 * the cursor stands on it now.
 */
static tern_status show_write(struct move *move, bool is_on_engine, bool *out_shown) {
    tern_cursor *cursor = move->cursor;
    struct write_found found;
    write_part_find_number(move->part, move->write_key, &found);
    *out_shown = cursor_shows_write(&found);
    if (!*out_shown) {
        return TERN_OK;
    }
    tern_status status = cursor_stand_on_write(cursor, move->part, write_key(move), &found,
                                               is_on_engine ? &cursor->ahead.record : NULL);
    cursor->engine_place = is_on_engine     ? ENGINE_AT_CURRENT
                           : move->backward ? ENGINE_BEFORE
                                            : ENGINE_AFTER;
    return status;
}

/* Below 0: the engine's candidate is nearer; 0: the same key; above: the own write is. */
static int nearer(const struct move *move) {
    const tern_cursor *cursor = move->cursor;
    if (!cursor->engine_stands) {
        return 1;
    }
    if (!move->has_write) {
        return -1;
    }
    int order = slice_compare(cursor->ahead.key, write_key(move));
    return move->backward ? -order : order;
}

static tern_status choose(struct move *move) {
    tern_cursor *cursor = move->cursor;
    tern_status status = TERN_OK;
    while (status == TERN_OK && (cursor->engine_stands || move->has_write)) {
        int order = nearer(move);
        if (order < 0) {
            const struct engine_change *range = NULL;
            if (move->part == NULL || move->part->range_count == 0 ||
                write_part_range_over(move->part, cursor->ahead.key, &range) == 0) {
                stand_on_engine(move);
                return TERN_OK;
            }
            status = skip_range(move, range);
            continue;
        }
        bool shown;
        status = show_write(move, order == 0, &shown);
        if (status != TERN_OK || shown) {
            return status;
        }
        tern_slice key = write_key(move);
        if (order == 0) {
            status = engine_step(move);
        }
        find_write(move, &key, false);
    }
    return status == TERN_OK ? TERN_NOT_FOUND : status;
}

tern_status cursor_merge_move(tern_cursor *cursor, const tern_slice *key, bool backward) {
    struct move move = {.cursor = cursor, .part = cursor_writes(cursor), .backward = backward};
    tern_status status = TERN_OK;
    if (move.part != NULL) {
        status = write_part_make_ordered(&cursor->txn->writes, move.part, &cursor->error);
        if (status != TERN_OK) {
            return status;
        }
    }
    if (key != NULL) {
        find_write(&move, key, true);
        if (cursor->engine != NULL) {
            status = engine_seek(&move, *key, true);
        } else {
            cursor->engine_stands = false;
        }
    } else {
        find_write(&move, cursor->place != CURSOR_NOWHERE ? &cursor->entry.key : NULL, false);
        status = advance_engine(&move);
    }
    return status == TERN_OK ? choose(&move) : status;
}
