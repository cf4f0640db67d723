"""Every figure of a fleet's report agrees with pandas over the single runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.fleets.small import dataset_of
from tests.support.sessions.figures import figure, run
from tracekit.fleet.answers import make_report, page
from tracekit.fleet.ask import Fleet
from tracekit.fleet.questions import QUESTIONS
from tracekit.fleet.tables import handover_key
from tracekit.runs.run import Run

P = ("p50_ns", "p90_ns", "p99_ns")


def made_runs() -> list[Run]:
    rng = np.random.default_rng(7)
    made = []
    for n in range(60):
        took = [int(x) for x in rng.integers(1, 10**9, 8)]
        made.append(run(
            figure("total", "blackout", None if n % 7 == 0 else took[0], 5),
            figure("total", "gap", took[1], None),
            figure("phase", "dark", took[2]), figure("phase", "late", took[3]),
            *([figure("phase", "rare", took[4])] if n % 5 == 0 else []),
            figure("device", "stuck", None if n % 3 == 0 else took[5], finished=n % 3 != 0),
            figure("device", "d'quoted\"", took[6]), figure("initcall", "call", took[7]),
            session=f"s{n}", kernel="7.10" if n % 2 else "7.9", host=f"h{n % 4}",
            time=None if n % 11 == 0 else f"2026-01-0{n % 3 + 1}T00:00:00Z",
            lost=None if n % 13 == 0 else n, verdict="complete" if n % 2 else "incomplete",
            dma_left=("a", "b") if n % 4 == 0 else (),
        ))  # fmt: skip
    return made


RUNS = made_runs()
FRAME = pd.DataFrame([
    {"session": r.fingerprint, "kernel": r.kernel, "host": r.host, "kind": f.kind, "name": f.name,
     "ns": f.ns, "date": r.time[:10] if r.time else "unknown"}
    for r in RUNS for f in r.figures
])  # fmt: skip


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(dataset_of(tmp_path_factory.mktemp("fleet") / "d", RUNS))


def quantiles(ns: pd.Series[Any]) -> list[float]:
    return [float(ns.quantile(q)) for q in (0.5, 0.9, 0.99)]


def test_totals_and_phases(fleet: Fleet) -> None:
    for question, kind in (("totals", "total"), ("phases", "phase")):
        rows = QUESTIONS[question](fleet)
        assert rows
        for row in rows:
            some = FRAME[(FRAME.kind == kind) & (FRAME.name == row["name"])]
            if row["kernel"] is not None:
                some = some[some.kernel == row["kernel"]]
            assert (row["handovers"], row["timed"]) == (len(some), some.ns.count())
            assert [row[p] for p in P] == pytest.approx(quantiles(some.ns))
            assert row["longest_ns"] == some.ns.max()
            worst = some.loc[some.ns.idxmax()].session
            assert row["worst"] == handover_key(str(worst), 0)


def test_phases_are_in_the_order_of_time_and_versions(fleet: Fleet) -> None:
    names = [(r["name"], r["kernel"]) for r in QUESTIONS["phases"](fleet)]
    assert names == [(n, k) for n in ("dark", "late", "rare") for k in ("7.9", "7.10")]


def test_the_slowest(fleet: Fleet) -> None:
    for question, kind in (("devices", "device"), ("initcalls", "initcall")):
        for row in QUESTIONS[question](fleet):
            some = FRAME[(FRAME.kind == kind) & (FRAME.name == row["name"])]
            assert row["mean_ns"] == pytest.approx(some.ns.mean())
            assert [row[p] for p in P] == pytest.approx(quantiles(some.ns))
            assert (row["handovers"], row["timed"]) == (len(some), some.ns.count())
    assert QUESTIONS["devices"](fleet)[0]["name"] == "stuck"  # what never returned comes first


def test_trends(fleet: Fleet) -> None:
    rows = QUESTIONS["trends"](fleet)
    blackouts = FRAME[FRAME.name == "blackout"]
    assert len(rows) == blackouts.groupby(["kernel", "date"]).ngroups
    for row in rows:
        some = blackouts[(blackouts.kernel == row["kernel"]) & (blackouts.date == row["date"])]
        assert row["handovers"] == len(some)
        assert [row[p] for p in P] == pytest.approx(quantiles(some.ns), nan_ok=True)


def test_losses_overview_and_dma(fleet: Fleet) -> None:
    for row in QUESTIONS["losses"](fleet):
        some = [r for r in RUNS if r.kernel == row["kernel"]]
        assert row["lost"] == sum(r.lost or 0 for r in some)
        assert row["lost_unknown"] == sum(r.lost is None for r in some)
        assert row["complete"] == sum(r.verdict == "complete" for r in some)
    whole, *kernels = QUESTIONS["overview"](fleet)
    assert (whole["handovers"], whole["hosts"], len(kernels)) == (60, 4, 2)
    assert [(r["name"], r["handovers"]) for r in QUESTIONS["dma_left"](fleet)] == [
        ("a", 15), ("b", 15),
    ]  # fmt: skip


def test_a_page_and_json(fleet: Fleet) -> None:
    report = make_report(fleet)
    text = page(report, "Fleet <x>")
    assert "Fleet &lt;x&gt;" in text and "d&#x27;quoted&quot;" in text and "<x>" not in text
    assert set(report.as_dict()) == {*QUESTIONS, "suspects", "bad"}
    assert set(make_report(fleet, ["losses"]).answers) == {"losses"}


def test_an_empty_table_has_its_columns(fleet: Fleet) -> None:
    assert fleet.run("SELECT * FROM units").num_rows == 0  # type: ignore[union-attr]
    assert QUESTIONS["units"](fleet) == []
