"""Trees of a warm reboot: a stock kernel's carve-out, which the next kernel attached again."""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path

from tests.support.bpf_records import common
from tracekit.ftrace.ring.layout import parse_layout

ADDRESS, SIZE = 0x70000000, 8 << 20
COMMAND = (
    "console=ttyS0 memmap=8M$0x70000000 memmap=8M$0x70800000 "
    "trace_instance=tk^traceoff@0x70000000:8M"
)
GRUB = 0x72
PRINT = 5  # the id of ftrace:print


def _region(trees: Path) -> bytearray:
    with (trees / "new/dev/mem").open("rb") as memory:
        memory.seek(ADDRESS)
        return bytearray(memory.read(SIZE))


def recorded_on(region: bytearray, cpu: int, stamp: int, text: str) -> int:
    """One ``ftrace:print`` at the begin of the sub-buffer that the old kernel was writing.

    There a kernel that attaches the buffer again goes on. Returns the address of the sub-buffer.
    """
    page = parse_layout(bytes(region), "region").cpus[cpu].pages[-1]
    payload = common(PRINT, pid=1) + struct.pack("<Q", 0) + text.encode() + b"\n\0"
    payload += bytes(-len(payload) % 4)
    event = struct.pack("<I", len(payload) // 4) + payload
    struct.pack_into("<QQ", region, page, stamp, len(event))
    region[page + 16 : page + 16 + len(event)] = event
    return page


def rebooted(trees: Path, where: Path, *, on: tuple[int, int] | None = None) -> Path:
    """The tree of the kernel after a warm reboot, made of that after a kexec in ``trees``.

    ``on`` is (CPU, stamp) of an event that it recorded on top.
    """
    region = _region(trees)
    shutil.copytree(trees / "new", where, ignore=shutil.ignore_patterns("mem"))
    (where / "proc/cmdline").write_text(f"{COMMAND}\n")
    log = (where / "dmesg").read_text()
    (where / "dmesg").write_text(re.sub("Command line: .*", f"Command line: {COMMAND}", log))
    parameters = where / "sys/kernel/boot_params/data"
    raw = bytearray(parameters.read_bytes())
    raw[0x210] = GRUB
    parameters.write_bytes(raw)
    if on is not None:
        recorded_on(region, *on, "the next kernel")
    with (where / "dev/mem").open("wb") as memory:
        memory.seek(ADDRESS)
        memory.write(region)
        memory.truncate(ADDRESS + 2 * SIZE)
    return where
