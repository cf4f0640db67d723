"""The gap between two boots: real handovers, and what the RTC and the TSC leave of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock_sim import FIRST, JUMP, SECOND, Kernel, boot, clock_input, codes, handover
from tracekit.clocks.align import align
from tracekit.clocks.evidence import BootClockInput


def test_tick_driven_first_events_are_only_bounded() -> None:
    old, new = handover()
    first = new.zero + 500_000_000  # mono: before the first clock source
    session = align(
        [
            boot(old, 0, "mono", JUMP - 10**9, JUMP),
            boot(new, 1, "mono", first, new.tick + 5 * 10**10),
        ]
    )
    gap = session.gaps[0]
    assert gap.common and gap.earliest_ns == 0 and gap.error_ns == gap.ns
    assert "clock-loose" in codes(session)
    # the same of sched_clock where it was calibrated late
    first = new.zero + 5_000_000
    session = align(
        [
            boot(old, 0, "local", JUMP - 10**9, JUMP),
            boot(new, 1, "local", first, new.tick + 5 * 10**10),
        ]
    )
    assert session.gaps[0].earliest_ns == 0 and "clock-loose" in codes(session)


def test_local_clocks_without_samples_have_the_rtc() -> None:
    old, new = handover()
    # both kernels set their clocks from an RTC that really shows whole seconds of the TSC
    old.rtc_s, new.rtc_s = 1000, 1000 + 47
    session = align(
        [
            boot(old, 0, "local", JUMP - 10**9, JUMP, samples=()),
            boot(new, 1, "local", new.tick, new.tick + 10**10, samples=()),
        ]
    )
    gap = session.gaps[0]
    assert not session.common and not gap.common
    # 47 s +- 1 s between the readings, 75 ms each for printk's distance from local
    since_old = old.sched(JUMP) - 1_000_000_000
    since_new = new.sched(new.tick) - 1_000_000_000
    nominal = 47 * SECOND + since_new - since_old
    assert gap.earliest_ns < nominal < (gap.latest_ns or 0)
    assert (gap.latest_ns or 0) - gap.earliest_ns == pytest.approx(2.15 * SECOND, rel=0.05)
    assert gap.ns == (gap.earliest_ns + (gap.latest_ns or 0)) // 2
    assert codes(session).count("clock-not-common") == 1
    worst = session.model(1).error_ns
    assert worst is not None and worst >= (gap.error_ns or 0)


def test_the_rtc_cannot_put_new_before_old() -> None:
    old, new = handover()
    old.rtc_s, new.rtc_s = 1000, 1000 + 40
    session = align(
        [
            boot(old, 0, "perf", JUMP - 10**9, JUMP, samples=()),
            boot(new, 1, "perf", new.tick, new.tick + 10**10, samples=()),
        ]
    )
    gap = session.gaps[0]
    assert gap.earliest_ns == 0 <= gap.ns <= (gap.latest_ns or 0) < 2 * SECOND
    new.rtc_s = 900  # it was set back in between: no evidence at all
    session = align(
        [
            boot(old, 0, "perf", JUMP - 10**9, JUMP, samples=()),
            boot(new, 1, "perf", new.tick, new.tick + 10**10, samples=()),
        ]
    )
    assert session.gaps[0].latest_ns is None and session.gaps[0].ns == 0


def test_tai_is_only_as_good_as_the_rtc() -> None:
    old, new = handover()
    epoch = 1_795_352_696 * SECOND

    def tai(kernel: Kernel, index: int, first: int, last: int, wrong: int) -> BootClockInput:
        """tai is mono plus an offset; before the samples it was ``wrong`` ns behind that."""
        samples = [
            dict(s, ns=int(str(s["ns"])) + epoch, clock="tai")
            for s in kernel.samples(last - 10**9, [9_000] * 30, ("mono",))
        ]
        return clock_input(
            index,
            "tai",
            samples,
            kernel.dmesg(),
            kernel.mono(first) + epoch - wrong,
            kernel.mono(last) + epoch,
        )

    first = new.tick
    for wrong in (-490_000_000, 0, 1_490_000_000):
        session = align(
            [tai(old, 0, JUMP - 10**9, JUMP, 0), tai(new, 1, first, first + 5 * 10**10, wrong)]
        )
        gap = session.gaps[0]
        truth = Fraction((first - JUMP) * 10**6, 2_445_430)
        assert not session.common and "clock-not-common" in codes(session)
        assert gap.earliest_ns <= truth <= (gap.latest_ns or 0)


def test_generic_sched_clock_is_printks_and_has_the_rtc() -> None:
    """arm64: no mark, as local and printk are the same clock from the start."""

    def log(second: int) -> str:
        return (
            "[    0.000000] sched_clock: 56 bits at 1000MHz, resolution 1ns\n"
            "[    1.000000] rtc-efi rtc-efi.0: registered as rtc0\n"
            f"[    1.000100] rtc-efi rtc-efi.0: setting system clock to x UTC ({second})"
        )

    session = align(
        [
            clock_input(0, "local", (), log(1000), 5 * SECOND, 10 * SECOND),
            clock_input(1, "local", (), log(1014), 2 * SECOND, 3 * SECOND),
        ]
    )
    gap = session.gaps[0]
    # 14 s between the readings, 9 s after the first one to the jump, 1 s after the second: 6 s
    assert gap.ns == pytest.approx(6 * SECOND, abs=10**6)
    assert gap.error_ns == pytest.approx(SECOND, abs=10**6)
    assert not gap.common
    mono = align([clock_input(i, "mono", (), log(i), 1, 2) for i in (0, 1)])
    assert mono.gaps[0].latest_ns is None  # printk's stamps say nothing about mono there


def real(tree: Path, index: int, first: int, last: int, clock: str = "x86-tsc") -> BootClockInput:
    samples: list[Any] = []
    for name in ("clocks.json", "clocks-last.json"):
        if (tree / name).exists():
            samples += json.loads((tree / name).read_text())
    return clock_input(index, clock, samples, (tree / "dmesg").read_text(), first, last)


def test_handover_7_2(capture: Callable[[str], Path]) -> None:
    """By hand: mono_raw of the old kernel leaves 2.44542827 to 2.44543227 GHz, middle 2.44543027.

    13,619,330,590 cycles / 2.44543027 GHz = 5.569298 s; half the width is 0.82 ppm. The refined
    calibrations, 2445.430 and 2445.429 MHz and up to 1 kHz cut off each, are 2 kHz apart at most:
    another 0.82 ppm. 1.64 ppm of 5.569298 s are 9.1 us.
    """
    trees = capture("handover-7.2-tsc")
    session = align(
        [
            real(trees / "old", 0, JUMP - 10**10, JUMP),
            real(trees / "new", 1, FIRST, 137_748_931_750),
        ]
    )
    assert FIRST - JUMP == 13_619_330_590
    assert session.common and session.diagnostics == ()
    ns, error = session.interval(0, JUMP, 1, FIRST)
    assert ns == session.gaps[0].ns == 5_569_298_285
    assert error is not None and 9_000 < error < 9_200
    assert abs(ns - 13_619_330_590 / 2.44543027) < 10
    rate = session.rate
    assert rate is not None and float(rate.systematic or 0) == pytest.approx(2 / 2_445_429)
    assert "spread of the refined calibrations of 2 boots" in session.model(1).method
    assert session.model(0).ns(JUMP) == 0 and session.model(1).ns(FIRST) == ns
    assert session.model(0).residual_ns == pytest.approx(199, abs=5)
    # 25.7e9 cycles from the jump to the last event: 10.53 s, 1.64 ppm
    assert session.model(1).error_ns == pytest.approx(17_227, abs=10)
    assert session.model(0).duration_error(2_445_430_000) == pytest.approx(1_637, abs=2)


def test_handover_to_7_3(capture: Callable[[str], Path]) -> None:
    trees = capture("handover-7.2-to-7.3-tsc")
    text = (trees / "new/sys/kernel/tracing/trace").read_text()
    first = int(re.findall(r"\] \S+ +(\d+): initcall_level: level=console", text)[0])
    session = align(
        [
            real(trees / "old", 0, 60 * 10**9, 85_696_907_765),
            real(trees / "new", 1, first, 101_033_597_857),
        ]
    )
    assert first == 93_964_595_806
    # The old kernel's early calibration is off by 22 ppm, the new one's by 1768 ppm; none of
    # that is in the result, as mono_raw was sampled after both were refined.
    assert session.diagnostics == () and session.rate is not None
    assert float(session.rate.best) == pytest.approx(2.445428, abs=2e-9)
    # 8,267,688,041 cycles, as counted from the last handover:machine_kexec on; 1.94 ppm of it
    assert session.gaps[0].ns == pytest.approx(8_267_688_041 / 2.445428, abs=5)
    assert session.gaps[0].error_ns == pytest.approx(6_570, abs=15)
    assert session.rate.rate.ppm < 2


def test_real_mono_agrees_with_the_tsc(capture: Callable[[str], Path]) -> None:
    """The same two instants told by mono alone: its samples are all that relates the boots."""
    trees = capture("handover-7.2-tsc")
    old, new = real(trees / "old", 0, 0, 0), real(trees / "new", 1, 0, 0)
    left = next(s for s in reversed(old.clocks.samples) if s["clock"] == "mono")  # type: ignore[index]
    came = next(
        s
        for s in new.clocks.samples
        if s["clock"] == "mono"  # type: ignore[index]
        and s["tsc_after"] - s["tsc_before"] < 30_000
    )  # type: ignore[index]
    session = align(
        [
            replace(
                old,
                trace_clock="mono",
                first_raw=left["ns"] - 10**9,  # type: ignore[index]
                last_raw=left["ns"],
            ),  # type: ignore[index]
            replace(
                new,
                trace_clock="mono",
                first_raw=came["ns"],  # type: ignore[index]
                last_raw=came["ns"] + 10**6,
            ),  # type: ignore[index]
        ]
    )
    low = (came["tsc_before"] - left["tsc_after"]) / 2.4454323  # type: ignore[index]
    high = (came["tsc_after"] - left["tsc_before"]) / 2.4454283  # type: ignore[index]
    gap = session.gaps[0]
    assert session.common and low - 10 < gap.ns < high + 10
    assert gap.error_ns is not None and gap.error_ns < 60_000
