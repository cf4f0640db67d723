"""Debian's stock kernel with a carve-out, booted through the real GRUB.

One run: the machine boots from a disk, records and restarts through the firmware and GRUB; records
again and panics into a crash kernel. After each the record is there, and nobody says where.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.guest import (
    STOCK,
    found_marks,
    grub_root,
    grub_run,
    marks_on_cpus,
    need_kernel,
)
from tracekit.carriers.carrier import Way
from tracekit.lab.grub import grub_mkconfig
from tracekit.lab.machine import Plan, Result
from tracekit.lab.ways import Journey, goodbye, recovery

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]

INSTANCE = "trace_instance=tk^traceoff@0x70000000:8M"
OUTPUT = "/var/lib/tracekit"


def journey(way: Way) -> Journey:
    """A way down that is recorded into a session of its name, with markers on both CPUs."""
    kernel = need_kernel(STOCK)
    record = ("--no-bpf", "--events", "handover")
    return Journey(
        kernel, kernel, "carveout", way, record=record, session=f"{OUTPUT}/{way}",
        while_recording=marks_on_cpus(23),
    )  # fmt: skip


def write(root: Path, backslashes: int) -> None:
    """A grub.d file with a carve-out whose ``$`` has so many backslashes before it."""
    words = f"memmap=16M{chr(92) * backslashes}$0x70000000 {INSTANCE} crashkernel=256M"
    text = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {words}"\n'
    (root / "etc/default/grub.d/tracekit.cfg").write_text(text)


@pytest.mark.parametrize(("backslashes", "there"), [(1, "16M$"), (3, "16M\\$")])
def test_what_reaches_the_menu(tmp_path: Path, backslashes: int, there: str) -> None:
    """The file's quotes take some away. GRUB reads the menu as a script, so it needs one left."""
    root = grub_root(tmp_path, STOCK)
    write(root, backslashes)
    menu = grub_mkconfig(root)
    entries = [line for line in menu.splitlines() if line.strip().startswith("linux")]
    assert len(entries) == 3  # plain, in the submenu, and for rescue
    for entry in entries:
        found = re.search(r"memmap=(16M.*?)0x70000000", entry)
        assert (found[1] if found else entry) == there


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    base = tmp_path_factory.mktemp("grub")
    root = grub_root(base, STOCK)
    write(root, 3)
    reboot, panic = journey("reboot"), journey("panic")
    seen = f"cp /proc/cmdline {OUTPUT}/cmdline-$(cat /lab/boot); cat /proc/iomem > {OUTPUT}/iomem\n"
    scripts = (
        f"{seen}{goodbye(reboot)}",
        f"{seen}{recovery(reboot)}{goodbye(panic)}",
        recovery(panic),
    )
    return grub_run(root, Plan(STOCK, scripts, panics=1, timeout=1500), base)


def test_the_kernel_gets_the_dollar(result: Result) -> None:
    for boot in (0, 1):
        words = (result.output / f"cmdline-{boot}").read_text().split()
        assert words[0].startswith("BOOT_IMAGE=/boot/vmlinuz-")
        assert {"memmap=16M$0x70000000", INSTANCE} <= set(words)
    assert "\n70000000-70ffffff : Reserved\n" in (result.output / "iomem").read_text()


@pytest.mark.parametrize("way", ["reboot", "panic"])
def test_every_marker_on_every_cpu_survives(result: Result, way: str) -> None:
    session = result.output / way
    assert found_marks(session) == {cpu: list(range(1, 24)) for cpu in (0, 1)}
