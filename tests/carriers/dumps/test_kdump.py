"""makedumpfile's compressed format: a real dump, our own ones, damaged ones, drgn's reading."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory.kdump_writer import (
    CODECS,
    INCOMPLETE,
    LZO,
    PAGE,
    RAW,
    SNAPPY,
    ZLIB,
    ZSTD,
    flattened,
    write_kdump,
)
from tracekit.carriers.dumps.flattened import Flattened
from tracekit.carriers.dumps.kdump import Kdump
from tracekit.errors import ParseError, SourceError
from tracekit.spans import filler

each = pytest.mark.parametrize("codec", CODECS)


def opened(data: bytes) -> Kdump:
    return Kdump(io.BytesIO(data), "dump")


def text(seed: int, size: int = PAGE) -> bytes:
    """A page that can be compressed."""
    words = random.Random(seed).choices([b"ring ", b"buffer ", b"page ", b"\0\0\0\0"], k=size)
    return b"".join(words)[:size]


PAGES = {frame: text(frame) for frame in (1, 2, 3, 7, 40_000, 40_001, 70_000)} | {
    2: random.Random(2).randbytes(PAGE),
    3: bytes(PAGE),
}


@pytest.mark.parametrize("name", ["zstd", "lzo"])
def test_a_real_dump(capture: Callable[[str], Path], name: str) -> None:
    """Cut from makedumpfile's dump of a lab crash; the digests are of what drgn reads in it."""
    folder = capture("kdump-cut")
    pages = json.loads((folder / "pages.json").read_text())
    with Kdump((folder / f"{name}.kdump").open("rb", buffering=0), name) as memory:
        assert memory.vmcoreinfo.startswith(b"OSRELEASE=7.2.13\n")
        assert memory.level == 23
        assert memory.describe() == (
            "0x100000-0x2f000000, 0x3f000000-0x3ffd4000, less what dump level 23 left out"
        )
        for address, digest in pages.items():
            data = memory.read(int(address, 16), PAGE)
            assert hashlib.sha256(data).hexdigest() == digest
        assert memory.held(0, 1 << 30) == PAGE * len(pages)


@each
def test_reads(codec: int) -> None:
    memory = opened(write_kdump(PAGES, codec))
    for frame, page in PAGES.items():
        assert memory.read(frame * PAGE, PAGE) == page
    assert memory.read(1 * PAGE + 4000, 200) == (PAGES[1] + PAGES[2])[4000:4200]
    assert memory.read(40_000 * PAGE, 2 * PAGE) == PAGES[40_000] + PAGES[40_001]
    assert memory.read(PAGE, 0) == b""
    assert memory.holds(PAGE, 3 * PAGE) and not memory.holds(PAGE, 3 * PAGE + 1)
    assert memory.held(0, 1 << 40) == len(PAGES) * PAGE
    assert [(r.address // PAGE, r.size // PAGE) for r in memory.ranges] == [
        (1, 3), (7, 1), (40_000, 2), (70_000, 1),
    ]  # fmt: skip
    with pytest.raises(SourceError, match="nothing holds 0x4000"):
        memory.read(3 * PAGE, 2 * PAGE)
    with pytest.raises(SourceError, match=f"nothing holds {1 << 50:#x}"):
        memory.read(1 << 50, 1)


def test_pages_of_64_kib() -> None:
    pages = {5: text(5, 1 << 16), 6: random.Random(6).randbytes(1 << 16)}
    memory = opened(write_kdump(pages, LZO, page=1 << 16))
    assert memory.read(5 << 16, 2 << 16) == pages[5] + pages[6]


def test_flattened_as_qemu_writes_it() -> None:
    data = flattened(write_kdump(PAGES, SNAPPY, vmcoreinfo=b"OSRELEASE=x\n" * 500))
    memory = Kdump(cast(io.BytesIO, Flattened(io.BytesIO(data), "dump")), "dump")
    assert memory.vmcoreinfo == b"OSRELEASE=x\n" * 500
    assert memory.read(7 * PAGE, PAGE) == PAGES[7]


def test_what_was_left_out_is_not_there() -> None:
    """But at dump level 1, where it can only be zeros."""
    for level, held in ((31, 1), (0, 1), (17, 1), (1, 3)):
        memory = opened(write_kdump({2: PAGES[1]}, level=level, existing=[1, 2, 3, 9]))
        assert memory.held(PAGE, 3 * PAGE) == held * PAGE
        assert memory.ranges[0].size == 3 * PAGE
        out = io.BytesIO()
        unread = memory.copy_to(PAGE, 3 * PAGE, out)
        if held == 3:
            assert not unread.spans
            assert out.getvalue() == bytes(PAGE) + PAGES[1] + bytes(PAGE)
        else:
            assert unread.spans == ((0, PAGE), (2 * PAGE, PAGE))
            assert out.getvalue() == filler(0, PAGE) + PAGES[1] + filler(2 * PAGE, PAGE)
            assert "is not wholly in it" in unread.error


def test_a_split_dump() -> None:
    """Each file has the bitmaps of all, and its own descriptors."""
    halves = [opened(write_kdump(PAGES, split=s)) for s in ((0, 7), (7, 70_001))]
    for frame, page in PAGES.items():
        assert halves[frame >= 7].read(frame * PAGE, PAGE) == page
        assert not halves[frame < 7].holds(frame * PAGE, 1)


def test_one_that_was_not_written_to_its_end() -> None:
    data = bytearray(write_kdump(PAGES, status=INCOMPLETE))
    place = data.rindex(struct.pack("<Q", len(data) - len(CODECS[ZLIB](PAGES[70_000]))))
    data[place : place + 24] = bytes(24)
    memory = opened(bytes(data))
    assert memory.describe().endswith(", and was not written to its end")
    with pytest.raises(SourceError, match="page at physical address 0x11170000 is missing"):
        memory.read(70_000 * PAGE, 1)
    cut = opened(write_kdump(PAGES)[:-10])
    assert cut.read(7 * PAGE, PAGE) == PAGES[7]
    with pytest.raises(SourceError, match="cut off"):
        cut.read(70_000 * PAGE, 1)


def test_a_damaged_page_is_the_only_one() -> None:
    data = bytearray(write_kdump(PAGES))
    middle = bytes(data).index(CODECS[ZLIB](PAGES[40_000])) + 9
    data[middle : middle + 8] = bytes(8)
    memory = opened(bytes(data))
    out = io.BytesIO()
    unread = memory.copy_to(39_999 * PAGE, 3 * PAGE, out)
    assert unread.spans == ((0, 2 * PAGE),)
    with pytest.raises(ParseError, match="page at physical address 0x9c40000 is damaged: zlib"):
        memory.read(40_000 * PAGE, 1)
    assert memory.read(40_001 * PAGE, PAGE) == PAGES[40_001]


GOOD = write_kdump({1: PAGES[1], 5: PAGES[2]}, vmcoreinfo=b"OSRELEASE=7\n")


def patched(at: int, code: str, value: int) -> bytes:
    data = bytearray(GOOD)
    struct.pack_into(code, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "expected the header"),
        (b"KDUMP   ", "expected the header"),
        (b"DISKDUMP" + GOOD[8:], "expected the header"),
        (GOOD[:4096], "sub header"),
        (GOOD[:9000], "cut off"),
        (patched(8, ">i", 6), "'x86_64' machine"),
        (patched(428, "<i", 0), "pages of 0 bytes"),
        (patched(428, "<i", 4097), "pages of 4097 bytes"),
        (patched(428, "<i", 1 << 30), "pages of"),
        (patched(432, "<i", 0), "does not read"),
        (patched(432, "<i", 0xFFFF), "cut off"),
        (patched(436, "<I", 0), "too small"),
        (patched(436, "<I", 0x7FFFFFFF), "cut off"),
        (patched(4096 + 96, "<Q", 1 << 63), "more than any machine"),
        (patched(4096 + 96, "<Q", 1 << 30), "too small"),
    ],
)
def test_headers_that_make_no_sense(data: bytes, part: str) -> None:
    with pytest.raises(SourceError, match=f"^dump: .*{part}"):
        opened(data)


