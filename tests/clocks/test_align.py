"""Boots on one axis: every pair of clocks, with the truth known."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clock_sim import (
    CLOCKS,
    FIRST,
    JUMP,
    SECOND,
    Kernel,
    boot,
    clock_input,
    codes,
    handover,
    stamp,
)
from tracekit.clocks.align import align


@pytest.mark.parametrize("old_clock", CLOCKS)
@pytest.mark.parametrize("new_clock", CLOCKS)
def test_clocks_that_meet_on_the_tsc(old_clock: str, new_clock: str) -> None:
    old, new = handover()
    jump, first, last = JUMP, new.tick + 100_000_000, new.tick + 20 * 2_445_000_000
    session = align(
        [
            boot(old, 0, old_clock, jump - 2 * 2_445_000_000, jump),
            boot(new, 1, new_clock, first, last),
        ]
    )
    gap = session.gaps[0]
    truth = Fraction((first - jump) * 10**6, 2_445_430)
    assert session.common and gap.common
    assert gap.earliest_ns <= truth <= (gap.latest_ns or 0)
    assert gap.error_ns is not None and gap.error_ns < 100_000
    if old_clock == new_clock == "x86-tsc":
        assert gap.error_ns < 15_000
    # every event, wherever it is in the boots, within the stated bound of the truth
    for index, kernel, clock, counts in (
        (0, old, old_clock, (jump - 2 * 2_445_000_000, jump)),
        (1, new, new_clock, (first, new.knee, new.switch + 1, last)),
    ):
        placed = session.model(index)
        assert placed.error_ns is not None
        for count in counts:
            if count >= (first if index else 0):
                exact = Fraction((count - jump) * 10**6, 2_445_430)
                assert abs(placed.ns(stamp(kernel, clock, count)) - exact) <= placed.error_ns
    ns, error = session.interval(0, stamp(old, old_clock, jump), 1, stamp(new, new_clock, last))
    assert error is not None
    assert abs(ns - Fraction((last - jump) * 10**6, 2_445_430)) <= error


@pytest.mark.parametrize("clock", ["local", "perf"])
@pytest.mark.parametrize("mark", [True, False])
def test_brackets_of_the_trace_clock_itself(clock: str, mark: bool) -> None:
    """Later captures may bracket a trace_marker write: {"clock": "local"}, no other clock needed.

    The events are from before the refinement, at a rate 1768 ppm off that of the samples.
    """
    old, new = handover()
    first = new.tick + 10_000_000
    last = new.switch + 20 * 2_445_000_000
    samples = new.samples(last - 10**9, [9_000] * 30, (clock,))
    samples += new.samples(last - 10**8, [9_000] * 30, (clock,))
    dmesg = new.dmesg() if mark else new.dmesg().replace("Marking stable", "x")
    session = align(
        [
            boot(old, 0, "x86-tsc", JUMP - 10**9, JUMP),
            boot(new, 1, clock, first, last, samples=samples, dmesg=dmesg),
        ]
    )
    gap = session.gaps[0]
    if clock == "perf" and not mark:
        # printk's clock was no line before the mark, and there is no telling when that was
        assert not gap.common and gap.latest_ns is None
        return
    assert gap.common and gap.error_ns is not None
    assert gap.error_ns < (400_000 if mark and clock == "local" else 80_000_000)
    truth = Fraction((first - JUMP) * 10**6, 2_445_430)
    assert gap.earliest_ns <= truth <= (gap.latest_ns or 0)


@given(
    st.sampled_from(["local", "mono", "mono_raw"]),
    st.floats(1.2, 3.0),
    st.floats(1.0, 4.0),
    st.integers(2_430_000, 2_460_000),
    st.integers(0, 10**9),
)
@settings(deadline=None)
def test_no_simulated_handover_is_misplaced(
    clock: str, refined: float, marked: float, early_khz: int, late: int
) -> None:
    old, _ = handover()
    new = Kernel(
        zero=125_920_000_000, early_khz=early_khz, refined_after=refined, mark_after=marked
    )
    first = new.tick + late
    session = align(
        [
            boot(old, 0, clock, JUMP - 2 * 2_445_000_000, JUMP),
            boot(new, 1, clock, first, new.switch + new.tick - new.zero + 10**10 + late),
        ]
    )
    gap = session.gaps[0]
    truth = Fraction((first - JUMP) * 10**6, 2_445_430)
    assert gap.common and gap.earliest_ns <= truth <= (gap.latest_ns or 0)


@pytest.mark.parametrize("clock", ["local", "uptime", "counter", "mono", "nonsense"])
def test_no_evidence_is_said_and_order_kept(clock: str) -> None:
    session = align([clock_input(0, clock, (), "", 100, 900), clock_input(1, clock, (), "", 5, 50)])
    gap = session.gaps[0]
    assert (gap.ns, gap.earliest_ns, gap.latest_ns, gap.common) == (0, 0, None, False)
    assert session.model(1).ns(5) == 0 and session.model(1).error_ns is None
    assert "clock-not-common" in codes(session)
    assert ("clock-order-only" in codes(session)) == (clock == "counter")
    assert ("clock-unknown" in codes(session)) == (clock == "nonsense")
    assert session.interval(0, 900, 1, 5) == (0, None)


def test_uptime_counts_ten_milliseconds() -> None:
    session = align([clock_input(0, "uptime", (), "", 100, 900)])
    assert session.model(0).ns(900) == 0 and session.model(0).ns(899) == -10_000_000


def test_a_reset_counter_is_not_used() -> None:
    old, new = handover()
    session = align(
        [
            boot(old, 0, "x86-tsc", JUMP - 10**9, JUMP),
            replace(boot(new, 1, "x86-tsc", new.tick, new.tick + 10**10), first_raw=10**9),
        ]
    )
    assert not session.common
    assert {"clock-order-conflict", "clock-not-common"} <= set(codes(session))
    assert session.model(1).ns(10**9) == 0  # right behind the jump


def test_one_boot_counts_back_from_its_last_event() -> None:
    session = align([clock_input(0, "local", (), "", 5, 25)])
    assert (session.origin_raw, session.gaps, session.common) == (25, (), True)
    assert session.model(0).to_ns(np.array([5, 25], np.uint64)).tolist() == [-20, 0]


def test_nothing_at_all() -> None:
    assert align([]).models == ()


def test_three_boots_share_the_axis_of_the_last_jump() -> None:
    old, new = handover()
    third = Kernel(zero=260_000_000_000, late_khz=2_445_428)
    middle = boot(new, 1, "x86-tsc", FIRST, 240_000_000_000)
    last = boot(third, 2, "x86-tsc", 259_000_000_000, 300_000_000_000)
    session = align([boot(old, 0, "x86-tsc", JUMP - 10**9, JUMP), middle, last])
    assert (session.origin_boot, session.origin_raw) == (1, 240_000_000_000)
    assert session.rate is not None
    for index, raw in ((0, JUMP), (1, FIRST), (2, 300_000_000_000)):
        exact = round((raw - 240_000_000_000) / session.rate.best)
        assert session.model(index).ns(raw) == exact
    # the same axis, moved, when the caller names another jump
    moved = align([boot(old, 0, "x86-tsc", JUMP - 10**9, JUMP), middle, last], (0, JUMP))
    assert moved.model(0).ns(JUMP) == 0
    assert moved.interval(0, JUMP, 2, 300_000_000_000) == session.interval(
        0, JUMP, 2, 300_000_000_000
    )


def test_a_chain_through_a_lost_clock_sums_its_errors() -> None:
    old, new = handover()
    third = Kernel(zero=260_000_000_000, late_khz=2_445_428)
    old.rtc_s, new.rtc_s, third.rtc_s = 1000, 1047, 1102
    boots = [
        boot(old, 0, "local", JUMP - 10**9, JUMP, samples=()),
        boot(new, 1, "local", new.tick, 240_000_000_000, samples=()),
        boot(third, 2, "local", third.tick, 300_000_000_000, samples=()),
    ]
    session = align(boots, (0, JUMP))
    errors = [gap.error_ns or 0 for gap in session.gaps]
    assert min(errors) > SECOND // 2
    worst = session.model(2).error_ns
    assert worst is not None and worst >= sum(errors)
    back = align(boots).model(0).error_ns
    assert back is not None and back >= errors[0]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*CLOCKS, "tai", "counter", "uptime", "perf", "global", ""]),
            st.lists(
                st.fixed_dictionaries(
                    {
                        "clock": st.sampled_from(["mono", "mono_raw", "local", "tai"]),
                        "tsc_before": st.integers(0, 2**64 - 1),
                        "ns": st.integers(0, 2**64 - 1),
                        "tsc_after": st.integers(0, 2**64 - 1),
                    }
                ),
                max_size=4,
            ),
            st.sampled_from(["", Kernel(zero=10**9).dmesg(), Kernel(zero=5, rtc_s=10**11).dmesg()]),
            st.one_of(st.none(), st.integers(0, 2**64 - 1)),
            st.one_of(st.none(), st.integers(0, 2**64 - 1)),
        ),
        max_size=4,
    ),
    st.one_of(st.none(), st.tuples(st.integers(0, 5), st.integers(0, 2**64 - 1))),
)
@settings(deadline=None)
def test_whatever_comes_there_is_an_axis(rows: Any, origin: tuple[int, int] | None) -> None:
    session = align([clock_input(i, *row) for i, row in enumerate(rows)], origin)
    raws = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    for placed in session.models:
        assert placed.to_ns(raws).dtype == np.int64
        assert placed.error_ns is None or placed.error_ns >= 0
