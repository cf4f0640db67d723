"""The lanes of a session: what happened side by side, and queries on one lane.

A lane has events (their row numbers, ascending) or spans (stretches of time). Events are found by
binary search, so a query on a window costs the same however long the recording is. A function that
must visit every event takes a ``pause`` and calls it between pieces of a few milliseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tracekit.analysis.counters import Counter
from tracekit.analysis.stretches import Stretch, Stretches, together
from tracekit.browse.turn_rows import turn_rows
from tracekit.frozen import dataclass, field
from tracekit.query.groups import Index
from tracekit.query.selection import Selection, among
from tracekit.recording import Recording
from tracekit.report.make import BootReport, CpuReport, Report
from tracekit.timeline.axis import OVERLAP
from tracekit.timeline.saved.bpf_format import is_probe

__all__ = ["SWITCH", "Dark", "Lane", "Span", "dark_parts", "find_gap", "make_lanes", "nearest_row"]
__all__ += ["MARKERS", "next_common", "next_row", "shown", "stack"]

_Array = npt.NDArray[Any]
_Side = Literal["left", "right"]
_SIDES: tuple[_Side, _Side] = ("left", "right")
_PIECE = 1 << 17  # rows between two pauses
_MOST = 2000  # spans of a level that a picture is made of
_LEVELS = 3  # levels of a lane, for spans that overlap
SWITCH = "sched:sched_switch"
MARKERS = ("ftrace:print", "ftrace:bprint", "ftrace:bputs", "ftrace:raw_data")
_NO_ROWS: _Array = np.empty(0, np.uint32)


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the session's axis, ns; ``open``: its end was not seen."""

    start_ns: int
    end_ns: int
    label: str
    kind: str
    boot: int
    note: str = ""
    open: bool = False


@dataclass(frozen=True, slots=True)
class Dark:
    """Where nothing is recorded: from a kernel's last event (the jump) to the next one's first.

    ``length_ns`` and ``error_ns`` are None if they are not known: the stretch is drawn, but its
    length on the axis means nothing. ``bounds`` are those of the length.
    """

    start_ns: int
    end_ns: int
    length_ns: int | None
    error_ns: int | None
    bounds: tuple[int | None, int | None] = (None, None)


@dataclass(frozen=True, eq=False)
class Lane:
    """``kind``: ``cpu``, ``events``, ``spans`` or ``counter``; ``note``: what is missing.

    ``rows``: its events. ``spans``: by their start. ``counter``: its values. ``turns``: on a CPU
    whose task switches were recorded, the rows that bound its tasks' turns
    (:mod:`~tracekit.browse.turn_rows`). ``stretches``: where no event does not mean that it was
    quiet; those of all CPUs together if the lane is not a CPU's.
    """

    name: str
    kind: str
    rows: _Array = field(default_factory=lambda: _NO_ROWS)
    spans: tuple[Span, ...] = ()
    turns: _Array = field(default_factory=lambda: _NO_ROWS)
    note: str = ""
    stretches: Stretches = field(default_factory=Stretches)
    counter: Counter | None = None

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The spans, stacked so that those of a level do not overlap (if the levels suffice)."""
        return tuple(Level(level) for level in stack(self.spans, _LEVELS))

    def span_at(self, ns: int) -> Span | None:
        """The innermost span that contains an instant: the last to begin, then the shortest."""
        hits = [s for level in self.levels for s in level.within(ns, ns + 1)]
        return min(hits, key=lambda s: (-s.start_ns, s.end_ns), default=None)

    def span_beside(self, ns: int, forward: bool) -> Span | None:
        """The first span that begins after an instant, or the last that begins before it."""
        starts = self._starts
        i = bisect_right(starts, ns) if forward else bisect_left(starts, ns) - 1
        return self.spans[i] if 0 <= i < len(self.spans) else None

    @cached_property
    def _starts(self) -> list[int]:
        return [s.start_ns for s in self.spans]


class Level:
    """Spans sorted by start, for finding those in a stretch of time."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        self._starts = [s.start_ns for s in spans]
        self._ends = list(accumulate((s.end_ns for s in spans), max))  # the latest so far
        self._lengths = np.array([s.end_ns - s.start_ns for s in spans], np.int64)

    def within(self, start: int, end: int, most: int = _MOST) -> Sequence[Span]:
        """Those that touch ``[start, end)``, the longest ``most`` if there are more.

        A span without length touches its instant.
        """
        first, last = bisect_left(self._ends, start), bisect_left(self._starts, end)
        spans = self.spans[first:last]
        if len(spans) > most:
            longest = np.argpartition(self._lengths[first:last], -most)[-most:]
            spans = [spans[i] for i in np.sort(longest).tolist()]
        return [s for s in spans if s.end_ns > start or s.start_ns >= start]


def _by_start(span: Span) -> tuple[int, bool, int]:
    """Sort key: by start; of those that begin together, empty ones first, then the longest."""
    return span.start_ns, span.end_ns > span.start_ns, -span.end_ns


