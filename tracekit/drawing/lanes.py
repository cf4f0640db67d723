"""The lanes around the jump as data that the page's script draws, and as a picture without it.

The data are bounded: on each CPU the turns and events nearest to the jump. Where they begin and end
is part of them, and outside it is drawn as not in the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.browse.coverage import coverage
from tracekit.browse.lanes import Lane, Span, make_lanes
from tracekit.browse.running_tasks import task_turns
from tracekit.drawing.axis import Scale, fits, ruler
from tracekit.drawing.markup import EMPTY, Markup, tag
from tracekit.drawing.story import WIDTH, in_blackout
from tracekit.frozen import dataclass
from tracekit.query.groups import Index
from tracekit.recording import Recording
from tracekit.report.make import Report
from tracekit.text import duration, printable

__all__ = ["Lanes", "lanes", "still"]

_Array = npt.NDArray[Any]
_MOST_SPANS = 1500  # of a lane
_LIMIT = 1 << 53  # what a number of JavaScript holds exactly
_MARGIN = 0.12  # of a view, on either side of what it shows
_END_NS = 10_000_000  # of a session without a jump
_HEAD, _LANE, _NAMES = 34, 24, 84
_FACED = ("phases", "KHO and LUO", "devices", "initcalls", "units")


@dataclass(frozen=True, slots=True)
class Lanes:
    """``data`` for the script; ``view`` is the stretch that is shown first, ns."""

    data: Mapping[str, Any]
    view: tuple[int, int]

    @property
    def json(self) -> Markup:
        """The data as JSON that can stand in a ``script`` element."""
        text = json.dumps(self.data, separators=(",", ":"), ensure_ascii=True)
        safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        return Markup(safe)


class _Texts:
    """Texts by number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(printable(text), len(self._numbers))

    def all(self) -> list[str]:
        return list(self._numbers)


def _bounded(ns: int) -> int:
    return max(-_LIMIT, min(_LIMIT, ns))


def _spans(lane: Lane, texts: _Texts) -> dict[str, Any]:
    longest = sorted(lane.spans, key=lambda s: s.start_ns - s.end_ns)[:_MOST_SPANS]
    kept = sorted(longest, key=lambda s: (s.start_ns, -s.end_ns))
    return {
        "name": lane.name,
        "kind": "spans",
        "spans": [
            [_bounded(s.start_ns), _bounded(s.end_ns - s.start_ns), texts.number(s.label),
             _face(lane, s, n), texts.number(s.note)]
            for n, s in enumerate(kept)
        ],
        "left": len(lane.spans) - len(kept),
    }  # fmt: skip


def _face(lane: Lane, span: Span, place: int) -> str:
    """The CSS classes of a span."""
    if span.open:
        return "open"
    if span.kind == "dark":
        return "dark"
    faces = {"devices": "device", "initcalls": "call", "units": "unit"}
    return faces.get(
        lane.name, f"{'old' if span.boot == 0 else 'new'}{' alt' if place % 2 else ''}"
    )


