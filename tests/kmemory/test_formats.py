"""Event formats, byte for byte as the living kernels' own files."""

from __future__ import annotations

import hashlib

from tests.support.memory.dead_kernels import with_memory, words
from tracekit.ftrace.format import parse_header_page
from tracekit.kmemory.formats import event_formats, header_page
from tracekit.kmemory.lists import entries
from tracekit.kmemory.ring import Layout


def test_all_formats_of_a_kernel(dead) -> None:
    known = dead.json("digests.json")
    texts = {(e.system, e.name): e.text for e in event_formats(dead.kernel)}
    assert len(texts) == known["formats"]
    digest = hashlib.sha256()
    for system, name in sorted(texts, key="/".join):
        digest.update(f"{system}/{name}\0".encode() + texts[system, name].encode())
    assert digest.hexdigest() == known["sha256"]


def test_a_list_that_is_cut_is_read_from_both_ends(lab) -> None:
    kernel = lab.kernel
    head = kernel.symbol("ftrace_events")
    calls = list(entries(kernel, head, "trace_event_call", "list"))
    broken, gone = calls[400], calls[401]
    memory = lab.memory.copy()
    physical = kernel.memory.physical
    memory.poke(physical(broken.at("list")), words(0xDEAD_0000_0000))
    other = with_memory(kernel, memory)
    assert len(list(event_formats(other))) == len(calls)  # all are reached, half of them backwards
    assert other.notes.count("event formats") == 1  # what the pointer leads to
    memory.poke(physical(gone.at("class")), words(0xDEAD_0000_0000))
    other = with_memory(kernel, memory)
    assert len(list(event_formats(other))) == len(calls) - 1
    assert other.notes.count("event formats") == 2


def test_the_page_header(dead) -> None:
    layout = Layout.of(dead.kernel)
    parsed = parse_header_page(header_page(layout, 8192), "made")
    assert (parsed.timestamp, parsed.commit, parsed.data) == (0, 8, 16)
    assert parsed.subbuf_size == 8192
