"""The rate of a session's counter, and how far it may be off."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.support.clock_sim import FIRST, JUMP, boot, clock_input, codes, handover
from tracekit.clocks.align import align


def test_a_counter_of_unknown_rate_stays_in_cycles() -> None:
    session = align(
        [
            clock_input(0, "x86-tsc", (), "", JUMP - 5, JUMP),
            clock_input(1, "x86-tsc", (), "", FIRST, FIRST + 7),
        ]
    )
    assert "clock-rate-unknown" in codes(session) and session.rate is None
    assert session.model(1).ns(FIRST) == FIRST - JUMP
    assert session.model(1).error_ns is None and session.model(1).cycles_per_ns is None
    assert session.interval(0, JUMP, 1, FIRST) == (FIRST - JUMP, None)


def test_spread_of_calibrations_is_the_systematic_part() -> None:
    old, new = handover(2_445_430, 2_445_428)
    session = align(
        [
            boot(old, 0, "x86-tsc", JUMP - 10**9, JUMP),
            boot(new, 1, "x86-tsc", FIRST, FIRST + 10**11),
        ]
    )
    rate = session.rate
    assert rate is not None and rate.systematic == Fraction(3, 2_445_428)
    assert "2 boots" in rate.basis
    assert rate.rate.lo <= rate.fitted.lo < rate.fitted.hi <= rate.rate.hi


def test_one_calibration_has_the_kernels_limit() -> None:
    old, _ = handover()
    session = align([boot(old, 0, "x86-tsc", JUMP - 10**10, JUMP)])
    assert session.rate is not None and session.rate.systematic == Fraction(1, 32_000)
    error = session.model(0).error_ns
    assert error == pytest.approx(10**10 / 2.44543 / 32_000, rel=0.1)


def test_without_calibration_the_part_is_unknown_and_said() -> None:
    old, _ = handover()
    session = align([boot(old, 0, "x86-tsc", JUMP - 10**10, JUMP, dmesg="")])
    assert session.rate is not None and session.rate.systematic is None
    assert "clock-calibration-unknown" in codes(session)
    local = align([boot(old, 0, "local", JUMP - 10**10, JUMP, dmesg="")])
    assert local.model(0).error_ns is None  # nothing says how its ns compare with others


def test_an_early_calibration_alone_bounds_nothing() -> None:
    text = "[    0.032000] tsc: Detected 2441.105 MHz processor"
    session = align(
        [
            clock_input(0, "x86-tsc", (), text, JUMP - 5, JUMP),
            clock_input(1, "x86-tsc", (), text, FIRST, FIRST + 7),
        ]
    )
    gap = session.gaps[0]
    assert gap.ns == pytest.approx(5_579_166_000, rel=1e-6) and gap.latest_ns is None
    assert session.model(1).error_ns is None
    assert session.interval(0, JUMP, 1, FIRST) == (gap.ns, None)


def test_a_frequency_taken_for_exact() -> None:
    """CPUID told it: no refinement, and the TSC is the clock source at once."""
    old, _ = handover()
    text = (
        "[    0.000000] tsc: Detected 2445.430 MHz processor\n"
        "[    0.300000] clocksource: Switched to clocksource tsc-early\n"
        "[    0.400000] clocksource: Switched to clocksource tsc"
    )
    session = align([boot(old, 0, "local", JUMP - 10**10, JUMP, dmesg=text)])
    error = session.model(0).error_ns
    assert error is not None and error < 10_000
    assert "clock-calibration-unknown" in codes(session)


@pytest.mark.parametrize(
    "line",
    [
        "[    0.000000] [Firmware Bug]: TSC ADJUST: CPU0: -7384973 force to 0",
        "[    9.000000] tsc: Marking TSC unstable due to clocksource watchdog",
    ],
)
def test_a_changed_counter_is_said(line: str) -> None:
    session = align([clock_input(0, "x86-tsc", (), line, 1, 2)])
    assert "clock-tsc-changed" in codes(session)
    ok = align([clock_input(0, "local", (), "[ 0.000000] TSC ADJUST: CPU0: 1 NOT forced to 0")])
    assert "clock-tsc-changed" not in codes(ok)


def test_an_impossible_rate_is_said_and_not_used() -> None:
    text = "[    0.000000] tsc: Detected 0.001 MHz processor"
    session = align([clock_input(0, "x86-tsc", (), text, 1, 2)])
    assert session.rate is None
    assert codes(session) == ["clock-rate-unknown", "clock-rate-implausible"]


def test_disagreeing_boots_are_said_and_covered() -> None:
    old, new = handover()
    new.early_khz, new.late_khz = 2_500_000, 2_500_001
    samples = new.samples(new.switch + 10**9, [9_000] * 20)
    samples += new.samples(new.switch + 10**11, [9_000] * 20)
    session = align(
        [
            boot(old, 0, "x86-tsc", JUMP - 10**9, JUMP),
            clock_input(1, "x86-tsc", samples, "", FIRST, FIRST + 10**10),
        ]
    )
    assert codes(session).count("clock-rate-disagrees") >= 1
    assert session.rate is not None and session.rate.rate.hi >= Fraction(25, 10)
    error = session.gaps[0].error_ns
    assert error is not None and error > 10**8


def test_calibrations_too_far_apart_are_said() -> None:
    old, new = handover(2_445_430, 2_446_430)
    session = align(
        [
            boot(old, 0, "x86-tsc", JUMP - 10**9, JUMP),
            boot(new, 1, "x86-tsc", FIRST, FIRST + 10**11),
        ]
    )
    assert "clock-rate-disagrees" in codes(session)
    error = session.gaps[0].error_ns
    assert error is not None and error >= 5_569_298_285 * 409 / 10**6


def test_a_wide_fit_yields_to_the_log() -> None:
    old, _ = handover()
    samples = old.samples(JUMP - 10**8, [9_000] * 4)
    session = align([clock_input(0, "x86-tsc", samples, old.dmesg(), JUMP - 10**10, JUMP)])
    assert session.rate is not None and "log of boot 0" in session.rate.source
