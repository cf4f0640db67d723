"""When what is handed over was preserved, written down and taken up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bpf_records import printed, record
from tests.support.sessions.live import MS, START, US, report_of, way_out
from tracekit.browse.lanes import make_lanes
from tracekit.browse.open import open_recording
from tracekit.cli import main
from tracekit.cli.printed.kho import step_table
from tracekit.drawing.sections import phases
from tracekit.drawing.story import story
from tracekit.export.perfetto.tracks import tracks_of
from tracekit.report.forms.openmetrics import openmetrics
from tracekit.report.jump.kho_steps import steps_in
from tracekit.report.make import Report
from tracekit.sql.tables import Tables


def call(
    number: int, event: str, at: int, took: int | None, name: str = "", ret: int = 0, pid: int = 7
) -> list[tuple[int, bytes]]:
    """A call, and its return where it took any time."""
    begin = record(event, 200 + number, at, name=name, pid=pid)
    if took is None:
        return [(at, printed(begin))]
    end = record(event, 201 + number, at + took, returned=True, duration=took, name=name,
                 values=[ret % (1 << 64)], pid=pid)  # fmt: skip
    return [(at, printed(begin)), (at + took, printed(end))]


def test_steps(tmp_path: Path) -> None:
    events = [
        *call(0, "luo:create_session", START - 40 * MS, 10 * US, "vm"),
        *call(2, "luo:preserve_file", START - 30 * MS, 2 * MS, "vm"),
        *call(4, "luo:preserve_file", START - 20 * MS, MS, "vm", ret=-22),
        *call(6, "luo:preserve_file", START - 10 * MS, None, "other", pid=8),
        *way_out(),
        *call(8, "luo:serialize_sessions", START + 2 * MS, 900 * US),
        *call(10, "luo:freeze_files", START + 2 * MS + 100 * US, 500 * US, "vm"),
    ]
    report = report_of(tmp_path, sorted(events, key=lambda event: event[0]))
    steps = {step.name: step for step in report.kho_steps}
    assert list(steps) == ["create a session", "preserve a file", "write down sessions",
                           "freeze files"]  # fmt: skip
    files = steps["preserve a file"]
    assert (files.count, files.failed, files.took_ns) == (3, 1, 3 * MS)
    assert files.names == ("vm", "other")
    jump = START + 99 * MS
    assert (files.start_ns, files.end_ns) == (START - 30 * MS - jump, START - 10 * MS - jump)
    assert steps["freeze files"].names == ("vm",)
    assert step_table(report).row_count == 4
    assert (files.phase, files.in_blackout, files.handover) == ("", False, None)


def live_update(tmp_path: Path) -> Report:
    """A way out with steps in it: in the live update, and one in the phase before."""
    events = [
        *call(0, "luo:preserve_file", START - 30 * MS, 2 * MS, "vm"),
        *call(2, "luo:preserve_file", START + MS // 2, MS // 4, "vm", ret=-22),
        *way_out(),
        *call(8, "luo:serialize_sessions", START + 2 * MS, 900 * US),
        *call(10, "luo:freeze_files", START + 2 * MS + 100 * US, 500 * US, "vm"),
        *call(12, "luo:freeze_files", START + 2 * MS + 700 * US, 100 * US, "other"),
    ]
    return report_of(tmp_path, sorted(events, key=lambda event: event[0]))


def test_steps_are_parts_of_phases(tmp_path: Path) -> None:
    """A call's begin decides; what began in two phases is two steps."""
    report = live_update(tmp_path)
    found = [(s.label, s.phase, s.in_blackout, s.handover) for s in report.kho_steps]
    assert found == [
        ("preserve a file", "", False, None),
        ("preserve a file, 1 failed", "reboot call", True, 0),
        ("write down sessions", "liveupdate", True, 0),
        ("freeze files, 2 calls", "liveupdate", True, 0),
    ]
    (phase,) = (p for p in report.phases if p.name == "liveupdate")
    inside = steps_in(report.kho_steps, phase)
    assert [s.name for s in inside] == ["write down sessions", "freeze files"]
    for step in inside:
        assert phase.start_ns is not None and phase.duration_ns is not None
        assert step.start_ns is not None and step.end_ns is not None
        assert phase.start_ns <= step.start_ns < step.end_ns <= phase.start_ns + phase.duration_ns


def test_they_are_shown_wherever_phases_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = live_update(tmp_path)
    session = tmp_path / "s"
    assert main(["report", str(session)]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(n for n, line in enumerate(lines) if " liveupdate " in line)
    assert lines[place + 1].split()[:3] == ["write", "down", "sessions"]
    assert lines[place + 2].split()[:4] == ["freeze", "files,", "2", "calls"]
    opened = open_recording(session, lambda what, share: None)
    recording = opened.recording
    tracks = {track.name: track for track in tracks_of(recording, report)}
    assert tracks["KHO and LUO"].slices[-1].values["phase"] == "liveupdate"
    lanes = {lane.name: lane for lane in make_lanes(recording, report, opened.index)}
    assert [s.label for s in lanes["KHO and LUO"].spans][-1] == "freeze files, 2 calls"
    assert "write down sessions" in str(story(report, 0))
    assert "· freeze files, 2 calls" in str(phases(report, 0))
    assert 'step="freeze files"' in openmetrics(report)
    assert main(["stats", str(session), "--phase", "freeze files"]) == 0
    rows = Tables(recording).table("kho_steps").to_pylist()
    assert [row["phase"] for row in rows] == ["", "reboot call", "liveupdate", "liveupdate"]


def test_nothing_was_probed(tmp_path: Path) -> None:
    assert report_of(tmp_path, way_out()).kho_steps == ()
