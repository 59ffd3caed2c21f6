# SPDX-License-Identifier: Apache-2.0
"""Plots as SVG inside the page: no script, no font, no colour of their own. Colours are the page's
(a class for each system), so that they follow light and dark. Each is drawn for the width of a phone
and scales; the page puts several of them side by side where there is room."""

import html
import math

WIDTH = 400
ROW = 20      # of a plot with one row for each workload
TEXT = 7.1    # width of a character at the size of labels, about
MARK = 4.2
RIGHT = 22    # room beyond an axis, for half a label


def escape(text):
    return html.escape(str(text), quote=True)


def mark(system, x, y, size=MARK):
    """A shape of its own for each system, so that colour is not needed to tell them apart."""
    name = f'class="mark {escape(system)}"'
    if system == "tern-btree":
        return (f'<rect {name} x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:.1f}" '
                f'height="{2 * size:.1f}"/>')
    if system == "tern-lsm":
        return (f'<path {name} d="M{x:.1f} {y - 1.25 * size:.1f}l{1.2 * size:.1f} {2.2 * size:.1f}'
                f'h{-2.4 * size:.1f}z"/>')
    if system == "map":
        return (f'<path {name} d="M{x:.1f} {y - 1.3 * size:.1f}l{1.3 * size:.1f} {1.3 * size:.1f}'
                f'l{-1.3 * size:.1f} {1.3 * size:.1f}l{-1.3 * size:.1f} {-1.3 * size:.1f}z"/>')
    return f'<circle {name} cx="{x:.1f}" cy="{y:.1f}" r="{size * 1.05:.1f}"/>'


def legend(systems):
    """HTML, for above the plots."""
    items = [f'<li><svg viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">'
             f'{mark(system, 7, 7, 4.6)}</svg>{escape(system)}</li>' for system in systems]
    return '<ul class="legend">' + "".join(items) + "</ul>"


