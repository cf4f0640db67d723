"""Scripts for the lab's guests, and running them."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

import tracekit
from tracekit.carriers.carrier import Way
from tracekit.errors import LabError
from tracekit.lab import grub, images, kernels
from tracekit.lab.console import Line
from tracekit.lab.machine import BASE_CMDLINE, CMDLINE, Plan, Result, run
from tracekit.lab.store import lab_directory
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter

__all__ = [
    "BASE_CMDLINE",
    "CMDLINE",
    "NEW",
    "OLD",
    "STOCK",
    "STOCK_NEW",
    "found_marks",
    "grub_root",
    "grub_run",
    "guest_run",
    "handover",
    "knows_the_way",
    "marks_on_cpus",
    "need_guests",
    "need_kernel",
    "record",
    "unmet",
]


def _version(series: str) -> str:
    """The lab's newest kernel of a series; the series itself where it has none."""
    try:
        return kernels.choose(series, kernels.available(lab_directory()))
    except LabError:
        return series


OLD, NEW = _version("7.2"), _version("7.3")
#: Debian's own kernels, as the lab calls them.
STOCK, STOCK_NEW = "debian:trixie", "debian:trixie-backports"
SESSION = "/var/lib/tracekit/session"

#: Shell functions that every script begins with.
PRELUDE = f"""
export S={SESSION} TK=/sys/kernel/tracing/instances/tk
mkdir -p /var/lib/tracekit
fail() {{ echo "FAILED: $*"; exit 1; }}
# record OPTIONS...: a recorder in the background, armed when this returns
record() {{
    tracekit record -v -o $S "$@" 2>/tmp/record.log &
    recorder=$!
    until grep -q '^recording into' /tmp/record.log; do
        kill -0 $recorder || {{ cat /tmp/record.log; fail "the recorder ended"; }}
        sleep 0.2
    done
    cat /tmp/record.log
}}
# interrupt: Ctrl-C for the recorder
interrupt() {{
    kill -INT $recorder
    wait $recorder || {{ cat /tmp/record.log; fail "the recorder ended badly"; }}
}}
# marks WORD FILE: 23 markers
marks() {{ for i in $(seq 23); do echo "$1 $i" > "$2"; done; }}
# refused WORDS...: recover must find nothing and say why
refused() {{
    status=0
    tracekit recover "$@" >/tmp/said 2>&1 || status=$?
    sed 's/^/SAID: /' /tmp/said
    [ $status = 5 ] || fail "recover ended with $status"
}}
"""


def record(*options: str) -> str:
    """The command that arms a recorder in the background."""
    return f"record {' '.join(options)}\n"


def handover(kernel: str, *options: str) -> str:
    """The command that hands over to another of the lab's kernels."""
    return (
        f"tracekit handover --kernel /boot/vmlinuz-{kernel} --initrd /boot/initrd -o $S "
        f"{' '.join(options)}\n"
    )


def marks_on_cpus(count: int, cpus: int = 2) -> str:
    """The command that writes so many markers on each CPU, for :func:`found_marks`."""
    file = "/sys/kernel/tracing/instances/tk/trace_marker"
    write = f'for i in $(seq {count}); do echo "on-cpu $0 $i" > {file}; done'
    each = " ".join(str(cpu) for cpu in range(cpus))
    return f"for cpu in {each}; do taskset -c $cpu sh -c '{write}' $cpu; done\n"


def found_marks(session: Path, boot: int = 0) -> dict[int, list[int]]:
    """CPU -> the numbers of its markers in a boot's record, in the order of the record."""
    recording = tracekit.open(session)
    wanted = Filter(events=("ftrace:print",), boots=frozenset({boot}))
    found: dict[int, list[int]] = {}
    for text in recording.table(recording.select(wanted))["args"].to_pylist():
        if match := re.search(r"on-cpu (\d+) (\d+)", text):
            found.setdefault(int(match[1]), []).append(int(match[2]))
    return found


def knows_the_way(recording: Recording, way: Way) -> None:
    """Check that the report has the way down, the clock and, of a kexec, all phases and the gap."""
    report = recording.report()
    (jump,) = report.handovers
    assert jump.way.name == way
    assert report.boots[0].clock == "x86-tsc"
    if way == "kexec":
        assert jump.gap_ns is not None
        assert jump.gap_error_ns is not None
        assert "machine_kexec" in [e for e in report.last_events if e.cpu == 0][-1].event
        names = {phase.name.split(":")[0] for phase in report.phases}  # the dark part may be split
        assert names >= {"device shutdown", "machine_kexec", "dark"}


def unmet() -> str | None:
    """What is missing to run guests here, None when nothing is."""
    for tool in ("qemu-system-x86_64", "mke2fs", "busybox"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    lab = lab_directory()
    try:
        there = kernels.available(lab)
        for series in ("7.2", "7.3"):
            kernels.choose(series, there)
    except LabError as error:
        return str(error)
    if not images.root_image_path(lab).exists():
        return "the lab's root image is not built"
    return None


def need_guests() -> None:
    """Skip, loudly, where no guest can run; where ready kernels are named that is a failure."""
    if reason := unmet():
        _leave_out(reason)


def _leave_out(reason: str) -> NoReturn:
    message = f"NOT RUN, a real handover: {reason}\n'make lab' makes what is missing"
    if os.environ.get("TRACEKIT_LAB_KERNELS"):
        pytest.fail(message)
    pytest.skip(message)


def need_kernel(name: str) -> kernels.Kernel:
    """A kernel of the lab, stock ones too; without it as :func:`need_guests`."""
    try:
        return kernels.find(name, lab_directory())
    except LabError as error:
        _leave_out(str(error))


def guest_run(plan: Plan, base: Path, watch: Callable[[Line], None] = lambda line: None) -> Result:
    """Run the plan's scripts, each behind the prelude; its results lie below ``base``.

    Once more where the guest's kernel broke down: under emulation a stock one does so now and then,
    when it patches its own code as it boots.
    """
    need_guests()
    plan = replace(plan, scripts=tuple(f"{PRELUDE}\n{script}" for script in plan.scripts))
    try:
        return run(plan, Path(tempfile.mkdtemp(dir=base)) / "out", watch)
    except LabError as error:
        if not str(error).startswith("the guest broke down"):
            raise
        print(f"ONCE MORE, {error}", file=sys.__stderr__)
    return run(plan, Path(tempfile.mkdtemp(dir=base)) / "out", watch)


#: A menu on the serial line that boots at once, and the lab's command line.
_GRUB_DEFAULTS = f"""GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_TERMINAL=serial
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="{BASE_CMDLINE}"
"""


def grub_root(base: Path, kernel: str) -> Path:
    """A root directory with a kernel of the lab and GRUB's defaults, not yet with a menu.

    ``etc/default/grub.d`` is there to be written to, by a test or by ``setup --apply --root``.
    """
    root = Path(tempfile.mkdtemp(dir=base)) / "root"
    grub.install_kernel(root, need_kernel(kernel))
    (root / "etc" / "default" / "grub.d").mkdir(parents=True)
    (root / "etc" / "default" / "grub").write_text(_GRUB_DEFAULTS)
    return root


def grub_run(root: Path, plan: Plan, base: Path) -> Result:
    """As :func:`guest_run`, booted from a disk with ``root`` on it through GRUB.

    Again after each reboot. The menu, ``root/boot/grub/grub.cfg``, is made by grub-mkconfig.
    """
    grub.grub_mkconfig(root)
    disk = grub.grub_disk(root, root.with_name("grub.img"))
    return guest_run(replace(plan, disk=disk, restarts=True), base)
