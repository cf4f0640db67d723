"""The commands that answer questions: text, JSON, CSV, and what they say where they cannot."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import tracekit
from tests.support.sessions.hostile_texts import leaks, make_hostile
from tests.support.sessions.made_events import US, at, graph, made, switch
from tracekit.browse.open import open_events, open_recording
from tracekit.cli import main
from tracekit.timeline.filter import Filter

#: A task that writes, is woken by another one, and calls functions.
EVENTS = [
    switch(0, 0, 0, 7), at(2, "syscalls/sys_enter_write"), graph(3, "outer", 0),
    graph(4, "leaf", 1), graph(6, "leaf", 1, 2), graph(9, "outer", 0, 6),
    at(10, "syscalls/sys_exit_write"), switch(12, 7, 1, 8),
    at(20, "sched/sched_waking", 7, 0, pid=8), switch(25, 8, 1, 7),
    at(30, "syscalls/sys_enter_read", pid=7),
]  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("made") / "s", EVENTS, enabled="syscalls:sys_exit_read\n")


@pytest.fixture(scope="module")
def demo() -> Iterator[Path]:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as shipped:
        yield shipped


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object, code: int = 0) -> tuple[str, str]:
        assert main([str(word) for word in words]) == code
        out = capsys.readouterr()
        return out.out, out.err

    return call


def test_statistics_as_text_json_and_csv(path: Path, run: Run) -> None:
    out, err = run("stats", path, "--by", "syscall")
    assert "write" in out and "8.00 µs" in out
    assert "1 began and never ended" in err
    document = json.loads(run("stats", path, "--by", "syscall", "--json")[0])
    rows = {row["name"]: row for row in document["rows"]}
    assert rows["write"]["total_ns"] == 8 * US and rows["write"]["self_ns"] == 2 * US
    assert (rows["read"]["count"], rows["read"]["open"]) == (0, 1)
    table = list(csv.DictReader(io.StringIO(run("stats", path, "--by", "syscall", "--csv")[0])))
    assert {row["name"]: row["total_ns"] for row in table} == {"write": "8000", "read": "0"}


def test_what_began_and_never_ended_is_listed_first(path: Path, run: Run) -> None:
    first = run("stats", path, "--by", "span", "--list")[0].splitlines()[1]
    assert "read" in first and "never ended" in first
    rows = json.loads(run("stats", path, "--by", "function", "--list", "--json")[0])["rows"]
    assert [(r["name"], r["duration_ns"]) for r in rows] == [("outer", 6 * US), ("leaf", 2 * US)]


def test_sorted_cut_and_drawn(path: Path, run: Run) -> None:
    out, err = run("stats", path, "--by", "event", "--sort", "name", "--most", "2")
    assert len(out.splitlines()) == 3 and "more: --most 0" in err
    out, _ = run("stats", path, "--by", "function", "--histogram", "-q")
    assert "leaf: 1" in out and "###" in out


def test_gaps_and_rates(path: Path, run: Run) -> None:
    rows = json.loads(run("stats", path, "--gaps", "6us", "--json")[0])["rows"]
    assert [row["duration_ns"] for row in rows] == [8 * US]
    rows = json.loads(run("stats", path, "--every", "10us", "--by", "task", "--json")[0])["rows"]
    assert sum(row["count"] for row in rows) == 3


def test_latency_and_states(path: Path, run: Run) -> None:
    (row,) = json.loads(run("latency", path, "--json")[0])["rows"]
    assert (row["count"], row["max_ns"]) == (1, 5 * US)
    (row,) = json.loads(run("latency", path, "--worst", "--json")[0])["rows"]
    assert (row["pid"], row["waker_pid"], row["waker_context"]) == (7, 8, "task")
    assert "5.00 µs" in run("latency", path, "--by", "waker")[0]
    rows = json.loads(run("states", path, "--json")[0])["rows"]
    seven = next(row for row in rows if row["pid"] == 7)
    assert (seven["running_ns"], seven["sleeping_ns"], seven["runnable_ns"]) == (
        17 * US, 8 * US, 5 * US,
    )  # fmt: skip
    assert "inferred" in run("states", path, "--list")[0]
    assert len(json.loads(run("states", path, "--cpus", "--cpu", "0", "--json")[0])["rows"]) == 3


def test_calls(path: Path, run: Run) -> None:
    out, _ = run("calls", path)
    lines = [line.split() for line in out.splitlines()[1:]]
    assert [(line[0], line[-1]) for line in lines] == [("100.0%", "outer"), ("33.3%", "leaf")]
    assert run("calls", path, "--folded")[0] == "outer 4000\nouter;leaf 2000\n"
    rows = json.loads(run("calls", path, "--bottom-up", "--json")[0])["rows"]
    assert {r["function"]: r["self_ns"] for r in rows if r["parent"] is None} == {
        "outer": 4 * US, "leaf": 2 * US,
    }  # fmt: skip
    assert "no stack traces" in run("calls", path, "--stacks")[1]
    assert "branches are less" in run("calls", path, "--depth", "1")[1]


def test_a_phase_is_a_window(demo: Path, run: Run) -> None:
    document = json.loads(run("stats", demo, "--by", "device", "--phase", "device sh", "--json")[0])
    assert len(document["rows"]) == 24
    phase = next(p for p in tracekit.open(demo).report().phases if p.name == "device shutdown")
    assert document["since"] == phase.start_ns


WRONG = [
    (["stats", "--phase", "moon"], "the report has: "),
    (["stats", "--phase", "device shutdown", "--from", "-1s"], "a window by itself"),
    (["stats", "--gaps", "0ms"], "no length of time"),
    (["stats", "--gaps", "1ms", "--every", "1ms"], "one of them"),
    (["stats", "--every", "1ns"], "make them longer"),
    (["stats", "--by", "event", "--sort", "total"], "no such column"),
    (["stats", "--by", "event", "--histogram"], "is of durations"),
    (["stats", "--by", "task", "--list"], "is of spans"),
    (["stats", "--where", "nonsense = 1"], "no column or argument"),
    (["stats", "--json", "--csv"], "not both"),
    (["states", "--where", "cpu = 0"], "belong to tasks"),
    (["latency", "--event", "sched:*"], "belong to tasks"),
    (["calls", "--folded", "--bottom-up"], "a form of its own"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=lambda v: " ".join(v)[:40])
def test_what_makes_no_sense_is_said(demo: Path, run: Run, words: list[str], message: str) -> None:
    command, *options = words
    assert message in run(command, demo, *options, code=2)[1]


def test_what_was_not_recorded_is_said(tmp_path: Path, run: Run, demo: Path) -> None:
    path = made(tmp_path / "s", [at(0, "irq/softirq_raise", 1)])
    for words in (["stats", path, "--by", "task"], ["states", path], ["latency", path]):
        out, err = run(*words)
        assert "sched:sched_switch was not recorded" in err and not out
    assert "wakeups are unknown" in run("latency", demo)[1]


def test_an_index_gives_the_same_answers(session: Callable[[str], Path], tmp_path: Path) -> None:
    """A large session is not decoded again; its losses are those of its coverage."""
    path = shutil.copytree(session("handover-7.2-tsc"), tmp_path / "s")
    plain = tracekit.open(path).analysis
    open_recording(path, lambda what, share: None, many=1)
    indexed = open_events(path, lambda what, share: None, many=1).analysis
    for by in ("irq", "task", "initcall", "event"):
        assert indexed.statistics(by).equals(plain.statistics(by)), by
    assert indexed.states().equals(plain.states())
    window = Filter(since=-100_000_000, until=0, cpus=frozenset({1}))
    assert indexed.wakeups(window).equals(plain.wakeups(window))


def test_nothing_hostile_reaches_a_terminal(
    session: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = make_hostile(shutil.copytree(session("handover-7.2-to-7.3-tsc"), tmp_path / "s"))
    for command, *options in (["stats", "--by", "task"], ["latency", "--worst"]):
        assert main([command, str(copy), *options]) == 0
        out = capsys.readouterr()
        assert not leaks(out.out.encode()) and not leaks(out.err.encode())


def test_completion_knows_them(path: Path) -> None:
    environment = {**os.environ, "_TRACEKIT_COMPLETE": "bash_complete",
                   "COMP_WORDS": "tracekit stats S --by sys", "COMP_CWORD": "4"}  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "tracekit"], env=environment, text=True,
                          capture_output=True, check=True)  # fmt: skip
    assert {line.split(",")[1] for line in done.stdout.splitlines()} == {"system", "syscall"}


def test_tables_are_arrow(path: Path) -> None:
    analysis = tracekit.open(path).analysis
    answers: list[Any] = [
        analysis.spans(), analysis.states(), analysis.turns(), analysis.wakeups(),
        analysis.calls(), analysis.stacks(), analysis.gaps(1), analysis.latency(),
        analysis.time_in_states(), analysis.statistics("task"), analysis.rates("event", 1000),
    ]  # fmt: skip
    for table in answers:
        assert isinstance(table, pa.Table)
        table.validate(full=True)


def test_a_window_by_name_is_that_of_the_phase(demo: Path, run: Run) -> None:
    words = ("stats", demo, "--by", "call", "--json")
    named = run(*words, "--from", "device shutdown", "--to", "device shutdown")[0]
    assert json.loads(named) == json.loads(run(*words, "--phase", "device shutdown")[0])
