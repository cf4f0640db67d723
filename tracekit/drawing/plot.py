"""What ran when, a row each, as ``systemd-analyze plot`` draws a boot: one panel a stretch.

Each handover has up to three: the old kernel's way out, the new kernel up to the first user
process, and systemd's units after it. Each has its own scale; between the first two is the dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tracekit.drawing.axis import Scale, ruler
from tracekit.drawing.markup import Markup, joined, tag
from tracekit.drawing.story import WIDTH, in_blackout, phase_class, phase_title, story
from tracekit.frozen import dataclass
from tracekit.report.critical.blame import Blamed
from tracekit.report.make import HandoverReport, Report
from tracekit.report.phases import Phase
from tracekit.text import duration, measured, on_one_line

__all__ = ["STYLE", "plot", "standalone"]

#: The styles of all pictures.
STYLE = Markup(Path(__file__).with_name("pictures.css").read_text("utf-8"))
_ROW, _HEAD, _SIDE = 17, 46, 10
_MOST = 40  # rows of a panel beside its phases, without ``every``
_MOST_EVER = 3000
_GLYPH = 6.1
_CLASSES = {"device": "device", "initcall": "call", "unit": "unit"}


@dataclass(frozen=True, slots=True)
class _Row:
    start_ns: int
    end_ns: int
    label: str
    style: str
    title: Markup
    open: bool = False


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    start_ns: int
    end_ns: int
    rows: Sequence[_Row]
    left_out: int


def _phase_row(report: Report, phase: Phase, h: HandoverReport, place: int) -> _Row:
    start = phase.start_ns or 0
    label = f"{phase.name} ({duration(phase.duration_ns)})"
    style = f"phase {phase_class(phase, h, place)}"
    return _Row(start, start + (phase.duration_ns or 0), label, style,
                phase_title(report, phase, h.jump_ns or 0))  # fmt: skip


def _thing_row(one: Blamed, end_ns: int, zero_ns: int) -> _Row:
    start = one.start_ns or 0
    took = duration(one.duration_ns) if one.finished else "never returned"
    failed = f", {one.detail}" if one.kind == "initcall" and one.detail else ""
    text = f"{on_one_line(one.name)} ({'≤ ' if one.at_most else ''}{took}{failed})"
    about = f"{one.kind} {one.name}: {took}, from {duration(start - zero_ns)}\n{one.detail}"
    end = end_ns if not one.finished else start + (one.duration_ns or 0)
    style = f"thing {_CLASSES.get(one.kind, 'step')}"
    return _Row(start, max(end, start), text, style, tag("title", about), not one.finished)


def _panel(
    report: Report, title: str, h: HandoverReport, phases: Sequence[Phase],
    things: Sequence[Blamed], every: bool,
) -> _Panel | None:  # fmt: skip
    """A panel of phases and the slowest things that began in them; None where there is nothing."""
    if not phases:
        return None
    start = min(p.start_ns or 0 for p in phases)
    end = max((p.start_ns or 0) + (p.duration_ns or 0) for p in phases)
    inside = [t for t in things if t.start_ns is not None and start <= t.start_ns <= end]
    most = _MOST_EVER if every else _MOST
    drawn = sorted(inside, key=lambda t: (t.finished, -(t.duration_ns or 0)))[:most]
    rows = [_phase_row(report, p, h, place) for place, p in enumerate(phases)]
    rows += [_thing_row(t, end, h.jump_ns or 0) for t in drawn]
    rows.sort(key=lambda r: (r.start_ns, "phase" not in r.style))
    last = max([end, *(r.end_ns for r in rows)])
    return _Panel(title, start, max(last, start + 1), rows, len(inside) - len(drawn))


def _panels(
    report: Report, things: Sequence[Blamed], number: int, every: bool
) -> Iterator[_Panel | None]:
    h = report.handovers[number]
    phases = in_blackout(report, number)
    releases = {b.index: b.release for b in report.boots}
    old = [p for p in phases if p.boot == h.old and not p.name.startswith("dark")]
    new = [p for p in phases if p.boot == h.new and not p.name.startswith("dark")]
    later = [
        p for p in report.phases
        if p.handover == number and p.boot == h.new and not p.in_blackout
        and p.start_ns is not None and p.duration_ns is not None
    ]  # fmt: skip
    leaving = [t for t in things if t.boot == h.old]
    arriving = [t for t in things if t.boot == h.new and t.kind != "unit"]
    units = [t for t in things if t.boot == h.new and t.kind == "unit"]
    made = partial(_panel, report)
    yield made(f"Linux {releases[h.old]} (boot {h.old}) leaves", h, old, leaving, every)
    yield made(f"Linux {releases[h.new]} (boot {h.new}) arrives", h, new, arriving, every)
    yield made(f"User space of boot {h.new}", h, later, units, every)


def _row(row: _Row, scale: Scale, y: float) -> Markup:
    x, end = scale.x(row.start_ns), scale.x(row.end_ns)
    wide = max(end - x, 1.0)
    box = tag("rect", x=x, y=y + 2, width=wide, height=_ROW - 4, rx=2,
              class_=f"box {row.style}{' open' if row.open else ''}")  # fmt: skip
    text = row.label if len(row.label) <= 90 else f"{row.label[:89]}…"
    room = len(text) * _GLYPH
    if x + wide + 6 + room < WIDTH:
        label = tag("text", text, x=x + wide + 5, y=y + 12.5, class_="beside")
    elif x - 6 - room > 0:
        label = tag("text", text, x=x - 5, y=y + 12.5, class_="beside end")
    else:
        label = tag("text", text, x=x + 5, y=y + 12.5, class_="in")
    return tag("g", row.title, box, label)


def _draw(panel: _Panel, top: float, zero_ns: int) -> tuple[Markup, float]:
    """The panel from ``top`` on, and where it ends."""
    scale = Scale(panel.start_ns, panel.end_ns, _SIDE, WIDTH - 2 * _SIDE)
    bottom = top + _HEAD + _ROW * len(panel.rows)
    took = duration(panel.end_ns - panel.start_ns)
    parts = [tag("text", f"{panel.title}: {took}", x=_SIDE, y=top + 16, class_="head"),
             ruler(scale, top + _HEAD - 6, bottom, zero_ns)]  # fmt: skip
    parts += [_row(row, scale, top + _HEAD + _ROW * n) for n, row in enumerate(panel.rows)]
    if panel.left_out:
        text = f"{panel.left_out} shorter ones are not drawn"
        parts.append(tag("text", text, x=_SIDE, y=bottom + 14, class_="tick"))
        bottom += 18
    return joined(parts), bottom + 16


def plot(
    report: Report, things: Sequence[Blamed], number: int, *, every: bool = False
) -> list[Markup]:
    """The panels of a handover, a picture each; none where nothing of it has a place in time.

    ``things`` are those of :func:`tracekit.report.critical.blame.blame`; the 40 slowest of each
    panel are drawn, or ``every`` one.
    """
    zero, pictures = report.handovers[number].jump_ns or 0, list[Markup]()
    for panel in _panels(report, things, number, every):
        if panel is not None:
            drawn, height = _draw(panel, 0.0, zero)
            pictures.append(
                tag("svg", drawn, xmlns="http://www.w3.org/2000/svg", class_="picture", role="img",
                    viewBox=f"0 0 {WIDTH} {height:.0f}", aria_label=f"What ran when: {panel.title}")
            )  # fmt: skip
    return pictures


def _placed(picture: Markup, y: float) -> tuple[Markup, float]:
    """A picture at ``y`` of a larger one, and where it ends."""
    height = float(picture.partition('viewBox="0 0 ')[2].partition('"')[0].split()[1])
    placed = picture.replace("<svg ", f'<svg y="{y:.0f}" width="{WIDTH}" height="{height:.0f}" ', 1)
    return Markup(placed), y + height


def standalone(report: Report, things: Sequence[Blamed], *, every: bool = False) -> str:
    """One SVG file: of every handover its story and its panels."""
    parts, y = list[Markup](), 0.0
    for number, h in enumerate(report.handovers):
        releases = {b.index: b.release for b in report.boots}
        took, error = measured(h.blackout_ns, h.blackout_error_ns)
        heading = f"Linux {releases[h.old]} → {releases[h.new]}: blackout {took} {error}".rstrip()
        parts.append(tag("text", heading, x=_SIDE, y=y + 30, class_="title"))
        note = f"way down: {on_one_line(h.way.text)}; 0 is {h.zero}; record {report.verdict}"
        parts.append(tag("text", note, x=_SIDE, y=y + 50, class_="tick"))
        y += 66
        for picture in (story(report, number), *plot(report, things, number, every=every)):
            if picture:
                placed, y = _placed(picture, y)
                parts.append(placed)
                y += 14
    style = tag("style", STYLE)
    back = tag("rect", x=0, y=0, width=WIDTH, height=y, class_="back")
    svg = tag("svg", style, back, *parts, xmlns="http://www.w3.org/2000/svg", class_="picture",
              viewBox=f"0 0 {WIDTH} {y:.0f}", width=WIDTH, height=f"{y:.0f}")  # fmt: skip
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{svg}\n'
