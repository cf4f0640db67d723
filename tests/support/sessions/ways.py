"""Records of ways down, made by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

from tests.support.bpf_records import BootFiles, common, format_text, printed, record
from tests.support.sessions.live import MS, START

CONSOLE = "tracefs/events/printk/console/format"
_CONSOLE_ID = 77


def console_format() -> str:
    """The format of ``printk:console``."""
    field = "__data_loc char[] msg;\toffset:8;\tsize:4;\tsigned:0;"
    return format_text("console", _CONSOLE_ID, [field], '"%s", __get_str(msg)')


def console(text: str) -> bytes:
    """The payload of a ``printk:console`` that prints ``text``."""
    raw = text.encode() + b"\0"
    return common(_CONSOLE_ID, pid=9) + struct.pack("<I", len(raw) << 16 | 12) + raw


def way(steps: Sequence[str]) -> list[tuple[int, bytes]]:
    """Printed probe records, 1 ms apart; a step is ``FUNCTION`` or ``reboot COMMAND`` (hex)."""
    events = []
    for n, step in enumerate(steps):
        name, _, command = step.partition(" ")
        values = [int(command, 16)] if command else []
        one = record(f"kexec:{name}", n, START + n * MS, values=values)
        events.append((one.ns, printed(one)))
    return events


def next_boot(loader: int | None = None, cmdline: str = "") -> BootFiles:
    """The kernel after it, of which only its own description is known."""
    kernel = {"release": "7.1.0", "known": True, "cpus": 1, "page_size": 4096,
              "boot_loader": loader, "cmdline": cmdline}  # fmt: skip
    return BootFiles(files={"kernel.json": json.dumps(kernel)})
