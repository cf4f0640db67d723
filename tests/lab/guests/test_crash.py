"""Panics with ordinary tracing on: what setup installed saves a session in the crash kernel.

Once a stock Debian kernel under systemd, by sysrq, whose crash kernel starts one unit alone, as
that of kdump-tools does; once a lab kernel, by an NMI that QEMU injects, in whose crash kernel the
scripts of Fedora's kdump are run, with a recorder's region besides.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest

import tracekit
from tests.support.guest import BASE_CMDLINE, CMDLINE, OLD, STOCK, found_marks, guest_run, record
from tests.support.guests.monitor import order
from tests.support.memory.trace_lines import lines
from tests.support.waiting import HANG
from tracekit.cli import main
from tracekit.lab.console import Line
from tracekit.lab.machine import Plan, Result
from tracekit.lab.ways import CRASH_CMDLINE
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter

pytestmark = pytest.mark.lab

OUT = "/var/lib/tracekit"
#: The global buffer, an instance on another clock, markers on each CPU, and each kind of event that
#: is made at run time; then the kernel's own text and lists.
TRACE = f"""
cd /sys/kernel/tracing
echo 2048 > buffer_size_kb
echo 'p:mine/opened do_sys_openat2 how=%dx' >> dynamic_events
echo 'p:mine/user /lab/guest/busybox:0x1000 %ax' >> dynamic_events || echo 'no uprobes'
echo 's:late u64 ns; pid_t who' >> dynamic_events || echo 'no synthetic events'
mkdir instances/other
echo mono > instances/other/trace_clock
for e in sched irq; do echo 1 > events/$e/enable; done
echo 1 > instances/other/events/sched/sched_switch/enable
for cpu in 0 1; do
    taskset -c $cpu sh -c 'for i in $(seq 23); do echo "on-cpu $0 $i" > trace_marker; done' $cpu
done
cat dynamic_events > {OUT}/dynamic_events
cat trace > {OUT}/global.trace
cat instances/other/trace > {OUT}/other.trace
cat /proc/sys/kernel/random/boot_id > {OUT}/boot_id
"""


SYSRQ = "echo c > /proc/sysrq-trigger"
#: The NMI comes when the host sees this word; it goes to the boot CPU, whatever runs there.
WORD = "waiting for the NMI"
NMI = f"echo '{WORD}'\nsleep 60"
#: What each panic is for, how its story begins, and the task that it happens in, where one does.
PANICS = {
    "stock": ("sysrq triggered crash", "Kernel panic - not syncing: sysrq", "boot0"),
    "lab": ("NMI: Not continuing", "Uhhuh. NMI received for unknown reason", None),
}


def crash(kernel: str, down: str, more: str = "") -> str:
    return f"""
