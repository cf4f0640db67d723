"""Three kernels in a row, the first and the last newer than the one between: one session."""

from __future__ import annotations

import pytest

import tracekit
from tests.support.guest import NEW, OLD, guest_run, handover
from tracekit.lab.machine import Plan, Result
from tracekit.timeline.filter import Filter

pytestmark = pytest.mark.lab

BOOT0 = handover(OLD)
BOOT1 = f"""
tracekit recover
{handover(NEW, "--no-bpf")}
"""
BOOT2 = """
tracekit recover
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return guest_run(Plan(NEW, (BOOT0, BOOT1, BOOT2)), tmp_path_factory.mktemp("chain"))


def test_three_kernels_make_one_session(result: Result) -> None:
    recording = tracekit.open(result.output / "session")
    report = recording.report()
    assert [boot.release for boot in report.boots] == [NEW, OLD, NEW]
    assert report.common_clock
    assert report.complete, report.diagnostics
    assert [(h.old, h.new) for h in report.handovers] == [(0, 1), (1, 2)]
    for jump in report.handovers:
        assert jump.gap_ns and jump.blackout_ns and jump.gap_ns < jump.blackout_ns
    for boot, event in enumerate(("kexec:machine_kexec", "tracekit:machine_kexec")):
        wanted = Filter(events=(event,), boots=frozenset({boot}))
        assert len(recording.select(wanted)) == 1
        last = recording.rows.boot == boot
        names = recording.table(last.nonzero()[0][-1:], args=False)["event"].to_pylist()
        assert names == [event]


def test_both_regions_were_recovered(result: Result) -> None:
    files = {p.name for p in (result.output / "session" / "boots").rglob("*.raw.zst")}
    assert {"tkA.raw.zst", "tkB.raw.zst"} <= files
