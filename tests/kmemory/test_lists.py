"""Linked lists in a real kernel's memory, whole and cut."""

from __future__ import annotations

import pytest

from tests.support.memory.dead_kernels import with_memory, words
from tracekit.errors import ParseError
from tracekit.kmemory.lists import entries, walk


@pytest.fixture
def made(lab):
    """A function that puts a list of so many nodes into memory: (kernel, memory, head, nodes)."""

    def make(count: int):
        memory = lab.memory.copy()
        base = lab.kernel.pointer("savedcmd") & -4096
        places = [base + 64 * number for number in range(count + 1)]
        physical = lab.kernel.memory.physical
        for before, node, after in zip(
            [places[-1], *places], places, [*places[1:], places[0]], strict=False
        ):
            memory.poke(physical(node), words(after, before))
        return lab.kernel, memory, places[0], places[1:]

    return make


def poke(kernel, memory, address: int, *values: int) -> None:
    memory.poke(kernel.memory.physical(address), words(*values))


def test_a_list(made) -> None:
    kernel, memory, head, nodes = made(5)
    assert walk(with_memory(kernel, memory), head) == (nodes, None, "")
    kernel, memory, head, nodes = made(0)
    assert walk(with_memory(kernel, memory), head) == ([], None, "")


def test_a_node_that_is_missing_is_met_from_both_ends(made) -> None:
    kernel, memory, head, nodes = made(5)
    gone = 0xDEAD_0000_0000
    poke(kernel, memory, nodes[1], gone)
    poke(kernel, memory, nodes[3] + 8, gone)
    found = walk(with_memory(kernel, memory), head)
    assert found.nodes == [nodes[0], nodes[1], gone, nodes[3], nodes[4]]
    assert found.broken is None


def test_several_that_are_missing(made) -> None:
    kernel, memory, head, nodes = made(5)
    poke(kernel, memory, nodes[1], 0xDEAD_0000_0000)
    poke(kernel, memory, nodes[4] + 8, 0xDEAD_0000_1000)
    found = walk(with_memory(kernel, memory), head)
    assert found.nodes == [nodes[0], nodes[1], 0xDEAD_0000_0000, 0xDEAD_0000_1000, nodes[4]]
    assert found.broken == 3
    assert "0xdead00000000 is not mapped" in found.why


def test_circles_end(made) -> None:
    kernel, memory, head, nodes = made(5)
    poke(kernel, memory, nodes[2], nodes[0])
    found = walk(with_memory(kernel, memory), head)
    assert found.nodes == nodes
    assert "goes round in circles" in found.why
    poke(kernel, memory, nodes[2], nodes[2], nodes[2])
    poke(kernel, memory, nodes[4] + 8, nodes[4])
    assert walk(with_memory(kernel, memory), head).nodes == [*nodes[:3], nodes[4]]


def test_no_more_than_are_allowed(made) -> None:
    kernel, memory, head, _nodes = made(20)
    found = walk(with_memory(kernel, memory), head, 4)
    assert len(found.nodes) <= 10
    assert "more than 4 members" in found.why


def test_a_member_that_the_kernel_does_not_have(lab) -> None:
    with pytest.raises(ParseError, match="no member nothing in struct module"):
        list(entries(lab.kernel, 0, "module", "nothing"))
