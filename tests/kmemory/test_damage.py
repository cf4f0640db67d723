"""Whatever memory holds: what is readable is read, the rest is noted, and it ends."""

from __future__ import annotations

import io

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.memory.dead_kernels import PageMemory, parts_of_image, with_memory, words
from tracekit.capture.recover.dead_kernel import read_dead_kernel
from tracekit.kmemory.kernel import Kernel
from tracekit.kmemory.memory import PAGE, Absent, VirtualMemory

QUICK = (Phase.explicit, Phase.generate)  # an example takes half a second: none is made smaller


@pytest.fixture(scope="module")
def others(lab) -> list[int]:
    """The pages of the dump that are not the kernel's symbols and types."""
    image = parts_of_image(lab.kernel, lab.memory)
    return sorted(address for address in lab.memory.pages if address not in image)


def all_of(kernel: Kernel) -> int:
    """Read everything; returns how many files and pages there were."""
    dead = read_dead_kernel(kernel)
    count = len(dead.files)
    for array in dead.arrays:
        for ring in array.buffer.rings if array.buffer else ():
            pages = sum(1 for _ in ring.data(kernel, array.layout))
            assert pages == ring.count(kernel, array.layout)
            count += pages
    for remark in kernel.notes.diagnostics():
        assert len(remark.message) < 2000
    return count


@pytest.mark.slow
@settings(max_examples=8, phases=QUICK)
@given(st.data())
def test_pages_that_are_missing(lab, others, data: st.DataObject) -> None:
    memory = lab.memory.copy()
    for address in data.draw(st.lists(st.sampled_from(others), max_size=60, unique=True)):
        del memory.pages[address]
    assert all_of(with_memory(lab.kernel, memory)) > 0


@pytest.mark.slow
@settings(max_examples=16, phases=QUICK)
@given(st.data())
def test_pages_that_hold_something_else(lab, others, data: st.DataObject) -> None:
    """Another page, noise, or pointers to anywhere else in the kernel."""
    memory = lab.memory.copy()
    pointers = [
        int.from_bytes(lab.memory.pages[a][i : i + 8], "little")
        for a in others[:: len(others) // 8]
        for i in range(0, PAGE, 512)
    ]
    for address in data.draw(st.lists(st.sampled_from(others), max_size=30, unique=True)):
        kind = data.draw(st.sampled_from(["other", "noise", "pointers"]))
        page = bytearray(memory.pages[address])
        if kind == "other":
            page[:] = lab.memory.pages[data.draw(st.sampled_from(others))]
        elif kind == "noise":
            page[:] = data.draw(st.binary(min_size=64, max_size=64)) * 64
        else:
            for place in data.draw(st.lists(st.integers(0, 511), max_size=40)):
                word = data.draw(st.sampled_from(pointers))
                page[place * 8 : place * 8 + 8] = words(word)
        memory.pages[address] = bytes(page)
    assert all_of(with_memory(lab.kernel, memory)) > 0


def test_a_dump_of_which_little_is_left(lab) -> None:
    """Symbols and types, and nothing that they lead to."""
    image = parts_of_image(lab.kernel, lab.memory)
    memory = PageMemory({a: page for a, page in lab.memory.pages.items() if a in image})
    kernel = with_memory(lab.kernel, memory)
    assert all_of(kernel) > 0
    assert len(kernel.notes.diagnostics()) > 5


def test_reading_ends_where_structures_lead_round_and_round() -> None:
    class Flat:
        def translate(self, address: int) -> tuple[int, int]:
            return address, PAGE - address % PAGE

    memory = VirtualMemory(PageMemory({0: bytes(PAGE)}), Flat(), reads=5)
    with pytest.raises(Absent, match="more was read than there is"):
        for _ in range(5 + PAGE):
            memory.u64(8)


@pytest.mark.parametrize(
    ("address", "size"), [(-8, 8), ((1 << 64) - 4, 8), (1 << 70, 1), (0, 1 << 40)]
)
def test_no_address_of_a_kernel(lab, address: int, size: int) -> None:
    with pytest.raises(Absent):
        lab.kernel.memory.read(address, size)


def test_text_is_bounded(lab) -> None:
    kernel = lab.kernel
    banner = kernel.symbol("linux_banner")
    assert kernel.memory.text(banner, 5) == "Linux"
    assert io.StringIO(kernel.memory.text(banner)).readline().startswith("Linux version")
