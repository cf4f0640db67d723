"""When what is handed over was preserved, written down and taken up again."""

from __future__ import annotations

from pathlib import Path

from tests.support.bpf_records import printed, record
from tests.support.sessions.live import MS, START, US, report_of, way_out
from tracekit.cli.printed.kho import step_table


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


def test_nothing_was_probed(tmp_path: Path) -> None:
    assert report_of(tmp_path, way_out()).kho_steps == ()
