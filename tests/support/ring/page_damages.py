"""Ways in which preserved memory comes back damaged, done to real regions, one sub-buffer each."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping

from tracekit.ftrace.ring.layout import CpuBuffer

__all__ = ["KINDS", "damaged"]

_DATA = 16  # where a sub-buffer's events begin
_Damage = Callable[[bytearray, CpuBuffer, int, random.Random], None]


def _zero(data: bytearray, start: int, size: int) -> None:
    data[start : start + size] = bytes(size)


def _page_zeroed(data: bytearray, ring: CpuBuffer, page: int, _: random.Random) -> None:
    _zero(data, ring.pages[page], ring.subbuf_size)


def _commit_zeroed(data: bytearray, ring: CpuBuffer, page: int, _: random.Random) -> None:
    _zero(data, ring.pages[page] + 8, 8)


def _header_zeroed(data: bytearray, ring: CpuBuffer, page: int, _: random.Random) -> None:
    _zero(data, ring.pages[page], _DATA)


def _half_zeroed(data: bytearray, ring: CpuBuffer, page: int, _: random.Random) -> None:
    half = ring.subbuf_size // 2
    _zero(data, ring.pages[page] + half, half)


def _line_zeroed(data: bytearray, ring: CpuBuffer, page: int, rng: random.Random) -> None:
    _zero(data, ring.pages[page] + 64 * rng.randrange(1, ring.subbuf_size // 64), 64)


def _stale(data: bytearray, ring: CpuBuffer, page: int, rng: random.Random) -> None:
    other = rng.choice([p for i, p in enumerate(ring.pages) if i not in (0, page)])
    start, size = ring.pages[page], ring.subbuf_size
    data[start : start + size] = data[other : other + size]


def _events(data: bytearray, page: int, commit: int) -> Iterator[int]:
    """Where each event of a sub-buffer begins, from the start of its data."""
    at = 0
    while at < commit:
        yield at
        head, word = struct.unpack_from("<II", data, page + _DATA + at)
        kind = head & 31
        at += 4 + 4 * kind if 0 < kind < 29 else 8 if kind > 29 else 4 + word


def _commit_cut(data: bytearray, ring: CpuBuffer, page: int, rng: random.Random) -> None:
    place = ring.pages[page]
    commit = int.from_bytes(data[place + 8 : place + 12], "little")
    shorter = rng.choice(list(_events(data, place, commit)) or [0])
    struct.pack_into("<Q", data, place + 8, shorter)


def _rubbish(data: bytearray, ring: CpuBuffer, page: int, rng: random.Random) -> None:
    start = ring.pages[page]
    data[start : start + ring.subbuf_size] = rng.randbytes(ring.subbuf_size)


KINDS: Mapping[str, _Damage] = {
    "sub-buffer zeroed": _page_zeroed,
    "commit zeroed": _commit_zeroed,
    "header zeroed": _header_zeroed,
    "second half zeroed": _half_zeroed,
    "a cache line zeroed": _line_zeroed,
    "another sub-buffer's bytes": _stale,
    "commit cut at an event": _commit_cut,
    "random bytes": _rubbish,
}


def damaged(data: bytes, ring: CpuBuffer, kind: str, rng: random.Random) -> bytes:
    """The region with one used sub-buffer of that CPU damaged."""
    copy = bytearray(data)
    KINDS[kind](copy, ring, rng.randrange(1, len(ring.pages)), rng)
    return bytes(copy)
