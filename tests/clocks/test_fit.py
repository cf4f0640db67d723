"""The lines that bracketed samples allow: exact, never missing the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.clocks.fit import fit_brackets, read_samples
from tracekit.clocks.rates import Bent, Rate

rates = st.fractions(Fraction(1, 2), Fraction(5), max_denominator=10**9)


def sample(before: Any, ns: Any, after: Any, clock: Any = "mono_raw") -> dict[str, Any]:
    return {"clock": clock, "tsc_before": before, "ns": ns, "tsc_after": after}


@st.composite
def lines(draw: st.DrawFn) -> tuple[Fraction, int, list[dict[str, Any]]]:
    """A true line, read at some counts (cut to whole ns) with brackets around them.

    The brackets may be so tight that the read is right at an end.
    """
    slope = draw(rates)
    start = draw(st.integers(0, 10**12))
    counts = draw(
        st.lists(st.integers(start, start + 10**11), min_size=2, max_size=30, unique=True)
    )
    out = []
    for count in counts:
        low, high = draw(st.tuples(st.integers(0, 50_000), st.integers(0, 50_000)))
        out.append(sample(max(0, count - low), int((count - start) / slope), count + high))
    return slope, start, out


def pairwise_bounds(brackets: list[tuple[int, int, int]]) -> tuple[Fraction, Fraction]:
    """Brute force: what each two of (ns, before, after) leave; readings are cut to whole ns."""
    low, high = Fraction(0), Fraction(10**30)
    for a, b in combinations(sorted(brackets), 2):
        run = b[0] - a[0]
        low = max(low, Fraction(b[1] - a[2], run + 1))
        if run > 1:
            high = min(high, Fraction(b[2] - a[1], run - 1))
    return low, high


@given(lines())
def test_the_truth_is_always_inside(line: tuple[Fraction, int, list[dict[str, Any]]]) -> None:
    slope, start, samples = line
    fit = fit_brackets(samples)
    assert fit is not None and fit.consistent and fit.used == len(samples)
    if fit.rate is None:
        return  # the brackets are so wide that even a standing clock would fit
    assert fit.rate.lo <= slope <= fit.rate.hi
    for ns in (0, samples[0]["ns"], 3 * 10**11):
        low, high = fit.at(ns) or (1, 0)
        assert low <= start + slope * ns and start + slope * (ns + 1) <= high + 1


@given(lines(), st.randoms())
def test_more_samples_never_widen(
    line: tuple[Fraction, int, list[dict[str, Any]]], random: Any
) -> None:
    samples = line[2]
    some = random.sample(samples, max(2, len(samples) // 2))
    all_, part = fit_brackets(samples), fit_brackets(some)
    assert all_ is not None and part is not None
    if part.rate is not None:
        assert all_.rate is not None
        assert part.rate.lo <= all_.rate.lo <= all_.rate.hi <= part.rate.hi


@given(lines())
def test_the_interval_is_exact(line: tuple[Fraction, int, list[dict[str, Any]]]) -> None:
    """Against the definition: the tightest slope any two brackets leave, and both ends attained.

    The pairwise bounds are necessary; that a line of the extreme slope passes through *all*
    brackets shows they are also sufficient.
    """
    samples = line[2]
    fit = fit_brackets(samples)
    assert fit is not None
    if fit.rate is None:
        return
    low, high = pairwise_bounds([(s["ns"], s["tsc_before"], s["tsc_after"]) for s in samples])
    assert (fit.rate.lo, fit.rate.hi) == (low, high)
    for slope in (low, high):
        ceiling = min(s["tsc_after"] - slope * s["ns"] for s in samples)
        ground = max(s["tsc_before"] - slope * (s["ns"] + 1) for s in samples)
        assert ground <= ceiling


def steady(n: int, start: int = 0, shift: int = 0, slope: Fraction = Fraction(5, 2)) -> list[Any]:
    """n samples 1 ms apart with brackets of 20,000 cycles; the clock's ns are ``shift`` ahead."""
    return [
        sample(10**9 + int(slope * ns) - 10_000, ns + shift, 10**9 + int(slope * ns) + 10_000)
        for ns in range(start, start + n * 1_000_000, 1_000_000)
    ]


def test_a_step_is_said_and_the_rate_still_covered() -> None:
    samples = steady(50) + steady(50, start=50_000_000, shift=30_000_000)
    fit = fit_brackets(samples)
    assert fit is not None and fit.rate is not None and not fit.consistent
    assert [d.code for d in fit.diagnostics] == ["clock-not-a-line"]
    assert fit.rate.lo <= Fraction(5, 2) <= fit.rate.hi
    # places are those of the last stretch, after the step
    low, high = fit.at(100_000_000 + 30_000_000) or (1, 0)
    assert low <= 10**9 + 250_000_000 <= high


def test_a_slewed_clock_is_said_and_every_rate_covered() -> None:
    slopes = Fraction(5, 2), Fraction(5, 2) * Fraction(102, 100)
    first = steady(100)
    turn = 99_000_000
    then = [
        sample(
            10**9 + int(slopes[0] * turn + slopes[1] * ns) - 10_000,
            turn + ns,
            10**9 + int(slopes[0] * turn + slopes[1] * ns) + 10_000,
        )
        for ns in range(1_000_000, 100_000_000, 1_000_000)
    ]
    fit = fit_brackets(first + then)
    assert fit is not None and fit.rate is not None and not fit.consistent
    assert all(fit.rate.lo <= slope <= fit.rate.hi for slope in slopes)


