"""The counter's rate for a whole session, including the systematic error of calibrations.

All boots of a kexec chain run on the same oscillator, so the boot that determines the rate best
determines it for all. But a boot's samples measure its kernel's clock, which runs at the TSC
frequency that the kernel calibrated. The samples' interval says how well the *kernel's* nanosecond
is known; its difference from a true nanosecond is the calibration's error, a *systematic* part that
is the same for every sample of the boot.

That part is bounded: ``tsc_refine_calibration_work`` (``arch/x86/kernel/tsc.c``) compares the
TSC with HPET or the ACPI PM timer over a second, and accepts readings that took less than
``tsc_khz >> 5`` cycles, 1/32 ms, so it is off by at most 31.25 ppm against that timer. Each boot
repeats it, and the spread over several boots shows how far off they really are. Neither says
anything about the timer's own oscillator.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from tracekit.clocks.fit import LineFit
from tracekit.clocks.kernel_log import KernelLog
from tracekit.clocks.rates import Rate
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass

__all__ = ["LIMIT_PPM", "SessionRate", "session_rate"]

#: The most a refined calibration can be off against its reference timer.
_REFINED_LIMIT = Fraction(1, 32_000)
LIMIT_PPM = float(_REFINED_LIMIT) * 1e6
#: Cycles per ns of any real counter: 1 MHz to 100 GHz.
_PLAUSIBLE = Rate(Fraction(1, 1000), Fraction(100))


@dataclass(frozen=True, slots=True)
class SessionRate:
    """Cycles per ns for all boots.

    ``rate``: the possible range, systematic part included. ``fitted``: without that part.
    ``systematic``: the share (1e-6 = 1 ppm) added for it, ``None`` where nothing bounds it, and
    ``basis`` the evidence for that share. ``source``: where ``fitted`` comes from. ``firm`` is
    false for an early calibration, which nothing bounds: 7.3 was off by 1768 ppm on the lab
    machine.
    """

    rate: Rate
    fitted: Rate
    systematic: Fraction | None
    basis: str
    source: str
    firm: bool = True

    @property
    def best(self) -> Fraction:
        """The rate used to convert: the middle of ``fitted``."""
        return self.fitted.mid

    @property
    def relative(self) -> Fraction | None:
        """Bound on the relative error of a duration converted with ``best``."""
        if not self.firm:
            return None
        return max(abs(self.best / self.rate.lo - 1), abs(1 - self.best / self.rate.hi))


def session_rate(
    fits: Mapping[int, LineFit], logs: Mapping[int, KernelLog]
) -> tuple[SessionRate | None, tuple[Diagnostic, ...]]:
    """Combine the fits and kernel logs of all boots, by boot index.

    The narrowest fit is used, unless it is wider than the possible error of a refined calibration
    and there is one; the early calibration if there is nothing else; ``None`` without any.
    """
    notes = list[Diagnostic]()
    measured = _plausible({b: fit.rate for b, fit in fits.items() if fit.rate}, notes)
    refined = _plausible(
        {b: Rate.of_khz(log.refined_khz) for b, log in logs.items() if log.refined_khz is not None},
        notes,
    )
    detected = _plausible(
        {
            b: Rate.of_khz(log.detected_khz)
            for b, log in logs.items()
            if log.detected_khz is not None
        },
        notes,
    )
    chosen = _choose(fits, measured, refined, detected)
    if chosen is None:
        return None, tuple(notes)
    fitted, source = chosen
    systematic, basis = _systematic(refined, notes)
    rate = fitted if systematic is None else fitted.widened(systematic)
    # All boots run on one oscillator, so every claim counts. A fit says that the rate is in its
    # interval, not that all of it is possible: a wide one around the chosen rate adds nothing.
    stated = fitted.widened(max(systematic or Fraction(0), _REFINED_LIMIT))
    strays = {
        boot: (fits[boot].clock, claim)
        for boot, claim in measured.items()
        if not claim.overlaps(stated)
    }
    strays |= {
        boot: ("the refined calibration", claim)
        for boot, claim in refined.items()
        if not claim.overlaps(stated)
    }
    for claim in (*refined.values(), *(claim for _, claim in strays.values())):
        rate = rate.hull(claim)
    for boot, (evidence, claim) in strays.items():
        notes.append(Diagnostic(
            "clock-rate-disagrees", "warning", f"boot {boot}",
            f"{evidence} gives {float(claim.lo):.9f} to {float(claim.hi):.9f} cycles/ns here, "
            f"{source} gives {float(fitted.lo):.9f} to {float(fitted.hi):.9f}; the error "
            "stated covers both"))  # fmt: skip
    firm = bool(measured or refined)
    return SessionRate(rate, fitted, systematic, basis, source, firm), tuple(notes)


def _plausible(rates: Mapping[int, Rate], notes: list[Diagnostic]) -> dict[int, Rate]:
    """The rates that a counter can have; adds a note about every other."""
    kept = {}
    for boot, rate in rates.items():
        if rate.lo >= _PLAUSIBLE.lo and rate.hi <= _PLAUSIBLE.hi:
            kept[boot] = rate
            continue
        notes.append(
            Diagnostic(
                "clock-rate-implausible",
                "warning",
                f"boot {boot}",
                f"{float(rate.lo):g} to {float(rate.hi):g} cycles/ns is no rate of a TSC; not used",
            )
        )
    return kept


def _choose(
    fits: Mapping[int, LineFit],
    measured: Mapping[int, Rate],
    refined: Mapping[int, Rate],
    detected: Mapping[int, Rate],
) -> tuple[Rate, str] | None:
    """The interval to use and where it comes from."""
    best = min(measured, key=lambda boot: (measured[boot].ppm, boot), default=None)
    if best is not None and (measured[best].ppm <= LIMIT_PPM or not refined):
        fit = fits[best]
        return measured[best], (
            f"{fit.clock} of boot {best} ({fit.used} samples over {fit.span_ns / 1e9:.3f} s)"
        )
    for kind, rates in (("refined", refined), ("early", detected)):
        for boot, rate in rates.items():
            return rate, f"the {kind} TSC calibration in the log of boot {boot}"
    return None


def _systematic(
    refined: Mapping[int, Rate], notes: list[Diagnostic]
) -> tuple[Fraction | None, str]:
    """How far the kernels' calibrations may be off, and the evidence for that."""
    if not refined:
        notes.append(
            Diagnostic(
                "clock-calibration-unknown",
                "info",
                "session",
                "no log shows a refined TSC calibration, so how far the kernel's nanosecond is "
                "from a nanosecond is not known and not in the errors stated",
            )
        )
        return None, "no refined calibration in any log: not bounded"
    rates = list(refined.values())
    if len(rates) == 1:
        return _REFINED_LIMIT, "the limit the kernel sets its one refined calibration"
    low, high = min(r.lo for r in rates), max(r.hi for r in rates)
    spread = (high - low) / low
    if spread > 2 * _REFINED_LIMIT:
        notes.append(
            Diagnostic(
                "clock-rate-disagrees",
                "warning",
                "session",
                f"the refined calibrations are {float(spread) * 1e6:.0f} ppm apart, more than the "
                "kernel lets them be wrong: not all boots ran on the same oscillator",
            )
        )
    return spread, f"the spread of the refined calibrations of {len(rates)} boots"