kexec -s -p /boot/vmlinuz-{kernel} --initrd=/boot/initrd --command-line='{CRASH_CMDLINE} {more}'
[ "$(cat /sys/kernel/kexec_crash_loaded)" = 1 ] || fail "no crash kernel is loaded"
{TRACE}
sync
{down}
"""


#: The unit that Debian's crash kernel is for: the lab's own stands for the one that makes the dump.
DEBIAN = f"""
cp /etc/systemd/system/tracekit-lab.service /etc/systemd/system/kdump-tools-dump.service
touch /etc/default/kdump-tools
tracekit setup --crash --apply
systemctl start tracekit-crash  # nothing to do here, and no reason to fail
{crash("$(uname -r)", SYSRQ, "systemd.unit=kdump-tools-dump.service")}
"""
#: As kdump.sh runs them, with the root file system where kdump's initramfs mounts it.
FEDORA = """
test -e /proc/vmcore || fail "this is no crash kernel"
mkdir -p /sysroot
mount --rbind / /sysroot
for script in /etc/kdump/pre.d/*; do "$script" || fail "$script"; done
"""


def text_of(session: Path, instance: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["events", str(session), "--instance", instance, "--format", "kernel"]) == 0
    return lines(capsys.readouterr().out)


def by_cpu(listed: list[str]) -> dict[str, list[str]]:
    """CPU -> its lines, in their order."""
    cpus: dict[str, list[str]] = {}
    for cpu, line in ((m[1], line) for line in listed if (m := re.search(r"\[(\d+)\]", line))):
        cpus.setdefault(cpu, []).append(line)
    return cpus


def covered(ours: list[str], saved: list[str]) -> dict[str, int]:
    """CPU -> how many lines of ``saved`` are there, one after the other from some line of it on.

    But for its last, which the kernel may have printed while it was still being written.
    """
    found = {}
    mine = by_cpu(ours)
    for cpu, theirs in by_cpu(saved).items():
        first = mine[cpu][0]
        begin = theirs.index(first) if first in theirs else 0
        start = mine[cpu].index(theirs[begin])
        part = theirs[begin:-1]
        assert mine[cpu][start : start + len(part)] == part
        found[cpu] = len(part)
    return found


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Result:
    cmdline = f"{BASE_CMDLINE} crashkernel=256M nr_cpus=2"
    saved = f"ls {OUT}/crash-*/manifest.json\n"  # before what would make the dump
    plan = Plan(STOCK, (DEBIAN, saved), cmdline=cmdline, systemd=True, panics=1, timeout=800)
    return guest_run(plan, tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Result:
    first = (
        "touch /etc/kdump.conf\n"
        "printf '#!/bin/sh\\n' > /usr/local/bin/kdumpctl; chmod +x /usr/local/bin/kdumpctl\n"
        "tracekit setup --crash --apply\n"
        f"{record('--no-bpf', '--events', 'handover')}"
        "for cpu in 0 1; do\n"
        "    taskset -c $cpu sh -c 'echo in-region $0 > $TK/trace_marker' $cpu\ndone\n"
        f"{crash(OLD, NMI)}"
    )
    cmdline = f"{CMDLINE} crashkernel=256M nr_cpus=2 unknown_nmi_panic"
    with tempfile.TemporaryDirectory(prefix="qmp") as place:
        qmp = Path(place) / "qmp"
        plan = Plan(OLD, (first, FEDORA), cmdline=cmdline, panics=1, qmp=qmp)

        def watch(line: Line) -> None:
            if line.text == WORD:
                order(qmp, "inject-nmi")

        return guest_run(plan, tmp_path_factory.mktemp("lab"), watch)


#: Under emulation a stock kernel takes ten minutes over it: `make lab-all`.
@pytest.fixture(params=[pytest.param("stock", marks=pytest.mark.matrix), "lab"])
def run(request: pytest.FixtureRequest) -> tuple[Result, Path]:
    """The run, and the one session in its output."""
    result: Result = request.getfixturevalue(request.param)
    (manifest,) = result.output.glob("*/manifest.json")
    return result, manifest.parent


def test_every_buffer_is_what_the_kernel_showed(
    run: tuple[Result, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Line for line where both cover; the dump's go on to the panic."""
    result, session = run
    for name in ("global", "other"):
        saved = lines((result.output / f"{name}.trace").read_text())
        ours = text_of(session, name, capsys)
        counts = covered(ours, saved)
        assert set(counts) == {"000", "001"} and min(counts.values()) > 40
        assert ours[-1] != saved[-1]
    ours = sorted(
        tracekit.open(session).session.read("boots/0/tracefs/dynamic_events").decode().splitlines()
    )
    theirs = sorted((result.output / "dynamic_events").read_text().splitlines())
    assert ours == theirs


def test_the_report_tells_of_the_panic(
    run: tuple[Result, Path], request: pytest.FixtureRequest
) -> None:
    _, session = run
    reason, first, task = PANICS[request.node.callspec.params["run"]]
    report = tracekit.open(session).report()
    assert [b.index for b in report.boots] == [0, 1]
    (jump,) = report.handovers
    assert (jump.way.name, jump.way.started_by) == ("panic", "crash kernel")
    (panic,) = report.panics
    assert (panic.boot, panic.reason) == (0, reason)
    assert panic.first.startswith(first)
    assert any("Call Trace" in line for line in panic.text)
    assert panic.cpu in (0, 1) and [c.cpu for c in panic.cpus] == [0, 1]
    (mine,) = (c for c in panic.cpus if c.panicked)
    assert mine.comm == task if task else (mine.cpu == 0 and mine.comm is not None)
    assert panic.error_ns is not None and panic.error_ns < 1_000_000
    assert panic.went_on_ns is not None and 0 <= panic.went_on_ns < HANG * 10**9
    last = {e.cpu: e for e in report.last_events}
    assert set(last) == {0, 1}


def test_the_markers_are_there_once(run: tuple[Result, Path]) -> None:
    _, session = run
    assert found_marks(session) == {cpu: list(range(1, 24)) for cpu in (0, 1)}


def test_the_region_and_the_same_buffer_are_one(lab: Result) -> None:
    """It is in the dead kernel's memory twice: as an instance, and as the recorder's region."""
    (manifest,) = lab.output.glob("*/manifest.json")
    recording: Recording = tracekit.open(manifest.parent)
    assert list(manifest.parent.glob("boots/0/regions/tkA.raw*"))
    texts = recording.table(recording.select(Filter(events=("ftrace:print",))))["args"].to_pylist()
    found = sorted(t.partition(": ")[2] for t in texts if "in-region" in t)
    assert found == ["in-region 0", "in-region 1"]


@pytest.mark.matrix
def test_a_boot_that_nobody_asked_to_be_saved(stock: Result) -> None:
    """A session of its own, in which the dead kernel is the first boot."""
    (manifest,) = stock.output.glob("crash-*/manifest.json")
    kernel = json.loads((manifest.parent / "boots/0/kernel.json").read_text())
    assert kernel["boot_id"] == (stock.output / "boot_id").read_text().strip()
    assert (
        "elfcorehdr="
        in json.loads((manifest.parent / "boots/1/kernel.json").read_text())["cmdline"]
    )
