"""Without BPF, on the local clock, from four CPUs to two."""

from __future__ import annotations

import pytest

import tracekit
from tests.lab.guest import BASE_CMDLINE, NEW, OLD, guest_run, handover
from tracekit.lab.machine import Plan, Result
from tracekit.timeline.report import Report

pytestmark = pytest.mark.xdist_group("lab")

APPEND = f'--append "{BASE_CMDLINE} nr_cpus=2"'
BOOT0 = handover(NEW, "--no-bpf", "--clock local", APPEND)
BOOT1 = """
nproc | sed 's/^/CPUS: /'
tracekit recover
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return guest_run(Plan(OLD, (BOOT0, BOOT1), cpus=4), tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="module")
def report(result: Result) -> Report:
    return tracekit.open(result.output / "session").report()


def test_all_four_cpus_are_there(result: Result, report: Report) -> None:
    assert "CPUS: 2" in [line.text for line in result.console]
    assert [cpu.cpu for cpu in report.boots[0].cpus] == [0, 1, 2, 3]
    assert report.boots[0].lost == 0
    assert [cpu.cpu for cpu in report.boots[1].cpus] == [0, 1]


def test_the_local_clocks_are_related(report: Report) -> None:
    assert [boot.clock for boot in report.boots] == ["local", "local"]
    jump = report.handovers[0]
    assert jump.gap_ns and jump.gap_error_ns
    assert 0 < jump.gap_ns < 60e9
    assert jump.gap_error_ns < 50_000_000


def test_kprobe_events_cover_the_phases(report: Report) -> None:
    seen = {p.name for p in report.phases if p.observed}
    for name in ("kexec load", "device shutdown", "CPUs stopped", "machine_kexec"):
        assert name in seen
    assert report.devices
    last = [e for e in report.last_events if e.cpu == 0][-1]
    assert last.event == "tracekit:machine_kexec"
