"""Memory that lies in files beyond a limit: it holds what was put there."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit import spill
from tracekit.errors import SourceError
from tracekit.spill import Spill, release


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Spill:
    """A spill that holds nothing in memory."""
    monkeypatch.setattr(spill, "_HELD", 0)
    return Spill()


def test_the_first_of_it_is_plain_memory() -> None:
    some = Spill()
    data = b"x" * 100
    assert some.kept(data) is data
    assert isinstance(some.room(10).view.obj, bytearray)


@given(parts=st.lists(st.binary(max_size=9000), max_size=6), stated=st.integers(0, 30_000))
def test_what_is_collected_is_there_whatever_size_was_stated(
    parts: list[bytes], stated: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill, "_HELD", 0)
        made = Spill().collected(parts, stated)
        release()
        assert bytes(made) == b"".join(parts)


def test_what_was_written_stays_when_memory_is_let_go_of(small: Spill) -> None:
    pieces = [small.room(5000).view for _ in range(5)]
    for number, piece in enumerate(pieces):
        assert bytes(piece) == bytes(5000)
        piece[:] = bytes([number]) * 5000
        release()
    assert [bytes(p) for p in pieces] == [bytes([n]) * 5000 for n in range(5)]


def test_more_than_one_file(small: Spill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_FILE", 8192)
    monkeypatch.setattr(spill, "_LARGE", 8192)
    pieces = [small.kept(bytes([n]) * 6000) for n in range(4)]
    large = small.room(20_000).view
    large[-1] = 7
    release()
    assert [bytes(p) for p in pieces] == [bytes([n]) * 6000 for n in range(4)]
    assert len(large) == 20_000 and large[-1] == 7
    assert bytes(small.collected([b"", b"x" * 9000], 10_000)) == b"x" * 9000
    assert bytes(small.collected([], 10_000)) == b""


def test_files_have_no_name_and_end_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(spill, "_HELD", 0)

    def opened() -> int:
        links = (link for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
        return sum(str(tmp_path) in str(link.readlink()) for link in links)

    some = Spill()
    view = some.room(100).view
    assert not [*tmp_path.iterdir()]
    assert opened()
    del view, some
    assert not opened()


def test_a_spill_of_another_shares_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_HELD", 1000)
    whole = Spill()
    part = Spill(whole)
    assert part.fits(1000)
    assert isinstance(part.room(600).view.obj, bytearray)
    assert not whole.fits(600) and not part.fits(600)
    assert not isinstance(whole.room(600).view.obj, bytearray)


def test_what_a_spill_of_another_held_is_given_back_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spill, "_HELD", 1000)
    whole = Spill()
    for _ in range(3):
        part = Spill(whole)
        assert isinstance(part.room(900).view.obj, bytearray)
        assert isinstance(whole.kept(bytes(200)), memoryview)
        del part
    assert whole.fits(1000)


@pytest.mark.parametrize("held", [0, 1 << 20])
@pytest.mark.parametrize("large", [0, 1 << 20])
def test_what_is_put_into_a_room_is_seen_there(
    monkeypatch: pytest.MonkeyPatch, held: int, large: int
) -> None:
    monkeypatch.setattr(spill, "_HELD", held)
    monkeypatch.setattr(spill, "_LARGE", large)
    some = Spill()
    before, room = some.room(5000), some.room(200_000)
    assert room.in_file == (not held)
    data = bytes(range(256)) * 300
    room.put(3, data)
    room.put(100_000, memoryview(data))
    release()
    assert bytes(room.view[:3]) == bytes(3) and bytes(room.view[3 : 3 + len(data)]) == data
    assert bytes(room.view[100_000 : 100_000 + len(data)]) == data
    assert bytes(before.view) == bytes(5000)


def test_a_full_disk_is_said_with_the_way_out(
    small: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SourceError, match=r"No space left.*4,096 more bytes.*TMPDIR=DIR"):
        small.room(4096)
    with pytest.raises(SourceError, match=r"No space left.*more bytes.*TMPDIR=DIR"):
        small.need(1 << 60)


def test_memory_is_let_go_of_while_another_thread_takes_some(small: Spill) -> None:
    made: list[bytes] = []
    thread = Thread(target=lambda: made.extend(Spill(small).kept(b"x" * 5000) for _ in range(300)))
    thread.start()
    while thread.is_alive():
        release()
    thread.join()
    assert len(made) == 300 and all(bytes(one) == b"x" * 5000 for one in made)
