"""Page tables, made: every level, large pages, and both machines."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory.dead_kernels import PageMemory
from tracekit.errors import ParseError
from tracekit.kmemory.memory import Absent
from tracekit.kmemory.page_tables import page_tables
from tracekit.kmemory.vmcoreinfo import Vmcoreinfo

TOP = 0x10_0000
ADDRESS = 0xFFFF_8880_1234_5678
TEXT = 0xFFFF_FFFF_8000_0000


def x86(five: bool = False, sme: int = 0) -> Vmcoreinfo:
    numbers = {"phys_base": 0, "pgtable_l5_enabled": int(five), "sme_mask": sme}
    return Vmcoreinfo({"OSRELEASE": "1"}, {"swapper_pg_dir": TEXT + TOP}, numbers)


def arm(page: int, built: int, size: int) -> Vmcoreinfo:
    numbers = {"kimage_voffset": 0x1_0000_0000, "VA_BITS": built, "TCR_EL1_T1SZ": size}
    values = {"OSRELEASE": "1", "PAGESIZE": str(page)}
    return Vmcoreinfo(values, {"swapper_pg_dir": TOP + 0x1_0000_0000}, numbers)


def entry(memory: PageMemory, table: int, index: int, value: int) -> None:
    memory.poke(table + 8 * index, struct.pack("<Q", value))


def chain(memory: PageMemory, shifts: list[tuple[int, int]], leaf: int, bits: int = 3) -> None:
    """Tables from TOP down, each in 64 KiB of its own; the last entry is ``leaf``."""
    table = TOP
    for number, (shift, width) in enumerate(shifts):
        index = ADDRESS >> shift & (1 << width) - 1
        for page in range(0, 8 << width, 4096):
            memory.pages.setdefault(table + page & -4096, bytes(4096))
        last = number == len(shifts) - 1
        entry(memory, table, index, leaf if last else table + 0x10000 | bits)
        table += 0x10000


FOUR = [(39, 9), (30, 9), (21, 9), (12, 9)]


@pytest.mark.parametrize(
    ("info", "levels", "leaf", "expected"),
    [
        (x86(), FOUR, 0x7_6000_0163, (0x7_6000_0678, 4096 - 0x678)),
        (x86(five=True), [(48, 9), *FOUR], 0x7_6000_0163, (0x7_6000_0678, 4096 - 0x678)),
        (x86(), FOUR[:3], 0x7_6000_01E3, (0x7_6014_5678, (2 << 20) - 0x145678)),
        (x86(), FOUR[:2], 0x7_4000_01E3, (0x7_5234_5678, (1 << 30) - 0x12345678)),
        # not executable, encrypted: bits that are no address
        (
            x86(sme=1 << 47), FOUR, 1 << 63 | 1 << 47 | 0x6000_0163,
            (0x6000_0678, 4096 - 0x678),
        ),
        (arm(4096, 48, 16), FOUR, 0x7_6000_0703, (0x7_6000_0678, 4096 - 0x678)),
        (arm(4096, 48, 16), FOUR[:3], 0x7_6000_0701, (0x7_6014_5678, (2 << 20) - 0x145678)),
        (arm(4096, 39, 25), FOUR[1:], 0x7_6000_0703, (0x7_6000_0678, 4096 - 0x678)),
        (
            arm(4096, 52, 12), [(48, 4), *FOUR], 0x7_6000_0203,
            (0x7_6000_0678 | 2 << 50, 4096 - 0x678),
        ),
        (
            arm(16384, 47, 17), [(36, 11), (25, 11), (14, 11)], 0x7_6000_0703,
            (0x7_6000_1678, 16384 - 0x1678),
        ),
        (
            arm(65536, 52, 12), [(42, 10), (29, 13), (16, 13)], 0x7_6000_5703,
            (0x7_6000_5678 | 5 << 48, 65536 - 0x5678),
        ),
        # built for 52 bits, on a machine of 48: the last part of the same table
        (
            arm(65536, 52, 16), [(42, 10), (29, 13), (16, 13)], 0x7_6000_0703,
            (0x7_6000_5678, 65536 - 0x5678),
        ),
    ],
)  # fmt: skip
def test_a_walk(info, levels, leaf, expected) -> None:
    memory = PageMemory({})
    chain(memory, levels, leaf)
    tables = page_tables(memory, info)
    assert tables.translate(ADDRESS) == expected
    assert tables.translate(ADDRESS) == expected  # from what it remembers


@pytest.mark.parametrize("info", [x86(), arm(4096, 48, 16)])
def test_what_is_not_mapped(info) -> None:
    memory = PageMemory({})
    chain(memory, FOUR, 0)
    with pytest.raises(Absent, match="0xffff888012345000 is not mapped"):
        page_tables(memory, info).translate(ADDRESS)
    chain(memory, FOUR, 0x7_6000_0701)  # in the last level that is no page on arm64
    if info.numbers.get("VA_BITS"):
        with pytest.raises(Absent, match="is not mapped"):
            page_tables(memory, info).translate(ADDRESS)


def test_a_table_that_is_not_in_the_dump_is_named() -> None:
    with pytest.raises(Absent, match="the page table at physical address 0x100000"):
        page_tables(PageMemory({}), x86()).translate(ADDRESS)


def test_other_machines_are_named() -> None:
    info = Vmcoreinfo({"OSRELEASE": "6.1"}, {"swapper_pg_dir": 0}, {"va_kernel_pa_offset": 1})
    with pytest.raises(ParseError, match="x86_64 and arm64"):
        page_tables(PageMemory({}), info)
    with pytest.raises(ParseError, match="addresses of 999 bits"):
        page_tables(PageMemory({}), arm(65536, 999, 16))


def test_a_real_kernels(dead) -> None:
    """The text, mapped by large pages, and the direct map agree on where the banner is."""
    tables = page_tables(dead.memory, dead.kernel.info)
    address = dead.kernel.symbol("linux_banner")
    physical, _ = tables.translate(address)
    assert dead.memory.read(physical, 14) == b"Linux version "


@given(
    st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(min_size=8, max_size=8)), max_size=20),
    st.integers(0, (1 << 64) - 1),
    st.sampled_from([x86(), x86(five=True), arm(4096, 48, 16), arm(65536, 52, 12)]),
)
def test_rubbish(entries, address, info) -> None:
    memory = PageMemory({TOP + i * 4096: bytes(4096) for i in range(64)})
    for place, data in entries:
        memory.poke(TOP + place, data)
    try:
        physical, size = page_tables(memory, info).translate(address)
    except Absent:
        return
    assert 0 <= physical < 1 << 64
    assert size > 0
