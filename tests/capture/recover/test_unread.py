"""Preserved memory of which a part cannot be read: recovered, decoded and reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import tracekit
from tests.support.elf_core_writer import Segment, write_core
from tests.support.machine_trees import OLD_TEXT, PAGE, REGION, TKA, TKB, new_machine, region
from tests.support.sessions.recovering import codes, prepare, run
from tracekit.cli import main
from tracekit.report.make import Report
from tracekit.session import Session
from tracekit.spans import filler

REPO = Path(__file__).parents[3]
REGION_AT = 0x401000  # tkA in the capture's kcore
EIO, ENXIO, EFAULT = 5, 6, 14


@pytest.fixture(scope="session")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes reads fail, for LD_PRELOAD."""
    library = tmp_path_factory.mktemp("shim") / "failing_read.so"
    source = REPO / "tests/support/memory/failing_read.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def snapshot_of(capture: Callable[[str], Path]) -> Callable[[Path], Path]:
    def take(where: Path) -> Path:
        old = str(capture("handover-7.2-tsc") / "old")
        assert main(["-q", "snapshot", "--sysroot", old, "-o", str(where / "S")]) == 0
        return capture("handover-7.2-tsc") / "new"

    return take


def recover(
    failing: Path, new: Path, session: Path, *ranges: tuple[int, int, int]
) -> subprocess.CompletedProcess[str]:
    """Recover while reads of kcore from byte to byte of tkA fail with an errno (0: come short)."""
    listed = ",".join(f"{REGION_AT + a}:{REGION_AT + b}:{error}" for a, b, error in ranges)
    return subprocess.run(
        [sys.executable, "-m", "tracekit", "recover", "--sysroot", new, session],
        env={
            **os.environ,
            "LD_PRELOAD": str(failing),
            "FAILING_PATH": "new/proc/kcore",
            "FAILING_RANGES": listed,
        },
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def per_cpu(report: Report) -> list[tuple[int, int]]:
    return [(cpu.events, cpu.unreadable) for cpu in report.boots[0].cpus]


@pytest.mark.slow
def test_three_read_errors_cost_three_sub_buffers(
    failing: Path,
    snapshot_of: Callable[[Path], Path],
    session: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """Of CPU 0 two, one of them read half; of CPU 1 one; and one that was never written."""
    new = snapshot_of(tmp_path)
    ranges = (
        (0x40000, 0x41000, EIO), (0x42800, 0x43000, 0), (0x240000, 0x241000, EFAULT),
        (0x1FF000, 0x200000, ENXIO),
    )  # fmt: skip
    done = recover(failing, new, tmp_path / "S", *ranges)
    assert done.returncode == 0, done.stdout
    assert "Input/output error" in done.stdout and "0x40000-0x41000" in done.stdout
    found = Session.open(tmp_path / "S")
    unread = [[a, b - a] for a, b, _ in sorted(ranges)]
    assert found.json("boots/0/regions/tkA.json")["unread"] == unread
    raw = found.read("boots/0/regions/tkA.raw")
    assert raw[0x40000:0x41000] == filler(0, PAGE)
    report = tracekit.open(tmp_path / "S").report()
    rows = tracekit.open(session("handover-7.2-tsc")).rows
    end = rows.offset + rows.length
    gone = (rows.boot == 0) & (
        ((rows.offset >= 0x40000) & (end <= 0x41000)) | ((end > 0x42800) & (end <= 0x43000))
        | ((rows.offset >= 0x240000) & (end <= 0x241000))
    )  # fmt: skip
    lost = [int((gone & (rows.cpu == cpu)).sum()) for cpu in (0, 1)]
    (cpu0, bad0), (cpu1, bad1) = per_cpu(report)
    assert (cpu0, cpu1) == (24_085 - lost[0], 28_019 - lost[1])
    # two sub-buffers, and the one record that reaches into the filler
    assert (bad0, bad1) == (3, 1)
    assert not report.complete
    pages = [d.where for d in report.diagnostics if d.code == "page-unread"]
    assert [w.rsplit(" ", 1)[1] for w in pages] == ["0x40000", "0x42000", "0x240000"]


@pytest.mark.slow
def test_header_and_meta_data_unread_but_every_event_is_there(
    failing: Path, snapshot_of: Callable[[Path], Path], tmp_path: Path
) -> None:
    new = snapshot_of(tmp_path)
    done = recover(failing, new, tmp_path / "S", (0, 0x1000, EFAULT), (0x2000, 0x3000, EFAULT))
    assert done.returncode == 0, done.stdout
    report = tracekit.open(tmp_path / "S").report()
    assert [events for events, _ in per_cpu(report)] == [24_085, 28_019]
    found = {d.code for d in report.diagnostics}
    assert {"region-header-unread", "cpu-meta-unread"} <= found
    assert not {"region-magic", "region-struct-sizes"} & found


def test_nothing_of_it_can_be_read(
    failing: Path, snapshot_of: Callable[[Path], Path], tmp_path: Path
) -> None:
    """The read error is the explanation, not what the other region holds."""
    new = snapshot_of(tmp_path)
    done = recover(failing, new, tmp_path / "S", (0, 0x400000, EIO))
    assert done.returncode == 5
    assert "could not be read: region tkA" in done.stdout
    assert "Input/output error" in done.stdout
    assert "Was the old kernel recording" not in done.stdout


@pytest.mark.parametrize("cut", ["segment", "file"])
def test_a_core_with_half_of_the_region(tmp_path: Path, cut: str) -> None:
    """The PT_LOAD ends in the middle of the region, or the file does."""
    prepare(tmp_path)
    half = REGION // 2
    kept = region(OLD_TEXT, "A")[:half]
    whole = write_core([Segment(TKB, region(0, "B")), Segment(TKA, region(OLD_TEXT, "A"))])
    short = write_core([Segment(TKB, region(0, "B")), Segment(TKA, kept)])
    core = short if cut == "segment" else whole[:-half]
    result, session = run(tmp_path, replace(new_machine(), files={"proc/kcore": core}))
    assert "region-partly-unread" in codes(result)
    assert session.read("boots/0/regions/tkA.raw") == kept + filler(half, REGION - half)
    described = json.loads(session.read("boots/0/regions/tkA.json"))
    assert described["unread"] == [[half, REGION - half]]
    again, _ = run(tmp_path, new_machine())
    assert all(r.kept for r in again.regions)
