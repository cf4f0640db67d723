"""The new kernel's initcalls and their levels, from the events of the initcall system."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from tracekit.analysis.each_event import argument, event_rows
from tracekit.frozen import dataclass
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events

__all__ = ["Initcall", "initcall_levels", "initcalls"]


@dataclass(frozen=True, slots=True)
class Initcall:
    """One initcall of the new kernel."""

    function: str
    level: str
    boot: int
    start_ns: int
    duration_ns: int
    ret: int | None


def _columns(events: Events, event: str, boot: int, *fields: str) -> list[list[Any]]:
    """ts_ns of every such event in a boot, and the values of each argument; see `argument()`."""
    rows = event_rows(events, boot, event)
    return [events.axis.ts_ns[rows].tolist(), *(argument(events, rows, f) for f in fields)]


def initcall_levels(events: Events, new: Boot) -> list[tuple[int, str]]:
    """(when it began, its name) of every level, ns on the axis."""
    return list(zip(*_columns(events, "initcall:initcall_level", new.index, "level"), strict=False))


def initcalls(events: Events, new: Boot, levels: Sequence[tuple[int, str]]) -> list[Initcall]:
    """Every initcall that returned, in the order of their ends."""
    starts = _columns(events, "initcall:initcall_start", new.index, "func")
    ends, of, rets = _columns(events, "initcall:initcall_finish", new.index, "func", "ret")
    open_at = dict[int, list[int]]()
    for ts, func in zip(*starts, strict=False):
        open_at.setdefault(func, []).append(ts)
    calls, level = [], 0
    for ts, func, ret in zip(ends, of, rets or [None] * len(ends), strict=False):
        begun = open_at.get(func, [])
        before = bisect_right(begun, ts)
        if not before or func is None:
            continue
        start = begun.pop(before - 1)
        while level + 1 < len(levels) and levels[level + 1][0] <= start:
            level += 1
        symbol = new.context.symbols.lookup(func)
        name = symbol.name if symbol else f"{func:#x}"
        level_name = str(levels[level][1]) if levels and levels[level][0] <= start else "unknown"
        calls.append(Initcall(name, level_name, new.index, start, ts - start, ret))
    return calls
