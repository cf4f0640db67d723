"""The questions of docs/questions.md, each answered from the Story with six keys at most."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.driver import drive, model_of, screen_text, until
from tests.support.sessions.made_events import graph, made
from tui.app import TracekitApp
from tui.story.around import CpuRows
from tui.tables.view import TablesView

Piloted = Pilot[Any]
_LEFT, _RIGHT = ["left"], ["right"]
#: (the question, the keys, what is then on the screen)
ANSWERS: list[tuple[str, list[str], list[str]]] = [
    ("Where did the blackout go?", [], ["blackout 3.099 s", "slowest  dark: until the new kernel"]),
    ("What happened in the last 5 ms of CPU 0?", ["0"],
     ["CPU 0 ▸ 0 ns", "kexec:machine_kexec", "device shutdown 4.15 ms"]),
    ("Which task ran longest on CPU 0 in the last 100 ms?", ["0", "space", "p", "s", "s", "s"],
     ["window, 128 ms from -64.0 ms", "cpu = 0", "ran longest", "python3-76"]),
    ("What did CPU 0 run last, and how certain is that?", [],
     ["CPU 0 python3-76 since -4.37 ms"]),
    ("What was begun and never ended?", ["4", *_RIGHT * 3], ["syscall ", "open"]),
    ("Is there an interrupt storm?", ["4", *_LEFT * 3], ["21 virtio0 +1,734", "22 virtio1"]),
    ("When did it storm?", ["4", *_LEFT * 3, "space", "2"], ["irq = 22", "CPU 0 "]),
    ("How much CPU time went to softirqs, and how long did one wait for its turn?",
     ["4", *_RIGHT * 3], ["span", "irq +2,292"]),
    ("Which system call took longest, and how are they spread?", ["4", *_LEFT * 4],
     ["kexec_file_load", "worst 623 ms", "█"]),
    ("Which device was slow to shut down?", ["4", *_RIGHT * 4], ["0000:00:1f.2", "518 µs"]),
    ("Which initcalls took the new kernel's time?", ["4", *_RIGHT * 5], ["acpi_init", "148 ms"]),
    ("Which work items, timers and requests took how long?", ["4", *_RIGHT * 3], ["device +24"]),
    ("Who waited longest for a CPU, and who woke it?", ["4", *_LEFT],
     ["no wakeup was recorded here"]),
    ("How long do wakeups take on CPU 1?", ["0", "down", "space", "4", *_LEFT],
     ["of cpu = 1", "no wakeup was recorded here"]),
    ("What did the kexec task wait for?", ["4", *_LEFT * 2],
     ["python3-76 .boot 0.: sleeping", "worst"]),
    ("Where did the function graph's time go?", ["4", *_LEFT * 5], ["no call was recorded here"]),
    ("The same as a flame graph?", ["4", *_LEFT * 5], ["no call was recorded here"]),
    ("Which events are the most, and how regular are they?", ["4", *_RIGHT * 2],
     ["sched:sched_switch", "14,482"]),
    ("When was a CPU silent for more than 10 ms, and was it silence or a loss?", ["2", "]"],
     ["gaps ≥ ", "dark 2.002 s"]),
]  # fmt: skip


async def _answered(
    app: TracekitApp, pilot: Piloted, keys: Sequence[str], texts: Sequence[str]
) -> None:
    for key in keys:
        if key == "space" and keys[0] == "4":
            await until(pilot, lambda: app.query_one(TablesView).complete, "the table is counted")
        await pilot.press(key)

    def there() -> bool:
        shown = screen_text(app)
        return all(re.search(text.replace("|", ""), shown) for text in texts)

    await until(pilot, there, f"{keys}: {texts}")


async def _back(app: TracekitApp, pilot: Piloted) -> None:
    """As it was opened."""
    model, tables = model_of(app), app.query_one(TablesView)
    app.filter_by("")
    await until(pilot, lambda: not model.where and not model.pending, "no filter")
    model.look_at(*model.extent)
    model.move_to(0)
    while tables.sheet.title != "CPUs":
        tables.action_other(1)
    if app.query_one("SidePanel").display:
        await pilot.press("2", "p")
    await pilot.press("1")
    await pilot.pause()


def test_every_question_is_answered_with_six_keys_at_most() -> None:
    assert all(len(keys) <= 6 for _, keys, _ in ANSWERS)

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await until(pilot, lambda: app.query_one(CpuRows).around is not None, "the CPUs are there")
        for _, keys, texts in ANSWERS:
            await _answered(app, pilot, keys, texts)
            await _back(app, pilot)

    drive(script, size=(160, 44))


def test_the_list_is_that_of_the_document() -> None:
    text = (Path(__file__).parents[2] / "docs" / "questions.md").read_text()
    asked = re.findall(r"^\| (.+?\?) \|", text, re.M)
    assert asked == [question for question, _, _ in ANSWERS]


@pytest.mark.slow
def test_calls_and_wakeups_where_they_were_recorded(
    tmp_path: Path, session: Callable[[str], Path]
) -> None:
    events = [graph(0, "outer", 0), graph(10, "middle", 1), graph(40, "middle", 1, 30),
              graph(100, "outer", 0, 100)]  # fmt: skip

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await _answered(app, pilot, ["4", *_LEFT * 5], ["▏outer", "▾ outer", "middle +1 "])

    drive(script, made(tmp_path / "s", events), size=(120, 30))
