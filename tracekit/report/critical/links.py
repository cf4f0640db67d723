"""The critical chain as data: links with their evidence, links inside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from tracekit.frozen import dataclass
from tracekit.text import duration
from tracekit.timeline.events import Events

__all__ = ["Chain", "Evidence", "Facts", "Kind", "Link"]

#: ``phase``: between two milestones. ``call``: a function that was recorded at both ends.
#: ``runs``: the task ran on a CPU. ``waits for a CPU``: it could run, and others did. ``blocked``:
#: it slept until what ``what`` says woke it. ``unknown``: nothing in the record tells.
Kind = Literal["phase", "call", "runs", "waits for a CPU", "blocked", "unknown"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """An event that a link rests on; ``ts_ns`` is on the session's axis, None if untimed."""

    event: str
    args: str
    boot: int
    cpu: int
    pid: int
    comm: str | None
    ts_ns: int | None
    ts_raw: int


@dataclass(frozen=True, slots=True)
class Link:
    """One stretch of the chain; ``what`` in words. ``inside``: what it consists of, in order.

    Times are ns on the session's axis, None where they are not known; a phase that nothing marks
    has none. ``pid`` and ``comm`` are of the task that the chain follows there, -1 where none is.
    """

    kind: Kind
    what: str
    boot: int
    start_ns: int | None
    duration_ns: int | None
    pid: int = -1
    comm: str | None = None
    evidence: tuple[Evidence, ...] = ()
    inside: tuple[Link, ...] = ()

    def leaves(self) -> Iterator[Link]:
        """The innermost links, in order."""
        if not self.inside:
            yield self
        for link in self.inside:
            yield from link.leaves()


@dataclass(frozen=True, slots=True)
class Chain:
    """What one blackout waited for. ``links`` are in order and leave no gap between them.

    ``begin`` and ``end`` are the events that bound it, None where they were not recorded;
    ``zero_ns`` is the jump. ``known_ns`` and ``unknown_ns`` add up the innermost links. ``notes``:
    what the record lacks for more.
    """

    old: int
    new: int
    begin: Evidence | None
    end: Evidence | None
    zero_ns: int | None
    blackout_ns: int | None
    blackout_error_ns: int | None
    known_ns: int
    unknown_ns: int
    links: tuple[Link, ...]
    notes: tuple[str, ...]

    @property
    def account(self) -> str:
        """How much of the blackout rests on events, in words."""
        known = f"{duration(self.known_ns)} with evidence"
        if self.blackout_ns is None:
            return f"{known}; how much more there was is not known"
        return f"{known}, {duration(self.unknown_ns)} unknown"

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` form."""
        return asdict(self)


class Facts:
    """The events of a session as evidence and in words."""

    def __init__(self, events: Events) -> None:
        self.events = events

    def evidence(self, rows: Sequence[int]) -> tuple[Evidence, ...]:
        """Events as evidence."""
        if not rows:
            return ()
        table = self.events.table(np.array(rows, np.int64))
        names = ["event", "args", "boot", "cpu", "pid", "comm", "ts_ns", "ts_raw"]
        found = []
        for one in table.select(names).to_pylist():
            timed = self.events.axis.timed(one["boot"])
            found.append(Evidence(**{**one, "ts_ns": one["ts_ns"] if timed else None}))
        return tuple(found)

    def comm(self, boot: int, pid: int) -> str | None:
        """The name of a task of a boot."""
        place = next(i for i, b in enumerate(self.events.boots) if b.index == boot)
        return self.events.comms[place].get(pid)

    def task(self, boot: int, pid: int) -> str:
        """A task in words: ``python3-76``."""
        return "idle" if pid == 0 else f"{self.comm(boot, pid) or '<...>'}-{pid}"
