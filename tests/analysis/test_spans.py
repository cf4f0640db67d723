"""Spans: what is paired, what is inside what, and what is said of those without an end."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tracekit
from tests.support.sessions.made_events import US, at, graph, made, switch
from tracekit.cli import main
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter


def spans(path: Path, *cpus: Any, **more: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        tracekit.open(made(path, *cpus, **more)).analysis.spans().to_pylist()
    )
    return rows


def brief(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(r["kind"], r["name"], r["state"], r["duration_ns"]) for r in rows]


def test_functions_nest_and_have_time_of_their_own(tmp_path: Path) -> None:
    events = [
        graph(0, "outer", 0), graph(10, "middle", 1), graph(11, "leaf", 2), graph(14, "leaf", 2, 3),
        graph(20, "middle", 1, 10), graph(30, "leaf", 1), graph(35, "leaf", 1, 5),
        graph(50, "outer", 0, 50),
    ]  # fmt: skip
    outer, middle, leaf, other = spans(tmp_path / "s", events)
    assert [r["name"] for r in (outer, middle, leaf, other)] == ["outer", "middle", "leaf", "leaf"]
    assert [r["parent"] for r in (outer, middle, leaf, other)] == [None, 0, 1, 0]
    assert [r["duration_ns"] for r in (outer, middle, leaf, other)] == [50 * US, 10 * US, 3 * US,
                                                                       5 * US]  # fmt: skip
    assert [r["self_ns"] for r in (outer, middle, leaf, other)] == [35 * US, 7 * US, 3 * US, 5 * US]


def test_an_interrupt_is_inside_what_it_interrupts(tmp_path: Path) -> None:
    events = [
        at(0, "syscalls/sys_enter_write"), at(5, "irq/irq_handler_entry", 9),
        at(8, "irq/irq_handler_exit", 9), at(10, "syscalls/sys_exit_write"),
    ]  # fmt: skip
    call, irq = spans(tmp_path / "s", events)
    assert (call["name"], call["duration_ns"], call["self_ns"]) == ("write", 10 * US, 7 * US)
    assert (irq["parent"], irq["cpu"], irq["pid"]) == (0, 0, 7)


def test_a_return_tells_how_long_a_call_took_that_was_not_seen_to_begin(tmp_path: Path) -> None:
    events = [
        at(0, "irq/softirq_entry", 1), at(1, "irq/softirq_exit", 1),
        graph(10, "leaf", 1), graph(12, "leaf", 1, 2), graph(20, "outer", 0, 15),
        graph(30, "middle", 0, 28),
    ]  # fmt: skip
    _, *rest = spans(tmp_path / "s", events)
    by_name = {r["name"]: r for r in rest}
    assert by_name["outer"]["state"] == "begin lost"
    assert by_name["outer"]["end_ns"] - by_name["outer"]["start_ns"] == 15 * US
    assert rest[by_name["leaf"]["parent"] - 1]["name"] == "outer"
    assert by_name["outer"]["self_ns"] == 13 * US


def test_what_never_ended_is_open(tmp_path: Path) -> None:
    events = [
        graph(0, "outer", 0), graph(1, "leaf", 1), graph(2, "leaf", 1, 1), graph(3, "middle", 1),
        at(5, "irq/softirq_entry", 1), at(6, "irq/softirq_exit", 1), at(7, "irq/softirq_entry", 1),
    ]  # fmt: skip
    assert brief(spans(tmp_path / "s", events)) == [
        ("function", "outer", "open", None), ("function", "leaf", "ended", US),
        ("function", "middle", "open", None), ("softirq", "TIMER", "ended", US),
        ("softirq", "TIMER", "open", None),
    ]  # fmt: skip


def test_what_came_later_shows_that_it_ended(tmp_path: Path) -> None:
    """No end was recorded of these, and yet they are no suspects of a hang."""
    events = [
        graph(0, "outer", 0), graph(1, "middle", 1), graph(9, "outer", 0, 9),  # middle returned
        at(10, "syscalls/sys_enter_write", pid=8), at(12, "syscalls/sys_enter_read", pid=8),
        at(14, "syscalls/sys_exit_read", pid=8), at(15, "syscalls/sys_enter_write", pid=9),
        at(16, "syscalls/sys_exit_write", pid=10),
        at(20, "irq/irq_handler_entry", 5, pid=9), switch(25, 9, 0x10, 8),
    ]  # fmt: skip
    found = spans(tmp_path / "s", events, enabled="irq:irq_handler_exit\n")
    state = {(r["name"], r["pid"]): r["state"] for r in found}
    assert state["middle", 7] == "end lost"
    assert state["write", 8] == "end lost"
    assert state["write", 9] == "end lost"  # its task is dead
    assert state["write", 10] == "begin lost"
    assert [r["state"] for r in found if r["kind"] == "irq"] == ["end lost"]


def test_a_begin_whose_end_is_not_recorded_is_no_span(tmp_path: Path) -> None:
    assert spans(tmp_path / "s", [at(0, "irq/irq_handler_entry", 1)]) == []
    (one,) = spans(tmp_path / "t", [at(0, "irq/irq_handler_entry", 1)],
                   enabled="irq:irq_handler_exit\n")  # fmt: skip
    assert one["state"] == "open"


def test_other_contexts_are_apart(tmp_path: Path) -> None:
    zero = [at(0, "irq/irq_handler_entry", 1), at(20, "irq/irq_handler_exit", 1)]
    one = [at(5, "irq/irq_handler_entry", 1), at(6, "irq/irq_handler_exit", 1)]
    found = spans(tmp_path / "s", zero, one)
    assert [(r["cpu"], r["duration_ns"]) for r in found] == [(0, 20 * US), (1, US)]
    assert [r["parent"] for r in found] == [None, None] or found[1]["parent"] == 0


def test_idle_tasks_of_two_cpus_are_two(tmp_path: Path) -> None:
    """All have pid 0; what one calls is not inside what the other does."""
    zero = [graph(0, "outer", 0, pid=0), graph(20, "outer", 0, 20, pid=0)]
    one = [graph(5, "outer", 0, pid=0), graph(6, "outer", 0, 1, pid=0)]
    found = spans(tmp_path / "s", zero, one)
    assert [(r["cpu"], r["duration_ns"], r["parent"]) for r in found] == [
        (0, 20 * US, None), (1, US, None),
    ]  # fmt: skip


def test_a_request_ends_on_another_cpu_and_a_softirq_is_raised_once(tmp_path: Path) -> None:
    zero = [
        at(0, "block/block_rq_issue", 8, 100), at(1, "block/block_rq_issue", 8, 200),
        at(2, "irq/softirq_raise", 1), at(3, "irq/softirq_raise", 1),
        at(4, "irq/softirq_entry", 1), at(5, "irq/softirq_exit", 1),
    ]  # fmt: skip
    one = [at(6, "block/block_rq_complete", 8, 200), at(9, "block/block_rq_complete", 8, 100)]
    assert brief(spans(tmp_path / "s", zero, one)) == [
        ("block", "8,0", "ended", 9 * US), ("block", "8,0", "ended", 5 * US),
        ("softirq wait", "TIMER", "ended", 2 * US), ("softirq", "TIMER", "ended", US),
    ]  # fmt: skip


def test_system_calls_that_are_recorded_twice_count_once(tmp_path: Path) -> None:
    events = [
        at(0, "raw_syscalls/sys_enter", 1), at(1, "syscalls/sys_enter_write", 1),
        at(2, "syscalls/sys_exit_write", 1), at(3, "raw_syscalls/sys_exit", 1),
        at(4, "raw_syscalls/sys_enter", 99), at(6, "raw_syscalls/sys_exit", 99),
    ]  # fmt: skip
    assert brief(spans(tmp_path / "s", events)) == [
        ("syscall", "write", "ended", US), ("syscall", "syscall 99", "ended", 2 * US),
    ]  # fmt: skip


def test_events_lost_inside_mark_a_span(tmp_path: Path) -> None:
    """A sub-buffer cannot be read: what spans it may be two; what ended after it began there."""
    many = [at(10 + n, "irq/softirq_raise", 1, pid=9) for n in range(600)]
    events = [
        at(0, "syscalls/sys_enter_write"), at(1, "irq/irq_handler_entry", 3),
        at(2, "irq/irq_handler_exit", 3), *many, at(900, "syscalls/sys_exit_write"),
        at(901, "syscalls/sys_exit_read", pid=8),
    ]  # fmt: skip
    path = made(tmp_path / "s", events)
    records = tracekit.open(path).buffers[0].records[0]
    offsets = [row.offset for row in records.pages()]
    raw = path / "boots/0/regions/tkA.raw"
    data = bytearray(raw.read_bytes())
    data[offsets[2] + 8 : offsets[2] + 12] = b"\xff\xff\xff\x3f"  # its commit
    raw.write_bytes(data)
    found = {r["name"]: r for r in tracekit.open(path).analysis.spans().to_pylist()}
    assert found["write"]["cut"] and found["write"]["duration_ns"] == 900 * US
    assert found["read"]["cut"] and found["read"]["start_ns"] is None
    assert not found["3 0"]["cut"]


def test_a_session_without_pairs_or_events_has_none(tmp_path: Path) -> None:
    assert spans(tmp_path / "s", []) == []
    assert spans(tmp_path / "t", [switch(0, 7, 1, 8)]) == []


# -- against recomputations from exported files ---------------------------------------------------


@pytest.fixture(scope="module")
def exported(
    session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recording, Callable[[str], pd.DataFrame]]:
    path, where = session("same-boot-wide-7.2"), tmp_path_factory.mktemp("exported")
    wanted = ["irq:*", "syscalls:*", "timer:hrtimer_e*", "workqueue:*", "csd:*"]
    options = [word for glob in wanted for word in ("--event", glob)]
    command = ["-q", "export", str(path), "--format", "parquet", "--per-event", str(where)]
    assert main([*command, *options]) == 0
    return tracekit.open(path), lambda event: pd.read_parquet(where / f"{event}.parquet")


PAIRS = [
    ("irq", "irq.irq_handler", "entry", "exit", ["cpu", "irq"]),
    ("softirq", "irq.softirq", "entry", "exit", ["cpu", "vec"]),
    ("work", "workqueue.workqueue_execute", "start", "end", ["pid", "work"]),
    ("csd", "csd.csd_function", "entry", "exit", ["cpu", "func", "csd"]),
]


@pytest.mark.parametrize(("kind", "event", "begin", "end", "by"), PAIRS, ids=str)
def test_pairs_are_those_of_pandas(
    exported: tuple[Recording, Callable[[str], pd.DataFrame]],
    kind: str, event: str, begin: str, end: str, by: list[str],
) -> None:  # fmt: skip
    recording, table = exported
    both = pd.concat([table(f"{event}_{begin}").assign(end=False),
                      table(f"{event}_{end}").assign(end=True)])  # fmt: skip
    both = both.sort_values("ts_ns", kind="stable")
    following = both.groupby(by)[["ts_ns", "end"]].shift(-1)
    took = (following["ts_ns"] - both["ts_ns"])[~both["end"] & (following["end"] == True)]  # noqa: E712
    mine = recording.analysis.spans().to_pandas()
    mine = mine[(mine["kind"] == kind) & (mine["state"] == "ended")]
    assert len(took) > 40
    assert sorted(mine["duration_ns"]) == sorted(took.astype("int64"))


def test_system_calls_are_those_of_pandas(
    exported: tuple[Recording, Callable[[str], pd.DataFrame]],
) -> None:
    recording, table = exported
    stats = recording.analysis.statistics("syscall").to_pandas().set_index("name")
    for name in ("openat", "mmap", "wait4", "execve"):
        both = pd.concat([table(f"syscalls.sys_enter_{name}").assign(end=False),
                          table(f"syscalls.sys_exit_{name}").assign(end=True)])  # fmt: skip
        both = both.sort_values("ts_ns", kind="stable")
        following = both.groupby("pid")[["ts_ns", "end"]].shift(-1)
        took = (following["ts_ns"] - both["ts_ns"])[~both["end"] & (following["end"] == True)]  # noqa: E712
        row = stats.loc[name]
        assert (row["count"], row["total_ns"], row["max_ns"]) == (len(took), took.sum(), took.max())
        assert row["p50_ns"] == took.quantile(0.5, interpolation="lower")
        assert row["max_at_ns"] == both.loc[took.idxmax(), "ts_ns"].min() or len(took) > 1


def test_what_the_report_says_of_initcalls_and_devices_is_the_same() -> None:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        recording = tracekit.open(path)
        report = recording.report()
        table = recording.analysis.spans().to_pandas()
    calls = table[table["kind"] == "initcall"]
    assert sorted(
        zip(calls["name"], calls["start_ns"], calls["duration_ns"], strict=True)
    ) == sorted((c.function, c.start_ns, c.duration_ns) for c in report.initcalls)
    devices = table[table["kind"] == "device"]
    assert sorted(devices["duration_ns"]) == sorted(d.duration_ns or 0 for d in report.devices)
    open_ = table[table["state"] == "open"]
    assert set(open_["name"]) == {"reboot", "kexec:reboot", "kexec:kernel_kexec"}
    chain = table[table["kind"] == "notifier"]
    assert chain["inferred"].all() and len(chain) == 2


def test_a_filter_chooses_by_what_began(session: Callable[[str], Path]) -> None:
    recording = tracekit.open(session("same-boot-wide-7.2"))
    every = recording.analysis.spans().to_pandas()
    mine = recording.analysis.spans(Filter(where="irq = 4 and cpu = 0")).to_pandas()
    names = every[(every["kind"] == "irq") & (every["cpu"] == 0)]["name"]
    assert len(mine) == sum(names.str.startswith("4 "))
    window = recording.analysis.spans(Filter(since=-50_000_000, until=-20_000_000)).to_pandas()
    start, end = every["start_ns"].fillna(-(1 << 62)), every["end_ns"].fillna(1 << 62)
    assert len(window) == sum((start < -20_000_000) & (end > -50_000_000))
