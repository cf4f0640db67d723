"""Through the real GRUB: what grub-mkconfig makes of a carve-out, and what the kernel then gets.

One run: the machine boots from a disk, records, restarts through the firmware and GRUB, and the
record is there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tracekit
from tests.support.guest import STOCK, grub_root, grub_run, need_kernel, record
from tracekit.lab.grub import grub_mkconfig
from tracekit.lab.machine import Plan, Result
from tracekit.timeline.filter import Filter

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]

INSTANCE = "trace_instance=tk^traceoff@0x70000000:8M"
BOOT0 = f"""
cp /proc/cmdline /var/lib/tracekit/cmdline
grep '^70000000-' /proc/iomem > /var/lib/tracekit/iomem
{record("--no-bpf", "--events handover")}
marks before $TK/trace_marker
sync
reboot -f
"""
BOOT1 = """
cp /proc/cmdline /var/lib/tracekit/cmdline-after
tracekit recover $S
"""


def write(root: Path, backslashes: int) -> None:
    """A grub.d file with a carve-out whose ``$`` has so many backslashes before it."""
    words = f"memmap=16M{chr(92) * backslashes}$0x70000000 {INSTANCE}"
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
    return grub_run(root, Plan(STOCK, (BOOT0, BOOT1)), base)


def test_the_kernel_gets_the_dollar(result: Result) -> None:
    for name in ("cmdline", "cmdline-after"):
        words = (result.output / name).read_text().split()
        assert words[0].startswith("BOOT_IMAGE=/boot/vmlinuz-")
        assert {"memmap=16M$0x70000000", INSTANCE} <= set(words)
    assert (result.output / "iomem").read_text() == "70000000-70ffffff : Reserved\n"


def test_the_record_survives_firmware_and_grub(result: Result) -> None:
    recording = tracekit.open(result.output / "session")
    wanted = Filter(events=("ftrace:print",), boots=frozenset({0}))
    texts = recording.table(recording.select(wanted))["args"].to_pylist()
    found = [m for m in (re.search(r"\bbefore (\d+)", text) for text in texts) if m]
    assert [int(m[1]) for m in found] == list(range(1, 24))
    assert recording.report().boots[0].release == need_kernel(STOCK).release
