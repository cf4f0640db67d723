"""The list of preserved memory: against a writer of its own, on rubbish, and a large one."""

from __future__ import annotations

import json
import resource
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.kho.fake_memory import PAGE, FakeMemory
from tests.support.kho.map_writer import Block, bitmaps, radix, terabyte
from tracekit.kho.preserved import walk_bitmaps, walk_radix
from tracekit.kho.preserved_sum import PreservedMap, preserved_from_dict, sum_map

FORMS = ("radix", "bitmaps", "short bitmaps")


def read(memory: FakeMemory, form: str, blocks: list[Block]) -> PreservedMap:
    notes: list[str] = []
    if form == "radix":
        leaves = walk_radix(memory.read, radix(memory, blocks), notes.append)
    else:
        size = 512 if form.startswith("short") else PAGE
        leaves = walk_bitmaps(memory.read, bitmaps(memory, blocks, size), notes.append)
    return sum_map(leaves, form, notes)


def counted(blocks: list[Block]) -> dict[int, int]:
    return {order: sum(o == order for _, o in blocks) for _, order in blocks}


def pages_of(blocks: list[Block]) -> set[int]:
    return {page for pfn, order in blocks for page in range(pfn, pfn + (1 << order))}


def ranges_of(pages: set[int]) -> list[tuple[int, int]]:
    out: list[list[int]] = []
    for page in sorted(pages):
        if out and out[-1][1] == page:
            out[-1][1] = page + 1
        else:
            out.append([page, page + 1])
    return [(a * PAGE, b * PAGE) for a, b in out]


def block(order: int, number: int) -> Block:
    return number << order, order


blocks_strategy = st.lists(
    st.builds(block, st.integers(0, 6), st.integers(0, 1 << 13)), max_size=60, unique=True
)


@pytest.mark.parametrize("form", FORMS)
@given(blocks_strategy)
def test_every_block_is_found(form: str, blocks: list[Block]) -> None:
    found = read(FakeMemory(1 << 40), form, blocks)
    assert found.notes == ()
    assert found.blocks == counted(blocks)
    assert found.pages == sum(1 << order for _, order in blocks)
    assert found.bytes == found.pages * PAGE == sum(found.density.cells.values())
    assert list(found.ranges) == ranges_of(pages_of(blocks))
    assert not found.ranges_cut


@pytest.mark.parametrize("form", FORMS)
def test_orders_and_addresses_up_high(form: str) -> None:
    blocks = [(0, 0), (1 << 20, 9), (3 << 28, 18), ((1 << 34) - 1, 0), (5 << 30, 10)]
    found = read(FakeMemory(1 << 50), form, blocks)
    assert found.blocks == counted(blocks)
    assert list(found.ranges) == sorted((p * PAGE, (p + (1 << o)) * PAGE) for p, o in blocks)
    assert found.largest == PAGE << 18
    assert found.holds(3 << 40, 1 << 30) == 1 << 30
    assert found.holds(0, 1 << 20) == PAGE
    assert sum(found.density.cells.values()) == found.bytes


def test_runs_of_neighbouring_blocks() -> None:
    blocks = [(p, 0) for p in (1, 2, 3, 32767, 32768, 40000)] + [(512, 9)]
    assert read(FakeMemory(), "radix", blocks).runs == 4
    assert read(FakeMemory(), "radix", [(p, 0) for p in range(0, 200, 2)]).runs == 100


def test_nothing_is_preserved() -> None:
    found = read(FakeMemory(), "radix", [])
    assert (found.pages, found.ranges, found.largest, found.maps) == (0, (), 0, 0)
    assert sum_map(walk_bitmaps(FakeMemory().read, 0), "bitmaps").pages == 0


