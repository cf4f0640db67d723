"""One region, attached again by the next kernel: a real one, and what the kernel counted of it.

The capture is the kernel documentation's own workflow on 7.3.4: ``trace_instance=tk@tkA,EVENTS
trace_instance=backup=tk``, both CPUs online. The kernel's copy counted 3,651 events of the old
kernel on CPU 0 and 3,099 on CPU 1. In the region CPU 0's buffer was reset, and of CPU 1's the
sub-buffer that was being written, which had one event, was overwritten.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tracekit
from tracekit.cli import main
from tracekit.recording import Recording
from tracekit.session import Session

CAPTURE = "one-region-7.3.4"
TK = "sys/kernel/tracing/instances"
OLD_CPU1 = 3_098
COUNTED = (3_651, 3_099)


@pytest.fixture
def trees(capture: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the capture, to be changed."""
    return Path(shutil.copytree(capture(CAPTURE), tmp_path / CAPTURE))


def made(trees: Path) -> Recording:
    session = trees / "session"
    assert main(["-q", "snapshot", "--sysroot", str(trees / "old"), "-o", str(session)]) == 0
    assert main(["-q", "recover", "--sysroot", str(trees / "new"), str(session)]) == 0
    return tracekit.open(session)


def account(recording: Recording, boot: int) -> list[tuple[int, int, int | None, bool]]:
    cpus = recording.report().boots[boot].cpus
    return [(c.cpu, c.events, c.lost, c.lost_at_least) for c in cpus]


def test_both_boots_are_there(session: Callable[[str], Path]) -> None:
    recording = tracekit.open(session(CAPTURE))
    assert account(recording, 0) == [
        (0, 0, COUNTED[0], False),
        (1, OLD_CPU1, COUNTED[1] - OLD_CPU1, False),
    ]
    assert account(recording, 1) == [(0, 3_703, 0, False), (1, 3_870, 0, False)]
    assert not recording.report().complete
    codes = {d.code for d in recording.report().diagnostics}
    assert {"region-recorded-on", "backup-not-read"} <= codes
    assert "page-time-backwards" not in codes


def test_each_part_is_its_own_boots(session: Callable[[str], Path]) -> None:
    """The old kernel's end comes before the new one's begin, on the clocks of each."""
    recording = tracekit.open(session(CAPTURE))
    assert [boot.clock for boot in recording.report().boots] == ["local", "local"]
    rows = recording.rows
    old, new = rows.ts_raw[rows.boot == 0], rows.ts_raw[rows.boot == 1]
    assert (int(old.min()), int(old.max())) == (1_628_600_349, 76_429_563_590)
    assert (int(new.min()), int(new.max())) == (389_369_186, 72_499_226_197)
    assert int(recording.axis.ts_ns[rows.boot == 0].max()) == 0
    assert int(recording.axis.ts_ns[rows.boot == 1].min()) > 0
    assert bool(np.all(np.diff(recording.axis.ts_ns) >= 0))


def test_the_old_markers(
    session: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["events", str(session(CAPTURE)), "--boot", "0", "--grep", "old marker"]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" ")[2] for line in printed] == ["1", "2", "3", "4", "5"]


def test_without_the_kernels_copy_the_loss_is_a_bound(trees: Path) -> None:
    """The snapshot had counted 3,168 events on CPU 0; how many came after it nobody knows."""
    shutil.rmtree(trees / "new" / TK / "backup")
    recording = made(trees)
    assert account(recording, 0) == [(0, 0, 3_168, True), (1, OLD_CPU1, 1, True)]


def test_what_only_the_kernels_copy_has(trees: Path, capture: Callable[[str], Path]) -> None:
    """Its pages are taken for the CPU that was reset, the region's for the other one."""
    kcore = (capture(CAPTURE) / "new/proc/kcore").read_bytes()
    region = kcore[-(4 << 20) :]
    first = 0x203000  # CPU 1's first sub-buffer with events, after its reader page
    old = region[first : first + 52 * 4096]
    for cpu, pages in ((0, old), (1, old[: 20 * 4096])):
        place = trees / "new" / TK / f"backup/per_cpu/cpu{cpu}/trace_pipe_raw"
        place.write_bytes(pages)
    recording = made(trees)
    assert account(recording, 0) == [
        (0, OLD_CPU1, COUNTED[0] - OLD_CPU1, False),
        (1, OLD_CPU1, COUNTED[1] - OLD_CPU1, False),
    ]
    names = [buffer.name for buffer in recording.buffers]
    assert names[:2] == ["backup", "tkA"]
    again = made_again(trees)
    assert account(again, 0) == account(recording, 0)


def test_the_kernels_copy_alone(trees: Path, capture: Callable[[str], Path]) -> None:
    """No region: what the copy counted and its pages do not have is lost."""
    region = (capture(CAPTURE) / "new/proc/kcore").read_bytes()[-(4 << 20) :]
    new, old = trees / "new", region[0x203000 : 0x203000 + 52 * 4096]
    (new / TK / "backup/per_cpu/cpu0/trace_pipe_raw").write_bytes(old)
    shutil.rmtree(new / "sys/firmware", ignore_errors=True)
    shutil.rmtree(new / "sys/kernel/debug/kho", ignore_errors=True)
    (new / "proc/kcore").unlink()
    recording = made(trees)
    assert account(recording, 0) == [(0, OLD_CPU1, COUNTED[0] - OLD_CPU1, False)]


def made_again(trees: Path) -> Recording:
    """A second run, which finds the copy consumed."""
    for pipe in (trees / "new" / TK / "backup").glob("per_cpu/*/trace_pipe_raw"):
        pipe.unlink()
    for stats in (trees / "new" / TK / "backup").glob("per_cpu/*/stats"):
        stats.write_text("entries: 0\n")
    assert main(["-q", "recover", "--sysroot", str(trees / "new"), str(trees / "session")]) == 0
    return tracekit.open(trees / "session")


def test_read_without_a_snapshot(trees: Path) -> None:
    """The old part is an unknown boot's: raw data without names, apart from the new kernel's."""
    session = trees / "session"
    assert main(["-q", "recover", "--sysroot", str(trees / "new"), str(session)]) == 0
    assert Session.open(session).has("boots/0/regions/tkA.raw")
    recording = tracekit.open(session)
    assert [boot.events for boot in recording.report().boots] == [OLD_CPU1, 7_573]


def test_the_same_text_address_in_both(trees: Path) -> None:
    """nokaslr: the header is either's, the stamps still tell."""
    symbols = (trees / "new/proc/kallsyms").read_text()
    (trees / "old/proc/kallsyms").write_text(symbols)
    recording = made(trees)
    assert [boot.events for boot in recording.report().boots] == [OLD_CPU1, 7_573]