def test_a_few_torn_samples_are_set_aside_and_counted() -> None:
    samples = steady(100)
    for index in (17, 60):
        samples[index] = sample(5, samples[index]["ns"], 6)
    fit, clean = fit_brackets(samples), fit_brackets(steady(100))
    assert fit is not None and clean is not None and fit.rate is not None
    assert (fit.used, fit.rejected, fit.consistent) == (98, 2, True)
    assert [d.code for d in fit.diagnostics] == ["clock-sample-outlier"]
    assert clean.rate is not None and fit.rate.lo <= clean.rate.lo <= clean.rate.hi <= fit.rate.hi


def test_one_sample_gives_a_place_but_no_rate() -> None:
    fit = fit_brackets([sample(1000, 500, 1010)])
    assert fit is not None and fit.rate is None and fit.residual_ns is None
    assert fit.at(600) is None
    rate = Rate(Fraction(2), Fraction(3))
    assert fit.at(600, Bent.straight(rate)) == (1000 + 2 * 99, 1010 + 3 * 101)
    assert [d.code for d in fit.diagnostics] == ["clock-rate-unbounded"]


def test_mono_raw_is_preferred_and_a_clock_without_rate_is_not() -> None:
    both = steady(5) + [dict(s, clock="mono") for s in steady(50)]
    fit = fit_brackets(both)
    assert fit is not None and fit.clock == "mono_raw"
    fit = fit_brackets([sample(0, 0, 1), *(dict(s, clock="boot") for s in steady(5))])
    assert fit is not None and fit.clock == "boot"
    assert fit_brackets(both, "tai") is None
    assert fit_brackets([]) is None


JUNK = [
    None,
    7,
    "x",
    [],
    {},
    {"clock": "mono"},
    sample(1, 2, None),
    sample(1.5, 2, 3),
    sample(True, 2, 3),
    sample("1", 2, 3),
    sample(1, 2, 3, clock=5),
    sample(10, 5, 9),
    sample(-1, 5, 9),
    sample(1, -5, 9),
    sample(1, 5, 1 << 64),
    sample(1, 10**400, 9),
]


def test_junk_is_dropped_with_a_diagnostic_each_kind() -> None:
    good, notes = read_samples([*JUNK, *steady(3), *steady(3)], "boot 1")
    assert {clock: len(b) for clock, b in good.items()} == {"mono_raw": 3}
    assert all(n.where == "boot 1" and n.severity == "warning" for n in notes)
    counts = {n.code: int(n.message.split()[0]) for n in notes}
    assert counts == {
        "clock-sample-malformed": 11,
        "clock-sample-negative": 1,
        "clock-sample-range": 4,
        "clock-sample-duplicate": 3,
    }


values = st.one_of(st.integers(-(2**70), 2**70), st.none(), st.text(max_size=3), st.floats())


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "clock": st.sampled_from(["mono_raw", "mono", "x"]),
                "tsc_before": values,
                "ns": values,
                "tsc_after": values,
            }
        )
    )
)
def test_whatever_comes_there_is_no_crash(samples: list[dict[str, Any]]) -> None:
    fit = fit_brackets(samples)
    assert fit is None or fit.used + fit.rejected <= len(samples)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
        max_size=40,
    )
)
@settings(max_examples=200)
def test_samples_without_sense_are_cut_into_stretches(rows: list[tuple[int, int, int]]) -> None:
    fit = fit_brackets([sample(min(a, c), b, max(a, c)) for a, b, c in rows])
    assert fit is None or fit.rate is None or 0 < fit.rate.lo <= fit.rate.hi


def test_of_many_hostile_samples_only_so_many_are_used() -> None:
    zigzag = [sample(1000 * (i % 7) ** 5, i, 1000 * (i % 7) ** 5 + 1) for i in range(30_000)]
    fit = fit_brackets(zigzag)
    assert fit is not None and not fit.consistent
    assert "clock-sample-excess" in [d.code for d in fit.diagnostics]


@pytest.mark.parametrize(
    ("name", "low", "high", "used"),
    [
        # Brute force over all 4,950 pairs of brackets gives the same, see below.
        ("handover-7.2-tsc", "2.44542827", "2.44543227", 100),
        ("handover-7.2-to-7.3-tsc", "2.44542525", "2.44543075", 100),
    ],
)
def test_real_old_kernels(
    capture: Callable[[str], Path], name: str, low: str, high: str, used: int
) -> None:
    samples: list[dict[str, Any]] = []
    for file in ("clocks.json", "clocks-last.json"):
        samples += json.loads((capture(name) / "old" / file).read_text())
    fit = fit_brackets(samples)
    assert fit is not None and fit.rate is not None
    assert (fit.clock, fit.used, fit.rejected, fit.diagnostics) == ("mono_raw", used, 0, ())
    assert f"{float(fit.rate.lo):.8f}" == low and f"{float(fit.rate.hi):.8f}" == high
    assert (fit.rate.lo, fit.rate.hi) == pairwise_bounds(
        [(s["ns"], s["tsc_before"], s["tsc_after"]) for s in samples if s["clock"] == "mono_raw"]
    )


def test_real_new_kernel_has_one_short_cluster(capture: Callable[[str], Path]) -> None:
    samples = json.loads((capture("handover-7.2-tsc") / "new" / "clocks.json").read_text())
    fit = fit_brackets(samples)
    assert fit is not None and fit.rate is not None
    assert fit.span_ns == 5_403_782
    assert 1400 < fit.rate.ppm < 1500
