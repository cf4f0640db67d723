"""Two sets of handovers: what changed beyond noise, and what cannot be told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.support.sessions.figures import figure, run
from tracekit.runs.run import Figure, Run
from tracekit.runs.sets import Comparison, by_group, compare_sets, version_key


def runs(n: int, seed: int, slow: float = 1.0, names: str = "abcdef", **about: object) -> list[Run]:
    """Runs whose device "a" is ``slow`` times as slow."""
    rng = np.random.default_rng(seed)

    def device(name: str) -> Figure:
        took = 1e6 * rng.lognormal(0, 0.05) * (slow if name == "a" else 1)
        return figure("device", name, int(took))

    return [run(*map(device, names), session=f"{seed}-{i}", **about) for i in range(n)]


def found(comparison: Comparison) -> dict[str, str]:
    return {c.name: c.found for c in comparison.changes if c.kind == "device"}


def test_what_changed_is_found_and_nothing_else() -> None:
    made = compare_sets(runs(12, 1), runs(12, 2, slow=1.3))
    assert found(made) == {"a": "more"} | dict.fromkeys("bcdef", "within noise")
    assert made.sentence.endswith(": a +" + made.sentence.rsplit("+", 1)[1])
    assert found(compare_sets(runs(12, 2, slow=1.3), runs(12, 1)))["a"] == "less"


def test_noise_is_seldom_accused() -> None:
    accused = [
        any(c.beyond_noise for c in compare_sets(runs(12, 2 * i), runs(12, 2 * i + 1)).changes)
        for i in range(100)
    ]
    assert sum(accused) <= 5  # 1 % promised


def test_new_and_vanished() -> None:
    made = compare_sets(runs(10, 1, names="abc"), runs(10, 2, names="bcd"))
    assert found(made)["a"] == "vanished" and found(made)["d"] == "new"
    assert "d new (10 of 10" in made.sentence


def test_few_runs_tell_only_what_lies_apart() -> None:
    made = compare_sets(runs(3, 1), runs(3, 2, slow=2))
    assert found(made)["a"] == "apart" and found(made)["b"] == "too few runs"


def test_below_the_clocks_errors_a_sure_difference_is_none() -> None:
    a, b = (
        [run(figure("device", "x", base + i, error=500)) for i in range(20)]
        for base in (1000, 1100)
    )
    assert found(compare_sets(a, b)) == {"x": "within error"}


def test_medians_are_pandas() -> None:
    a, b = runs(11, 3), runs(14, 4)
    made = compare_sets(a, b)
    frame = pd.DataFrame([(f.name, f.ns) for r in b for f in r.figures if f.kind == "device"],
                         columns=["name", "ns"])  # fmt: skip
    quantiles = frame.groupby("name").ns.quantile([0.25, 0.5, 0.75]).unstack()
    for change in made.changes:
        if change.kind == "device":
            row = quantiles.loc[change.name]
            s = change.b
            assert [s.low_ns, s.median_ns, s.high_ns] == pytest.approx(row.tolist())


def test_by_group() -> None:
    mixed = [*runs(4, 1, kernel="7.10"), *runs(4, 2, kernel="7.9")]
    (one,) = by_group(mixed, [], "kernel")
    assert (one.name_a, one.name_b) == ("7.9", "7.10")
    assert [c.group for c in by_group(mixed, mixed, "kernel")] == ["7.9", "7.10"]
    assert by_group(mixed, runs(2, 3, kernel="7.11"), "kernel") == []


def test_versions_are_sorted_by_their_numbers() -> None:
    names = ["7.10", "7.9.2", "7.9", "x²", "", "6.12.1-amd64"]
    assert sorted(names, key=version_key) == ["", "6.12.1-amd64", "7.9", "7.9.2", "7.10", "x²"]
