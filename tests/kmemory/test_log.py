"""The kernel log, with the panic."""

from __future__ import annotations

import pytest

from tests.support.memory.dead_kernels import with_memory, words
from tracekit.errors import ParseError
from tracekit.kmemory.log import dmesg, log_records


def test_the_log_with_the_panic(dead) -> None:
    assert dmesg(log_records(dead.kernel)) == dead.text("dmesg")
    assert "anic" in dead.text("dmesg")


def test_records_that_are_missing_are_counted(lab) -> None:
    kernel = lab.kernel
    log = kernel.struct("printk_ringbuffer", kernel.pointer("prb"))
    memory = lab.memory.copy()
    physical = kernel.memory.physical
    infos = log["desc_ring.infos"]
    del memory.pages[physical(infos + 4096) & -4096]
    other = with_memory(kernel, memory)
    whole = len(list(log_records(kernel)))
    assert whole - 48 <= len(list(log_records(other))) < whole
    assert 0 < other.notes.count("records of the kernel log") <= 48


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("desc_ring.count_bits", 60, "2\\^60 records"),
        ("text_data_ring.size_bits", 0, "2\\^0 bytes"),
        ("desc_ring.tail_id", 5 << 40, "records in a ring of"),
    ],
)
def test_a_log_of_no_kernel_is_refused(lab, member: str, value: int, says: str) -> None:
    kernel = lab.kernel
    log = kernel.struct("printk_ringbuffer", kernel.pointer("prb"))
    memory = lab.memory.copy()
    place = kernel.memory.physical(log.at(member))
    size = 4 if member.endswith("bits") else 8
    memory.poke(place, words(value)[:size])
    with pytest.raises(ParseError, match=says):
        list(log_records(with_memory(kernel, memory)))
