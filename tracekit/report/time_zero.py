"""The new kernel's time zero: when its own clock began, on the session's axis."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy.typing as npt

from tracekit.analysis.each_event import argument, event_rows
from tracekit.clocks.boot_zero import Initcall, kernel_zero
from tracekit.clocks.model import total
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events

__all__ = ["TimeZero", "time_zero"]


@dataclass(frozen=True, slots=True)
class TimeZero:
    """When the boot's ``sched_clock`` read 0, ns on the session's axis, and what that rests on."""

    ns: int
    error_ns: int
    method: str


def _of_init(events: Events, boot: Boot, event: str) -> npt.NDArray[Any]:
    """The rows of the events of pid 1 that the boot's own trace clock stamped."""
    rows = event_rows(events, boot.index, event)
    own = (events.rows.pid[rows] == 1) & events.axis.native(events.rows.buffer[rows])
    mine: npt.NDArray[Any] = rows[own]
    return mine


def _initcalls(events: Events, boot: Boot, until: int | None) -> Iterator[Initcall]:
    """The initcalls that pid 1 ran, in raw stamps, from the events of both their ends."""
    ends = {"initcall:initcall_start": "start", "initcall:initcall_finish": "finish"}
    for event, end in ends.items():
        rows = _of_init(events, boot, event)
        if until is not None:
            rows = rows[events.rows.ts_raw[rows] <= until]
        funcs = argument(events, rows, "func")
        for raw, func in zip(events.rows.ts_raw[rows].tolist(), funcs, strict=False):
            symbol = boot.context.symbols.lookup(func)
            yield Initcall(symbol.name if symbol else f"{func:#x}", **{end: raw})


def _first_exec(events: Events, boot: Boot) -> int | None:
    rows = _of_init(events, boot, "sched:sched_process_exec")
    return int(events.rows.ts_raw[rows[0]]) if len(rows) else None


def time_zero(events: Events, boot: Boot) -> tuple[TimeZero | None, tuple[Diagnostic, ...]]:
    """Place a boot's time zero; None with a diagnostic if there is no evidence."""
    model = events.axis.clocks.get(boot.index)
    if model is None:
        return None, ()
    known = events.axis.sources[boot.index].given.clocks.evidence
    first = _first_exec(events, boot)
    zero, notes = kernel_zero(
        model.trace_clock,
        known.log,
        known.brackets.get("mono", ()),
        known.fit_of,
        initcalls=list(_initcalls(events, boot, first)),
        first_exec=first,
        where=boot.where,
    )
    if zero is None:
        return None, notes
    gap = next((g for g in events.axis.clock.gaps if g.boot == boot.index - 1), None)
    own = ceil(zero.error * model.ns_per_unit)
    error = total((own, model.early_by(zero.raw), gap.placing_error_ns if gap else 0))
    if error is None or model.early_by(zero.raw):
        message = "the zero of the kernel's own clock is from before it had a real source"
        return None, (*notes, Diagnostic("clock-zero-unknown", "info", boot.where, message))
    return TimeZero(model.ns(zero.raw), error, zero.method), notes
