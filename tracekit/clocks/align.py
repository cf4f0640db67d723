"""One time axis for all boots of a session: 0 is the jump, the unit is the nanosecond.

Raw stamps are kept; this module computes how they are converted and how wrong that may be. Within
a boot, a clock in ns is shifted and one in cycles is scaled. Across boots (:func:`align`) there is
a common clock only if both trace clocks can be related to the TSC, which counts on through a kexec.
All other clocks restart, and only the RTC and the order of events bound the gap; a diagnostic says
so. The evidence: :mod:`~tracekit.clocks.fit` (samples), :mod:`~tracekit.clocks.kernel_log` (kernel
log), :mod:`~tracekit.clocks.counter_rate` (the counter's rate), :mod:`~tracekit.clocks.anchors` (a
clock against TSC or RTC), :mod:`~tracekit.clocks.boot_zero` (the kernel's own zero).

A bound that is not known is ``None``, and a diagnostic says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil

from tracekit.clocks.anchors import loose_below, refined_from
from tracekit.clocks.counter_rate import SessionRate, session_rate
from tracekit.clocks.evidence import BootClockInput, BootEvidence, ClockEvidence, own_error, related
from tracekit.clocks.gap import gap_between
from tracekit.clocks.model import UNKNOWN, ClockModel, Gap, SessionClock, total
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass

__all__ = ["align", "session_rate_of"]

#: ``trace_clock_jiffies`` counts these (USER_HZ is 100).
_USER_TICK_NS = 10_000_000


def align(boots: Sequence[BootClockInput], origin: tuple[int, int] | None = None) -> SessionClock:
    """Put all boots on one axis.

    ``origin`` is ``(boot index, raw stamp)`` of the jump. By default it is the last event of the
    boot before the last one, or of the only boot.
    """
    if not boots:
        return SessionClock(0, 0, (), (), True, None, ())
    unrelated = [boot.evidence for boot in sorted(boots, key=lambda b: b.index)]
    rate, notes = session_rate_of([evidence.boot for evidence in unrelated])
    read = [related(evidence, rate) for evidence in unrelated]
    leaving = read[-2:][0]
    start, raw = origin or (leaving.index, leaving.last)
    gaps, remarks = [], [note for boot in read for note in boot.notes]
    for a, b in pairwise(read):
        gap, more = gap_between(a, b, rate)
        gaps.append(gap)
        remarks += more
    models = _chain(read, gaps, rate, start, raw)
    return SessionClock(
        start, raw, models, tuple(gaps), all(g.common for g in gaps), rate, (*remarks, *notes)
    )


def session_rate_of(
    boots: Iterable[BootEvidence],
) -> tuple[SessionRate | None, tuple[Diagnostic, ...]]:
    """The counter's rate, from all boots together; None without any evidence."""
    read = list(boots)
    return session_rate({b.index: b.fit for b in read if b.fit}, {b.index: b.log for b in read})


@dataclass(frozen=True, slots=True)
class _Placed:
    """A boot's model, and the bound on where its ``ref_raw`` is relative to the jump.

    The bound is that of a stamp from when the clock had a real source.
    """

    model: ClockModel
    slack_ns: int | None


def _chain(
    boots: Sequence[ClockEvidence],
    gaps: Sequence[Gap],
    rate: SessionRate | None,
    start: int,
    raw: int,
) -> tuple[ClockModel, ...]:
    """Models for all boots: the one with the origin first, then outward from gap to gap."""
    origin = next((i for i, boot in enumerate(boots) if boot.index == start), len(boots[-2:]) - 1)
    lost = [_lost(boot, gap) for boot, gap in zip(boots, (None, *gaps), strict=True)]
    placed = {origin: _Placed(_model(boots[origin], rate, (raw, 0), lost[origin]), 0)}
    for i in (*range(origin + 1, len(boots)), *range(origin - 1, -1, -1)):
        back = i > origin
        near = i - 1 if back else i + 1
        placed[i] = _beside(
            boots[i], boots[near], placed[near], gaps[min(i, near)], rate, back=back, lost=lost[i]
        )
    return tuple(_with_error(boots[i], placed[i]) for i in range(len(boots)))


