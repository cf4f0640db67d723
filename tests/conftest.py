"""Reference captures, unpacked once a test run, and sessions made of them by the real commands."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import tracekit
from tests.support.repeated import repeat
from tests.support.unpack import unpack as unpack_archive
from tracekit.cli import main

# CI tries the same examples every time; a developer's run tries fewer, but new ones. No test is
# timed: a busy machine is no failure.
settings.register_profile("new", deadline=None, max_examples=40)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "new")

CAPTURES = Path(__file__).parent / "captures"
MILLION = os.environ.get("TRACEKIT_MILLION", "")  # function-1m.tar.zst, where it is at hand


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """capture(name) -> directory of the unpacked reference capture (holds old/ and maybe new/)."""
    base = tmp_path_factory.mktemp("captures")

    def unpack(name: str) -> Path:
        target = base / name
        archive = CAPTURES / f"{name}.tar.zst"
        if not target.exists():
            unpack_archive(archive if archive.exists() else Path(MILLION), base)
        return target

    yield unpack
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def session(
    capture: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """session(name) -> the session that the commands make of a capture, to be read only.

    ``demo`` is that of ``tracekit demo``; of a dump it is what ``recover --dump`` makes.
    """
    base = tmp_path_factory.mktemp("sessions")

    def build(name: str) -> Path:
        target = base / name
        if target.exists():
            return target
        if name == "demo":
            assert main(["-q", "demo", "-o", str(target)]) == 0
            return target
        trees = capture(name)
        if (trees / "vmcore").exists():
            assert main(["-q", "recover", "--dump", str(trees / "vmcore"), str(target)]) == 0
            return target
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


TWENTY_MILLION = 20_000_000
_ROOM = 5 << 30  # bytes: the index of such a session takes 2 GiB


@pytest.fixture(scope="session")
def twenty_million(
    session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A session of more than 20 million events: a small capture's region, many times over.

    Tests that use it belong into one group: ``pytest.mark.xdist_group("twenty_million")``.
    """
    base = tmp_path_factory.mktemp("twenty-million")
    free = shutil.disk_usage(base).free
    if free < _ROOM:
        pytest.skip(f"NOT TESTED with 20 million events: {free:,} of {_ROOM:,} bytes are free")
    once = session(Path(MILLION).name.split(".")[0] if MILLION else "same-boot-wide-7.2")
    events = len(tracekit.open(once))
    yield repeat(once, base / "session", -(-TWENTY_MILLION // events))
    shutil.rmtree(base, ignore_errors=True)
