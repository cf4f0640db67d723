"""The questions of docs/sql.md, asked: each has an answer, and it is the one that others give."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pytest

import tracekit
from tracekit.recording import Recording
from tracekit.sql.database import Database

PAGE = Path(__file__).parents[2] / "docs/sql.md"
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.S)


@pytest.fixture(scope="module")
def demo() -> Recording:
    return tracekit.open(files("tracekit") / "demo" / "handover.tar.zst")


@pytest.fixture(scope="module")
def answers(demo: Recording) -> list[pa.Table]:
    database = Database(demo)
    found = [database.run(query) for query in QUERIES]
    return [table for table in found if table is not None]


def test_there_are_ten_and_each_has_an_answer(answers: list[pa.Table]) -> None:
    assert len(QUERIES) == len(answers) == 10
    assert all(len(table) for table in answers)


def test_the_answers_are_those_of_the_report(demo: Recording, answers: list[pa.Table]) -> None:
    report = demo.report()
    phases = [p for p in report.phases if p.observed and p.in_blackout]
    longest = max(phases, key=lambda p: p.duration_ns or 0)
    assert answers[0]["name"][0].as_py() == longest.name
    assert sum(answers[1]["calls"].to_pylist()) == len(report.devices)
    slow = [c for c in report.initcalls if c.duration_ns >= 10**6]
    assert answers[2]["function"].to_pylist() == [c.function for c in slow]
    assert answers[4].num_rows == len({c.cpu for c in report.boots[0].cpus})
    assert sum(answers[8]["events"].to_pylist()) == report.events
    assert "kexec:device_shutdown" in answers[9]["name"].to_pylist()
