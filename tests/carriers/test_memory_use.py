"""Whose a region is, by everything that a kernel says about its memory."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.machine_trees import REGION, TKB, old_machine
from tracekit.carriers.memory_use import Memory, Use, carried_regions, read_memory
from tracekit.parameters import RegionSpec
from tracekit.sysroot import Sysroot

TWO = "reserve_mem=4M:2M:tkA reserve_mem=4M:2M:tkB trace_instance=tk^traceoff@tkA"
PLACE = RegionSpec("tkB", 0x70000000, 4 << 20)
IOMEM = """\
00000000-00000fff : Reserved
00100000-7fffffff : System RAM
  01000000-01ffffff : Kernel code
  {} : {}
"""


def use(cmdline: str, **more: object) -> Use:
    return Memory.of(cmdline, places=[PLACE], **more).use_of("tkB")  # type: ignore[arg-type]


def test_free_and_ours() -> None:
    memory = Memory.of(TWO)
    assert memory.use_of("tkB") == Use("free")
    ours = memory.use_of("tkA")
    assert (ours.kind, ours.instances, ours.foreign) == ("trace", ("tk",), False)


@pytest.mark.parametrize(
    ("parameter", "kind"),
    [
        ("ramoops.mem_name=tkB", "ramoops"),
        ("ramoops.mem-name=tkB", "ramoops"),
        ('"ramoops.mem_name=tkB"', "ramoops"),
        ('ramoops.mem_name="tkB"', "ramoops"),
        ("ramoops.mem_address=0x70200000 ramoops.mem_size=0x100000", "ramoops"),
        ("ramoops.mem_address=0x70000000", "ramoops"),
        ("memmap=1M!0x70000000", "pmem"),
        ("memmap=1M$0x1000,64M!0x6f000000", "pmem"),
        ("crashkernel=256M@0x68000000", "crash kernel"),
        ("crashkernel=1G-4G:64M,4G-:256M@0x68000000", "crash kernel"),
        ("trace_instance=mine@0x70300000:1M", "trace"),
        ("trace_instance=mine@tkB", "trace"),
        ("somebody.memory=tkB", "other"),
        ("somebody.memory=1M,tkB", "other"),
        ("ramoops.mem_name=tkA", "free"),
        ("ramoops.mem_address=0x70400000 ramoops.mem_size=0x100000", "free"),
        ("memmap=4M$0x70000000", "free"),
        ("memmap=1M!0x70400000", "free"),
        ("crashkernel=256M", "free"),
        ("-- ramoops.mem_name=tkB", "free"),
    ],
)
def test_who_claims_it_on_the_command_line(parameter: str, kind: str) -> None:
    found = use(f"{TWO} {parameter}")
    assert found.kind == kind
    assert bool(found.who) == (kind != "free")


def test_two_instances_on_one_region() -> None:
    found = Memory.of(f"{TWO} trace_instance=mine@tkA").use_of("tkA")
    assert found.instances == ("tk", "mine")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Persistent Memory (legacy)", "pmem"),
        ("Crash kernel", "crash kernel"),
        ("ramoops:dump(0/3)", "ramoops"),
        ("PCI Bus 0000:00", "other"),
        ("Reserved", "free"),
        ("System RAM (virtio_mem)", "free"),
    ],
)
def test_what_iomem_shows(name: str, kind: str) -> None:
    found = use(TWO, iomem=IOMEM.format("70000000-700fffff", name))
    assert found.kind == kind and (kind == "free" or name in found.who)
    hidden = use(TWO, iomem=IOMEM.format("00000000-00000000", name))
    assert hidden.kind == "free"  # what a user without root sees


def test_first_bytes_count_where_nobody_is_known() -> None:
    memory = Memory.of("reserve_mem=1M:4K:log")
    assert memory.use_of("log", head=b"DBGC" + bytes(28)).kind == "ramoops"
    assert memory.use_of("log", head=struct.pack("<I", 0x0BADFEED)).kind == "free"


def machine(tmp_path: Path, **files: bytes) -> Sysroot:
    made = old_machine()
    made.kho = {"tkA": (0x7D600000, REGION), "tkB": (TKB, REGION)}
    made.files |= files
    return Sysroot(made.write(tmp_path / "root"))


@pytest.mark.parametrize(
    "files",
    [
        {"sys/module/ramoops/parameters/mem_name": b"tkB\n"},
        {
            "sys/module/ramoops/parameters/mem_name": b"(null)\n",
            "sys/module/ramoops/parameters/mem_address": b"%d\n" % TKB,
            "sys/module/ramoops/parameters/mem_size": b"%d\n" % REGION,
        },
        {"etc/modprobe.d/ramoops.conf": b"# ours\noptions ramoops record_size=1 mem_name=tkB\n"},
        {
            "sys/firmware/devicetree/base/reserved-memory/ramoops@7d/compatible": b"ramoops\0",
            "sys/firmware/devicetree/base/reserved-memory/ramoops@7d/reg": struct.pack(
                ">QQ", TKB, REGION
            ),
        },
    ],
)
def test_where_else_ramoops_is_told_of_its_memory(tmp_path: Path, files: dict[str, bytes]) -> None:
    root = machine(tmp_path, **files)
    assert carried_regions(root, ("in",))[1] == RegionSpec("tkB", TKB, REGION)
    memory = read_memory(root)
    assert memory.use_of("tkB").kind == "ramoops"
    assert memory.use_of("tkA").kind == "trace"


def test_what_modprobe_is_not_asked_for(tmp_path: Path) -> None:
    files = {"etc/modprobe.d/x.conf": b"options other mem_name=tkB\n#options ramoops mem_name=tkB"}
    assert read_memory(machine(tmp_path, **files)).use_of("tkB").kind == "free"


@given(st.text(max_size=200), st.text(max_size=100))
def test_any_text(cmdline: str, iomem: str) -> None:
    memory = Memory.of(cmdline, iomem=iomem, ramoops=[("x", {"mem_address": cmdline})])
    assert memory.use_of("tkA", 0x1000, 4096).kind