def stack(spans: Iterable[Span], most: int) -> list[list[Span]]:
    """Spread spans over at most ``most`` levels, each on the first that is free at its start.

    A span that fits on none goes to the last, where it overlaps others. Levels are sorted by start.
    """
    levels: list[list[Span]] = []
    ends: list[int] = []
    for span in sorted(spans, key=_by_start):
        level = next((i for i, end in enumerate(ends) if end <= span.start_ns), len(levels))
        if level == len(levels) < most:
            levels.append([])
            ends.append(span.end_ns)
        level = min(level, most - 1)
        levels[level].append(span)
        ends[level] = max(ends[level], span.end_ns)
    return levels


# -- the lanes of a session --------------------------------------------------------------------


def make_lanes(
    recording: Recording,
    report: Report,
    index: Index,
    coverage: Mapping[int, Sequence[Stretch]] | None = None,
    pause: Callable[[], None] = _nothing,
) -> list[Lane]:
    """One lane per CPU, and every other that is not empty; ``pause`` is called now and then.

    ``coverage``: of each CPU, as :func:`tracekit.browse.coverage.coverage` makes it.
    """
    covered = coverage or {}
    every = Stretches(together(list(covered.values())))
    spans = {
        "phases": _phases(report),
        "KHO and LUO": [
            Span(s.start_ns, s.end_ns or s.start_ns, s.label, "step", s.boot, ", ".join(s.names))
            for s in report.kho_steps if s.start_ns is not None
        ],
        "devices": list(_devices(recording, report)),
        "initcalls": [
            Span(c.start_ns, c.start_ns + c.duration_ns, c.function, c.level, c.boot,
                 "" if not c.ret else f"returned {c.ret}")
            for c in report.initcalls
        ],
        "units": [
            Span(u.start_ns, u.start_ns + u.duration_ns, u.name, "unit", u.boot)
            for u in report.units if u.start_ns is not None
        ],
    }  # fmt: skip
    lanes = [
        Lane(name, "spans", spans=tuple(sorted(of_lane, key=_by_start)), stretches=every)
        for name, of_lane in spans.items() if of_lane
    ]  # fmt: skip
    pause()
    probes = {kind.name for kind in recording.kinds if is_probe(kind.id)}
    wanted = {
        "kernel log": [n for n in recording.event_names if n.startswith("printk:")],
        "BPF probes": [n for n in recording.event_names if n in probes],
        "markers": [n for n in recording.event_names if n in MARKERS],
    }
    for name, events in wanted.items():
        rows = _rows_of(recording, index, events)
        pause()
        if name == "BPF probes":
            rows = rows[_from_probes(recording, rows)]
        if len(rows):
            lanes.append(Lane(name, "events", rows, stretches=every))
    return [*lanes, *_cpu_lanes(recording, report, index, covered, pause)]


def _phases(report: Report) -> list[Span]:
    return [
        Span(p.start_ns, p.start_ns + p.duration_ns, p.name,
             "dark" if p.name.startswith("dark") else "phase", p.boot, p.note)
        for p in report.phases if p.start_ns is not None and p.duration_ns is not None
    ]  # fmt: skip


def _devices(recording: Recording, report: Report) -> Iterator[Span]:
    """Calls that returned, and those that did not: up to the last event of their kernel."""
    for d in report.devices:
        if d.start_ns is None:
            continue
        took, note = d.duration_ns, " ".join(t for t in (d.driver, d.function) if t)
        if took is None:
            note += ": its end was not timed" if d.finished else ": never returned"
            took = 0 if d.finished else max(0, _last_of(recording, d.boot) - d.start_ns)
        elif d.bus_master:
            note += ": could still do DMA"
        yield Span(d.start_ns, d.start_ns + took, d.name or d.function, "device", d.boot, note,
                   not d.finished)  # fmt: skip


def _boot_edges(recording: Recording, boot: int) -> tuple[int, int]:
    """The rows [first, last) of a boot; both the same if it has none."""
    boots = recording.rows.boot
    if any(d.code == OVERLAP for d in recording.axis.diagnostics):
        mine = np.flatnonzero(boots == boot)
        return (int(mine[0]), int(mine[-1]) + 1) if len(mine) else (0, 0)
    first, last = (int(among(boots, boot, side)) for side in _SIDES)
    return first, last


def _last_of(recording: Recording, boot: int) -> int:
    first, last = _boot_edges(recording, boot)
    return int(recording.axis.ts_ns[last - 1]) if last > first else 0


def _rows_of(recording: Recording, index: Index, names: Sequence[str]) -> _Array:
    """The rows of some events, ascending."""
    codes = [recording.event_names.index(name) for name in names]
    parts = [index.events.rows(code) for code in codes]
    return parts[0] if len(parts) == 1 else np.sort(np.concatenate([_NO_ROWS, *parts]))


def _from_probes(recording: Recording, rows: _Array) -> _Array:
    """Which rows are from BPF probes: a kernel may have an event of the same name."""
    of_kind = np.array([is_probe(kind.id) for kind in recording.kinds], bool)
    made: _Array = of_kind[recording.rows.kind[rows]] if len(rows) else np.empty(0, bool)
    return made


