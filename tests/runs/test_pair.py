"""Two handovers beside each other: aligned by name, judged by the clocks' errors, one sentence."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import pandas as pd
import pytest

import tracekit
from tests.support.sessions.figures import figure, run
from tracekit.runs.pair import Pair, compare
from tracekit.runs.run import open_runs


def judged(pair: Pair) -> dict[str, str]:
    return {d.name: d.judged for d in pair.differences}


def test_the_sentence_says_where_it_comes_from(session: Callable[[str], Path]) -> None:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as shipped:
        (a,) = open_runs(shipped)
    (b,) = open_runs(session("handover-7.2-to-7.3-tsc"))
    pair = compare(a, b)
    assert pair.sentence.startswith(
        "+2.217 s ± 36.6 µs: dark +1.379 s, initcalls: device +469 ms, initcalls: console +109 ms"
    )
    assert judged(pair)["liveupdate"] == "only in A"
    parts = [d.delta_ns for d in pair.of("phase")
             if d.delta_ns is not None and d.name != "kexec load"]  # fmt: skip
    lone = pair.of("phase")[3].a
    assert lone is not None and lone.name == "liveupdate" and lone.ns is not None
    (total, _) = pair.of("total")
    assert total.delta_ns is not None
    assert sum(parts) - lone.ns == pytest.approx(total.delta_ns, abs=1000)


def test_a_difference_below_both_errors_is_none() -> None:
    a = run(figure("total", "blackout", 1000, 30), figure("phase", "dark", 500, 30))
    b = run(figure("total", "blackout", 1060, 30), figure("phase", "dark", 561, 30))
    pair = compare(a, b)
    assert judged(pair) == {"blackout": "within error", "gap": "unknown", "dark": "more"}
    assert pair.sentence.startswith("blackout: no difference beyond the clocks' errors (+60 ns")
    assert not pair.differences[0].sure


def test_what_no_clock_bounds_is_not_judged() -> None:
    a = run(figure("total", "blackout", 1000, None), figure("phase", "dark", 500, None))
    pair = compare(a, a)
    assert judged(pair)["dark"] == "error unknown"
    assert "its error is not known" in pair.sentence and "none can be blamed" in pair.sentence


def test_without_blackouts_the_gap_speaks() -> None:
    a, b = (run(figure("total", "gap", ns)) for ns in (1000, 9000))
    assert compare(a, b).sentence.startswith("the blackout is not known of both; gap +8.00 µs")
    assert "cannot be compared" in compare(run(), run()).sentence


@pytest.mark.parametrize("swap", [False, True])
def test_what_only_one_has(swap: bool) -> None:
    a = run(figure("device", "x", 5), figure("device", "y", None, None, finished=False))
    b = run(figure("device", "y", 7))
    pair = compare(b, a) if swap else compare(a, b)
    assert judged(pair)["x"] == ("only in B" if swap else "only in A")
    assert judged(pair)["y"] == "unknown"


def test_phases_keep_the_order_of_time() -> None:
    a = run(*(figure("phase", n, 1) for n in "acd"))
    b = run(*(figure("phase", n, 1) for n in "abde"))
    assert [d.name for d in compare(a, b).of("phase")] == ["a", "b", "c", "d", "e"]


def test_figures_are_the_reports(session: Callable[[str], Path]) -> None:
    """Sums by name over the single report, computed with pandas."""
    path = session("handover-7.2-to-7.3-tsc")
    report = tracekit.open(path).report()
    (made,) = open_runs(path)

    def known(kind: str) -> dict[str, int | None]:
        return {f.name: f.ns for f in made.figures if f.kind == kind}

    calls = (
        pd.DataFrame([(c.function, c.duration_ns) for c in report.initcalls]).groupby(0)[1].sum()
    )
    assert known("initcall") == calls.to_dict()
    phases = pd.DataFrame(
        [(p.name.partition(":")[0] if p.name.startswith("dark") else p.name, p.duration_ns)
         for p in report.phases if p.observed]
    ).groupby(0)[1].sum()  # fmt: skip
    assert {n: ns for n, ns in known("phase").items() if ns is not None} == phases.to_dict()
    assert known("total") == {
        "blackout": report.handovers[-1].blackout_ns, "gap": report.handovers[-1].gap_ns,
    }  # fmt: skip
