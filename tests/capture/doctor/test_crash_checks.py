"""doctor where kdump is installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import old_machine
from tracekit.capture.cmdline.crash import install_crash, plan_crash
from tracekit.capture.doctor.check import Check
from tracekit.capture.doctor.examine import examine
from tracekit.sysroot import Sysroot

DEBIAN, FEDORA = "etc/default/kdump-tools", "etc/kdump.conf"


def found(root: Path) -> list[Check]:
    return [c for c in examine(Sysroot(root), "/S") if c.id == "crash-dump"]


def machine(tmp_path: Path, **files: str) -> Path:
    content = {rel: text.encode() for rel, text in files.items()}
    return replace(old_machine(), files=content).write(tmp_path / "root")


@pytest.mark.parametrize(
    ("files", "do"),
    [
        ({DEBIAN: "USE_KDUMP=1\n"}, 'MAKEDUMP_ARGS="-c -d 23"'),
        ({FEDORA: "core_collector makedumpfile -d 8\n"}, "core_collector makedumpfile"),
    ],
)
def test_a_level_that_loses_buffers(tmp_path: Path, files: dict[str, str], do: str) -> None:
    """Unless the crash kernel saves them itself."""
    root = machine(tmp_path, **files)
    (check,) = found(root)
    assert check.state == "warning" and do in check.remedy and "setup --crash" in check.remedy
    install_crash(root, plan_crash(root, command="/usr/bin/tracekit"))
    (check,) = found(root)
    assert (check.state, check.remedy) == ("ok", "") and "saves the trace buffers" in check.found


def test_what_keeps_them(tmp_path: Path) -> None:
    root = machine(tmp_path, **{DEBIAN: 'MAKEDUMP_ARGS="-d 23"\n', FEDORA: "core_collector scp\n"})
    assert [c.state for c in found(root)] == ["ok", "ok"]
    assert "copies of all memory" in found(root)[1].found


def test_no_kdump_no_line(tmp_path: Path) -> None:
    assert found(machine(tmp_path)) == []
