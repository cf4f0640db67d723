"""Sessions recovered from the captures of the tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.unpack import unpack

__all__ = ["recovered", "wide"]

_CAPTURES = Path(__file__).parent.parent / "tests" / "captures"
_TRACEKIT = [sys.executable, "-m", "tracekit", "-q"]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def recovered(tree: Path, where: Path) -> Path:
    """A session of the region that a saved tree has."""
    (name, (address, size)), *_ = json.loads((tree / "regions.json").read_text()).items()
    _run([*_TRACEKIT, "snapshot", "--sysroot", str(tree), "-o", str(where)])
    region = f"{name}@{address:#x}:{size:#x}"
    _run([*_TRACEKIT, "recover", "--sysroot", str(tree), "--region", region, str(where)])
    return where


def wide(scratch: Path) -> tuple[Path, Path | None]:
    """A session of the wide capture, and its trace.dat without compression (with trace-cmd)."""
    unpack(_CAPTURES / "same-boot-wide-7.2.tar.zst", scratch)
    tree = scratch / "same-boot-wide-7.2" / "old"
    session = recovered(tree, scratch / "wide")
    if shutil.which("trace-cmd") is None:
        return session, None
    plain = scratch / "plain.dat"
    convert = ["trace-cmd", "convert", "-i", str(tree / "trace.dat"), "-o", str(plain)]
    _run([*convert, "--compression", "none"])
    return session, plain
