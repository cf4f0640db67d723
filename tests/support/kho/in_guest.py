"""Runs in a guest (see tests/lab/test_kho.py): LUO sessions before and after a jump.

``preserve``: three sessions with files, held open; one file is written to until the jump.
``retrieve``: one of the sessions in the new kernel. ``walk FILE``: a reader of the list of
preserved pages of its own, key by key, through ``/proc/kcore``. ``master``: keeps a device that
has no driver bus master.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import sys
import time
from pathlib import Path

from tracekit.carriers.luo.memfd import LiveUpdate

SEALED, WRITTEN, LOST = b"sealed! " * (3 << 17), 8 << 20, b"never" * 2000
TOKEN_MAP = {"version": 1, "state": {}, "units": {"web.service": {"fdstore": [
    {"type": "fd", "name": "stored", "token": 1},
    {"type": "luo_session", "name": "own", "sessionName": "vm"}]}}}  # fmt: skip
DEVICE = "0000:00:1f.2"  # q35's AHCI controller, which the lab's kernels have no driver of


def memory_file(name: str, content: bytes) -> int:
    fd = os.memfd_create(name, os.MFD_ALLOW_SEALING)
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
    return fd


def preserve() -> None:
    files = {
        "vm": [(1, memory_file("sealed", SEALED)), (2, memory_file("written", b"w" * WRITTEN))],
        "orphan": [(9, memory_file("lost", LOST))],
        "systemd": [(0, memory_file("map", json.dumps(TOKEN_MAP).encode())),
                    (1, memory_file("stored", b"x" * 5000))],
    }  # fmt: skip
    fcntl.fcntl(files["vm"][0][1], 1033, 2 | 4 | 8)  # F_ADD_SEALS
    sessions = []
    with LiveUpdate() as device:
        for name, listed in files.items():
            sessions.append(device.create(name))
            for token, fd in listed:
                sessions[-1].preserve(fd, token)
    view = mmap.mmap(files["vm"][1][1], WRITTEN)
    Path("/tmp/preserved").touch()
    for count in range(1 << 40):
        view[:8] = struct.pack("<Q", count)
        time.sleep(0.01)


def retrieve() -> None:
    with LiveUpdate() as device:
        vm = device.retrieve("vm")
    assert vm is not None
    with vm:
        sealed, written = (vm.retrieve(token) for token in (1, 2))
        assert os.pread(sealed, len(SEALED) + 1, 0) == SEALED
        head = os.pread(written, WRITTEN + 1, 0)
        assert len(head) == WRITTEN and head[8:] == b"w" * (WRITTEN - 8)
        print("written until the jump:", struct.unpack("<Q", head[:8])[0])
        Path("/tmp/retrieved").touch()
        while not Path("/tmp/finish").exists():
            time.sleep(0.1)
        vm.finish()
    Path("/tmp/finished").touch()


def walk(target: str) -> None:
    """Every key of the radix tree, one bit at a time."""
    core = os.open("/proc/kcore", os.O_RDONLY)
    header = os.pread(core, 64, 0)
    first = struct.unpack_from("<Q", header, 32)[0]
    count = struct.unpack_from("<H", header, 56)[0]
    loads = []
    for number in range(count):
        raw = os.pread(core, 56, first + 56 * number)
        kind, _, offset, virtual, physical, size = struct.unpack_from("<IIQQQQ", raw)
        if kind == 1:
            loads.append((offset, virtual, physical, size))

    def read(address: int, size: int, which: int) -> bytes:
        for load in loads:
            if load[which] <= address < load[which] + load[3] and load[which] != 2**64 - 1:
                return os.pread(core, size, load[0] + address - load[which])
        raise SystemExit(f"nothing at {address:#x}")

    lines = (line.split() for line in Path("/proc/kallsyms").read_text().splitlines())
    kho_out = next(int(words[0], 16) for words in lines if words[2] == "kho_out")
    tree = read(struct.unpack("<Q", read(kho_out, 8, 1))[0], 4096, 1)
    strings = struct.unpack_from(">I", tree, 12)[0]
    name = tree.index(b"preserved-memory-map\0", strings) - strings
    place = tree.index(struct.pack(">III", 3, 8, name))
    root = struct.unpack_from("<Q", tree, place + 12)[0]
    blocks: dict[int, int] = {}
    pages: list[tuple[int, int]] = []

    def down(node: int, level: int, key: int) -> None:
        data = read(node, 4096, 2)
        if level == 0:
            for bit in range(4096 * 8):
                if data[bit // 8] & 1 << bit % 8:
                    whole = key * 2**15 + bit
                    order = next(o for o in range(52) if 2 ** (52 - o) <= whole)
                    blocks[order] = blocks.get(order, 0) + 1
                    pages.append(((whole - 2 ** (52 - order)) * 2**order, 2**order))
            return
        for index in range(512):
            child = struct.unpack_from("<Q", data, 8 * index)[0]
            if child:
                down(child, level - 1, key * 512 + index)

    down(root, 5, 0)
    ranges: list[list[int]] = []
    for start, size in sorted(pages):
        if ranges and ranges[-1][0] + ranges[-1][1] == start:
            ranges[-1][1] += size
        else:
            ranges.append([start, size])
    found = {"blocks": blocks, "ranges": [[a * 4096, n * 4096] for a, n in ranges]}
    Path(target).write_text(json.dumps(found))


def master() -> None:
    config = os.open(f"/sys/bus/pci/devices/{DEVICE}/config", os.O_RDWR)
    while True:
        command = struct.unpack("<H", os.pread(config, 2, 4))[0]
        os.pwrite(config, struct.pack("<H", command | 4), 4)
        time.sleep(0.001)  # the other CPUs stop some ms after the device's shutdown


if __name__ == "__main__":
    {"preserve": preserve, "retrieve": retrieve, "master": master,
     "walk": lambda: walk(sys.argv[2])}[sys.argv[1]]()  # fmt: skip
