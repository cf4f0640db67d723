"""The kernel's own text of the very same bytes, line by line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tracekit.cli import main

# Lines whose arguments differ, by event; why is in docs/fidelity.md. The formats name the I_* flags
# without their values, which change between releases.
_INODE_FLAGS = {
    "writeback_mark_inode_dirty": 24,
    "writeback_dirty_inode": 24,
    "writeback_dirty_inode_start": 24,
}
CAPTURES = {"same-boot-7.2": {}, "same-boot-wide-7.2": _INODE_FLAGS}
# plain %p: the kernel prints a hash with a secret of its own boot, the record has the pointer
_POINTER = re.compile(r"\b[0-9a-f]{16}\b")
_LINE = re.compile(r"^(?P<context>.{16,}?-\d+ +\[\d+\] \S+ +[\d.]+: )(?P<event>\w+)(?P<rest>.*)$")


@pytest.mark.parametrize("name", CAPTURES)
def test_every_line_is_the_kernels(
    name: str, session: Callable[[str], Path], capture: Callable[[str], Path], capfdbinary
) -> None:
    assert main(["events", str(session(name)), "--format", "kernel"]) == 0
    ours = capfdbinary.readouterr().out.decode(errors="surrogateescape").splitlines()
    trace = capture(name) / "old/sys/kernel/tracing/instances/tk/trace"
    theirs = trace.read_bytes().decode(errors="surrogateescape").splitlines()
    assert len(ours) == len(theirs)
    differing: Counter[str] = Counter()
    for mine, kernels in zip(ours, theirs, strict=True):
        a, b = _LINE.match(mine), _LINE.match(kernels)
        assert (a is None) == (b is None), (mine, kernels)
        if a and b:
            assert (a["context"], a["event"]) == (b["context"], b["event"])
        if _POINTER.sub("P", mine) != _POINTER.sub("P", kernels):
            differing[b["event"] if b else "continued"] += 1
    assert differing == CAPTURES[name], f"of {len(theirs)} lines"
    assert differing.total() < len(theirs) / 200
