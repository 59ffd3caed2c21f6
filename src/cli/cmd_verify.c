/* SPDX-License-Identifier: Apache-2.0 */
/* verify and repair: both tell findings, on standard output, as they come. */
#include "cli/care.h"
#include "cli/quantity.h"
#include "cli/run.h"

struct findings {
    struct session *session;
    struct json_writer json; /* stands inside of the array "findings" */
    struct progress progress;
    uint64_t count;
};

static bool tell_finding(void *context, const tern_finding *finding) {
    struct findings *findings = context;
    struct session *session = findings->session;
    findings->count++;
    if (session->settings.is_json) {
        json_begin_object(&findings->json, NULL);
        json_text(&findings->json, "file", finding->file);
        if (finding->offset >= 0) {
            json_signed(&findings->json, "offset", finding->offset);
        } else {
            json_null(&findings->json, "offset");
        }
        json_text(&findings->json, "invariant", finding->invariant);
        json_text(&findings->json, "message", finding->message);
        json_end_object(&findings->json);
        return true;
    }
    progress_close(&findings->progress);
    bool has_file = finding->file != NULL && finding->file[0] != '\0';
    fprintf(session->out, "%s", has_file ? finding->file : "(database)");
    if (finding->offset >= 0) {
        fprintf(session->out, " at offset %lld", (long long)finding->offset);
    }
    fprintf(session->out, ": %s: %s\n", finding->invariant, finding->message);
    return true;
}

static void begin_findings(struct findings *findings, struct session *session) {
    *findings = (struct findings){.session = session, .json = session_json(session)};
    progress_open(&findings->progress, session->err, session_shows_progress(session), "units");
    if (session->settings.is_json) {
        json_begin_object(&findings->json, NULL);
        json_begin_array(&findings->json, "findings");
    }
}

static void report_verify(struct findings *findings, const tern_verify_report *report) {
    struct session *session = findings->session;
    struct json_writer *json = &findings->json;
    if (session->settings.is_json) {
        json_end_array(json);
        json_boolean(json, "is_sound", report->findings == 0);
        json_unsigned(json, "files", report->files);
        json_unsigned(json, "pages", report->pages);
        json_unsigned(json, "records", report->records);
        json_unsigned(json, "log_records", report->log_records);
        json_unsigned(json, "bytes", report->bytes);
        json_end_object(json);
        json_end_line(json);
        return;
    }
    struct buffer text = {0};
    quantity_print_count(report->files, &text);
    buffer_append_text(&text, " files, ");
    quantity_print_bytes(report->bytes, &text);
    buffer_append_text(&text, ", ");
    quantity_print_count(report->pages, &text);
    buffer_append_text(&text, " pages, ");
    quantity_print_count(report->records, &text);
    buffer_append_text(&text, " records, ");
    quantity_print_count(report->log_records, &text);
    buffer_append_text(&text, " log records");
    if (report->findings == 0) {
        fprintf(session->out, "sound: %s\n", buffer_text(&text));
    } else {
        fprintf(session->out, "%llu findings in %s\n", (unsigned long long)report->findings,
                buffer_text(&text));
    }
    buffer_release(&text);
}

/* Closes a JSON document that a failure has cut short, so that it can be parsed. */
static void abort_findings(struct findings *findings) {
    if (findings->session->settings.is_json) {
        json_end_array(&findings->json);
        json_null(&findings->json, "is_sound");
        json_end_object(&findings->json);
        json_end_line(&findings->json);
    }
}

/* The directory that a command is about: its argument, or the one of -d. */
static tern_status choose_directory(struct session *session, const struct invocation *invocation,
                                    const char **out_directory) {
    const char *directory =
        invocation->argument_count > 0 ? invocation->arguments[0].data : session->directory;
    if (directory == NULL) {
        return session_fail(session, TERN_INVALID, "say which database: tern %s DIR",
                            invocation->command->name);
    }
    *out_directory = directory;
    return TERN_OK;
}

tern_status run_verify(struct session *session, const struct invocation *invocation) {
    tern_verify_report report = {0};
    struct findings findings;
    const char *directory = NULL;
    bool is_open = session->db != NULL && invocation->argument_count == 0;
    tern_status status = choose_directory(session, invocation, &directory);
    if (status != TERN_OK) {
        return status;
    }
    begin_findings(&findings, session);
    status = is_open
                 ? tern_verify(session->db, tell_finding, &findings, care_progress,
                               &findings.progress, &report, &session->error)
                 : tern_verify_directory(directory, NULL, tell_finding, &findings, care_progress,
                                         &findings.progress, &report, &session->error);
    progress_close(&findings.progress);
    if (status != TERN_OK) {
        abort_findings(&findings);
        return status;
    }
    report.findings = report.findings > findings.count ? report.findings : findings.count;
    report_verify(&findings, &report);
    if (report.findings == 0) {
        return TERN_OK;
    }
    session->is_error_told = session->settings.is_json;
    return session_fail(session, TERN_CORRUPTION,
                        "the database is damaged; to save what is readable: tern repair %s --to "
                        "NEWDIR",
                        directory);
}

static void report_repair(struct findings *findings, const tern_repair_report *report,
                          const char *target) {
    struct session *session = findings->session;
    struct json_writer *json = &findings->json;
    if (session->settings.is_json) {
        json_end_array(json);
        json_text(json, "target", target);
        json_unsigned(json, "keyspaces", report->keyspaces);
        json_unsigned(json, "records", report->records);
        json_unsigned(json, "lost_pages", report->lost_pages);
        json_unsigned(json, "lost_records", report->lost_records);
        json_unsigned(json, "log_records", report->log_records);
        json_end_object(json);
        json_end_line(json);
        return;
    }
    fprintf(session->out,
            "saved %llu records of %llu keyspaces into %s (%llu log records replayed)\n",
            (unsigned long long)report->records, (unsigned long long)report->keyspaces, target,
            (unsigned long long)report->log_records);
    if (report->lost_pages > 0) {
        fprintf(session->out, "lost: pages that could not be read: %llu, with what only they had\n",
                (unsigned long long)report->lost_pages);
    }
    if (report->lost_records > 0) {
        fprintf(session->out, "lost: single records: at least %llu\n",
                (unsigned long long)report->lost_records);
    }
}

tern_status run_repair(struct session *session, const struct invocation *invocation) {
    tern_repair_report report = {0};
    struct findings findings;
    const char *directory = NULL;
    const char *target = invocation_text(invocation, OPTION_TO_DIRECTORY, NULL);
    tern_status status = choose_directory(session, invocation, &directory);
    if (status == TERN_OK && target == NULL) {
        status =
            session_fail(session, TERN_INVALID,
                         "say where the new database goes: tern repair %s --to NEWDIR", directory);
    }
    if (status != TERN_OK) {
        return status;
    }
    begin_findings(&findings, session);
    status = tern_repair(directory, target, NULL, tell_finding, &findings, care_progress,
                         &findings.progress, &report, &session->error);
    progress_close(&findings.progress);
    if (status != TERN_OK) {
        abort_findings(&findings);
        return status;
    }
    report_repair(&findings, &report, target);
    bool is_lost = report.lost_pages > 0 || report.lost_records > 0;
    if (!is_lost && findings.count == 0) {
        return TERN_OK;
    }
    session->is_error_told = session->settings.is_json;
    return session_fail(session, TERN_CORRUPTION,
                        is_lost ? "something was lost; what is left stands in %s"
                                : "there was damage; what could be read stands in %s",
                        target);
}
