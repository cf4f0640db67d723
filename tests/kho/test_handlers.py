"""What LUO's handlers put down, of every version."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.kho.fake_memory import PAGE, FakeMemory
from tests.support.kho.luo_writer import memfd, vmalloc
from tracekit.errors import SourceError
from tracekit.kho.handlers import describe_data, file_contents
from tracekit.kho.memory import nowhere

KNOWN = (
    "memfd-v1", "memfd-v2", "memfd", "guest_memfd_luo_v1", "kvm_vm_luo_v1", "vfio-pci-v1",
    "vfio-pci-v2", "iommufd-v1", "pci-v2", "iommu-v1",
)  # fmt: skip


@pytest.mark.parametrize(("name", "version"), [("memfd-v1", 1), ("memfd-v2", 2), ("memfd", 3)])
@pytest.mark.parametrize("size", [0, 1, PAGE, 3 * PAGE + 5, 600 * PAGE])
def test_memory_files(name: str, version: int, size: int) -> None:
    memory = FakeMemory()
    contents = bytes(i * 7 % 251 for i in range(min(size, 70_000))).ljust(size, b"z")
    state = describe_data(name, memfd(memory, contents, version, seals=0x23), memory.read)
    assert (state.size, state.known, state.problem) == (size, True, "")
    facts = dict(state.facts)
    assert facts["position"] == "7" and facts["pieces"] == str(-(-size // PAGE))
    assert version == 1 or facts["seals"] == "SEAL, SHRINK, EXEC"
    assert state.folios is not None
    assert [f.index for f in state.folios] == list(range(-(-size // PAGE)))
    if size > 1 << 20:
        with pytest.raises(SourceError):
            file_contents(state, memory.read)
    else:
        assert file_contents(state, memory.read) == contents


def test_holes_are_zeros() -> None:
    memory = FakeMemory()
    piece = memory.alloc(b"end")
    array = struct.pack("<QQ", piece // PAGE | 3 << 52, 2)
    at = memory.alloc(struct.pack("<QQQ", 0, 2 * PAGE + 3, 1) + vmalloc(memory, array))
    state = describe_data("memfd-v1", at, memory.read)
    assert file_contents(state, memory.read) == bytes(2 * PAGE) + b"end"


def test_devices_and_guests() -> None:
    memory = FakeMemory()

    def facts(name: str, data: bytes) -> dict[str, str]:
        state = describe_data(name, memory.alloc(data), memory.read)
        assert state.known and not state.problem
        return dict(state.facts)

    device = struct.pack("<IH", 1, 0x03 << 8 | 4 << 3 | 1)
    assert facts("vfio-pci-v1", device) == {"device": "0001:03:04.1"}
    assert facts("vfio-pci-v2", device + b"\1")["reset works"] == "yes"
    assert facts("kvm_vm_luo_v1", struct.pack("<QQ", 2, 5))["memory attributes"] == "5"
    pci = struct.pack("<II", 127, 2) + struct.pack("<IHH", 0, 8, 3) + device + bytes(2)
    assert facts("pci-v2", pci)["0000:00:01.0"] == "3 references"
    guest = struct.pack("<QQQQ", 1 << 30, 1, 0, 0x77) + bytes(16)
    state = describe_data("guest_memfd_luo_v1", memory.alloc(guest), memory.read)
    assert state.size == 1 << 30 and dict(state.facts)["of the VM with token"] == "0x77"


def test_what_nobody_knows_has_a_name_and_bytes() -> None:
    memory = FakeMemory()
    state = describe_data("gpu-v9", memory.alloc(b"\x01\x02"), memory.read)
    assert not state.known and dict(state.facts)["begins with"].startswith("01 02 00")
    assert dict(describe_data("gpu-v9", 5, nowhere).facts) == {"data": "0x5"}


@pytest.mark.parametrize("name", KNOWN)
def test_memory_that_is_not_at_hand(name: str) -> None:
    state = describe_data(name, 0x1000, nowhere)
    assert state.known and "not at hand" in state.problem


@pytest.mark.parametrize("name", KNOWN)
@given(st.binary(max_size=256))
def test_rubbish(name: str, data: bytes) -> None:
    memory = FakeMemory(0)
    at = memory.alloc(data)
    assert describe_data(name, at, memory.read).kind