def _cpu_lanes(
    recording: Recording,
    report: Report,
    index: Index,
    coverage: Mapping[int, Sequence[Stretch]],
    pause: Callable[[], None],
) -> Iterator[Lane]:
    switches = _rows_of(recording, index, [n for n in recording.event_names if n == SWITCH])
    turning, boots, ts_ns = recording.rows.cpu[switches], recording.rows.boot, recording.axis.ts_ns
    reported = {c.cpu for b in report.boots for c in b.cpus}
    for cpu in sorted({*index.cpus.keys, *coverage, *reported}):
        pause()
        rows, stretches = index.cpus.of(cpu), Stretches(coverage.get(cpu, ()))
        turns = turn_rows(rows, switches[turning == cpu], boots, ts_ns, stretches)
        note = _missing(report.boots, cpu)
        yield Lane(f"CPU {cpu}", "cpu", rows, turns=turns, note=note, stretches=stretches)


def _missing(boots: Sequence[BootReport], cpu: int) -> str:
    """What is missing of a CPU, boot by boot."""
    holes = []
    for boot in boots:
        parts = [part for c in boot.cpus if c.cpu == cpu for part in _losses(c)]
        if parts:
            holes.append(f"{' and '.join(parts)} in boot {boot.index}")
    return "; ".join(holes)


def _losses(account: CpuReport) -> Iterator[str]:
    if account.lost is None:
        yield "an unknown number of events lost"
    elif account.lost or account.lost_at_least:
        yield f"{'at least ' if account.lost_at_least else ''}{account.lost:,} events lost"
    if account.unreadable:
        yield f"{account.unreadable:,} pages unreadable"


def dark_parts(recording: Recording, report: Report) -> list[Dark]:
    """For each jump, the time after it that no kernel recorded."""
    parts, ts = [], recording.axis.ts_ns
    for h in report.handovers:
        first, last = _boot_edges(recording, h.new)
        if h.jump_ns is not None and last > first and int(ts[first]) >= h.jump_ns:
            bounds = h.gap_earliest_ns, h.gap_latest_ns
            parts.append(Dark(h.jump_ns, int(ts[first]), h.gap_ns, h.gap_error_ns, bounds))
    return parts


# -- queries on a lane -------------------------------------------------------------------------


def shown(lane: Lane, selection: Selection, pause: Callable[[], None] = _nothing) -> Lane:
    """The lane with only those of its events that are shown; spans stay as they are."""
    if selection.rows is None or not len(lane.rows):
        return lane
    parts = [lane.rows[:0]]
    for start in range(0, len(lane.rows), _PIECE):
        parts.append(selection.within(lane.rows[start : start + _PIECE]))
        pause()
    return replace(lane, rows=np.concatenate(parts))


def next_row(rows: _Array, row: int, forward: bool) -> int | None:
    """The next of ``rows`` after ``row``, or the last one before it."""
    position = int(among(rows, row, "right")) if forward else int(among(rows, row)) - 1
    return int(rows[position]) if 0 <= position < len(rows) else None


def nearest_row(ts_ns: _Array, rows: _Array, ns: int) -> int:
    """The one of ``rows`` (not empty) that is nearest to an instant."""
    position = int(among(rows, np.searchsorted(ts_ns, ns)))
    beside: list[int] = rows[max(position - 1, 0) : position + 1].tolist()
    return min(beside, key=lambda row: abs(int(ts_ns[row]) - ns))


def _pieces(rows: _Array, row: int, forward: bool) -> Iterator[_Array]:
    """``rows`` from ``row`` on (or back), nearest first; pieces share their border rows."""
    if forward:
        position = int(among(rows, row))
        for start in range(position, len(rows), _PIECE):
            yield rows[start : start + _PIECE + 1]
    else:
        # one more row: it may end a gap that begins before ``row``
        position = min(int(among(rows, row, "right")) + 1, len(rows))
        for end in range(position, 0, -_PIECE):
            yield rows[max(0, end - _PIECE - 1) : end]


def next_common(
    rows: _Array,
    selection: Selection,
    row: int,
    forward: bool,
    pause: Callable[[], None] = _nothing,
) -> int | None:
    """As :func:`next_row`, among the rows that are shown."""
    if selection.rows is None:
        return next_row(rows, row, forward)
    for piece in _pieces(rows, row, forward):
        beside = next_row(selection.within(piece), row, forward)
        if beside is not None:
            return beside
        pause()
    return None


def find_gap(
    ts_ns: _Array,
    rows: _Array,
    row: int,
    least_ns: int,
    forward: bool,
    pause: Callable[[], None] = _nothing,
) -> tuple[int, int] | None:
    """The next stretch of a lane without events: the rows that it lies between.

    A gap is at least ``least_ns`` from one event of ``rows`` to the next one. Forward, it begins
    after ``row``; back, it begins before it.
    """
    for piece in _pieces(rows, row, forward):
        # a gap that begins at the cursor's own event does not count
        wide = np.flatnonzero(np.diff(ts_ns[piece]) >= least_ns)
        wide = wide[piece[wide] > row] if forward else wide[piece[wide] < row]
        if len(wide):
            first = int(wide[0] if forward else wide[-1])
            return int(piece[first]), int(piece[first + 1])
        pause()
    return None