def _near(stamps: _Array, zero: int, most: int) -> slice:
    """The ``most`` entries around ``zero``."""
    at = int(np.searchsorted(stamps, zero, "right"))
    first = max(0, min(at - most // 2, len(stamps) - most))
    return slice(first, min(len(stamps), first + most))


def _turns(recording: Recording, lane: Lane, texts: _Texts, zero: int, most: int) -> list[int]:
    """Flat: begin, length, task of each turn; idle and unknown are left out."""
    ts = recording.axis.ts_ns
    rows = lane.turns[_near(ts[lane.turns], zero, most)]
    if not len(rows):
        return []
    begins, codes = task_turns(recording, lane, rows)
    ends = np.append(begins[1:], begins[-1])
    places = {boot.index: n for n, boot in enumerate(recording.boots)}
    flat: list[int] = []
    for begin, end, code in zip(begins.tolist(), ends.tolist(), codes.tolist(), strict=True):
        pid = code & 0xFFFFFFFF
        if code < 0 or pid == 0 or end <= begin:
            continue
        comm = recording.comms[places[code >> 32]].get(pid) or "<...>"
        flat += [_bounded(begin), end - begin, texts.number(f"{comm}-{pid}")]
    return flat


def _cpu(recording: Recording, lane: Lane, texts: _Texts, zero: int, most: int) -> dict[str, Any]:
    ts = recording.axis.ts_ns
    rows = lane.rows[_near(ts[lane.rows], zero, most)]
    names = recording.event_names
    stamps = ts[rows].tolist()
    codes = recording.name_codes(rows).tolist()
    events = [n for s, c in zip(stamps, codes, strict=True)
              for n in (_bounded(s), texts.number(names[c]))]  # fmt: skip
    begin, end = (int(rows[0]), int(rows[-1])) if len(rows) else (-1, -1)
    turns = _turns(recording, lane, texts, zero, most)
    gone = [
        [_bounded(s.start_ns), _bounded(s.end_ns), s.kind, texts.number(s.note)]
        for s in lane.stretches if s.kind not in ("quiet", "stopping")
    ]  # fmt: skip
    cut_before = begin >= 0 and begin != int(lane.rows[0])
    cut_after = end >= 0 and end != int(lane.rows[-1])
    return {
        "name": lane.name, "kind": "cpu", "turns": turns, "events": events, "gone": gone,
        "from": stamps[0] if cut_before else None, "to": stamps[-1] if cut_after else None,
        "note": printable(lane.note), "switches": len(lane.turns) > 0,
    }  # fmt: skip


def _views(recording: Recording, report: Report) -> Iterator[tuple[str, int, int]]:
    """(name, begin, end) of what can be shown with one key."""
    ts = recording.axis.ts_ns
    first, last = (int(ts[0]), int(ts[-1])) if len(ts) else (0, 1)
    if not report.handovers:
        yield "the end", max(first, last - _END_NS), last
    for number in range(len(report.handovers))[-1:]:
        h, phases = report.handovers[number], in_blackout(report, number)
        old = [p for p in phases if p.boot == h.old and not p.name.startswith("dark")]
        new = [p for p in phases if p.boot == h.new and not p.name.startswith("dark")]
        whole = phases if old and new else []
        for name, some in (("leaving", old), ("arriving", new), ("blackout", whole)):
            if some:
                begin = min(p.start_ns or 0 for p in some)
                end = max((p.start_ns or 0) + (p.duration_ns or 0) for p in some)
                yield name, begin, max(end, begin + 1000)
    yield "everything", first, max(last, first + 1000)


def lanes(recording: Recording, report: Report, most: int) -> Lanes | None:
    """The lanes with ``most`` turns and events in all; None where there is no event."""
    if not len(recording):
        return None
    index = Index(recording)
    made = make_lanes(recording, report, index, coverage(recording, index))
    cpus = [lane for lane in made if lane.kind == "cpu"]
    zero = (report.handovers[-1].jump_ns or 0) if report.handovers else int(
        recording.axis.ts_ns[-1]
    )  # fmt: skip
    each = max(20, most // max(1, len(cpus)))
    texts = _Texts()
    drawn = [_spans(lane, texts) for lane in made if lane.name in _FACED]
    drawn += [_cpu(recording, lane, texts, zero, each) for lane in cpus[: max(1, most // 20)]]
    views: list[tuple[str, int, int]] = []
    for name, begin, end in _views(recording, report):
        margin = 0 if name == "everything" else int((end - begin) * _MARGIN)
        views.append((name, _bounded(begin - margin), _bounded(end + margin)))
    data = {
        "zero": zero, "zeroName": report.zero, "views": views, "lanes": drawn,
        "texts": texts.all(), "cpus_left_out": len(cpus) - len(cpus[: max(1, most // 20)]),
    }  # fmt: skip
    return Lanes(data, (views[0][1], views[0][2]))


# -- without the script ------------------------------------------------------------------------


def still(made: Lanes) -> Markup:
    """The first view as a picture, for who prints the page or runs no script."""
    data, (start, end) = made.data, made.view
    scale = Scale(start, end, _NAMES, WIDTH - _NAMES - 8)
    bottom = _HEAD + _LANE * len(data["lanes"])
    parts = [ruler(scale, _HEAD - 8, bottom, data["zero"])]
    for place, lane in enumerate(data["lanes"]):
        y = _HEAD + _LANE * place
        parts.append(tag("text", lane["name"], x=4, y=y + 15, class_="lane"))
        parts += _drawn(lane, data["texts"], scale, y)
    return tag("svg", *parts, class_="picture", role="img", viewBox=f"0 0 {WIDTH} {bottom + 6}",
               aria_label="What every CPU did around the jump")  # fmt: skip


def _drawn(
    lane: Mapping[str, Any], texts: Sequence[str], scale: Scale, y: float
) -> Iterator[Markup]:
    if lane["kind"] == "spans":
        for start, took, label, face, _ in lane["spans"]:
            yield _box(scale, y, start, took, texts[label], face)
        return
    for start, end, kind, _ in lane["gone"]:
        yield _box(scale, y, start, end - start, "", f"gone {kind}")
    turns = lane["turns"]
    for n in range(0, len(turns), 3):
        face = f"turn hue{turns[n + 2] % 6}"
        yield _box(scale, y, turns[n], turns[n + 1], texts[turns[n + 2]], face)


def _box(scale: Scale, y: float, start: int, took: int, label: str, face: str) -> Markup:
    if start > scale.end_ns or start + took < scale.start_ns:
        return EMPTY
    x, end = scale.x(start), scale.x(start + took)
    wide = max(end - x, 0.6)
    box = tag("rect", x=x, y=y + 2, width=wide, height=_LANE - 5, class_=f"box {face}")
    text = tag("text", label, x=x + 4, y=y + 15, class_="in") if label and fits(label, wide) else ""
    title = tag("title", f"{label} {duration(took)}") if label else ""
    return tag("g", title or EMPTY, box, text or EMPTY)
