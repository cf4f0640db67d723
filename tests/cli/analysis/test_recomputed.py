"""What the commands of docs/questions.md print, made again by pandas from the exported Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tracekit.cli import main

MS = 1_000_000
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def path(session: Callable[[str], Path]) -> Path:
    return session("same-boot-wide-7.2")


@pytest.fixture(scope="module")
def events(path: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    file = tmp_path_factory.mktemp("recomputed") / "t.parquet"
    assert main(["-q", "export", str(path), "--format", "parquet", "-o", str(file)]) == 0
    return pd.read_parquet(file).sort_values("ts_ns", kind="stable")


@pytest.fixture
def ask(path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(command: str, *words: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main(["-q", command, str(path), *words, "--json"]) == 0
        rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rows"]
        return rows

    return run


def test_when_a_cpu_was_silent(events: pd.DataFrame, ask: Ask) -> None:
    silent = []
    for cpu, mine in events.groupby("cpu"):
        apart = mine["ts_ns"].diff()
        silent += [
            (int(apart[at]), cpu, int(mine["ts_ns"][at])) for at in apart.index[apart > 3 * MS]
        ]
    rows = ask("stats", "--gaps", "3ms", "--most", "0")
    found = [(row["duration_ns"], row["cpu"], row["end_ns"]) for row in rows]
    assert len(silent) > 20
    assert sorted(found) == sorted(silent)


def test_when_an_interrupt_stormed(events: pd.DataFrame, ask: Ask) -> None:
    begun = events[events["event"] == "irq:irq_handler_entry"]["ts_ns"]
    parts = (begun // (500 * MS) * (500 * MS)).value_counts().to_dict()
    found = {
        row["start_ns"]: row["count"] for row in ask("stats", "--by", "irq", "--every", "500ms")
    }
    assert sum(parts.values()) == sum(found.values()) > 500
    assert found == parts


def test_how_often_it_came(events: pd.DataFrame, ask: Ask) -> None:
    took = int(events["ts_ns"].iloc[-1] - events["ts_ns"].iloc[0])
    (irq,) = ask("stats", "--by", "irq", "--sort", "rate")
    begun = int((events["event"] == "irq:irq_handler_entry").sum())
    assert irq["count"] == begun
    assert irq["rate"] == pytest.approx(begun * 1e9 / took)


def test_how_long_a_softirq_waited(events: pd.DataFrame, ask: Ask) -> None:
    """From being raised first to being begun, on its CPU; raised again, it is still the first."""
    mine = events[events["event"].isin(["irq:softirq_raise", "irq:softirq_entry"])].copy()
    mine["vec"] = mine["args"].astype(str).str.extract(r"vec=(\d+)")[0].astype(int)
    mine["name"] = mine["args"].astype(str).str.extract(r"action=(\w+)")[0]
    waits: dict[str, list[int]] = {}
    raised: dict[tuple[int, int], int] = {}
    for row in mine.itertuples():
        key = int(row.cpu), int(row.vec)
        if row.event == "irq:softirq_raise":
            raised.setdefault(key, int(row.ts_ns))
        elif key in raised:
            waits.setdefault(str(row.name), []).append(int(row.ts_ns) - raised.pop(key))
    found = {row["name"]: row for row in ask("stats", "--by", "softirq-wait")}
    assert set(found) == set(waits) and sum(map(len, waits.values())) > 2000
    for name, values in waits.items():
        row = found[name]
        assert (row["count"], row["total_ns"], row["max_ns"]) == (
            len(values), sum(values), max(values),
        ), name  # fmt: skip
        place = (len(values) * 99 + 99) // 100 - 1
        assert row["p99_ns"] == sorted(values)[place]
