"""Converts stamps of another clock of a boot to its trace clock, with an error bound.

Two clocks of one boot are related if both are related to the TSC, or by brackets: stamps of one
between which the other was read. Either way, each stamp gives an interval; it is computed for a few
stamps and interpolated between the middles of their intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.clocks.anchors import Anchor, loose_below
from tracekit.clocks.counter_rate import SessionRate
from tracekit.clocks.evidence import BootClockInput, BootEvidence, on_clock, related
from tracekit.clocks.fit import Bracket, fit_clock
from tracekit.clocks.model import UNITS
from tracekit.clocks.rates import Bent, Rate
from tracekit.frozen import dataclass

__all__ = ["Relation", "relate"]

_KNOTS = 16
_STEPS = 16  # each cuts the error to a thousandth or less, because the rates are that close
#: Clocks in ns of one boot run at the same rate except for NTP (500 ppm, kernel/time/ntp.c) and a
#: second adjustment of that size by adjtime(2).
_NS_CLOCKS = Rate(Fraction(999, 1000), Fraction(1001, 1000))
_FARTHEST = 1 << 61  # so that differences fit an int64


@dataclass(frozen=True, slots=True)
class Relation:
    """Stamps of ``clock`` on the boot's trace clock: ``values`` at ``stamps``.

    ``error_ns`` bounds how far a value may be off, and ``method`` names the evidence.
    """

    clock: str
    stamps: tuple[int, ...]
    values: tuple[int, ...]
    error_ns: int
    method: str

    def convert(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Convert stamps (u64) between the first and the last of ``stamps``."""
        first, value = self.stamps[0], self.values[0]
        since = (raw.astype(np.uint64) - np.uint64(first)).view(np.int64).astype(np.float64)
        knots = [float(stamp - first) for stamp in self.stamps]
        ahead = np.interp(since, knots, [float(v - value) for v in self.values])
        return np.rint(ahead).astype(np.int64) + np.int64(value)


def relate(
    boot: BootClockInput,
    clock: str,
    span: tuple[int, int],
    rate: SessionRate | None,
    pairs: Sequence[Bracket] = (),
) -> Relation | None:
    """Stamps of ``clock`` within ``span``, as stamps of ``boot.trace_clock``; None if unrelated.

    ``pairs`` are readings of ``clock`` between two stamps of the trace clock; ``rate`` is the
    session's. The relation with the smaller bound is taken.
    """
    first, last = span
    if clock == boot.trace_clock:
        return Relation(clock, (first, last), (first, last), 0, "it is the same clock")
    if (ahead := _ahead(boot, clock)) is not None:
        method = "the offset of printk's clock, which is read with it"
        return Relation(clock, (first, last), (first - ahead, last - ahead), 1, method)
    knots = sorted({first + (last - first) * i // _KNOTS for i in range(_KNOTS + 1)})
    known = boot.clocks.evidence
    if boot.trace_clock == "x86-tsc":
        relations = [_through_tsc(boot, clock, knots, rate, known.with_brackets(clock, pairs))]
    else:
        relations = [
            _by_pairs(boot, clock, knots, pairs),
            _through_tsc(boot, clock, knots, rate, known),
        ]
    fitting = [r for r in relations if r and all(abs(v) < _FARTHEST for v in r.values)]
    return min(fitting, key=lambda r: r.error_ns, default=None)


def _ahead(boot: BootClockInput, clock: str) -> int | None:
    """How many ns ``clock`` is ahead of the trace clock, where an offset alone is between them.

    ``perf`` and ``global`` are printk's clock, ``sched_clock_cpu()``: ``local`` and the offset.
    """
    offset = boot.clocks.printk_offset_ns
    if offset is None:
        return None
    known = {"local": 0, "perf": offset, "global": offset}
    if clock not in known or boot.trace_clock not in known:
        return None
    return known[clock] - known[boot.trace_clock]


def _by_pairs(
    boot: BootClockInput, clock: str, knots: Sequence[int], pairs: Sequence[Bracket]
) -> Relation | None:
    """The relation by ``pairs``, if both clocks count ns."""
    fit = fit_clock(clock, sorted(pairs, key=lambda p: (p.ns, p.before)), f"boot {boot.index}")
    if fit is None or {UNITS.get(clock), UNITS.get(boot.trace_clock)} != {"ns"}:
        return None
    shape = Bent.straight((fit.rate and fit.rate.meet(_NS_CLOCKS)) or _NS_CLOCKS)
    spans = [fit.at(knot, shape) for knot in knots]
    known = [span for span in spans if span is not None]
    if len(known) < len(spans):
        return None
    values = tuple((low + high) // 2 for low, high in known)
    error = max(ceil((high - low) / 2) for low, high in known) + 1
    method = f"{fit.used} readings of {clock} between two stamps of {boot.trace_clock}"
    return Relation(clock, tuple(knots), values, error, method)


def _through_tsc(
    boot: BootClockInput,
    clock: str,
    knots: Sequence[int],
    rate: SessionRate | None,
    known: BootEvidence,
) -> Relation | None:
    """The relation through the TSC; ``known`` is the evidence about ``clock``."""
    if rate is None or not rate.firm:
        return None
    own = related(boot.evidence, rate)
    other = related(on_clock(known, clock, knots[0], knots[-1]), rate)
    if own.anchor is None or other.anchor is None:
        return None
    values, widths = [], []
    for knot in knots:
        low, high = other.anchor.at(knot)
        value, width = _back(own.anchor, own.unit == "cycles", (low + high) // 2, own.first, rate)
        values.append(value)
        widths.append(high - low + width)
    method = other.anchor.method
    if own.unit != "cycles":
        method += f" / {own.anchor.method}"
    if knots[0] < loose_below(clock, other.log):
        method += "; its first stamps are from before it had a real source: they may be early"
    error = ceil(Fraction(max(widths), 2) / rate.rate.lo) + 1
    return Relation(clock, tuple(knots), tuple(values), error, method)


def _back(
    anchor: Anchor, is_tsc: bool, count: int, start: int, rate: SessionRate
) -> tuple[int, int]:
    """(the stamp at a count of the TSC, the width in cycles of that stamp's own interval)."""
    if is_tsc:
        return count, 0
    stamp = start
    for _ in range(_STEPS):
        low, high = anchor.at(stamp)
        step = round((count - (low + high) // 2) / rate.best)
        if not step:
            break
        stamp += step
    return stamp, high - low
