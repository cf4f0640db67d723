"""A session of a 32-bit kernel: said, and nothing decoded as if it were a 64-bit one's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tracekit
from tests.support.machine_trees import HEADER_PAGE, new_machine, old_machine
from tracekit.capture.recover.recover import recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.sysroot import Sysroot


def test_a_32_bit_kernel(tmp_path: Path) -> None:
    narrow = HEADER_PAGE.replace("commit;\toffset:8;\tsize:8", "commit;\toffset:8;\tsize:4")
    assert narrow != HEADER_PAGE
    files = {"sys/kernel/tracing/events/header_page": narrow.encode()}
    snapshot(Sysroot(replace(old_machine(), files=files).write(tmp_path / "old")), tmp_path / "S")
    recover(Sysroot(new_machine().write(tmp_path / "new")), tmp_path / "S")
    recording = tracekit.open(tmp_path / "S")
    (remark,) = [d for d in recording.diagnostics if d.code == "kernel-32-bit"]
    assert remark.severity == "error" and "64-bit little-endian" in remark.message
