"""Reference captures, unpacked once a test run, and sessions made of them by the real commands."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.unpack import unpack as unpack_archive
from tracekit.cli import main

# CI tries the same examples every time; a developer's run tries new ones. No test is timed: a busy
# machine is no failure.
settings.register_profile("new", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "new")

CAPTURES = Path(__file__).parent / "captures"


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """capture(name) -> directory of the unpacked reference capture (holds old/ and maybe new/)."""
    base = tmp_path_factory.mktemp("captures")

    def unpack(name: str) -> Path:
        target = base / name
        if not target.exists():
            unpack_archive(CAPTURES / f"{name}.tar.zst", base)
        return target

    yield unpack
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def session(
    capture: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """session(name) -> the session that the commands make of a capture, to be read only."""
    base = tmp_path_factory.mktemp("sessions")

    def build(name: str) -> Path:
        target = base / name
        if target.exists():
            return target
        trees = capture(name)
        old, new = str(trees / "old"), str(trees / "new")
        assert main(["-q", "snapshot", "--sysroot", old, "-o", str(target)]) == 0
        if (trees / "new").exists():
            assert main(["-q", "recover", "--sysroot", new, str(target)]) == 0
            return target
        regions = json.loads((trees / "old" / "regions.json").read_text())
        for region, (address, size) in regions.items():
            wanted = f"{region}@{address:#x}:{size:#x}"
            command = ["-q", "recover", "--sysroot", old, "--region", wanted, str(target)]
            assert main(command) == 0
        return target

    return build
