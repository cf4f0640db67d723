"""When each boot of a session was, by the wall clock: what the report says of it."""

from __future__ import annotations

from collections.abc import Sequence

from tracekit.frozen import dataclass
from tracekit.timeline.axis import Axis
from tracekit.timeline.boot import Boot
from tracekit.timeline.rows import Rows
from tracekit.timeline.when.dates import utc
from tracekit.timeline.when.wall_clock import wall_clocks, why_unknown

__all__ = ["BootTime", "boot_times"]


@dataclass(frozen=True, slots=True)
class BootTime:
    """Wall-clock time in a boot: ``offset_ns`` makes ns since 1970 (UTC) of its times on the axis.

    ``error_ns`` bounds its error. ``basis`` says what it rests on, or, where the rest is None, why
    it is unknown. ``first`` and ``last`` are when the boot's first and last event were.
    """

    boot: int
    offset_ns: int | None
    error_ns: int | None
    first: str | None
    last: str | None
    basis: str

    def at(self, ns: int | None) -> str | None:
        """A time of the session's axis in UTC: ``2026-11-28T20:38:25.123456789Z``."""
        return None if ns is None or self.offset_ns is None else utc(ns + self.offset_ns)


def boot_times(axis: Axis, boots: Sequence[Boot], rows: Rows) -> tuple[BootTime, ...]:
    """Of every boot of the session."""
    times, walls = [], wall_clocks(axis, boots)
    for boot in boots:
        wall = walls.get(boot.index)
        if wall is None:
            why = why_unknown(axis, boot)
            times.append(BootTime(boot.index, None, None, None, None, why))
            continue
        part = rows.within(boot.index)
        stamps = axis.ts_ns[[part.start, part.stop - 1]].tolist()
        first, last = (utc(ns + wall.offset_ns) for ns in stamps)
        times.append(BootTime(boot.index, wall.offset_ns, wall.error_ns, first, last, wall.basis))
    return tuple(times)
