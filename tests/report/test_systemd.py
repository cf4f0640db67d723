"""systemd's part of the shutdown and of the boot."""

from __future__ import annotations

from pathlib import Path

import pytest

import tracekit
from tests.support.bpf_records import FORMATS, mark, write_session
from tests.support.sessions.live import MS, START, report_of, systemd_boots, way_out
from tracekit.cli import main


@pytest.mark.parametrize(
    ("evidence", "begin"),
    [((True, True, True), 22 * MS), ((False, True, True), 21 * MS), ((False, False, True), 20 * MS),
     ((False, False, False), None)],
)  # fmt: skip
def test_systemds_part_of_the_shutdown(
    evidence: tuple[bool, bool, bool], begin: int | None, tmp_path: Path
) -> None:
    report = tracekit.open(write_session(tmp_path / "s", systemd_boots(*evidence))).report()
    named = {p.name: p for p in report.phases}
    stopping, final = named["systemd: stopping units"], named["systemd-shutdown"]
    assert (stopping.observed, final.duration_ns) == (begin is not None, START - 45 * MS)
    if begin is not None:
        assert stopping.duration_ns == 45 * MS - begin
        assert stopping.start_ns + stopping.duration_ns == final.start_ns
    reboot = named["reboot call"]
    assert final.start_ns + final.duration_ns == reboot.start_ns
    assert not stopping.in_blackout and not final.in_blackout and reboot.in_blackout


def test_systemds_part_of_the_boot_and_its_slowest_units(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_session(tmp_path / "s", systemd_boots())
    report = tracekit.open(path).report()
    assert [(u.name, u.duration_ns) for u in report.units] == [
        ("slow.service", 40 * MS), ("quick.service", MS),
    ]  # fmt: skip
    starting = next(p for p in report.phases if p.name == "systemd: starting units")
    # no clock relates the two boots, so only durations within one are known
    assert (starting.boot, starting.duration_ns) == (1, 80 * MS)
    assert main(["report", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Slowest systemd units" in out
    assert "slow.service" in out


@pytest.mark.parametrize("name", ["ts_ns", "pid", "common_ts_ns"])
def test_arguments_may_be_called_as_columns_are(name: str, tmp_path: Path) -> None:
    boots = systemd_boots(shutdown=False, marked=False)
    rel = "events/sched/sched_process_exec/format"
    text = FORMATS[f"sys/kernel/tracing/{rel}"].replace("pid_t pid;", f"__data_loc char[] {name};")
    boots[0].files[f"tracefs/{rel}"] = text
    report = tracekit.open(write_session(tmp_path / "s", boots)).report()
    phase = next(p for p in report.phases if p.name == "systemd: stopping units")
    assert phase.duration_ns == 25 * MS


def test_without_systemd_there_are_no_phases_of_it(tmp_path: Path) -> None:
    report = report_of(tmp_path, way_out(), systemd_json={"manager": 7, "units": {"a": 1}})
    assert not [p for p in report.phases if "systemd" in p.name]
    assert report.units == ()


def test_units_without_a_related_clock_have_no_start(tmp_path: Path) -> None:
    units = [{"id": "a.service", "inactive_exit": 1, "active_enter": 2}]
    (unit,) = report_of(tmp_path, [(START, mark("x"))], systemd_json={"units": units}).units
    assert (unit.start_ns, unit.duration_ns) == (None, 1000)
