"""The arrow from a wakeup to the switch that it led to."""

from __future__ import annotations

from pathlib import Path

from tests.support.driver import screen_text
from tests.support.sessions.made_events import at, made, switch
from tests.support.views.timeline_view import Piloted, lane_lines, timeline
from tui.app import TracekitApp
from tui.model import Model
from tui.timeline.state import LaneState

HARDIRQ = 0x08
ASLEEP = 1


def crossed(path: Path, *, in_interrupt: bool = False) -> Path:
    """Task 7 on CPU 0 wakes task 9, which runs on CPU 2 40 µs later; CPU 1 is between them."""
    flags = HARDIRQ if in_interrupt else 0
    return made(
        path,
        [at(0, "syscalls/sys_enter_write"), at(20, "sched/sched_waking", 9, 2, flags=flags),
         at(100, "syscalls/sys_exit_write")],
        [at(1, "syscalls/sys_enter_read", pid=5), at(99, "syscalls/sys_exit_read", pid=5)],
        [switch(5, 9, ASLEEP, 0), switch(60, 0, 0, 9), switch(90, 9, ASLEEP, 0)],
    )  # fmt: skip


def signs(app: TracekitApp, state: LaneState) -> dict[str, list[str]]:
    """What stands at the wakeup's and at the switch's cell, in all lines of each CPU."""
    ts = state.model.ts_ns
    scale = state.scale(app.size.width)
    cells = [scale.cell(int(ts[row])) for row in (3, 4)]
    return {
        lane.name: [line[cells[0]] + line[cells[1]] for line in lane_lines(app, lane.name)]
        for lane in state.lanes if lane.kind == "cpu"
    }  # fmt: skip


def test_it_goes_from_the_waker_to_where_the_task_runs(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        rows = model.recording.rows
        assert [int(rows.cpu[row]) for row in (3, 4)] == [0, 2]  # the wakeup, the switch
        model.look_at(*model.extent)
        for cursor, words in (
            (3, "wakes <...>-9, which runs 40.0 µs later on CPU 2"),
            (4, "woken 40.0 µs before, on CPU 0, by <...>-7"),
        ):
            model.move_to(cursor)
            await pilot.pause()
            drawn = signs(app, state)
            assert drawn["CPU 0"][0][0] == "●"
            assert {line[0] for line in (*drawn["CPU 0"][1:], *drawn["CPU 1"])} == {"│"}
            assert drawn["CPU 2"][0] == "╰▶"
            first = lane_lines(app, "CPU 2")[0]
            assert set(first[first.index("╰") + 1 : first.index("▶")]) == {"─"}
            assert words in screen_text(app)
        model.move_to(0)
        await pilot.pause()
        assert "▶" not in screen_text(app) and "woken" not in screen_text(app)

    timeline(script, crossed(tmp_path / "s"), size=(120, 40))


def test_an_interrupt_is_named_as_the_waker(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.move_to(4)
        await pilot.pause()
        assert "on CPU 0, in a hardirq" in screen_text(app)

    timeline(script, crossed(tmp_path / "s", in_interrupt=True), size=(120, 40))


def test_upwards_on_one_cpu_and_out_of_the_window(tmp_path: Path) -> None:
    upwards = made(
        tmp_path / "up",
        [switch(5, 9, ASLEEP, 0), switch(60, 0, 0, 9), switch(90, 9, ASLEEP, 0)],
        [at(0, "syscalls/sys_enter_write"), at(20, "sched/sched_waking", 9, 0),
         at(70, "sched/sched_waking", 12, 1), switch(80, 7, ASLEEP, 12), switch(95, 12, 0, 7)],
    )  # fmt: skip

    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        ts = model.ts_ns
        model.look_at(*model.extent)
        model.move_to(2)
        await pilot.pause()
        assert "╭─" in lane_lines(app, "CPU 0")[0] and "●" in lane_lines(app, "CPU 1")[0]
        model.look_at(int(ts[3]) - 5000, int(ts[3]) + 30_000)  # the wakeup is left of it
        await pilot.pause()
        assert lane_lines(app, "CPU 0")[0].lstrip("─")[0] == "▶"
        model.look_at(*model.extent)
        model.move_to(4)
        await pilot.pause()
        assert "●─" in lane_lines(app, "CPU 1")[0]

    timeline(script, upwards, size=(120, 40))
