"""Call trees: of the function graph and of stacks, both ways, and folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import tracekit
from tests.support.sessions.made_events import CODE, US, at, graph, made
from tracekit.analysis.calls import folded
from tracekit.timeline.filter import Filter

#: outer 100 µs: middle 30 (leaf 10), leaf 20; then outer 40: middle 40; then leaf 5
EVENTS = [
    graph(0, "outer", 0), graph(10, "middle", 1), graph(15, "leaf", 2), graph(25, "leaf", 2, 10),
    graph(40, "middle", 1, 30), graph(50, "leaf", 1), graph(70, "leaf", 1, 20),
    graph(100, "outer", 0, 100), graph(110, "outer", 0), graph(111, "middle", 1),
    graph(150, "middle", 1, 40), graph(151, "outer", 0, 40), graph(160, "leaf", 0),
    graph(165, "leaf", 0, 5),
]  # fmt: skip


def nodes(tree: Any) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Path -> (count, total, self) in µs."""
    paths: list[tuple[str, ...]] = []
    found = {}
    for row in tree.to_pylist():
        above = () if row["parent"] is None else paths[row["parent"]]
        paths.append((*above, row["function"]))
        assert row["depth"] == len(above)
        found[paths[-1]] = (row["count"], row["total_ns"] // US, row["self_ns"] // US)
    assert len(found) == len(tree)  # each path is one node
    return found


def test_calls_of_the_same_path_are_one_node(tmp_path: Path) -> None:
    analysis = tracekit.open(made(tmp_path / "s", EVENTS)).analysis
    assert nodes(analysis.calls()) == {
        ("outer",): (2, 140, 50), ("outer", "middle"): (2, 70, 60),
        ("outer", "middle", "leaf"): (1, 10, 10), ("outer", "leaf"): (1, 20, 20),
        ("leaf",): (1, 5, 5),
    }  # fmt: skip


def test_the_other_way_it_is_by_what_took_the_time(tmp_path: Path) -> None:
    analysis = tracekit.open(made(tmp_path / "s", EVENTS)).analysis
    up = nodes(analysis.calls(upwards=True))
    assert up["leaf",] == (3, 35, 35)
    assert up["leaf", "outer"] == (1, 20, 20)
    assert up["leaf", "middle"] == up["leaf", "middle", "outer"] == (1, 10, 10)
    assert up["middle",] == (2, 70, 60)
    down = analysis.calls()
    own = sum(down["self_ns"].to_pylist())
    assert own == sum(v[2] for k, v in up.items() if len(k) == 1) * US  # nothing is lost


def test_a_function_inside_itself_counts_once(tmp_path: Path) -> None:
    events = [
        graph(0, "outer", 0), graph(10, "outer", 1), graph(40, "outer", 1, 30),
        graph(100, "outer", 0, 100),
    ]  # fmt: skip
    analysis = tracekit.open(made(tmp_path / "s", events)).analysis
    assert nodes(analysis.calls(upwards=True))["outer",] == (2, 100, 100)
    assert nodes(analysis.calls()) == {("outer",): (1, 100, 70), ("outer", "outer"): (1, 30, 30)}


def test_an_interrupt_between_a_call_and_its_caller_is_no_call(tmp_path: Path) -> None:
    events = [
        graph(0, "outer", 0), at(5, "irq/irq_handler_entry", 1), graph(6, "irq", 1),
        graph(8, "irq", 1, 2), at(9, "irq/irq_handler_exit", 1), graph(20, "outer", 0, 20),
    ]  # fmt: skip
    analysis = tracekit.open(made(tmp_path / "s", events)).analysis
    assert nodes(analysis.calls()) == {("outer",): (1, 20, 18), ("outer", "irq"): (1, 2, 2)}


def test_of_a_selection_what_was_entered_in_it(tmp_path: Path) -> None:
    recording = tracekit.open(made(tmp_path / "s", EVENTS))
    first = int(recording.axis.ts_ns[0])
    tree = recording.analysis.calls(Filter(since=first + 45 * US))
    assert nodes(tree) == {
        ("leaf",): (2, 25, 25), ("outer",): (1, 40, 0), ("outer", "middle"): (1, 40, 40),
    }  # fmt: skip


def test_flame_graphs_read_it(tmp_path: Path) -> None:
    analysis = tracekit.open(made(tmp_path / "s", EVENTS)).analysis
    assert sorted(folded(analysis.calls())) == [
        "leaf 5000", "outer 50000", "outer;leaf 20000", "outer;middle 60000",
        "outer;middle;leaf 10000",
    ]  # fmt: skip


def test_stacks_are_counted(tmp_path: Path) -> None:
    """The kernel writes the innermost first, and ULONG_MAX behind the last."""
    outer, middle, leaf = CODE["outer"] + 4, CODE["middle"] + 4, CODE["leaf"] + 4
    end = (1 << 64) - 1

    def stack(us: int, *frames: int) -> tuple[int, bytes]:
        return at(us, "ftrace/kernel_stack", len(frames), *frames, *[end] * (8 - len(frames)))

    events = [
        stack(0, leaf, middle, outer), stack(1, leaf, middle, outer), stack(2, middle, outer),
        stack(3, 0x1234, outer), stack(4),
    ]  # fmt: skip
    analysis = tracekit.open(made(tmp_path / "s", events)).analysis
    tree = analysis.stacks()
    assert {path: n for path, (n, _, _) in nodes(tree).items()} == {
        ("outer",): 4, ("outer", "middle"): 3, ("outer", "middle", "leaf"): 2,
        ("outer", "0x1234"): 1,
    }  # fmt: skip
    ends = dict(line.rsplit(" ", 1) for line in folded(tree))
    assert ends == {"outer;middle": "1", "outer;middle;leaf": "2", "outer;0x1234": "1"}
    up = {path: n for path, (n, _, _) in nodes(analysis.stacks(upwards=True)).items()}
    assert up["leaf", "middle", "outer"] == 2


def test_deep_recursion_ends(tmp_path: Path) -> None:
    deep = 300
    events = [graph(n, "leaf", n) for n in range(deep)]
    events += [graph(2 * deep - n, "leaf", n, 2 * (deep - n)) for n in reversed(range(deep))]
    tree = tracekit.open(made(tmp_path / "s", events)).analysis.calls()
    assert np.max(tree["depth"].to_numpy()) == 255
    assert tree["total_ns"][0].as_py() == 2 * deep * US


def test_nothing_to_show(tmp_path: Path) -> None:
    analysis = tracekit.open(made(tmp_path / "s", [at(0, "irq/softirq_entry", 1)])).analysis
    assert len(analysis.calls()) == len(analysis.calls(upwards=True)) == len(analysis.stacks()) == 0
    assert list(folded(analysis.calls())) == []
