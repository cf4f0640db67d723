"""Handovers that went wrong: each has its own explanation, from evidence."""

from __future__ import annotations

import pytest

import tracekit
from tests.support.guest import BASE_CMDLINE, CMDLINE, NEW, OLD, guest_run
from tracekit.lab.machine import Plan, Result
from tracekit.session import Session

pytestmark = pytest.mark.lab

REGIONS = "reserve_mem=4M:2M:tkA reserve_mem=4M:2M:tkB"
SESSION = "tracekit.session=/var/lib/tracekit/session"


def jump(cmdline: str) -> str:
    """Record, then jump by hand to a kernel with exactly this command line."""
    return f"""
record --no-bpf
kexec -s -l /boot/vmlinuz-{NEW} --initrd=/boot/initrd --append="{BASE_CMDLINE} {cmdline}"
kill -USR1 $recorder
sleep 5
kexec -e
"""


def said(result: Result) -> str:
    lines = [line.text for line in result.console if line.text.startswith("SAID: ")]
    return " ".join(line.removeprefix("SAID: ") for line in lines)


def test_a_kernel_without_kho(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The old kernel hands nothing on. ``record`` warned; whether the memory lasts is luck."""
    recover = "tracekit recover 2>&1 | sed 's/^/SAID: /'\n"
    scripts = (jump(f"kho=on {REGIONS} {SESSION}"), recover)
    plan = Plan(OLD, scripts, cmdline=CMDLINE.replace("kho=on", "kho=off"))
    result = guest_run(plan, tmp_path_factory.mktemp("off"))
    session = Session.open(result.output / "session")
    assert "record-not-kept" in {entry.diagnostic.code for entry in session.manifest.diagnostics}
    if "/regions/tkA.raw" in " ".join(session.list("boots/0/")):
        assert "nothing that is known has kept its memory" in said(result)
    else:
        assert "kho=off" in said(result)
        assert "kho=on" in said(result)  # what to do


def test_a_region_the_new_kernel_does_not_reserve(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """KHO keeps the memory all the same: it is recovered, with a remark."""
    scripts = (jump(f"kho=on {SESSION}"), "tracekit recover 2>&1 | sed 's/^/SAID: /'\n")
    result = guest_run(Plan(OLD, scripts), tmp_path_factory.mktemp("missing"))
    assert "reserve_mem" in said(result)
    report = tracekit.open(result.output / "session").report()
    assert report.boots[0].events > 100 and report.boots[0].lost == 0


def test_a_region_the_new_kernel_attached_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Restoring the clock wipes CPU 0: the rest is recovered, and the hole is named."""
    again = f"kho=on {REGIONS} trace_instance=tk@tkA {SESSION}"
    scripts = (jump(again), "tracekit recover 2>&1 | sed 's/^/SAID: /'\n")
    result = guest_run(Plan(OLD, scripts), tmp_path_factory.mktemp("again"))
    assert "CPU 0" in said(result)
    report = tracekit.open(result.output / "session").report()
    assert not report.complete
    cpus = {cpu.cpu: cpu.events for cpu in report.boots[0].cpus}
    assert cpus[1] > 0 and not cpus.get(0)


def test_a_region_the_new_kernel_records_into(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """CPU 0's buffer is reset; on the other one the new kernel's events follow the old one's."""
    again = f"kho=on {REGIONS} trace_instance=tk@tkA,sched:sched_switch {SESSION}"
    scripts = (jump(again), "tracekit recover 2>&1 | sed 's/^/SAID: /'\n")
    result = guest_run(Plan(OLD, scripts), tmp_path_factory.mktemp("wiped"))
    assert "trace_instance=tk@tkA on its command line" in said(result)
    report = tracekit.open(result.output / "session").report()
    assert not report.complete
    cpus = {cpu.cpu: cpu.events for cpu in report.boots[0].cpus}
    assert cpus[1] > 0 and not cpus.get(0)
    assert report.boots[1].events > 0
