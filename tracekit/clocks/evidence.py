"""The evidence about one boot's clocks: its samples and its kernel log, read once.

Both are independent of the clock that stamped the boot's events, so they are read without it
(:class:`BootClocks`); a :class:`BootClockInput` adds the trace clock and its stamps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property

from tracekit.clocks.anchors import Anchor, place_on_tsc
from tracekit.clocks.counter_rate import LIMIT_PPM, SessionRate
from tracekit.clocks.fit import Bracket, LineFit, best_fit, fit_clock, in_order, read_samples
from tracekit.clocks.kernel_log import KernelLog, read_kernel_log
from tracekit.clocks.model import UNITS, UNKNOWN, Unit
from tracekit.clocks.rates import Rate
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass, field

__all__ = [
    "BootClockInput",
    "BootClocks",
    "BootEvidence",
    "ClockEvidence",
    "on_clock",
    "own_error",
    "related",
]


@dataclass(frozen=True, slots=True)
class BootEvidence:
    """The checked samples and log of a boot. ``fit``: of the clock that shows a rate best.

    ``by_firmware``: see :class:`BootClocks`.
    """

    index: int
    log: KernelLog
    brackets: Mapping[str, Sequence[Bracket]]
    fit: LineFit | None
    notes: tuple[Diagnostic, ...]
    by_firmware: bool = False
    _fits: dict[str, LineFit | None] = field(default_factory=dict, init=False, compare=False)

    @property
    def where(self) -> str:
        """The boot, as diagnostics name it."""
        return f"boot {self.index}"

    def fit_of(self, clock: str) -> LineFit | None:
        """The fit of one clock, made once; None without samples of it."""
        if self.fit is not None and self.fit.clock == clock:
            return self.fit
        if clock not in self._fits:
            self._fits[clock] = fit_clock(clock, self.brackets.get(clock, ()), self.where)
        return self._fits[clock]

    def with_brackets(self, clock: str, more: Sequence[Bracket]) -> BootEvidence:
        """A copy with more brackets of one clock, and without the fit they may change."""
        if not more:
            return self
        every = in_order([*self.brackets.get(clock, ()), *more])
        return replace(self, brackets={**self.brackets, clock: every}, fit=None)


@dataclass(frozen=True)
class BootClocks:
    """The saved clock data of one boot.

    ``samples``: the untrusted contents of ``clocks.json`` and ``clocks-last.json``.
    ``printk_offset_ns``: how far printk's clock is ahead of ``local``, where it was read
    (``__sched_clock_offset``, kernel/sched/clock.c).
    ``by_firmware``: it came up through firmware, which may have reset the counter.
    ``tsc_khz``: the rate that another tool read from this kernel, used where the log has none.
    """

    index: int
    samples: Sequence[object] = ()
    dmesg: str = ""
    by_firmware: bool = False
    printk_offset_ns: int | None = None
    tsc_khz: int | None = None

    @cached_property
    def evidence(self) -> BootEvidence:
        """The evidence in it, read once when first asked for."""
        where = f"boot {self.index}"
        brackets, notes = read_samples(self.samples, where)
        fit = best_fit(brackets, where, notes)
        log = read_kernel_log(self.dmesg)
        if log.refined_khz is None and self.tsc_khz is not None:
            log = replace(log, refined_khz=self.tsc_khz)
        return BootEvidence(
            self.index,
            log,
            brackets,
            fit,
            fit.diagnostics if fit else notes,
            self.by_firmware,
        )


@dataclass(frozen=True, slots=True)
class BootClockInput:
    """A boot's clocks, and the one that stamped its events.

    ``first_raw`` and ``last_raw``: stamps of its first and last event on ``trace_clock``, ``None``
    without events.
    """

    clocks: BootClocks
    trace_clock: str
    first_raw: int | None = None
    last_raw: int | None = None

    @property
    def index(self) -> int:
        """The boot's index."""
        return self.clocks.index

    @property
    def evidence(self) -> ClockEvidence:
        """The evidence about the trace clock."""
        first = self.first_raw if self.first_raw is not None else self.last_raw or 0
        last = self.last_raw if self.last_raw is not None else first
        return on_clock(self.clocks.evidence, self.trace_clock, first, last)


