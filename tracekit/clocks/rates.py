"""Intervals of rates, and the rates of the kernel's clocks according to its log.

On x86 every kernel clock in ns is the TSC scaled by the frequency that the kernel calibrated: first
by the early calibration, later by the refined one. So each is a line with at most one bend; the log
gives both rates exactly (in whole kHz, which is what the kernel computes with) and the time of the
bend approximately.
"""

from __future__ import annotations

from fractions import Fraction

from tracekit.clocks.kernel_log import KernelLog, StableMark
from tracekit.frozen import dataclass

__all__ = ["REFINE_NS", "TICK_NS", "Bent", "Rate", "sched_shape", "timekeeping_shape"]

#: The longest tick there is (HZ=100).
TICK_NS = 10_000_000
#: Stamps of log lines are cut to whole microseconds.
_STAMP_NS = 1_000
#: cyc2ns multiplies by at least 2**28 for anything up to 8 GHz, so rounding is below this share.
_CYC2NS_ROUNDING = Fraction(1, 1 << 28)
#: A clocksource's multiplier has at least 22 bits up to 7 GHz (``clocks_calc_mult_shift`` for the
#: 600 s of ``__clocksource_update_freq_scale``), so rounding is at most this share.
_MULT_ROUNDING = Fraction(1, 1 << 22)
#: The refined calibration ends HZ jiffies after it began (``tsc_refine_calibration_work``); one
#: may be cut at each end, and HZ is at least 100.
REFINE_NS = 980_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """An interval of rates, cycles per nanosecond; ``0 < lo <= hi``."""

    lo: Fraction
    hi: Fraction

    @property
    def mid(self) -> Fraction:
        """The middle."""
        return (self.lo + self.hi) / 2

    @property
    def ppm(self) -> float:
        """Half the width, in parts per million of the middle."""
        return float((self.hi - self.lo) / 2 / self.mid) * 1e6

    def overlaps(self, other: Rate) -> bool:
        """Whether the intervals have a rate in common."""
        return self.lo <= other.hi and other.lo <= self.hi

    def hull(self, other: Rate) -> Rate:
        """The smallest interval that holds both."""
        return Rate(min(self.lo, other.lo), max(self.hi, other.hi))

    def meet(self, other: Rate) -> Rate | None:
        """The intersection of both intervals, ``None`` if it is empty."""
        if not self.overlaps(other):
            return None
        return Rate(max(self.lo, other.lo), min(self.hi, other.hi))

    def widened(self, share: Fraction) -> Rate:
        """Both ends moved out by ``share`` (< 1) of themselves."""
        return Rate(self.lo * (1 - share), self.hi * (1 + share))

    @classmethod
    def of_khz(cls, khz: int) -> Rate:
        """A frequency that was cut to whole kHz."""
        return cls(Fraction(khz, 10**6), Fraction(khz + 1, 10**6))


@dataclass(frozen=True, slots=True)
class Bent:
    """The cycles between readings of a clock in ns whose rate changed at most once.

    ``early``/``late`` are the rates before and after a reading in ``[knee_low, knee_high]``.
    Readings up to ``early_until`` are early, wherever the knee is.
    """

    early: Rate
    late: Rate
    knee_low: int
    knee_high: int
    early_until: int

    @classmethod
    def straight(cls, rate: Rate) -> Bent:
        """A clock whose rate did not change."""
        return cls(rate, rate, 0, 0, 0)

    def fewest(self, start: int, end: int) -> int:
        """Cycles from the reading ``start`` to the reading ``end``, at least."""
        if end < start:
            return -self.most(end, start)
        if (rate := self._alone(start, end)) is not None:
            return (end - start) * rate.lo.numerator // rate.lo.denominator
        return min(
            _cycles(early, self.early.lo, end - start - early, self.late.lo)
            for early in self._early(start, end)
        )

    def most(self, start: int, end: int) -> int:
        """Cycles from the reading ``start`` to the reading ``end``, at most."""
        if end < start:
            return -self.fewest(end, start)
        if (rate := self._alone(start, end)) is not None:
            return -(-(end - start) * rate.hi.numerator // rate.hi.denominator)
        return -min(
            _cycles(-early, self.early.hi, early - (end - start), self.late.hi)
            for early in self._early(start, end)
        )

    def _early(self, start: int, end: int) -> list[int]:
        """How many ns of them may be of the early rate: with the knee at either end."""
        knees = (end,) if end <= self.early_until else (self.knee_low, self.knee_high)
        return [min(max(knee, start), end) - start for knee in knees]

    def _alone(self, start: int, end: int) -> Rate | None:
        """The rate from the reading ``start`` to ``end``; None if it may have changed between."""
        if self.early is self.late or end <= max(self.early_until, self.knee_low):
            return self.early
        return self.late if start >= self.knee_high else None


def _cycles(early: int, a: Fraction, late: int, b: Fraction) -> int:
    """``floor(early * a + late * b)``, in whole numbers: fractions cancel at every step."""
    below = a.denominator * b.denominator
    return (early * a.numerator * b.denominator + late * b.numerator * a.denominator) // below


def _exactly(khz: int, rounding: Fraction) -> Rate:
    """The rate of a kernel clock that was set to ``khz``."""
    return Rate(Fraction(khz, 10**6), Fraction(khz, 10**6)).widened(rounding)


def sched_shape(log: KernelLog, mark: StableMark) -> Bent | None:
    """The native ``sched_clock`` (``arch/x86/kernel/tsc.c``); ``None`` if the log lacks its rate.

    The refined rate counts from the last reading of the TSC in ``tsc_refine_calibration_work``,
    which then prints the line ``Refined``, and only after that applies the new rate.
    """
    if log.detected_khz is None:
        return None
    early = _exactly(log.detected_khz, _CYC2NS_ROUNDING)
    if log.refined_khz is None or log.refined_stamp_ns is None:
        return Bent.straight(early)
    # Before the mark, printk's distance from sched_clock was between 0 and the offset.
    settled = log.refined_stamp_ns >= mark.stamp_ns
    offsets = (mark.offset_ns,) if settled else (0, mark.offset_ns)
    latest = log.refined_stamp_ns + _STAMP_NS - min(offsets)
    return Bent(
        early,
        _exactly(log.refined_khz, _CYC2NS_ROUNDING),
        min(REFINE_NS, latest),
        latest,
        log.refined_stamp_ns - max(offsets),
    )


def timekeeping_shape(log: KernelLog, measured: Rate | None) -> Bent | None:
    """mono, mono_raw and boot (``kernel/time/timekeeping.c``) from their first real source on.

    ``measured`` is the rate of their samples. ``None`` if the log does not show that the source is
    the TSC, or if the samples contradict that: then only ``measured`` is known.
    """
    sources = [name for _, name in log.switches]
    if log.detected_khz is None or sources not in (["tsc"], ["tsc-early", "tsc"]):
        return None
    early = _exactly(log.detected_khz, _MULT_ROUNDING)
    late = _exactly(log.refined_khz or log.detected_khz, _MULT_ROUNDING)
    if measured is not None:
        common = measured.meet(late)
        if common is None:
            return None
        late = common
    # The source is registered, then switched to, and both are logged: the bend lies in between.
    mark = log.stable
    shift = mark.mono_to_printk_ns if mark else 0
    switched = log.switches[-1][0]
    registered = min(log.registered_stamp_ns or 0, switched)
    slack = 0 if mark and registered >= mark.stamp_ns else TICK_NS
    low = max(0, registered - shift - slack)
    return Bent(early, late, low, max(0, switched + _STAMP_NS - shift + slack), low)
