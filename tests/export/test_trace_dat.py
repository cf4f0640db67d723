"""trace.dat out of sessions: trace-cmd reads all of it, and imported again it is the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import tracekit
from tests.support.trace_cmds import debian13
from tests.support.trace_cmds.kernelshark import entries
from tracekit.cli import main

needs_trace_cmd = pytest.mark.skipif(not shutil.which("trace-cmd"), reason="trace-cmd is missing")
needs_debian13 = pytest.mark.skipif(bool(debian13.missing()), reason=debian13.missing())
TRACE_CMDS = [
    pytest.param(["trace-cmd"], marks=needs_trace_cmd, id="installed"),
    pytest.param(debian13.trace_cmd(), marks=needs_debian13, id="3.3"),
]
# both boots of a handover; 137 kinds of events; four clocks, an overrun buffer, unreadable parts
DOORS = ["demo", "same-boot-wide-7.2", "vmcore-7.2"]

_LINE = re.compile(r"\[(\d{3})\](?: [^ \d]\S*)?\s+[\d.]+: +(\S+):")


def report(file: Path, *options: str, trace_cmd: Sequence[str] = ("trace-cmd",)) -> list[str]:
    command = [*trace_cmd, "report", *options, "-i", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, errors="replace")
    return [line for line in done.stdout.splitlines() if not line.startswith(("cpus=", "version"))]


def instances(session: Path) -> list[str]:
    """The buffers that hold events, as ``--instance`` calls them."""
    recording = tracekit.open(session)
    parts = (recording.part(boot.index) for boot in recording.boots)
    return sorted({b.instance or "global" for part in parts for b in part.buffers if len(b)})


def recorded(session: Path) -> dict[int, list[tuple[int, str]]]:
    """Boot -> (CPU, event) of each event in any buffer, sorted; of boots that have some."""
    boots: dict[int, list[tuple[int, str]]] = {}
    for instance in instances(session):  # buffers on other clocks are not on the timeline
        recording = tracekit.open(session, instance=instance).as_traced
        for boot in recording.boots:
            table = recording.table(recording.rows.of_boot(boot.index)).select(["cpu", "event"])
            events = zip(*(column.to_pylist() for column in table.columns), strict=True)
            boots.setdefault(boot.index, []).extend(events)
    return {boot: sorted(events) for boot, events in boots.items() if events}


def exported(session: Path, boot: int, where: Path) -> Path:
    file = where / f"{boot}.dat"
    command = ["-q", "export", str(session), "--format", "trace.dat", "--boot", str(boot)]
    assert main([*command, "-o", str(file)]) == 0
    return file


def kernel_texts(session: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Instance -> its events as the kernel prints them."""
    texts = {}
    for instance in ["", *instances(session)]:  # "": those on the timeline
        capsys.readouterr()
        one = ["--instance", instance] if instance else []
        assert main(["events", str(session), "--format", "kernel", *one]) == 0
        # the header names the tracer, which is not in a trace.dat
        lines = capsys.readouterr().out.splitlines()
        texts[instance] = [line for line in lines if line[:1] != "#"]
    return texts


@pytest.mark.parametrize("trace_cmd", TRACE_CMDS)
@pytest.mark.parametrize("name", DOORS)
def test_trace_cmd_reads_every_event_of_every_boot(
    name: str, trace_cmd: list[str], session: Callable[[str], Path], tmp_path: Path
) -> None:
    for boot, expected in recorded(session(name)).items():
        lines = report(exported(session(name), boot, tmp_path), "-t", trace_cmd=trace_cmd)
        shown = [found for line in lines if (found := _LINE.search(line))]
        # some events' text has several lines; of a few trace-cmd parses no print fmt, of its own
        # files neither, and prints their fields
        assert not [line for line in lines if "UNKNOWN" in line]
        assert sorted((int(m[1]), m[2]) for m in shown) == sorted(
            (cpu, event.partition(":")[2]) for cpu, event in expected
        )


@pytest.mark.parametrize("trace_cmd", TRACE_CMDS)
def test_trace_cmd_shows_both_boots_on_one_clock(
    trace_cmd: list[str], session: Callable[[str], Path], tmp_path: Path
) -> None:
    """Two files side by side: the TSC goes on across the kexec, and so do trace-cmd's seconds."""
    old, new = (exported(session("demo"), boot, tmp_path) for boot in (0, 1))
    lines = report(old, "-t", "-i", str(new), trace_cmd=trace_cmd)
    shown = [
        (line.startswith("1.dat:"), round(float(m[1]) * 10**9))
        for line in lines
        if (m := re.search(r" ([\d.]+): ", line))
    ]
    recording = tracekit.open(session("demo")).as_traced
    assert len(shown) == len(recording)
    assert shown == sorted(shown)
    jump = next(n for n, (second, _) in enumerate(shown) if second)
    gap = int(recording.axis.ts_ns[jump] - recording.axis.ts_ns[jump - 1])
    assert abs(shown[jump][1] - shown[jump - 1][1] - gap) < 1_000  # the rate, as 32 bits hold it


@needs_debian13
@pytest.mark.parametrize(
    "name", ["demo", pytest.param("same-boot-wide-7.2", marks=pytest.mark.slow), "vmcore-7.2"]
)
def test_kernelshark_reads_every_event_of_every_boot(
    name: str, session: Callable[[str], Path], tmp_path: Path
) -> None:
    for boot, expected in recorded(session(name)).items():
        found = entries(exported(session(name), boot, tmp_path), debian13.loader(), every=40)
        assert sorted((entry.cpu, entry.event.replace("/", ":", 1)) for entry in found) == expected
        texts = [entry.text for entry in found[::40]]
        assert all(texts)
        assert not [text for text in texts if "UNKNOWN" in text]


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


@pytest.mark.parametrize("name", ["handover-7.2-to-7.3-tsc", "stock-6.12-panic-tsc", *DOORS])
def test_imported_again_it_is_the_same(
    name: str,
    session: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [str(exported(session(name), boot, tmp_path)) for boot in recorded(session(name))]
    assert main(["-q", "import", *files, "-o", str(tmp_path / "s")]) == 0
    ours, again = kernel_texts(session(name), capsys), kernel_texts(tmp_path / "s", capsys)
    if name == "vmcore-7.2":  # the file says that all its buffers are on one clock
        assert len(again.pop("")) > len(ours.pop(""))
    assert again == ours


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
