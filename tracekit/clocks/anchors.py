"""Relates one boot's trace clock to the clocks that outlive the boot: the TSC and the RTC."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracekit.clocks.boot_zero import FitOf, sched_clock
from tracekit.clocks.fit import Bracket, LineFit
from tracekit.clocks.kernel_log import KernelLog
from tracekit.clocks.rates import (
    TICK_NS,
    Bent,
    Rate,
    sched_shape,
    timekeeping_shape,
)
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass

__all__ = ["Anchor", "loose_below", "place_by_rtc", "place_on_tsc", "refined_from"]

#: printk's clock; ``global`` is the same, except for a correction that keeps it monotonic across
#: CPUs.
_PRINTK_CLOCKS = ("perf", "global")
#: Clocks that timekeeping drives: by ticks alone until the first real clock source.
_TIMEKEEPING = ("mono", "mono_raw", "boot")
#: CLOCK_REALTIME minus RTC is in (-1, 0] s from ``timekeeping_init`` (the RTC's whole second) and
#: in (-0.5, 0.5] from ``rtc_hctosys`` on (plus half a second): the step between is in this range.
_RTC_STEP_NS = (-500_000_000, 1_500_000_000)

_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a boot's stamps are on the TSC axis.

    ``at(raw)`` gives the range of counts at which the stamp can have been taken. ``firm`` is false
    where that rests on the RTC for stamps before the samples.
    """

    at: Callable[[int], _Span]
    method: str
    firm: bool = True


def loose_below(trace_clock: str, log: KernelLog) -> int:
    """Stamps below this are from before the clock was driven by a real source.

    Until ``Switched to clocksource`` timekeeping and jiffies are driven by ticks alone, and so is
    ``sched_clock`` until the TSC is calibrated, where that happens late. A lost tick is lost
    time: such stamps may be from any time *earlier* than they say.
    """
    if trace_clock in ("local", *_PRINTK_CLOCKS):
        return (log.detected_stamp_ns or 0) + TICK_NS if log.late else 0
    if trace_clock not in (*_TIMEKEEPING, "uptime") or not log.switches:
        return 0
    # printk's stamp of the switch, on timekeeping's clock: the two differ by printk's offset.
    shift = log.stable.mono_to_printk_ns if log.stable else 0
    return max(0, log.switches[0][0] - shift + TICK_NS)


def refined_from(trace_clock: str, log: KernelLog) -> int | None:
    """The reading from which on the clock certainly ran at the refined calibration.

    ``None`` when the log does not show it: clocks other than printk's can only be compared with
    its stamps through the mark.
    """
    mark, stamp = log.stable, log.refined_stamp_ns
    if stamp is None:
        return None
    if trace_clock in _PRINTK_CLOCKS or (trace_clock == "local" and log.generic):
        return stamp + 1_000
    if mark is None:
        return None
    if trace_clock == "local":
        return stamp + 1_000 - min(0, mark.offset_ns)
    switched = log.switches[-1][0] if log.switches else stamp
    return max(switched, stamp) + TICK_NS - mark.mono_to_printk_ns


def place_on_tsc(
    trace_clock: str,
    log: KernelLog,
    mono: Sequence[Bracket],
    fit_of: FitOf,
    *,
    fit: LineFit | None,
    rate: Rate | None,
    where: str,
) -> tuple[Anchor | None, tuple[Diagnostic, ...]]:
    """Relate a trace clock to the TSC by the best evidence; ``None`` without any.

    ``mono``, ``fit_of``: see :func:`tracekit.clocks.boot_zero.kernel_zero`. ``fit`` is of the trace
    clock's own samples, ``rate`` is the session's.

    - ``x86-tsc`` is the TSC.
    - A sampled clock (mono, mono_raw, boot, tai, or any other with samples of its own): the lines
      that its brackets allow, extended at the rates that both they and the session allow.
    - ``local``, ``perf``, ``global`` without samples: mono's, through the pair of readings in
      ``sched_clock: Marking stable`` (see :func:`tracekit.clocks.boot_zero.sched_clock`).
    """
    if trace_clock == "x86-tsc":
        return Anchor(lambda raw: (raw, raw), "the trace clock is the TSC"), ()
    if fit is not None:
        return _sampled(fit, log, rate)
    if trace_clock != "local" and trace_clock not in _PRINTK_CLOCKS:
        return None, ()
    clock, notes = sched_clock(log, mono, fit_of, where=where)
    if clock is None or log.stable is None:
        return None, notes
    if trace_clock == "local":
        return Anchor(clock.at, f"sched_clock on the TSC: {clock.method}"), notes
    offset = log.stable.offset_ns
    span_of = _before_mark(lambda raw: clock.at(raw - offset), log, clock.shape.late)
    return Anchor(span_of, f"printk's clock on the TSC: {clock.method}"), notes


