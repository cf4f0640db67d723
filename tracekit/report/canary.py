"""Whether anything wrote into the memory that was left filled with a pattern during a jump.

``boots/N/canary.json``, :mod:`tracekit.carriers.canary`: what the old kernel filled, and what
``recover`` found of it in the new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tracekit.carriers.canary import Canary, Findings, read_document
from tracekit.errors import ParseError, SessionError
from tracekit.report.devices import Device
from tracekit.timeline.boot import Boot

__all__ = ["CanaryChange", "CanaryReport", "canary_report"]

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
