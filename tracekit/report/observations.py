"""Observations of the two boots around a jump, gathered once from their events.

:class:`Leaving` is of the old kernel, :class:`Entering` of the new one. The phases are computed
from them alone (:mod:`tracekit.report.phases`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass
from tracekit.report.initcalls import Initcall, initcall_levels, initcalls
from tracekit.report.milestones import find_marks
from tracekit.report.own_time import OwnTime, last_snapshot
from tracekit.report.systemd import Systemd, shutdown_begin, shutdown_exec, startup_end
from tracekit.report.time_zero import TimeZero, time_zero
from tracekit.report.ways import Down, way_down
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events
from tracekit.timeline.started_by import StartedBy

__all__ = ["BootClock", "Entering", "Instant", "Leaving", "observe_entering", "observe_leaving"]


class Instant(NamedTuple):
    """When an event happened: its row, and ns on the axis."""

    row: int
    ns: int


@dataclass(frozen=True, slots=True)
class BootClock:
    """Whether a boot's stamps count time, and whether anything relates them to the jump.

    ``early_ns``: how much earlier than they say its first events may be from (None: unknown).
    """

    name: str
    timed: bool
    placed: bool
    early_ns: int | None = 0


@dataclass(frozen=True, slots=True)
class Leaving:
    """The old kernel's way out: ``down``, and ``marks``, the milestones that were seen on it.

    ``stopping`` and ``stopped``: when systemd began to stop its units, and when it was done (ns).
    ``own``: when the recorder took its last snapshot.
    """

    boot: int
    clock: BootClock
    last: Instant | None
    down: Down
    marks: Mapping[str, Instant]
    stopping: int | None
    stopped: int | None
    own: OwnTime | None = None


@dataclass(frozen=True, slots=True)
class Entering:
    """The new kernel's way in.

    ``zero``: when its own clock read 0, with ``notes`` on it. ``levels``: (when it began, ns; its
    name) of each initcall level. ``user``: the first exec of process 1, else of any. ``started``:
    when systemd had started everything (ns).
    """

    boot: int
    clock: BootClock
    first: Instant | None
    zero: TimeZero | None
    notes: tuple[Diagnostic, ...]
    levels: Sequence[tuple[int, str]]
    initcalls: Sequence[Initcall]
    user: Instant | None
    started: int | None


def _clock_of(events: Events, boot: int) -> BootClock:
    model = events.axis.clocks.get(boot)
    name = model.trace_clock if model else "unknown"
    early = model.early_by(events.axis.sources[boot].given.first_raw or 0) if model else 0
    return BootClock(name, events.axis.timed(boot), events.axis.placed(boot), early)


def _instant(events: Events, row: int) -> Instant:
    return Instant(row, int(events.axis.ts_ns[row]))


def observe_leaving(events: Events, boot: Boot, systemd: Systemd, next_one: StartedBy) -> Leaving:
    """Gather the observations of an old kernel; ``next_one`` is how the next came up."""
    rows = events.rows.within(boot.index)
    clock = _clock_of(events, boot.index)
    if rows.stop == rows.start:
        return Leaving(boot.index, clock, None, way_down({}, next_one), {}, None, None)
    down = way_down(find_marks(events, boot), next_one)
    marks = {name: _instant(events, row) for name, row in down.marks.items()}
    stopped = shutdown_exec(events, boot)
    stopping = None if stopped is None else shutdown_begin(events, boot, systemd, stopped)
    last = _instant(events, rows.stop - 1)
    own = last_snapshot(events, boot)
    return Leaving(boot.index, clock, last, down, marks, stopping, stopped, own)


def observe_entering(events: Events, boot: Boot, systemd: Systemd) -> Entering:
    """Gather the observations of a new kernel."""
    rows = events.rows.within(boot.index)
    first = _instant(events, rows.start) if rows.stop > rows.start else None
    zero, notes = time_zero(events, boot) if first is not None else (None, ())
    levels = initcall_levels(events, boot)
    return Entering(
        boot.index,
        _clock_of(events, boot.index),
        first,
        zero,
        notes,
        levels,
        initcalls(events, boot, levels),
        _first_user(events, boot),
        startup_end(events.axis, systemd),
    )


def _first_user(events: Events, new: Boot) -> Instant | None:
    """The first exec of pid 1, else of any process."""
    rows = events.rows.of_kinds(new.index, events.codes(new.index, "sched:sched_process_exec"))
    of_init = rows[events.rows.pid[rows] == 1]
    chosen = of_init if len(of_init) else rows
    return _instant(events, int(chosen[0])) if len(chosen) else None