@pytest.mark.parametrize("shift", [12, 14, 16])
def test_page_sizes(shift: int) -> None:
    """A tree written level by level for the sizes that arm64 has."""
    size, table, leaf = 1 << shift, shift - 3, shift + 3
    levels = {12: 6, 14: 4, 16: 4}[shift]
    key = 1 << 64 - shift - 2 | 5
    pages = {0x100000 * (i + 1): bytearray(size) for i in range(levels)}
    places = sorted(pages)
    for i, level in enumerate(range(levels - 1, 0, -1)):
        index = key >> leaf + table * (level - 1) & (1 << table) - 1
        struct.pack_into("<Q", pages[places[i]], 8 * index, places[i + 1])
    pages[places[-1]][0] = 1 << 5
    notes: list[str] = []
    leaves = walk_radix(lambda a, n: bytes(pages[a][:n]), places[0], notes.append, shift)
    found = sum_map(leaves, "radix", notes, shift)
    assert found.blocks == {2: 1}
    assert found.ranges == ((5 << shift + 2, 6 << shift + 2),)
    assert not notes


def test_a_tree_that_goes_in_circles_ends() -> None:
    memory = FakeMemory()
    root = memory.alloc()
    memory.write(root, struct.pack("<512Q", *[root] * 512))
    notes: list[str] = []
    assert sum_map(walk_radix(memory.read, root, notes.append), "radix", notes).pages == 0
    assert len(notes) == 1 and "twice" in notes[0]
    memory.write(root, struct.pack("<512Q", *range(1, 513)))
    assert sum_map(walk_radix(memory.read, root, notes.append), "radix").pages == 0
    chain = memory.alloc()
    memory.write(chain, struct.pack("<QII", chain, 0, 0))
    notes.clear()
    assert sum_map(walk_bitmaps(memory.read, chain, notes.append), "bitmaps").pages == 0
    assert "twice" in notes[0]


def test_what_cannot_be_read_is_said_and_the_rest_is_there() -> None:
    memory = FakeMemory()
    root = radix(memory, [(5, 0), (1 << 30, 0)])
    del memory.pages[max(memory.pages)]
    notes: list[str] = []
    assert sum_map(walk_radix(memory.read, root, notes.append), "radix", notes).pages == 1
    assert "cannot be read" in notes[0]


@given(
    st.lists(st.tuples(st.integers(0, 8 * PAGE - 1), st.integers(0, 255)), min_size=1, max_size=9)
)
def test_damage_raises_nothing(flips: list[tuple[int, int]]) -> None:
    for form in FORMS:
        memory = FakeMemory()
        blocks = [(5, 0), (6, 0), (1 << 20, 9)]
        start = (
            radix(memory, blocks)
            if form == "radix"
            else bitmaps(memory, blocks, 512 if form.startswith("short") else PAGE)
        )
        pages = sorted(memory.pages)
        for at, value in flips:
            memory.pages[pages[at // PAGE % len(pages)]][at % PAGE] = value
        walk = walk_radix if form == "radix" else walk_bitmaps
        found = sum_map(walk(memory.read, start), form)
        assert sum(found.density.cells.values()) == found.bytes


@given(blocks_strategy)
def test_what_is_saved_is_read_again(blocks: list[Block]) -> None:
    found = read(FakeMemory(1 << 40), "radix", blocks)
    assert preserved_from_dict(json.loads(json.dumps(found.as_dict()))) == found


@pytest.mark.parametrize("leaf", [b"\xff" * PAGE, b"\x55" * PAGE])
def test_a_terabyte_is_summed_at_once(leaf: bytes) -> None:
    memory, root = terabyte(leaf)
    pages = {address: bytes(page) for address, page in memory.pages.items()}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = sum_map(walk_radix(lambda a, n: pages[a][:n], root), "radix")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB
    assert found.bytes == (1 << 40) * sum(bin(b).count("1") for b in leaf) // (8 * PAGE)
    assert found.ranges == (((0, 1 << 40),) if leaf[0] == 255 else ())
    assert found.ranges_cut == (leaf[0] != 255)
    assert len(found.density.cells) <= 8192
