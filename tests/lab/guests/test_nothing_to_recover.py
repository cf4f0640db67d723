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
SECOND = "/var/lib/tracekit/second"


def jump(kernel: str, cmdline: str) -> str:
    """Record, then jump by hand to a kernel with exactly this command line."""
    return f"""
record --no-bpf
kexec -s -l /boot/vmlinuz-{kernel} --initrd=/boot/initrd --append="{BASE_CMDLINE} {cmdline}"
kill -USR1 $recorder
until grep -q '"released": true' /run/tracekit-armed-0.json; do sleep 0.2; done
kexec -e
"""


RECOVER = 'tracekit recover 2>&1 | sed "s/^/SAID $(cat /lab/boot): /"\n'


def said(result: Result, boot: int = 1) -> str:
    """What recover said in a boot."""
    prefix = f"SAID {boot}: "
    lines = [line.text for line in result.console if line.text.startswith(prefix)]
    return " ".join(line.removeprefix(prefix) for line in lines)


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """First a kernel without KHO, then one whose successor is not told of the regions."""
    armed = f"kho=on {REGIONS} trace_instance=tk^traceoff@tkB {SESSION}"
    scripts = (
        jump(NEW, armed),
        f"{RECOVER}S={SECOND}\n{jump(OLD, f'kho=on tracekit.session={SECOND}')}",
        RECOVER,
    )
    plan = Plan(OLD, scripts, cmdline=CMDLINE.replace("kho=on", "kho=off"))
    return guest_run(plan, tmp_path_factory.mktemp("forgetful"))


def test_a_kernel_without_kho(forgetful: Result) -> None:
    """The old kernel hands nothing on. ``record`` warned; whether the memory lasts is luck."""
    session = Session.open(forgetful.output / "session")
    assert "record-not-kept" in {entry.diagnostic.code for entry in session.manifest.diagnostics}
    if "/regions/tkA.raw" in " ".join(session.list("boots/0/")):
        assert "nothing that is known has kept its memory" in said(forgetful)
    else:
        assert "kho=off" in said(forgetful)
        assert "kho=on" in said(forgetful)  # what to do


def test_a_region_the_new_kernel_does_not_reserve(forgetful: Result) -> None:
    """KHO keeps the memory all the same: it is recovered, with a remark."""
    assert "reserve_mem" in said(forgetful, 2)
    report = tracekit.open(forgetful.output / "second").report()
    assert report.boots[0].events > 100 and report.boots[0].lost == 0


@pytest.mark.matrix
def test_a_region_the_new_kernel_attached_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Restoring the clock wipes CPU 0: the rest is recovered, and the hole is named."""
    again = f"kho=on {REGIONS} trace_instance=tk@tkA {SESSION}"
    scripts = (jump(NEW, again), RECOVER)
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
    scripts = (jump(NEW, again), RECOVER)
    result = guest_run(Plan(OLD, scripts), tmp_path_factory.mktemp("wiped"))
    assert "trace_instance=tk@tkA on its command line" in said(result)
    report = tracekit.open(result.output / "session").report()
    assert not report.complete
    cpus = {cpu.cpu: cpu.events for cpu in report.boots[0].cpus}
    assert cpus[1] > 0 and not cpus.get(0)
    assert report.boots[1].events > 0
