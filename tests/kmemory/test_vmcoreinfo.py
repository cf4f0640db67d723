"""The note: as text, and found in memory."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory.dead_kernels import PageMemory
from tracekit.errors import ParseError
from tracekit.kmemory.kernel import open_kernel
from tracekit.kmemory.vmcoreinfo import parse_vmcoreinfo, scan

TEXT = (
    b"OSRELEASE=7.2.13\nBUILD-ID=4952\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffffabe2d000\n"
    b"OFFSET(page.flags)=0\nNUMBER(phys_base)=-102760448\nNUMBER(VMALLOC_START)=0xff6f02a680000000\n"
)


def test_the_lines() -> None:
    info = parse_vmcoreinfo(TEXT + b"\0garbage")
    assert (info.release, info.page_size, info.crashed) == ("7.2.13", 4096, False)
    assert info.symbols == {"swapper_pg_dir": 0xFFFFFFFFABE2D000}
    assert info.numbers == {"phys_base": -102760448, "VMALLOC_START": 0xFF6F02A680000000}
    assert info.values["BUILD-ID"] == "4952"
    assert parse_vmcoreinfo(TEXT + b"CRASHTIME=1\n").crashed


@pytest.mark.parametrize("text", [b"", b"OSRELEASE=1\n", b"\xff" * 100, TEXT[20:]])
def test_what_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(ParseError, match="not a kernel's VMCOREINFO"):
        parse_vmcoreinfo(text)


def test_found_in_memory_that_of_the_kernel_that_panicked_first() -> None:
    memory = PageMemory({})
    memory.poke(0x3018, TEXT.replace(b"7.2.13", b"1.1.1"))  # behind its own note's header
    memory.poke(0x8000, TEXT.replace(b"7.2.13", b"2.2.2"))
    memory.poke(0x9100, TEXT.replace(b"7.2.13", b"3.3.3"))  # not where a page begins
    memory.poke(0xA000, b"OSRELEASE=of no kernel")
    assert [info.release for info in scan(memory)] == ["1.1.1", "2.2.2"]
    memory.poke(0xF000, TEXT.replace(b"7.2.13", b"4.4.4") + b"CRASHTIME=1\n")
    assert scan(memory)[0].release == "4.4.4"


def test_a_dump_without_a_note(lab) -> None:
    """The safe copy in the crash kernel's memory is not in /proc/vmcore, the kernel's own is."""
    found = scan(lab.memory)
    if not found:  # the walk does not touch that page: put it there
        memory = lab.memory.copy()
        text = "\n".join(
            [*(f"{k}={v}" for k, v in lab.kernel.info.values.items())]
            + [f"SYMBOL({k})={v:x}" for k, v in lab.kernel.info.symbols.items()]
            + [f"NUMBER({k})={v}" for k, v in lab.kernel.info.numbers.items()]
        )
        memory.poke(0x3D4018, text.encode() + b"\n\0")
        found = scan(memory)
        assert open_kernel(memory).info == lab.kernel.info
    assert found == [lab.kernel.info]


def test_memory_without_one_says_so() -> None:
    with pytest.raises(ParseError, match="no VMCOREINFO is in this memory"):
        open_kernel(PageMemory({0: bytes(4096)}))


@given(st.binary(max_size=300))
def test_noise(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse_vmcoreinfo(TEXT[:40] + data)
    memory = PageMemory({})
    memory.poke(0x1000, TEXT + data)
    memory.poke(0x2018, data)
    assert len(scan(memory)) <= 2
