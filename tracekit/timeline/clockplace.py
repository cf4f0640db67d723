"""Relating one boot's trace clock to what outlives the boot: the TSC, and the RTC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tracekit.errors import Diagnostic
from tracekit.timeline.clockfit import Bracket, LineFit
from tracekit.timeline.clocklog import KernelLog
from tracekit.timeline.clockshape import TICK_NS, Bent, Rate, timekeeping_shape
from tracekit.timeline.clockzero import sched_clock

__all__ = ["Place", "loose_below", "place_by_rtc", "place_on_tsc", "refined_from"]

#: printk's clock; ``global`` is the same but for a nudge that keeps it monotonic across CPUs.
_PRINTK_CLOCKS = ("perf", "global")
#: Clocks that timekeeping drives: by ticks alone until the first real clock source.
_TIMEKEEPING = ("mono", "mono_raw", "boot")
#: CLOCK_REALTIME minus RTC is in (-1, 0] s from ``timekeeping_init`` (the RTC's whole second) and
#: in (-0.5, 0.5] from ``rtc_hctosys`` on (plus half a second): the step between is in this range.
_RTC_STEP_NS = (-500_000_000, 1_500_000_000)

_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a boot's stamps are on the TSC axis.

    ``at(raw)`` gives every count the stamp can have been taken at. ``firm`` is false where that
    rests on the RTC for stamps before the samples.
    """

    at: Callable[[int], _Span]
    method: str
    firm: bool = True


def loose_below(trace_clock: str, log: KernelLog) -> int:
    """Stamps below this are from before the clock was driven by a real source.

    Until ``Switched to clocksource`` timekeeping and jiffies are driven by ticks alone, and so is
    ``sched_clock`` until the TSC is calibrated, where that happens late. A tick that is lost is
    time that is lost: such stamps may be from any time *earlier* than they say.
    """
    if trace_clock in ("local", *_PRINTK_CLOCKS):
        return (log.detected_stamp_ns or 0) + TICK_NS if log.late else 0
    if trace_clock not in (*_TIMEKEEPING, "uptime") or not log.switches:
        return 0
    # printk's stamp of the switch, on timekeeping's clock: the two differ by printk's offset.
    shift = log.stable.mono_to_printk_ns if log.stable else 0
    return max(0, log.switches[0][0] - shift + TICK_NS)


def refined_from(trace_clock: str, log: KernelLog) -> int:
    """The reading from which the clock surely ran at the refined calibration; 0 without one."""
    if log.refined_stamp_ns is None:
        return 0
    mark, last = log.stable, log.refined_stamp_ns + 1_000
    if trace_clock == "local":
        return last - min(0, mark.offset_ns if mark else 0)
    if trace_clock in _PRINTK_CLOCKS:
        return last
    switched = log.switches[-1][0] if log.switches else last
    return switched + TICK_NS - (mark.mono_to_printk_ns if mark else 0)


def place_on_tsc(
    trace_clock: str,
    log: KernelLog,
    samples: Mapping[str, Sequence[Bracket]],
    *,
    fit: LineFit | None,
    rate: Rate | None,
    where: str,
) -> tuple[Place | None, tuple[Diagnostic, ...]]:
    """Relate a trace clock to the TSC, by the best evidence there is; ``None`` without any.

    ``fit`` is that of the trace clock's own samples, ``rate`` the session's.

    - ``x86-tsc`` is the TSC.
    - A clock that was sampled (mono, mono_raw, boot, tai; any other whose samples bear its name):
      the lines its brackets allow, extended at the rates both they and the session allow.
    - ``local``, ``perf``, ``global`` without samples: mono's, through the pair of readings in
      ``sched_clock: Marking stable`` (see :func:`tracekit.timeline.clockzero.sched_clock`).
    """
    if trace_clock == "x86-tsc":
        return Place(lambda raw: (raw, raw), "the trace clock is the TSC"), ()
    if fit is not None:
        return _sampled(fit, log, rate, where)
    if trace_clock != "local" and trace_clock not in _PRINTK_CLOCKS:
        return None, ()
    clock, notes = sched_clock(log, samples, where=where)
    if clock is None or log.stable is None:
        return None, notes
    if trace_clock == "local":
        return Place(clock.at, f"sched_clock on the TSC: {clock.method}"), notes
    offset, tick = log.stable.offset_ns, log.stable.stamp_ns

    def at(raw: int) -> _Span:
        low, high = clock.at(raw - offset)
        if raw >= tick:
            return low, high
        # Before the mark the distance from sched_clock was on its way from 0 to the offset.
        other = clock.at(raw)
        return min(low, other[0]), max(high, other[1])

    return Place(at, f"printk's clock on the TSC: {clock.method}"), notes


def _sampled(
    fit: LineFit, log: KernelLog, rate: Rate | None, where: str
) -> tuple[Place | None, tuple[Diagnostic, ...]]:
    """A clock with samples of its own."""
    shape = timekeeping_shape(log, fit.rate) if fit.clock in _TIMEKEEPING else None
    slopes = [r for r in (fit.rate, rate) if r is not None]
    slope = slopes[0] if slopes else None
    if len(slopes) == 2:
        slope = slopes[0].meet(slopes[1]) or slopes[0]
    notes: tuple[Diagnostic, ...] = ()
    if shape is None or fit.at(fit.brackets[0].ns, shape) is None:
        if slope is None or fit.at(fit.brackets[0].ns, Bent.straight(slope)) is None:
            return None, ()
        shape = Bent.straight(slope)
        if fit.clock in _TIMEKEEPING:
            notes = (Diagnostic(
                "clock-shape-unknown", "info", where,
                f"the log does not show how {fit.clock} ran before its samples; the rate they "
                "show is extended back"),)
    line = shape
    slack = [round(ns * line.late.mid) for ns in (_RTC_STEP_NS if fit.clock == "tai" else (0, 0))]

    def at(raw: int) -> _Span:
        # Inside the samples a shape may contradict one of them where the fit itself does not.
        low, high = fit.at(raw, line) or fit.at(raw) or (fit.brackets[0].before,
                                                         fit.brackets[-1].after)
        if raw >= fit.brackets[0].ns:
            return low, high
        # Before the samples a wall clock may have been set from the RTC.
        return low + slack[0], high + slack[1]

    return Place(at, f"{fit.used} samples of {fit.clock} against the TSC over "
                 f"{fit.span_ns / 1e9:.3f} s", firm=fit.clock != "tai"), notes


def place_by_rtc(trace_clock: str, log: KernelLog) -> tuple[int, _Span] | None:
    """When, on the trace clock, the RTC was read, and the second it showed.

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
