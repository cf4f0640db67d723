"""Wall-clock time: what turns times of the session's axis into Unix time, if known."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tracekit.recording import Recording
from tracekit.timeline.boot import Boot
from tracekit.timeline.clock_evidence import Source

__all__ = ["Wall", "wall_clocks"]

_SECOND = 10**9
_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Wall:
    """``offset_ns``: what to add to a boot's times on the axis for ns since 1970 (UTC).

    ``error_ns`` bounds its error, and ``basis`` says what it rests on. CLOCK_REALTIME may have been
    set while the kernel ran: this is what it showed when it was last read.
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


def _by_realtime(recording: Recording, boot: Boot) -> Wall | None:
    """By the newest reading of CLOCK_REALTIME that is between two of CLOCK_MONOTONIC."""
    source = recording.axis.sources.get(boot.index)
    if source is None:
        return None
    for tsc, real in reversed(_readings(source, "realtime")):
        mono = _monotonic_at(source, tsc)
        placed = recording.axis.monotonic(boot.index, [mono[0]]) if mono else None
        if mono is not None and placed is not None:
            (ns,), error = placed
            return Wall(real - ns, error + mono[1], "a reading of CLOCK_REALTIME")
    return None


def _by_boot_time(recording: Recording, boot: Boot) -> Wall | None:
    """By the second at which the kernel says it was booted."""
    btime = boot.kernel.get("btime_s")
    placed = recording.axis.monotonic(boot.index, [0])
    if not isinstance(btime, int) or not 0 < btime * _SECOND < _LIMIT or placed is None:
        return None
    (ns,), error = placed
    return Wall(btime * _SECOND - ns, error + _SECOND, "btime of /proc/stat")


def wall_clocks(recording: Recording) -> dict[int, Wall]:
    """By boot; a boot for which there is no evidence is missing."""
    walls = {}
    for boot in recording.boots:
        wall = _by_realtime(recording, boot) or _by_boot_time(recording, boot)
        if wall is not None:
            walls[boot.index] = wall
    return walls