def _before_mark(
    span_of: Callable[[int], _Span], log: KernelLog, rate: Rate
) -> Callable[[int], _Span]:
    """Extend ``span_of`` of printk's clock, which holds from the mark on, to earlier readings.

    Before the mark its distance from ``sched_clock`` was between 0 and the offset; where there is
    no such mark (see :attr:`KernelLog.generic`) the two are the same.
    """
    mark = log.stable
    if mark is None:
        return span_of
    slack = sorted((0, round(mark.offset_ns * rate.mid)))

    def wider(raw: int) -> _Span:
        low, high = span_of(raw)
        return (low, high) if raw >= mark.stamp_ns else (low + slack[0], high + slack[1])

    return wider


def _sampled(
    fit: LineFit, log: KernelLog, rate: Rate | None
) -> tuple[Anchor | None, tuple[Diagnostic, ...]]:
    """Relate a clock to the TSC by its own samples."""
    if fit.clock in _PRINTK_CLOCKS and log.stable is None and not log.generic:
        return None, ()  # unknown since when printk's clock has been a line
    slopes = [r for r in (fit.rate, rate) if r is not None]
    slope = slopes[0] if slopes else None
    if len(slopes) == 2:
        slope = slopes[0].meet(slopes[1]) or slopes[0]
    shape = _shape(fit, log, slope)
    if shape is None:
        return None, ()
    step = _RTC_STEP_NS if fit.clock == "tai" else (0, 0)
    slack = [round(ns * shape.late.mid) for ns in step]

    def span_of(raw: int) -> _Span:
        # Among the samples, a shape may contradict one of them even if the fit does not.
        low, high = (
            fit.at(raw, shape) or fit.at(raw) or (fit.brackets[0].before, fit.brackets[-1].after)
        )
        if raw >= fit.brackets[0].ns:
            return low, high
        # Before the samples, a wall clock may have been set from the RTC.
        return low + slack[0], high + slack[1]

    return Anchor(
        _before_mark(span_of, log, shape.late) if fit.clock in _PRINTK_CLOCKS else span_of,
        f"{fit.used} samples of {fit.clock} against the TSC over {fit.span_ns / 1e9:.3f} s",
        firm=fit.clock != "tai",
    ), ()


def _shape(fit: LineFit, log: KernelLog, slope: Rate | None) -> Bent | None:
    """How a sampled clock ran before its samples, which show ``slope``."""
    shape = None
    if fit.clock in _TIMEKEEPING:
        shape = timekeeping_shape(log, fit.rate)
    elif fit.clock == "local" and log.stable is not None and not log.paravirt:
        shape = sched_shape(log, log.stable)
    if shape is not None and fit.at(fit.brackets[0].ns, shape) is not None:
        return shape
    if slope is None or log.detected_khz is None:
        return Bent.straight(slope) if slope else None
    # Not known in detail: any mixture of the two rates, until the later one certainly held.
    mixed, knee = Rate.of_khz(log.detected_khz).hull(slope), refined_from(fit.clock, log)
    return Bent(mixed, slope, knee, knee, knee) if knee is not None else Bent.straight(mixed)


def place_by_rtc(trace_clock: str, log: KernelLog) -> tuple[int, _Span] | None:
    """The trace clock's reading when the RTC was read, and the second the RTC showed.

    ``(rtc_s, (earliest, latest) raw ns)``, from the lines ``registered as rtcN`` (before the
    reading) and ``setting system clock to`` (after it). ``None`` for clocks that cannot be
    compared with printk's stamps, and without the lines.
    """
    if log.rtc_s is None or log.rtc_stamp_ns is None or log.rtc_from_ns is None:
        return None
    first, last = log.rtc_from_ns, log.rtc_stamp_ns + 1_000
    if trace_clock in _PRINTK_CLOCKS or (trace_clock == "local" and log.generic):
        return log.rtc_s, (first, last)
    if log.stable is None:
        return None
    if trace_clock == "local":
        offsets = (0, log.stable.offset_ns)
        return log.rtc_s, (first - max(offsets), last - min(offsets))
    if trace_clock in _TIMEKEEPING:
        shift = log.stable.mono_to_printk_ns
        return log.rtc_s, (first - shift - TICK_NS, last - shift + TICK_NS)
    return None