def si(value):
    """The label of a tick."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}"


def of_time(us):
    for limit, unit in ((1e6, " s"), (1e3, " ms")):
        if us >= limit:
            return f"{us / limit:g}{unit}"
    return f"{us:g} µs"


def of_bytes(count):
    for power, unit in ((30, " GiB"), (20, " MiB"), (10, " KiB")):
        if count >= 1 << power:
            return f"{count / (1 << power):g}{unit}"
    return f"{count:g} B"


class Scale:
    """Of an axis: logarithmic over whole decades with at most `most` ticks, or linear from zero."""

    def __init__(self, values, begin, end, is_log=True, label=si, most=7):
        self.begin, self.end, self.is_log, self.label = begin, end, is_log, label
        values = [value for value in values if value is not None and (value > 0 or not is_log)]
        if is_log:
            low, high = min(values, default=1), max(values, default=10)
            self.low = math.floor(math.log10(low) + 1e-9)
            self.high = max(math.ceil(math.log10(high) - 1e-9), self.low + 1)
            step = max(1, math.ceil((self.high - self.low) / (most - 1)))
            self.ticks = [10.0 ** power for power in range(self.low, self.high + 1, step)]
            return
        self.low = 0
        most = max(values, default=1) or 1
        step = 10 ** math.floor(math.log10(most))
        for part in (0.1, 0.2, 0.5, 1):
            if most / (step * part) <= 5:
                step *= part
                break
        self.high = math.ceil(most / step - 1e-9) * step
        self.ticks = [step * count for count in range(round(self.high / step) + 1)]

    def at(self, value):
        if self.is_log:
            value = min(max(math.log10(value), self.low), self.high) if value > 0 else self.low
        return self.begin + (self.end - self.begin) * (value - self.low) / (self.high - self.low)


def frame(title, height, parts):
    """The figure: `title` is its caption and its name for those who cannot see it."""
    return (f'<figure><figcaption>{escape(title)}</figcaption>'
            f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
            + "".join(parts) + "</svg></figure>")


def text(x, y, words, anchor="start", name=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
            + (f' class="{name}"' if name else "") + f">{escape(words)}</text>")


def x_axis(scale, top, bottom, label):
    parts = []
    for tick in scale.ticks:
        x = scale.at(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(text(x, bottom + 14, scale.label(tick), "middle", "tick"))
    half = len(label) * TEXT * 0.45
    middle = min(max((scale.begin + scale.end) / 2, half), WIDTH - half)
    parts.append(text(middle, bottom + 30, label, "middle", "axis"))
    return parts


def y_axis(scale, left, right, label):
    parts = []
    for tick in scale.ticks:
        y = scale.at(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text(left - 5, y + 4, scale.label(tick), "end", "tick"))
    parts.append(text(4, scale.end - 10, label, "start", "axis"))
    return parts


def label_width(labels):
    return max((len(label) for label in labels), default=0) * TEXT + 12


def dots(title, rows, axis, is_log=True, label=si, reference=None):
    """rows: (name, {system: value}); a value of None is left out, as is a row without any.
    `reference` draws a line at a value."""
    rows = [(name, values) for name, values in rows
            if any(value is not None for value in values.values())]
    if not rows:
        return ""
    left, top = label_width([name for name, _ in rows]), 6
    bottom = top + ROW * len(rows)
    values = [value for _, by_system in rows for value in by_system.values()]
    if reference is not None:
        values.append(reference)
    scale = Scale(values, left, WIDTH - RIGHT, is_log, label)
    parts = x_axis(scale, top, bottom, axis)
    if reference is not None:
        x = scale.at(reference)
        parts.append(f'<line class="reference" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" '
                     f'y2="{bottom}"/>')
    for place, (name, by_system) in enumerate(rows):
        y = top + ROW * (place + 0.5)
        there = {s: v for s, v in by_system.items() if v is not None}
        ends = [scale.at(value) for value in there.values()]
        parts.append(text(left - 8, y + 4, name, "end", "name"))
        parts.append(f'<line class="span" x1="{min(ends):.1f}" x2="{max(ends):.1f}" y1="{y:.1f}" '
                     f'y2="{y:.1f}"/>')
        for (system, value), aside in zip(there.items(), dodged(ends)):
            parts.append(f"<g><title>{escape(system)}, {escape(name)}: {escape(precise(value))}"
                         f"</title>{mark(system, scale.at(value), y + aside)}</g>")
    return frame(title, bottom + 38, parts)


def dodged(places):
    """How far aside of their line marks at these places go, so that none hides another."""
    taken = []
    for place in places:
        free = [aside for aside in (0, -4, 4, -8, 8)
                if all(abs(place - other) + abs(aside - there) > MARK for other, there in taken)]
        taken.append((place, free[0] if free else 0))
    return [aside for _, aside in taken]


def precise(value):
    return f"{value:.4g}" if value < 1e4 else f"{value:,.0f}".replace(",", " ")


def ranges(title, rows, axis):
    """Latencies. rows: (name, {system: (p50, p99, p99.9, max)}) in µs."""
    if not rows:
        return ""
    left, top, gap = label_width([name for name, _ in rows]), 6, 8
    height = sum(len(by_system) * 11 + gap for _, by_system in rows)
    bottom = top + height
    scale = Scale([value for _, by_system in rows for points in by_system.values()
                   for value in points], left, WIDTH - RIGHT, True, of_time)
    parts = x_axis(scale, top, bottom, axis)
    y = top + gap / 2
    for name, by_system in rows:
        middle = y + len(by_system) * 11 / 2
        parts.append(text(left - 8, middle + 4, name, "end", "name"))
        for system, points in by_system.items():
            y += 5.5
            p50, p99, p999, most = (scale.at(point) for point in points)
            words = ", ".join(f"{what} {point:.4g} µs" for what, point in
                              zip(("p50", "p99", "p99.9", "max"), points))
            parts.append(f"<g><title>{escape(system)}, {escape(name)}: {escape(words)}</title>"
                         f'<line class="tail {escape(system)}" x1="{p50:.1f}" x2="{most:.1f}" '
                         f'y1="{y:.1f}" y2="{y:.1f}"/>'
                         f'<line class="body {escape(system)}" x1="{p50:.1f}" x2="{p99:.1f}" '
                         f'y1="{y:.1f}" y2="{y:.1f}"/>'
                         f'<line class="stop {escape(system)}" x1="{p999:.1f}" x2="{p999:.1f}" '
                         f'y1="{y - 3.5:.1f}" y2="{y + 3.5:.1f}"/>'
                         f"{mark(system, p50, y, 3.4)}</g>")
            y += 5.5
        y += gap
    return frame(title, bottom + 38, parts)


def lines(title, by_system, x_name, y_name, x_label=of_bytes, y_label=si):
    """by_system: {system: [(x, y)]}, both axes logarithmic; ticks of x where there are points."""
    points = [point for line in by_system.values() for point in line]
    if not points:
        return ""
    left, top, bottom = 46, 24, 210
    places = sorted({x for x, _ in points})
    across = Scale(places, left + 8, WIDTH - 20)
    across.low, across.high = math.log10(places[0]), math.log10(places[-1]) or 1
    if across.low == across.high:
        across.high += 1
    across.ticks, across.label = places, x_label
    up = Scale([y for _, y in points], bottom, top, True, y_label)
    parts = y_axis(up, left, WIDTH - 10, y_name) + x_axis(across, top, bottom, x_name)
    for system, line in by_system.items():
        if len(line) > 1:
            path = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in line)
            parts.append(f'<polyline class="line {escape(system)}" points="{path}"/>')
        for x, y in line:
            parts.append(f"<g><title>{escape(system)}, {escape(x_label(x))}: {escape(precise(y))}"
                         f"</title>{mark(system, across.at(x), up.at(y))}</g>")
    return frame(title, bottom + 38, parts)


def moments(title, by_system, slot_ms):
    """The longest call of each time slot, a band for each system over the same seconds.
    by_system: {system: [µs]}; 0 where no call ended."""
    by_system = {system: values for system, values in by_system.items() if values}
    if not by_system:
        return ""
    left, top, band = 56, 10, 66
    slots = max(len(values) for values in by_system.values())
    across = Scale([slots * slot_ms / 1000], left, WIDTH - RIGHT, False, lambda s: f"{s:g}")
    across.high = slots * slot_ms / 1000
    across.ticks = [tick for tick in across.ticks if tick <= across.high]
    bottom = top + len(by_system) * (band + 22)
    parts = x_axis(across, top, bottom, "seconds since the start")
    everything = [value for values in by_system.values() for value in values if value > 0]
    everything.append(min(everything, default=1) / 2)  # so that the least can be seen, too
    for place, (system, values) in enumerate(by_system.items()):
        low = top + place * (band + 22) + 16 + band
        up = Scale(everything, low, low - band, True, of_time, 4)
        for tick in up.ticks:
            y = up.at(tick)
            parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
                         f'y2="{y:.1f}"/>')
            parts.append(text(left - 5, y + 4, of_time(tick), "end", "tick"))
        stems = "".join(f"M{across.at((slot + 0.5) * slot_ms / 1000):.1f} {low:.1f}"
                        f"V{up.at(value):.1f}" for slot, value in enumerate(values) if value > 0)
        width = max(1.0, 0.7 * (WIDTH - RIGHT - left) / slots)
        longest = max(values)
        parts.append(f"<g><title>{escape(system)}: the longest took "
                     f"{escape(precise(longest))} µs</title>"
                     f'<path class="stems {escape(system)}" d="{stems}" '
                     f'stroke-width="{width:.1f}"/></g>')
        parts.append(text(left + 2, low - band - 5, system, "start", "name"))
    return frame(title, bottom + 38, parts)
