"""CPUs that were stopped, by what the kernel recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.ring.region_writer import RingBuffer, layout_615
from tests.support.sessions import missing
from tests.support.sessions.missing import END, OFFLINE, ONLINE, START
from tracekit.analysis.stretches import Stretch
from tracekit.browse.open import open_recording
from tracekit.browse.stopped_cpus import stops_of


def stops(path: Path) -> dict[int, list[Stretch]]:
    opened = open_recording(path, lambda what, share: None)
    recording = opened.recording
    zero = int(recording.axis.ts_ns[0]) - int(recording.rows.ts_raw[0])
    end = int(recording.axis.ts_ns[-1])
    found = stops_of(recording, opened.index, recording.boots[0], [0, 1, 2], end)
    return {
        cpu: [Stretch(s.start_ns - zero, s.end_ns - zero, s.kind, s.note) for s in of]
        for cpu, of in found.items()
    }


def told(where: Path, events: Sequence[tuple[int, bytes]], until: int = END) -> Path:
    """CPU 0 records ``events`` between its switches; CPU 1's end at ``until``."""
    rings = [RingBuffer(20), RingBuffer(20)]
    switches = [(ts, missing.switch(n)) for n, ts in enumerate(range(START, END, 10_000_000))]
    for ts, payload in sorted([*switches, *events]):
        rings[0].write(ts, payload)
    for n, ts in enumerate(range(START, until, 50_000_000)):
        rings[1].write(ts, missing.switch(n))
    return missing.session(where, layout_615(rings))


def test_a_cpu_is_offline_from_its_takedown_to_its_next_event(tmp_path: Path) -> None:
    (stopping, stopped) = stops(missing.offline(tmp_path))[1]
    assert (stopping.start_ns, stopping.end_ns) == (OFFLINE + 1_000_000, OFFLINE + 3_000_000)
    assert (stopping.kind, stopped.kind) == ("stopping", "stopped")
    assert (stopped.start_ns, stopped.end_ns) == (OFFLINE + 3_000_000, ONLINE)


def test_a_takedown_that_failed_stops_nothing(tmp_path: Path) -> None:
    path = told(
        tmp_path,
        [(OFFLINE + 1, missing.cpuhp(True, 1)), (OFFLINE + 2, missing.cpuhp(False, 1, ret=-16))],
    )
    assert stops(path) == {}


def test_one_that_did_not_end_leaves_the_rest_unknown(tmp_path: Path) -> None:
    path = told(tmp_path, [(OFFLINE + 5, missing.cpuhp(True, 1))], until=OFFLINE)
    spans = [(s.start_ns, s.kind) for s in stops(path)[1] if s.end_ns > s.start_ns]
    assert spans == [(OFFLINE + 5, "stopping")]


def test_it_may_go_offline_more_than_once(tmp_path: Path) -> None:
    steps = [
        (START + n * 700_000_000 + k * 1_000_000, missing.cpuhp(k == 0, 1))
        for n in range(1, 3) for k in range(2)
    ]  # fmt: skip
    found = [s for s in stops(told(tmp_path, steps))[1] if s.kind == "stopped"]
    assert [s.start_ns for s in found] == [ts for ts, _ in steps[1::2]]
    assert all(s.end_ns - s.start_ns <= 50_000_000 for s in found)  # CPU 1 recorded something then


@pytest.mark.parametrize(
    "line", [b"smpboot: CPU 1 is now offline", b"psci: CPU1 killed (polled 0 ms)"]
)
def test_the_log_says_it_too(tmp_path: Path, line: bytes) -> None:
    last = OFFLINE - 50_000_000
    path = told(tmp_path, [(OFFLINE + 7_000_000, missing.console(line))], until=OFFLINE)
    (stopping, stopped) = stops(path)[1]
    assert (stopping.kind, stopping.start_ns) == ("stopping", last)
    assert (stopped.kind, stopped.start_ns) == ("stopped", OFFLINE + 7_000_000)


def test_other_lines_of_the_log_say_nothing(tmp_path: Path) -> None:
    lines = [b"CPU 1 is now online", b"the CPU 1 is now offline?", b"CPU99999999 killed", b""]
    events = [(OFFLINE + n, missing.console(line)) for n, line in enumerate(lines)]
    assert stops(told(tmp_path, events)) == {}


def test_the_log_may_name_a_cpu_that_there_is_not(tmp_path: Path) -> None:
    found = stops(told(tmp_path, [(OFFLINE, missing.console(b"CPU 7 is now offline"))]))
    assert {s.kind for s in found[7] if s.end_ns > s.start_ns} == {"stopped"}
