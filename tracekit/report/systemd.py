"""systemd's part of a handover: when it stops its units, and when it starts them again.

The new kernel's side is ``boots/N/systemd.json``: stamps in microseconds of CLOCK_MONOTONIC, as
``org.freedesktop.systemd1`` has them; 0 means never. The old kernel's side are the
execs of pid 1, which becomes ``systemd-shutdown`` once every unit is stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracekit.analysis.each_event import argument, event_rows
from tracekit.errors import SessionError
from tracekit.frozen import dataclass
from tracekit.probes.marks import MARK, SNAPSHOT
from tracekit.timeline.axis import Axis
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events
from tracekit.timeline.markers import printed_texts

__all__ = [
    "Systemd",
    "Unit",
    "read_systemd",
    "shutdown_begin",
    "shutdown_exec",
    "startup_end",
    "unit_starts",
]

_EXEC = "sched:sched_process_exec"
_U63 = 1 << 63


@dataclass(frozen=True, slots=True)
class Unit:
    """How long a unit took to start; ``start_ns`` is None if no clock relates it."""

    name: str
    boot: int
    start_ns: int | None
    duration_ns: int


@dataclass(frozen=True, slots=True)
class Systemd:
    """``boots/N/systemd.json``: stamps in ns of CLOCK_MONOTONIC, None if not given.

    ``units``: (id, begin of its start, end of it) of those that were started.
    """

    boot: int
    shutdown_start: int | None = None
    finish: int | None = None
    units: tuple[tuple[str, int, int], ...] = ()


def read_systemd(boot: Boot) -> Systemd:
    """What systemd reported in a boot; damaged entries are skipped, a damaged file is noted."""
    path = f"boots/{boot.index}/systemd.json"
    if not boot.session.has(path):
        return Systemd(boot.index)
    try:
        document = boot.session.json(path)
    except SessionError as error:
        boot.note("systemd-unreadable", "systemd.json", str(error))
        return Systemd(boot.index)
    manager = document.get("manager")
    return Systemd(
        boot.index,
        _stamp(manager, "ShutdownStartTimestampMonotonic"),
        _stamp(manager, "FinishTimestampMonotonic"),
        tuple(_units(document.get("units"))),
    )


def _stamp(stamps: object, key: str) -> int | None:
    """A stamp in ns of CLOCK_MONOTONIC; None if it is not set or invalid."""
    value = stamps.get(key) if isinstance(stamps, Mapping) else None
    usec = value if isinstance(value, int) and not isinstance(value, bool) else 0
    return usec * 1000 if 0 < usec * 1000 < _U63 else None


def _units(units: object) -> Iterator[tuple[str, int, int]]:
    for unit in units if isinstance(units, list) else ():
        begin, end = _stamp(unit, "inactive_exit"), _stamp(unit, "active_enter")
        if begin is not None and end is not None and begin <= end:
            yield str(unit.get("id", "")), begin, end


def _on_axis(axis: Axis, boot: int, stamp: int | None) -> int | None:
    placed = axis.monotonic(boot, [stamp]) if stamp is not None else None
    return placed[0][0] if placed else None


def _execs(events: Events, boot: Boot, program: str, pid: int | None = None) -> list[int]:
    """When a program was executed, ns on the axis."""
    rows = event_rows(events, boot.index, _EXEC)
    rows = rows if pid is None else rows[events.rows.pid[rows] == pid]
    files = argument(events, rows, "filename")
    stamps = events.axis.ts_ns[rows].tolist()
    named = ((ts, f) for ts, f in zip(stamps, files, strict=False) if isinstance(f, str))
    return [ts for ts, f in named if f.endswith(f"/{program}")]


def shutdown_exec(events: Events, boot: Boot) -> int | None:
    """When pid 1 last became systemd-shutdown, ns on the axis; None if that was not recorded."""
    return max(_execs(events, boot, "systemd-shutdown", pid=1), default=None)


def shutdown_begin(events: Events, boot: Boot, systemd: Systemd, until: int) -> int | None:
    """When the shutdown that ended in systemd-shutdown at ``until`` began; None if unknown.

    By systemd itself, else by the recorder's mark, else by the exec of systemctl.
    """
    begin = _on_axis(events.axis, boot.index, systemd.shutdown_start)
    if begin is not None and begin <= until:
        return begin
    ts = events.axis.ts_ns
    texts = printed_texts(boot, events.rows, events.kinds, events.buffers)
    marks = [
        int(ts[row])
        for row, text in texts
        if text.startswith(MARK) and not text.startswith(MARK + SNAPSHOT)
    ]
    for stamps in (marks, _execs(events, boot, "systemctl")):
        before = [stamp for stamp in stamps if stamp <= until]
        if before:
            return before[-1]
    return None


def startup_end(axis: Axis, systemd: Systemd) -> int | None:
    """When systemd had started everything, ns on the axis; None if it did not report that."""
    return _on_axis(axis, systemd.boot, systemd.finish)


def unit_starts(axis: Axis, systemd: Systemd) -> list[Unit]:
    """How long each unit took to start, the slowest first."""
    units = sorted(systemd.units, key=lambda u: u[1] - u[2])
    placed = axis.monotonic(systemd.boot, [begin for _, begin, _ in units])
    starts = placed[0] if placed else [None] * len(units)
    return [
        Unit(name, systemd.boot, start, end - begin)
        for (name, begin, end), start in zip(units, starts, strict=True)
    ]
