"""Counters, beside what pandas makes of the tables they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tracekit
from tests.support.sessions.made_events import US, at, made
from tracekit.analysis.counters import UNKNOWN, Counter, counter, counter_names
from tracekit.recording import Recording

WIDE = "same-boot-wide-7.2"
COUNTED = {"runnable": 4, "work queue": 3, "softirqs": 6}


@pytest.fixture(scope="module")
def wide(session: Callable[[str], Path]) -> Recording:
    return tracekit.open(session(WIDE))


def of(recording: Recording, name: str) -> Counter:
    made = counter(recording, recording.analysis, name)
    assert made is not None
    return made


def test_what_there_is_to_count(wide: Recording) -> None:
    names = dict(counter_names(wide, wide.analysis))
    assert set(names) == set(COUNTED)
    assert counter(wide, wide.analysis, "block queue") is None
    assert {name: int(of(wide, name).value.max()) for name in names} == COUNTED


@pytest.mark.parametrize("name", list(COUNTED))
def test_a_queue_is_as_long_as_there_are_stretches_at_that_time(wide: Recording, name: str) -> None:
    if name == "runnable":
        every = wide.analysis.states().to_pandas()
        mine = every[every.state.isin(["running", "runnable", "preempted"])]
    else:
        every = wide.analysis.spans().to_pandas()
        kind = {"work queue": "work wait", "softirqs": "softirq wait"}[name]
        told = every.state.isin(["ended", "open"]) & every.start_ns.notna()
        mine = every[(every.kind == kind) & told]
    end = mine.end_ns.fillna(int(wide.axis.ts_ns[-1]))
    made = of(wide, name)
    assert np.all(np.diff(made.at) > 0)
    assert int(made.value.min()) == 0 == int(made.value[-1])
    for ns in np.linspace(made.at[0], made.at[-1], 300).astype(np.int64).tolist():
        assert made.value[made.place(ns)] == int(((mine.start_ns <= ns) & (ns < end)).sum())


def test_the_most_of_a_stretch_counts_what_it_began_with() -> None:
    made = Counter("x", "", np.array([10, 20, 30]), np.array([5, 1, UNKNOWN]))
    edges = np.array([0, 5, 12, 15, 20, 25, 31, 40])
    assert made.most(edges).tolist() == [UNKNOWN, 5, 5, 5, 1, 1, UNKNOWN]
    assert made.most(np.array([0, 40])).tolist() == [5]
    assert made.most(np.array([21, 29])).tolist() == [1]
    nothing = Counter("x", "", np.empty(0, np.int64), np.empty(0, np.int64))
    assert nothing.most(np.array([0, 5, 9])).tolist() == [UNKNOWN, UNKNOWN]


def test_changes_one_after_the_other() -> None:
    made = Counter("x", "", np.array([10, 20, 30]), np.array([5, 1, 2]))
    assert [made.beside(ns, True) for ns in (0, 10, 25, 30)] == [0, 1, 2, None]
    assert [made.beside(ns, False) for ns in (10, 11, 30, 99)] == [None, 0, 1, 2]


def test_a_frequency_is_known_until_its_kernel_ends(tmp_path: Path) -> None:
    events = [
        at(0, "power/cpu_frequency", 800_000, 0), at(10, "power/cpu_frequency", 1_200_000, 1),
        at(20, "power/cpu_frequency", 2_400_000, 0), at(30, "sched/sched_waking", 9),
        at(40, "power/cpu_frequency", 1 << 63, 0), at(50, "sched/sched_waking", 9),
    ]  # fmt: skip
    recording = tracekit.open(made(tmp_path / "s", events))
    names = [name for name, _ in counter_names(recording, recording.analysis)]
    assert [name for name in names if name.startswith("kHz")] == ["kHz CPU 0", "kHz CPU 1"]
    first, second = of(recording, "kHz CPU 0"), of(recording, "kHz CPU 1")
    assert first.value.tolist() == [800_000, 2_400_000, UNKNOWN]
    assert np.diff(first.at).tolist() == [20 * US, 30 * US]
    assert second.value.tolist() == [1_200_000, UNKNOWN]


def test_a_request_that_never_completed_is_in_flight_to_the_end(tmp_path: Path) -> None:
    events = [
        at(0, "block/block_rq_issue", 8, 100), at(5, "block/block_rq_issue", 8, 200),
        at(9, "block/block_rq_complete", 8, 100), at(20, "sched/sched_waking", 9),
    ]  # fmt: skip
    made_of = of(tracekit.open(made(tmp_path / "s", events)), "block queue")
    assert made_of.value.tolist() == [1, 2, 1, 0]
    assert np.diff(made_of.at).tolist() == [5 * US, 4 * US, 11 * US]
