/* SPDX-License-Identifier: Apache-2.0 */
/* Whole trees out of sorted records: loading into an empty partition, and exporting a base. */
#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/btree/btree_engine_internal.h"
#include "engine/btree/btree_value.h"
#include "engine/sorted_records.h"

#define FILL_PERCENT 100u
/* Records read within one epoch. */
#define EPOCH_RECORDS 1024u

/* Adds one record; values too long for a page go apart. */
static tern_status add_record(struct tree_builder *builder, tern_slice key,
                              const struct record *record, tern_error *error) {
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    struct record stored = *record;
    if (record->kind == RECORD_PUT &&
        record->value.size > leaf_inline_value_max(builder->leaves.page_bytes)) {
        tern_status status = tree_builder_put_value(builder, record, reference, &stored, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    return leaf_builder_add(&builder->leaves, key, &stored, error);
}

/* ---- loading ---- */

static tern_status add_loaded(void *context, tern_slice key, const struct record *record,
                              tern_error *error) {
    return add_record(context, key, record, error);
}

tern_status btree_ingest(struct engine *base,
                         tern_status (*next)(void *context, tern_slice *out_key,
                                             struct record *out_record),
                         void *context, tern_error *error) {
    struct btree_engine *engine = btree_of(base);
    struct btree_view *view = btree_view_current(engine);
    struct sealed_root sealed = {0};
    bool is_empty = view->root->height == 0 && view->stack.frozen_count == 0 &&
                    engine->sealed.root == NULL &&
                    (engine->drain == NULL || !engine->drain->is_active);
    tern_status status = TERN_OK;
    if (!is_empty) {
        status = ERROR_SET(error, TERN_INVALID, "records can be loaded into an empty partition");
        goto done;
    }
    status = btree_need_drain(engine, error);
    if (status != TERN_OK) {
        goto done;
    }
    struct tree_builder *builder = engine->drain->builder;
    builder->output.takes_scraps = false;
    status = tree_builder_begin(builder, FILL_PERCENT, error);
    if (status == TERN_OK) {
        status = sorted_records_load(engine->tree.environment->allocator,
                                     (size_t)builder->leaves.page_bytes * 5 / 8, next, context,
                                     add_loaded, builder, error);
    }
    if (status == TERN_OK) {
        status = tree_builder_finish(builder, false, &sealed.root, error);
    }
    if (status != TERN_OK) {
        tree_builder_abandon(builder);
        goto done;
    }
    tree_builder_keep(builder);
    sealed.drained = view->drained;
    drained_map_retain(sealed.drained);
    engine->sealed = sealed;
done:
    engine_view_release(&view->head, engine->tree.environment->epoch);
    return status;
}

/* ---- exporting ---- */

struct export {
    struct btree *source;
    struct btree target;
    struct engine_environment environment; /* of the target */
    struct generation_map generations;
    struct tree_builder *builder;
};

static tern_status export_record(struct export *export, const struct base_cursor *cursor,
                                 tern_error *error) {
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    struct record record;
    cursor->methods->record(cursor, &record);
    if (record.kind == RECORD_LARGE) {
        size_t size = 0;
        tern_status status = btree_value_copy(export->source, record.value, &export->target,
                                              export->builder->generation, reference, &size, error);
        if (status != TERN_OK) {
            return status;
        }
        record.value = tern_slice_of(reference, size);
    }
    return leaf_builder_add(&export->builder->leaves, cursor->methods->key(cursor), &record, error);
}

static tern_status export_records(struct export *export, struct base_cursor *cursor,
                                  tern_error *error) {
    struct epoch_domain *epoch = export->source->environment->epoch;
    struct epoch_slot *slot = epoch_enter(epoch);
    tern_status status = cursor->methods->seek(cursor, NULL, false, error);
    for (uint32_t i = 1; status == TERN_OK; i++) {
        status = export_record(export, cursor, error);
        if (status == TERN_OK) {
            status = cursor->methods->next(cursor, error);
        }
        if (i % EPOCH_RECORDS == 0) {
            epoch_exit(slot);
            slot = epoch_enter(epoch);
        }
    }
    epoch_exit(slot);
    return status == TERN_NOT_FOUND ? TERN_OK : status;
}

static tern_status export_tree(struct export *export, struct btree_root *root,
                               struct btree_root **out_root, tern_error *error) {
    struct base_cursor *cursor = NULL;
    tern_status status = tree_builder_begin(export->builder, FILL_PERCENT, error);
    if (status == TERN_OK && root->height > 0) {
        status = btree_cursor_open(export->source, root, &cursor, error);
        if (status == TERN_OK) {
            status = export_records(export, cursor, error);
            cursor->methods->close(cursor);
        }
    }
    if (status == TERN_OK) {
        status = tree_builder_finish(export->builder, false, out_root, error);
    }
    if (status == TERN_OK) {
        tree_builder_keep(export->builder);
    } else {
        tree_builder_abandon(export->builder);
    }
    return status;
}

tern_status btree_export_base(struct engine_view *engine_view, const char *target_directory,
                              struct buffer *out_state, tern_error *error) {
    struct btree_view *view = btree_view_of(engine_view);
    struct btree_engine *engine = btree_of(engine_view->engine);
    struct btree_root *root = NULL;
    struct export export = {.source = &engine->tree, .environment = *engine->tree.environment};
    export.environment.directory = target_directory;
    export.environment.cache = NULL;
    export.environment.read_only = false;
    export.target.environment = &export.environment;
    export.target.config = engine->tree.config;
    tern_status status =
        btree_file_open(&export.environment, &engine->tree.config, &export.target.file, error);
    if (status != TERN_OK) {
        return status;
    }
    status = tree_builder_create(&export.target, &export.generations, &export.builder, error);
    if (status == TERN_OK) {
        status = export_tree(&export, view->root, &root, error);
    }
    if (status == TERN_OK) {
        uint64_t freed = 0;
        status = btree_file_shrink(export.target.file, &freed, error);
    }
    if (status == TERN_OK) {
        status = btree_file_sync(export.target.file, error);
    }
    if (status == TERN_OK) {
        status = btree_state_encode(root, view->drained, out_state, error);
    }
    btree_root_release(&export.target, root);
    tree_builder_destroy(export.builder);
    btree_file_close(export.target.file);
    return status;
}
