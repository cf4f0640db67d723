"""What each CPU ran up to the jump, and its last events, against the events themselves."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import as_file, files

import numpy as np
import pytest

from tracekit.browse.around_jump import last_events, what_ran
from tracekit.browse.open import Opened, open_recording


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as shipped:
        yield open_recording(shipped, lambda *_: None)


def test_what_ran_last_is_whom_the_last_switch_named(opened: Opened) -> None:
    recording = opened.recording
    found = {ran.cpu: ran for ran in what_ran(recording, (0, 1), (-7_000_000, 0))}
    timeline = recording.timeline.to_pylist()
    for cpu, ran in found.items():
        rows = [n for n, r in enumerate(timeline) if r["cpu"] == cpu and r["boot"] == 0]
        last = next(n for n in rows[::-1] if timeline[n]["event"] == "sched:sched_switch")
        fields = recording.fields(np.array([last]))[0]
        named = f"{fields['next_comm']}-{fields['next_pid']}"
        assert ran.task == ("idle" if fields["next_pid"] == 0 else named)
        assert ran.since_ns == timeline[last]["ts_ns"]
        assert ran.seen_ns == timeline[rows[-1]]["ts_ns"] or ran.seen_ns == ran.since_ns
        assert ran.switched and not ran.cut
        for turn in ran.turns:
            assert turn.end_ns > -7_000_000 and turn.start_ns < 0
    assert found[0].task == "python3-76" and found[0].seen_ns == 0
    assert found[1].task == "idle"


def test_the_last_events_are_those_before_the_instant(opened: Opened) -> None:
    ts = opened.recording.axis.ts_ns
    for ns in (0, -2_000_000):
        for last in last_events(opened.recording, opened.index, ns, 5):
            rows = opened.index.cpus.of(last.cpu)
            wanted = [int(t) for t in ts[rows] if t <= ns][-5:]
            assert [when for when, _, _ in last.events] == wanted
