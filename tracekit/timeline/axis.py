"""Rows on the session's time axis: ns, 0 is the jump."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.errors import Diagnostic, SessionError
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.clock import BootClockInput, ClockModel, SessionClock, align
from tracekit.timeline.rows import Rows

__all__ = ["Axis", "boot_samples", "place"]

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Axis:
    """``ts_ns`` of every row (int64, 0 is the last jump), and how it was come by.

    ``clocks`` has the clock model of each boot that has events.
    """

    ts_ns: npt.NDArray[np.int64]
    clock: SessionClock
    clocks: Mapping[int, ClockModel]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def common(self) -> bool:
        """Whether all boots really share a clock; if not, only bounds relate them."""
        return self.clock.common

    def timed(self, boot: int) -> bool:
        """Whether the boot's stamps count time: not so for a counter, or cycles of unknown rate."""
        model = self.clocks.get(boot)
        if model is None or model.unit == "count":
            return False
        return model.unit != "cycles" or model.relative_error is not None

    def placed(self, boot: int) -> bool:
        """Whether anything bounds where the boot lies relative to 0, the last jump."""
        return self.timed(boot) and self._related(boot, self.clock.origin_boot)

    def counts_on(self, old: int, new: int) -> bool:
        """Whether one counter stamps both boots, so that raw stamps can be subtracted."""
        return all(b in self.clocks and self.clocks[b].unit == "cycles" for b in (old, new))

    def _related(self, a: int, b: int) -> bool:
        """Whether something bounds every gap between two boots."""
        between = [g for g in self.clock.gaps if min(a, b) <= g.boot < max(a, b)]
        return all(g.latest_ns is not None for g in between)

    def interval(self, rows: Rows, a: int, b: int) -> tuple[int | None, int | None]:
        """Time from row ``a`` to row ``b`` in ns, and the bound of its error; None if unknown."""
        one, other = int(rows.boot[a]), int(rows.boot[b])
        if not (self.timed(one) and self.timed(other) and self._related(one, other)):
            return None, None
        return self.clock.interval(one, int(rows.ts_raw[a]), other, int(rows.ts_raw[b]))


def _main_clock(buffers: Sequence[Buffer]) -> str:
    """The trace clock of most of a boot's events; local is the kernel's default."""
    events = Counter[str]()
    for buffer in buffers:
        events[buffer.clock or "local"] += len(buffer)
    return max(events, key=lambda clock: events[clock]) if events else "local"


def boot_samples(boot: Boot) -> Sequence[object]:
    """The clock samples of a boot, as they were saved: not trusted."""
    if not boot.session.has(f"boots/{boot.index}/clocks.json"):
        return ()
    try:
        document = boot.session.json(f"boots/{boot.index}/clocks.json")
    except SessionError as error:
        boot.note("clocks-unreadable", "", str(error))
        return ()
    samples = document.get("samples")
    return samples if isinstance(samples, list) else ()


def _on_one_clock(
    boots: Sequence[Boot], clocks: Mapping[int, str], rows: Rows, buffers: Sequence[Buffer]
) -> Rows:
    """``rows`` without those of buffers that count on another clock than their boot's."""
    strange = []
    for number, buffer in enumerate(buffers):
        boot = next(b for b in boots if any(buffer is mine for mine in b.buffers))
        clock = buffer.clock or "local"
        if clock != clocks[boot.index] and len(buffer):
            strange.append(number)
            boot.note(
                "buffer-on-other-clock", buffer.name,
                f"its {len(buffer)} events are stamped by the clock {clock}, most of this boot's"
                f" by {clocks[boot.index]}: they are not placed on the timeline",
            )  # fmt: skip
    return rows.take(~np.isin(rows.buffer, strange)) if strange else rows


def place(boots: Sequence[Boot], rows: Rows, buffers: Sequence[Buffer]) -> tuple[Rows, Axis]:
    """Give every row its place on one axis; the rows come back sorted by it.

    ``rows`` are boot by boot, each boot sorted by raw stamps. Boots follow one another, so that
    order is the order of time unless a clock's bound lets two boots overlap, which is remarked on.
    """
    clocks = {boot.index: _main_clock(boot.buffers) for boot in boots}
    rows = _on_one_clock(boots, clocks, rows, buffers)
    parts = {b.index: rows.of_boot(b.index) for b in boots}
    stamps = {index: rows.ts_raw[at] for index, at in parts.items()}
    inputs = [
        BootClockInput(
            index=boot.index,
            trace_clock=clocks[boot.index],
            samples=boot_samples(boot),
            dmesg=boot.text("dmesg"),
            first_raw=int(stamps[boot.index][0]),
            last_raw=int(stamps[boot.index][-1]),
        )
        for boot in boots
        if len(stamps[boot.index])
    ]
    clock = align(inputs, _origin(inputs, boots))
    models = {i.index: clock.model(i.index) for i in inputs}
    ts_ns: npt.NDArray[Any] = np.zeros(len(rows), np.int64)
    for index, model in models.items():
        ts_ns[parts[index]] = _to_ns(model, stamps[index])
    notes = list(clock.diagnostics)
    if len(ts_ns) and bool(np.any(np.diff(ts_ns) < 0)):
        order = np.argsort(ts_ns, kind="stable")
        rows, ts_ns = rows.take(order), ts_ns[order]
        message = "a boot's first events come before the last ones of the boot before it"
        notes.append(Diagnostic("boots-overlap", "warning", "timeline", message))
    return rows, Axis(ts_ns, clock, models, tuple(notes))


def _to_ns(model: ClockModel, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``model.to_ns()``, a piece at a time: it needs several times the memory it is given."""
    ns = np.empty(len(raw), np.int64)
    for start in range(0, len(raw), _CHUNK):
        ns[start : start + _CHUNK] = model.to_ns(raw[start : start + _CHUNK])
    return ns


def _origin(inputs: Sequence[BootClockInput], boots: Sequence[Boot]) -> tuple[int, int] | None:
    """(boot, raw stamp) of the last jump: the last event of the boot before the newest."""
    leaving = [i for i in inputs if len(boots) < 2 or i.index != boots[-1].index]
    chosen = (leaving or list(inputs))[-1:]
    return (chosen[0].index, chosen[0].last_raw or 0) if chosen else None
