"""Debian's stock kernels with a carve-out, set up through the real GRUB: every way down in one run.

The machine boots from a disk with the menu that ``tracekit setup`` has brought about, records and
restarts through the firmware and GRUB; then a kexec to a newer kernel and back (one to the same
kernel is in test_iommu); then a panic into a crash kernel. After each the next kernel's
``tracekit recover`` has no argument.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import tracekit
from tests.support.guest import (
    STOCK,
    STOCK_NEW,
    found_marks,
    grub_root,
    grub_run,
    knows_the_way,
    marks_on_cpus,
    need_kernel,
)
from tracekit.carriers.carrier import Way
from tracekit.lab.grub import grub_mkconfig
from tracekit.lab.machine import Plan, Result
from tracekit.lab.ways import Journey, goodbye, recovery
from tracekit.recording import Recording

pytestmark = pytest.mark.lab

INSTANCE = "trace_instance=tk^traceoff@0x70000000:8M"
OUTPUT = "/var/lib/tracekit"
#: What each boot is left by, and for which kernel; the last one's is the crash kernel.
STEPS: tuple[tuple[str, Way, str], ...] = (
    ("reboot", "reboot", STOCK),
    ("newer", "kexec", STOCK_NEW),
    ("older", "kexec", STOCK),
    ("panic", "panic", STOCK),
)
MARKS = {cpu: list(range(1, 24)) for cpu in (0, 1)}


def set_up(root: Path) -> None:
    """What ``setup --apply`` writes for GRUB; the crash kernel's memory is the user's business."""
    words = [sys.executable, "-m", "tracekit", "setup", "--apply", "--root", root]
    more = ["--carrier", "carveout", "--address", "0x70000000", "--program", "/bin/true"]
    subprocess.run([*words, *more], check=True)
    defaults = root / "etc/default/grub"
    defaults.write_text(defaults.read_text().replace('LINUX="', 'LINUX="crashkernel=256M '))


def test_what_reaches_the_menu(tmp_path: Path) -> None:
    """The file's quotes take backslashes away. GRUB reads the menu as a script: one is left."""
    root = grub_root(tmp_path, STOCK)
    set_up(root)
    assert "memmap=16M\\\\\\$0x70000000" in (root / "etc/default/grub.d/tracekit.cfg").read_text()
    entries = [line for line in grub_mkconfig(root).splitlines() if re.match(r"\s*linux", line)]
    assert len(entries) == 3  # plain, in the submenu, and for rescue
    assert all("memmap=16M\\$0x70000000 " in entry for entry in entries)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    base = tmp_path_factory.mktemp("grub")
    root = grub_root(base, STOCK)
    set_up(root)
    journeys = [
        Journey(
            need_kernel(STOCK), need_kernel(to), "carveout", way, while_recording=marks_on_cpus(23),
            record=("--no-bpf", "--events", "handover"), session=f"{OUTPUT}/{name}",
        )
        for name, way, to in STEPS
    ]  # fmt: skip
    seen = f"cp /proc/cmdline {OUTPUT}/cmdline-$(cat /lab/boot); cat /proc/iomem > {OUTPUT}/iomem\n"
    scripts = [f"{seen}{goodbye(journeys[0])}"]
    for before, journey in pairwise(journeys):
        # the menu's crashkernel= is not the next kernel's: --append names all of its own
        leave = goodbye(journey).replace("nr_cpus=2'", "nr_cpus=2 crashkernel=256M'")
        scripts.append(f"{seen}{recovery(before)}{leave}")
    scripts.append(recovery(journeys[-1]))
    plan = Plan(STOCK, tuple(scripts), others=(STOCK_NEW,), panics=1, timeout=2400)
    return grub_run(root, plan, base)


def test_the_kernel_gets_the_dollar(result: Result) -> None:
    for boot in (0, 1):
        words = shlex.split((result.output / f"cmdline-{boot}").read_text())
        assert words[0].startswith("BOOT_IMAGE=/boot/vmlinuz-")
        assert {"memmap=16M$0x70000000", INSTANCE} <= set(words)
    assert "\n70000000-70ffffff : Reserved\n" in (result.output / "iomem").read_text()


@pytest.fixture(params=STEPS, ids=[name for name, _, _ in STEPS])
def step(request: pytest.FixtureRequest, result: Result) -> tuple[str, Way, Recording]:
    name, way, _ = request.param
    return name, way, tracekit.open(result.output / name)


def test_every_marker_on_every_cpu_survives(
    step: tuple[str, Way, Recording], result: Result
) -> None:
    assert found_marks(result.output / step[0]) == MARKS


def test_the_report_knows_the_way_and_the_clock(step: tuple[str, Way, Recording]) -> None:
    _, way, recording = step
    knows_the_way(recording, way)
