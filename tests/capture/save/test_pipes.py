"""trace_pipe_raw on a live kernel: what was read exists nowhere else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine_trees import PAGE, new_machine, noise, old_machine
from tracekit.capture.recover.recover import recover
from tracekit.capture.save import pipes
from tracekit.capture.save.pipes import drain
from tracekit.capture.save.snapshot import snapshot
from tracekit.session import Session
from tracekit.sysroot import Sysroot


class Pages:
    """A consuming source: a packet pipe, of which each read returns one page or EAGAIN."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_DIRECT)
        self.stream = os.fdopen(self.reader, "rb", buffering=0)

    def put(self, *pages: bytes) -> None:
        for page in pages:
            os.write(self.writer, page)


@pytest.fixture
def source() -> Iterator[Pages]:
    pages = Pages()
    yield pages
    pages.stream.close()
    os.close(pages.writer)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def content(fd: int) -> bytes:
    return os.pread(fd, 1 << 24, 0)


PAGES = [noise(PAGE, str(i)) for i in range(12)]


def test_pages_arrive_and_are_appended(source: Pages, part: int) -> None:
    source.put(*PAGES[:5])
    assert drain(source.stream, part, PAGE, True, 1 << 30)
    assert content(part) == b"".join(PAGES[:5])
    source.put(*PAGES[5:8])
    assert drain(source.stream, part, PAGE, True, 1 << 30)
    assert content(part) == b"".join(PAGES[:8])
    assert drain(source.stream, part, PAGE, True, 1 << 30)
    assert content(part) == b"".join(PAGES[:8])


def test_many_windows(tmp_path: Path, part: int) -> None:
    whole = noise(3 * 256 * PAGE + 3 * PAGE, "many")
    (tmp_path / "file").write_bytes(whole)
    with (tmp_path / "file").open("rb", buffering=0) as file:
        assert drain(file, part, PAGE, False, 1 << 30)
    assert content(part) == whole


def test_a_file_that_ends_within_a_page(tmp_path: Path, part: int) -> None:
    (tmp_path / "file").write_bytes(noise(PAGE + 5, "x"))
    with (tmp_path / "file").open("rb", buffering=0) as file:
        assert drain(file, part, PAGE, False, 1 << 30)
    assert content(part) == noise(PAGE + 5, "x")


def test_large_sub_buffers(tmp_path: Path, part: int) -> None:
    whole = noise(5 * 65536, "large")
    (tmp_path / "file").write_bytes(whole)
    with (tmp_path / "file").open("rb", buffering=0) as file:
        assert drain(file, part, 65536, False, 1 << 30)
    assert content(part) == whole


def test_a_buffer_that_never_ends(part: int) -> None:
    with open("/dev/urandom", "rb", buffering=0) as endless:  # noqa: PTH123
        assert not drain(endless, part, PAGE, True, 2 << 20)
    assert len(content(part)) == 2 << 20


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child runs no threads
@pytest.mark.parametrize("fatal", range(1, 8))
def test_a_kill_loses_no_page(
    source: Pages, part: int, fatal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child dies right after it has consumed a page, with no instruction in between."""
    source.put(*PAGES[:6])
    readv = os.readv
    child = os.fork()
    if child == 0:
        calls = 0

        def fatal_readv(fd: int, buffers: list[memoryview]) -> int:
            nonlocal calls
            calls += 1
            got = readv(fd, buffers)
            if calls == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return got

        os.readv = fatal_readv  # type: ignore[assignment]
        drain(source.stream, part, PAGE, True, 1 << 30)
        os._exit(0)
    os.waitpid(child, 0)
    source.put(*PAGES[6:8])
    assert drain(source.stream, part, PAGE, True, 1 << 30)
    assert content(part) == b"".join(PAGES[:8])


class LiveTree(Sysroot):
    """A tree that behaves like the live machine: reading its trace pages empties them."""

    live = True  # type: ignore[assignment]

    def kernel_log(self) -> bytes | None:
        return self.get("dmesg")


def test_recover_again_on_a_live_kernel(tmp_path: Path) -> None:
    """The second run's pages follow the first's, and none comes twice."""
    old, new = old_machine(), new_machine()
    snapshot(Sysroot(old.write(tmp_path / "old")), tmp_path / "S")
    tree = new.write(tmp_path / "new")
    pipe = tree / "sys/kernel/tracing/per_cpu/cpu0/trace_pipe_raw"
    pipe.write_bytes(b"".join(PAGES[:2]))
    recover(LiveTree(tree), tmp_path / "S")
    rel = "boots/1/tracefs/per_cpu/cpu0/trace_pipe_raw"
    assert Session.open(tmp_path / "S").read(rel) == b"".join(PAGES[:2])

    pipe.write_bytes(PAGES[2])
    recover(LiveTree(tree), tmp_path / "S")
    assert Session.open(tmp_path / "S").read(rel) == b"".join(PAGES[:3])

    # A run that was killed after it had drained ...
    part = tmp_path / "S/boots/1/trace_pipe_raw.cpu0.part"
    part.write_bytes(PAGES[3] + bytes(5 * PAGE))  # ... with the rest of its window unused
    pipe.write_bytes(PAGES[4])
    recover(LiveTree(tree), tmp_path / "S")
    assert Session.open(tmp_path / "S").read(rel) == b"".join(PAGES[:5])

    # ... and one that was killed when it had saved the pages, but not yet removed the .part.
    part.write_bytes(PAGES[4])
    pipe.write_bytes(b"")
    recover(LiveTree(tree), tmp_path / "S")
    session = Session.open(tmp_path / "S")
    assert session.read(rel) == b"".join(PAGES[:5])
    assert not list((tmp_path / "S").rglob("*.part"))


def test_a_live_buffer_that_fills_faster_than_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "_WINDOW", 2)
    new = new_machine()
    new.pipes = {"cpu0": b"".join(PAGES)}
    new.files["sys/kernel/tracing/buffer_size_kb"] = b"7 (expanded: 8)\n"
    result = recover(LiveTree(new.write(tmp_path / "new")), tmp_path / "S")
    assert "pipe-still-filling" in [d.code for d in result.diagnostics]


def test_a_pipe_that_cannot_be_read(tmp_path: Path) -> None:
    tree = new_machine().write(tmp_path / "new")
    pipe = tree / "sys/kernel/tracing/per_cpu/cpu1/trace_pipe_raw"
    pipe.unlink()
    pipe.mkdir()
    result = recover(Sysroot(tree), tmp_path / "S")
    assert "pipe-unreadable" in [d.code for d in result.diagnostics]
    assert Session.open(tmp_path / "S").has("boots/1/tracefs/per_cpu/cpu0/trace_pipe_raw")
