"""Trace arrays and their rings: as the living kernels said, and with parts missing."""

from __future__ import annotations

import struct

import pytest

from tests.support.memory.dead_kernels import with_memory, words
from tests.support.ring.simple_decoder import events
from tracekit.kmemory.arrays import trace_arrays
from tracekit.kmemory.ring import Layout


def test_everything_that_tracefs_says(dead) -> None:
    known = dead.json("arrays.json")["arrays"]
    arrays = trace_arrays(dead.kernel)
    assert {array.name or "global" for array in arrays} == set(known)
    assert arrays[-1].name == ""
    for array in arrays:
        said, buffer = known[array.name or "global"], array.buffer
        assert buffer is not None
        assert array.snapshot is None
        assert array.clock == said["clock"]
        assert (buffer.subbuf_size, array.flags, array.tracer) == (
            said["subbuf_bytes"], said["trace_flags"], said["tracer"],
        )  # fmt: skip
        assert [ring.cpu for ring in buffer.rings] == [0, 1]
        for ring in buffer.rings:
            cpu = said["cpus"][str(ring.cpu)]
            assert (ring.entries_left, ring.counters["entries"]) == (
                cpu["entries_left"], cpu["written"],
            )  # fmt: skip
            assert (ring.counters["overrun"], ring.counters["read"]) == (
                cpu["overrun"], cpu["read"],
            )  # fmt: skip
            assert ring.nr_pages == cpu["ring_pages"]
            assert ring.caught_up == cpu["commit_on_reader_page"]
            assert ring.stale_head == cpu["head_page_field_is_stale"]
            assert (ring.lost, ring.head) == (0, "flag")
    used = next(array for array in arrays if array.name == "used")
    assert list(used.options) == dead.text("trace_options").splitlines()
    shown = " ".join(f"[{c}]" if c == used.clock else c for c in used.clocks)
    assert shown == dead.text("trace_clock").strip()


def stamps(kernel, name: str) -> dict[int, list[int]]:
    """CPU -> the time stamps of an array's events."""
    layout = Layout.of(kernel)
    array = next(array for array in trace_arrays(kernel) if array.name == name)
    assert array.buffer is not None
    found = {}
    for ring in array.buffer.rings:
        pages = list(ring.data(kernel, layout))
        assert len(pages) == ring.count(kernel, layout)
        found[ring.cpu] = [ts for page in pages for ts, _ in events(page)]
    return found


@pytest.mark.parametrize("name", ["used", "caught"])
def test_every_event_that_the_kernel_counts_in_order_of_time(dead, name: str) -> None:
    cpus = dead.json("arrays.json")["arrays"][name]["cpus"]
    for cpu, found in stamps(dead.kernel, name).items():
        assert len(found) == cpus[str(cpu)]["entries_left"]
        assert found == sorted(found)


def member_of(kernel, name: str, cpu: int) -> tuple[int, list[int]]:
    """(the address of a ring's description, the addresses of its members, from pages on)."""
    array = next(a for a in _structs(kernel) if a.text("name") == name)
    buffer = array.follow("array_buffer.buffer")
    address = kernel.memory.u64(buffer["buffers"] + 8 * cpu)
    per_cpu = kernel.struct("ring_buffer_per_cpu", address)
    nodes, node = [], per_cpu["pages"]
    while node not in nodes:
        nodes.append(node)
        node = kernel.memory.u64(node) & ~3
    return address, nodes


def _structs(kernel):
    from tracekit.kmemory.lists import entries

    head = kernel.symbol("ftrace_trace_arrays")
    return [a for a in entries(kernel, head, "trace_array", "list") if a["name"]]


def physical(kernel, address: int) -> int:
    return kernel.memory.physical(address)


def test_a_ring_that_is_cut_is_walked_from_both_ends(lab) -> None:
    """The list's next leads nowhere: what is before the first member is found from there."""
    whole = stamps(lab.kernel, "used")[0]
    _, nodes = member_of(lab.kernel, "used", 0)
    memory = lab.memory.copy()
    # the eleventh member's next points to memory that is not there
    memory.poke(physical(lab.kernel, nodes[10]), words(0xDEAD_0000_0000))
    kernel = with_memory(lab.kernel, memory)
    found = stamps(kernel, "used")
    assert len(found[1]) == len(stamps(lab.kernel, "used")[1])
    assert found[0] == sorted(found[0])
    assert found[0] == whole  # every member is still described
    (remark,) = kernel.notes.diagnostics()
    assert (remark.code, remark.where) == ("dump-incomplete", "members of ring buffers")


@pytest.mark.parametrize("target", ["itself", "an earlier one"])
def test_a_ring_that_goes_round_in_a_part_of_it_ends(lab, target: str) -> None:
    _, nodes = member_of(lab.kernel, "used", 0)
    memory = lab.memory.copy()
    back = nodes[10] if target == "itself" else nodes[3]
    memory.poke(physical(lab.kernel, nodes[10]), words(back))
    found = stamps(with_memory(lab.kernel, memory), "used")
    assert len(found[0]) > 0


def test_a_page_of_events_that_is_missing_is_named_and_the_rest_is_read(lab) -> None:
    _address, nodes = member_of(lab.kernel, "used", 0)
    page = lab.kernel.struct("buffer_page", nodes[5])["page"]
    memory = lab.memory.copy()
    del memory.pages[physical(lab.kernel, page)]
    kernel = with_memory(lab.kernel, memory)
    layout = Layout.of(kernel)
    array = next(array for array in trace_arrays(kernel) if array.name == "used")
    pages = list(array.buffer.rings[0].data(kernel, layout))
    assert sum(page.startswith(b"\0???") for page in pages) == 1
    assert kernel.notes.count("pages of trace buffers") == 1
    assert hex(physical(lab.kernel, page)) in kernel.notes.diagnostics()[0].message


def test_without_its_flag_the_head_is_the_field_or_the_oldest_page(lab) -> None:
    whole = stamps(lab.kernel, "used")[0]
    address, nodes = member_of(lab.kernel, "used", 0)
    memory = lab.memory.copy()
    for node in nodes:
        where = physical(lab.kernel, node)
        (word,) = struct.unpack("<Q", memory.read(where, 8))
        memory.poke(where, words(word & ~3))
    kernel = with_memory(lab.kernel, memory)
    assert stamps(kernel, "used")[0] == whole
    array = next(array for array in trace_arrays(kernel) if array.name == "used")
    assert array.buffer.rings[0].head == "field"
    offset = lab.kernel.place("ring_buffer_per_cpu", "head_page").offset
    memory.poke(physical(lab.kernel, address) + offset, words(0x1234))
    kernel = with_memory(lab.kernel, memory)
    assert stamps(kernel, "used")[0] == whole
    array = next(array for array in trace_arrays(kernel) if array.name == "used")
    assert array.buffer.rings[0].head == "time"


def test_an_array_that_is_missing_leaves_the_others(lab) -> None:
    arrays = {a.text("name"): a.address for a in _structs(lab.kernel)}
    memory = lab.memory.copy()
    del memory.pages[physical(lab.kernel, arrays["big"]) & -4096]
    kernel = with_memory(lab.kernel, memory)
    names = [array.name for array in trace_arrays(kernel)]
    assert {"fresh", "caught", "used", "work", ""} <= set(names)
    assert "big" not in names
    assert any(d.code == "dump-incomplete" for d in kernel.notes.diagnostics())
