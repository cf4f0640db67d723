"""One boot's clock evidence, and how far two boots in a row are apart by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from tracekit.clocks.anchors import Place, loose_below, place_by_rtc, place_on_tsc
from tracekit.clocks.counter_rate import LIMIT_PPM, SessionRate
from tracekit.clocks.fit import (
    Bracket,
    LineFit,
    fit_brackets,
    fit_clock,
    read_samples,
)
from tracekit.clocks.kernel_log import KernelLog, read_kernel_log
from tracekit.clocks.model import UNITS, Gap, Unit
from tracekit.clocks.rates import Rate
from tracekit.errors import Diagnostic

__all__ = ["BootClockInput", "ClockEvidence", "gap_between", "own_error", "read_boot", "related"]

#: Two readings of an RTC in whole seconds: their difference is this uncertain.
_RTC_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class BootClockInput:
    """What is known about one boot's clocks.

    ``samples``: the untrusted contents of ``clocks.json`` and ``clocks-last.json``. ``first_raw``
    and ``last_raw``: its first and last event on ``trace_clock``, ``None`` without events.
    """

    index: int
    trace_clock: str
    samples: Sequence[object] = ()
    dmesg: str = ""
    first_raw: int | None = None
    last_raw: int | None = None


@dataclass(frozen=True, slots=True)
class ClockEvidence:
    """A boot with its evidence read.

    ``first``/``last`` are 0 where it has no events. ``fit`` is of the clock that tells the
    counter's rate best, ``own_fit`` of the trace clock, where that was sampled.
    """

    index: int
    trace_clock: str
    first: int
    last: int
    log: KernelLog
    brackets: Mapping[str, Sequence[Bracket]]
    fit: LineFit | None
    own_fit: LineFit | None
    notes: tuple[Diagnostic, ...]
    place: Place | None = None

    @property
    def unit(self) -> Unit:
        """What one step of the trace clock is."""
        return UNITS.get(self.trace_clock, "ns")

    @property
    def where(self) -> str:
        """The boot, as diagnostics name it."""
        return f"boot {self.index}"


def read_boot(given: BootClockInput) -> ClockEvidence:
    """Read one boot's evidence."""
    where = f"boot {given.index}"
    brackets, notes = read_samples(given.samples, where)
    fit = fit_brackets(given.samples, where=where)
    if fit is not None:
        notes = fit.diagnostics
    own = fit
    if fit is None or fit.clock != given.trace_clock:
        own = fit_clock(given.trace_clock, brackets.get(given.trace_clock, ()), where)
        notes += own.diagnostics if own else ()
    if given.trace_clock not in UNITS:
        notes = (
            *notes,
            Diagnostic(
                "clock-unknown",
                "warning",
                where,
                f"the trace clock {given.trace_clock!r} is not known; its stamps are taken for ns",
            ),
        )
    elif given.trace_clock == "counter":
        notes = (
            *notes,
            Diagnostic(
                "clock-order-only",
                "warning",
                where,
                "the trace clock counts events: it gives their order, no time",
            ),
        )
    log = read_kernel_log(given.dmesg)
    if log.unstable or log.adjusted:
        what = "found the TSC unstable" if log.unstable else "changed the TSC's value"
        notes = (
            *notes,
            Diagnostic(
                "clock-tsc-changed",
                "warning",
                where,
                f"this kernel {what}: what is placed by the TSC may be off by an unknown amount",
            ),
        )
    first = given.first_raw if given.first_raw is not None else given.last_raw or 0
    last = given.last_raw if given.last_raw is not None else first
    return ClockEvidence(
        given.index,
        given.trace_clock,
        first,
        last,
        log,
        brackets,
        fit,
        own,
        notes,
    )


def related(boot: ClockEvidence, rate: SessionRate | None) -> ClockEvidence:
    """The boot with its relation to the TSC, which the rate of the session may help to find."""
    if boot.unit == "cycles" and rate is None:
        note = Diagnostic(
            "clock-rate-unknown",
            "error",
            boot.where,
            "neither samples nor the kernel log tell the TSC's rate: times are in cycles, not ns",
        )
        return replace(boot, notes=(*boot.notes, note))
    place, notes = place_on_tsc(
        boot.trace_clock,
        boot.log,
        boot.brackets,
        fit=boot.own_fit,
        rate=rate.rate if rate else None,
        where=boot.where,
    )
    return replace(boot, place=place, notes=boot.notes + notes)


def gap_between(
    a: ClockEvidence, b: ClockEvidence, rate: SessionRate | None
) -> tuple[Gap, tuple[Diagnostic, ...]]:
    """From the last event of ``a`` to the first of ``b``, by the best evidence there is."""
    notes: tuple[Diagnostic, ...] = ()
    where = f"boots {a.index} and {b.index}"
    if a.unit == b.unit == "cycles" and rate is None and a.last <= b.first:
        return Gap(
            a.index,
            b.first - a.last,
            0,
            None,
            True,
            "one counter whose rate is not known: this is in cycles",
        ), ()
    if a.place and b.place and rate:
        gap = _gap_by_tsc(a, b, a.place, b.place, rate)
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


def _uncertain(gap: Gap, where: str) -> Diagnostic:
    """Say that a gap is not measured by one clock, and what bounds it."""
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
    a: ClockEvidence, b: ClockEvidence, place_a: Place, place_b: Place, rate: SessionRate
) -> Gap | None:
    """Both clocks related to the TSC; ``None`` when that contradicts the order of the boots."""
    from_low, from_high = place_a.at(a.last)
    to_low, to_high = place_b.at(b.first)
    low, high = to_low - from_high, to_high - from_low
    if high < 0:
        return None
    method = " / ".join(dict.fromkeys((place_a.method, place_b.method)))
    if not place_b.firm:
        method += "; the wall clock was set from the RTC in between"
    best = max(0, round(Fraction(low + high, 2) / rate.best))
    if not rate.firm:
        return Gap(a.index, best, 0, None, place_b.firm, method + f"; {rate.source}")
    if b.first < loose_below(b.trace_clock, b.log):
        low = 0
        method += (
            "; the first events are from before the clock had a real source, when it can "
            "only have lost time"
        )
    return Gap(
        a.index,
        best,
        max(0, floor(low / rate.rate.hi)),
        ceil(high / rate.rate.lo),
        place_b.firm,
        method,
    )


def _gap_by_rtc(a: ClockEvidence, b: ClockEvidence, rate: SessionRate | None) -> Gap | None:
    """Both logs show when the RTC was read and what it said."""
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


def own_error(boot: ClockEvidence, rate: SessionRate | None) -> Fraction | None:
    """Bound for the share by which the boot's own ns may differ from the session's.

    Its clock runs at its refined calibration (or the early one, where the kernel takes that for
    exact and makes the TSC its clock source without refining it), unless NTP slews it: what its
    own samples show is added where they show it better than a calibration can be wrong.
    """
    if rate is None or not rate.firm or boot.unit == "count":
        return None
    log = boot.log
    own = None
    if log.refined_khz is not None:
        own = Rate.of_khz(log.refined_khz)
    elif log.detected_khz is not None and "tsc" in [name for _, name in log.switches]:
        own = Rate.of_khz(log.detected_khz)
    fit = boot.own_fit or (boot.fit if own else None)
    if fit is not None and fit.rate is not None and (own is None or fit.rate.ppm <= LIMIT_PPM):
        own = own.hull(fit.rate) if own else fit.rate
    if own is None:
        return None
    return max(abs(own.hi / rate.rate.lo - 1), abs(1 - own.lo / rate.rate.hi))
