"""Of every CPU, the stretches of time in which no event does not mean that it was quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tracekit.analysis.ring_record import RingRecord, ring_records
from tracekit.analysis.stretches import ENDLESS, LOSSES, Stretch, layered
from tracekit.browse.stopped_cpus import stops_of
from tracekit.query.groups import Index
from tracekit.recording import Recording
from tracekit.timeline.boot import Boot

__all__ = ["coverage", "losses_of"]

_BEFORE = "before the record begins"
_DARK = "after the jump, before the next kernel recorded"
_AFTER = "after the record's end"


class _Recorded(NamedTuple):
    """One boot: its rings, and the first and the last of its events (ns)."""

    boot: Boot
    rings: Sequence[RingRecord]
    start_ns: int
    end_ns: int


def _nothing() -> None:
    pass


def coverage(
    recording: Recording, index: Index, pause: Callable[[], None] = _nothing
) -> dict[int, tuple[Stretch, ...]]:
    """CPU -> its stretches, by start; they do not overlap.

    For a recording whose buffers are decoded, not for one from an index. ``pause`` is called now
    and then.
    """
    boots = []
    for boot in recording.boots:
        part = recording.rows.within(boot.index)
        if part.stop > part.start:
            ends = recording.axis.ts_ns[[part.start, part.stop - 1]].tolist()
            dead = boot is not recording.boots[-1]
            boots.append(_Recorded(boot, ring_records(recording, boot, dead), *ends))
            pause()
    cpus = sorted({*index.cpus.keys, *(cpu for b in boots for cpu in _cpus(b))})
    layers: dict[int, list[Stretch]] = {cpu: _between(boots) for cpu in cpus}
    for number, recorded in enumerate(boots):
        stops = stops_of(recording, index, recorded.boot, cpus, recorded.end_ns)
        for cpu in cpus:
            layers[cpu] += _of_boot(recorded, cpu, stops.get(cpu, ()), first=not number)
            pause()
    return {cpu: layered(mine) for cpu, mine in layers.items()}


def losses_of(recording: Recording) -> dict[int, list[tuple[int, int]]]:
    """CPU -> stretches of the axis (ns) in which there were events that are lost."""
    covered = coverage(recording, Index(recording)) if len(recording) else {}
    return {
        cpu: [(s.start_ns, s.end_ns) for s in stretches if s.kind in LOSSES]
        for cpu, stretches in covered.items()
    }


def _cpus(recorded: _Recorded) -> set[int]:
    """The CPUs that have a ring, and those that should have one."""
    cpus = {ring.cpu for ring in recorded.rings}
    return cpus | {*range(recorded.boot.cpus)} if len(cpus) < recorded.boot.cpus else cpus


def _between(boots: Sequence[_Recorded]) -> list[Stretch]:
    """What is true of all CPUs outside the boots."""
    if not boots:
        return []
    last = boots[-1].end_ns
    return [
        Stretch(-ENDLESS, ENDLESS, "unknown", _DARK),
        Stretch(-ENDLESS, boots[0].start_ns, "unknown", _BEFORE),
        Stretch(last, ENDLESS, "unknown", _AFTER),
    ]


def _of_boot(
    recorded: _Recorded, cpu: int, stops: Sequence[Stretch], *, first: bool
) -> Iterator[Stretch]:
    """The layers of a CPU in a boot; ``first``: there is no earlier boot."""
    start, end, boot = recorded.start_ns, recorded.end_ns, recorded.boot
    rings = [ring for ring in recorded.rings if ring.cpu == cpu]
    online = [ring for ring in rings if ring.online]
    if not online:
        absent = bool(rings) or 0 < boot.cpus <= len({r.cpu for r in recorded.rings})
        note = "it was not online" if absent else "there is no record of it"
        yield Stretch(
            start, end, "stopped" if absent else "unknown", f"{note} in boot {boot.index}"
        )
        yield from stops
        return
    covered = [(r.start_ns, r.end_ns) for r in online if r.start_ns is not None]
    yield Stretch(start, end, "unknown", f"before its record in boot {boot.index} begins")
    known = max((until for _, until in covered if until is not None), default=None)
    if known is not None:
        yield Stretch(known, end, "ended", f"its record in boot {boot.index} ends here")
    for since, until in covered:
        if since is not None and until is not None:
            yield Stretch(since, until, "quiet")
    yield from stops
    yield from (s for ring in online for s in _older(ring, start, first=first))
    for kind in ("overwritten", "unreadable"):
        yield from (hole for ring in online for hole in ring.holes if hole.kind == kind)


def _older(ring: RingRecord, start: int, *, first: bool) -> Iterator[Stretch]:
    """Before the oldest event of a ring whose older ones were overwritten, or may have been."""
    oldest = ring.first_ns if ring.first_ns is not None else ring.end_ns
    if oldest is None or ring.overwritten is False:
        return
    if ring.overwritten is None:
        note = f"whether older events of {ring.buffer} were overwritten is not known"
        yield Stretch(
            ring.start_ns if ring.start_ns is not None else start, oldest, "unknown", note
        )
        return
    # where nothing else was recorded before, how far back it goes is not known
    since = -ENDLESS if first else min(start, oldest - 1)
    yield Stretch(since, oldest, "overwritten", f"older events of {ring.buffer} were overwritten")
