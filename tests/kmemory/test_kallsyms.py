"""The packed symbols: a real kernel's, and made ones in every encoding of addresses."""

from __future__ import annotations

import hashlib
import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory.dead_kernels import PageMemory, words
from tracekit.errors import ParseError, SourceError
from tracekit.kmemory.kallsyms import Symbols, read_symbols
from tracekit.kmemory.memory import VirtualMemory
from tracekit.kmemory.vmcoreinfo import Vmcoreinfo

BASE = 0x1000_0000
NAMES = ["T_stext", "tlong" + "x" * 200, "Aper_cpu", "D_end"]
ADDRESSES = [BASE, BASE + 0x10, 0x2F00, BASE + 0x9000]


class Flat:
    """Addresses that mean themselves."""

    def translate(self, address: int) -> tuple[int, int]:
        return address, 4096 - address % 4096


def test_a_real_kernels(dead) -> None:
    lines = dead.kernel.symbols.kallsyms().splitlines()
    known = dead.json("digests.json")
    assert len(lines) == known["kallsyms_lines"]
    assert hashlib.sha256(b"\n".join(lines)).hexdigest() == known["kallsyms_sha256"]
    symbols = dead.kernel.symbols
    assert symbols.find("nothing") is None
    stext = symbols.find("_stext")
    assert stext == dead.kernel.info.symbols["_stext"]
    assert stext < symbols.end_of(stext)
    assert symbols.end_of(1 << 64) == 1 << 64


def made(encoding: str) -> tuple[PageMemory, Vmcoreinfo]:
    """A kernel of four symbols; each token is one character, but "long" is one."""
    tokens = [bytes([code]) for code in range(256)]
    tokens[1] = b"long"
    tokens[0] = b""
    table, index = b"", []
    for token in tokens:
        index.append(len(table))
        table += token + b"\0"
    names = b""
    for name in NAMES:
        packed = name.encode().replace(b"long", b"\x01")
        size = len(packed)
        names += bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        names += packed
    info = Vmcoreinfo({"OSRELEASE": "1.0"}, {"_stext": BASE, "swapper_pg_dir": 0})
    memory = PageMemory({})
    places = {"num_syms": 0x1000, "names": 0x2000, "token_table": 0x4000, "token_index": 0x5000}
    for part, data in (
        ("num_syms", struct.pack("<I", len(NAMES))),
        ("names", names),
        ("token_table", table),
        ("token_index", struct.pack("<256H", *index)),
    ):
        memory.poke(places[part], data)
        info.symbols[f"kallsyms_{part}"] = places[part]
    offsets = 0x6000
    if encoding == "absolute":
        info.symbols["kallsyms_addresses"] = offsets
        memory.poke(offsets, words(*ADDRESSES))
        return memory, info
    info.symbols["kallsyms_offsets"] = offsets
    if encoding == "own place":
        numbers = [address - (offsets + 4 * i) for i, address in enumerate(ADDRESSES)]
    elif encoding == "base":
        numbers = [address - 0x2000 for address in ADDRESSES]
        memory.poke(0x7000, words(0x2000))
    else:
        numbers = [BASE - 1 - a if a >= BASE else a for a in ADDRESSES]
        memory.poke(0x7000, words(BASE))
    if encoding != "own place":
        info.symbols["kallsyms_relative_base"] = 0x7000
    memory.poke(offsets, struct.pack("<4i", *numbers))
    return memory, info


@pytest.mark.parametrize("encoding", ["absolute", "own place", "base", "absolute per-CPU"])
def test_every_encoding(encoding: str) -> None:
    memory, info = made(encoding)
    symbols = read_symbols(VirtualMemory(memory, Flat()), info)
    assert [(s.type + s.name, s.address) for s in symbols] == list(
        zip(NAMES, ADDRESSES, strict=True)
    )
    assert [symbols.find(name[1:]) for name in NAMES] == list(ADDRESSES)


def test_the_first_of_a_name_counts_and_a_part_of_one_is_none() -> None:
    symbols = Symbols(b"\nta\ntb\nTbta\nTa\n\nt\nTc\n", array("Q", range(1, 8)))
    assert [symbols.find(name) for name in ("a", "b", "bta", "ta", "", "c", "d")] == [
        1, 2, 3, None, 6, 7, None,
    ]  # fmt: skip
    assert [s.name for s in symbols] == ["a", "b", "bta", "a", "", "", "c"]
    assert [symbols.end_of(address) for address in (0, 3, 7, 9)] == [1, 4, 7, 9]


def test_characters_that_no_name_has_become_question_marks() -> None:
    memory, info = made("base")
    memory.poke(0x200A, b"\n\xff")
    _, second, *_ = read_symbols(VirtualMemory(memory, Flat()), info)
    assert (second.type + second.name)[:3] == "??x"


def test_symbols_that_contradict_the_note_are_refused() -> None:
    memory, info = made("absolute")
    info.symbols["_stext"] = 5
    with pytest.raises(ParseError, match="_stext is 0x5, but by the symbols it is 0x10000000"):
        read_symbols(VirtualMemory(memory, Flat()), info)


def test_a_symbol_of_empty_tokens_is_refused() -> None:
    memory, info = made("absolute")
    memory.poke(0x2000, bytes([len(NAMES[0])]) + bytes(len(NAMES[0])))
    with pytest.raises(ParseError, match="symbol 0 has neither type nor name"):
        read_symbols(VirtualMemory(memory, Flat()), info)


def test_a_note_without_symbols_says_which_kernels_have_them() -> None:
    memory, info = made("absolute")
    del info.symbols["kallsyms_names"]
    with pytest.raises(ParseError, match=r"kernels from 6\.0 on"):
        read_symbols(VirtualMemory(memory, Flat()), info)


@pytest.mark.parametrize("count", [0, 1 << 30])
def test_counts_of_no_kernel_are_refused(count: int) -> None:
    _, info = made("absolute")
    memory = PageMemory({})
    memory.poke(info.symbols["kallsyms_num_syms"], struct.pack("<I", count))
    with pytest.raises(ParseError, match="no kernel has so many"):
        read_symbols(VirtualMemory(memory, Flat()), info)


@given(
    st.sampled_from(["absolute", "own place", "base", "absolute per-CPU"]),
    st.lists(st.tuples(st.integers(0x1000, 0x7010), st.binary(min_size=1, max_size=8)), max_size=8),
)
def test_damage_is_refused_or_gives_symbols(encoding: str, damage: list[tuple[int, bytes]]) -> None:
    memory, info = made(encoding)
    for address, data in damage:
        memory.poke(address, data)
    try:
        symbols = read_symbols(VirtualMemory(memory, Flat()), info)
    except SourceError:
        return
    assert len(symbols) == len(list(symbols))
