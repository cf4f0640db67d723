"""``--from`` and ``--to``: times, dates by each boot's own wall clock, phases, marks and notes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import tracekit
from tracekit.cli import main
from tracekit.errors import UsageError
from tracekit.recording import Recording
from tracekit.session.notes import Bookmark, Notes
from tracekit.timeline.filter import Filter
from tracekit.timeline.when.dates import utc

DEMO = str(files("tracekit") / "demo" / "handover.tar.zst")


@pytest.fixture(scope="module")
def demo() -> Recording:
    return tracekit.open(DEMO)


def times(recording: Recording, **wanted: object) -> list[int]:
    rows = recording.select(Filter(**wanted))  # type: ignore[arg-type]
    return list(recording.axis.ts_ns[rows].tolist())


def test_a_date_is_by_each_boots_own_clock(demo: Recording) -> None:
    for boot, wall in demo.walls.items():
        mine = times(demo, boots=frozenset({boot}))
        middle = mine[len(mine) // 2]
        date = utc(middle + wall.offset_ns)
        later = times(demo, boots=frozenset({boot}), since=date)
        earlier = times(demo, boots=frozenset({boot}), until=date)
        assert later == [ns for ns in mine if ns >= middle]
        assert earlier == [ns for ns in mine if ns <= middle]


def test_a_phases_name_is_its_begin_and_its_end(demo: Recording) -> None:
    phase = next(p for p in demo.report().phases if p.name == "device shutdown")
    assert phase.start_ns is not None and phase.duration_ns is not None
    named = times(demo, since="device shutdown", until="Device Shutdown")
    assert named == times(demo, since=phase.start_ns, until=phase.start_ns + phase.duration_ns)
    shifted = times(demo, since="device shutdown+1ms", until="device shutdown -1ms")
    end = phase.start_ns + phase.duration_ns
    assert shifted == times(demo, since=phase.start_ns + 10**6, until=end - 10**6)
    assert times(demo, since="jump", until="jump+0ns") == [t for t in times(demo) if t == 0]


def test_what_is_called_so_in_no_boot_is_told(demo: Recording) -> None:
    with pytest.raises(UsageError, match="there are: device shutdown"):
        demo.select(Filter(since="device shutdwn"))
    with pytest.raises(UsageError, match="no phase, mark or note"):
        demo.select(Filter(since="device shutdown", boots=frozenset({1})))


def test_a_note_and_a_mark_have_a_time(session: Callable[[str], Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(session("same-boot-7.2"), tmp_path / "session"))
    recording = tracekit.open(copy)
    row = len(recording) // 2
    rows, ns = recording.rows, int(recording.axis.ts_ns[row])
    where = (int(rows.boot[row]), int(rows.cpu[row]), int(rows.ts_raw[row]))
    notes = Notes.load(recording.session)
    notes.bookmarks.append(Bookmark(*where, ns, "here it hangs"))
    notes.save()
    again = tracekit.open(copy)
    assert times(again, since="here it hangs")[0] == ns
    assert times(again, until="here it hangs-1us")[-1] <= ns - 1000


def test_without_a_jump_a_date_works(session: Callable[[str], Path]) -> None:
    recording = tracekit.open(session("same-boot-wide-7.2"))
    (wall,) = recording.walls.values()
    first = int(recording.axis.ts_ns[0])
    assert len(times(recording, since=utc(first + wall.offset_ns))) == len(recording)
    assert times(recording, since=utc(first + wall.offset_ns + 10**15)) == []


def test_where_no_wall_clock_is_known_it_says_why(
    session: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(session("same-boot-7.2"), tmp_path / "session"))
    file = copy / "boots/0/clocks.json"
    document = json.loads(file.read_text())
    kept = [s for s in document["samples"] if s["clock"] != "realtime"]
    file.write_text(json.dumps({**document, "samples": kept}))
    kernel = copy / "boots/0/kernel.json"
    kernel.write_text(json.dumps({**json.loads(kernel.read_text()), "btime_s": None}))
    assert main(["events", str(copy), "--from", "2026-11-22", "--time", "wall"]) == 2
    said = capsys.readouterr().err
    assert "neither a reading of CLOCK_REALTIME nor btime of /proc/stat" in said
    assert main(["events", str(copy), "--cpu", "0", "--to", "0", "--time", "wall"]) == 0
    out, said = capsys.readouterr()
    assert out.startswith("unknown ") and "time of day unknown: the session has" in said
    assert main(["report", str(copy)]) == 0
    assert "when      unknown: the session has neither" in capsys.readouterr().out


def test_the_report_says_when_the_jump_was(demo: Recording) -> None:
    report = demo.report()
    (jump,) = report.as_dict()["handovers"]
    assert jump["jump_time"] == utc(demo.walls[0].offset_ns + (jump["jump_ns"] or 0))
    assert [t.error_ns for t in report.times] == [w.error_ns for w in demo.walls.values()]
    assert report.times[0].first is not None and report.times[0].first < jump["jump_time"]


def test_lines_have_the_time_of_day_in_front(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["-q", "events", DEMO, "--from", "-1ms", "--to", "0"]
    assert main(few) == 0
    plain = capsys.readouterr().out.splitlines()
    assert main([*few, "--time", "wall"]) == 0
    wall = capsys.readouterr().out.splitlines()
    assert [line[31:] for line in wall] == plain and len(plain) > 5
    assert main([*few, "--time", "wall", "--format", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["time"] for line in lines] == [line[:30] for line in wall]
    assert {line["time_error_ns"] for line in lines} == {tracekit.open(DEMO).walls[0].error_ns}
    assert main([*few, "--time", "wall", "--format", "kernel"]) == 2


def test_the_worst_error_of_a_boots_events_is_in_the_bound(demo: Recording) -> None:
    """A rate that is not exact puts events far from the reading further off."""
    for boot, wall in demo.walls.items():
        model = demo.axis.clocks[boot]
        span = np.ptp(demo.rows.ts_raw[demo.rows.boot == boot].astype(np.int64))
        assert wall.error_ns >= (model.duration_error(int(span) // 2) or 0)
