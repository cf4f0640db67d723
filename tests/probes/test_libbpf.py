"""Programs in the kernel that runs the tests, where it lets itself be probed."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import HANG
from tracekit.probes.libbpf import BpfError, LoadedObjects, Pmu
from tracekit.probes.objects import Map, Objects

PMU = Pmu(0xFFFF, 0)  # no perf events of that type anywhere
MAPS = (
    Map("numbers", 2, 4, 8, 3, 0),  # BPF_MAP_TYPE_ARRAY
    Map("percpu", 6, 4, 12, 1, 0),  # _PERCPU_ARRAY
    Map("ring", 27, 0, 0, 1 << 16, 0),  # _RINGBUF
)


def code(*instructions: str) -> bytes:
    return b"".join(map(bytes.fromhex, instructions))


PROGRAMS = {
    "writes": code(
        "7a0af8ff 2a000000",  # *(u64 *)(r10 - 8) = 42
        "18110000 02000000 00000000 00000000",  # r1 = map 2
        "bfa20000 00000000",  # r2 = r10
        "07020000 f8ffffff",  # r2 += -8
        "b7030000 08000000",  # r3 = 8
        "b7040000 00000000",  # r4 = 0
        "85000000 82000000",  # call bpf_ringbuf_output
        "b7000000 00000000",  # r0 = 0
        "95000000 00000000",  # exit
    ),
    "wrong": code("95000000 00000000"),  # r0 was never set
}


def _unmet() -> str:
    if os.geteuid() != 0:
        return "not root"
    try:
        ctypes.CDLL("libbpf.so.1")
        LoadedObjects(Objects(MAPS, {}, ""), PMU).close()
    except (OSError, BpfError) as error:
        return str(error)
    return ""


REASON = _unmet()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"NOT RUN, real BPF programs: {REASON}")


@pytest.fixture
def loaded() -> Iterator[LoadedObjects]:
    before = len([*Path("/proc/self/fd").iterdir()])
    loaded = LoadedObjects(Objects(MAPS, PROGRAMS, ""), PMU)
    yield loaded
    loaded.close()
    loaded.close()
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_maps_are_read_and_written(loaded: LoadedObjects) -> None:
    loaded.update("numbers", struct.pack("<I", 2), struct.pack("<Q", 7))
    values = [loaded.lookup("numbers", struct.pack("<I", i)) for i in range(3)]
    assert values == [[bytes(8)], [bytes(8)], [struct.pack("<Q", 7)]]
    assert set(loaded.lookup("percpu", bytes(4))) == {bytes(12)}
    assert len(loaded.lookup("percpu", bytes(4))) >= (os.cpu_count() or 1)
    with pytest.raises(BpfError, match="map numbers: "):
        loaded.update("numbers", struct.pack("<I", 3), bytes(8))


def test_a_program_runs_where_it_is_attached(loaded: LoadedObjects) -> None:
    taken: list[bytes] = []
    loaded.read_ring("ring", taken.append, 4)
    loaded.attach_raw_tracepoint("sys_enter", "writes")
    until = time.monotonic() + HANG
    while not taken:
        assert time.monotonic() < until
        loaded.poll(100)
    assert set(taken) == {struct.pack("<I", 42)}  # its first four bytes


def test_what_is_wrong_with_a_program_is_said(loaded: LoadedObjects) -> None:
    with pytest.raises(BpfError, match=r"program wrong: R0 !read_ok: Permission denied"):
        loaded.attach_raw_tracepoint("sys_enter", "wrong")
    with pytest.raises(BpfError, match=r"tracepoint no_such: "):
        loaded.attach_raw_tracepoint("no_such", "writes")
    with pytest.raises(BpfError, match=r"vfs_read: "):
        loaded.attach_kprobe("vfs_read", "writes")
