"""A second decoder, deliberately simple, to check the real one against (ring_buffer.c, 6.15+)."""

from __future__ import annotations

import heapq
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE_HEADER = 16


class Record(NamedTuple):
    ts: int
    cpu: int
    payload: bytes


def region(boot: Path, name: str = "tkA") -> bytes:
    """The preserved memory, out of the boot's ``proc/kcore``."""
    kcore = (boot / "proc/kcore").read_bytes()
    pa, size = json.loads((boot / "regions.json").read_text())[name]
    phoff, phentsize, phnum = (
        *struct.unpack_from("<Q", kcore, 32),
        *struct.unpack_from("<HH", kcore, 54),
    )
    for i in range(phnum):
        kind, _, offset, _, paddr, filesz = struct.unpack_from(
            "<IIQQQQ", kcore, phoff + i * phentsize
        )
        if kind == 1 and paddr <= pa < paddr + filesz:
            return kcore[offset + pa - paddr :][:size]
    raise ValueError(f"no segment holds {name}")


def events(page: bytes) -> Iterator[tuple[int, bytes]]:
    """(timestamp, payload) of one sub-buffer."""
    ts, commit = struct.unpack_from("<QQ", page)
    at, end = PAGE_HEADER, PAGE_HEADER + (commit & 0x3FFFFFFF)
    while at < end:
        word, extra = struct.unpack_from("<II", page + bytes(4), at)
        kind, delta = word & 31, word >> 5
        at += 4
        if kind == 29:
            if not delta:
                return
            at += extra
            ts += delta if delta != 1 else 0
        elif kind == 30:
            ts += (extra << 27) + delta
            at += 4
        elif kind == 31:
            low = (extra << 27) + delta
            absolute = ts >> 59 << 59 | low
            ts = absolute + (1 << 59) if absolute < ts else absolute
            at += 4
        else:
            size = 4 * kind if kind else extra - 4
            at += 0 if kind else 4
            ts += delta
            yield ts, page[at : at + size]
            at += size


def cpu_pages(memory: bytes) -> Iterator[list[bytes]]:
    """The sub-buffers of each CPU, in reading order."""
    _, sizes, _, base = struct.unpack_from("<iiQQ", memory)
    meta_size = sizes & 0xFFFF
    while base + meta_size < len(memory):
        first, head, commit, size, slots = struct.unpack_from("<QQQII", memory, base)
        if not size or not slots:
            return
        order = struct.unpack_from(f"<{slots}i", memory, base + meta_size)
        data = -(-(base + meta_size + 4 * slots) // size) * size
        pages = [memory[data + i * size :][:size] for i in order]
        base = data + slots * size
        if not head:
            yield []
            continue
        head_at, commit_at = (order.index((x - first) // size) for x in (head, commit))
        ring = [*range(head_at, slots), *range(1, head_at)] if commit_at else []
        wanted = [0, *ring[: ring.index(commit_at) + 1]] if ring else [0]
        yield [pages[i] for i in wanted]


def records(memory: bytes) -> Iterator[Record]:
    """Every record, in the order of time; CPU order decides between equal stamps."""
    per_cpu = (
        [Record(ts, cpu, data) for page in pages for ts, data in events(page)]
        for cpu, pages in enumerate(cpu_pages(memory))
    )
    return heapq.merge(*per_cpu, key=lambda r: (r.ts, r.cpu))
