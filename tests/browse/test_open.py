"""Opening a session: the same answers with and without an index, and nothing left behind."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tests.support.sessions.kept_index import (
    NAMES,
    NEVER,
    SHIPPED,
    kept_in,
    leftovers,
    quiet,
    remarks,
)
from tracekit.browse.index import load as kept
from tracekit.browse.index.load import ROWS
from tracekit.browse.open import Opened, open_recording
from tracekit.errors import TracekitError
from tracekit.session import Session
from tracekit.session.derived import INDEX, raw_sizes
from tracekit.session.names import SUFFIXES
from tracekit.session.packing.compression import compressor
from tracekit.session.packing.symbols import SHARED
from tracekit.timeline.filter import Filter


def same(one: Opened, other: Opened) -> None:
    """Every answer of two openings is the same; events and arguments are compared one by one."""
    a, b = one.recording, other.recording
    assert len(a) == len(b) > 0
    assert a.table().equals(b.table())
    some = np.arange(0, len(a), max(1, len(a) // 2000))
    assert a.table(some).equals(b.table(some))
    assert a.fields(some) == b.fields(some)
    assert list(a.kinds) == list(b.kinds) and a.event_names == b.event_names
    for name in a.event_names:
        assert a.event(name).equals(b.event(name)), name
    assert a.comms == b.comms
    assert set(a.diagnostics) == set(b.diagnostics)
    wanted = Filter(cpus=frozenset({0}), events=("*sched*", "*function*"), comms=("k*", "<*"))
    assert (a.select(wanted) == b.select(wanted)).all()
    assert one.report == other.report
    assert one.coverage == other.coverage != {}
    for x, y in zip(a.buffers, b.buffers, strict=True):
        assert (x.name, x.instance, x.clock) == (y.name, y.instance, y.clock)
        assert x.extents == y.extents and bytes(x.data) == bytes(y.data)
    same_axis(one, other)
    for name in kept.GROUPS:
        x, y = getattr(one.index, name), getattr(other.index, name)
        assert list(x.keys) == list(y.keys)
        assert (x.starts == y.starts).all() and (x.order == y.order).all()


def same_axis(one: Opened, other: Opened) -> None:
    a, b = one.recording.axis, other.recording.axis
    rows, boots = one.recording.rows, one.recording.session.boots
    assert (a.ts_ns == b.ts_ns).all()
    assert (a.clock, a.clocks, a.relations) == (b.clock, b.clocks, b.relations)
    assert a.common == b.common and set(a.diagnostics) == set(b.diagnostics)
    assert (a.native(rows.buffer) == b.native(rows.buffer)).all()
    for boot in boots:
        assert a.timed(boot) == b.timed(boot) and a.placed(boot) == b.placed(boot)
        readings = [10**9, 2 * 10**9, 5 * 10**9]
        assert a.monotonic(boot, readings) == b.monotonic(boot, readings)
        assert all(a.counts_on(boot, o) == b.counts_on(boot, o) for o in boots)
    draw = random.Random(1)
    for _ in range(200):
        x, y = draw.randrange(len(rows)), draw.randrange(len(rows))
        assert a.interval(rows, x, y) == b.interval(other.recording.rows, x, y)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [SHIPPED, *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES)],
)
def test_a_kept_session_answers_as_a_decoded_one(place: Callable[[str], Path], name: str) -> None:
    path = place(name)
    found = kept_in(path)
    assert found is not None
    again = open_recording(path, quiet, many=0)
    same(open_recording(path, quiet, many=NEVER), again)
    for boot in [*found.recording.boots, *again.recording.boots]:
        assert "buffers" not in vars(boot)  # nothing was decoded
    assert not leftovers(path) and not remarks(again)


@pytest.mark.slow
def test_what_the_kernel_itself_shows_of_a_kept_session(place: Callable[[str], Path]) -> None:
    path = place(SHIPPED)
    found, plain = kept_in(path), open_recording(path, quiet, many=NEVER)
    assert found is not None
    assert found.recording.as_traced is not found.recording
    assert found.recording.as_traced.table().equals(plain.recording.as_traced.table())


@pytest.mark.slow
def test_mapped_memory_can_be_let_go_of(place: Callable[[str], Path]) -> None:
    found = kept_in(place("same-boot-wide-7.2"))
    assert found is not None and len(found.maps) == 2
    before = found.recording.table()
    for _ in range(3):
        found.release()
        assert found.recording.table().equals(before)
    open_recording(place("same-boot-7.2"), quiet).release()  # decoded: there is nothing to let go


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, b"", bytes(1 << 20), b"no ring buffer" * 1000])
def test_a_session_without_a_readable_event(small: Path, content: bytes | None) -> None:
    region = small / "boots" / "0" / "regions" / "tkA.raw.zst"
    region.unlink()
    if content is not None:
        region.with_suffix("").write_bytes(content)
    decoded, found = open_recording(small, quiet), open_recording(small, quiet, many=0)
    assert kept_in(small) is not None and not remarks(found)
    assert len(decoded.recording) == len(found.recording) == 0
    assert decoded.report == found.report
    assert found.recording.table().equals(decoded.recording.table())


def test_a_small_session_keeps_no_index(small: Path) -> None:
    opened = open_recording(small, quiet)
    assert len(opened.recording) == 5018
    assert not (small / INDEX).exists() and not leftovers(small) and not remarks(opened)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, SHIPPED])
def test_the_guess_at_the_number_of_events_is_not_too_low(
    place: Callable[[str], Path], name: str
) -> None:
    found = kept_in(place(name))
    assert found is not None
    probes = sum(k.name.startswith("tracekit") for k in found.recording.kinds)
    traced = len(found.recording) if not probes else len(found.recording.as_traced)
    assert open_recording(place(name), quiet, many=traced).maps  # it is not too small for an index


@pytest.mark.parametrize("suffix", ["", *(s for s in SUFFIXES if not s.startswith(SHARED))])
def test_a_region_counts_however_it_is_stored(small: Path, suffix: str) -> None:
    """Where zstandard is not installed, regions are gzip files, which do not say their size."""
    data = Session.open(small).read("boots/0/regions/tkA.raw")
    for stored in small.glob("boots/*/*/*.raw.zst"):
        stored.unlink()
    region = small / f"boots/0/regions/tkA.raw{suffix}"
    with region.open("wb") as file:
        sink = compressor(file, suffix, len(data)) if suffix else file
        sink.write(data)
        sink.close()
    says = None if suffix == ".gz" else len(data)
    assert raw_sizes(Session.open(small)) == (region.stat().st_size, says)
    assert open_recording(small, quiet, many=5018).maps


OPENER = """
import sys
from tracekit.browse.open import open_recording
open_recording(sys.argv[1], lambda what, share: print(what, share, flush=True), many=0)
print("over", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("lines", [2, 5, 9, 14])
def test_a_killed_interface_leaves_nothing_that_is_believed(
    longer: Callable[[], Path], lines: int
) -> None:
    path = longer()
    command = [sys.executable, "-c", OPENER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(lines):
            if child.stdout.readline() == "over\n":
                break
        child.send_signal(signal.SIGKILL)
    found = kept_in(path)
    assert found is None or len(found.recording) == 20 * 5018
    again = open_recording(path, quiet, many=0)
    assert len(again.recording) == 20 * 5018 and kept_in(path) is not None


@pytest.mark.slow
def test_two_at_once_do_not_disturb_each_other(longer: Callable[[], Path]) -> None:
    path = longer()
    command = [sys.executable, "-c", OPENER, str(path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert all(child.communicate()[0].endswith("over\n") for child in both)
    assert kept_in(path) is not None and not leftovers(path)


class Enough(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 2, 4, 8])
def test_what_progress_raises_ends_it_at_once(longer: Callable[[], Path], after: int) -> None:
    path, calls = longer(), []

    def progress(what: str, share: float | None) -> None:
        calls.append(what)
        if len(calls) > after:
            raise Enough

    with pytest.raises(Enough):
        open_recording(path, progress, many=0)
    assert not (path / INDEX).exists() and not leftovers(path)


def test_links_in_a_session_are_not_written_through(small: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ROWS).write_text("precious")
    (small / INDEX).symlink_to(elsewhere)
    (small / f".{INDEX}.part-{os.getpid()}").symlink_to(elsewhere)
    (small / f".{INDEX}.part-1").symlink_to(elsewhere)
    opened = open_recording(small, quiet, many=0)
    assert len(opened.recording) == 5018 and not remarks(opened)
    assert [p.name for p in elsewhere.iterdir()] == [ROWS]
    assert (elsewhere / ROWS).read_text() == "precious"
    assert not (small / INDEX).is_symlink() and not leftovers(small)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["boots/0", INDEX, f".{INDEX}.part-1"])
def test_directories_of_any_depth_are_no_danger(small: Path, scratch: Path, where: str) -> None:
    made = [small / where]
    while len(made) < 1200:  # deeper than Python calls itself
        made.append(made[-1] / "d")
    for directory in made:
        directory.mkdir(exist_ok=True)
    opened = open_recording(small, quiet, many=0)
    assert len(opened.recording) == 5018
    assert ["too deep" in told for told in remarks(opened)] == [True] * (where == INDEX)
    for directory in reversed(made[1:]):  # pytest cannot remove them
        with suppress(OSError):
            directory.rmdir()


@pytest.mark.slow
def test_a_session_that_cannot_be_written(
    small: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.mkdir

    def no(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if path.startswith(f".{INDEX}.part-"):  # in the session
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        make(path, mode, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", no)
        opened = open_recording(small, quiet, many=0)
    assert "Read-only file system" in remarks(opened)[0]
    assert "as long every time" in remarks(opened)[0]
    assert not (small / INDEX).exists() and list(scratch.iterdir()) == []
    assert "buffers" not in vars(opened.recording.boots[0])
    plain = open_recording(small, quiet, many=NEVER)
    assert opened.recording.table().equals(plain.recording.table())


@pytest.mark.slow
def test_an_archive_is_indexed_aside(scratch: Path) -> None:
    shipped = Path(str(files("tracekit") / "demo" / "handover.tar.zst"))
    opened = open_recording(shipped, quiet, many=0)
    assert "an archive keeps no index" in remarks(opened)[0]
    assert list(scratch.iterdir()) == []
    plain = open_recording(shipped, quiet, many=NEVER)
    assert not remarks(plain)
    assert opened.recording.table().equals(plain.recording.table())


def test_a_full_disk_is_said_and_the_session_opens(small: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # the child's files are too large
    try:
        opened = open_recording(small, quiet, many=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "held in memory instead: File too large" in remarks(opened)[0]
    assert len(opened.recording) == 5018
    assert not (small / INDEX).exists() and not leftovers(small)


def test_a_session_that_cannot_be_read_says_so(small: Path) -> None:
    (small / "manifest.json").write_text("{")
    with pytest.raises(TracekitError, match="manifest"):
        open_recording(small, quiet, many=0)


LOOK = """
import sys
import numpy as np
from tracekit.browse.open import open_recording
def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))
before = anonymous()
opened = open_recording(sys.argv[1], lambda what, share: None)
recording, total = opened.recording, len(opened.recording)
for row in range(0, total - 50, total // 20):
    table = recording.table(np.arange(row, row + 50))
    assert len(recording.fields(np.arange(row, row + 50))) == len(table) == 50
    np.searchsorted(recording.axis.ts_ns, recording.axis.ts_ns[row])
    opened.index.cpus.rows(0)[row // 20]
print(total, anonymous() - before)
"""


@pytest.mark.slow
@pytest.mark.xdist_group("twenty_million")
def test_twenty_million_events_open_without_being_held(twenty_million: Path) -> None:
    opened = open_recording(twenty_million, quiet)
    assert len(opened.recording) > 20_000_000 and not remarks(opened)
    assert kept_in(twenty_million) is not None
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(twenty_million)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    total, grown = map(int, done.stdout.split())
    assert total == len(opened.recording)
    assert grown < 200 << 20  # decoded, its rows alone are 900 MB
