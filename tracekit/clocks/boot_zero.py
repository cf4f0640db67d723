"""Where a boot's own clocks begin on the TSC axis: the zero of ``sched_clock`` and printk.

x86's native ``sched_clock`` is 0 when ``tsc_enable_sched_clock()`` runs and from then on follows
the TSC at the kernel's calibration (``arch/x86/kernel/tsc.c``): first the early one, then, from the
last read of the TSC in ``tsc_refine_calibration_work`` on, the refined one, without a jump. When
``tsc_enable_sched_clock()`` runs depends on the machine: in ``setup_arch()`` if the early
calibration works, but only in ``late_time_init()``, *after* the console initcalls, if it does not
(QEMU without KVM). So the zero may come after the boot's first event.

printk shows ``local_clock()`` (``kernel/sched/clock.c``), which is *not* that line until
``sched_clock: Marking stable``: it follows the tick, and lost ticks make it lose time. From then
on it is ``sched_clock() + offset``, with the offset in that line. Stamps from before are not used.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

from tracekit.clocks.fit import Bracket, LineFit
from tracekit.clocks.kernel_log import KernelLog, StableMark
from tracekit.clocks.rates import (
    REFINE_NS,
    Bent,
    Rate,
    sched_shape,
    timekeeping_shape,
)
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass

__all__ = ["FitOf", "Initcall", "SchedClock", "Zero", "kernel_zero", "sched_clock"]

#: Lengths of a tick in whole us. A stamp this far after its tick was clamped
#: (``sched_clock_local``), so it does not show the time.
_TICKS_US = frozenset({1_000, 3_333, 4_000, 10_000})
#: Stamps are cut to whole microseconds.
_STAMP_NS = 1_000

#: The fit of a clock, by its name; None without samples of it.
FitOf = Callable[[str], LineFit | None]


@dataclass(frozen=True, slots=True)
class Initcall:
    """One built-in initcall, from ``initcall:initcall_start``/``_finish``, in raw trace time."""

    func: str
    start: int | None = None
    finish: int | None = None


@dataclass(frozen=True, slots=True)
class Zero:
    """Where the kernel's ``sched_clock`` read 0: ``raw`` +- ``error`` in units of the trace clock.

    ``method`` names the evidence. ``late``: the clock only began in ``late_time_init()``, after the
    console initcalls, so this is not where the kernel began.
    """

    raw: int
    error: int
    method: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class SchedClock:
    """``sched_clock`` of one boot on the TSC: it read 0 at a count in ``[low, high]``."""

    low: int
    high: int
    shape: Bent
    method: str

    def at(self, raw_ns: int) -> tuple[int, int]:
        """The counts at which ``sched_clock`` can have shown ``raw_ns``: ``(lowest, highest)``."""
        return (
            self.low + self.shape.fewest(0, raw_ns),
            self.high + self.shape.most(0, raw_ns + 1),
        )


def kernel_zero(
    trace_clock: str,
    log: KernelLog,
    mono: Sequence[Bracket],
    fit_of: FitOf,
    *,
    initcalls: Sequence[Initcall] = (),
    first_exec: int | None = None,
    where: str = "boot",
) -> tuple[Zero | None, tuple[Diagnostic, ...]]:
    """Place the instant at which the boot's ``sched_clock`` read 0 on its trace clock's axis.

    ``mono`` are the samples of that clock; ``fit_of`` gives the fit of one by its name.
    ``initcalls`` are those of pid 1 before its first exec; ``first_exec`` is the stamp of the
    first ``sched_process_exec`` of pid 1. Both are only used when ``trace_clock`` is ``x86-tsc``.
    """
    if trace_clock in ("local", "global", "perf"):
        return Zero(0, 0, f"the trace clock {trace_clock} counts from there", log.late), ()
    if trace_clock != "x86-tsc":
        return None, (_unknown(where, f"nothing relates the trace clock {trace_clock} to it"),)
    clock, notes = sched_clock(
        log, mono, fit_of, initcalls=initcalls, first_exec=first_exec, where=where
    )
    if clock is None:
        return None, notes
    raw = (clock.low + clock.high) // 2
    return Zero(raw, max(raw - clock.low, clock.high - raw), clock.method, log.late), notes


def sched_clock(
    log: KernelLog,
    mono: Sequence[Bracket],
    fit_of: FitOf,
    *,
    initcalls: Sequence[Initcall] = (),
    first_exec: int | None = None,
    where: str = "boot",
) -> tuple[SchedClock | None, tuple[Diagnostic, ...]]:
    """Place a boot's ``sched_clock`` on the TSC axis by all the evidence.

    There are two kinds, both through the line ``Marking stable``:

    - *order*: log lines that came before or after an event with a TSC stamp. They bound the zero
      from both sides, as rigorously as the log allows.
    - *pair*: mono and ``sched_clock`` read one after the other; mono's count follows from the
      samples. Sharp, but by itself it only gives the earliest possible zero: any delay between the
      two reads (SMI, hypervisor) makes the true zero later. If order bounds the zero from above,
      that is the upper end. Otherwise a delay is allowed for that 95 % of the samples' own
      brackets, which enclose the same kind of read, do not exceed.
    """
    mark = log.stable
    shape = sched_shape(log, mark) if mark else None
    if mark is None or shape is None or log.paravirt or log.unstable:
        reason = (
            "no line 'sched_clock: Marking stable'"
            if mark is None
            else "the TSC was found unstable"
            if log.unstable
            else "sched_clock is not the native one of the TSC"
        )
        return None, (_unknown(where, f"the log does not tie sched_clock to the TSC: {reason}"),)
    evidence = _Evidence(log, mark, mono, fit_of, initcalls, first_exec, where)
    clock, notes = _combine(evidence, shape)
    start = next(
        (
            call.start
            for call in initcalls
            if call.func == "init_tsc_clocksource" and call.start is not None
        ),
        None,
    )
    if clock is None or start is None or log.refined_khz is None:
        return clock, notes
    # The refinement ended a second after init_tsc_clocksource() began, at the earliest. With the
    # zero roughly known, that bounds better when it took effect, so combine once more.
    began = floor((start - clock.high) / max(shape.early.hi, shape.late.hi))
    knee = min(max(shape.knee_low, began + REFINE_NS), shape.knee_high)
    return _combine(evidence, replace(shape, knee_low=knee))


def _unknown(where: str, why: str) -> Diagnostic:
    return Diagnostic(
        "clock-zero-unknown",
        "info",
        where,
        f"the zero of the kernel's own clock is not known: {why}",
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """All evidence about one boot's ``sched_clock``."""

    log: KernelLog
    mark: StableMark
    mono: Sequence[Bracket]
    fit_of: FitOf
    initcalls: Sequence[Initcall]
    first_exec: int | None
    where: str


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The zero lies at ``low`` or later and at ``high`` or earlier, because of ``why``."""

    low: int | None
    high: int | None
    why: str


def _order(evidence: _Evidence, shape: Bent) -> _Bounds:
    """Bounds from lines and events whose order ``init/main.c`` fixes.

    The mark is printed by the initcall ``sched_clock_init_late``; every built-in initcall is over
    before the line ``Freeing unused kernel image (initmem)``; ``Run ... as init process`` comes
    before pid 1's first exec.
    """
    log, mark = evidence.log, evidence.mark
    after: list[int] = []
    before: list[int] = []

    def printed_after(count: int | None, stamp: int | None) -> None:
        if count is not None and stamp is not None and stamp >= mark.stamp_ns:
            after.append(count - shape.most(0, stamp + _STAMP_NS - mark.offset_ns))

    def printed_before(count: int | None, stamp: int | None) -> None:
        if count is not None and stamp is not None and stamp >= mark.stamp_ns:
            before.append(count - shape.fewest(0, stamp - mark.offset_ns))

    behind_tick = (mark.stamp_ns - mark.raw_ns - mark.offset_ns) // 1_000
    for call in evidence.initcalls:
        if call.func == "sched_clock_init_late" and behind_tick not in _TICKS_US:
            printed_after(call.start, mark.stamp_ns)
            printed_before(call.finish, mark.stamp_ns)
    finishes = [call.finish for call in evidence.initcalls if call.finish is not None]
    printed_after(max(finishes, default=None), log.freeing_stamp_ns)
    printed_before(evidence.first_exec, log.run_init_stamp_ns)
    return _Bounds(
        max(after, default=None), min(before, default=None), "the order of log lines and events"
    )


def _pair(evidence: _Evidence, shape: Bent) -> tuple[_Bounds | None, tuple[Diagnostic, ...]]:
    """Bounds from the mark's pair of readings and mono's samples.

    mono_raw is projected back rather than mono, because NTP does not touch it. At the mark, before
    NTP could run, the two differed by at most what they differ by in the samples.
    """
    fits = (evidence.fit_of(name) for name in ("mono_raw", "mono"))
    fit = next((fit for fit in fits if fit is not None), None)
    if fit is None:
        return None, ()
    mono = timekeeping_shape(evidence.log, fit.rate)
    if mono is None:
        rate = fit.rate
        mono = Bent.straight(rate.hull(shape.early).hull(shape.late) if rate else shape.late)
    read = fit.at(evidence.mark.gtod_ns, mono)
    if read is None:
        return None, (
            Diagnostic(
                "clock-rate-disagrees",
                "warning",
                evidence.where,
                f"{fit.clock} did not run at the rates the log states; it is not projected back",
            ),
        )
    apart = _apart(evidence.mono, fit, mono.late) if fit.clock == "mono_raw" else 0
    slack = ceil(apart * mono.late.hi)
    widths = sorted(b.after - b.before for b in fit.brackets)
    stall = widths[len(widths) * 95 // 100]
    fewest, most = (
        shape.fewest(0, evidence.mark.raw_ns),
        shape.most(0, evidence.mark.raw_ns + 1),
    )
    return _Bounds(
        read[0] - slack - most,
        read[1] + slack + stall - fewest,
        f"samples of {fit.clock}, and mono with sched_clock in the log",
    ), ()


def _nearest(brackets: Sequence[Bracket]) -> Callable[[int], Bracket]:
    """Finds the bracket that begins nearest to a count; of equally near ones the first."""
    order = sorted(range(len(brackets)), key=lambda i: brackets[i].before)
    begins = [brackets[i].before for i in order]

    def nearest(count: int) -> Bracket:
        above = bisect_left(begins, count)
        near = [above] if above < len(begins) else []
        if above:
            near.append(bisect_left(begins, begins[above - 1]))
        return brackets[min((abs(begins[i] - count), order[i]) for i in near)[1]]

    return nearest


def _apart(samples: Sequence[Bracket], fit: LineFit, rate: Rate) -> int:
    """The most that mono, of which the samples are, and mono_raw can differ by them, ns."""
    lows, highs = _Extremes(), _Extremes()
    nearest = _nearest(fit.brackets)
    slow, fast = rate.lo, rate.hi
    for bracket in samples:
        here = nearest(bracket.before)
        ahead = bracket.ns - here.ns
        longest, shortest = bracket.after - here.before, bracket.before - here.after
        lows.add(ahead, longest, slow if longest > 0 else fast)
        highs.add(ahead, shortest, fast if shortest > 0 else slow)
    if not samples:
        return 0
    low, high = lows.most, highs.least
    if low > high:  # they drift apart: take the extremes instead of the intersection
        low, high = lows.least, highs.most
    return ceil(max(abs(low), abs(high)))


class _Extremes:
    """The least and the most of ``ns - cycles / rate``, where there are few rates.

    Compared in whole numbers by rate: fractions cancel at every step.
    """

    def __init__(self) -> None:
        self._of: dict[Fraction, list[int]] = {}

    def add(self, ns: int, cycles: int, rate: Fraction) -> None:
        above = ns * rate.numerator - cycles * rate.denominator
        self._of.setdefault(rate, []).append(above)

    @property
    def least(self) -> Fraction:
        return min(Fraction(min(above), rate.numerator) for rate, above in self._of.items())

    @property
    def most(self) -> Fraction:
        return max(Fraction(max(above), rate.numerator) for rate, above in self._of.items())


def _combine(evidence: _Evidence, shape: Bent) -> tuple[SchedClock | None, tuple[Diagnostic, ...]]:
    """Combine both kinds of evidence; order alone is used if they contradict each other."""
    order = _order(evidence, shape)
    pair, notes = _pair(evidence, shape)
    if pair is not None and not _agree(order, pair):
        notes = (
            *notes,
            Diagnostic(
                "clock-zero-conflict",
                "warning",
                evidence.where,
                f"{pair.why}, give a zero that {order.why} rule out; the latter is used",
            ),
        )
        pair = None
    lower = max(
        (b for b in (order, pair) if b and b.low is not None),
        key=lambda b: b.low or 0,
        default=None,
    )
    upper = order if order.high is not None or pair is None else pair
    if lower is None or lower.low is None or upper.high is None or lower.low > upper.high:
        return None, (
            *notes,
            _unknown(evidence.where, "neither samples nor initcall events place it"),
        )
    allowed = "" if upper is order else ", and the stall that 95 % of the samples stay below"
    return SchedClock(
        lower.low, upper.high, shape, f"lower bound: {lower.why}; upper bound: {upper.why}{allowed}"
    ), notes


def _agree(order: _Bounds, pair: _Bounds) -> bool:
    """Whether some zero satisfies both."""
    return (order.high is None or pair.low is None or pair.low <= order.high) and (
        order.low is None or pair.high is None or order.low <= pair.high
    )
