"""The time between two boots in a row, from the evidence about both boots' clocks."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from tracekit.clocks.anchors import Anchor, loose_below, place_by_rtc
from tracekit.clocks.counter_rate import SessionRate
from tracekit.clocks.evidence import ClockEvidence, own_error
from tracekit.clocks.model import Gap
from tracekit.errors import Diagnostic

__all__ = ["gap_between"]

#: Uncertainty of the difference between two readings of an RTC in whole seconds.
_RTC_NS = 1_000_000_000
#: How far the wall clock may be off its own time of before, read from an RTC anew.
_WALL_NS = 3_000_000_000


def gap_between(
    a: ClockEvidence, b: ClockEvidence, rate: SessionRate | None
) -> tuple[Gap, tuple[Diagnostic, ...]]:
    """From the last event of ``a`` to the first of ``b``, by the best evidence."""
    notes: tuple[Diagnostic, ...] = ()
    where = f"boots {a.index} and {b.index}"
    kept = _counter_kept(a, b, rate)
    if a.unit == b.unit == "cycles" and rate is None and kept and a.last <= b.first:
        return Gap(
            a.index,
            b.first - a.last,
            0,
            None,
            True,
            "one counter whose rate is not known: this is in cycles",
        ), ()
    if a.anchor and b.anchor and rate and not kept:
        notes = (
            Diagnostic(
                "clock-counter-reset",
                "warning",
                where,
                "firmware brought the new kernel up, and the wall clock does not show that the TSC "
                "went on through it: it is not used",
            ),
        )
    elif a.anchor and b.anchor and rate:
        gap = _gap_by_tsc(a, b, a.anchor, b.anchor, rate)
        if gap is not None:
            if not gap.common or b.first < loose_below(b.trace_clock, b.log):
                notes = (_uncertain(gap, where),)
            return gap, notes
        notes = (
            Diagnostic(
                "clock-order-conflict",
                "warning",
                where,
                "the TSC puts the new kernel's first event before the old one's last: the counter "
                "was reset, or the boots are not in this order; it is not used",
            ),
        )
    gap = _gap_by_rtc(a, b, rate) or Gap(
        a.index,
        0,
        0,
        None,
        False,
        "nothing relates the clocks; the new kernel's events come after the old one's, and are "
        "put right behind them",
    )
    return gap, (*notes, _uncertain(gap, where))


def _counter_kept(a: ClockEvidence, b: ClockEvidence, rate: SessionRate | None) -> bool:
    """Whether the TSC counted on between two boots.

    It does through a kexec. Firmware may set it to 0: then the samples of the wall clock, which
    the RTC keeps to about a second, tell.
    """
    if not b.boot.by_firmware:
        return True
    before, after = (c.boot.brackets.get("realtime", ()) for c in (a, b))
    if not before or not after or rate is None:
        return False
    counted = Fraction(after[0].before - before[-1].before) / rate.best
    return abs(counted - (after[0].ns - before[-1].ns)) <= _WALL_NS


def _uncertain(gap: Gap, where: str) -> Diagnostic:
    """The diagnostic about a gap not measured by one clock, with its bounds."""
    if gap.latest_ns is None:
        bounds = "not bounded from above"
    else:
        width = (gap.latest_ns - gap.earliest_ns) / 1e9
        bounds = (
            f"between {gap.earliest_ns / 1e9:.6f} and {gap.latest_ns / 1e9:.6f} s "
            f"({width:.6f} s wide)"
        )
    return Diagnostic(
        "clock-loose" if gap.common else "clock-not-common",
        "warning",
        where,
        f"the time between the last and the first event is {bounds}: {gap.method}",
    )


def _gap_by_tsc(
    a: ClockEvidence, b: ClockEvidence, anchor_a: Anchor, anchor_b: Anchor, rate: SessionRate
) -> Gap | None:
    """The gap by the TSC, to which both clocks relate; ``None`` if the boots' order forbids it."""
    from_low, from_high = anchor_a.at(a.last)
    to_low, to_high = anchor_b.at(b.first)
    low, high = to_low - from_high, to_high - from_low
    if high < 0:
        return None
    method = " / ".join(dict.fromkeys((anchor_a.method, anchor_b.method)))
    if not anchor_b.firm:
        method += "; the wall clock was set from the RTC in between"
    best = max(0, round(Fraction(low + high, 2) / rate.best))
    if not rate.firm:
        return Gap(a.index, best, 0, None, anchor_b.firm, method + f"; {rate.source}")
    earliest, loose = max(0, floor(low / rate.rate.hi)), 0
    if b.first < loose_below(b.trace_clock, b.log):
        earliest, loose = 0, earliest
        method += (
            "; the first events are from before the clock had a real source, when it can "
            "only have lost time"
        )
    return Gap(
        a.index,
        best,
        earliest,
        ceil(high / rate.rate.lo),
        anchor_b.firm,
        method,
        loose,
    )


def _gap_by_rtc(a: ClockEvidence, b: ClockEvidence, rate: SessionRate | None) -> Gap | None:
    """The gap if both logs show when the RTC was read and what it showed."""
    read_a = place_by_rtc(a.trace_clock, a.log)
    read_b = place_by_rtc(b.trace_clock, b.log)
    if read_a is None or read_b is None:
        return None
    between = (read_b[0] - read_a[0]) * 1_000_000_000
    since_a = [a.last - raw for raw in read_a[1]]
    since_b = [b.first - raw for raw in read_b[1]]
    share = own_error(a, rate) or Fraction(0)
    slack = _RTC_NS + ceil(share * max(abs(ns) for ns in since_a))
    low = max(0, between + min(since_b) - max(since_a) - slack)
    high = between + max(since_b) - min(since_a) + slack
    if high < low:
        return None
    return Gap(
        a.index,
        (low + high) // 2,
        low,
        high,
        False,
        "the RTC's whole seconds that both kernels set their clocks from, if nothing set "
        "the RTC in between and it keeps time; the middle is taken",
    )
