/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include "cli/quantity.h"
#include "cli/terminal.h"
#include "cli/utf8.h"

void progress_open(struct progress *progress, FILE *stream, bool is_wanted, const char *unit) {
    *progress = (struct progress){
        .stream = is_wanted ? stream : NULL,
        .is_terminal = terminal_is(stream),
        .unit = unit,
        .begin_ns = terminal_now_ns(),
    };
    progress->shown_ns = progress->begin_ns;
}

static void build_line(const struct progress *progress, uint64_t now_ns, const char *phase,
                       uint64_t count, uint64_t done, uint64_t total, struct buffer *line) {
    double seconds = (double)(now_ns - progress->begin_ns) / 1e9;
    buffer_print(line, "%s: ", phase);
    quantity_print_count(count, line);
    buffer_print(line, " %s, ", progress->unit);
    quantity_print_count((uint64_t)((double)count / (seconds > 0 ? seconds : 1)), line);
    buffer_append_text(line, "/s");
    if (total > 0 && done > 0) {
        double share = done < total ? (double)done / (double)total : 1.0;
        buffer_print(line, ", %.0f %%, ", share * 100);
        quantity_print_duration_ns((uint64_t)(seconds * (1 - share) / share) * 1000000000U, line);
        buffer_append_text(line, " left");
    }
}

void progress_update(struct progress *progress, const char *phase, uint64_t count, uint64_t done,
                     uint64_t total) {
    if (progress->stream == NULL) {
        return;
    }
    uint64_t now_ns = terminal_now_ns();
    uint64_t pause_ns = progress->is_terminal ? 100000000U : 1000000000U;
    if (now_ns - progress->shown_ns < pause_ns) {
        return;
    }
    progress->shown_ns = now_ns;
    struct buffer line = {0};
    build_line(progress, now_ns, phase, count, done, total, &line);
    if (progress->is_terminal) {
        size_t width = terminal_width_columns(progress->stream);
        bool fits = utf8_width_columns(buffer_slice(&line)) < width;
        /* A line that does not fit would scroll; phase and count are all ASCII but for "µ". */
        fprintf(progress->stream, "\r\033[K%.*s", (int)(fits ? line.size : width - 1),
                buffer_text(&line));
    } else {
        fprintf(progress->stream, "%s\n", buffer_text(&line));
    }
    fflush(progress->stream);
    progress->is_shown = true;
    buffer_release(&line);
}

void progress_close(struct progress *progress) {
    if (progress->stream != NULL && progress->is_terminal && progress->is_shown) {
        fputs("\r\033[K", progress->stream);
        fflush(progress->stream);
    }
    progress->is_shown = false;
}

double progress_seconds(const struct progress *progress) {
    return (double)(terminal_now_ns() - progress->begin_ns) / 1e9;
}
