"""The zero of a kernel's own clock: simulated kernels with a known one, and the real ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clock_sim import SECOND, Kernel
from tracekit.clocks.boot_zero import Initcall, Zero, kernel_zero
from tracekit.clocks.fit import LineFit, fit_clock, read_samples
from tracekit.clocks.kernel_log import read_kernel_log
from tracekit.errors import Diagnostic

SPREAD = {
    "zero": st.integers(10**6, 10**12),
    "early_khz": st.integers(2_430_000, 2_460_000),
    "late_khz": st.integers(2_445_400, 2_445_460),
    "refined_after": st.floats(1.2, 3.0),
    "mark_after": st.floats(1.0, 4.0),
    "lost_ns": st.integers(0, 200_000_000),
    "mono_ahead_ns": st.integers(-(10**8), 10**8),
}
kernels = st.builds(Kernel, **SPREAD, pair_gap=st.integers(0, 8_000))
stalled = st.builds(Kernel, **SPREAD, pair_gap=st.integers(0, 200_000))
widths = st.lists(st.integers(8_000, 60_000), min_size=20, max_size=60)


def zero_of(
    trace_clock: str, dmesg: str, samples: Sequence[object] = (), where: str = "boot", **events: Any
) -> tuple[Zero | None, tuple[Diagnostic, ...]]:
    """Of a log and samples as they were saved."""
    brackets, notes = read_samples(samples, where)

    def fit_of(clock: str) -> LineFit | None:
        return fit_clock(clock, brackets.get(clock, ()), where)

    log, mono = read_kernel_log(dmesg), brackets.get("mono", ())
    zero, more = kernel_zero(trace_clock, log, mono, fit_of, where=where, **events)
    return zero, notes + more


def events(kernel: Kernel) -> tuple[list[Initcall], int]:
    """What the initcall events and the log have in common, in the order of init/main.c."""
    printed = kernel.tick + 2_500_000  # the mark
    began = min(kernel.knee - 3_000_000_000, printed - 50_000_000)
    calls = [
        Initcall("init_tsc_clocksource", start=began, finish=began + 10_000_000),
        Initcall("sched_clock_init_late", start=printed - 300_000),
        Initcall("sched_clock_init_late", finish=printed + 400_000),
        Initcall("late_trace_init", start=printed + 5_000_000, finish=printed + 6_000_000),
    ]
    kernel.log(printed + 900_000_000, "Freeing unused kernel image (initmem) memory: 1340K")
    kernel.log(printed + 910_000_000, "Run /init as init process")
    return calls, printed + 1_500_000_000


@settings(deadline=None)
@given(kernels, widths, st.integers(5, 600))
def test_samples_alone_never_miss_it(kernel: Kernel, widths: list[int], seconds: int) -> None:
    samples = kernel.samples(kernel.tick + seconds * 2_445_000_000, widths)
    zero, notes = zero_of("x86-tsc", kernel.dmesg(), samples)
    assert notes == () and zero is not None and zero.late
    assert abs(zero.raw - kernel.zero) <= zero.error


@settings(deadline=None)
@given(stalled, widths, st.integers(5, 600))
def test_with_events_never_missed_however_long_the_stall(
    kernel: Kernel, widths: list[int], seconds: int
) -> None:
    calls, first_exec = events(kernel)
    samples = kernel.samples(kernel.tick + seconds * 2_445_000_000, widths)
    zero, notes = zero_of(
        "x86-tsc", kernel.dmesg(), samples, initcalls=calls, first_exec=first_exec
    )
    assert notes == () and zero is not None
    assert abs(zero.raw - kernel.zero) <= zero.error
    # sched_clock_init_late took 700,000 cycles; that and the rates are all the width
    alone, _ = zero_of("x86-tsc", kernel.dmesg(), [], initcalls=calls, first_exec=first_exec)
    assert alone is not None and zero.error <= alone.error
    assert abs(alone.raw - kernel.zero) <= alone.error


def test_order_without_the_mark_initcall_is_wide_but_holds() -> None:
    kernel = Kernel(zero=10**10, early_khz=2_445_429)
    calls, first_exec = events(kernel)
    calls = [c for c in calls if c.func == "late_trace_init"]
    zero, _ = zero_of("x86-tsc", kernel.dmesg(), initcalls=calls, first_exec=first_exec)
    assert zero is not None and abs(zero.raw - kernel.zero) <= zero.error
    # From the last finish to the first exec are 1,494,000,000 cycles, from "Freeing" to "Run"
    # 10,000,000: all that the two facts leave open, on both sides of the middle.
    assert zero.error == pytest.approx((1_494_000_000 - 10_000_000) / 2, abs=20_000)


def test_contradicting_samples_yield_to_the_order() -> None:
    kernel = Kernel(zero=10**10)
    calls, first_exec = events(kernel)
    samples = kernel.samples(kernel.tick + 10**10, [10_000] * 20)
    for sample in samples:
        sample["ns"] = int(str(sample["ns"])) - SECOND
    zero, notes = zero_of(
        "x86-tsc", kernel.dmesg(), samples, initcalls=calls, first_exec=first_exec
    )
    assert zero is not None and abs(zero.raw - kernel.zero) <= zero.error
    assert [n.code for n in notes] == ["clock-zero-conflict"]


def test_samples_off_the_logged_rate_are_not_projected() -> None:
    kernel = Kernel(zero=10**10)
    samples = kernel.samples(kernel.tick + 10**10, [10_000] * 20)
    samples += Kernel(zero=10**10, late_khz=2_500_000).samples(
        kernel.tick + 2 * 10**10, [10_000] * 20
    )
    calls, first_exec = events(kernel)
    zero, notes = zero_of(
        "x86-tsc", kernel.dmesg(), samples, initcalls=calls, first_exec=first_exec
    )
    assert zero is not None and abs(zero.raw - kernel.zero) <= zero.error
    assert notes


def test_one_calibration_makes_one_line() -> None:
    kernel = Kernel(zero=10**10, early_khz=2_445_429)
    dmesg = kernel.dmesg().replace("Refined TSC", "x")
    samples = kernel.samples(kernel.tick + 10**10, [10_000] * 20)
    zero, notes = zero_of("x86-tsc", dmesg, samples)
    assert zero is not None and notes == ()
    assert abs(zero.raw - kernel.zero) <= zero.error < 50_000


def test_ntp_between_samples_widens_it() -> None:
    kernel = Kernel(zero=10**10)
    samples = kernel.samples(kernel.tick + 10**10, [10_000] * 20)
    steady, _ = zero_of("x86-tsc", kernel.dmesg(), samples)
    later = kernel.samples(kernel.tick + 2 * 10**10, [10_000] * 20)
    for sample in later:
        if sample["clock"] == "mono":
            sample["ns"] = int(str(sample["ns"])) + 1_000_000
    slewed, _ = zero_of("x86-tsc", kernel.dmesg(), samples + later)
    assert steady is not None and slewed is not None
    assert abs(slewed.raw - kernel.zero) <= slewed.error
    assert slewed.error > steady.error + 2_000_000  # the millisecond that mono is ahead


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: "", "no line"),
        (lambda text: text.replace("Marking stable", "Marking"), "no line"),
        (lambda text: text.replace("tsc: Detected", "x"), "not the native one"),
        (
            lambda text: text + "\n[    0.100000] kvm-clock: using sched offset of 7 cycles",
            "not the native one",
        ),
        (
            lambda text: text + "\n[    9.100000] tsc: Marking TSC unstable due to clocksource",
            "unstable",
        ),
    ],
)
def test_unknown_is_none_with_the_reason(change: Callable[[str], str], why: str) -> None:
    kernel = Kernel(zero=10**10)
    samples = kernel.samples(kernel.tick + 10**10, [10_000] * 20)
    zero, notes = zero_of("x86-tsc", change(kernel.dmesg()), samples, where="boot 1")
    assert zero is None
    assert [(n.code, n.where) for n in notes] == [("clock-zero-unknown", "boot 1")]
    assert why in notes[0].message


def test_other_trace_clocks() -> None:
    for clock in ("local", "perf", "global"):
        zero, notes = zero_of(clock, "")
        assert zero is not None and (zero.raw, zero.error, notes) == (0, 0, ())
    zero, notes = zero_of("mono", Kernel(zero=1).dmesg())
    assert zero is None and notes[0].code == "clock-zero-unknown"


@given(
    st.lists(
        st.sampled_from(
            [
                "[    2.594078] sched_clock: Marking stable (99999999999999999999, 1)->(-5, 777)",
                "[    2.594078] sched_clock: Marking stable (1, 1)->(1, 1)",
                "[    0.000000] tsc: Detected 0.000 MHz processor",
                "[    0.000000] tsc: Detected 0.001 MHz processor",
                "[    0.000000] tsc: Detected 9999999.999 MHz processor",
                "[9999999999.999999] tsc: Refined TSC clocksource calibration: 9999999.999 MHz",
                "[    0.000000] tsc: Refined TSC clocksource calibration: 0.001 MHz",
                "[    5.000000] clocksource: Switched to clocksource tsc",
                "[    1.000000] clocksource: tsc: mask: 0",
                "[    1.000000] Run /init as init process",
                "[    1.000000] Freeing unused kernel image (initmem) memory: 1K",
                "[    1.000000] x: setting system clock to" * 10_000,
                "\x00[",
                "[ 1.2] x",
            ]
        )
    ),
    st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6),
)
def test_hostile_logs_do_not_crash(lines: list[str], numbers: list[int]) -> None:
    a, b, c, d, e, f = numbers
    calls = [Initcall("sched_clock_init_late", a, b), Initcall("init_tsc_clocksource", c, d)]
    samples = [{"clock": "mono", "tsc_before": min(e, f), "ns": a, "tsc_after": max(e, f)}]
    zero_of("x86-tsc", "\n".join(lines), samples, initcalls=calls, first_exec=f)


def real(tree: Path) -> tuple[str, list[Any], list[Initcall], int]:
    """Log, samples, pid 1's initcalls and its first exec, from the kernel's own trace text."""
    calls, first = [], 0
    line = re.compile(r".*-1 +\[\d+\] \S+ +(\d+): (\w+): (?:func=(\w+)|.* pid=1 )")
    for match in map(line.match, (tree / "sys/kernel/tracing/trace").read_text().splitlines()):
        if match and match[2] == "sched_process_exec":
            first = first or int(match[1])
        elif match and match[2] == "initcall_start" and not first:
            calls.append(Initcall(match[3], start=int(match[1])))
        elif match and match[2] == "initcall_finish" and not first:
            calls.append(Initcall(match[3], finish=int(match[1])))
    return (
        (tree / "dmesg").read_text(),
        json.loads((tree / "clocks.json").read_text()),
        calls,
        first,
    )


@pytest.mark.parametrize(
    ("name", "low", "high", "first_event", "stable"),
    [
        # `stable`: start and finish of sched_clock_init_late, stamp of the mark minus its offset.
        (
            "handover-7.2-tsc",
            125_920_525_308,
            125_920_947_765,
            125_619_149_786,
            (132_447_937_821, 132_448_615_491, 2_669_421_951),
        ),
        (
            "handover-7.2-to-7.3-tsc",
            94_230_203_080,
            94_230_465_393,
            93_964_595_806,
            (98_204_958_826, 98_205_503_216, 1_628_376_427),
        ),
    ],
)
def test_real_handovers(
    capture: Callable[[str], Path],
    name: str,
    low: int,
    high: int,
    first_event: int,
    stable: tuple[int, int, int],
) -> None:
    """Golden bounds. Both ends by hand, for 7.2:

    Upper: sched_clock_init_late returned at 132,448,615,491, after the mark was printed, when
    sched_clock read 2.594078 + 0.075343951 s. The TSC counted 2445.329 MHz up to the refinement
    and 2445.429 MHz after it, so at least 2.669421951 s * 2445.329 MHz = 6,527,614,910 cycles (the
    code knows better when the refinement was: 6,527,667,726).
    Lower: mono_raw's samples put mono = 2,636,289,215 ns at 132,445,124,676 or later; sched_clock
    read 2,668,159,871 ns right after, at most 2.668159872 s * 2445.429 MHz = 6,524,795,528 cycles
    from its zero.
    """
    dmesg, samples, calls, first_exec = real(capture(name) / "new")
    zero, notes = zero_of("x86-tsc", dmesg, samples, initcalls=calls, first_exec=first_exec)
    assert zero is not None and notes == ()
    assert zero.raw - zero.error == pytest.approx(low, abs=2)
    assert zero.raw + zero.error == pytest.approx(high, abs=1)
    assert zero.late and zero.raw - zero.error > first_event
    log = read_kernel_log(dmesg)
    assert log.stable is not None and log.detected_khz and log.refined_khz
    start, finish, reading = stable
    assert reading == log.stable.stamp_ns - log.stable.offset_ns
    slow, fast = sorted((log.detected_khz, log.refined_khz))
    # The same without any of the code: between the slower and the faster calibration throughout.
    assert zero.raw + zero.error <= finish - reading * slow // 10**6 + 30
    assert zero.raw + zero.error >= finish - reading * fast // 10**6 - 30
    assert zero.raw >= start - (reading + 1000) * fast // 10**6


def test_real_evidence_agrees(capture: Callable[[str], Path]) -> None:
    """Samples and the order of events are independent, and give the same zero."""
    for name in ("handover-7.2-tsc", "handover-7.2-to-7.3-tsc"):
        dmesg, samples, calls, first_exec = real(capture(name) / "new")
        by_samples, _ = zero_of("x86-tsc", dmesg, samples)
        by_order, _ = zero_of("x86-tsc", dmesg, initcalls=calls, first_exec=first_exec)
        assert by_samples is not None and by_order is not None
        assert abs(by_samples.raw - by_order.raw) < by_samples.error + by_order.error
        assert by_samples.error < 110_000 and by_order.error < 350_000


def test_the_log_of_a_real_boot(capture: Callable[[str], Path]) -> None:
    log = read_kernel_log((capture("handover-7.2-to-7.3-tsc") / "new" / "dmesg").read_text())
    assert (log.detected_khz, log.refined_khz, log.late) == (2_441_105, 2_445_429, True)
    assert log.switches == ((722_834_000, "tsc-early"), (1_915_760_000, "tsc"))
    assert log.rtc_s == 1_795_353_899 and not log.unstable and not log.paravirt
    mark = log.stable
    assert mark is not None and mark.mono_to_printk_ns == -35_462_569  # as the line itself says
