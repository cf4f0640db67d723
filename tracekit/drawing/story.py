"""The story of a blackout as one picture: all of it to scale, and both kernels' parts enlarged.

The whole bar is linear. The way out takes milliseconds of its seconds, so below it each kernel's
part is drawn again over its own stretch of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracekit.drawing.axis import Scale, fits, ruler
from tracekit.drawing.markup import EMPTY, Markup, joined, tag
from tracekit.frozen import dataclass
from tracekit.report.jump.kho_steps import steps_in
from tracekit.report.make import HandoverReport, Report
from tracekit.report.phases import MEANING, Phase
from tracekit.text import duration

__all__ = ["WIDTH", "in_blackout", "phase_class", "phase_title", "story"]

WIDTH = 1080  #: of the pictures, in their own units
_LEFT, _BAR, _GAP = 8, 44, 28
_SHARE = 0.6  # of the whole: a part that takes more is not enlarged


@dataclass(frozen=True, slots=True)
class _Part:
    """One kernel's phases, and where they are in both bars."""

    name: str
    phases: Sequence[Phase]

    @property
    def start_ns(self) -> int:
        return self.phases[0].start_ns or 0

    @property
    def end_ns(self) -> int:
        return max((p.start_ns or 0) + (p.duration_ns or 0) for p in self.phases)


def in_blackout(report: Report, number: int) -> list[Phase]:
    """The phases of a handover from its reboot call to user space that have a place in time."""
    return [
        p for p in report.phases
        if p.handover == number and p.in_blackout
        and p.start_ns is not None and p.duration_ns is not None
    ]  # fmt: skip


def phase_class(phase: Phase, h: HandoverReport, place: int = 0) -> str:
    """The CSS classes of a phase: whose it is, and which of two shades."""
    if phase.name.startswith("dark"):
        return "dark"
    return f"{'old' if phase.boot == h.old else 'new'}{' alt' if place % 2 else ''}"


def phase_title(report: Report, phase: Phase, zero_ns: int) -> Markup:
    """What the pointer tells of a phase: when, how long, what it is, and the steps in it."""
    begins = duration(None if phase.start_ns is None else phase.start_ns - zero_ns)
    means = MEANING.get(phase.name.partition(":")[0], "")
    lines = [f"{phase.name}: {duration(phase.duration_ns)}, from {begins}", means, phase.note]
    lines += [f"{s.label}: {duration(s.took_ns)}" for s in steps_in(report.kho_steps, phase)]
    return tag("title", "\n".join(line for line in lines if line))


def _boxes(
    report: Report, phases: Sequence[Phase], h: HandoverReport, scale: Scale, y: float
) -> Iterator[Markup]:
    """The phases as one bar."""
    zero = h.jump_ns or 0
    for place, phase in enumerate(phases):
        start = phase.start_ns or 0
        x, end = scale.x(start), scale.x(start + (phase.duration_ns or 0))
        wide = max(end - x, 1.0)
        box = tag("rect", x=x, y=y, width=wide, height=_BAR, rx=2,
                  class_=f"box {phase_class(phase, h, place)}")  # fmt: skip
        name = phase.name.removeprefix("initcalls: ")
        label = EMPTY
        if fits(name, wide):
            took = duration(phase.duration_ns)
            label = tag("text", name, x=x + 5, y=y + 19, class_="in")
            if fits(took, wide):
                label = joined([label, tag("text", took, x=x + 5, y=y + 34, class_="in faint")])
        yield tag("g", phase_title(report, phase, zero), box, label)


def _parts(phases: Sequence[Phase], h: HandoverReport) -> list[_Part]:
    dark = [p for p in phases if p.name.startswith("dark")]
    old = [p for p in phases if p.boot == h.old and p not in dark]
    new = [p for p in phases if p.boot == h.new and p not in dark]
    named = ((f"boot {h.old} leaves", old), (f"boot {h.new} arrives", new))
    return [_Part(name, of) for name, of in named if of]


def _lens(part: _Part, whole: Scale, wide: Scale, top: float, y: float) -> Markup:
    """The funnel from a part's place in the whole bar to the enlarged bar."""
    a, b = whole.x(part.start_ns), max(whole.x(part.end_ns), whole.x(part.start_ns) + 1)
    points = f"{a:.1f},{top} {b:.1f},{top} {wide.left + wide.width:.1f},{y} {wide.left:.1f},{y}"
    return tag("polygon", points=points, class_="lens")


def story(report: Report, number: int) -> Markup:
    """One handover; '' where none of its phases has a place on the axis."""
    h, phases = report.handovers[number], in_blackout(report, number)
    if not phases:
        return EMPTY
    start = min(p.start_ns or 0 for p in phases)
    end = max((p.start_ns or 0) + (p.duration_ns or 0) for p in phases)
    whole = Scale(start, max(end, start + 1), _LEFT, WIDTH - 2 * _LEFT)
    zero, top = h.jump_ns or 0, 24
    bottom = top + _BAR
    parts = [ruler(whole, top, bottom + 4, zero), *_boxes(report, phases, h, whole, top)]
    height = bottom + 10
    small = [p for p in _parts(phases, h)
             if (p.end_ns - p.start_ns) < _SHARE * (end - start)]  # fmt: skip
    if small and len(phases) > 1:
        y = bottom + _GAP + 28
        width = (WIDTH - 2 * _LEFT - 24 * (len(small) - 1)) / len(small)
        for place, part in enumerate(small):
            wide = Scale(part.start_ns, max(part.end_ns, part.start_ns + 1),
                         _LEFT + place * (width + 24), width)  # fmt: skip
            parts.append(_lens(part, whole, wide, bottom, y - 22))
            title = f"{part.name}: {duration(part.end_ns - part.start_ns)}"
            parts.append(tag("text", title, x=wide.left, y=y - 26, class_="head"))
            parts.append(ruler(wide, y, y + _BAR + 4, zero))
            parts += _boxes(report, part.phases, h, wide, y)
        height = y + _BAR + 10
    label = f"The blackout of the handover from boot {h.old} to boot {h.new}"
    return tag("svg", *parts, xmlns="http://www.w3.org/2000/svg", class_="picture", role="img",
               viewBox=f"0 0 {WIDTH} {height:.0f}", aria_label=label)  # fmt: skip
