"""Task names: the last that an event gave a task, whatever event that was."""

from __future__ import annotations

from pathlib import Path

import pytest

import tracekit
from tests.ftrace.event_payloads import FORMATS, sched_switch
from tests.timeline.bpf_records import executed, region, session

PID = 77


@pytest.mark.parametrize(
    ("events", "name"),
    [
        ([(10, sched_switch(b"sh", PID, b"x", 2)), (20, executed("/usr/bin/cat", PID))], "cat"),
        ([(10, executed("/usr/bin/cat", PID)), (20, sched_switch(b"tac", PID, b"x", 2))], "tac"),
        (
            [
                (10, executed("/bin/first", PID)),
                (20, sched_switch(b"second", PID, b"x", 2)),
                (30, executed("/bin/first", PID)),
            ],
            "first",
        ),
    ],
)
def test_the_last_name_counts(tmp_path: Path, events: list[tuple[int, bytes]], name: str) -> None:
    files = {"sys/kernel/tracing/events/test/switch/format": FORMATS["test:switch"]}
    recording = tracekit.open(session(tmp_path, region(events), files=files))
    assert recording.comms[0][PID] == name
