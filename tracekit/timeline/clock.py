"""One time axis for all boots of a session: 0 is the jump, the unit is the nanosecond.

Raw stamps are kept; this module says what is added to them and how wrong that may be. Within a
boot, a clock in ns is shifted and one in cycles is scaled. Across boots (:func:`align`) there is a
common clock only where both trace clocks can be related to the TSC, which counts on through a
kexec; everything else restarts, is bounded by what the RTC and the order of things allow, and is
said to be. The evidence: :mod:`~tracekit.timeline.clockfit` (samples),
:mod:`~tracekit.timeline.clocklog` (kernel log), :mod:`~tracekit.timeline.clockrate` (the counter's
rate), :mod:`~tracekit.timeline.clockplace` (a clock against TSC or RTC),
:mod:`~tracekit.timeline.clockzero` (the kernel's own zero).

A bound that is not known is ``None``, and a diagnostic says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

from tracekit.errors import Diagnostic
from tracekit.timeline.clockfit import (
    Bracket,
    LineFit,
    fit_brackets,
    fit_clock,
    read_samples,
)
from tracekit.timeline.clocklog import KernelLog, read_kernel_log
from tracekit.timeline.clockmodel import UNITS, ClockModel, Gap, SessionClock, Unit
from tracekit.timeline.clockplace import (
    Place,
    loose_below,
    place_by_rtc,
    place_on_tsc,
    refined_from,
)
from tracekit.timeline.clockrate import LIMIT_PPM, SessionRate, session_rate
from tracekit.timeline.clockshape import Rate
from tracekit.timeline.clockzero import Initcall, Zero, kernel_zero

__all__ = [
    "BootClockInput",
    "ClockModel",
    "Gap",
    "Initcall",
    "LineFit",
    "Rate",
    "SessionClock",
    "SessionRate",
    "Zero",
    "align",
    "fit_brackets",
    "kernel_zero",
]

#: ``trace_clock_jiffies`` counts these (USER_HZ is 100).
_USER_TICK_NS = 10_000_000
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
class _Boot:
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
        return UNITS.get(self.trace_clock, "ns")

    @property
    def where(self) -> str:
        return f"boot {self.index}"


def align(
    boots: Sequence[BootClockInput], origin: tuple[int, int] | None = None
) -> SessionClock:
    """Put all boots on one axis.

    ``origin`` is ``(boot index, raw stamp)`` of the jump. By default it is the last event of the
    boot before the last one, or of the only boot.
    """
    if not boots:
        return SessionClock(0, 0, (), (), True, None, ())
    read = [_read(boot) for boot in sorted(boots, key=lambda b: b.index)]
    rate = session_rate({b.index: b.fit for b in read if b.fit},
                        {b.index: b.log for b in read})
    read = [_related(boot, rate) for boot in read]
    leaving = read[-2:][0]
    start, raw = origin or (leaving.index, leaving.last)
    gaps, notes = [], [note for boot in read for note in boot.notes]
    for a, b in pairwise(read):
        gap, more = _gap(a, b, rate)
        gaps.append(gap)
        notes += more
    models = _chain(read, gaps, rate, start, raw)
    notes += rate.diagnostics if rate else ()
    return SessionClock(start, raw, models, tuple(gaps), all(g.common for g in gaps), rate,
                        tuple(notes))


def _read(given: BootClockInput) -> _Boot:
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
        notes = (*notes, Diagnostic(
            "clock-unknown", "warning", where,
            f"the trace clock {given.trace_clock!r} is not known; its stamps are taken for ns"))
    elif given.trace_clock == "counter":
        notes = (*notes, Diagnostic(
            "clock-order-only", "warning", where,
            "the trace clock counts events: it gives their order, no time"))
    first = given.first_raw if given.first_raw is not None else given.last_raw or 0
    last = given.last_raw if given.last_raw is not None else first
    return _Boot(given.index, given.trace_clock, first, last, read_kernel_log(given.dmesg),
                 brackets, fit, own, notes)


def _related(boot: _Boot, rate: SessionRate | None) -> _Boot:
    """The boot with its relation to the TSC, which the rate of the session may help to find."""
    if boot.unit == "cycles" and rate is None:
        note = Diagnostic(
            "clock-rate-unknown", "error", boot.where,
            "neither samples nor the kernel log tell the TSC's rate: times are in cycles, not ns")
        return replace(boot, notes=(*boot.notes, note))
    place, notes = place_on_tsc(
        boot.trace_clock, boot.log, boot.brackets, fit=boot.own_fit,
        rate=rate.rate if rate else None, where=boot.where)
    return replace(boot, place=place, notes=boot.notes + notes)


def _gap(
    a: _Boot, b: _Boot, rate: SessionRate | None
) -> tuple[Gap, tuple[Diagnostic, ...]]:
    """From the last event of ``a`` to the first of ``b``, by the best evidence there is."""
    notes: tuple[Diagnostic, ...] = ()
    where = f"boots {a.index} and {b.index}"
    if a.unit == b.unit == "cycles" and rate is None and a.last <= b.first:
        return Gap(a.index, b.first - a.last, 0, None, True,
                   "one counter whose rate is not known: this is in cycles"), ()
    if a.place and b.place and rate:
        gap = _gap_by_tsc(a, b, a.place, b.place, rate)
        if gap is not None:
            if not gap.common or b.first < loose_below(b.trace_clock, b.log):
                notes = (_uncertain(gap, where),)
            return gap, notes
        notes = (Diagnostic(
            "clock-order-conflict", "warning", where,
            "the TSC puts the new kernel's first event before the old one's last: the counter was "
            "reset, or the boots are not in this order; it is not used"),)
    gap = _gap_by_rtc(a, b, rate) or Gap(
        a.index, 0, 0, None, False, "nothing relates the clocks; the new kernel's events come "
        "after the old one's, and are put right behind them")
    return gap, (*notes, _uncertain(gap, where))


def _uncertain(gap: Gap, where: str) -> Diagnostic:
    """Say that a gap is not measured by one clock, and what bounds it."""
    if gap.latest_ns is None:
        bounds = "not bounded from above"
    else:
        width = (gap.latest_ns - gap.earliest_ns) / 1e9
        bounds = (f"between {gap.earliest_ns / 1e9:.6f} and {gap.latest_ns / 1e9:.6f} s "
                  f"({width:.6f} s wide)")
    return Diagnostic("clock-loose" if gap.common else "clock-not-common", "warning", where,
                      f"the time between the last and the first event is {bounds}: {gap.method}")


def _gap_by_tsc(
    a: _Boot, b: _Boot, place_a: Place, place_b: Place, rate: SessionRate
) -> Gap | None:
    """Both clocks related to the TSC; ``None`` when that contradicts the order of the boots."""
    from_low, from_high = place_a.at(a.last)
    to_low, to_high = place_b.at(b.first)
    low, high = to_low - from_high, to_high - from_low
    if high < 0:
        return None
    method = place_a.method if place_a.method == place_b.method else (
        f"{place_a.method} / {place_b.method}")
    if not place_b.firm:
        method += "; the wall clock was set from the RTC in between"
    best = max(0, round(Fraction(low + high, 2) / rate.best))
    if b.first < loose_below(b.trace_clock, b.log):
        low = 0
        method += ("; the first events are from before the clock had a real source, when it can "
                   "only have lost time")
    return Gap(a.index, best, max(0, floor(low / rate.rate.hi)), ceil(high / rate.rate.lo),
               place_b.firm, method)


def _gap_by_rtc(a: _Boot, b: _Boot, rate: SessionRate | None) -> Gap | None:
    """Both logs show when the RTC was read and what it said."""
    read_a = place_by_rtc(a.trace_clock, a.log)
    read_b = place_by_rtc(b.trace_clock, b.log)
    if read_a is None or read_b is None:
        return None
    between = (read_b[0] - read_a[0]) * 1_000_000_000
    since_a = [a.last - raw for raw in read_a[1]]
    since_b = [b.first - raw for raw in read_b[1]]
    share = _own_error(a, rate) or Fraction(0)
    slack = _RTC_NS + ceil(share * max(abs(ns) for ns in since_a))
    low = max(0, between + min(since_b) - max(since_a) - slack)
    high = between + max(since_b) - min(since_a) + slack
    if high < low:
        return None
    return Gap(a.index, (low + high) // 2, low, high, False,
               "the RTC's whole seconds that both kernels set their clocks from, if nothing set "
               "the RTC in between and it keeps time; the middle is taken")


def _own_error(boot: _Boot, rate: SessionRate | None) -> Fraction | None:
    """Bound for the share by which the boot's own ns may differ from the session's.

    Its clock runs at its refined calibration, unless NTP slews it: what its own samples show is
    added where they show it better than that calibration can be wrong.
    """
    if rate is None or rate.systematic is None or boot.unit == "count":
        return None
    log, fit = boot.log, boot.own_fit or boot.fit
    own = Rate.of_khz(log.refined_khz) if log.refined_khz is not None else None
    if fit is not None and fit.rate is not None and (own is None or fit.rate.ppm <= LIMIT_PPM):
        own = own.hull(fit.rate) if own else fit.rate
    if own is None:
        return None
    return max(abs(own.hi / rate.rate.lo - 1), abs(1 - own.lo / rate.rate.hi))


@dataclass(frozen=True, slots=True)
class _Placed:
    """A boot's model, and the bound for where its ``ref_raw`` is relative to the jump.

    ``lost_ns`` of ``slack_ns`` is only about its first events (see :func:`_lost`).
    """

    model: ClockModel
    slack_ns: int | None
    lost_ns: int = 0


def _chain(
    boots: Sequence[_Boot], gaps: Sequence[Gap], rate: SessionRate | None, start: int, raw: int
) -> tuple[ClockModel, ...]:
    """Models for all boots: the one with the origin first, then outward from gap to gap."""
    at = next((i for i, boot in enumerate(boots) if boot.index == start), len(boots[-2:]) - 1)
    lost = [_lost(boot, gap) for boot, gap in zip(boots, (None, *gaps), strict=True)]
    placed = {at: _Placed(_model(boots[at], rate, (raw, 0), lost[at]), 0)}
    for i in (*range(at + 1, len(boots)), *range(at - 1, -1, -1)):
        back = i > at
        near = i - 1 if back else i + 1
        placed[i] = _beside(boots[i], boots[near], placed[near], gaps[min(i, near)], rate,
                            back=back, lost=lost[i])
    return tuple(_with_error(boots[i], placed[i]) for i in range(len(boots)))


def _lost(boot: _Boot, gap: Gap | None) -> int | None:
    """What a clock without a real source may have lost after the boot's first event, ns.

    It is no more than what would put that event before the jump; unknown for the first boot.
    """
    if boot.first >= loose_below(boot.trace_clock, boot.log):
        return 0
    return gap.ns if gap else None


def _beside(
    boot: _Boot, near: _Boot, placed: _Placed, gap: Gap, rate: SessionRate | None,
    *, back: bool, lost: int | None,
) -> _Placed:
    """Place a boot beside its neighbour, which is before (``back``) or after it."""
    if boot.unit == near.unit == "cycles" and gap.common:
        # One counter: the sums stay in cycles across the jump.
        ref = placed.model.ref_raw, placed.model.offset_ns
        return _Placed(_model(boot, rate, ref, lost), placed.slack_ns)
    edge = near.last if back else near.first
    offset = placed.model.ns(edge) + (gap.ns if back else -gap.ns)
    parts = (placed.slack_ns, placed.model.duration_error(edge - placed.model.ref_raw),
             gap.error_ns)
    known = [part for part in parts if part is not None]
    return _Placed(_model(boot, rate, (boot.first if back else boot.last, offset), lost),
                   sum(known) if len(known) == len(parts) else None, lost or 0)


def _model(
    boot: _Boot, rate: SessionRate | None, ref: tuple[int, int], lost: int | None
) -> ClockModel:
    """The model of one boot whose ``ref[0]`` is at ``ref[1]`` ns; its error bound comes later."""
    log, unit = boot.log, boot.unit
    method = _method(boot, rate)
    scale, share, constant = Fraction(1), _own_error(boot, rate), lost
    if unit == "cycles":
        scale, share = (1 / rate.best, rate.relative) if rate else (scale, None)
    elif unit == "ticks":
        scale, constant = Fraction(_USER_TICK_NS), None if lost is None else lost + _USER_TICK_NS
    if unit in ("ns", "ticks") and log.refined_khz and log.detected_khz and constant is not None:
        # Until the refined calibration the clock ran at the early one.
        early = max(0, refined_from(boot.trace_clock, log) - round(boot.first * scale))
        constant += ceil(early * abs(Fraction(log.detected_khz, log.refined_khz) - 1))
    total = rate.rate if rate and boot.place else None
    return ClockModel(
        boot.index, boot.trace_clock, unit, method, *ref, scale,
        share if constant is not None else None, constant or 0,
        cycles_per_ns=float(rate.best) if rate and total else None,
        cycles_per_ns_lo=float(total.lo) if total else None,
        cycles_per_ns_hi=float(total.hi) if total else None,
        residual_ns=boot.fit.residual_ns if boot.fit else None,
    )


def _method(boot: _Boot, rate: SessionRate | None) -> str:
    """How the boot's stamps come onto the axis, in a sentence."""
    if boot.unit == "cycles" and rate is not None:
        return f"TSC cycles at the rate of {rate.source}; systematic part: {rate.basis}"
    if boot.unit == "cycles":
        return "TSC cycles as they are: the rate is not known"
    if boot.unit == "count":
        return "an event count: order only"
    step = "10 ms steps" if boot.unit == "ticks" else "the kernel's own ns"
    return step + (f", placed by {boot.place.method}" if boot.place else "")


def _with_error(boot: _Boot, placed: _Placed) -> ClockModel:
    """The model with the worst error over the boot's events."""
    model = placed.model
    ends = [model.duration_error(raw - model.ref_raw) for raw in (boot.first, boot.last)]
    known = [error for error in ends if error is not None]
    if placed.slack_ns is None or len(known) < len(ends):
        return model
    return replace(model, error_ns=placed.slack_ns + max(known) - placed.lost_ns)
