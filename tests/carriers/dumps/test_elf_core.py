"""Physical memory out of ELF cores, ours and the captures'."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.elf_core_writer import NO_ADDRESS, PT_DYNAMIC, PT_NOTE, Segment, write_core
from tracekit.carriers.dumps.elf_core import ElfCore
from tracekit.carriers.memory import CHUNK
from tracekit.errors import SourceError


def memory(core: bytes) -> ElfCore:
    return ElfCore(io.BytesIO(core), "core")


def pattern(size: int, seed: int = 0) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(size)


def test_a_capture(capture: Callable[[str], Path]) -> None:
    path = capture("handover-7.2-tsc") / "new/proc/kcore"
    with path.open("rb", buffering=0) as file, ElfCore(file, "kcore") as core:
        assert [(r.address, r.size) for r in core.ranges] == [
            (2099249152, 4 << 20),
            (2103443456, 4 << 20),
        ]
        assert core.read(2103443456, 4) == b"\xed\xfe\xad\x0b"
        both = core.read(2103443456 - 8, 16)
        assert both[8:12] == b"\xed\xfe\xad\x0b"
    assert file.closed


def test_ranges_and_reads() -> None:
    low, high = pattern(5000, 1), pattern(3000, 2)
    core = memory(
        write_core(
            [
                Segment(0, b"note", PT_NOTE),
                Segment(0x200000, high),
                Segment(0x100000, low),
                Segment(NO_ADDRESS, b"vmalloc"),
                Segment(0x300000, b""),
                Segment(0x400000, b"abc", PT_DYNAMIC),
            ],
            gap=13,
        )
    )
    assert [(r.address, r.size) for r in core.ranges] == [(0x100000, 5000), (0x200000, 3000)]
    assert core.read(0x100000, 5000) == low
    assert core.read(0x100001, 17) == low[1:18]
    assert core.read(0x200000 + 2999, 1) == high[-1:]
    assert core.read(0x200000, 0) == b""
    assert core.holds(0x100000, 5000)
    assert not core.holds(0x100000, 5001)
    assert not core.holds(0, 4)


@pytest.mark.parametrize(
    ("address", "size", "missing"),
    [(0x0, 16, 0x0), (0xFFFFF, 2, 0xFFFFF), (0x100000, 5001, 0x101388), (0x500000, 1, 0x500000)],
)
def test_a_range_that_is_not_there(address: int, size: int, missing: int) -> None:
    core = memory(write_core([Segment(0x100000, pattern(5000))]))
    with pytest.raises(SourceError, match=f"{missing:#x}.*It holds 0x100000-0x101388"):
        core.read(address, size)


def test_the_rest_of_a_long_list_is_counted() -> None:
    core = memory(write_core([Segment(i << 20, b"x") for i in range(300)]))
    assert core.describe().endswith("and 292 more")
    assert memory(write_core([])).describe() == "no physical memory"


def test_touching_and_overlapping_segments() -> None:
    whole = pattern(100_000)
    pieces = [(0, 40_000), (40_000, 41_000), (30_000, 70_000), (70_000, 100_000), (0, 10)]
    core = memory(write_core([Segment(0x1000 + a, whole[a:b]) for a, b in pieces], gap=3))
    assert core.read(0x1000, 100_000) == whole
    assert core.read(0x1000 + 39_999, 2) == whole[39_999:40_001]


def test_what_was_not_dumped_is_not_there() -> None:
    """p_filesz < p_memsz: makedumpfile left the rest out."""
    core = memory(write_core([Segment(0x1000, b"x" * 100, memory=4096)]))
    assert core.holds(0x1000, 100)
    assert not core.holds(0x1000, 101)
    more_in_the_file = memory(write_core([Segment(0x1000, b"x" * 100, memory=50)]))
    assert not more_in_the_file.holds(0x1000, 51)


def test_copies_stream_in_chunks() -> None:
    data = pattern(3 * CHUNK + 17)
    core = memory(write_core([Segment(0, data)]))
    out = io.BytesIO()
    sizes: list[int] = []

    class Writer:
        def write(self, part: bytes) -> None:
            assert len(part) <= CHUNK
            out.write(part)

    core.copy_to(1, len(data) - 1, Writer(), sizes.append)
    assert out.getvalue() == data[1:]
    assert sum(sizes) == len(data) - 1


def test_a_core_that_was_cut_off() -> None:
    core = memory(write_core([Segment(0x1000, pattern(5000))])[:-10])
    assert len(core.read(0x1000, 4990)) == 4990
    with pytest.raises(SourceError, match="cut off"):
        core.read(0x1000, 5000)


def test_a_read_error_is_a_source_error() -> None:
    class Failing(io.BytesIO):
        broken = False

        def read(self, size: int | None = -1, /) -> bytes:
            if self.broken:
                raise OSError(5, "Input/output error")
            return super().read(size)

    stream = Failing(write_core([Segment(0x1000, b"abc")]))
    core = ElfCore(stream, "core")
    stream.broken = True
    with pytest.raises(SourceError, match="Input/output error"):
        core.read(0x1000, 3)


GOOD = write_core([Segment(0x1000, b"abc")])


def patched(at: int, code: str, value: int) -> bytes:
    core = bytearray(GOOD)
    struct.pack_into(code, core, at, value)
    return bytes(core)


@pytest.mark.parametrize(
    "core",
    [
        b"",
        b"\x7fELF",
        b"not an ELF file at all, but long enough to hold a header" * 4,
        write_core([Segment(0x1000, b"abc")], kind=2),  # an executable
        patched(4, "B", 1),  # 32-bit
        patched(5, "B", 2),  # big-endian
        patched(56, "<H", 0xFFFF),  # e_phnum
        patched(32, "<Q", 1 << 63),  # e_phoff
        patched(32, "<Q", 1 << 40),
        patched(56, "<H", 5000),  # e_phnum: more than the file has
        patched(54, "<I", 0xFFFF << 16),  # e_phentsize 0: as many headers, one on the other
        patched(54, "<H", 64),
    ],
)
def test_files_that_are_no_core(core: bytes) -> None:
    with pytest.raises(SourceError, match="core"):
        memory(core)


@pytest.mark.parametrize("offset", [1 << 20, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_segment_beyond_the_file(offset: int) -> None:
    core = memory(patched(64 + 8, "<Q", offset))
    with pytest.raises(SourceError):
        core.read(0x1000, 3)


def test_a_segment_of_impossible_size() -> None:
    core = bytearray(GOOD)
    struct.pack_into("<QQ", core, 64 + 32, 1 << 62, 1 << 62)
    found = memory(bytes(core))
    with pytest.raises(SourceError, match="cut off"):
        found.read(0x1000, 1 << 61)
    struct.pack_into("<QQ", core, 64 + 32, (1 << 64) - 1, (1 << 64) - 1)
    assert memory(bytes(core)).ranges == ()


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=8))
def test_flipped_bytes(flips: list[tuple[int, int]]) -> None:
    core = bytearray(write_core([Segment(0x1000, b"abc"), Segment(0x2000, b"def" * 30)]))
    for at, value in flips:
        core[at % len(core)] = value
    try:
        memory(bytes(core)).read(0x1000, 3)
    except SourceError as error:
        assert "core" in str(error)


@given(st.binary(max_size=300))
def test_rubbish_after_the_magic(data: bytes) -> None:
    with pytest.raises(SourceError):
        memory(b"\x7fELF" + data).read(0, 1 << 20)


@given(st.data())
def test_any_range_of_any_segments(data: st.DataObject) -> None:
    """Against a plain dict of bytes."""
    whole = pattern(600)
    cuts = data.draw(st.lists(st.tuples(st.integers(0, 599), st.integers(1, 600)), max_size=8))
    segments = [Segment(0x1000 + a, whole[a : a + n]) for a, n in cuts]
    known = {0x1000 + a + i for a, n in cuts for i in range(min(n, 600 - a))}
    core = memory(write_core(segments, gap=data.draw(st.integers(0, 9))))
    address = data.draw(st.integers(0xFF0, 0x1000 + 610))
    size = data.draw(st.integers(0, 620))
    wanted = range(address, address + size)
    if all(a in known for a in wanted):
        assert core.read(address, size) == whole[address - 0x1000 : address - 0x1000 + size]
        assert core.holds(address, size)
    else:
        assert not core.holds(address, size)
        with pytest.raises(SourceError):
            core.read(address, size)
