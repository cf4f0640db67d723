"""The wakeup that an event belongs to, beside the analysis of the whole session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tests.support.sessions.made_events import at, made, switch
from tracekit.browse.wakeup import Wakeup, wakeup_of
from tracekit.query.groups import Index
from tracekit.recording import Recording

ASLEEP = 1


def rows_of(recording: Recording, name: str) -> list[int]:
    index = Index(recording)
    rows: list[int] = index.events.rows(recording.event_names.index(name)).tolist()
    return rows


@pytest.fixture(scope="module")
def wide(session: Callable[[str], Path]) -> Recording:
    return tracekit.open(session("same-boot-wide-7.2"))


def test_every_switch_has_the_wakeup_that_the_whole_record_has(wide: Recording) -> None:
    index, table = Index(wide), wide.analysis.wakeups()
    columns = (table[name].to_pylist() for name in ("pid", "row", "end_row"))
    truth = {end: Wakeup(pid, row, end) for pid, row, end in zip(*columns, strict=True)}
    assert len(truth) > 1000
    switches = rows_of(wide, "sched:sched_switch")
    found = {row: wakeup_of(wide, index, row) for row in switches[::3]}
    assert all(found[row] == truth[row] for row in found if row in truth)
    others = [row for row, wakeup in found.items() if wakeup is not None and row not in truth]
    assert len(others) <= 2  # woken while they were leaving: they did not wait because of it


def test_a_wakeup_leads_to_the_switch(wide: Recording) -> None:
    index, table = Index(wide), wide.analysis.wakeups()
    columns = (table[name].to_pylist() for name in ("row", "end_row"))
    truth = dict(zip(*columns, strict=True))
    for row in [row for row in rows_of(wide, "sched:sched_waking") if row in truth][::5]:
        found = wakeup_of(wide, index, row)
        assert found is not None
        assert (found.row, found.end_row) == (row, truth[row])


def test_a_task_that_was_preempted_was_not_woken(tmp_path: Path) -> None:
    events = [
        at(0, "sched/sched_waking", 9, 0), switch(1, 7, 0, 9), switch(2, 9, 0x100, 7),
        switch(3, 7, 0, 9), at(4, "sched/sched_waking", 9, 0), at(5, "syscalls/sys_enter_write"),
    ]  # fmt: skip
    recording = tracekit.open(made(tmp_path / "s", events))
    index = Index(recording)
    assert [wakeup_of(recording, index, row) for row in range(6)] == [
        Wakeup(9, 0, 1), Wakeup(9, 0, 1), None, None, Wakeup(9, 4, -1), None,
    ]  # fmt: skip
