"""A kept index: the same as decoding in every answer, and no index unless it is whole and ours."""

from __future__ import annotations

import copy
import errno
import gzip
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repeated import repeat
from tracekit.browse.index import build as keeping
from tracekit.browse.index import load as kept
from tracekit.browse.index.codec import decode, encode
from tracekit.browse.index.load import ABOUT, DATA, INDEX, ROWS, About, load
from tracekit.browse.open import _START, Opened, _at_most, open_recording
from tracekit.cli import main
from tracekit.errors import TracekitError
from tracekit.query.selection import Selection
from tracekit.query.sort import order_by
from tracekit.query.toggles import tally
from tracekit.report.make import Report
from tracekit.session import Session
from tracekit.session import derived as derived_module
from tracekit.session.derived import raw_sizes, stamp
from tracekit.timeline.filter import Filter

NAMES = ("handover-7.2-to-7.3-tsc", "handover-7.2-tsc", "same-boot-7.2", "same-boot-wide-7.2")
SHIPPED = "shipped"
NEVER = 1 << 60


def quiet(what: str, share: float | None) -> None:
    assert share is None or 0 <= share <= 1


@pytest.fixture(scope="module")
def place(
    session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """place(name) -> a copy of a session that may be written; the index is kept in it."""
    base = tmp_path_factory.mktemp("kept")

    def make(name: str) -> Path:
        target = base / name
        if target.exists():
            return target
        if name == SHIPPED:
            assert main(["-q", "demo", "-o", str(target)]) == 0
        else:
            shutil.copytree(session(name), target)
        open_recording(target, quiet, many=0)
        return target

    return make


@pytest.fixture
def small(session: Callable[[str], Path], tmp_path: Path) -> Path:
    """A session of a few thousand events, without an index."""
    ignored = shutil.ignore_patterns(INDEX)
    shutil.copytree(session("same-boot-7.2"), tmp_path / "small", ignore=ignored)
    return tmp_path / "small"


def kept_in(path: Path) -> Opened | None:
    """What a later open finds kept in a session."""
    opened = Session.open(path)
    found = load(opened, stamp(opened), path / INDEX)
    return Opened(*found) if found else None


def leftovers(path: Path) -> list[str]:
    return [p.name for p in path.iterdir() if p.name.startswith(".")]


def remarks(opened: Opened) -> list[str]:
    return [d.message for d in opened.report.diagnostics if d.code == "index-not-kept"]


# -- the same answers -------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", [*NAMES, SHIPPED])
def test_a_kept_session_answers_as_a_decoded_one(place: Callable[[str], Path], name: str) -> None:
    path = place(name)
    found = kept_in(path)
    assert found is not None
    again = open_recording(path, quiet, many=0)
    same(open_recording(path, quiet, many=NEVER), again)
    for boot in [*found.recording.boots, *again.recording.boots]:
        assert "buffers" not in vars(boot)  # nothing was decoded
    assert not leftovers(path) and not remarks(again)


def test_what_the_kernel_itself_shows_of_a_kept_session(place: Callable[[str], Path]) -> None:
    path = place(SHIPPED)
    found, plain = kept_in(path), open_recording(path, quiet, many=NEVER)
    assert found is not None
    assert found.recording.as_traced is not found.recording
    assert found.recording.as_traced.table().equals(plain.recording.as_traced.table())


def test_a_kept_recording_touches_only_what_is_asked_for(place: Callable[[str], Path]) -> None:
    found = kept_in(place("same-boot-wide-7.2"))
    assert found is not None
    columns = [found.recording.axis.ts_ns, found.recording.rows.kind, found.index.tasks.order]
    assert not any(column.flags.owndata or column.flags.writeable for column in columns)
    assert all(isinstance(b.data, memoryview) and b.data.readonly for b in found.recording.buffers)


def test_mapped_memory_can_be_let_go_of(place: Callable[[str], Path]) -> None:
    found = kept_in(place("same-boot-wide-7.2"))
    assert found is not None and len(found.maps) == 2
    before = found.recording.table()
    for _ in range(3):
        found.release()
        assert found.recording.table().equals(before)
    open_recording(place("same-boot-7.2"), quiet).release()  # decoded: there is nothing to let go


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


@pytest.mark.parametrize("name", [*NAMES, SHIPPED])
def test_the_guess_at_the_number_of_events_is_not_too_low(
    place: Callable[[str], Path], name: str
) -> None:
    found = kept_in(place(name))
    assert found is not None
    probes = sum(k.name.startswith("tracekit") for k in found.recording.kinds)
    traced = len(found.recording) if not probes else len(found.recording.as_traced)
    assert _at_most(Session.open(place(name))) >= traced


def test_a_region_that_does_not_say_its_size_counts_as_compressed(small: Path) -> None:
    """Where zstandard is not installed, regions are gzip files."""
    region = small / "boots/0/regions/tkA.raw"
    data = Session.open(small).read("boots/0/regions/tkA.raw")
    for stored in small.glob("boots/*/*/*.raw.zst"):
        stored.unlink()
    stored = region.with_suffix(".raw.gz")
    stored.write_bytes(gzip.compress(data))
    assert raw_sizes(Session.open(small)) == (stored.stat().st_size, None)
    assert _at_most(Session.open(small)) >= 5018
    stored.unlink()
    region.write_bytes(data)
    assert raw_sizes(Session.open(small)) == (len(data), len(data))


# -- stale, damaged, from elsewhere -----------------------------------------------------------


@pytest.mark.parametrize(
    "changed", ["manifest.json", "boots/0/kernel.json", "boots/0/regions/tkA.raw.zst", "boots/new"]
)
def test_an_index_is_stale_when_anything_changed(small: Path, changed: str) -> None:
    open_recording(small, quiet, many=0)
    assert kept_in(small) is not None
    if (small / changed).exists():
        os.utime(small / changed, ns=(1, 1))
    else:
        (small / changed).write_text("new")
    assert kept_in(small) is None
    again = open_recording(small, quiet, many=0)
    assert kept_in(small) is not None and not remarks(again)


def test_a_session_may_move_with_its_index(small: Path, tmp_path: Path) -> None:
    open_recording(small, quiet, many=0)
    moved = small.rename(tmp_path / "moved")
    found = kept_in(moved)
    assert found is not None and found.report.session == str(moved)


def test_a_copied_index_is_not_believed(small: Path, tmp_path: Path) -> None:
    open_recording(small, quiet, many=0)
    shutil.copytree(small, tmp_path / "copy")  # with the times of change, as tar keeps them
    assert stamp(Session.open(small)) == stamp(Session.open(tmp_path / "copy"))
    assert kept_in(tmp_path / "copy") is None


@pytest.mark.parametrize("name", [ROWS, DATA, ABOUT])
@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "empty", "gone", "link", "fifo", "open"])
def test_a_damaged_index_does_not_exist(small: Path, name: str, damage: str) -> None:
    open_recording(small, quiet, many=0)
    file = small / INDEX / name
    size = file.stat().st_size
    if damage == "flip":
        with file.open("r+b") as f:
            f.seek(size // 2)
            byte = f.read(1)[0]
            f.seek(size // 2)
            f.write(bytes([byte ^ 1]))
    elif damage in ("cut", "grow", "empty"):
        os.truncate(file, {"cut": size - 1, "grow": size + 1, "empty": 0}[damage])
    elif damage == "open":
        file.chmod(0o666)  # anybody could have written it
    else:
        away = file.rename(small / "away")
        if damage == "link":
            file.symlink_to(away)
        elif damage == "fifo":
            os.mkfifo(file)
    assert kept_in(small) is None
    again = open_recording(small, quiet, many=0)
    assert len(again.recording) == 5018 and kept_in(small) is not None


@contextmanager
def hostile_index(path: Path) -> Iterator[Path]:
    """A copy of a session's index that can be changed."""
    with tempfile.TemporaryDirectory() as where:
        for name in (ROWS, DATA, ABOUT):
            shutil.copy(path / INDEX / name, where)
        yield Path(where)


def signed(index: Path, body: Any = None) -> None:
    """Make ``about.json`` vouch for the files as they are now."""
    file = index / ABOUT
    document = json.loads(file.read_bytes().partition(b"\n")[2]) if body is None else body
    if body is None:
        found = {}
        for name in (DATA, ROWS):
            with (index / name).open("rb") as opened:
                found[name] = kept.marks(opened.fileno())
        document[1] = encode(found)
    text = json.dumps(document).encode()
    file.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)


def use(opened: Opened) -> None:
    """Look at everything, as the views do."""
    recording = opened.recording
    every = np.arange(len(recording))
    for part in np.array_split(every, 10):
        for ask in (recording.table, recording.fields, recording.name_codes):
            with suppress(TracekitError):
                ask(part)
    for group in kept.GROUPS:
        groups = getattr(opened.index, group)
        assert all(len(groups.rows(i)) >= 0 for i in range(len(groups.keys)))


@given(data=st.data())
def test_a_forged_index_is_an_error_at_worst(place: Callable[[str], Path], data: Any) -> None:
    """Its values are wild, and it vouches for them itself: still nothing but an error."""
    path = place("same-boot-7.2")
    opened = Session.open(path)
    with hostile_index(path) as index:
        name = data.draw(st.sampled_from([ROWS, ROWS, DATA]))
        raw = bytearray((index / name).read_bytes())
        for _ in range(data.draw(st.integers(1, 8))):
            near_an_end = st.integers(0, 3000) | st.integers(len(raw) - 3000, len(raw) - 1)
            at = data.draw(near_an_end | st.integers(0, len(raw) - 1))
            new = data.draw(st.binary(min_size=1, max_size=16))
            raw[at : at + len(new)] = new
        if data.draw(st.booleans()):
            del raw[data.draw(st.integers(0, len(raw))) :]
        (index / name).write_bytes(raw)
        signed(index)
        if (found := load(opened, stamp(opened), index)) is not None:
            use(Opened(*found))


def test_a_forged_index_that_is_not_changed_is_read(place: Callable[[str], Path]) -> None:
    """What the test above forges would be believed but for its values."""
    path = place("same-boot-7.2")
    opened = Session.open(path)
    with hostile_index(path) as index:
        assert load(opened, stamp(opened), index) is None
        signed(index)
        assert load(opened, stamp(opened), index) is not None


@pytest.mark.parametrize("column", ["kind", "buffer", "offset", "length", "comm"])
def test_a_value_out_of_bounds_is_a_clear_error(place: Callable[[str], Path], column: str) -> None:
    path = place("same-boot-7.2")
    opened = Session.open(path)
    with hostile_index(path) as index:
        raw = bytearray((index / ROWS).read_bytes())
        values = kept._columns(raw, 5018)[column]  # type: ignore[arg-type]
        last = values[-1:].ctypes.data - np.frombuffer(raw, np.uint8).ctypes.data
        raw[last : last + values.itemsize] = b"\xff" * (values.itemsize - 1) + b"\x7f"
        (index / ROWS).write_bytes(raw)
        signed(index)
        found = load(opened, stamp(opened), index)
        assert found is not None
        recording = found[0]
        assert len(recording.table(np.arange(10))) == 10
        with pytest.raises(TracekitError, match="remove SESSION/index"):
            recording.table(np.array([len(recording) - 1]))
        looked_up = {"kind": ("event", "source"), "comm": ("comm",)}
        for name in looked_up.get(column, ()):
            with pytest.raises(TracekitError, match="remove SESSION/index"):
                list(tally(recording, name, Selection(len(recording))))
            with pytest.raises(TracekitError, match="remove SESSION/index"):
                order_by(recording, None, name, False, lambda done, total: None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


def replaced(document: Any, draw: Callable[[Any], Any]) -> Any:
    """The document with one value somewhere in it replaced."""
    document = copy.deepcopy(document)
    node = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if not isinstance(node[key], (dict, list)) or not node[key] or draw(st.booleans()):
            node[key] = draw(json_values)
            return document
        node = node[key]


@given(data=st.data())
def test_a_forged_description_is_refused_or_sound(place: Callable[[str], Path], data: Any) -> None:
    path = place("handover-7.2-tsc")
    opened = Session.open(path)
    with hostile_index(path) as index:
        signed(index)
        body = json.loads((index / ABOUT).read_bytes().partition(b"\n")[2])
        signed(index, replaced(body, data.draw))
        found = load(opened, stamp(opened), index)
        if found is not None:
            recording, report, *_ = found
            assert isinstance(report, Report)
            with suppress(TracekitError):  # too few tasks' names, say
                assert len(recording.table(np.arange(20), args=False)) == 20


@given(json_values)
def test_a_document_of_anything_is_a_value_error(document: Any) -> None:
    with pytest.raises(ValueError):
        decode(About, document)


def test_only_annotated_types_are_written() -> None:
    assert decode(dict[int, tuple[str, ...]], {"5": ["a"]}) == {5: ("a",)}  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        decode(dict[float, str], {})  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        decode(int, True)


# -- ends before its time ---------------------------------------------------------------------


def builder(path: Path, directory: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _START, os.pathsep.join(sys.path), str(path), str(directory)],
        pass_fds=[directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def longer(
    session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    """A session that takes some time to decode."""
    base = tmp_path_factory.mktemp("longer")
    return lambda: repeat(session("same-boot-7.2"), base / str(time.monotonic_ns()), 20)


@pytest.mark.parametrize("lines", range(0, 28, 9))
def test_a_killed_builder_leaves_nothing_that_is_believed(
    longer: Callable[[], Path], lines: int
) -> None:
    path = longer()
    part = path / f".{INDEX}.part-1"
    part.mkdir(mode=0o700)
    fd = os.open(part, os.O_RDONLY)
    with builder(path, fd) as child:
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.kill()
    os.close(fd)
    opened = Session.open(path)
    found = load(opened, stamp(opened), part)
    assert found is None or len(found[0]) == 20 * 5018
    assert kept_in(path) is None
    again = open_recording(path, quiet, many=0)
    assert len(again.recording) == 20 * 5018 and not leftovers(path) and not remarks(again)


def test_the_builder_goes_when_it_is_not_wanted(longer: Callable[[], Path]) -> None:
    path = longer()
    part = path / f".{INDEX}.part-1"
    part.mkdir(mode=0o700)
    fd = os.open(part, os.O_RDONLY)
    with builder(path, fd) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        child.stdin.close()  # as the kernel does when its parent is killed
        assert child.wait(60) == 1
    assert list(part.iterdir()) == []
    os.close(fd)


OPENER = """
import sys
from tracekit.browse.open import open_recording
open_recording(sys.argv[1], lambda what, share: print(what, share, flush=True), many=0)
print("over", flush=True)
"""


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


def test_two_at_once_do_not_disturb_each_other(longer: Callable[[], Path]) -> None:
    path = longer()
    command = [sys.executable, "-c", OPENER, str(path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert all(child.communicate()[0].endswith("over\n") for child in both)
    assert kept_in(path) is not None and not leftovers(path)


class Enough(Exception):
    pass


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


# -- where it cannot be kept ------------------------------------------------------------------


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


def test_an_index_behind_a_link_is_not_read(small: Path, tmp_path: Path) -> None:
    open_recording(small, quiet, many=0)
    (small / INDEX).rename(tmp_path / "real")
    (small / INDEX).symlink_to(tmp_path / "real")
    assert kept_in(small) is None


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    where = tmp_path / "scratch"
    where.mkdir()
    monkeypatch.setenv("TMPDIR", str(where))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return where


def test_a_session_that_cannot_be_written(
    small: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(derived_module, "_sweep", no)  # the first that touches the directory
        opened = open_recording(small, quiet, many=0)
    assert "Read-only file system" in remarks(opened)[0]
    assert "as long every time" in remarks(opened)[0]
    assert not (small / INDEX).exists() and list(scratch.iterdir()) == []
    assert "buffers" not in vars(opened.recording.boots[0])
    plain = open_recording(small, quiet, many=NEVER)
    assert opened.recording.table().equals(plain.recording.table())


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


def test_the_disk_is_not_filled_to_the_last_byte(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nearly:
        f_bavail, f_frsize = 20_000, 4096

    where = tmp_path / "directory"
    where.mkdir()
    fd = os.open(where, os.O_RDONLY)
    monkeypatch.setattr(os, "fstatvfs", lambda _: Nearly)
    assert keeping.build(str(small), fd, quiet) == 5018
    for name in (ROWS, DATA, ABOUT):
        (where / name).unlink()
    Nearly.f_bavail = 17_000
    with pytest.raises(OSError, match="more bytes are needed"):
        keeping.build(str(small), fd, quiet)
    os.close(fd)


def test_a_session_that_cannot_be_read_says_so(small: Path) -> None:
    (small / "manifest.json").write_text("{")
    with pytest.raises(TracekitError, match="manifest"):
        open_recording(small, quiet, many=0)


# -- 20 million events ------------------------------------------------------------------------

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
