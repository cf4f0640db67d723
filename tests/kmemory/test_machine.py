"""What a kernel says of itself."""

from __future__ import annotations

import struct

from tests.support.memory.dead_kernels import with_memory, words
from tracekit.kmemory.machine import about, iomem


def test_two_kernels(lab, debian) -> None:
    known = about(lab.kernel)
    assert (known.release, known.cpus, known.page_size, known.machine) == (
        "7.2.13", 2, 4096, "x86_64",
    )  # fmt: skip
    assert known.build_id == "4952f32d6f979738945f53daf52bd2d2b12d1447"
    assert known.cmdline == "console=ttyS0 loglevel=4 panic=-1 crashkernel=256M kho=off"
    assert known.version is not None and known.version.startswith("Linux version 7.2.13 (root@vm)")
    assert known.text_address == lab.kernel.symbols.find("_text")
    other = about(debian.kernel)
    assert other.release == "6.12.118+deb13-amd64"
    assert other.version is not None and "Debian 6.12.118-1" in other.version


def test_the_boot_id_and_the_map_of_memory(lab) -> None:
    kernel = lab.kernel
    memory = lab.memory.copy()
    physical = kernel.memory.physical
    memory.poke(physical(kernel.symbol("sysctl_bootid")), bytes(range(16)))
    root, spare = kernel.at("iomem_resource", "resource"), kernel.pointer("savedcmd") & -4096
    size = kernel.size_of("resource")
    first, child, second = (kernel.struct("resource", spare + i * size) for i in range(3))
    names = spare + 3 * size

    def write(resource, **values: int) -> None:
        for member, value in values.items():
            memory.poke(physical(resource.at(member)), words(value))

    memory.poke(physical(names), b"System RAM\0Kernel code\0")
    write(root, child=first.address, end=(1 << 52) - 1)
    write(first, start=0x1000, end=0x9FBFF, name=names, child=child.address, sibling=second.address)
    write(child, start=0x2000, end=0x2FFF, name=names + 11, child=0, sibling=0)
    write(second, start=1 << 32, end=(1 << 33) - 1, name=names, child=0, sibling=first.address)
    other = with_memory(kernel, memory)
    assert about(other).boot_id == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert iomem(other) == (
        "00001000-0009fbff : System RAM\n  00002000-00002fff : Kernel code\n"
        "100000000-1ffffffff : System RAM\n"
    )


def test_what_is_missing_is_noted(lab) -> None:
    other = with_memory(lab.kernel, lab.memory)
    assert about(other).boot_id is None
    assert iomem(other) == ""
    assert {d.where for d in other.notes.diagnostics()} == {"texts", "the memory map"}


def test_cpus_that_the_panic_stopped_were_there(lab) -> None:
    kernel, memory = lab.kernel, lab.memory.copy()
    place = kernel.memory.physical(kernel.symbol("__cpu_online_mask"))
    memory.poke(place, struct.pack("<Q", 1))
    assert about(with_memory(kernel, memory)).cpus == 2
