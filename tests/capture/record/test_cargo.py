"""What may cross besides the record, and where; the calls themselves run in the lab."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture.record.cargo import (
    NOTHING,
    Cargo,
    Wanted,
    check_cargo,
    parse_wanted,
    spans,
)
from tracekit.errors import UsageError
from tracekit.session.canary import Physical
from tracekit.sysroot import Sysroot

MIB = 1 << 20
IOMEM = """\
00100000-6fffffff : System RAM
60000000-61ffffff : Reserved
70000000-70ffffff : Reserved
"""
TRACING = "memmap=16M$0x70000000 trace_instance=tk@0x70000000:8M"
CARVED = f"{TRACING} memmap=32M$0x60000000"


def root(where: Path, cmdline: str, *, device: bool = False, iomem: str = "") -> Sysroot:
    (where / "proc").mkdir()
    (where / "proc/cmdline").write_text(cmdline)
    (where / "proc/version").write_text("Linux version 7.3.4 (x)")
    (where / "proc/iomem").write_text(iomem)
    if device:
        (where / "dev").mkdir()
        (where / "dev/liveupdate").write_bytes(b"")
    return Sysroot(where)


RESERVED = "60000000-61ffffff : Reserved\n70000000-70ffffff : Reserved\n"


def test_nothing_needs_nothing(tmp_path: Path) -> None:
    assert check_cargo(root(tmp_path, ""), NOTHING) == NOTHING


def test_luo_comes_first(tmp_path: Path) -> None:
    wanted = Cargo("lab", Wanted(MIB))
    assert check_cargo(root(tmp_path, CARVED, device=True, iomem=RESERVED), wanted) == wanted


def test_a_carve_out_of_its_own_comes_second(tmp_path: Path) -> None:
    """Never one in which a trace instance lies."""
    machine = root(tmp_path, CARVED, iomem=RESERVED)
    chosen = check_cargo(machine, Cargo(canary=Wanted(MIB))).canary
    assert chosen == Wanted(MIB, 0x60000000)
    with pytest.raises(UsageError, match="with a trace instance on it"):
        check_cargo(machine, Cargo(canary=Wanted(MIB, 0x70800000)))
    with pytest.raises(UsageError, match="is in no memmap="):
        check_cargo(machine, Cargo(canary=Wanted(MIB, 0x61F80000)))
    inside = Cargo(canary=Wanted(MIB, 0x60800000))
    assert check_cargo(machine, inside) == inside


def test_what_a_machine_cannot_carry(tmp_path: Path) -> None:
    machine = root(tmp_path, TRACING, iomem=RESERVED)
    with pytest.raises(UsageError, match=r"-o luo:lab: no liveupdate= .*boot with kho=on"):
        check_cargo(machine, Cargo("lab"))
    with pytest.raises(UsageError, match="no memory that survives and is free has 1024 KiB"):
        check_cargo(machine, Cargo(canary=Wanted(MIB)))


def test_memory_that_is_in_use(tmp_path: Path) -> None:
    """The command line says that it is kept, the memory map does not."""
    machine = root(tmp_path, CARVED, iomem="00100000-7fffffff : System RAM\n")
    with pytest.raises(UsageError, match="calls 0x60000000 System RAM, not Reserved"):
        check_cargo(machine, Cargo(canary=Wanted(MIB)))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("64M", Wanted(64 << 20)),
        ("4096", Wanted(4096)),
        ("64M@0x60000000", Wanted(64 << 20, 0x60000000)),
        ("1G@1G", Wanted(1 << 30, 1 << 30)),
    ],
)
def test_size_and_place(text: str, wanted: Wanted) -> None:
    assert parse_wanted(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "x", "64MB", "0", "1000", "64M@", "64M@x", "4K@1", "2T", "-4K"]
)
def test_sizes_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="--canary"):
        parse_wanted(text)


PRESENT = 1 << 63


def test_pagemap() -> None:
    """Soft-dirty and other bits are no part of a frame's number; 0 is one that is hidden."""
    entries = [
        PRESENT | 5,
        PRESENT | 6 | 1 << 55,
        7,
        PRESENT | 8,
        PRESENT,
        PRESENT | 2,
        PRESENT | 9,
    ]
    assert list(spans(entries, 4096)) == [
        Physical(0, 5 * 4096, 2 * 4096),
        Physical(3 * 4096, 8 * 4096, 4096),
        Physical(5 * 4096, 2 * 4096, 4096),
        Physical(6 * 4096, 9 * 4096, 4096),
    ]


@given(st.lists(st.integers(0, 12), max_size=30))
def test_every_page_that_is_known_is_in_one_span(numbers: list[int]) -> None:
    found = list(spans([PRESENT | n for n in numbers], 16384))
    pages = {
        (span.offset + at) // 16384: (span.address + at) // 16384
        for span in found
        for at in range(0, span.size, 16384)
    }
    assert pages == {page: n for page, n in enumerate(numbers) if n}
    assert sum(span.size for span in found) == 16384 * len(pages)
