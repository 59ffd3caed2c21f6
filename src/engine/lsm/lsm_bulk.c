/* SPDX-License-Identifier: Apache-2.0 */
/* Whole bases out of sorted records: loading into an empty partition; and exporting a base by
 * linking its files, or copying them where that cannot be; nothing in its target is overwritten. */
#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/lsm_engine_internal.h"
#include "engine/sorted_records.h"

#define COPY_BYTES ((size_t)1 << 20)
#define LAST_LEVEL (LSM_LEVELS - 1)

/* ---- loading ---- */

static tern_status add_record(void *context, tern_slice key, const struct record *record,
                              tern_error *error) {
    return output_add(context, key, record, error);
}

tern_status lsm_ingest(struct engine *base,
                       tern_status (*next)(void *context, tern_slice *out_key,
                                           struct record *out_record),
                       void *context, tern_error *error) {
    struct lsm_engine *engine = lsm_of(base);
    struct lsm_view *view = lsm_view_current(engine);
    struct lsm_version *version = view->version;
    struct lsm_output output;
    tern_status status = TERN_OK;
    output_init(&output, &engine->lsm, LAST_LEVEL, version_table_bytes(version), 0, NULL, 0);
    if (version->run_count > 0 || view->stack.frozen_count > 0 || engine->drain != NULL ||
        engine->sealed.version != NULL) {
        status = ERROR_SET(error, TERN_INVALID, "records can be loaded into an empty partition");
    }
    if (status == TERN_OK) {
        status = sorted_records_load(lsm_allocator(&engine->lsm),
                                     lsm_key_bytes_max(&engine->lsm.config.options), next, context,
                                     add_record, &output, error);
    }
    if (status == TERN_OK) {
        status = output_finish(&output, error);
    }
    if (status == TERN_OK) {
        const struct version_edit edit = {.added = output.tables,
                                          .added_count = output.table_count,
                                          .level = LAST_LEVEL,
                                          .complete_seq = version->complete_seq,
                                          .base_time_ms = version->base_time_ms};
        status = version_apply(version, &edit, &engine->sealed.version, error);
        output.is_kept = status == TERN_OK;
    }
    output_release(&output);
    engine_view_release(&view->head, engine->lsm.environment->epoch);
    return status;
}

/* ---- exporting ---- */

struct export {
    struct lsm *lsm;
    const char *directory;
    uint8_t *buffer;
    tern_error *error;
};

static tern_status copy_bytes(struct export *export, tern_file *from, tern_file *to) {
    uint64_t offset = 0;
    for (;;) {
        size_t size = 0;
        tern_status status =
            file_read(from, offset, export->buffer, COPY_BYTES, &size, export->error);
        if (status != TERN_OK || size == 0) {
            return status == TERN_OK ? file_sync(to, export->error) : status;
        }
        status = file_write(to, offset, export->buffer, size, export->error);
        if (status != TERN_OK) {
            return status;
        }
        offset += size;
    }
}

static tern_status copy_file(struct export *export, const char *source, const char *target) {
    const tern_file_system *system = export->lsm->environment->file_system;
    tern_file *from = NULL;
    tern_file *to = NULL;
    tern_status status =
        system->open(system->context, source, TERN_OPEN_READ, &from, export->error);
    if (status != TERN_OK) {
        return status;
    }
    /* What has that name already may be another name of the source: it is not touched. */
    status = system->open(system->context, target, TERN_OPEN_CREATE | TERN_OPEN_EXCLUSIVE, &to,
                          export->error);
    if (status == TERN_OK) {
        status = copy_bytes(export, from, to);
        tern_status closed = file_close(to, status == TERN_OK ? export->error : NULL);
        status = status == TERN_OK ? closed : status;
    }
    (void)file_close(from, NULL);
    return status;
}

static tern_status export_file(struct export *export, uint64_t number, enum lsm_file_kind kind) {
    const tern_file_system *system = export->lsm->environment->file_system;
    char name[LSM_FILE_NAME_BYTES];
    char source[FILE_PATH_BYTES];
    char target[FILE_PATH_BYTES];
    lsm_file_name(export->lsm->config.id, number, kind, name);
    tern_status status =
        path_join(source, export->lsm->environment->directory, name, export->error);
    if (status == TERN_OK) {
        status = path_join(target, export->directory, name, export->error);
    }
    if (status != TERN_OK || system->link(system->context, source, target, NULL) == TERN_OK) {
        return status;
    }
    return copy_file(export, source, target);
}

tern_status lsm_export_base(struct engine_view *engine_view, const char *target_directory,
                            struct buffer *out_state, tern_error *error) {
    struct lsm *lsm = &lsm_of(engine_view->engine)->lsm;
    const struct lsm_version *version = lsm_view_of(engine_view)->version;
    const tern_file_system *system = lsm->environment->file_system;
    struct export export = {.lsm = lsm, .directory = target_directory, .error = error};
    export.buffer = memory_allocate(lsm_allocator(lsm), COPY_BYTES);
    tern_status status =
        export.buffer != NULL ? TERN_OK : ERROR_NO_MEMORY(error, "exporting a partition");
    for (uint32_t i = 0; i < version->run_count; i++) {
        for (uint32_t j = 0; status == TERN_OK && j < version->runs[i].count; j++) {
            status = export_file(&export, version->runs[i].tables[j]->number, LSM_FILE_TABLE);
        }
    }
    for (uint32_t i = 0; status == TERN_OK && i < version->use_count; i++) {
        status = export_file(&export, version->uses[i].number, LSM_FILE_VALUES);
    }
    if (status == TERN_OK) {
        status = system->sync_directory(system->context, target_directory, error);
    }
    if (status == TERN_OK) {
        status = lsm_state_encode(version, out_state, error);
    }
    memory_release(lsm_allocator(lsm), export.buffer);
    return status;
}
