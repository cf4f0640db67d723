"""Filters: each alone against a plain reference, and times as people write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracekit
from tracekit.cli import main
from tracekit.errors import TracekitError, UsageError
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter, parse_time


@pytest.fixture(scope="module")
def recording(session: Callable[[str], Path]) -> Recording:
    return tracekit.open(session("handover-7.2-tsc"))


@pytest.fixture(scope="module")
def rows(recording: Recording) -> list[dict[str, object]]:
    return recording.timeline.to_pylist()


FILTERS = {
    "boot": (Filter(boots=frozenset({1})), lambda r: r["boot"] == 1),
    "cpu": (Filter(cpus=frozenset({1})), lambda r: r["cpu"] == 1),
    "pid": (Filter(pids=frozenset({0, 1})), lambda r: r["pid"] in (0, 1)),
    "event": (Filter(events=("sched:*",)), lambda r: r["event"].startswith("sched:")),
    "short event": (
        Filter(events=("*_kexec", "irq_handler_*")),
        lambda r: (n := r["event"].split(":")[1]).endswith("_kexec") or fnmatchcase(n, "irq_h*"),
    ),
    "comm": (
        Filter(comms=("kexec", "kwork*")),
        lambda r: re.match("kexec$|kwork", r["comm"] or ""),
    ),
    "time": (
        Filter(since=-5_000_000, until=5_600_000_000),
        lambda r: -5_000_000 <= r["ts_ns"] <= 5_600_000_000,
    ),
    "grep": (
        Filter(grep=re.compile(r"exec .*\.so")),
        lambda r: re.search(r"exec .*\.so", f"{r['event']} {r['args']}"),
    ),
    "grep two": (
        Filter(grep=re.compile(r"openat .*libc\.so")),
        lambda r: re.search(r"openat .*libc\.so", f"{r['event']} {r['args']}"),
    ),
    "where": (
        Filter(where="event ~ sched_* and comm = <idle> and not cpu = 0"),
        lambda r: r["event"].startswith("sched:sched_") and r["pid"] == 0 and r["cpu"] != 0,
    ),
    "where, and more": (
        Filter(cpus=frozenset({0}), where="args ~ *prio=* or ts > 0", grep=re.compile("prev")),
        lambda r: (
            r["cpu"] == 0 and ("prio=" in r["args"] or r["ts_ns"] > 0) and "prev" in r["args"]
        ),
    ),
    "all": (
        Filter(cpus=frozenset({0}), events=("sched_switch",), comms=("<idle>",)),
        lambda r: r["cpu"] == 0 and r["event"] == "sched:sched_switch" and r["pid"] == 0,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", FILTERS)
def test_a_filter_keeps_what_it_says(
    what: str, recording: Recording, rows: list[dict[str, object]]
) -> None:
    wanted, plainly = FILTERS[what]
    found = [r for _, table in recording.batches(wanted, size=1000) for r in table.to_pylist()]
    assert found == [r for r in rows if plainly(r)]
    assert what == "grep" or found


def test_an_events_table_is_the_timelines_rows(recording: Recording) -> None:
    wanted = Filter(cpus=frozenset({1}))
    table = recording.event("sched_switch", wanted)
    same = [t for _, t in recording.batches(Filter(cpus=frozenset({1}), events=("sched_switch",)))]
    assert table["ts_raw"].to_pylist() == [v for t in same for v in t["ts_raw"].to_pylist()]


def test_an_expression_asks_for_arguments(recording: Recording) -> None:
    every = recording.event("sched_switch")
    some = recording.event("sched_switch", Filter(where="prev_pid = 0 and next_pid > 50"))
    rows = zip(every["prev_pid"].to_pylist(), every["next_pid"].to_pylist(), strict=True)
    wanted = [i for i, (old, new) in enumerate(rows) if old == 0 and new > 50]
    assert wanted
    assert some["ts_raw"].to_pylist() == [every["ts_raw"][i].as_py() for i in wanted]


def test_an_expression_that_makes_no_sense_is_told(recording: Recording) -> None:
    with pytest.raises(UsageError, match="did you mean prev_pid"):
        recording.select(Filter(where="cpu = 0 and prev_pd = 0"))


def test_the_commands_take_an_expression(
    session: Callable[[str], Path], tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = str(session("handover-7.2-tsc"))
    recording = tracekit.open(path)
    where = "event = sched_switch and prev_pid = 0 and cpu = 1"
    count = len(recording.select(Filter(where=where)))
    assert 0 < count < len(recording)
    assert main(["-q", "events", path, "--where", where]) == 0
    assert capsysbinary.readouterr().out.count(b"\n") == count
    out = tmp_path / "some.csv"
    assert main(["-q", "export", path, "--format", "csv", "-o", str(out), "--where", where]) == 0
    assert len(out.read_text().splitlines()) == count + 1
    assert main(["-q", "events", path, "--where", "cpu = 0 prev"]) == 2
    said = capsysbinary.readouterr().err.decode()
    assert said.splitlines()[1:3] == ["  cpu = 0 prev", "          ^~~~"]


def test_an_argument_keeps_its_name(recording: Recording) -> None:
    """sched_waking has a pid and a comm of its own: those of the task that is woken."""
    table = recording.event("sched:sched_waking")
    assert {"pid", "common_pid", "comm", "common_comm", "target_cpu"} <= set(table.column_names)
    woken = set(table["comm"].to_pylist())
    assert "rcu_sched" in woken


def test_an_event_that_is_unknown_says_so(recording: Recording) -> None:
    with pytest.raises(UsageError, match="did not occur"):
        recording.event("sched:no_such_event")
    assert len(recording.event("ext4:ext4_da_write_begin")) == 0


@pytest.mark.parametrize(
    ("text", "ns"),
    [("0", 0), ("-250000", -250_000), ("1.5s", 1_500_000_000), ("-3us", -3000), ("+2ms", 2_000_000),
     ("-0.5 ms", -500_000), ("12 ns", 12), ("7µs", 7000)],
)  # fmt: skip
def test_times(text: str, ns: int) -> None:
    assert parse_time(text) == ns


@given(st.text(max_size=20))
def test_any_text_is_a_time_or_a_usage_error(text: str) -> None:
    try:
        assert isinstance(parse_time(text), int)
    except TracekitError as error:
        assert "not a time" in str(error)


@given(st.integers(-(10**18), 10**18))
def test_nanoseconds_are_exact(ns: int) -> None:
    assert parse_time(str(ns)) == ns
    whole, part = divmod(abs(ns), 10**9)
    assert parse_time(f"{'-' if ns < 0 else ''}{whole}.{part:09d}s") == ns
