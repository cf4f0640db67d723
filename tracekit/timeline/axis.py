"""Places rows on the session's time axis, in ns with 0 at the jump."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.clocks.align import align
from tracekit.clocks.evidence import BootClockInput
from tracekit.clocks.model import ClockModel, SessionClock
from tracekit.clocks.relate import Relation, relate
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass
from tracekit.spill import Spill
from tracekit.timeline.boot import Boot
from tracekit.timeline.clock_evidence import Source, one_clock_a_boot
from tracekit.timeline.merge import Merged
from tracekit.timeline.new_rows import NewColumn
from tracekit.timeline.rows import PIECE, Rows, one_of, steps_back

__all__ = ["OVERLAP", "Axis", "place"]

OVERLAP = "boots-overlap"  #: the diagnostic of an axis whose rows are not boot by boot


@dataclass(frozen=True)
class Axis:
    """``ts_ns`` of every row (int64, 0 is the last jump), and how it was derived.

    ``clocks`` has the clock model of each boot that has events. ``raw`` has every row's stamp on
    the trace clock of that model: the row's own stamp, except in the buffers of ``relations`` (by
    their number), which count on another clock. ``sources`` has the evidence about each boot's
    clocks.
    """

    ts_ns: npt.NDArray[np.int64]
    clock: SessionClock
    clocks: Mapping[int, ClockModel]
    diagnostics: tuple[Diagnostic, ...]
    raw: npt.NDArray[Any]
    relations: Mapping[int, Relation]
    sources: Mapping[int, Source]

    @property
    def common(self) -> bool:
        """Whether all boots share a clock; if not, only bounds relate them."""
        return self.clock.common

    def timed(self, boot: int) -> bool:
        """Whether the boot's stamps count time, unlike a counter or cycles of unknown rate."""
        model = self.clocks.get(boot)
        if model is None or model.unit == "count":
            return False
        return model.unit != "cycles" or model.relative_error is not None

    def placed(self, boot: int) -> bool:
        """Whether anything bounds where the boot lies relative to 0, the last jump."""
        return self.timed(boot) and self._related(boot, self.clock.origin_boot)

    def counts_on(self, old: int, new: int) -> bool:
        """Whether one counter stamped both boots, so that raw stamps can be subtracted."""
        return all(b in self.clocks and self.clocks[b].unit == "cycles" for b in (old, new))

    def _related(self, a: int, b: int) -> bool:
        """Whether something bounds every gap between two boots."""
        between = [g for g in self.clock.gaps if min(a, b) <= g.boot < max(a, b)]
        return all(g.latest_ns is not None for g in between)

    def interval(self, rows: Rows, a: int, b: int) -> tuple[int | None, int | None]:
        """Time from row ``a`` to row ``b`` in ns, and its error bound; None if unknown."""
        one, other = int(rows.boot[a]), int(rows.boot[b])
        if not (self.timed(one) and self.timed(other) and self._related(one, other)):
            return None, None
        ns, error = self.clock.interval(one, int(self.raw[a]), other, int(self.raw[b]))
        more = [self.relations[n].error_ns for n in rows.buffer[[a, b]].tolist()
                if n in self.relations]  # fmt: skip
        return ns, None if error is None else error + sum(more)

    def native(self, buffer: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """A mask over ``buffer``: rows stamped by the clock that their boot's times rest on."""
        return ~one_of(buffer, self.relations)

    def monotonic(self, boot: int, readings: Sequence[int]) -> tuple[list[int], int] | None:
        """Readings of a boot's CLOCK_MONOTONIC (ns) on the axis, and their error bound, ns.

        None if nothing relates that clock to the boot's events.
        """
        return self._readings(boot, "mono", readings)

    def printed(self, boot: int, stamps: Sequence[int]) -> tuple[list[int], int] | None:
        """The same of stamps in a boot's kernel log, where the offset of printk's clock is known.

        printk stamps with ``local_clock()``, which the trace clock ``perf`` reads as well.
        """
        source = self.sources.get(boot)
        if source is None or source.given.clocks.printk_offset_ns is None:
            return None
        return self._readings(boot, "perf", stamps)

    def _readings(
        self, boot: int, clock: str, readings: Sequence[int]
    ) -> tuple[list[int], int] | None:
        source = self.sources.get(boot)
        if not readings or source is None or not self.timed(boot):
            return None
        span = min(readings), max(readings)
        pairs = source.pairs if clock == "mono" else ()
        relation = relate(source.given, clock, span, self.clock.rate, pairs)
        if relation is None:
            return None
        values = relation.convert(np.array(readings, np.uint64)).tolist()
        return [self.clocks[boot].ns(value) for value in values], relation.error_ns


def place(merged: Merged) -> tuple[Rows, Axis]:
    """Give every row its place on one axis; the rows come back sorted by it.

    The rows come boot by boot, each boot sorted by raw stamps. Boots follow one another, so that is
    the order of time, unless a clock's bound lets two boots overlap, which gives a diagnostic, or a
    boot's buffers count on several clocks.
    """
    rows, raw, sources, relations = one_clock_a_boot(merged)
    boots = [part.boot for part in merged.parts]
    spill = boots[0].session.spill if boots else Spill()
    inputs = [sources[b.index].given for b in boots if b.index in sources]
    clock = align(inputs, _origin(inputs, boots))
    models = {i.index: clock.model(i.index) for i in inputs}
    placed = NewColumn(spill, len(rows), np.int64)
    for index, model in models.items():
        for at in rows.each_of_boot(index):
            spill.need(PIECE << 3)
            placed.put(at, [model.to_ns(raw[at])])
    ts_ns = placed.values
    notes = list(clock.diagnostics)
    if steps_back(ts_ns):
        order = np.argsort(ts_ns, kind="stable")
        same = raw is rows.ts_raw
        rows, ts_ns = rows.take(order), ts_ns[order]
        raw = rows.ts_raw if same else raw[order]
        if np.any(rows.boot[1:] < rows.boot[:-1]):
            message = "a boot's first events come before the last ones of the boot before it"
            notes.append(Diagnostic(OVERLAP, "warning", "timeline", message))
    return rows, Axis(ts_ns, clock, models, tuple(notes), raw, relations, sources)


def _origin(inputs: Sequence[BootClockInput], boots: Sequence[Boot]) -> tuple[int, int] | None:
    """(boot, raw stamp) of the last jump: the last event of the boot before the newest."""
    leaving = [i for i in inputs if len(boots) < 2 or i.index != boots[-1].index]
    chosen = (leaving or list(inputs))[-1:]
    return (chosen[0].index, chosen[0].last_raw or 0) if chosen else None