def _lost(boot: ClockEvidence, gap: Gap | None) -> int | None:
    """The time a clock without a real source may have lost after the boot's first event, ns.

    At most what would put that event before the jump; unknown for the first boot.
    """
    if boot.first >= loose_below(boot.trace_clock, boot.log):
        return 0
    return gap.ns if gap else None


def _beside(
    boot: ClockEvidence,
    near: ClockEvidence,
    placed: _Placed,
    gap: Gap,
    rate: SessionRate | None,
    *,
    back: bool,
    lost: int | None,
) -> _Placed:
    """Place a boot next to its neighbour, which is before (``back``) or after it."""
    if boot.unit == near.unit == "cycles" and gap.common:
        # One counter: the arithmetic stays in cycles across the jump.
        ref = placed.model.ref_raw, placed.model.offset_ns
        return _Placed(_model(boot, rate, ref, lost), placed.slack_ns)
    edge = near.last if back else near.first
    offset = placed.model.ns(edge) + (gap.ns if back else -gap.ns)
    slack = total(
        (
            placed.slack_ns,
            placed.model.duration_error(edge - placed.model.ref_raw),
            gap.placing_error_ns,
        )
    )
    return _Placed(_model(boot, rate, (boot.first if back else boot.last, offset), lost), slack)


def _model(
    boot: ClockEvidence, rate: SessionRate | None, ref: tuple[int, int], lost: int | None
) -> ClockModel:
    """One boot's model, with stamp ``ref[0]`` at ``ref[1]`` ns; its error bound comes later."""
    log, unit = boot.log, boot.unit
    method = _method(boot, rate)
    scale, share, constant = Fraction(1), own_error(boot, rate), 0
    if unit == "cycles":
        scale, share = (1 / rate.best, rate.relative) if rate else (scale, None)
    elif unit == "ticks":
        scale, constant = Fraction(_USER_TICK_NS), _USER_TICK_NS
    if unit in ("ns", "ticks") and log.refined_khz and log.detected_khz:
        # Before the refined calibration the clock ran at the early one.
        until = refined_from(boot.trace_clock, log)
        early = max(
            0, (round(boot.last * scale) if until is None else until) - round(boot.first * scale)
        )
        constant += ceil(early * abs(Fraction(log.detected_khz, log.refined_khz) - 1))
    total = rate.rate if rate and boot.anchor else None
    return ClockModel(
        boot.index,
        boot.trace_clock,
        unit,
        method,
        *ref,
        scale,
        share,
        constant,
        loose_raw=loose_below(boot.trace_clock, log),
        loose_ns=lost,
        cycles_per_ns=float(rate.best) if rate and total else None,
        cycles_per_ns_lo=float(total.lo) if total else None,
        cycles_per_ns_hi=float(total.hi) if total else None,
        residual_ns=boot.boot.fit.residual_ns if boot.boot.fit else None,
    )


def _method(boot: ClockEvidence, rate: SessionRate | None) -> str:
    """How the boot's stamps are placed on the axis, for the reader."""
    if boot.unit == "cycles" and rate is not None:
        return f"TSC cycles at the rate of {rate.source}; systematic part: {rate.basis}"
    if boot.unit == "cycles":
        return "TSC cycles as they are: the rate is not known"
    if boot.trace_clock == UNKNOWN:
        return "stamps of a clock that nothing tells: order only"
    if boot.unit == "count":
        return "an event count: order only"
    step = "10 ms steps" if boot.unit == "ticks" else "the kernel's own ns"
    return step + (f", placed by {boot.anchor.method}" if boot.anchor else "")


def _with_error(boot: ClockEvidence, placed: _Placed) -> ClockModel:
    """The model with the worst error over the boot's events."""
    model = placed.model
    ends = [model.duration_error(raw - model.ref_raw) for raw in (boot.first, boot.last)]
    known = [error for error in ends if error is not None]
    if len(known) < len(ends):
        return model
    return replace(model, error_ns=total((placed.slack_ns, max(known), model.early_by(boot.first))))
