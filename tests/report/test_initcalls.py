"""Initcalls against the new kernel's own text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tracekit.recording import Recording


def test_initcalls_agree_with_the_kernels_text(
    recording: Recording, capture: Callable[[str], Path], name: str
) -> None:
    """The slowest initcall, worked out from the new kernel's own text."""
    text = (capture(name) / "new/sys/kernel/tracing/trace").read_text()
    begun: dict[str, int] = {}
    took: dict[str, int] = {}
    for line in text.splitlines():
        for what in ("initcall_start: func=", "initcall_finish: func="):
            head, found, tail = line.partition(what)
            if found:
                cycles, func = int(head.split()[-1].rstrip(":")), tail.split("+")[0]
                if "start" in what:
                    begun[func] = cycles
                else:
                    took[func] = cycles - begun[func]
    slowest = recording.report().initcalls[0]
    assert slowest.function == max(took, key=lambda f: took[f])
    assert slowest.duration_ns == pytest.approx(took[slowest.function] / 2.44543, rel=1e-5)
