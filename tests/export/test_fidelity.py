"""The kernel's own text of the very same bytes, line by line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tracekit.cli import main

# plain %p: the kernel prints a hash with a secret of its own boot, the record has the pointer
_POINTER = re.compile(r"\b[0-9a-f]{16}\b")


@pytest.mark.parametrize("name", ["same-boot-7.2", "same-boot-wide-7.2", "stock-6.12-same-boot"])
def test_every_line_is_the_kernels(
    name: str, session: Callable[[str], Path], capture: Callable[[str], Path], capfdbinary
) -> None:
    assert main(["events", str(session(name)), "--format", "kernel"]) == 0
    ours = capfdbinary.readouterr().out.decode(errors="surrogateescape").splitlines()
    trace = capture(name) / "old/sys/kernel/tracing/instances/tk/trace"
    theirs = trace.read_bytes().decode(errors="surrogateescape").splitlines()
    assert len(ours) == len(theirs)
    for mine, kernels in zip(ours, theirs, strict=True):
        assert _POINTER.sub("P", mine) == _POINTER.sub("P", kernels)