@dataclass(frozen=True, slots=True)
class ClockEvidence:
    """The evidence about a boot's trace clock.

    ``first``/``last`` are 0 if it has no events. ``own_fit`` is of the trace clock, if that was
    sampled; ``anchor`` relates it to the TSC, see :func:`related`.
    """

    boot: BootEvidence
    trace_clock: str
    first: int
    last: int
    own_fit: LineFit | None
    notes: tuple[Diagnostic, ...]
    anchor: Anchor | None = None

    @property
    def index(self) -> int:
        """The boot's index."""
        return self.boot.index

    @property
    def log(self) -> KernelLog:
        """The boot's kernel log."""
        return self.boot.log

    @property
    def unit(self) -> Unit:
        """The unit of the trace clock."""
        return UNITS.get(self.trace_clock, "ns")

    @property
    def where(self) -> str:
        """The boot, as diagnostics name it."""
        return self.boot.where


def on_clock(boot: BootEvidence, trace_clock: str, first: int, last: int) -> ClockEvidence:
    """The evidence for stamps of ``trace_clock`` from ``first`` to ``last``."""
    own, notes = boot.fit_of(trace_clock), boot.notes
    if own is not None and own is not boot.fit:
        notes += own.diagnostics
    notes += tuple(_remarks(boot, trace_clock))
    return ClockEvidence(boot, trace_clock, first, last, own, notes)


def _remarks(boot: BootEvidence, trace_clock: str) -> list[Diagnostic]:
    """Diagnostics about the clock itself."""
    remarks = []
    if trace_clock not in UNITS:
        message = f"the trace clock {trace_clock!r} is not known; its stamps are taken for ns"
        remarks.append(Diagnostic("clock-unknown", "warning", boot.where, message))
    elif trace_clock == UNKNOWN:
        message = (
            "nothing in the session tells which trace clock stamped the events: they are in order, "
            "but no time is known"
        )
        remarks.append(Diagnostic("clock-unknown", "warning", boot.where, message))
    elif trace_clock == "counter":
        message = "the trace clock counts events: it gives their order, no time"
        remarks.append(Diagnostic("clock-order-only", "warning", boot.where, message))
    if boot.log.unstable or boot.log.adjusted:
        change = "found the TSC unstable" if boot.log.unstable else "changed the TSC's value"
        message = f"this kernel {change}: what is placed by the TSC may be off by an unknown amount"
        remarks.append(Diagnostic("clock-tsc-changed", "warning", boot.where, message))
    return remarks


def related(boot: ClockEvidence, rate: SessionRate | None) -> ClockEvidence:
    """The boot with its relation to the TSC, for which the session's rate may be needed."""
    if boot.unit == "cycles" and rate is None:
        note = Diagnostic(
            "clock-rate-unknown",
            "error",
            boot.where,
            "neither samples nor the kernel log tell the TSC's rate: times are in cycles, not ns",
        )
        return replace(boot, notes=(*boot.notes, note))
    anchor, notes = place_on_tsc(
        boot.trace_clock,
        boot.log,
        boot.boot.brackets.get("mono", ()),
        boot.boot.fit_of,
        fit=boot.own_fit,
        rate=rate.rate if rate else None,
        where=boot.where,
    )
    return replace(boot, anchor=anchor, notes=boot.notes + notes)


def own_error(boot: ClockEvidence, rate: SessionRate | None) -> Fraction | None:
    """Bound on the relative difference between the boot's own ns and the session's.

    Its clock runs at its refined calibration (or the early one, if the kernel takes that for exact
    and makes the TSC its clock source without refining it), unless NTP slews it: the rate of its
    own samples is added if they are more precise than a calibration.
    """
    if rate is None or not rate.firm or boot.unit == "count":
        return None
    log = boot.log
    own = None
    if log.refined_khz is not None:
        own = Rate.of_khz(log.refined_khz)
    elif log.detected_khz is not None and "tsc" in [name for _, name in log.switches]:
        own = Rate.of_khz(log.detected_khz)
    fit = boot.own_fit or (boot.boot.fit if own else None)
    if fit is not None and fit.rate is not None and (own is None or fit.rate.ppm <= LIMIT_PPM):
        own = own.hull(fit.rate) if own else fit.rate
    if own is None:
        return None
    return max(abs(own.hi / rate.rate.lo - 1), abs(1 - own.lo / rate.rate.hi))
