"""Two real kernels that crashed: their memory, cut down to what a walk of them touches."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.memory.dead_kernels import PageMemory, load
from tracekit.kmemory.kernel import Kernel, open_kernel


@dataclass
class Dead:
    """A kernel, its memory, and the directory with what it said of itself when it lived."""

    kernel: Kernel
    memory: PageMemory
    said: Path

    def text(self, name: str) -> str:
        return (self.said / name).read_text(errors="backslashreplace")

    def json(self, name: str) -> Any:
        return json.loads(self.text(name))


def _dead(directory: Path) -> Dead:
    memory, note = load(directory / "vmcore")
    return Dead(open_kernel(memory, note), memory, directory)


@pytest.fixture(scope="session")
def lab(capture: Callable[[str], Path]) -> Dead:
    """Linux 7.2.13: addresses relative to their own place, no modules, six arrays."""
    return _dead(capture("vmcore-7.2"))


@pytest.fixture(scope="session")
def debian(capture: Callable[[str], Path]) -> Dead:
    """Debian's 6.12.118: absolute per-CPU symbols, modules."""
    return _dead(capture("vmcore-6.12"))


@pytest.fixture(params=["lab", "debian"])
def dead(request: pytest.FixtureRequest) -> Dead:
    """Each of the two."""
    found: Dead = request.getfixturevalue(request.param)
    return found
