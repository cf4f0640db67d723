"""Wall-clock time: what turns times of the session's axis into Unix time, if known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from tracekit.frozen import dataclass
from tracekit.timeline.axis import Axis
from tracekit.timeline.boot import Boot
from tracekit.timeline.clock_evidence import Source

__all__ = ["Wall", "wall_clocks", "why_unknown"]

_SECOND = 10**9
_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Wall:
    """``offset_ns``: what to add to a boot's times on the axis for ns since 1970 (UTC).

    ``error_ns`` bounds its error for every event of the boot, and ``basis`` says what it rests on.
    CLOCK_REALTIME may have been set while the kernel ran: this is what it showed when it was last
    read.
    """

    offset_ns: int
    error_ns: int
    basis: str


def _readings(source: Source, clock: str) -> list[tuple[int, int]]:
    """(TSC, ns) of the boot's samples of a clock, by TSC."""
    brackets = source.given.clocks.evidence.brackets.get(clock, ())
    middles = (((b.before + b.after) // 2, b.ns) for b in brackets)
    return sorted((tsc, ns) for tsc, ns in middles if max(tsc, ns) < _LIMIT)


def _monotonic_at(source: Source, tsc: int) -> tuple[int, int] | None:
    """(CLOCK_MONOTONIC at a count of the TSC, ns; how far that may be off), between two samples."""
    readings = _readings(source, "mono")
    for (before, low), (after, high) in pairwise(readings):
        if before <= tsc < after and low <= high:
            return low + (high - low) * (tsc - before) // (after - before), high - low
    return None


def _drift(axis: Axis, source: Source, ns: int) -> int | None:
    """How far the clock's rate may put an event of the boot off a reading that is at ``ns``.

    None if nothing bounds the rate.
    """
    model = axis.clocks[source.given.index]
    ends = [model.ns(raw) for raw in (source.given.first_raw, source.given.last_raw) if raw]
    farthest = max((abs(end - ns) for end in ends), default=0)
    return model.duration_error(round(farthest / model.ns_per_unit))


def _wall(axis: Axis, source: Source, ns: int, real: int, error: int, basis: str) -> Wall | None:
    """The clock by one reading: ``real`` was shown at ``ns`` of the axis."""
    drift = _drift(axis, source, ns)
    return None if drift is None else Wall(real - ns, error + drift, basis)


def _by_realtime(axis: Axis, source: Source) -> Wall | None:
    """By the newest reading of CLOCK_REALTIME that is between two of CLOCK_MONOTONIC."""
    for tsc, real in reversed(_readings(source, "realtime")):
        mono = _monotonic_at(source, tsc)
        placed = axis.monotonic(source.given.index, [mono[0]]) if mono else None
        if mono is not None and placed is not None:
            (ns,), error = placed
            return _wall(axis, source, ns, real, error + mono[1], "a reading of CLOCK_REALTIME")
    return None


def _boot_second(boot: Boot) -> int | None:
    """The second at which the kernel says it was booted."""
    btime = boot.kernel.get("btime_s")
    return btime if isinstance(btime, int) and 0 < btime * _SECOND < _LIMIT else None


def _by_boot_time(axis: Axis, source: Source, boot: Boot) -> Wall | None:
    btime, placed = _boot_second(boot), axis.monotonic(boot.index, [0])
    if btime is None or placed is None:
        return None
    (ns,), error = placed
    second = btime * _SECOND
    return _wall(axis, source, ns, second, error + _SECOND, "btime of /proc/stat")


def _by_another(axis: Axis, walls: dict[int, Wall], boot: int) -> Wall | None:
    """By the clock of the boot whose place relative to this one is known best."""
    if not axis.placed(boot):
        return None
    found = []
    for other, wall in walls.items():
        errors = [axis.clocks[index].error_ns for index in (boot, other)]
        if axis.placed(other) and None not in errors:
            error = wall.error_ns + sum(e or 0 for e in errors)
            found.append(replace(wall, error_ns=error, basis=f"{wall.basis} in boot {other}"))
    return min(found, key=lambda wall: wall.error_ns, default=None)


def wall_clocks(axis: Axis, boots: Sequence[Boot]) -> dict[int, Wall]:
    """By boot; a boot for which there is no evidence is missing."""
    walls = {}
    for boot in boots:
        source = axis.sources.get(boot.index)
        if source is None or not axis.timed(boot.index):
            continue
        wall = _by_realtime(axis, source) or _by_boot_time(axis, source, boot)
        if wall is not None:
            walls[boot.index] = wall
    rest = [boot.index for boot in boots if boot.index not in walls]
    others = {boot: wall for boot in rest if (wall := _by_another(axis, walls, boot)) is not None}
    return dict(sorted({**walls, **others}.items()))


def why_unknown(axis: Axis, boot: Boot) -> str:
    """Why :func:`wall_clocks` has nothing of a boot."""
    source = axis.sources.get(boot.index)
    if source is None or boot.index not in axis.clocks:
        return "no event of it has a stamp"
    if not axis.timed(boot.index):
        return f"its trace clock, {axis.clocks[boot.index].trace_clock}, gives no time"
    read = [name for name in ("realtime",) if _readings(source, name)]
    seen = [*(["CLOCK_REALTIME"] if read else []), *(["btime"] if _boot_second(boot) else [])]
    if not seen:
        return "the session has neither a reading of CLOCK_REALTIME nor btime of /proc/stat"
    return f"nothing relates {' and '.join(seen)} to the stamps of its events"
