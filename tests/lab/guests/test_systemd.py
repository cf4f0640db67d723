"""A guest that runs systemd: set up once, and a plain ``systemctl kexec`` leaves a session."""

from __future__ import annotations

from itertools import pairwise

import pytest

import tracekit
from tests.support.guest import NEW, OLD, guest_run
from tracekit.lab.machine import Plan, Result
from tracekit.recording import Recording
from tracekit.report.make import Report
from tracekit.report.phases import Phase
from tracekit.timeline.filter import Filter

pytestmark = pytest.mark.lab

#: 'await WHAT COMMAND...': until the command succeeds, for four minutes at most.
AWAIT = """
await() {
    what=$1; shift; tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 480 ] || { journalctl -b --no-pager -u 'tracekit-*'; fail "$what"; }
        sleep 0.5
    done
}
said() { journalctl -b --no-pager -o cat -u "$1" | grep -q "^$2"; }
loaded() { [ "$(cat /sys/kernel/kexec_loaded)" = 1 ]; }
saved() { [ -s "$(echo /var/lib/tracekit/*/boots/1/systemd.json)" ]; }
"""
BOOT0 = f"""{AWAIT}
tracekit setup --apply --kernel /boot/vmlinuz-{NEW} --initrd /boot/initrd
await "the recorder is not armed" said tracekit-record 'recording into'
await "the next kernel is not loaded" loaded
echo JUMP
systemctl kexec
"""
#: Nothing recovers by hand; stopping the recorder of this boot makes the session hold still.
BOOT1 = f"""{AWAIT}
await "nothing was recovered" saved
await "this boot is not recorded" said tracekit-record 'recording into'
systemctl stop tracekit-record
cat /sys/kernel/tracing/instances/tk/tracing_on > /var/lib/tracekit/tracing_on
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    plan = Plan(OLD, (BOOT0, BOOT1), systemd=True)
    return guest_run(plan, tmp_path_factory.mktemp("systemd"))


@pytest.fixture(scope="module")
def recording(result: Result) -> Recording:
    (session,) = (path for path in result.output.iterdir() if path.is_dir())
    return tracekit.open(session)


@pytest.fixture(scope="module")
def report(recording: Recording) -> Report:
    return recording.report()


def phase(report: Report, name: str) -> tuple[Phase, int, int]:
    """The one phase of that name, its begin and its end."""
    (found,) = (p for p in report.phases if p.name == name)
    assert found.observed and found.start_ns is not None and found.duration_ns is not None
    return found, found.start_ns, found.start_ns + found.duration_ns


def test_the_units_recovered_the_session(
    result: Result, recording: Recording, report: Report
) -> None:
    assert [b.release for b in report.boots] == [OLD, NEW]
    old = report.boots[0]
    assert old.events > 0 and (old.lost, old.lost_at_least, old.unreadable) == (0, False, 0)
    assert report.complete, report.diagnostics
    # Stopped by systemd, the new boot's recorder has fetched its record and put everything back.
    assert recording.has_event("sched:sched_switch", 1)  # only the instance records it
    assert (result.output / "tracing_on").read_text() == "0\n"


def test_the_probes_lived_until_the_jump(recording: Recording, report: Report) -> None:
    assert recording.session.json("boots/0/bpf.json")["mode"] == "bpf"
    last = [e for e in report.last_events if e.cpu == 0][-1]
    assert (last.event, last.ts_ns) == ("kexec:machine_kexec", 0)
    jump = recording.table(recording.select(Filter(events=("kexec:machine_kexec",))))
    assert jump["source"].to_pylist() == ["bpf"]
    pci = [d for d in report.devices if d.driver == "virtio-pci"]
    assert len(pci) == 4  # three disks and a random number generator
    assert all(d.finished and d.bus_master is False for d in pci)


def test_systemds_part_of_the_shutdown(report: Report) -> None:
    _, begin, stopped = phase(report, "systemd: stopping units")
    down, executed, ended = phase(report, "systemd-shutdown")
    _, called, _ = phase(report, "reboot call")
    assert begin < stopped == executed < ended == called < 0
    assert down.boot == 0 and not down.in_blackout
    names = ["systemd: stopping units", "systemd-shutdown", "reboot call"]
    order = [p.name for p in report.phases]
    assert [order.index(n) for n in names] == sorted(order.index(n) for n in names)


def test_systemds_part_of_the_boot(report: Report) -> None:
    up, begin, end = phase(report, "systemd: starting units")
    _, _, user = phase(report, "first user process")
    assert 0 < user == begin < end
    assert up.boot == 1 and not up.in_blackout
    units = [u for u in report.units if u.boot == 1]
    assert "tracekit-recover.service" in {u.name for u in units}
    assert all(a.duration_ns >= b.duration_ns >= 0 for a, b in pairwise(units))
    assert units[0].duration_ns > 0
    starts = [u.start_ns for u in units[:10]]
    assert all(start is not None and begin < start < end for start in starts)
