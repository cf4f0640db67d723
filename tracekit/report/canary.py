"""Whether anything wrote into the memory that was left filled with a pattern during a jump.

``boots/N/canary.json``, :mod:`tracekit.session.canary`: what the old kernel filled, and what
``recover`` found of it in the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from tracekit.errors import ParseError, SessionError
from tracekit.frozen import dataclass
from tracekit.report.devices import Device
from tracekit.session.canary import Canary, Findings, read_document
from tracekit.text import duration, on_one_line, printable
from tracekit.timeline.boot import Boot

__all__ = ["CanaryChange", "CanaryReport", "canary_lines", "canary_report"]

_LISTED = 8  # stretches; --json has more
_BYTES = 16  # of a stretch
_MIB = 1 << 20

State = Literal["intact", "changed", "not looked at"]


@dataclass(frozen=True, slots=True)
class CanaryChange:
    """A stretch of changed bytes: its physical ``address`` (None: not known), ``size`` in bytes.

    ``found`` and ``expected`` are its first bytes, in hex; ``moved_from`` is the offset of the
    canary's page that was found there, None where it is none of them.
    """

    offset: int
    address: int | None
    size: int
    found: str
    expected: str
    moved_from: int | None


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """The canary that boot ``boot`` filled, ``size`` bytes in ``place``.

    ``gap_ns`` is the gap that it lay through, None where that is not known. ``bus_masters`` are the
    devices that could still do DMA after their shutdown; None: not recorded. ``problem`` says why
    it was not looked at; ``places`` counts the stretches, of which ``changes`` are the first.
    """

    boot: int
    size: int
    place: str
    state: State
    changed: int
    places: int
    changes: tuple[CanaryChange, ...]
    problem: str
    gap_ns: int | None
    bus_masters: tuple[str, ...] | None


def _bus_masters(boot: int, devices: Iterable[Device]) -> tuple[str, ...] | None:
    """The devices that were bus masters when the last of their shutdowns returned."""
    known = [d for d in devices if d.boot == boot and d.bus_master is not None]
    last = {d.name: d for d in sorted(known, key=lambda d: d.start_ns or 0)}
    able = (f"{d.name} ({d.driver or 'no driver'})" for d in last.values() if d.bus_master)
    return tuple(able) if last else None


def _read(boot: Boot) -> Canary | None:
    path = f"boots/{boot.index}/canary.json"
    if not boot.session.has(path):
        return None
    try:
        return read_document(boot.session.read(path), path)
    except (ParseError, SessionError) as error:
        boot.note("canary-unreadable", "canary.json", str(error))
        return None


def canary_report(boot: Boot, gap_ns: int | None, devices: Iterable[Device]) -> CanaryReport | None:
    """What became of a boot's canary; None where it left none. A damaged file is noted."""
    canary = _read(boot)
    if canary is None:
        return None
    found = canary.findings or Findings("", problem="'tracekit recover' has not looked at it")
    state: State = "not looked at" if found.problem else "changed" if found.changed else "intact"
    changes = tuple(
        CanaryChange(c.offset, c.address, c.size, c.found, c.expected, c.moved_from)
        for c in found.changes
    )
    return CanaryReport(
        boot=boot.index,
        size=canary.size,
        place=canary.place,
        state=state,
        changed=found.changed,
        places=found.places,
        changes=changes,
        problem=found.problem,
        gap_ns=gap_ns,
        bus_masters=_bus_masters(boot.index, devices),
    )


def _size(size: int) -> str:
    return f"{size // _MIB} MiB" if size % _MIB == 0 else f"{size >> 10} KiB"


def _change(change: CanaryChange) -> str:
    """One stretch: where, how much, what is there now."""
    offset = f"offset {change.offset:#x} of the canary"
    if change.address is not None:
        last = change.address + change.size - 1
        where = f"{change.address:#x}-{last:#x} ({offset})"
    else:
        where = f"{offset}, physical address unknown"
    raw = bytes.fromhex(change.found)[:_BYTES]
    more = " …" if change.size > len(raw) else ""
    text = "".join(chr(b) if 32 <= b < 127 else "." for b in raw)
    line = f"{where}: {change.size:,} bytes, now {raw.hex(' ')}{more} |{text}|"
    if change.moved_from is not None:
        line += f", which is the canary's page at offset {change.moved_from:#x}"
    return line


def _devices(canary: CanaryReport) -> str:
    if canary.bus_masters is None:
        return "which devices were still bus masters was not recorded"
    if not canary.bus_masters:
        return "no PCI device was a bus master after its shutdown"
    return f"still bus masters after their shutdown: {', '.join(canary.bus_masters)}"


def canary_lines(canaries: Iterable[CanaryReport]) -> Iterator[tuple[str, str]]:
    """(line, style of rich's) of the report's section."""
    for canary in canaries:
        place = {"luo": "a memfd of LUO", "carveout": "a carve-out"}.get(canary.place, "memory")
        size = f"{_size(canary.size)} in {place}"
        during = "" if canary.gap_ns is None else f" during {duration(canary.gap_ns)}"
        if canary.state == "not looked at":
            text = f"boot {canary.boot}: {size}, not looked at: {canary.problem}"
            yield f"  {on_one_line(text)}", "yellow"
        elif canary.state == "intact":
            yield f"  boot {canary.boot}: no stray write in {size}{during}", "green"
        else:
            count = f"{canary.changed:,} bytes in {canary.places:,} places"
            yield f"  boot {canary.boot}: {count} of {size} changed{during}", "bold red"
            for change in canary.changes[:_LISTED]:
                yield f"    {printable(_change(change))}", ""
            if canary.places > _LISTED:
                more = f"    … and {canary.places - _LISTED:,} more: --json has the first of them"
                yield more, "dim"
            yield f"    {printable(_devices(canary))}", ""
