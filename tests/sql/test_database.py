"""A session in DuckDB: what the tables hold, what a query may not reach, hostile names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import tracekit
from tracekit.cli import main
from tracekit.errors import UsageError
from tracekit.recording import Recording
from tracekit.sql.database import Database, quoted
from tracekit.sql.tables import Tables, event_views

DEMO = str(files("tracekit") / "demo" / "handover.tar.zst")


@pytest.fixture(scope="module")
def demo() -> Database:
    return Database(tracekit.open(DEMO))


@pytest.fixture(scope="module")
def recording() -> Recording:
    return tracekit.open(DEMO)


def rows(database: Database, query: str) -> list[dict[str, object]]:
    table = database.run(query)
    assert table is not None
    return list(table.to_pylist())


def test_events_are_the_timeline(demo: Database, recording: Recording) -> None:
    table = demo.run("SELECT * EXCLUDE (time) FROM events")
    assert table is not None
    assert table.to_pylist() == recording.timeline.to_pylist()


def test_columns_are_not_copied(recording: Recording) -> None:
    table = Tables(recording).table("events", args=False)
    address = table["ts_ns"].chunk(0).buffers()[1].address
    assert address == recording.axis.ts_ns.ctypes.data
    assert table["pid"].chunk(0).buffers()[1].address == recording.rows.pid.ctypes.data


def test_arguments_are_rendered_only_where_they_are_asked_for(recording: Recording) -> None:
    database = Database(recording)
    rows(database, "SELECT count(*) FROM events e WHERE ts_ns < 0")
    assert database.tables._made.keys() == {"events/False"}
    assert "args" in rows(database, "FROM events LIMIT 1")[0]
    assert (
        "args"
        in rows(database, "SELECT e FROM events AS e, (SELECT events FROM events) LIMIT 1")[0]["e"]
    )  # type: ignore[operator]


def test_an_events_view_has_its_typed_arguments(demo: Database, recording: Recording) -> None:
    table = recording.event("sched:sched_switch")
    for view in ("sched_switch", '"sched:sched_switch"', "SCHED_SWITCH"):
        assert rows(demo, f"FROM {view}") == table.to_pylist()


def test_tasks_and_times(demo: Database, recording: Recording) -> None:
    mine = recording.rows
    for row in rows(demo, "FROM tasks"):
        at = np.flatnonzero((mine.boot == row["boot"]) & (mine.pid == row["pid"]))
        ends = recording.axis.ts_ns[at[[0, -1]]].tolist()
        assert (row["events"], row["first_ns"], row["last_ns"]) == (len(at), *ends)
    (one,) = rows(demo, "SELECT CAST(max(time) AS VARCHAR) AS t FROM events WHERE ts_ns = 0")
    jump = recording.report().as_dict()["handovers"][0]["jump_time"]
    assert str(one["t"]).replace(" ", "T") + "Z" == jump


def test_what_is_analysed(demo: Database, recording: Recording) -> None:
    (call,) = rows(demo, "FROM spans WHERE kind = 'call' AND name = 'kexec:device_shutdown'")
    (phase,) = rows(demo, "FROM phases WHERE name = 'device shutdown'")
    assert abs(int(call["start_ns"]) - int(phase["start_ns"])) < 10**5  # type: ignore[call-overload]
    analysis = recording.analysis
    for name in ("spans", "states", "turns", "wakeups", "calls"):
        assert rows(demo, f"FROM {name}") == getattr(analysis, name)().to_pylist()


@pytest.mark.parametrize(
    "query",
    ["FROM '{}'", "SELECT * FROM read_csv('{}')", "COPY (SELECT 1) TO '{}'", "ATTACH '{}'",
     "INSTALL httpfs", "LOAD httpfs", "SET enable_external_access = true", "SET threads = 1",
     "EXPORT DATABASE '{}'", "SELECT * FROM glob('/*')", "FROM recording"],
)  # fmt: skip
def test_a_query_reaches_nothing_else(demo: Database, query: str, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a\n1\n")
    with pytest.raises(UsageError, match="Error"):
        demo.run(query.format(file))
    assert file.read_text() == "a\n1\n"


@pytest.mark.parametrize("query", ["SELEC", "SELECT nothing FROM events", "FROM no_such", "'", "("])
def test_a_query_that_is_wrong_is_told(demo: Database, query: str) -> None:
    with pytest.raises(UsageError, match="Error"):
        demo.run(query)


def test_a_table_of_nearly_that_name_is_named(demo: Database) -> None:
    with pytest.raises(UsageError, match="did you mean sched_switch"):
        demo.run("FROM sched_swich")


HOSTILE = [
    'x";DROP TABLE events;--', "sys:a'b", "s:Foo", "s:foo", "events", "t:events", "boots", ":", "",
    "a:\u202e", "x:select", "q:" + "n" * 5000, "u:a\nb", "s:é",
]  # fmt: skip


def test_hostile_names_are_quoted(recording: Recording) -> None:
    views = event_views(HOSTILE, ["events", "boots"])
    assert not {"events", "boots", "", "s:foo", "foo", "Foo"} & set(views)
    assert {"s:Foo", "t:events", 'x";DROP TABLE events;--', "select"} <= set(views)
    database = Database(recording)
    for view in views:
        database._register(view, recording.event("sched_switch"))
        assert database.run(f"SELECT count(*) FROM {quoted(view)}") is not None
    assert database.run("SELECT count(*) FROM events") is not None


def test_every_table_of_other_captures(session: Callable[[str], Path]) -> None:
    for name in ("same-boot-wide-7.2", "one-region-7.3.4", "vmcore-7.2"):
        database = Database(tracekit.open(session(name)))
        tables = database.tables
        for table in [t for t in tables.names if t not in tables.events]:
            assert database.run(f"SELECT count(*) FROM {table}") is not None
        counted = database.run("SELECT sum(events) FROM tasks")
        assert counted is not None
        assert int(counted.column(0)[0].as_py()) == len(tracekit.open(session(name)))
    (lossy,) = rows(database, "SELECT lost, unreadable FROM boots")
    assert lossy == {"lost": 295_833, "unreadable": 650}


def test_without_duckdb_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert main(["sql", DEMO, "SELECT 1"]) == 2
    assert "pip install 'kexec-tracekit[sql]'" in capsys.readouterr().err
