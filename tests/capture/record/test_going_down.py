"""On which ways down the record is left where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracekit.capture.record.going_down import survives_way_down
from tracekit.sysroot import Sysroot

CARVED = "memmap=16M$0x70000000 trace_instance=tk^traceoff@0x70000000:8M"
RESERVED = "kho=on reserve_mem=4M:2M:tkA trace_instance=tk^traceoff@tkA"
SHUTDOWN = "/usr/lib/systemd/systemd-shutdown"


@pytest.mark.parametrize(
    ("pid_one", "cmdline", "survives"),
    [
        (f"{SHUTDOWN}\0kexec\0--timeout\0", RESERVED, True),
        (f"{SHUTDOWN}\0kexec\0", CARVED, True),
        (f"{SHUTDOWN}\0reboot\0--timeout\0", CARVED, True),
        (f"{SHUTDOWN}\0reboot\0", RESERVED, False),
        (f"{SHUTDOWN}\0poweroff\0", CARVED, False),
        (f"{SHUTDOWN}\0halt\0", CARVED, False),
        ("/sbin/init\0splash\0", CARVED, False),
        ("/sbin/init\0kexec\0", RESERVED, False),
        ("", CARVED, False),
    ],
)
def test_what_survives(tmp_path: Path, pid_one: str, cmdline: str, survives: bool) -> None:
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/cmdline").write_text(pid_one)
    (tmp_path / "proc/cmdline").write_text(cmdline)
    assert survives_way_down(Sysroot(tmp_path), "tk") == survives
