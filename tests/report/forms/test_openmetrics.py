"""The metrics, as promtool and the grammar of the text format see them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracekit
from tests.support.sessions.handovers import opened
from tracekit.cli import main
from tracekit.report.forms.openmetrics import openmetrics
from tracekit.report.initcalls import Initcall
from tracekit.report.make import Report

PROMTOOL = shutil.which("promtool")
SAMPLE = re.compile(
    r'[a-z_]+(\{([a-z_]+="(\\[\\"n]|[^\\"\n])*",?)*\})? (?P<value>-?\d+(\.\d+)?)', re.ASCII
)
SESSIONS = (
    "handover-7.2-tsc", "stock-6.12-panic-tsc", "same-boot-wide-7.2", "stock-6.12-carveout-tsc",
    "vmcore-7.2",
)  # fmt: skip


@cache
def _demo() -> Report:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        return tracekit.open(path).report()


@pytest.fixture
def demo() -> Report:
    return _demo()


def lines(report: Report) -> list[str]:
    text = openmetrics(report)
    assert text.endswith("\n# EOF\n")
    return text.splitlines()


def samples(report: Report, name: str) -> list[str]:
    return [line for line in lines(report) if line.startswith((f"{name} ", f"{name}{{"))]


def check(found: Sequence[str]) -> None:
    """Every metric has one block with its type, and no series twice."""
    series, types = set[str](), set[str]()
    current = ""
    for line in found[:-1]:
        if line.startswith("# TYPE "):
            current, kind = line.split()[2:]
            assert kind == "gauge" and current not in types
            types.add(current)
        elif not line.startswith("# HELP "):
            assert SAMPLE.fullmatch(line), line
            key = line.rpartition(" ")[0]
            assert key.partition("{")[0] == current and key not in series
            series.add(key)


def test_the_demo_says_what_the_report_says(demo: Report) -> None:
    check(lines(demo))
    (blackout,) = samples(demo, "tracekit_handover_blackout_seconds")
    assert blackout == 'tracekit_handover_blackout_seconds{handover="0"} 3.099451986'
    assert 'tracekit_record_complete{verdict="complete"} 1' in lines(demo)
    assert len(samples(demo, "tracekit_phase_seconds")) == 23
    assert len(samples(demo, "tracekit_device_shutdown_seconds")) == 20


@pytest.mark.parametrize("name", SESSIONS)
def test_what_is_not_known_is_absent(name: str, session: Callable[[str], Path]) -> None:
    report = opened(session(name)).report()
    check(lines(report))
    known = [h for h in report.handovers if h.blackout_ns is not None]
    assert len(samples(report, "tracekit_handover_blackout_seconds")) == len(known)


@pytest.mark.skipif(
    PROMTOOL is None, reason="NOT TESTED: METRICS: promtool (package prometheus) is not installed"
)
@pytest.mark.parametrize("name", ["demo", *SESSIONS])
def test_promtool_finds_nothing_wrong(
    name: str, demo: Report, session: Callable[[str], Path]
) -> None:
    report = demo if name == "demo" else opened(session(name)).report()
    assert PROMTOOL is not None
    told = subprocess.run([PROMTOOL, "check", "metrics"], input=openmetrics(report), text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=8)), max_size=4))
def test_names_from_memory_make_no_metric(names: list[tuple[str, str]]) -> None:
    report = _demo()
    calls = tuple(Initcall(name, level, 1, 0, 10**9, 0) for name, level in names)
    found = lines(replace(report, initcalls=calls))
    check(found)
    added = [line for line in found if line.startswith("tracekit_initcall_seconds")]
    assert sum(float(line.rpartition(" ")[2]) for line in added) == len(names)


def test_the_file_is_for_another_user_to_read(tmp_path: Path) -> None:
    target = tmp_path / "metrics" / "tracekit.prom"
    before = os.umask(0o077)  # as in the unit
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        words = ["-q", "report", str(path), "--format", "openmetrics", "-o", str(target)]
        try:
            assert main(words) == 0
        finally:
            os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o644
    assert target.parent.stat().st_mode & 0o777 == 0o755
    assert target.read_text().endswith("# EOF\n")
