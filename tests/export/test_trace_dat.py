"""trace.dat out of sessions: trace-cmd reads all of it, and imported again it is the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tracekit.cli import main

needs_trace_cmd = pytest.mark.skipif(not shutil.which("trace-cmd"), reason="trace-cmd is missing")


def report(file: Path, *options: str) -> list[str]:
    command = ["trace-cmd", "report", *options, "-i", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, errors="replace")
    return [line for line in done.stdout.splitlines() if not line.startswith(("cpus=", "version"))]


def exported(session: Path, boot: int, where: Path) -> Path:
    file = where / f"{boot}.dat"
    command = ["-q", "export", str(session), "--format", "trace.dat", "--boot", str(boot)]
    assert main([*command, "-o", str(file)]) == 0
    return file


def kernel_text(session: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["events", str(session), "--format", "kernel"]) == 0
    # the header names the tracer, which is not in a trace.dat
    return [line for line in capsys.readouterr().out.splitlines() if line[:1] != "#"]


@needs_trace_cmd
@pytest.mark.parametrize("name", ["handover-7.2-to-7.3-tsc", "stock-6.12-panic-tsc"])
def test_trace_cmd_reads_every_event_of_both_boots(
    name: str, session: Callable[[str], Path], tmp_path: Path
) -> None:
    recording = tracekit.open(session(name)).as_traced
    for boot in recording.boots:
        mine = recording.table(recording.rows.of_boot(boot.index)).select(
            ["cpu", "event", "ts_raw"]
        )
        if not len(mine):
            continue
        shown = report(exported(session(name), boot.index, tmp_path), "-t")
        assert len(shown) == len(mine)
        assert not [line for line in shown if "UNKNOWN" in line or "FAILED" in line]
        names = [re.findall(r"\[(\d+)\]\s+[\d.]+: +(\S+):", line)[0] for line in shown]
        columns = mine["cpu"].to_pylist(), mine["event"].to_pylist()
        expected = [(f"{c:03d}", e.partition(":")[2]) for c, e in zip(*columns, strict=True)]
        assert sorted(names) == sorted(expected)


@needs_trace_cmd
def test_its_text_is_that_of_trace_cmds_own_file(
    capture: Callable[[str], Path], session: Callable[[str], Path], tmp_path: Path
) -> None:
    """The same region, extracted by trace-cmd on the machine and exported out of the session."""
    for name in ("same-boot-7.2", "same-boot-wide-7.2"):
        theirs = report(capture(name) / "old" / "trace.dat")
        ours = report(exported(session(name), 0, tmp_path))
        # task names: theirs are what the kernel's small cache still had
        after = re.compile(r"\s\[\d+\]\s.*")
        assert [after.findall(line) for line in ours] == [after.findall(line) for line in theirs]


@pytest.mark.parametrize(
    "name", ["handover-7.2-to-7.3-tsc", "stock-6.12-panic-tsc", "same-boot-wide-7.2"]
)
def test_imported_again_it_is_the_same(
    name: str,
    session: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    boots = sorted({kind.boot for kind in tracekit.open(session(name)).kinds})
    files = [str(exported(session(name), boot, tmp_path)) for boot in boots]
    assert main(["-q", "import", *files, "-o", str(tmp_path / "s")]) == 0
    assert kernel_text(tmp_path / "s", capsys) == kernel_text(session(name), capsys)


def test_the_gap_of_an_imported_handover_is_the_one_that_was(
    session: Callable[[str], Path], tmp_path: Path
) -> None:
    path = session("handover-7.2-to-7.3-tsc")
    files = [str(exported(path, boot, tmp_path)) for boot in (0, 1)]
    assert main(["-q", "import", *files, "-o", str(tmp_path / "s")]) == 0
    (was,), (now,) = (tracekit.open(p).report().handovers for p in (path, tmp_path / "s"))
    assert (now.gap_raw, now.way.name) == (was.gap_raw, was.way.name)
    assert now.gap_ns is not None and was.gap_ns is not None
    assert now.gap_error_ns is not None and was.gap_error_ns is not None
    assert abs(now.gap_ns - was.gap_ns) <= now.gap_error_ns
    assert now.gap_error_ns > was.gap_error_ns  # it has fewer witnesses


@pytest.mark.parametrize(
    "options",
    [[], ["--boot", "7"], ["--boot", "0", "--boot", "1"], ["--boot", "0", "--event", "x"],
     ["--boot", "0", "--grep", "x"]],
)  # fmt: skip
def test_wrong_usage(options: list[str], session: Callable[[str], Path], tmp_path: Path) -> None:
    command = ["export", str(session("handover-7.2-to-7.3-tsc")), "--format", "trace.dat"]
    assert main([*command, "-o", str(tmp_path / "x.dat"), *options]) == 2
    assert main([*command, "--boot", "0", "-o", "-"]) == 2
    assert list(tmp_path.iterdir()) == []