def test_more_ranges_than_are_listed() -> None:
    """Every second page: what is in the dump is known exactly, the list of ranges ends."""
    pages = {frame: bytes([frame % 251]) * PAGE for frame in range(0, 10_000, 2)}
    memory = opened(write_kdump(pages))
    assert len(memory.ranges) == 4096
    assert memory.ranges[-1].end == 9_999 * PAGE
    assert memory.held(0, 10_000 * PAGE) == 5_000 * PAGE
    assert memory.read(9_998 * PAGE, 2) == bytes([9_998 % 251]) * 2


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=8))
def test_flipped_bytes(flips: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for offset, value in flips:
        data[offset] = value
    try:
        memory = opened(bytes(data))
        assert memory.describe()
        memory.copy_to(0, 8 * PAGE, io.BytesIO())
    except SourceError as error:
        assert "dump" in str(error)


@given(st.data())
def test_any_range_of_any_pages(data: st.DataObject) -> None:
    """Against a plain dict of pages."""
    frames = data.draw(st.sets(st.integers(0, 40), min_size=1))
    beyond = data.draw(st.sampled_from([0, 32_760, 65_530]))
    pages = {beyond + frame: bytes([frame + 1]) * PAGE for frame in frames}
    memory = opened(write_kdump(pages, data.draw(st.sampled_from([RAW, ZLIB, ZSTD]))))
    address = data.draw(st.integers(0, 42 * PAGE)) + beyond * PAGE
    size = data.draw(st.integers(0, 5 * PAGE))
    whole = b"".join(pages.get(beyond + n, bytes(PAGE)) for n in range(50))
    offset = address - beyond * PAGE
    absent = [a for a in range(address, address + size) if a // PAGE not in pages]
    assert memory.held(address, size) == size - len(absent)
    if absent:
        with pytest.raises(SourceError, match=f"nothing holds {absent[0]:#x}"):
            memory.read(address, size)
    else:
        assert memory.read(address, size) == whole[offset : offset + size]


@each
def test_drgn_reads_the_same(codec: int, tmp_path: Path) -> None:
    drgn = pytest.importorskip("drgn")
    note = b"OSRELEASE=7.2.13\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff82000000\n"
    note += b"SYMBOL(_stext)=ffffffff81000000\nNUMBER(phys_base)=0\nKERNELOFFSET=0\n"
    path = tmp_path / "dump"
    path.write_bytes(write_kdump(PAGES, codec, vmcoreinfo=note, level=31, existing=range(80_000)))
    program = drgn.Program()
    program.set_core_dump(path)
    with Kdump(path.open("rb"), "dump") as memory:
        for frame, page in PAGES.items():
            assert program.read(frame * PAGE, PAGE, physical=True) == page
            assert memory.read(frame * PAGE, PAGE) == page
        with pytest.raises(drgn.FaultError):
            program.read(5 * PAGE, 1, physical=True)
        with pytest.raises(SourceError):
            memory.read(5 * PAGE, 1)
