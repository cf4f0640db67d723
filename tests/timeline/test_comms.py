"""Task names: the last that an event gave a task, whatever event that was."""

from __future__ import annotations

from pathlib import Path

import pytest

import tracekit
from tests.support.bpf_records import executed, region, session
from tests.support.ring.event_payloads import FORMATS, sched_switch

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


def test_an_event_knows_better_than_the_table(tmp_path: Path) -> None:
    files = {
        "sys/kernel/tracing/events/test/switch/format": FORMATS["test:switch"],
        "sys/kernel/tracing/saved_cmdlines": f"{PID} bash\n78 mount\n99 other\n1 init\n",
    }
    made = region(
        [
            (10, executed("/usr/bin/cat", PID)),
            (20, sched_switch(b"cat", PID, b"bash", 78)),
            (30, executed("/proc/self/exe", 78)),  # of a program that names itself
        ]
    )
    recording = tracekit.open(session(tmp_path, made, files=files))
    assert recording.comms[0] == {PID: "cat", 78: "mount", 99: "other", 1: "init", 0: "<idle>"}
