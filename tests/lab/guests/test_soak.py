"""Handovers in a row: every marker of every kernel is found, and no boot's record is torn.

Not part of the other lab tests: ``make soak-lab`` (HANDOVERS=25), a minute each.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import tracekit
from tests.support.guest import NEW, OLD, guest_run, handover, record
from tracekit.lab.machine import Plan
from tracekit.timeline.filter import Filter

pytestmark = [pytest.mark.soak, pytest.mark.xdist_group("lab")]

HANDOVERS = int(os.environ.get("HANDOVERS", "25"))


def boot(number: int) -> str:
    """One kernel's script: it recovers the one before, writes markers and leaves."""
    recover = "tracekit recover" if number else ""
    if number == HANDOVERS:
        return recover
    marks = f"{record('--no-bpf')}\nmarks boot{number} $TK/trace_marker"
    return f"{recover}\n{marks}\n{handover((NEW, OLD)[number % 2], '--no-bpf')}"


def test_every_marker_of_every_kernel(tmp_path: Path) -> None:
    scripts = tuple(boot(number) for number in range(HANDOVERS + 1))
    result = guest_run(Plan(OLD, scripts, timeout=120.0 * (HANDOVERS + 1)), tmp_path)
    recording = tracekit.open(result.output / "session")
    report = recording.report()
    assert len(report.boots) == HANDOVERS + 1
    assert len(report.handovers) == HANDOVERS
    for number in range(HANDOVERS):
        wanted = Filter(events=("ftrace:print",), boots=frozenset({number}))
        texts = recording.table(recording.select(wanted))["args"].to_pylist()
        found = [m for m in (re.search(rf"\bboot{number} (\d+)", text) for text in texts) if m]
        assert [int(m[1]) for m in found] == list(range(1, 24)), number
        assert report.boots[number].lost == 0
    assert report.verdict == "complete", report.diagnostics
